//! A pipeline from outside: built from a topology, started, fed through doors, watched, changed, drained.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::controller::{Controller, admits};
use crate::core::{Binding, Core, Knobs, Pool, SinkCore, StageCore, Target};
use crate::report::{Blocked, PoolReport, StageReport};
use crate::sync::atomic::{AtomicBool, Ordering::SeqCst};
use crate::sync::thread::JoinHandle;
use crate::sync::{Mutex, lock};
use crate::threads::{Alarm, staff};
use crate::topology::NONE;
use crate::{
    Env, Event, Modules, OutputKind, Place, Policy, PoolSettings, Problem, Refusal, Sinks, StageSettings, Supervisor,
    Topology,
};

/// A running pipeline. Dropping it stops it.
pub struct Pipeline<E: Event> {
    pub(crate) core: Arc<Core<E>>,
    modules: Modules<E>,
    entries: Vec<String>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    started: bool,
    all: Vec<JoinHandle<()>>,
}

/// A change of a stage. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StagePatch {
    /// Threads that may be inside at once; a pool of its own is resized with it.
    pub workers: Option<usize>,
    /// Events a thread takes in one go.
    pub batch: Option<usize>,
    /// Events that may be waiting, worked on and held.
    pub bound: Option<usize>,
    /// What happens when it is full.
    pub policy: Option<Policy>,
    /// The wait above which the door begins to close.
    pub delay_target: Option<Duration>,
    /// How often that is decided.
    pub delay_interval: Option<Duration>,
}

/// A change of a pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolPatch {
    /// How many threads; the stage of a pool of its own is resized with it.
    pub workers: Option<usize>,
}

impl<E: Event> Pipeline<E> {
    /// Builds a pipeline without starting it, or says everything that is wrong. `entries` are the stages that have doors.
    pub fn build(
        topology: Topology,
        modules: Modules<E>,
        sinks: Sinks<E>,
        supervisor: Arc<dyn Supervisor<E>>,
        entries: &[&str],
        env: Env,
    ) -> Result<Pipeline<E>, Vec<Problem>> {
        let mut problems = topology.check(&modules, entries);
        problems.extend(missing_sinks(&topology, &modules, &sinks));
        if !problems.is_empty() {
            return Err(problems);
        }
        let core = Arc::new_cyclic(|me| {
            let mut stages = Vec::new();
            let mut pools: Vec<Pool> = Vec::new();
            let mut ends: Vec<SinkCore<E>> = Vec::new();
            for pool in &topology.pools {
                let spin = pool.spin.as_nanos() as u64;
                pools.push(Pool::new(pool.name.as_str().into(), pool.workers, spin));
            }
            for settings in &topology.stages {
                let pool = pools.iter().position(|pool| *pool.name == *settings.pool_name()).unwrap_or_else(|| {
                    pools.push(Pool::new(settings.name.as_str().into(), settings.workers, 0));
                    pools.len() - 1
                });
                let module = modules[&settings.module].clone();
                let outputs = module.outputs().iter().map(|output| {
                    let to = match output.kind {
                        OutputKind::Sink(name) => Target::Sink(sink(&mut ends, name, &sinks)),
                        _ => bound_to(&topology, settings, output.name),
                    };
                    (*output, to)
                });
                let outputs = Binding::join(outputs);
                let share = share(settings, module.sheddable());
                stages.push(StageCore::new(
                    settings.name.as_str().into(),
                    module,
                    outputs,
                    pool,
                    settings.bound,
                    Knobs::new(settings.workers, settings.batch, share, settings.window, settings.policy),
                    Controller::new(settings.delay_target, settings.delay_interval),
                    env.now(),
                ));
            }
            wire(&mut stages, &mut pools, &mut ends, entries);
            Core {
                stages,
                pools,
                sinks: ends,
                supervisor,
                env,
                topology: Mutex::new(topology),
                draining: AtomicBool::new(false),
                stopping: AtomicBool::new(false),
                level: AtomicU64::new(0),
                alarm: Alarm::new(),
                me: me.clone(),
            }
        });
        for (i, sink) in core.sinks.iter().enumerate() {
            let core = Arc::downgrade(&core);
            sink.sink.on_room(Arc::new(move || {
                if let Some(core) = core.upgrade() {
                    core.sink_has_room(i);
                }
            }));
        }
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Ok(Pipeline { core, modules, entries, threads: Mutex::new(Threads::default()) })
    }

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
        Door { core: self.core.clone(), stage }
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
            pool: core.pools[stage.pool].name.clone(),
            workers: settings.workers,
            batch: settings.batch,
            bound: settings.bound,
            policy: settings.policy,
            delay_target: settings.delay_target,
            delay_interval: settings.delay_interval,
            depth: stage.queue.room.used(),
            held: stage.held.load(SeqCst),
            utilisation: share(recent.busy, settings.workers),
            blocked: Blocked {
                share: share(recent.blocked, 1),
                by: stage.blocked.by().and_then(|by| match by {
                    Target::Stage(to) => Some(core.stages[to].name.to_string()),
                    Target::Sink(to) => Some(core.sinks[to].name.clone()),
                    Target::Nothing => None,
                }),
            },
            rate: recent.events as f64 * 1e9 / recent.ns as f64,
            refused: totals.refused,
            wait: recent.wait,
            service: recent.service,
            held_time: recent.held,
            batch_size: recent.batch,
            totals,
        }
    }

    /// Of each stage, in the topology's order, how much of its bound is used and how many events of it are held: what
    /// [`Pipeline::stages`] says as well, without the cost of its percentiles.
    pub fn depths(&self) -> Vec<(Arc<str>, usize, usize)> {
        let of = |s: &StageCore<E>| (s.name.clone(), s.queue.room.used(), s.held.load(SeqCst));
        self.core.stages.iter().map(of).collect()
    }

    /// All pools, shared ones first.
    pub fn pools(&self) -> Vec<PoolReport> {
        let report = |pool: &Pool| PoolReport {
            name: pool.name.clone(),
            workers: pool.size.load(SeqCst),
            running: pool.workers(),
            stages: pool.stages.iter().map(|stage| self.core.stages[*stage].name.clone()).collect(),
        };
        self.core.pools.iter().map(report).collect()
    }

    /// Changes a stage while events flow: all of it or, with the reasons, nothing. What each thread does next goes by it.
    pub fn set_stage(&self, name: &str, patch: StagePatch) -> Result<StageSettings, Vec<Problem>> {
        let mut topology = lock(&self.core.topology);
        let mut changed = topology.clone();
        let Some(i) = changed.stages.iter().position(|stage| stage.name == name) else {
            return Err(vec![unknown(Place::Stage { stage: name.to_owned(), field: "name" }, "stage", name)]);
        };
        let settings = &mut changed.stages[i];
        settings.workers = patch.workers.unwrap_or(settings.workers);
        settings.batch = patch.batch.unwrap_or(settings.batch);
        settings.bound = patch.bound.unwrap_or(settings.bound);
        settings.policy = patch.policy.unwrap_or(settings.policy);
        settings.delay_target = patch.delay_target.unwrap_or(settings.delay_target);
        settings.delay_interval = patch.delay_interval.unwrap_or(settings.delay_interval);
        let settings = settings.clone();
        self.apply(&mut topology, changed)?;
        Ok(settings)
    }

    /// Changes a pool while events flow. A thread that is to leave finishes its batch and starts no other.
    pub fn set_pool(&self, name: &str, patch: PoolPatch) -> Result<PoolSettings, Vec<Problem>> {
        let mut topology = lock(&self.core.topology);
        let mut changed = topology.clone();
        let settings = if let Some(pool) = changed.pools.iter_mut().find(|pool| pool.name == name) {
            pool.workers = patch.workers.unwrap_or(pool.workers);
            pool.clone()
        } else if let Some(stage) = changed.stages.iter_mut().find(|s| s.pool.is_none() && s.name == name) {
            stage.workers = patch.workers.unwrap_or(stage.workers);
            PoolSettings { name: name.to_owned(), workers: stage.workers, spin: Duration::ZERO }
        } else {
            return Err(vec![unknown(Place::Pool { pool: name.to_owned(), field: "name" }, "pool", name)]);
        };
        self.apply(&mut topology, changed)?;
        Ok(settings)
    }

    fn apply(&self, topology: &mut Topology, changed: Topology) -> Result<(), Vec<Problem>> {
        let entries: Vec<&str> = self.entries.iter().map(String::as_str).collect();
        let mut problems = changed.check(&self.modules, &entries);
        if !problems.is_empty() {
            return Err(problems);
        }
        let core = &self.core;
        for (stage, settings) in core.stages.iter().zip(&changed.stages) {
            stage.knobs.workers.store(settings.workers, SeqCst);
            stage.knobs.batch.store(settings.batch, SeqCst);
            stage.knobs.share.store(share(settings, stage.module.sheddable()), SeqCst);
            stage.knobs.set_policy(settings.policy);
            stage.queue.room.set_bound(settings.bound);
            stage.controller.set(settings.delay_target, settings.delay_interval);
            if settings.pool.is_none() {
                core.pools[stage.pool].size.store(settings.workers, SeqCst);
            }
        }
        for (pool, settings) in core.pools.iter().zip(&changed.pools) {
            pool.size.store(settings.workers, SeqCst);
        }
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

    /// Closes all doors: offers come back with [`Refusal::Draining`]. What is inside goes on.
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

fn unknown(place: Place, what: &str, name: &str) -> Problem {
    Problem { place, reason: format!("there is no {what} {name:?}"), help: String::new() }
}

/// How many events of one key a stage takes.
fn share(settings: &StageSettings, sheddable: bool) -> usize {
    match sheddable && settings.key_share < 1.0 {
        true => ((settings.bound as f64 * settings.key_share) as usize).max(1),
        false => usize::MAX,
    }
}

fn missing_sinks<E: Event>(topology: &Topology, modules: &Modules<E>, sinks: &Sinks<E>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for stage in &topology.stages {
        for output in modules.get(&stage.module).map_or(&[][..], |module| module.outputs()) {
            if let OutputKind::Sink(name) = output.kind
                && !sinks.contains_key(name)
            {
                let place = Place::Output { stage: stage.name.clone(), output: output.name.to_owned() };
                problems.push(unknown(place, "sink", name));
            }
        }
    }
    problems
}

fn sink<E>(ends: &mut Vec<SinkCore<E>>, name: &str, sinks: &Sinks<E>) -> usize {
    ends.iter().position(|end| end.name == name).unwrap_or_else(|| {
        ends.push(SinkCore::new(name.to_owned(), sinks[name].clone(), Vec::new()));
        ends.len() - 1
    })
}

fn bound_to(topology: &Topology, settings: &StageSettings, output: &str) -> Target {
    let bound = settings.to.iter().find(|(name, _)| name == output).map(|(_, to)| to.as_str());
    match bound.filter(|to| *to != NONE).and_then(|to| topology.stages.iter().position(|stage| stage.name == to)) {
        Some(to) => Target::Stage(to),
        None => Target::Nothing,
    }
}

/// Fills in what follows from the graph: who is woken when there is room, which stages the door listens to, and in which
/// order a pool looks at its stages.
fn wire<E: Event>(stages: &mut [StageCore<E>], pools: &mut [Pool], sinks: &mut [SinkCore<E>], entries: &[&str]) {
    let mut edges = Vec::new();
    for (from, stage) in stages.iter().enumerate() {
        for binding in &stage.outputs {
            match binding.to {
                Target::Stage(to) => edges.push((from, to, binding.output.kind.is_line())),
                Target::Sink(to) if !sinks[to].feeders.contains(&stage.pool) => sinks[to].feeders.push(stage.pool),
                _ => {}
            }
        }
    }
    // How far downstream: the longest way over line edges, which have no cycles; a side stage comes after whoever asks it.
    let mut far = vec![0; stages.len()];
    for _ in 0..stages.len() {
        edges.iter().filter(|(_, _, line)| *line).for_each(|(from, to, _)| far[*to] = far[*to].max(far[*from] + 1));
    }
    for (from, to, _) in edges.iter().filter(|(_, _, line)| !*line) {
        if far[*to] == 0 {
            far[*to] = far[*from] + 1;
        }
    }
    for (from, to, line) in &edges {
        let pool = stages[*from].pool;
        if *line && !stages[*to].feeders.contains(&pool) {
            stages[*to].feeders.push(pool);
        }
    }
    for stage in stages.iter_mut() {
        stage.on_line = entries.contains(&&*stage.name);
    }
    for _ in 0..stages.len() {
        for (from, to, _) in edges.iter().filter(|(_, _, line)| *line) {
            stages[*to].on_line |= stages[*from].on_line;
        }
    }
    for (i, stage) in stages.iter().enumerate() {
        pools[stage.pool].stages.push(i);
    }
    for pool in pools {
        pool.stages.sort_by_key(|stage| std::cmp::Reverse(far[*stage]));
    }
}

/// A way into a pipeline, for threads that never wait.
pub struct Door<E: Event> {
    core: Arc<Core<E>>,
    stage: usize,
}

impl<E: Event> Clone for Door<E> {
    fn clone(&self) -> Door<E> {
        Door { core: self.core.clone(), stage: self.stage }
    }
}

impl<E: Event> Door<E> {
    /// Hands an event in, or gives it back at once with the reason.
    pub fn offer(&self, event: E) -> Result<(), (E, Refusal)> {
        self.offer_at(event, self.core.env.now())
    }

    /// As [`Door::offer`], with a time on the pipeline's clock that the caller has at hand: when the event's wait began.
    pub fn offer_at(&self, event: E, at: u64) -> Result<(), (E, Refusal)> {
        let core = &*self.core;
        let stage = &core.stages[self.stage];
        let key = stage.module.key(&event); // before room is taken: it is the user's code and may panic
        let mut got = stage.queue.room.reserve(1, 1);
        if got == 0 && stage.knobs.policy() == Policy::DropOldest {
            core.drop_oldest(self.stage, 1);
            got = stage.queue.room.reserve(1, 1);
        }
        if got == 0 {
            stage.metrics.refused(1);
            return Err((event, Refusal::Full));
        }
        // Looked at after the room was taken: a drain that saw no room used is seen here.
        let result = match core.draining.load(SeqCst) {
            true => Err((event, Refusal::Draining)),
            false => self.push(key, event, at, stage.knobs.share.load(SeqCst)),
        };
        if result.is_err() {
            core.free(Target::Stage(self.stage), 1, None);
            stage.metrics.refused(1);
        }
        result
    }

    /// Hands an event in whatever the bound, the share of its key and draining say. For what must not be lost and is rare by
    /// nature, such as the news that a connection is gone.
    pub fn offer_always(&self, event: E) {
        let stage = &self.core.stages[self.stage];
        let key = stage.module.key(&event);
        stage.queue.room.force(1);
        let _ = self.push(key, event, self.core.env.now(), usize::MAX);
    }

    fn push(&self, key: u64, event: E, at: u64, share: usize) -> Result<(), (E, Refusal)> {
        let stage = &self.core.stages[self.stage];
        let mut refused = Vec::new();
        if stage.queue.push(std::iter::once((key, event)), at, share, &mut refused) {
            self.core.pools[stage.pool].parking.wake_one();
        }
        refused.pop().map_or(Ok(()), Err)
    }

    /// Whether somebody of `class` may come in now: 0 is for what frees resources and is refused last, 3 for what is lost
    /// lightly and is refused first. Within a class it depends on `who`, so that a user is wholly in or wholly out. Waits
    /// for nobody; ask before spending anything on an event.
    pub fn admit(&self, class: u8, who: u64) -> bool {
        admits(self.core.level.load(SeqCst), class, who)
    }
}
