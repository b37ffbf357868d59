//! The last quarter of an hour, second by second: what the dashboard and `tidegate top` draw.
//!
//! Owns the seconds that are kept. Made by the monitor's thread alone, read by everybody. Must not know how it is shown.

mod journeys;
mod process;
mod spread;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_engine::{Glance, Pipeline, SecondReport, StageSettings};
use tidegate_http::{Blocked, Delivery, JourneyReport, JourneysOf, Second, StageSecond, StoreSecond, Verdict};
use tidegate_net::Stats;
use tidegate_stages::event::Event;
use tidegate_stages::shared::World;
use tidegate_store::Store;

use crate::admin::{auto, law, policy};
use crate::alerts::Alerts;
use crate::bottleneck::Bottleneck;
use crate::hdr::Logs;
pub use process::{Process, descriptors};
pub use spread::{quantile, since};

/// Seconds that are kept.
const KEPT: usize = 900;
/// How often the store's size on disk is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// How soon to look again for a second that should have ended by now.
const SOON: Duration = Duration::from_millis(20);

pub struct Live {
    world: Arc<World>,
    pipeline: Arc<Pipeline<Event>>,
    store: Arc<dyn Store>,
    bottleneck: Arc<Bottleneck>,
    alerts: Arc<Alerts>,
    /// The store's folder.
    folder: PathBuf,
    kept: Mutex<VecDeque<Arc<Second>>>,
    before: Mutex<Before>,
}

/// What the next second is compared with.
struct Before {
    /// When the last second that was taken down ended, on the pipeline's clock.
    until: u64,
    made: u64,
    stats: Stats,
    process: Process,
    store_bytes: Option<u64>,
    measured: Option<Instant>,
    logs: Logs,
}

impl Live {
    /// `folder`: where the store keeps its files. `logs` get all that is measured.
    pub fn new(
        world: Arc<World>,
        pipeline: Arc<Pipeline<Event>>,
        (store, folder): (Arc<dyn Store>, PathBuf),
        (bottleneck, alerts): (Arc<Bottleneck>, Arc<Alerts>),
        logs: Logs,
    ) -> Live {
        let before = Before {
            until: 0,
            made: 0,
            stats: Stats::default(),
            process: Process::now(),
            store_bytes: None,
            measured: None,
            logs,
        };
        Live { world, pipeline, store, bottleneck, alerts, folder, kept: Mutex::default(), before: Mutex::new(before) }
    }

    /// Takes down the seconds that have ended since, and says when to look again. `stats`: the reactors' figures, asked for
    /// when there is something to take down.
    pub fn look(&self, stats: impl FnOnce() -> Stats) -> Duration {
        let mut before = lock(&self.before);
        let stages = self.pipeline.depths();
        let mut columns: Vec<_> =
            stages.iter().map(|(name, ..)| self.pipeline.seconds(name, before.until).into_iter()).collect();
        // All stages end their seconds one after the other: the last one has to be there too.
        let ended = columns.iter().map(ExactSizeIterator::len).min().unwrap_or_default();
        if ended == 0 {
            return SOON;
        }
        // Not the figures of `GET /stages`, whose percentiles of ten seconds would be thrown away.
        let (stats, settings, glances) = (stats(), self.pipeline.topology().stages, self.pipeline.glance());
        self.bottleneck.tick(&stats, glances.clone());
        for nth in 1..=ended {
            let row: Vec<SecondReport> = columns.iter_mut().filter_map(Iterator::next).collect();
            let Some(first) = row.first() else { break };
            let elapsed = first.until.saturating_sub(first.since).max(1) as f64 / 1e9;
            before.until = first.until;
            glances.iter().zip(&row).for_each(|(glance, second)| note(&mut before.logs, &glance.name, second));
            let each = settings.iter().zip(&glances).zip(&row);
            let stages = each.map(|((settings, glance), second)| stage(settings, glance, second)).collect();
            // What is not of the stages is known as it is now: where two seconds are due at once, the last one has it.
            let second = self.second(&mut before, stages, (nth == ended).then_some(&stats), elapsed);
            let mut kept = lock(&self.kept);
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(Arc::new(second));
        }
        before.stats = stats;
        before.logs.tick();
        Duration::from_secs(1)
    }

    fn second(&self, before: &mut Before, stages: Vec<StageSecond>, now: Option<&Stats>, elapsed: f64) -> Second {
        before.made += 1;
        if before.measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            before.measured = Some(Instant::now());
            before.store_bytes = process::size_of(&self.folder);
        }
        let stats = now.unwrap_or(&before.stats);
        let a_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed;
        let delivered = since(&before.stats.delivery_ns, &stats.delivery_ns);
        before.logs.add_counts("delivery", delivered.iter().copied());
        let ms = |share| quantile(&delivered, share).map(|ns| ns as f64 / 1e6);
        let process = Process::now();
        let second = Second {
            n: before.made,
            at_ms: self.world.now(),
            stages,
            delivery: Delivery {
                rate: delivered.iter().map(|(_, n)| n).sum::<u64>() as f64 / elapsed,
                p50_ms: ms(0.5),
                p99_ms: ms(0.99),
                p999_ms: ms(0.999),
            },
            connections: stats.connections,
            sessions: self.world.directory.count() as u64,
            conversations: self.world.views.len() as u64,
            resident_bytes: process.resident_bytes,
            cpu: process.cores_since(&before.process),
            received_bytes: a_second(stats.bytes_in, before.stats.bytes_in),
            sent_bytes: a_second(stats.bytes_out, before.stats.bytes_out),
            mailbox: stats.mailbox_depth,
            slow_readers: stats.slow_readers,
            store: StoreSecond {
                bytes: before.store_bytes,
                warning: self.store.warning(),
                trouble: self.store.trouble(),
            },
            bottleneck: self.bottleneck.verdict(),
            alerts: self.alerts.alerting(),
        };
        before.process = process;
        second
    }

    /// Those after number `after`, oldest first.
    pub fn seconds(&self, after: u64) -> Vec<Arc<Second>> {
        let kept = lock(&self.kept);
        let begin = kept.partition_point(|second| second.n <= after);
        kept.range(begin..).cloned().collect()
    }

    /// The last one.
    pub fn latest(&self) -> Option<Arc<Second>> {
        lock(&self.kept).back().cloned()
    }

    /// What limits the server, as found at the last look.
    pub fn bottleneck(&self) -> Verdict {
        self.bottleneck.verdict()
    }

    pub fn journeys(&self, of: &JourneysOf) -> Vec<JourneyReport> {
        journeys::find(&self.world, self.pipeline.now(), self.world.now(), of)
    }
}

/// Times of a stage, for its log.
fn note(logs: &mut Logs, stage: &str, second: &SecondReport) {
    let Some(spread) = &second.spread else { return };
    logs.add(&format!("{stage}.wait"), &spread.wait);
    logs.add(&format!("{stage}.service"), &spread.service);
}

fn stage(settings: &StageSettings, glance: &Glance, second: &SecondReport) -> StageSecond {
    let ns = second.until.saturating_sub(second.since).max(1) as f64;
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let spread = second.spread.as_ref();
    StageSecond {
        name: glance.name.to_string(),
        pool: glance.pool.to_string(),
        workers: settings.workers,
        batch: settings.batch,
        bound: settings.bound,
        policy: policy(settings.policy),
        delay_target_ms: ms(settings.delay_target),
        delay_interval_ms: ms(settings.delay_interval),
        key_share: settings.key_share,
        window: settings.window,
        auto: auto(settings.auto),
        depth: glance.depth,
        held: glance.held,
        rate: second.events as f64 * 1e9 / ns,
        refused: glance.refused,
        utilisation: (second.busy_ns as f64 / (ns * settings.workers as f64)).clamp(0.0, 1.0),
        blocked: Blocked {
            share: (second.blocked_ns as f64 / ns).clamp(0.0, 1.0),
            by: glance.blocked_by.clone().filter(|_| second.blocked_ns > 0),
        },
        wait: spread.and_then(|spread| spread::of(&spread.wait)),
        service: spread.and_then(|spread| spread::of(&spread.service)),
        law: law(second.law),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
