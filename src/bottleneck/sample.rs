//! One look at all that is counted, and what two looks, with those between, say of the time from one to the other.

use std::time::Instant;

use tidegate_engine::{Glance, PoolReport};
use tidegate_http as http;
use tidegate_net::Stats;
use tidegate_store as store;

use super::evidence::{Calls, Clients, Evidence, Machine, Pool, Stage, Synced, Threads};
use super::machine::{Processors, kept_name};

/// Sums since the start, and what was at that moment.
pub struct Sample {
    pub at: Instant,
    pub stages: Vec<Glance>,
    pub pools: Vec<PoolReport>,
    pub processors: Option<Processors>,
    pub synced: store::Synced,
    pub hooks: Vec<http::Calls>,
    pub pushes: Vec<http::Calls>,
    pub net: Stats,
}

/// Below so many waiting events one key has a large share by chance.
const ENOUGH: usize = 8;

/// Of the time from the first to the last; what was at a moment is averaged over all but the first. Two at least.
pub fn evidence(samples: &[Sample], reactors: usize) -> Option<Evidence> {
    let [first, between @ .., last] = samples else { return None };
    let since = Since { seconds: last.at.duration_since(first.at).as_secs_f64().max(1e-3) };
    let later: Vec<&Sample> = between.iter().chain([last]).collect();
    let machine = first.processors.as_ref().zip(last.processors.as_ref());
    let mut stages: Vec<Stage> = Vec::new();
    for (nth, (before, now)) in first.stages.iter().zip(&last.stages).enumerate() {
        let at = later.iter().map(|sample| &sample.stages[nth]);
        stages.push(since.stage(before, now, &at.collect::<Vec<_>>()));
    }
    for stage in &mut stages {
        let Some(pool) = last.pools.iter().find(|pool| *pool.name == stage.pool.name) else { continue };
        stage.pool.workers = pool.workers;
        stage.pool.is_shared = pool.stages.len() > 1 || pool.stages.iter().all(|only| **only != *pool.name);
        if let Some((before, now)) = machine {
            let name = kept_name(&stage.pool.name);
            stage.pool.threads = since.threads(before, now, |other| other == name).0;
        }
    }
    let busy: Vec<f64> = stages
        .iter()
        .map(|stage| stages.iter().filter(|other| other.pool.name == stage.pool.name).map(|other| other.busy).sum())
        .collect();
    stages.iter_mut().zip(busy).for_each(|(stage, busy)| stage.pool.busy = busy);
    let calls = |of: fn(&Sample) -> &[http::Calls]| {
        let each = of(first).iter().zip(of(last)).enumerate();
        each.map(|(nth, (before, now))| {
            let at: Vec<_> = later.iter().map(|sample| &of(sample)[nth]).collect();
            since.calls(before, now, &at)
        })
        .collect()
    };
    Some(Evidence {
        seconds: since.seconds,
        stages,
        machine: machine.map(|(before, now)| since.machine(before, now)),
        synced: Synced {
            commits: since.rate(first.synced.commits, last.synced.commits),
            busy: last.synced.time.saturating_sub(first.synced.time).as_secs_f64() / since.seconds,
        },
        hooks: calls(|sample| &sample.hooks),
        pushes: calls(|sample| &sample.pushes),
        clients: since.clients(&first.net, &last.net, &later),
        reactors,
    })
}

struct Since {
    seconds: f64,
}

fn average<'a, T: 'a>(at: impl IntoIterator<Item = &'a T>, of: impl Fn(&T) -> f64) -> f64 {
    let (sum, count) = at.into_iter().fold((0.0, 0.0), |(sum, count), one| (sum + of(one), count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

impl Since {
    /// A second.
    fn rate(&self, before: u64, now: u64) -> f64 {
        now.saturating_sub(before) as f64 / self.seconds
    }

    /// Nanoseconds in all as how many at once.
    fn at_once(&self, before: u64, now: u64) -> f64 {
        self.rate(before, now) / 1e9
    }

    fn stage(&self, before: &Glance, now: &Glance, at: &[&Glance]) -> Stage {
        let (events, batches) = (now.events.saturating_sub(before.events), now.batches.saturating_sub(before.batches));
        let each = |ns: u64, n: u64| if n == 0 { 0.0 } else { ns as f64 / n as f64 / 1e6 };
        let (wait, busy) = (now.wait_ns.saturating_sub(before.wait_ns), now.busy_ns.saturating_sub(before.busy_ns));
        let found = |of: fn(&Glance) -> usize| average(at.iter().copied(), |glance| of(glance) as f64);
        // Figures are noted when a batch ends: of one that has not ended yet, only its thread is seen.
        let is_stuck = batches == 0;
        let enough = || at.iter().filter(|glance| glance.waiting >= ENOUGH);
        let (hot, all): (usize, usize) = enough().fold((0, 0), |(hot, all), g| (hot + g.hottest, all + g.waiting));
        Stage {
            name: now.name.to_string(),
            module: now.module.clone(),
            pool: Pool { name: now.pool.to_string(), ..Pool::default() },
            workers: now.workers,
            batch: now.batch,
            rate: self.rate(before.events, now.events),
            refused: self.rate(before.refused, now.refused),
            busy: if is_stuck { found(|glance| glance.inside) } else { self.at_once(before.busy_ns, now.busy_ns) },
            queued: if is_stuck { found(|glance| glance.waiting) } else { self.at_once(before.wait_ns, now.wait_ns) },
            wait_ms: each(wait, events),
            service_ms: each(busy, batches),
            batch_size: if batches == 0 { 0.0 } else { events as f64 / batches as f64 },
            held: found(|glance| glance.held),
            blocked: self.at_once(before.blocked_ns, now.blocked_ns).min(1.0),
            blocked_by: now.blocked_by.clone(),
            // Where it hardly ever was enough, what was found once says nothing.
            hottest: if enough().count() * 2 > at.len() { hot as f64 / all.max(1) as f64 } else { 0.0 },
        }
    }

    /// Of the threads with such names: all of them together, and the one that was on a processor most.
    fn threads(&self, before: &Processors, now: &Processors, is_one: impl Fn(&str) -> bool) -> (Threads, Threads) {
        let (mut all, mut busiest) = (Threads::default(), Threads::default());
        for (id, thread) in now.threads.iter().filter(|(_, thread)| is_one(&thread.name)) {
            let then = before.threads.get(id).map_or((0, 0), |then| (then.on_cpu, then.waiting));
            let on_cpu = self.at_once(then.0, thread.on_cpu);
            let one = Threads { on_cpu, waiting: self.at_once(then.1, thread.waiting) };
            all = Threads { on_cpu: all.on_cpu + one.on_cpu, waiting: all.waiting + one.waiting };
            if one.on_cpu > busiest.on_cpu {
                busiest = one;
            }
        }
        (all, busiest)
    }

    fn machine(&self, before: &Processors, now: &Processors) -> Machine {
        let (all, idle) = (now.all.saturating_sub(before.all), now.idle.saturating_sub(before.idle));
        let cores = now.cores as f64;
        Machine {
            cores,
            idle: if all == 0 { 0.0 } else { idle as f64 / all as f64 * cores },
            ours: self.threads(before, now, |_| true).0,
            busiest_reactor: self.threads(before, now, |name| name.starts_with("net-")).1,
        }
    }

    fn calls(&self, before: &http::Calls, now: &http::Calls, at: &[&http::Calls]) -> Calls {
        let ended = |calls: &http::Calls| calls.answered + calls.failed;
        let count = ended(now).saturating_sub(ended(before));
        Calls {
            name: now.name.clone(),
            pending: average(at.iter().copied(), |calls| calls.pending as f64),
            in_flight: average(at.iter().copied(), |calls| calls.in_flight as f64),
            concurrency: now.concurrency,
            rate: self.rate(ended(before), ended(now)),
            failed: self.rate(before.failed, now.failed),
            unsent: self.rate(before.unsent, now.unsent),
            mean_ms: now.sent_ns.saturating_sub(before.sent_ns) as f64 / count.max(1) as f64 / 1e6,
        }
    }

    fn clients(&self, before: &Stats, now: &Stats, at: &[&Sample]) -> Clients {
        Clients {
            connections: average(at.iter().copied(), |sample| sample.net.connections as f64),
            blocked: average(at.iter().copied(), |sample| sample.net.blocked as f64),
            frames_out: self.rate(before.frames_out, now.frames_out),
            dropped: self.rate(before.dropped, now.dropped),
            closed: now.slow_readers.saturating_sub(before.slow_readers) as f64,
            mailbox: average(at.iter().copied(), |sample| sample.net.mailbox_depth as f64),
        }
    }
}
