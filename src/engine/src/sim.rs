//! A simulated run: one thread, a seeded schedule and a virtual clock drive the very workers, lanes and queues that real
//! threads drive. A run is told by its seed alone, so every failure can be played again.
//!
//! Workers take turns at random, within a batch as well: between taking it, working on it, sending on what it emitted and
//! giving its lanes back. What happens outside (a commit, a call) is given to [`Outside`] and completes when the virtual
//! clock gets there, which it also does at random. Time moves by itself only when nobody has anything to do.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::parking::Sleeper;
use crate::worker::{Step, Worker};
use crate::{Env, Event, Pipeline};

/// Drives a pipeline that was built with its [`Sim::env`] and never started.
pub struct Sim<E: Event> {
    clock: Arc<AtomicU64>,
    random: u64,
    outside: Outside,
    workers: Vec<Simulated<E>>,
    next_tick: u64,
    steps: u64,
}

struct Simulated<E: Event> {
    worker: Worker<E>,
    asleep: bool,
}

/// Things that happen outside the pipeline, later. Clones share them.
#[derive(Clone)]
pub struct Outside {
    clock: Arc<AtomicU64>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// When, in which order of asking, and what.
    all: Vec<(u64, u64, Happening)>,
}

type Happening = Box<dyn FnOnce() + Send>;

impl Outside {
    /// Calls `then` when `delay` has passed on the virtual clock.
    pub fn after(&self, delay: Duration, then: impl FnOnce() + Send + 'static) {
        let at = self.clock.load(SeqCst) + delay.as_nanos() as u64;
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.next += 1;
        let number = waiting.next;
        waiting.all.push((at, number, Box::new(then)));
    }

    fn first(&self) -> Option<u64> {
        let waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.all.iter().map(|(at, ..)| *at).min()
    }

    fn pop(&self, now: u64) -> Option<Happening> {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        let all = &mut waiting.all;
        let first = (0..all.len()).min_by_key(|i| (all[*i].0, all[*i].1)).filter(|i| all[*i].0 <= now)?;
        Some(all.swap_remove(first).2)
    }
}

const TICK: u64 = 50_000_000;

impl<E: Event> Sim<E> {
    /// A run that this seed decides.
    pub fn new(seed: u64) -> Sim<E> {
        let clock = Arc::new(AtomicU64::new(0));
        let outside = Outside { clock: clock.clone(), waiting: Arc::default() };
        Sim { clock, random: seed, outside, workers: Vec::new(), next_tick: TICK, steps: 0 }
    }

    /// The environment to build the pipeline with.
    pub fn env(&self) -> Env {
        Env::simulated(self.clock.clone())
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

    /// One random step of somebody. False when nobody has anything to do and nothing is expected, ever: what is then
    /// left inside is stuck, unless somebody from outside moves.
    pub fn step(&mut self, pipeline: &Pipeline<E>) -> bool {
        self.hire(pipeline);
        let awake: Vec<usize> = (0..self.workers.len()).filter(|i| self.is_awake(*i)).collect();
        if awake.is_empty() || self.random(32) == 0 {
            let moved = self.advance(pipeline);
            return moved || !awake.is_empty();
        }
        let took = self.random(2_000);
        self.clock.fetch_add(took, SeqCst);
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
        let simulated = &mut self.workers[i];
        if simulated.asleep && simulated.worker.sleeper.take_woken() {
            simulated.asleep = false;
            simulated.worker.get_up();
        }
        !simulated.asleep
    }

    /// Starts the workers that a pool is missing, as threads would be.
    fn hire(&mut self, pipeline: &Pipeline<E>) {
        for (i, pool) in pipeline.core.pools.iter().enumerate() {
            for number in pool.hire() {
                let worker = Worker::new(pipeline.core.clone(), i, number, Sleeper::new(None));
                self.workers.push(Simulated { worker, asleep: false });
            }
        }
    }

    /// Moves the clock to the next thing that is expected, and lets it happen. False when nothing is.
    fn advance(&mut self, pipeline: &Pipeline<E>) -> bool {
        let core = &pipeline.core;
        let outside = self.outside.first();
        let deadline = core.stages.iter().filter_map(|stage| stage.deadlines.first()).min();
        let Some(next) = [outside, deadline].into_iter().flatten().min() else { return false };
        let now = self.clock.fetch_max(next, SeqCst).max(next);
        if now >= self.next_tick {
            core.tick(now);
            core.rotate(now);
            self.next_tick = now + TICK;
        }
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
