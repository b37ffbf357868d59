//! A pipeline from outside: started, watched, changed, drained, stopped. How it is built is in `build.rs`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::core::{Core, Pool, StageCore, Target};
use crate::report::{Blocked, Glance, PoolReport, SecondReport, StageReport};
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::thread::JoinHandle;
use crate::sync::{Mutex, lock};
use crate::threads::staff;
use crate::tuning::{PoolPatch, StagePatch, refuse_another_graph};
use crate::{Door, Event, Modules, Place, Problem, StageSettings, Topology};

/// A running pipeline. Dropping it stops it.
pub struct Pipeline<E: Event> {
    pub(crate) core: Arc<Core<E>>,
    pub(crate) modules: Modules<E>,
    pub(crate) entries: Vec<String>,
    pub(crate) threads: Mutex<Threads>,
}

#[derive(Default)]
pub(crate) struct Threads {
    started: bool,
    all: Vec<JoinHandle<()>>,
}

impl<E: Event> Pipeline<E> {
    /// Starts the threads, named after their pools. A second call does nothing.
    pub fn start(&self) -> io::Result<()> {
        let mut threads = lock(&self.threads);
        if std::mem::replace(&mut threads.started, true) {
            return Ok(());
        }
        for pool in 0..self.core.pools.len() {
            staff(&self.core, pool, &mut threads.all)?;
        }
        #[cfg(not(feature = "shuttle"))]
        threads.all.push(crate::threads::start_clock(&self.core)?);
        Ok(())
    }

    /// A way in.
    ///
    /// # Panics
    /// When `stage` is not among the entries that the pipeline was built with.
    pub fn door(&self, stage: &str) -> Door<E> {
        let entry = self.entries.iter().any(|entry| entry == stage);
        let index = self.index(stage).filter(|_| entry);
        let Some(stage) = index else { panic!("{stage:?} is not an entry of this pipeline: {:?}", self.entries) };
        Door::new(self.core.clone(), stage)
    }

    /// The time on the pipeline's clock, in nanoseconds: what [`crate::Batch::now`] and journeys are in.
    pub fn now(&self) -> u64 {
        self.core.env.now()
    }

    /// What is in force.
    pub fn topology(&self) -> Topology {
        lock(&self.core.topology).clone()
    }

    fn index(&self, stage: &str) -> Option<usize> {
        self.core.stages.iter().position(|s| &*s.name == stage)
    }

    /// The figures of all stages, in the topology's order.
    pub fn stages(&self) -> Vec<StageReport> {
        let settings = self.topology().stages;
        settings.iter().enumerate().map(|(i, settings)| self.report(i, settings)).collect()
    }

    /// The figures of one stage.
    pub fn stage(&self, name: &str) -> Option<StageReport> {
        let i = self.index(name)?;
        Some(self.report(i, &self.topology().stages[i]))
    }

    fn report(&self, i: usize, settings: &StageSettings) -> StageReport {
        let core = &*self.core;
        let stage = &core.stages[i];
        let now = core.env.now();
        let (recent, totals) = stage.metrics.report(now, stage.blocked.total(now));
        let share = |part: u64, workers: usize| (part as f64 / (recent.ns as f64 * workers as f64)).clamp(0.0, 1.0);
        StageReport {
            name: stage.name.clone(),
            module: settings.module.clone(),
            pool: core.pools[stage.pool()].name.clone(),
            workers: settings.workers,
            batch: settings.batch,
            bound: settings.bound,
            policy: settings.policy,
            delay_target: settings.delay_target,
            delay_interval: settings.delay_interval,
            key_share: settings.key_share,
            window: settings.window,
            auto: settings.auto,
            depth: stage.queue.room.used(),
            held: stage.held.load(SeqCst),
            utilisation: share(recent.busy, settings.workers),
            blocked: Blocked { share: share(recent.blocked, 1), by: self.blocked_by(stage) },
            rate: recent.events as f64 * 1e9 / recent.ns as f64,
            refused: totals.refused,
            wait: recent.wait,
            service: recent.service,
            held_time: recent.held,
            batch_size: recent.batch,
            law: recent.law,
            totals,
        }
    }

    /// All stages at a glance, in the topology's order. Looks into each lane, for some microseconds a stage.
    pub fn glance(&self) -> Vec<Glance> {
        let settings = self.topology().stages;
        self.core.stages.iter().zip(settings).map(|(stage, settings)| self.glance_at(stage, settings)).collect()
    }

    fn glance_at(&self, stage: &StageCore<E>, settings: StageSettings) -> Glance {
        let now = self.core.env.now();
        let sums = stage.metrics.sums();
        let (waiting, hottest) = stage.queue.hottest();
        Glance {
            name: stage.name.clone(),
            module: settings.module,
            pool: self.core.pools[stage.pool()].name.clone(),
            workers: settings.workers,
            batch: settings.batch,
            bound: settings.bound,
            events: sums.events,
            batches: sums.batches,
            busy_ns: sums.busy,
            wait_ns: sums.wait,
            blocked_ns: stage.blocked.total(now),
            blocked_by: self.blocked_by(stage),
            refused: stage.metrics.refusals(),
            depth: stage.queue.room.used(),
            held: stage.held.load(SeqCst),
            inside: stage.inside(),
            waiting,
            hottest,
        }
    }

    fn blocked_by(&self, stage: &StageCore<E>) -> Option<String> {
        stage.blocked.by().and_then(|by| match by {
            Target::Stage(to) => Some(self.core.stages[to].name.to_string()),
            Target::Sink(to) => Some(self.core.sinks[to].name.clone()),
            Target::Nothing => None,
        })
    }

    /// Of each stage, in the topology's order, how much of its bound is used and how many events of it are held: what
    /// [`Pipeline::stages`] says as well, without the cost of its percentiles.
    pub fn depths(&self) -> Vec<(Arc<str>, usize, usize)> {
        let of = |s: &StageCore<E>| (s.name.clone(), s.queue.room.used(), s.held.load(SeqCst));
        self.core.stages.iter().map(of).collect()
    }

    /// What happened in a stage, second by second: those that have ended and began at `after` or later, of the last ten.
    /// Empty where there is no such stage.
    pub fn seconds(&self, stage: &str, after: u64) -> Vec<SecondReport> {
        self.index(stage).map(|i| self.core.stages[i].metrics.seconds(after)).unwrap_or_default()
    }

    /// All pools, shared ones first.
    pub fn pools(&self) -> Vec<PoolReport> {
        let report = |pool: &Pool| PoolReport {
            name: pool.name.clone(),
            workers: pool.size.load(SeqCst),
            running: pool.workers(),
            spin: Duration::from_nanos(pool.spin_ns.load(SeqCst)),
            is_helped: pool.helped.load(SeqCst),
            helped: pool.help.load(SeqCst),
            stages: pool.stages().iter().map(|stage| self.core.stages[*stage].name.clone()).collect(),
        };
        let shared = lock(&self.core.topology).pools.len();
        // A stage's own pool is none while it shares another.
        let is_one = |(i, pool): &(usize, &Pool)| *i < shared || !pool.stages().is_empty();
        self.core.pools.iter().enumerate().filter(is_one).map(|(_, pool)| report(pool)).collect()
    }

    /// Changes a stage while events flow: all of it or, with the reasons, nothing. What each thread does next goes by it.
    pub fn set_stage(&self, name: &str, patch: StagePatch) -> Result<(), Vec<Problem>> {
        let mut topology = lock(&self.core.topology);
        let changed = topology.with_stage(name, patch).map_err(|problem| vec![problem])?;
        self.apply(&mut topology, changed)
    }

    /// Changes a pool while events flow. A thread that is to leave finishes its batch and starts no other.
    pub fn set_pool(&self, name: &str, patch: PoolPatch) -> Result<(), Vec<Problem>> {
        let mut topology = lock(&self.core.topology);
        let changed = topology.with_pool(name, patch).map_err(|problem| vec![problem])?;
        self.apply(&mut topology, changed)
    }

    /// Puts other figures of the same graph into force while events flow: all of them or, with the reasons, nothing.
    pub fn set_topology(&self, wanted: Topology) -> Result<(), Vec<Problem>> {
        let mut topology = lock(&self.core.topology);
        refuse_another_graph(&topology, &wanted)?;
        self.apply(&mut topology, wanted)
    }

    /// What [`Pipeline::set_topology`] would say; nothing is changed.
    pub fn try_topology(&self, wanted: &Topology) -> Result<(), Vec<Problem>> {
        refuse_another_graph(&lock(&self.core.topology), wanted)?;
        self.problems_of(wanted)
    }

    fn problems_of(&self, wanted: &Topology) -> Result<(), Vec<Problem>> {
        let entries: Vec<&str> = self.entries.iter().map(String::as_str).collect();
        let problems = wanted.check(&self.modules, &entries);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn apply(&self, topology: &mut Topology, changed: Topology) -> Result<(), Vec<Problem>> {
        self.problems_of(&changed)?;
        let mut problems = Vec::new();
        let core = &self.core;
        core.put_into_force(&changed);
        let before = std::mem::replace(topology, changed);
        let mut threads = lock(&self.threads);
        if threads.started {
            #[cfg(not(feature = "shuttle"))]
            threads.all.retain(|thread| !thread.is_finished());
            for (i, pool) in core.pools.iter().enumerate() {
                if let Err(error) = staff(core, i, &mut threads.all) {
                    let place = Place::Pool { pool: pool.name.to_string(), field: "workers" };
                    let reason = format!("the system gives no more threads: {error}");
                    problems.push(Problem { place, reason, help: "fewer".to_owned() });
                }
            }
        }
        drop(threads);
        // Who waited for something else may go on now: more room, a place inside, another policy, or leaving.
        core.wake_everybody();
        core.alarm.ring();
        if problems.is_empty() {
            return Ok(());
        }
        // All or nothing: the old sizes need no new threads.
        let _ = self.apply(topology, before);
        Err(problems)
    }

    /// Whether nothing is waiting, worked on or held. It stays so when nobody offers anything.
    pub fn quiet(&self) -> bool {
        // Twice: an event that a side output carries upstream could be where the first look had already been.
        (0..2).all(|_| self.core.stages.iter().all(|stage| stage.queue.room.used() == 0))
    }

    /// Closes all doors and waits until the pipeline is quiet, at most until `deadline`. True when it is. Needs a started
    /// pipeline with a real clock.
    pub fn drain(&self, deadline: Duration) -> bool {
        self.close();
        let end = self.now().saturating_add(deadline.as_nanos() as u64);
        while !self.quiet() {
            if self.now() >= end {
                return false;
            }
            pause();
        }
        true
    }

    /// Closes all doors: offers come back with [`Refusal::Draining`](crate::Refusal::Draining). What is inside goes on.
    pub fn close(&self) {
        self.core.draining.store(true, SeqCst);
    }

    /// What the clock's thread does in a real run: the model checker has no clock.
    #[cfg(feature = "shuttle")]
    pub fn expire(&self, now: u64) {
        self.core.expire(now);
    }

    /// Ends all threads after the batches that they are on, and drops what is left inside. Not to be called by a stage.
    pub fn stop(&self) {
        self.close();
        self.core.stopping.store(true, SeqCst);
        self.core.wake_everybody();
        self.core.alarm.ring();
        let threads = std::mem::take(&mut lock(&self.threads).all);
        for thread in threads {
            let _ = thread.join();
        }
        self.core.stages.iter().for_each(|stage| stage.queue.clear());
    }
}

impl<E: Event> Drop for Pipeline<E> {
    fn drop(&mut self) {
        self.stop();
    }
}

#[allow(clippy::disallowed_methods)] // only a drain waits, and only for real threads
fn pause() {
    #[cfg(feature = "shuttle")]
    crate::sync::thread::yield_now();
    #[cfg(not(feature = "shuttle"))]
    std::thread::sleep(Duration::from_millis(1));
}
