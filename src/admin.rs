//! The admin API over the running server: the engine's figures in the API's words. Changes are
//! made in `tuning`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_domain::ids::MessageId;
use tidegate_engine::{self as engine, Pipeline};
use tidegate_http::{
    Admin, Blocked, Change, Family, Graph, How, JourneyReport, Journeys, JourneysOf, Kind, Node, Percentiles, Policy,
    PoolReport, Readiness, Refused, Sample, Saved, Second, StageReport, TraceOf, TraceStep, Value as Figure, Verdict,
    WebhookHooks, WebhookNotifier, Wish,
};
use tidegate_net::{Net, Stats};
use tidegate_stages::event::Event;
use tidegate_stages::shared::World;
use tidegate_store::Store;

use crate::live::Live;
use crate::tuning::Tuner;

pub struct Watcher {
    world: Arc<World>,
    pipeline: Arc<Pipeline<Event>>,
    tuner: Arc<Tuner>,
    live: Arc<Live>,
    store: Arc<dyn Store>,
    hooks: Arc<WebhookHooks>,
    notifier: Arc<WebhookNotifier>,
    net: OnceLock<Weak<Net>>,
    draining: AtomicBool,
}

impl Watcher {
    pub fn new(
        world: Arc<World>,
        pipeline: Arc<Pipeline<Event>>,
        tuner: Arc<Tuner>,
        live: Arc<Live>,
        store: Arc<dyn Store>,
        hooks: Arc<WebhookHooks>,
        notifier: Arc<WebhookNotifier>,
    ) -> Self {
        let (net, draining) = (OnceLock::new(), AtomicBool::new(false));
        Watcher { world, pipeline, tuner, live, store, hooks, notifier, net, draining }
    }

    /// The reactors are up.
    pub fn watch(&self, net: &Arc<Net>) {
        let _ = self.net.set(Arc::downgrade(net));
    }

    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}

impl Admin for Watcher {
    fn readiness(&self) -> Readiness {
        let mut stopping = Vec::new();
        if self.draining.load(Ordering::SeqCst) {
            stopping.push("draining: the server is about to stop".to_owned());
        }
        if self.net.get().is_none() {
            stopping.push("starting: nobody can connect yet".to_owned());
        }
        stopping.extend(self.store.trouble());
        readiness(stopping, self.store.warning())
    }

    fn stages(&self) -> Vec<StageReport> {
        self.pipeline.stages().into_iter().map(stage_report).collect()
    }

    fn stage(&self, name: &str) -> Option<StageReport> {
        self.pipeline.stage(name).map(stage_report)
    }

    fn pools(&self) -> Vec<PoolReport> {
        self.pipeline.pools().into_iter().map(pool_report).collect()
    }

    fn change(&self, wish: Wish, how: How) -> Result<Change, Refused> {
        self.tuner.change(wish, how)
    }

    fn changes(&self) -> Vec<Change> {
        self.tuner.changes()
    }

    fn bottleneck(&self) -> Verdict {
        self.live.bottleneck()
    }

    fn config(&self) -> String {
        tidegate_config::write(&self.tuner.running(), tidegate_config::Secrets::Starred)
    }

    fn save(&self, how: How) -> Result<Saved, Refused> {
        self.tuner.save(&how)
    }

    fn seconds(&self, after: u64) -> Vec<Arc<Second>> {
        self.live.seconds(after)
    }

    fn graph(&self) -> Graph {
        let pool = |stage: &engine::StageSettings| stage.pool.clone().unwrap_or_else(|| stage.name.clone());
        let topology = self.pipeline.topology();
        let node = |stage: &engine::StageSettings| Node {
            name: stage.name.clone(),
            module: stage.module.clone(),
            pool: pool(stage),
            to: stage.to.iter().cloned().collect(),
        };
        Graph {
            entry: self.tuner.entry().to_owned(),
            stages: topology.stages.iter().map(node).collect(),
            pools: topology.pools.into_iter().map(|pool| pool.name).collect(),
        }
    }

    fn journeys(&self, of: JourneysOf) -> Vec<JourneyReport> {
        self.live.journeys(&of)
    }

    fn trace(&self, of: TraceOf) -> Vec<TraceStep> {
        crate::trace::steps(&self.world, &of)
    }

    fn families(&self) -> Vec<Family> {
        let mut families = vec![
            Family::new("sessions", "Sessions that are open", Kind::Gauge)
                .number(&[], self.world.directory.count() as f64),
            Family::new("cached_conversations", "Conversations in memory", Kind::Gauge)
                .number(&[], self.world.views.len() as f64),
        ];
        families.extend(self.stage_families());
        if let Some(net) = self.net.get().and_then(Weak::upgrade) {
            families.extend(net_families(&net.stats()));
        }
        families.extend(self.hooks.families());
        families.extend(self.notifier.families());
        families
    }
}

/// A warning alone turns nobody away: a server that still works is better than none.
fn readiness(stopping: Vec<String>, warning: Option<String>) -> Readiness {
    Readiness { ready: stopping.is_empty(), reasons: stopping.into_iter().chain(warning).collect() }
}

impl Watcher {
    /// Sums since the start, for scrapers that take differences.
    fn stage_families(&self) -> Vec<Family> {
        let mut events = Family::new("stage_events", "Events begun", Kind::Counter);
        let mut panics = Family::new("stage_panics", "Batches that panicked", Kind::Counter);
        let mut waits = Family::new("stage_wait_seconds", "Time from being queued to being worked on", Kind::Histogram);
        for stage in self.pipeline.stages() {
            let labels = [("stage", &*stage.name)];
            events = events.number(&labels, stage.totals.events as f64);
            panics = panics.number(&labels, stage.totals.panics as f64);
            let bounds = engine::TIME_BUCKETS_NS.iter().map(|ns| *ns as f64 / 1e9).chain([f64::MAX]);
            waits.samples.push(Sample {
                labels: vec![("stage", stage.name.to_string())],
                value: Figure::Distribution {
                    sum: stage.totals.wait_sum_ns as f64 / 1e9,
                    count: stage.totals.events,
                    buckets: bounds.zip(stage.totals.wait_buckets).collect(),
                },
            });
        }
        vec![events, panics, waits]
    }
}

fn net_families(stats: &Stats) -> Vec<Family> {
    let number = |name, help, kind, value: u64| Family::new(name, help, kind).number(&[], value as f64);
    let mut closed = Family::new("connections_closed", "Connections that ended, by close code", Kind::Counter);
    for (code, count) in &stats.closed {
        closed = closed.number(&[("code", &code.to_string())], *count as f64);
    }
    let mut delivery =
        Family::new("delivery_seconds", "From the read of a message to the write of each delivery", Kind::Histogram);
    delivery.samples.push(Sample {
        labels: Vec::new(),
        value: Figure::Distribution {
            // The reactors keep buckets alone: the sum is that of their upper bounds.
            sum: stats.delivery_ns.iter().map(|(bound, n)| (*bound).min(60_000_000_000) as f64 / 1e9 * *n as f64).sum(),
            count: stats.delivery_ns.iter().map(|(_, n)| n).sum(),
            buckets: stats
                .delivery_ns
                .iter()
                .map(|(bound, n)| (if *bound == u64::MAX { f64::MAX } else { *bound as f64 / 1e9 }, *n))
                .collect(),
        },
    });
    vec![
        number("connections", "Connections that are open", Kind::Gauge, stats.connections),
        number("connections_accepted", "Connections accepted", Kind::Counter, stats.accepted),
        number("received_bytes", "Bytes read from sockets", Kind::Counter, stats.bytes_in),
        number("sent_bytes", "Bytes written to sockets", Kind::Counter, stats.bytes_out),
        number("received_frames", "Commands handed to the pipeline", Kind::Counter, stats.frames_in),
        number("sent_frames", "Replies and notices written", Kind::Counter, stats.frames_out),
        number("waiting_logins", "Log-ins that wait for their turn", Kind::Gauge, stats.waiting),
        number("mailbox_depth", "Mail waiting for the reactors", Kind::Gauge, stats.mailbox_depth),
        number("blocked_connections", "Connections whose socket takes no more now", Kind::Gauge, stats.blocked),
        number(
            "dropped_notices",
            "Notices dropped because their connection did not read",
            Kind::Counter,
            stats.dropped,
        ),
        number("slow_readers", "Connections closed because they did not read", Kind::Counter, stats.slow_readers),
        closed,
        delivery,
    ]
}

fn stage_report(report: engine::StageReport) -> StageReport {
    let ms = |time: Duration| Some(time.as_secs_f64() * 1_000.0);
    StageReport {
        name: report.name.to_string(),
        module: report.module,
        pool: report.pool.to_string(),
        workers: report.workers,
        batch: report.batch,
        bound: report.bound,
        policy: policy(report.policy),
        delay_target_ms: ms(report.delay_target),
        delay_interval_ms: ms(report.delay_interval),
        key_share: report.key_share,
        window: report.window,
        depth: report.depth,
        held: report.held,
        utilisation: report.utilisation,
        blocked: Blocked { share: report.blocked.share, by: report.blocked.by },
        rate: report.rate,
        refused: report.refused,
        wait_ns: percentiles(report.wait),
        service_ns: percentiles(report.service),
        held_ns: percentiles(report.held_time),
        batch_size: percentiles(report.batch_size),
    }
}

pub fn policy(of: engine::Policy) -> Policy {
    match of {
        engine::Policy::Block => Policy::Block,
        engine::Policy::Shed => Policy::Shed,
        engine::Policy::DropOldest => Policy::DropOldest,
    }
}

fn percentiles(of: engine::Percentiles) -> Percentiles {
    Percentiles { p50: of.p50, p90: of.p90, p99: of.p99, p999: of.p999, max: of.max }
}

fn pool_report(report: engine::PoolReport) -> PoolReport {
    PoolReport {
        name: report.name.to_string(),
        workers: report.workers,
        spin_us: report.spin.as_secs_f64() * 1e6,
        reactors: report.is_helped,
        helped: report.helped,
        stages: report.stages.iter().map(|stage| stage.to_string()).collect(),
    }
}

impl Journeys for Watcher {
    /// The way of one message: each stage's queue wait and service time, in microseconds from its start.
    fn journey(&self, message: &str) -> Option<Value> {
        let journey = self.world.journeys.find(MessageId::parse(message)?)?;
        let marks = journey.marks();
        let start = marks.iter().map(|mark| mark.queued_at).min()?;
        let end = marks.iter().map(|mark| mark.ended_at).max()?;
        let us = |ns: u64| ns as f64 / 1_000.0;
        let stages: Vec<Value> = marks
            .iter()
            .map(|mark| {
                json!({
                    "stage": &*mark.stage,
                    "queued_us": us(mark.queued_at - start),
                    "wait_us": us(mark.started_at.saturating_sub(mark.queued_at)),
                    "service_us": us(mark.ended_at.saturating_sub(mark.started_at)),
                    "batch": mark.batch,
                })
            })
            .collect();
        Some(json!({ "id": message, "stages": stages, "total_us": us(end - start) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_said_and_turns_nobody_away() {
        let low = || Some("only 55 MiB are free on the data folder's disk".to_owned());
        assert_eq!(readiness(vec![], None), Readiness { ready: true, reasons: vec![] });
        assert_eq!(readiness(vec![], low()), Readiness { ready: true, reasons: low().into_iter().collect() });
        let both = readiness(vec!["draining".to_owned()], low());
        assert_eq!((both.ready, both.reasons.len(), &*both.reasons[0]), (false, 2, "draining"));
    }
}
