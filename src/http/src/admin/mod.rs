//! The admin side: what an engineer sees and changes while messages flow.
//!
//! Owns the words of the admin API as values (`report`, `change`, `live`), its routes (`routes`), and whom it lets in
//! (`access`, `asker`). What they mean is up to the
//! implementer of [`Admin`]; this module must not know the engine.

mod access;
mod alerts;
mod asker;
mod change;
mod live;
mod record;
mod report;
mod routes;
mod verdict;

pub use access::Tokens;
pub use alerts::{
    AlertReport, AlertState, Alerting, AlertsReport, Expected, NoticeReport, NoticesSent, Silence, SilenceWish,
};
pub(crate) use asker::for_peer;
pub use change::{Change, Effect, Figures, How, Saved, Setting, Wish};
pub use live::{Delivery, Graph, JourneyReport, JourneysOf, Node, Second, Spread, StageSecond, Stop, StoreSecond};
pub use record::{Recorder, Recording};
pub use report::{
    Amount, Auto, Blocked, DayReport, Law, Percentiles, Policy, PoolPatch, PoolReport, Readiness, StagePatch,
    StageReport, Trace, TraceOf, TraceStep,
};
pub(crate) use routes::router;

pub use verdict::{Cause, Verdict};

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Family;

/// What the admin side asks. Each call may block briefly: it runs on a thread kept for that.
pub trait Admin: Send + Sync + 'static {
    fn readiness(&self) -> Readiness;
    /// All stages, in the order of the pipeline.
    fn stages(&self) -> Vec<StageReport>;
    /// `None`: there is no such stage.
    fn stage(&self, name: &str) -> Option<StageReport>;
    fn pools(&self) -> Vec<PoolReport>;
    /// All or nothing. What comes back is in force, unless it was only tried.
    fn change(&self, wish: Wish, how: How) -> Result<Change, Refused>;
    /// The last changes, oldest first.
    fn changes(&self) -> Vec<Change>;
    /// What limits the server now.
    fn bottleneck(&self) -> Verdict;
    /// What is running, as a configuration file.
    fn config(&self) -> String;
    /// Writes what is running into the configuration file.
    fn save(&self, how: How) -> Result<Saved, Refused>;
    /// Those that are remembered of the seconds after number `after`, oldest first.
    fn seconds(&self, after: u64) -> Vec<Arc<Second>>;
    fn graph(&self) -> Graph;
    /// What the last days came to, the newest first; the error is why they cannot be read.
    fn days(&self, days: u32) -> Result<Vec<DayReport>, String>;
    /// The slowest first, at most 50; `None`: there is no such stage.
    fn journeys(&self, of: JourneysOf) -> Option<Vec<JourneyReport>>;
    /// The last things that happened to a client or a message, oldest first; empty when nothing is known.
    fn trace(&self, of: TraceOf) -> Vec<TraceStep>;
    /// How each figure stands against what is usual.
    fn alerts(&self) -> AlertsReport;
    /// Begins a silence of alerts, or ends it; answers with how things stand then.
    fn silence(&self, by: &str, wish: Option<SilenceWish>) -> AlertsReport;
    /// Begins a recording, unless one is under way.
    fn record(&self, by: &str, length: Duration) -> Result<Box<dyn Recorder>, Refused>;
    /// The recording that is under way.
    fn recording(&self) -> Option<Recording>;
    /// What `/metrics` shows besides the stages' own figures: connections, store, hooks.
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No stage or pool of that name.
    Unknown,
    /// The reason, and what would be right.
    Impossible(String),
    /// It cannot be done as things are: there is nothing to undo, say.
    Conflict(String),
}
