//! A simulated run: one thread, a seeded schedule and a virtual clock drive the very workers, lanes and queues that real
//! threads drive. A run is told by its seed alone, so every failure can be played again.
//!
//! Workers take turns at random, within a batch as well: between taking it, working on it, sending on what it emitted and
//! giving its lanes back. What happens outside (a commit, a call) is given to [`Outside`] and completes when the virtual
//! clock gets there, which it also does at random. A stage that says how long it works ([`Outside::work`]) keeps its
//! worker for so long, while others go on. Time moves by itself only when nobody has anything to do.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::env::Virtual;
use crate::parking::Sleeper;
use crate::worker::{Step, Worker};
use crate::{Env, Event, Pipeline};

/// Drives a pipeline that was built with its [`Sim::env`] and never started.
pub struct Sim<E: Event> {
    clock: Virtual,
    random: u64,
    outside: Outside,
    workers: Vec<Simulated<E>>,
    next_tick: u64,
    next_second: u64,
    steps: u64,
}

struct Simulated<E: Event> {
    worker: Worker<E>,
    asleep: bool,
    /// Stands still until then, in the middle of a batch maybe.
    stalled: u64,
}

/// Things that happen outside the pipeline, later. Clones share them.
#[derive(Clone)]
pub struct Outside {
    clock: Virtual,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// By when, and in which order it was asked for.
    all: BTreeMap<(u64, u64), Happening>,
}

type Happening = Box<dyn FnOnce() + Send>;

impl Outside {
    pub(crate) fn of(clock: Virtual) -> Outside {
        Outside { clock, waiting: Arc::default() }
    }

    /// Nanoseconds of the virtual clock, as [`Pipeline::now`] says them.
    pub fn now(&self) -> u64 {
        self.clock.now.load(SeqCst) + 1
    }

    /// Says that the batch which calls this takes so much longer; what it emits leaves then.
    pub fn work(&self, duration: Duration) {
        self.clock.worked.fetch_add(duration.as_nanos() as u64, SeqCst);
    }

    /// The same for time in which the batch waits for something and no processor works on it. Only a
    /// [`Machine`](crate::Machine) knows a difference.
    pub fn wait(&self, duration: Duration) {
        self.clock.waited.fetch_add(duration.as_nanos() as u64, SeqCst);
    }

    /// The same where all who wait under this number wait for one thing, which serves one after the other: whoever comes
    /// while it is at work waits for its end, and then, with all others that came meanwhile, for the longest of their
    /// waits. As commits do that share a sync.
    pub fn wait_together(&self, number: u32, duration: Duration) {
        self.clock.together.store(u64::from(number) + 1, SeqCst);
        self.wait(duration);
    }

    /// Calls `then` when `delay` has passed on the virtual clock.
    pub fn after(&self, delay: Duration, then: impl FnOnce() + Send + 'static) {
        let at = self.clock.now.load(SeqCst) + delay.as_nanos() as u64;
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.next += 1;
        let number = waiting.next;
        waiting.all.insert((at, number), Box::new(then));
    }

    /// When the next thing happens that somebody asked for.
    pub(crate) fn first(&self) -> Option<u64> {
        let waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.all.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out one that is due.
    pub(crate) fn pop(&self, now: u64) -> Option<impl FnOnce() + use<>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        let first = waiting.all.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// How often controllers are let decide, and what passes for a second of the figures.
const TICK: u64 = 5_000_000;
const SECOND: u64 = 50_000_000;

impl<E: Event> Sim<E> {
    /// A run that this seed decides.
    pub fn new(seed: u64) -> Sim<E> {
        let clock = Virtual::default();
        let outside = Outside::of(clock.clone());
        Sim { clock, random: seed, outside, workers: Vec::new(), next_tick: TICK, next_second: SECOND, steps: 0 }
    }

    /// The environment to build the pipeline with.
    pub fn env(&self) -> Env {
        Env::of(self.clock.clone())
    }

    /// For what the stages ask of the world.
    pub fn outside(&self) -> Outside {
        self.outside.clone()
    }

    /// The run's next random number, below `n`.
    pub fn random(&mut self, n: u64) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// How many steps the workers have taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The process has died: nobody works any more, and nothing outside is answered. Time and chance go on, and what comes
    /// next is a new pipeline.
    pub fn restart(&mut self) {
        self.workers.clear();
        // What is dropped here may be the last to hold something that asks for more.
        let waiting = std::mem::take(&mut self.outside.waiting.lock().unwrap_or_else(|e| e.into_inner()).all);
        drop(waiting);
    }

    /// The workers of one pool stand still for `time`, wherever they are, as threads do in a call to a slow disk.
    pub fn stall(&mut self, pipeline: &Pipeline<E>, pool: &str, time: Duration) {
        let until = self.clock.now.load(SeqCst) + time.as_nanos() as u64;
        for simulated in &mut self.workers {
            if &*pipeline.core.pools[simulated.worker.pool()].name == pool {
                simulated.stalled = until;
            }
        }
    }

    /// One random step of somebody. False when nobody has anything to do and nothing is expected, ever: what is then
    /// left inside is stuck, unless somebody from outside moves.
    pub fn step(&mut self, pipeline: &Pipeline<E>) -> bool {
        self.hire(pipeline);
        self.tick(pipeline);
        let awake: Vec<usize> = (0..self.workers.len()).filter(|i| self.is_awake(*i)).collect();
        if awake.is_empty() || self.random(32) == 0 {
            let moved = self.advance(pipeline);
            return moved || !awake.is_empty();
        }
        let took = self.random(2_000);
        self.clock.now.fetch_add(took, SeqCst);
        let chosen = awake[self.random(awake.len() as u64) as usize];
        let patient = self.random(4) == 0;
        let simulated = &mut self.workers[chosen];
        self.steps += 1;
        match simulated.worker.step() {
            Step::Again => {}
            Step::Idle if patient && simulated.worker.stay_up() => {}
            Step::Idle => simulated.asleep = simulated.worker.lie_down(),
            Step::Gone => drop(self.workers.swap_remove(chosen)),
        }
        true
    }

    /// Steps until nothing moves any more.
    pub fn run(&mut self, pipeline: &Pipeline<E>) {
        while self.step(pipeline) {}
    }

    fn is_awake(&mut self, i: usize) -> bool {
        let now = self.clock.now.load(SeqCst);
        let simulated = &mut self.workers[i];
        if simulated.stalled > now {
            return false;
        }
        if simulated.asleep && simulated.worker.sleeper.take_woken() {
            simulated.asleep = false;
            simulated.worker.get_up();
        }
        !simulated.asleep && simulated.worker.busy_until().is_none_or(|until| until <= now + 1)
    }

    /// Starts the workers that a pool is missing, as threads would be.
    fn hire(&mut self, pipeline: &Pipeline<E>) {
        for (i, pool) in pipeline.core.pools.iter().enumerate() {
            for number in pool.hire() {
                let worker = Worker::new(pipeline.core.clone(), i, number, Sleeper::new(None));
                self.workers.push(Simulated { worker, asleep: false, stalled: 0 });
            }
        }
    }

    fn tick(&mut self, pipeline: &Pipeline<E>) {
        let now = self.clock.now.load(SeqCst);
        if now >= self.next_tick {
            pipeline.core.tick(now + 1);
            self.next_tick = now + TICK;
        }
        if now >= self.next_second {
            pipeline.core.rotate(now + 1);
            self.next_second = now + SECOND;
        }
    }

    /// Moves the clock to the next thing that is expected, and lets it happen. False when nothing is.
    fn advance(&mut self, pipeline: &Pipeline<E>) -> bool {
        let core = &pipeline.core;
        let outside = self.outside.first();
        let deadline = core.stages.iter().filter_map(|stage| stage.deadlines.first()).min();
        let now = self.clock.now.load(SeqCst);
        let ends = self.workers.iter().filter_map(|simulated| simulated.worker.busy_until());
        let stalled = self.workers.iter().map(|simulated| simulated.stalled + 1);
        let working = ends.chain(stalled).map(|until| until - 1).filter(|until| *until > now).min();
        let Some(next) = [outside, deadline, working].into_iter().flatten().min() else { return false };
        // The controllers decide on time, even when nothing else happens until much later.
        let next = next.min(self.next_tick);
        let now = self.clock.now.fetch_max(next, SeqCst).max(next);
        // Of two things that are due at once either may come first.
        let first = match outside.unwrap_or(u64::MAX).cmp(&deadline.unwrap_or(u64::MAX)) {
            Less => true,
            Greater => false,
            Equal => self.random(2) == 0,
        };
        if first && let Some(then) = self.outside.pop(now) {
            then();
        } else {
            core.expire(now);
        }
        true
    }
}
