//! What `/metrics` shows beside the stages' own reports and the webhooks: sums of the stages since the start, the
//! connections, the store, the process. Each is a metric of the registry; asked for when a scraper asks.

use tidegate_engine::{StageReport, TIME_BUCKETS_NS};
use tidegate_http::metrics::registry::*;
use tidegate_http::metrics::{Distribution, Family};
use tidegate_net::Stats;
use tidegate_stages::shared::World;
use tidegate_store::Store;

use crate::live::{Process, descriptors};

/// Nanoseconds of a second.
const NS: f64 = 1e9;

pub fn of_world(world: &World) -> Vec<Family> {
    vec![SESSIONS.is(world.directory.count() as f64), CACHED_CONVERSATIONS.is(world.views.len() as f64)]
}

/// Sums since the start, for scrapers that take differences.
pub fn of_stages(stages: &[StageReport]) -> Vec<Family> {
    let spread = |sum: u64, count: u64, counts: [u64; TIME_BUCKETS_NS.len() + 1]| {
        let bounds = TIME_BUCKETS_NS.iter().map(|ns| *ns as f64 / NS).chain([f64::MAX]);
        Distribution { sum: sum as f64 / NS, count, buckets: bounds.zip(counts).collect() }
    };
    let totals = || stages.iter().map(|stage| ([&stage.name], &stage.totals));
    vec![
        STAGE_EVENTS.of(totals().map(|(stage, totals)| (stage, totals.events as f64))),
        STAGE_PANICS.of(totals().map(|(stage, totals)| (stage, totals.panics as f64))),
        STAGE_WAITED_SECONDS
            .of(totals().map(|(stage, of)| (stage, spread(of.wait_sum_ns, of.events, of.wait_buckets)))),
        STAGE_WORKED_SECONDS
            .of(totals().map(|(stage, of)| (stage, spread(of.service_sum_ns, of.batches, of.service_buckets)))),
    ]
}

pub fn of_clients(stats: &Stats) -> Vec<Family> {
    let seconds = |bound: u64| if bound == u64::MAX { f64::MAX } else { bound as f64 / NS };
    let delivery = Distribution {
        // The reactors keep buckets alone: the sum is that of their upper bounds.
        sum: stats.delivery_ns.iter().map(|(bound, n)| seconds(*bound).min(60.0) * *n as f64).sum(),
        count: stats.delivery_ns.iter().map(|(_, n)| n).sum(),
        buckets: stats.delivery_ns.iter().map(|(bound, n)| (seconds(*bound), *n)).collect(),
    };
    vec![
        CONNECTIONS.is(stats.connections as f64),
        CONNECTIONS_ACCEPTED.is(stats.accepted as f64),
        CONNECTIONS_TURNED_AWAY.is(stats.turned_away as f64),
        CONNECTIONS_CLOSED.of(stats.closed.iter().map(|(code, count)| ([code], *count as f64))),
        RECEIVED_BYTES.is(stats.bytes_in as f64),
        SENT_BYTES.is(stats.bytes_out as f64),
        RECEIVED_FRAMES.is(stats.frames_in as f64),
        SENT_FRAMES.is(stats.frames_out as f64),
        WAITING_LOGINS.is(stats.waiting as f64),
        MAILBOX_DEPTH.is(stats.mailbox_depth as f64),
        BLOCKED_CONNECTIONS.is(stats.blocked as f64),
        DROPPED_NOTICES.is(stats.dropped as f64),
        SLOW_READERS.is(stats.slow_readers as f64),
        DELIVERY_SECONDS.is(delivery),
    ]
}

/// `bytes`: of its files, as measured last.
pub fn of_store(store: &dyn Store, bytes: Option<u64>) -> Vec<Family> {
    let flag = |is: bool| f64::from(is as u8);
    let synced = store.synced();
    vec![
        STORE_BROKEN.is(flag(store.trouble().is_some())),
        STORE_WARNING.is(flag(store.warning().is_some())),
        STORE_COMMITS.is(synced.commits as f64),
        STORE_COMMIT_SECONDS.is(synced.time.as_secs_f64()),
        STORE_BYTES.is(bytes.map(|bytes| bytes as f64)),
    ]
}

pub fn of_process() -> Vec<Family> {
    let process = Process::now();
    let limit = rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| soft as f64);
    vec![
        INFO.of([([env!("CARGO_PKG_VERSION")], 1.0)]),
        MEMORY_BYTES.is(process.resident_bytes.map(|bytes| bytes as f64)),
        CPU_SECONDS.is(process.cpu_seconds()),
        DESCRIPTORS.is(descriptors().map(|count| count as f64)),
        DESCRIPTORS_LIMIT.is(limit),
    ]
}
