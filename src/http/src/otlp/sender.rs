//! The way to the collector: batches, time-outs, and further tries where they may end better.
//!
//! One request at a time, for order and for the collector's sake. What cannot be told within some tries is given up, so that
//! a collector that is down costs its spans and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::HeaderMap;
use tokio::time::timeout;

use super::Queue;
use super::json::{self, Sender};
use super::span::Span;
use crate::client::{Client, PostError};
use crate::random::random;
use crate::sparing::Sparing;

/// How long less than a batch waits for more.
const EVERY: Duration = Duration::from_secs(1);
/// For one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of one batch.
const TRIES: u32 = 6;
/// Before the second try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Whatever the collector asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const MOST_ANSWER: usize = 64 * 1024;

pub(super) struct Collector {
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    sender: Sender,
    queue: Arc<Queue>,
    words: Sparing,
    /// Of what it refuses of a batch that it takes, which is another trouble than not taking any.
    words_of_parts: Sparing,
}

/// Why a batch was not taken.
struct Failure {
    why: String,
    /// Whether another try may end better.
    passing: bool,
    /// When the collector wants to be asked again.
    after: Option<Duration>,
}

impl Collector {
    pub fn new(client: Client, uri: Uri, headers: HeaderMap, queue: Arc<Queue>) -> Collector {
        let instance = format!("{:016x}{:016x}", random(), random());
        let sender = Sender { version: env!("CARGO_PKG_VERSION"), instance };
        Collector { client, uri, headers, sender, queue, words: Sparing::default(), words_of_parts: Sparing::default() }
    }

    fn is_leaving(&self) -> bool {
        *self.queue.leaving.borrow()
    }

    /// Brings one batch there, or gives it up.
    async fn deliver(&self, spans: Vec<Span>) {
        let (count, body) = (spans.len() as u64, Bytes::from(json::request(&self.sender, &spans)));
        drop(spans);
        let (mut tried, mut pause) = (1, FIRST_PAUSE);
        let failure = loop {
            match self.send(body.clone()).await {
                Ok(answer) => return self.taken(count, &answer),
                Err(failure) if !failure.passing || tried == TRIES || self.is_leaving() => break failure,
                Err(failure) => {
                    self.warn(&self.words, &failure.why, "it is tried again");
                    self.rest(failure.after.unwrap_or_else(|| jittered(pause)).min(LONGEST_PAUSE)).await;
                    (tried, pause) = (tried + 1, pause * 2);
                }
            }
        };
        self.queue.counts.failed.fetch_add(count, Ordering::Relaxed);
        self.warn(&self.words, &failure.why, &format!("{count} spans are given up"));
    }

    async fn send(&self, body: Bytes) -> Result<Bytes, Failure> {
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let answer = timeout(TIMEOUT, self.client.post(&self.uri, headers, body, MOST_ANSWER)).await;
        let failure = |why, passing| Failure { why, passing, after: None };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            // It took them; what it says of it is lost.
            Ok(Err(PostError::TooLong)) => Ok(Bytes::new()),
            Ok(Err(PostError::Unreachable(why))) => Err(failure(why, true)),
            Ok(Err(PostError::Status { status, retry_after })) => {
                let passing = matches!(status, 429 | 502 | 503 | 504);
                let hint = match status {
                    401 | 403 => "; does it want a token in [journeys] otlp_headers?",
                    404 | 405 => "; is this where it takes OTLP over HTTP?",
                    415 => "; it must take JSON",
                    _ => "",
                };
                Err(Failure { why: format!("it answered with status {status}{hint}"), passing, after: retry_after })
            }
            Err(_) => Err(failure(format!("no answer within {} s", TIMEOUT.as_secs()), true)),
        }
    }

    /// A success, of all or of a part.
    fn taken(&self, count: u64, answer: &[u8]) {
        let rejected = json::rejected(answer);
        let lost = rejected.spans.min(count);
        self.queue.counts.exported.fetch_add(count - lost, Ordering::Relaxed);
        self.queue.counts.failed.fetch_add(lost, Ordering::Relaxed);
        if lost > 0 || !rejected.why.is_empty() {
            let (why, then) = (format!("it says {:?}", rejected.why), format!("{lost} of {count} spans were refused"));
            self.warn(&self.words_of_parts, &why, &then);
        }
    }

    /// A pause that the end of the server ends.
    async fn rest(&self, pause: Duration) {
        let mut leaving = self.queue.leaving.subscribe();
        _ = timeout(pause, leaving.wait_for(|leaving| *leaving)).await;
    }

    /// Though not each time. No path and no header: both may hold a token.
    fn warn(&self, words: &Sparing, why: &str, then: &str) {
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        match words.say(std::time::Instant::now()) {
            Some(0) => log::warn!("the collector {host} of [journeys] otlp failed: {why}; {then}"),
            Some(more) => log::warn!(
                "the collector {host} of [journeys] otlp failed: {why}; {then} ({more} more since the last word)"
            ),
            None => log::debug!("the collector {host} of [journeys] otlp failed: {why}; {then}"),
        }
    }
}

/// Sends until the server stops, and then what is left.
pub(super) async fn run(collector: Collector) {
    loop {
        // Asked before the queue is: what is offered before the end is found in it.
        let is_last = collector.is_leaving();
        if !is_last {
            _ = timeout(EVERY, collector.queue.wake.notified()).await;
        }
        while let Some(spans) = collector.queue.take() {
            collector.deliver(spans).await;
        }
        if is_last {
            return;
        }
    }
}

/// Between a half and the whole, so that many servers do not come back at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + (random() >> 11) as f64 / (1u64 << 53) as f64 / 2.0)
}
