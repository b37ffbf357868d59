//! The admin API over the running server: the engine's figures in the API's words. Changes are
//! made in `tuning`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_domain::ids::{JourneyId, MessageId};
use tidegate_engine::{self as engine, Pipeline};
use tidegate_http::metrics::Family;
use tidegate_http::{
    Admin, AlertsReport, Auto, Blocked, Change, DayReport, Exporter, Graph, How, JourneyReport, Journeys, JourneysOf,
    Law, Node, Percentiles, Policy, PoolReport, Readiness, Recorder, Recording, Refused, Saved, Second, SilenceWish,
    StageReport, TraceOf, TraceStep, Verdict, WebhookHooks, WebhookNotifier, Wish,
};
use tidegate_net::Net;
use tidegate_stages::event::Event;
use tidegate_stages::shared::World;
use tidegate_stages::shared::journeys::UNSEEN;

use crate::alerts::Alerts;
use crate::days::Days;
use crate::figures;
use crate::live::Live;
use crate::recorder::Recordings;
use crate::tuning::Tuner;

pub struct Watcher {
    world: Arc<World>,
    pipeline: Arc<Pipeline<Event>>,
    tuner: Arc<Tuner>,
    recordings: Arc<Recordings>,
    live: Arc<Live>,
    days: Arc<Days>,
    alerts: Arc<Alerts>,
    calls: Calls,
    net: OnceLock<Weak<Net>>,
    draining: AtomicBool,
}

/// What calls others: webhooks, push webhooks, and, where there is one, the collector of traces.
pub type Calls = (Arc<WebhookHooks>, Arc<WebhookNotifier>, Option<Exporter>);

impl Watcher {
    /// Watches `of` these.
    pub fn new(
        of: (Arc<World>, Arc<Pipeline<Event>>, Arc<Tuner>, Arc<Live>),
        (days, alerts): (Arc<Days>, Arc<Alerts>),
        calls: Calls,
    ) -> Self {
        let (world, pipeline, tuner, live) = of;
        let (net, draining) = (OnceLock::new(), AtomicBool::new(false));
        let recordings = Recordings::new(world.clone(), pipeline.clone(), tuner.clone());
        Watcher { world, pipeline, tuner, recordings, live, days, alerts, calls, net, draining }
    }

    /// The reactors are up.
    pub fn watch(&self, net: &Arc<Net>) {
        let _ = self.net.set(Arc::downgrade(net));
    }

    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    fn stage_report(&self, report: engine::StageReport) -> StageReport {
        let in_flight = self.tuner.in_flight(&report.name);
        StageReport { in_flight, ..stage_report(report) }
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
        stopping.extend(self.world.store.trouble());
        readiness(stopping, self.world.store.warning())
    }

    fn stages(&self) -> Vec<StageReport> {
        self.pipeline.stages().into_iter().map(|report| self.stage_report(report)).collect()
    }

    fn stage(&self, name: &str) -> Option<StageReport> {
        self.pipeline.stage(name).map(|report| self.stage_report(report))
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

    fn days(&self, days: u32) -> Result<Vec<DayReport>, String> {
        self.days.report(days).map_err(|error| error.to_string())
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

    fn journeys(&self, of: JourneysOf) -> Option<Vec<JourneyReport>> {
        // Slow messages that were not sampled have one stop, which is no stage's.
        let known = of.stage == UNSEEN || self.stage(&of.stage).is_some();
        known.then(|| self.live.journeys(&of))
    }

    fn trace(&self, of: TraceOf) -> Vec<TraceStep> {
        crate::trace::steps(&self.world, &of)
    }

    fn alerts(&self) -> AlertsReport {
        self.alerts.report()
    }

    fn silence(&self, by: &str, wish: Option<SilenceWish>) -> AlertsReport {
        self.alerts.silence(by, wish);
        self.alerts.report()
    }

    fn record(&self, by: &str, length: Duration) -> Result<Box<dyn Recorder>, Refused> {
        self.recordings.begin(by, length)
    }

    fn recording(&self) -> Option<Recording> {
        self.recordings.now()
    }

    fn families(&self) -> Vec<Family> {
        let latest = self.live.latest();
        let store_bytes = latest.and_then(|second| second.store.bytes);
        let mut families = figures::of_world(&self.world);
        families.extend(figures::of_stages(&self.pipeline.stages()));
        if let Some(net) = self.net.get().and_then(Weak::upgrade) {
            families.extend(figures::of_clients(&net.stats()));
        }
        families.extend(figures::of_store(&*self.world.store, store_bytes));
        let (hooks, notifier, exporter) = &self.calls;
        families.extend(hooks.families());
        families.extend(notifier.families());
        families.extend(exporter.iter().flat_map(Exporter::families));
        families.extend(self.alerts.families());
        families.extend(figures::of_process());
        families
    }
}

/// A warning alone turns nobody away: a server that still works is better than none.
fn readiness(stopping: Vec<String>, warning: Option<String>) -> Readiness {
    Readiness { ready: stopping.is_empty(), reasons: stopping.into_iter().chain(warning).collect() }
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
        auto: auto(report.auto),
        in_flight: None,
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
        law: law(report.law),
    }
}

pub fn law(of: engine::Law) -> Law {
    Law { inside: of.inside, told: of.told, error: of.error() }
}

pub fn auto(of: engine::Auto) -> Auto {
    Auto { workers: of.workers, batch: of.batch }
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
        let way = self.world.journeys.find(MessageId::parse(message)?)?;
        let marks = way.marks();
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
        Some(
            json!({ "id": message, "journey": JourneyId(way.id()).to_string(), "stages": stages, "total_us": us(end - start) }),
        )
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
