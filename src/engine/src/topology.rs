//! A pipeline as data: which stages there are, what their outputs are bound to, which pools serve them.
//!
//! Only values. What can be wrong with them is in `check.rs`.

use std::fmt;
use std::time::Duration;

/// The graph, the pools and every figure that a pipeline runs by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Topology {
    /// The stages, in any order.
    pub stages: Vec<StageSettings>,
    /// The pools that stages share. A stage that names none has one to itself.
    pub pools: Vec<PoolSettings>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSettings {
    /// Its name, unique among the stages.
    pub name: String,
    /// What it is an instance of.
    pub module: String,
    /// Outputs and the stages that they are bound to, or `"none"`.
    pub to: Vec<(String, String)>,
    /// The pool that serves it. `None`: one of its own, named after it, with `workers` threads.
    pub pool: Option<String>,
    /// How many threads may be inside at once.
    pub workers: usize,
    /// How many events a thread takes in one go, at most.
    pub batch: usize,
    /// How many events may be waiting, worked on and held, together.
    pub bound: usize,
    /// What happens when that is reached.
    pub policy: Policy,
    /// The wait above which the door begins to close.
    pub delay_target: Duration,
    /// How often that is decided.
    pub delay_interval: Duration,
    /// The share of `bound` that waiting events of one key may take up, above 0 and at most 1. What would pass it is refused
    /// ([`Refusal::KeyShare`](crate::Refusal::KeyShare)); not looked at where the module's events must not be refused.
    pub key_share: f64,
    /// How many events of one key may be under way at once when they overlap.
    pub window: usize,
    /// What of this is found while it runs: `workers` and `batch` are then those of the moment.
    pub auto: Auto,
}

/// Which figures of a stage are not fixed, but found by trying (`adaptive.rs`). The pipeline itself goes by the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Auto {
    /// `workers`.
    pub workers: bool,
    /// `batch`.
    pub batch: bool,
}

impl Auto {
    /// Whether anything is to be found.
    pub fn any(self) -> bool {
        self.workers || self.batch
    }
}

impl StageSettings {
    /// A stage of the module of the same name with an own pool of one thread and the defaults for the rest.
    pub fn new(name: impl Into<String>) -> StageSettings {
        let name = name.into();
        StageSettings {
            module: name.clone(),
            name,
            to: Vec::new(),
            pool: None,
            workers: 1,
            batch: 64,
            bound: 8192,
            policy: Policy::Block,
            delay_target: Duration::from_millis(5),
            delay_interval: Duration::from_millis(50),
            key_share: 1.0,
            window: 64,
            auto: Auto::default(),
        }
    }

    /// The same with an output bound to a stage.
    pub fn to(mut self, output: impl Into<String>, stage: impl Into<String>) -> StageSettings {
        self.to.push((output.into(), stage.into()));
        self
    }

    pub(crate) fn target(&self, output: &str) -> Option<&str> {
        self.to.iter().find(|(name, _)| name == output).map(|(_, stage)| stage.as_str())
    }
}

/// What happens when a stage is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Whoever feeds it over the line waits.
    Block,
    /// The event is refused to its sender.
    Shed,
    /// Droppable events are dropped, from the longest lane first; where there are none, as [`Policy::Block`].
    DropOldest,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Policy::Block => "block",
            Policy::Shed => "shed",
            Policy::DropOldest => "drop-oldest",
        })
    }
}

/// Threads that several stages share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Its name.
    pub name: String,
    /// How many threads.
    pub workers: usize,
    /// How long a thread without work looks for some before it parks.
    pub spin: Duration,
    /// Whether those who hand events in run its stages themselves while its own threads sleep, see
    /// [`Helper`](crate::Helper). Never where stages wait for the disk.
    pub helped: bool,
}

impl PoolSettings {
    /// A pool with the default spin of 5 us, helped.
    pub fn new(name: impl Into<String>, workers: usize) -> PoolSettings {
        PoolSettings { name: name.into(), workers, spin: Duration::from_micros(5), helped: true }
    }
}

/// Something that makes a topology unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What is wrong, in a sentence without a full stop.
    pub reason: String,
    /// What to write instead; may be empty.
    pub help: String,
}

/// A place in a topology.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A field of a stage, by its name in [`StageSettings`].
    Stage {
        /// The stage.
        stage: String,
        /// The field.
        field: &'static str,
    },
    /// A binding in a stage's `to`, whether it is there or missing.
    Output {
        /// The stage.
        stage: String,
        /// The output.
        output: String,
    },
    /// A field of a pool, by its name in [`PoolSettings`].
    Pool {
        /// The pool.
        pool: String,
        /// The field.
        field: &'static str,
    },
    /// Where events come in.
    Entry(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Stage { stage, field } => write!(f, "stages.{stage}.{field}"),
            Place::Output { stage, output } => write!(f, "stages.{stage}.to.{output}"),
            Place::Pool { pool, field } => write!(f, "pools.{pool}.{field}"),
            Place::Entry(name) => write!(f, "entry {name}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)?;
        if !self.help.is_empty() {
            write!(f, " ({})", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// What an optional output is bound to when it leads nowhere.
pub(crate) const NONE: &str = "none";

impl Topology {
    pub(crate) fn stage(&self, name: &str) -> Option<&StageSettings> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}
