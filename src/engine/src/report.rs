//! The figures of a pipeline as plain values. What they are measured with is in `metrics.rs`.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{Auto, Law, Policy};

/// Upper bounds, in nanoseconds, of the buckets of times since the start ([`Totals`] has one more of each).
pub const TIME_BUCKETS_NS: [u64; 14] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// A distribution in five numbers, exact to about 1%. All 0 when nothing was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// 90 of 100 are at most this.
    pub p90: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// 999 of 1000 are at most this.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

/// What happened in a stage in one second, once it is over.
#[derive(Debug, Clone)]
pub struct SecondReport {
    /// When it began, in nanoseconds on the pipeline's clock.
    pub since: u64,
    /// When it ended; a second late where the clock's thread got no processor.
    pub until: u64,
    /// Events begun.
    pub events: u64,
    /// Of all its workers together, in batches.
    pub busy_ns: u64,
    /// With work and without room for what would come of it.
    pub blocked_ns: u64,
    /// Whether what was measured can be true.
    pub law: Law,
    /// Absent where nothing happened.
    pub spread: Option<Spread>,
}

/// Distributions of one second, in nanoseconds, to about 1%.
#[derive(Debug, Clone)]
pub struct Spread {
    /// In the queue, for each event.
    pub wait: Histogram<u32>,
    /// From a batch's start to its end.
    pub service: Histogram<u32>,
    /// From being held to being resumed, for each event.
    pub held: Histogram<u32>,
    /// Events of a batch, not nanoseconds.
    pub batch: Histogram<u32>,
}

/// The share of time that a stage had work but no room for what it would emit.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocked {
    /// 0 to 1.
    pub share: f64,
    /// The stage or sink that it last waited for, if it did at all.
    pub by: Option<String>,
}

/// One stage. Percentiles, rate and shares are of the last 10 s.
#[derive(Debug, Clone)]
pub struct StageReport {
    /// The stage's name.
    pub name: Arc<str>,
    /// The module that it is an instance of.
    pub module: String,
    /// The pool that serves it; its own name when it has one to itself.
    pub pool: Arc<str>,
    /// Threads that may be inside at once.
    pub workers: usize,
    /// Events taken in one go, at most.
    pub batch: usize,
    /// Events that may be waiting, worked on and held, together.
    pub bound: usize,
    /// What happens when it is full.
    pub policy: Policy,
    /// The wait above which the door begins to close.
    pub delay_target: Duration,
    /// How often that is decided.
    pub delay_interval: Duration,
    /// The share of the bound that waiting events of one key may take up.
    pub key_share: f64,
    /// How many events of one key may be under way at once when they overlap.
    pub window: usize,
    /// What of this is found while it runs.
    pub auto: Auto,
    /// Events waiting, worked on and held, and room that is reserved for events on their way.
    pub depth: usize,
    /// Events that wait for an answer.
    pub held: usize,
    /// Busy time of its workers, as a share of what they could have worked (0 to 1).
    pub utilisation: f64,
    /// Time with work but without room.
    pub blocked: Blocked,
    /// Events a second.
    pub rate: f64,
    /// Events refused at its door since the start.
    pub refused: u64,
    /// From being queued to the start of the batch, in nanoseconds.
    pub wait: Percentiles,
    /// From a batch's start to its end, in nanoseconds.
    pub service: Percentiles,
    /// From being held to being resumed, in nanoseconds.
    pub held_time: Percentiles,
    /// Events in a batch.
    pub batch_size: Percentiles,
    /// Whether what was measured can be true, over the last ten whole seconds.
    pub law: Law,
    /// Everything since the start.
    pub totals: Totals,
}

/// Sums since the start, for scrapers that take differences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events begun (a resumed one is not begun again).
    pub events: u64,
    /// Batches.
    pub batches: u64,
    /// Sum of all waits.
    pub wait_sum_ns: u64,
    /// Sum of all batches' service times.
    pub service_sum_ns: u64,
    /// How many waits fell into each bucket of [`TIME_BUCKETS_NS`]; the last is for what is longer. Not cumulative over buckets.
    pub wait_buckets: [u64; TIME_BUCKETS_NS.len() + 1],
    /// The same for batches' service times.
    pub service_buckets: [u64; TIME_BUCKETS_NS.len() + 1],
    /// Events refused at its door.
    pub refused: u64,
    /// Batches that panicked.
    pub panics: u64,
    /// Time with work but without room.
    pub blocked_ns: u64,
}

/// A stage at a glance, for whoever looks every second and takes differences: sums since the start, and what is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// The stage's name.
    pub name: Arc<str>,
    /// The module that it is an instance of.
    pub module: String,
    /// The pool that serves it.
    pub pool: Arc<str>,
    /// Threads that may be inside at once.
    pub workers: usize,
    /// Events taken in one go, at most.
    pub batch: usize,
    /// Events that may be waiting, worked on and held, together.
    pub bound: usize,
    /// Events begun.
    pub events: u64,
    /// Batches ended.
    pub batches: u64,
    /// In batches that have ended, of all workers together.
    pub busy_ns: u64,
    /// Sum of all waits in the queue, of events begun.
    pub wait_ns: u64,
    /// With work and without room for what would come of it.
    pub blocked_ns: u64,
    /// The stage or sink that it last waited for, if it did at all.
    pub blocked_by: Option<String>,
    /// Events refused at its door.
    pub refused: u64,
    /// Now: as in [`StageReport::depth`].
    pub depth: usize,
    /// Now: events that wait for an answer.
    pub held: usize,
    /// Now: threads that are inside.
    pub inside: usize,
    /// Now: events that wait in lanes.
    pub waiting: usize,
    /// Now: how many of these are of one key, the one that has the most of the longest lane.
    pub hottest: usize,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolReport {
    /// The pool's name.
    pub name: Arc<str>,
    /// How many threads it is meant to have.
    pub workers: usize,
    /// How many it has: a thread that is to leave finishes its batch first.
    pub running: usize,
    /// How long a thread without work looks for some before it parks.
    pub spin: Duration,
    /// Whether others help it while its threads sleep.
    pub is_helped: bool,
    /// Batches that others ran for it since the start, see [`Helper`](crate::Helper).
    pub helped: u64,
    /// Its stages, downstream first.
    pub stages: Vec<Arc<str>>,
}
