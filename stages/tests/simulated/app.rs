//! The app's own server, as a run's seed has it: how long each call takes and what it says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use tidegate_domain::command::Body;
use tidegate_domain::error::Code;
use tidegate_domain::hook::{
    HookEvent, Hooks, MessageReceived, MessageSent, Notification, Notifier, Offline, ReceiversOffline, Verdict,
};
use tidegate_domain::ids::{AppId, MessageId};
use tidegate_engine::Outside;

/// What the hook adds to each message that it lets pass.
pub const SEEN: &str = " (seen)";

pub struct AppServer {
    on: bool,
    outside: Outside,
    random: AtomicU64,
    /// Bodies that were asked about, in order.
    pub asked: Mutex<Vec<String>>,
    /// Messages that it was told of.
    pub told: Mutex<Vec<MessageId>>,
    pub pushed: Mutex<Vec<Notification>>,
}

impl AppServer {
    pub fn new(on: bool, outside: Outside, random: u64) -> Self {
        AppServer {
            on,
            outside,
            random: AtomicU64::new(random),
            asked: Mutex::default(),
            told: Mutex::default(),
            pushed: Mutex::default(),
        }
    }

    fn delay(&self) -> Duration {
        let n = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, SeqCst);
        let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Duration::from_micros((n ^ (n >> 31)) % 3_000)
    }
}

/// Whether the hook lets a message pass; by its text alone, so that a resend fares as its first.
pub fn refuses(text: &str) -> bool {
    text.ends_with('7')
}

pub fn text_of(body: &Body) -> String {
    let (Body::Text(bytes) | Body::Binary(bytes)) = body;
    String::from_utf8_lossy(bytes).into_owned()
}

impl Hooks for AppServer {
    fn wants(&self, _app: AppId, _event: HookEvent) -> bool {
        self.on
    }

    fn message_received(&self, ask: MessageReceived, done: Box<dyn FnOnce(Verdict) + Send>) {
        let text = text_of(&ask.body);
        let verdict = match refuses(&text) {
            true => Verdict::Drop(Code::MessageRejectedByApp.into()),
            false => {
                Verdict::Pass { body: Some(Body::Text(Bytes::from(format!("{text}{SEEN}")))), to: None, failed: false }
            }
        };
        self.asked.lock().unwrap().push(text);
        self.outside.after(self.delay(), move || done(verdict));
    }

    fn message_sent(&self, tell: MessageSent, done: Box<dyn FnOnce(bool) + Send>) {
        self.told.lock().unwrap().push(tell.mid);
        self.outside.after(self.delay(), move || done(true));
    }

    fn receivers_offline(&self, ask: ReceiversOffline, done: Box<dyn FnOnce(Offline) + Send>) {
        let notification = Notification {
            app: ask.app,
            cid: ask.cid,
            mid: ask.mid,
            from: ask.from,
            at: ask.at,
            to: ask.offline,
            data: serde_json::Value::Null,
            journey: ask.journey,
        };
        self.outside.after(self.delay(), move || done(Offline { push: Some(notification), failed: false }));
    }
}

impl Notifier for AppServer {
    fn serves(&self, _app: AppId) -> bool {
        true
    }

    fn notify(&self, notification: Notification, done: Box<dyn FnOnce(Result<(), String>) + Send>) {
        self.pushed.lock().unwrap().push(notification);
        self.outside.after(self.delay(), move || done(Ok(())));
    }
}
