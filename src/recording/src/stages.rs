//! What one stage did: how much came to it and when, in which batches it worked and for how long, what it sent on.

use serde::{Deserialize, Serialize};

/// One stage's work during the recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTape {
    /// Events that came from outside the pipeline in each hundredth of a second.
    pub arrivals: Vec<u32>,
    /// Events that came in all.
    pub events: u64,
    /// Shares of the events that its most frequent keys had, the largest first; all others are taken to be many and equal.
    pub keys: Vec<f64>,
    /// How long batches took, by their sizes.
    pub service: Vec<Service>,
    /// What it sent on, by output.
    pub emits: Vec<Emits>,
    /// The share of the events that were held for something outside, and quantiles of how long, in nanoseconds.
    pub held: f64,
    pub held_ns: Vec<u64>,
}

/// Batches of about one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Their mean size, in events.
    pub size: f64,
    /// How many there were.
    pub batches: u64,
    /// Quantiles of the time that they took, in nanoseconds: the least, every twentieth, the most.
    pub ns: Vec<u64>,
    /// How much of that time a processor worked; the rest waited for a disk or a call.
    pub cpu: f64,
}

/// What one output had.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Emits {
    /// The output's name.
    pub output: String,
    /// Events for each that the stage finished: the mean.
    pub mean: f64,
    /// The share of the finished ones that had any.
    pub share: f64,
}
