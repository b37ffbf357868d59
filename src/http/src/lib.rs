//! Everything of ours that speaks plain HTTP: the public side, the admin side, and the client for hooks, push and traces.
//!
//! Owns a small runtime, its two servers and one outgoing client. What it needs from the rest of the server comes in
//! as traits and plain values (`Admin`, `Journeys`, `ToSocket`), so it must not know stages, queues, reactors or
//! stores. Nothing here ever blocks a caller: sockets arrive as byte streams, hooks answer by call-back.

mod admin;
mod alarm;
mod breaker;
mod client;
mod hooks;
mod json;
pub mod metrics;
mod notifier;
mod otlp;
mod places;
mod public;
mod random;
mod runtime;
mod server;
mod slots;
mod sparing;
mod stream;
mod target;

pub use admin::{
    Admin, AlertReport, AlertState, Alerting, AlertsReport, Amount, Auto, Blocked, Cause, Change, DayReport, Delivery,
    Effect, Expected, Figures, Graph, How, JourneyReport, JourneysOf, Law, Node, NoticeReport, NoticesSent,
    Percentiles, Policy, PoolPatch, PoolReport, Readiness, Recorder, Recording, Refused, Saved, Second, Setting,
    Silence, SilenceWish, Spread, StagePatch, StageReport, StageSecond, Stop, StoreSecond, Tokens, Trace, TraceOf,
    TraceStep, Verdict, Wish,
};
pub use alarm::{AlarmOptions, AlertWebhook};
pub use hooks::{HookOptions, WebhookHooks};
pub use notifier::{NotifierOptions, WebhookNotifier};
pub use otlp::{Exporter, ExporterOptions, Span, SpanId, SpanKind, Value};
pub use public::{Journeys, Page};
pub use runtime::HttpRuntime;
pub use server::{Deps, HttpSide, Options, bind_admin};
pub use stream::{HttpStream, Piped, ToSocket};
pub use target::Calls;

/// Why the HTTP side could not start. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address} for the admin side: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot start the threads of the HTTP side: {0}")]
    Threads(std::io::Error),
    #[error("app {app}: {url:?} is no address to call; it must be http:// or https:// with a host")]
    Url { app: Box<str>, url: Box<str> },
    #[error("alerts.webhook is no address to call; it must be http:// or https:// with a host")]
    AlertsUrl,
    #[error("public_url {0:?} is no address; it must be http:// or https:// with a host")]
    PublicUrl(Box<str>),
    #[error("[journeys] otlp {0:?} is no address to call; it must be http:// or https:// with a host")]
    Collector(Box<str>),
    #[error("[journeys] otlp_headers: {0:?} is no header, or what it says is not what a header may say")]
    Header(Box<str>),
    #[error("cannot set up TLS for outgoing calls: {0}")]
    Tls(rustls::Error),
}
