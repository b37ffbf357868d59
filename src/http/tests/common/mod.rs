//! A real HTTP server for hooks and push to call, and the values that the tests share.

#![allow(dead_code)] // Each test program uses its own part.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tidegate_domain::app::{App, OnFailure, SignaturePolicy, Webhook};
use tidegate_domain::command::Body;
use tidegate_domain::hook::{HookEvent, MessageReceived, MessageSent, ReceiversOffline};
use tidegate_domain::ids::{AppId, ConvId, MessageId};

/// Longer than anything here takes; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const SECRET: &str = "hook-secret";
pub const CONV: &str = "559d08a1e4b0a35bc5062ba1";

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Heard {
    pub from: SocketAddr,
    pub signature: Option<String>,
    pub body: Bytes,
    pub json: Value,
}

/// Somebody else's server. It ends when dropped.
pub struct Receiver {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    pub fn new<F, A, R>(answer: F) -> Self
    where
        F: Fn(Value) -> A + Send + Sync + 'static,
        A: Future<Output = R> + Send + 'static,
        R: IntoResponse,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let (inside, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let answer: Arc<dyn Fn(Value) -> Answer + Send + Sync> = Arc::new(move |json| {
            let answer = answer(json);
            Box::pin(async move { answer.await.into_response() })
        });
        let (log, now, peak) = (heard.clone(), inside.clone(), most.clone());
        let handler = move |ConnectInfo(from): ConnectInfo<SocketAddr>, headers: HeaderMap, body: Bytes| async move {
            let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let signature = headers.get("x-tidegate-signature").map(|value| value.to_str().unwrap().to_owned());
            log.lock().unwrap().push(Heard { from, signature, body, json: json.clone() });
            let _guest = Guest::enter(&now, &peak);
            answer(json).await
        };
        let routes = Router::new().route("/hook", post(handler)).into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Receiver { address, heard, inside, most, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// Requests being answered now.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    /// The most there ever were.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Counts a request out again even when its caller hangs up.
struct Guest(Arc<AtomicUsize>);

impl Guest {
    fn enter(now: &Arc<AtomicUsize>, peak: &Arc<AtomicUsize>) -> Self {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Guest(now.clone())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn webhook(url: impl Into<Box<str>>) -> Webhook {
    Webhook {
        url: url.into(),
        secret: SECRET.into(),
        events: vec![HookEvent::MessageReceived, HookEvent::MessageSent, HookEvent::ReceiversOffline],
        timeout: Duration::from_secs(5),
        concurrency: 8,
        on_failure: OnFailure::Pass,
    }
}

pub fn app(index: u16, webhooks: Vec<Webhook>) -> App {
    App {
        index: AppId(index),
        id: format!("app-{index}").into(),
        key: "key".into(),
        master_key: "master".into(),
        origins: Vec::new(),
        signature: SignaturePolicy::default(),
        push_webhook: None,
        webhooks,
    }
}

pub fn text(words: &str) -> Body {
    Body::Text(Bytes::copy_from_slice(words.as_bytes()))
}

pub fn received(app: u16) -> MessageReceived {
    MessageReceived {
        app: AppId(app),
        cid: ConvId::parse(CONV),
        from: "ann".into(),
        to: vec!["bob".into(), "cy".into()],
        transient: false,
        body: text("hello"),
        receipt: true,
        at: 1_700_000_000_000,
        ip: Some("10.1.2.3".into()),
        journey: None,
    }
}

pub fn sent(app: u16) -> MessageSent {
    MessageSent {
        app: AppId(app),
        cid: ConvId::parse(CONV),
        mid: MessageId([7; 16]),
        from: "ann".into(),
        online: vec!["bob".into()],
        offline: vec!["cy".into()],
        transient: false,
        body: text("hello"),
        receipt: false,
        at: 1_700_000_000_000,
        ip: None,
        journey: None,
    }
}

pub fn offline(app: u16) -> ReceiversOffline {
    ReceiversOffline {
        app: AppId(app),
        cid: ConvId::parse(CONV),
        mid: MessageId([7; 16]),
        from: "ann".into(),
        body: text("hello"),
        at: 1_700_000_000_000,
        offline: vec!["bob".into(), "cy".into()],
        muted: vec!["cy".into()],
        mention_all: false,
        mentioned_offline: vec!["bob".into()],
        push_data: Some(r#"{"alert":"own"}"#.into()),
        journey: None,
    }
}

/// A call-back and where its word arrives.
pub fn told<T: Send + 'static>() -> (Box<dyn FnOnce(T) + Send>, mpsc::Receiver<T>) {
    let (tell, hear) = mpsc::channel();
    // Nobody listens any more once the test has what it wants.
    (Box::new(move |word| drop(tell.send(word))), hear)
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
