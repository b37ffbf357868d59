//! What hooks and notifiers are asked and may answer, as values and traits; how they are reached is `http`'s.
//!
//! Params and returns: http.md 3.2 and 7.7.

use serde_json::Value;

use crate::command::Body;
use crate::error::Failure;
use crate::ids::{AppId, ClientId, ConvId, JourneyId, MessageId, Millis};

/// `messageReceived`: before persistence.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageReceived {
    pub app: AppId,
    pub cid: ConvId,
    pub from: ClientId,
    /// Receivers without the sender; empty for rooms.
    pub to: Vec<ClientId>,
    pub transient: bool,
    pub body: Body,
    pub receipt: bool,
    pub at: Millis,
    pub ip: Option<Box<str>>,
    /// Of a message that is sampled.
    pub journey: Option<JourneyId>,
}

/// What `messageReceived` decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Go on; `body` and `to` replace the message's own where given.
    Pass {
        body: Option<Body>,
        to: Option<Vec<ClientId>>,
        /// No answer of use came, and the app lets messages pass then.
        failed: bool,
    },
    Drop(Failure),
}

/// `messageSent`: after; nothing is waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageSent {
    pub app: AppId,
    pub cid: ConvId,
    pub mid: MessageId,
    pub from: ClientId,
    pub online: Vec<ClientId>,
    pub offline: Vec<ClientId>,
    pub transient: bool,
    pub body: Body,
    pub receipt: bool,
    pub at: Millis,
    pub ip: Option<Box<str>>,
    pub journey: Option<JourneyId>,
}

/// `receiversOffline`: before the push.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiversOffline {
    pub app: AppId,
    pub cid: ConvId,
    pub mid: MessageId,
    pub from: ClientId,
    pub body: Body,
    pub at: Millis,
    pub offline: Vec<ClientId>,
    /// Those of `offline` who muted the conversation: pushed to only when forced.
    pub muted: Vec<ClientId>,
    pub mention_all: bool,
    pub mentioned_offline: Vec<ClientId>,
    /// The message's own `pushData`.
    pub push_data: Option<Box<str>>,
    pub journey: Option<JourneyId>,
}

/// What became of `receiversOffline`.
#[derive(Debug, Clone, PartialEq)]
pub struct Offline {
    /// `None`: no push at all.
    pub push: Option<Notification>,
    /// No answer of use came.
    pub failed: bool,
}

/// What goes to a push provider: resolved content, receivers left.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub app: AppId,
    pub cid: ConvId,
    pub mid: MessageId,
    pub from: ClientId,
    pub at: Millis,
    pub to: Vec<ClientId>,
    pub data: Value,
    pub journey: Option<JourneyId>,
}

/// The app's own server, asked over the network. Every call is answered exactly once, by the call-back, from any
/// thread, within the hook's time-out; none blocks the caller. Concurrency bounds, breaker and the app's
/// `on_failure` are inside: what comes back is what shall happen.
pub trait Hooks: Send + Sync {
    /// Whether this app wants the event at all; cheap.
    fn wants(&self, app: AppId, event: HookEvent) -> bool;
    fn message_received(&self, ask: MessageReceived, done: Box<dyn FnOnce(Verdict) + Send>);
    /// `done(false)`: not everybody who wanted to know could be told.
    fn message_sent(&self, tell: MessageSent, done: Box<dyn FnOnce(bool) + Send>);
    fn receivers_offline(&self, ask: ReceiversOffline, done: Box<dyn FnOnce(Offline) + Send>);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookEvent {
    MessageReceived,
    MessageSent,
    ReceiversOffline,
}

impl HookEvent {
    pub fn name(self) -> &'static str {
        match self {
            HookEvent::MessageReceived => "messageReceived",
            HookEvent::MessageSent => "messageSent",
            HookEvent::ReceiversOffline => "receiversOffline",
        }
    }
}

/// A way to a sleeping device: the push webhook now, APNs and FCM later.
pub trait Notifier: Send + Sync {
    /// Whether this app has one; cheap.
    fn serves(&self, app: AppId) -> bool;
    /// `done(Ok)` when the provider took it. Whoever implements it warns of failures, as often as is good for a log.
    fn notify(&self, notification: Notification, done: Box<dyn FnOnce(Result<(), String>) + Send>);
}
