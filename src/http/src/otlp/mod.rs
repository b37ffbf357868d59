//! Sampled journeys as traces, told to a collector by OTLP over HTTP.
//!
//! Owns the queue of spans that wait, and its bound: nobody ever waits for it, what does not fit is dropped and counted.
//! What a span is says `span`, how it is written `json`, how it gets there `sender`. Must not know what a stage is.

mod json;
mod sender;
mod span;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tidegate_domain::ids::JourneyId;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::client::{self, Client};
use crate::metrics::{Family, registry};
use crate::{HttpRuntime, StartError};
pub use span::{Span, SpanId, SpanKind, Value};

/// Where spans go.
#[derive(Clone)]
pub struct ExporterOptions {
    /// The collector's; `/v1/traces` is put behind it.
    pub url: String,
    /// Sent with each request, for collectors that want to know who it is.
    pub headers: Vec<(String, String)>,
}

/// Where finished spans are left. Cheap to clone; clones share their queue.
#[derive(Clone)]
pub struct Exporter(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    handle: Handle,
    /// The one that sends, until it is waited for.
    sending: Mutex<Option<JoinHandle<()>>>,
    calls: AtomicU64,
}

/// Spans that wait for the one that sends them.
struct Queue {
    waiting: Mutex<VecDeque<Span>>,
    /// There is a batch, or an end.
    wake: Notify,
    /// No more is coming.
    leaving: watch::Sender<bool>,
    counts: Counts,
}

/// Spans, since the start.
#[derive(Default)]
struct Counts {
    exported: AtomicU64,
    /// Sent, and not taken.
    failed: AtomicU64,
    /// Not sent: too many waited, or the server stopped.
    dropped: AtomicU64,
}

/// Spans that may wait: some seconds of a busy server at 1 %, and about as many MiB as it has thousands.
const MOST_WAITING: usize = 16_384;
/// Of one request.
const BATCH: usize = 512;

impl Exporter {
    /// Fails where the address is none, or a header. Opens no connection yet.
    pub fn start(runtime: &HttpRuntime, options: &ExporterOptions) -> Result<Exporter, StartError> {
        let refused = || StartError::Collector(options.url.clone().into());
        let url = format!("{}/v1/traces", options.url.trim_end_matches('/'));
        let uri: Uri = client::callable(&url).ok_or_else(refused)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &options.headers {
            let wrong = || StartError::Header(name.as_str().into());
            let name: HeaderName = name.parse().map_err(|_| wrong())?;
            let mut value: HeaderValue = value.parse().map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            wake: Notify::new(),
            leaving: watch::Sender::new(false),
            counts: Counts::default(),
        });
        let client = Client::new(client::any_secure([&uri].into_iter()))?;
        let handle = runtime.handle();
        let sending = handle.spawn(sender::run(sender::Collector::new(client, uri, headers, queue.clone())));
        let (sending, calls) = (Mutex::new(Some(sending)), AtomicU64::new(0));
        Ok(Exporter(Arc::new(Inner { queue, handle, sending, calls })))
    }

    /// Takes spans that belong together, all or none. Never waits.
    pub fn offer(&self, spans: Vec<Span>) {
        let queue = &self.0.queue;
        let mut waiting = queue.waiting();
        let (before, after) = (waiting.len(), waiting.len() + spans.len());
        if after > MOST_WAITING || *queue.leaving.borrow() {
            drop(waiting);
            queue.counts.dropped.fetch_add(spans.len() as u64, Ordering::Relaxed);
            return;
        }
        waiting.extend(spans);
        drop(waiting);
        // One wake a batch; what is less than one goes within a second.
        if before < BATCH && after >= BATCH {
            queue.wake.notify_one();
        }
    }

    /// A call to somebody else's server begins, for a sampled message. `to`: its host, for the trace.
    pub(crate) fn call(&self, journey: JourneyId, name: &str, to: String) -> CallSpan {
        let nth = (1 << 32) + self.0.calls.fetch_add(1, Ordering::Relaxed);
        let span = Span {
            journey,
            id: SpanId::nth(journey, nth),
            parent: Some(SpanId::root(journey)),
            name: name.into(),
            kind: SpanKind::Client,
            begun_ns: unix_ns(),
            ended_ns: 0,
            attributes: vec![
                ("http.request.method", Value::Text("POST".to_owned())),
                ("server.address", Value::Text(to)),
            ],
            events: Vec::new(),
            error: None,
        };
        CallSpan { exporter: self.clone(), span }
    }

    /// Figures for `/metrics`.
    pub fn families(&self) -> Vec<Family> {
        let counts = &self.0.queue.counts;
        let outcomes = [("exported", &counts.exported), ("failed", &counts.failed), ("dropped", &counts.dropped)];
        let outcomes = outcomes.map(|(outcome, count)| ([outcome], count.load(Ordering::Relaxed) as f64));
        vec![registry::OTLP_SPANS.of(outcomes), registry::OTLP_WAITING.is(self.0.queue.waiting().len() as f64)]
    }

    /// Sends what waits, each batch tried once, and waits for that at most so long. What is left is dropped. Must not be
    /// called on a thread of the HTTP side.
    pub fn stop(&self, patience: Duration) {
        let queue = &self.0.queue;
        queue.leaving.send_replace(true);
        queue.wake.notify_one();
        let sending = self.0.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sending) = sending {
            let ended = self.0.handle.block_on(async { tokio::time::timeout(patience, sending).await });
            // What is on its way to a collector that does not answer is not waited for.
            let left = std::mem::take(&mut *queue.waiting()).len();
            queue.counts.dropped.fetch_add(left as u64, Ordering::Relaxed);
            if ended.is_err() {
                log::warn!(
                    "the collector of [journeys] otlp did not take the last spans within {} ms; {left} were not even sent",
                    patience.as_millis()
                );
            }
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("waiting", &self.0.queue.waiting().len()).finish_non_exhaustive()
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest that wait, as many as go in one request.
    fn take(&self) -> Option<Vec<Span>> {
        let mut waiting = self.waiting();
        let most = waiting.len().min(BATCH);
        (most > 0).then(|| waiting.drain(..most).collect())
    }
}

/// The span of a call that is on its way.
pub(crate) struct CallSpan {
    exporter: Exporter,
    span: Span,
}

impl CallSpan {
    /// By which the called server goes on with the trace: W3C Trace Context, level 1.
    pub fn traceparent(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("00-{}-{:016x}-01", self.span.journey, self.span.id.0)).ok()
    }

    /// `error`: why it came to nothing.
    pub fn end(mut self, error: Option<String>) {
        self.span.ended_ns = unix_ns().max(self.span.begun_ns);
        self.span.error = error;
        self.exporter.offer(vec![self.span]);
    }
}

/// Nanoseconds since the epoch.
fn unix_ns() -> u64 {
    // A clock before 1970 gives 0, and a trace that nobody will find.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
