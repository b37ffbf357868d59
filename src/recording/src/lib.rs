//! A recording: what came to a server for some time and what its stages did, without what was said and who said it.
//!
//! One JSON file. `messages` is the pattern that `tidegate replay` sends again; `stages` is what `tidegate whatif`
//! simulates. Owns the format; knows nothing of how it is taken or used.

mod messages;
mod stages;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use messages::{Kind, Message, Messages};
pub use stages::{Emits, Service, StageTape};

/// The format that this program writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// A recording as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// [`VERSION`].
    pub version: u32,
    /// Which Tidegate wrote it.
    pub program: String,
    /// How long was recorded.
    pub seconds: f64,
    /// Processors that the server could use.
    pub cores: u32,
    /// The running configuration, as `GET /config` tells it: without secrets.
    pub config: String,
    /// What each stage did, by its name.
    pub stages: BTreeMap<String, StageTape>,
    /// What clients sent.
    pub messages: Messages,
}
