//! What the dashboard and `tidegate top` look at: a document for each second, the graph, and sampled journeys.
//!
//! Names are a contract. Times in `*_ns` are nanoseconds, in `*_us` microseconds, in `*_ms` milliseconds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Alerting, Auto, Blocked, Law, Policy, Verdict};

/// One second of the whole server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Second {
    /// Counts from 1 at each start.
    pub n: u64,
    /// When it ended, in milliseconds since the epoch.
    pub at_ms: i64,
    /// In the order of the pipeline.
    pub stages: Vec<StageSecond>,
    pub delivery: Delivery,
    /// Sockets that are open.
    pub connections: u64,
    /// Clients that are logged in.
    pub sessions: u64,
    /// Conversations in memory.
    pub conversations: u64,
    /// `null` where the system does not tell.
    pub resident_bytes: Option<u64>,
    /// Cores that the process kept busy; `null` where the system does not tell.
    pub cpu: Option<f64>,
    /// Bytes a second from and to sockets.
    pub received_bytes: f64,
    pub sent_bytes: f64,
    /// Mail waiting for the reactors.
    pub mailbox: u64,
    /// Connections closed because they did not read, since the start.
    pub slow_readers: u64,
    pub store: StoreSecond,
    pub bottleneck: Verdict,
    pub alerts: Alerting,
}

/// One stage in one second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageSecond {
    pub name: String,
    pub pool: String,
    pub workers: usize,
    pub batch: usize,
    pub bound: usize,
    pub policy: Policy,
    pub delay_target_ms: f64,
    pub delay_interval_ms: f64,
    pub key_share: f64,
    pub window: usize,
    pub auto: Auto,
    /// Events in it at the second's end, and of these the ones that wait for the world.
    pub depth: usize,
    pub held: usize,
    /// Events begun a second.
    pub rate: f64,
    /// Since the start.
    pub refused: u64,
    pub utilisation: f64,
    pub blocked: Blocked,
    /// `null` where nothing happened.
    pub wait: Option<Spread>,
    pub service: Option<Spread>,
    /// Of this second alone.
    pub law: Law,
}

/// A distribution of nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    pub count: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
    /// Buckets that are not empty, and their counts. Four buckets to a doubling, the first one up to 1.28 us: bucket `b`
    /// ends at `((5 + b % 4) << (b / 4 + 8)) - 1`.
    pub counts: Box<[(u8, u32)]>,
}

/// From the read of a message to the write of each delivery.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Delivery {
    /// Deliveries a second.
    pub rate: f64,
    /// To 25 %; `null` where nothing was delivered.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct StoreSecond {
    /// On disk; measured now and then.
    pub bytes: Option<u64>,
    /// What needs a look soon.
    pub warning: Option<String>,
    /// Why writes are refused.
    pub trouble: Option<String>,
}

/// The graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Graph {
    /// The stage that everything comes in by.
    pub entry: String,
    pub stages: Vec<Node>,
    /// Those that stages share.
    pub pools: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub name: String,
    pub module: String,
    pub pool: String,
    /// Each output, and the stage that it leads to, or `none`.
    pub to: BTreeMap<String, String>,
}

/// Which journeys are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JourneysOf {
    pub stage: String,
    /// Milliseconds since the epoch at which the stage was done with them.
    pub from_ms: i64,
    pub to_ms: i64,
    pub wait_at_least_us: f64,
    pub service_at_least_us: f64,
}

/// The way of one sampled message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JourneyReport {
    /// The message's.
    pub id: String,
    /// Its own: in log lines about the message, and the id of its trace.
    pub journey: String,
    /// When it came, in milliseconds since the epoch.
    pub at_ms: i64,
    pub total_us: f64,
    pub stages: Vec<Stop>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stop {
    pub stage: String,
    /// From the message's start.
    pub queued_us: f64,
    pub wait_us: f64,
    pub service_us: f64,
    /// Events of its batch.
    pub batch: u32,
}
