//! Changes of the running server as the admin API tells them: what was changed, by whom, and what came of it.

use serde::Serialize;
use serde_json::Value;

use super::{PoolPatch, StagePatch};

/// What somebody wants changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    Stage(String, StagePatch),
    Pool(String, PoolPatch),
    /// The last change that was not undone yet, backwards.
    Undo,
    /// The configuration file, read again.
    Reload,
}

/// By whom, and whether in earnest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    /// For people: a name, a command, an address.
    pub by: String,
    /// Say what would come of it, and change nothing.
    pub dry_run: bool,
}

/// One key of the configuration and its values, as they are written there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// As in `stages.persist.batch`.
    pub key: String,
    pub from: Value,
    pub to: Value,
}

/// A change that was made, or would be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Counts from 1 at each start; 0 for what was only tried.
    pub id: u64,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    pub by: String,
    /// Empty where all was so already.
    pub changes: Vec<Setting>,
    /// Of a step that the server took by itself: the reason, with numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The change that this one took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The change that took this one back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<u64>,
    /// The whole pipeline first, then each stage that was changed.
    pub effect: Vec<Effect>,
    #[serde(skip_serializing_if = "is_earnest")]
    pub dry_run: bool,
}

fn is_earnest(dry_run: &bool) -> bool {
    !dry_run
}

/// Figures of 10 seconds each: before a change, and a minute after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// A stage's name, or `pipeline`.
    pub of: String,
    pub before: Figures,
    /// `null` until a minute has passed.
    pub after: Option<Figures>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Events a second; of the pipeline, those that its first stage finished.
    pub rate: f64,
    /// Of a stage, the wait in its queue; of the pipeline, from the read of a message to the write of each delivery.
    /// `null` where nothing was measured.
    pub p99_ms: Option<f64>,
}

/// What was written into the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Saved {
    pub file: String,
    /// The file as it was before; absent where nothing had to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    pub changes: Vec<Setting>,
    #[serde(skip_serializing_if = "is_earnest")]
    pub dry_run: bool,
}
