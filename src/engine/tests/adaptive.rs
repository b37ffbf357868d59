//! The adaptive controller against played loads: the engine itself on a simulated machine, in virtual time.
//!
//! From one worker and batch 1 it has to reach what the best of a grid of fixed settings does, to leave a steady load
//! alone, and to follow one that changes. `cargo test … -- --nocapture` shows what it found.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use tidegate_engine::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const CORES: f64 = 2.0;

/// What a stage takes of a processor and of something else, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Takes {
    each_work: u64,
    each_wait: u64,
    batch_work: u64,
    batch_wait: u64,
    /// What a batch waits for does one thing at a time, as a disk does.
    one_at_a_time: bool,
    /// Each takes something else, up to four times as long.
    uneven: bool,
}

#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    takes: Takes,
    /// Who ask, wait for their answer, and ask again.
    clients: u64,
    /// Of ten events, so many are of one key.
    hot: u64,
    /// Whether the most workers are those of a stage that waits.
    waits: bool,
}

const LOAD: Load = Load { name: "", takes: TAKES, clients: 200, hot: 0, waits: true };
const TAKES: Takes =
    Takes { each_work: 0, each_wait: 0, batch_work: 0, batch_wait: 0, one_at_a_time: false, uneven: false };

const FSYNC: Load =
    Load { name: "fsync", takes: Takes { each_work: 100, batch_wait: 10_000, one_at_a_time: true, ..TAKES }, ..LOAD };
const HOOK: Load = Load { name: "hook", takes: Takes { each_work: 20, each_wait: 20_000, ..TAKES }, ..LOAD };
const READER: Load =
    Load { name: "reader", takes: Takes { each_work: 500, each_wait: 10_000, ..TAKES }, clients: 48, ..LOAD };
const CPU: Load = Load { name: "cpu", takes: Takes { each_work: 500, ..TAKES }, waits: false, ..LOAD };
const COSTLY_BATCH: Load =
    Load { name: "costly batch", takes: Takes { each_work: 100, batch_work: 2_000, ..TAKES }, waits: false, ..LOAD };
const SKEWED: Load = Load { name: "skewed", takes: Takes { each_wait: 4_000, ..TAKES }, hot: 8, ..LOAD };
const UNEVEN: Load =
    Load { name: "uneven", takes: Takes { each_work: 100, each_wait: 5_000, uneven: true, ..TAKES }, ..LOAD };
const LOADS: [Load; 7] = [FSYNC, HOOK, READER, CPU, COSTLY_BATCH, SKEWED, UNEVEN];

/// The stage, whose load may become another one while it runs.
struct Kind {
    outside: Outside,
    load: Arc<Mutex<Load>>,
    free_at: Arc<AtomicU64>,
    random: Arc<Random>,
}

impl Module<Ev> for Kind {
    fn outputs(&self) -> &'static [Output] {
        END
    }
    fn key(&self, event: &Ev) -> u64 {
        event.key
    }
    fn worker(&self) -> Box<dyn Stage<Ev>> {
        let Kind { outside, load, free_at, random } = self;
        let (load, free_at, random) = (load.clone(), free_at.clone(), random.clone());
        Box::new(Kind { outside: outside.clone(), load, free_at, random })
    }
}

impl Stage<Ev> for Kind {
    fn run(&mut self, batch: &mut Batch<'_, Ev>) {
        let takes = self.load.lock().unwrap().takes;
        let (mut work, mut wait) = (takes.batch_work, takes.batch_wait);
        while let Some(Item::New(event)) = batch.next() {
            let quarters = if takes.uneven { [1, 1, 2, 4, 8][self.random.below(5) as usize] } else { 4 };
            work += takes.each_work * quarters / 4;
            wait += takes.each_wait * quarters / 4;
            batch.emit(0, event);
        }
        let (work, mut wait) = (Duration::from_micros(work), wait * 1_000);
        if takes.one_at_a_time {
            let begins = batch.now() + work.as_nanos() as u64;
            let ends = self.free_at.load(SeqCst).max(begins) + wait;
            self.free_at.store(ends, SeqCst);
            wait = ends - begins;
        }
        self.outside.work(work);
        self.outside.wait(Duration::from_nanos(wait));
    }
}

/// A pipeline of one stage, and those who use it.
struct Play {
    machine: Machine<Ev>,
    rig: Rig,
    load: Arc<Mutex<Load>>,
    random: Random,
    sent: u64,
    done: u64,
    now: u64,
    controller: Adaptive,
    steps: Vec<(u64, Step)>,
}

impl Play {
    fn new(load: Load, set: Setting) -> Play {
        let machine = Machine::new(CORES, || 20_000);
        let shared = Arc::new(Mutex::new(load));
        let kind = Kind {
            outside: machine.outside(),
            load: shared.clone(),
            free_at: Arc::default(),
            random: Arc::new(Random::new(1)),
        };
        let Setting { workers, batch } = set;
        let stage = StageSettings { workers, batch, ..StageSettings::new("stage") };
        let topology = Topology { stages: vec![stage], pools: vec![] };
        let rig = rig(topology, [("stage", Arc::new(kind) as Arc<dyn Module<Ev>>)], 1_000_000, machine.env());
        let (random, controller) = (Random::new(2), Adaptive::new());
        Play { machine, rig, load: shared, random, sent: 0, done: 0, now: 0, controller, steps: Vec::new() }
    }

    fn clients(&self, clients: u64) {
        self.load.lock().unwrap().clients = clients;
    }

    /// Goes on for so long, and says how many events were done in a second.
    fn run(&mut self, time: u64) -> f64 {
        let (until, before) = (self.now + time, self.done);
        let door = self.rig.pipeline.door("stage");
        let Play { machine, rig, load, random, sent, done, .. } = self;
        machine.run(&rig.pipeline, until, |now| {
            *done += rig.end.take().len() as u64;
            let Load { clients, hot, .. } = *load.lock().unwrap();
            while *sent < *done + clients {
                *sent += 1;
                let key = if random.below(10) < hot { 7 } else { *sent };
                door.offer(ev(key, *sent)).unwrap();
            }
            Some(now + MS / 2)
        });
        self.now = until;
        (self.done - before) as f64 * SECOND as f64 / time as f64
    }

    /// The same with the controller, which looks ten times a second.
    fn adapt(&mut self, time: u64) -> f64 {
        let before = self.done;
        for _ in 0..time / (100 * MS) {
            self.run(100 * MS);
            let waits = self.load.lock().unwrap().waits;
            let glance = &self.rig.pipeline.glance()[0];
            let look = Look::at(glance, Auto { workers: true, batch: true }, CORES as usize, waits, None);
            let Some(step) = self.controller.look(self.now, &[look]) else { continue };
            let Setting { workers, batch } = step.to;
            let patch = StagePatch { workers: Some(workers), batch: Some(batch), ..StagePatch::default() };
            self.rig.pipeline.set_stage("stage", patch).unwrap();
            println!("{:7.1} s {:?} {:?} -> {:?}: {}", self.now as f64 / 1e9, step.act, step.from, step.to, step.why);
            self.steps.push((self.now, step));
        }
        (self.done - before) as f64 * SECOND as f64 / time as f64
    }

    /// Steps that changed something since then.
    fn changes_since(&self, then: u64) -> usize {
        self.steps.iter().filter(|(at, step)| *at >= then && step.act != Act::Keep).count()
    }
}

const ONE: Setting = Setting { workers: 1, batch: 1 };

/// What the best of a grid of fixed settings does in a second.
fn best(load: Load) -> (Setting, f64) {
    let most = if load.waits { MOST_WAITING } else { CORES as usize * MOST_A_CORE };
    let workers = [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|workers| *workers <= most);
    let all = workers.flat_map(|workers| [1, 8, 64, 256].map(|batch| Setting { workers, batch }));
    let did = all.map(|set| {
        let mut play = Play::new(load, set);
        play.run(SECOND);
        (set, play.run(2 * SECOND))
    });
    did.max_by(|one, other| one.1.total_cmp(&other.1)).unwrap()
}

#[test]
fn within_ten_seconds_it_does_what_the_best_fixed_setting_does() {
    for load in LOADS {
        println!("{}", load.name);
        let (set, best) = best(load);
        let mut play = Play::new(load, ONE);
        let first = play.run(SECOND);
        play.adapt(10 * SECOND);
        let found = play.rig.pipeline.glance().remove(0);
        // What it then does, be a trial under way or not.
        let does = play.adapt(5 * SECOND);
        let (workers, batch) = (found.workers, found.batch);
        println!(
            "  first {first:.0}/s, then {does:.0}/s with {workers} x {batch}; the best is {best:.0}/s with {set:?}\n"
        );
        assert!(does >= 0.95 * best, "{}: {does:.0}/s, and the best is {best:.0}/s with {set:?}", load.name);
    }
}

#[test]
fn a_steady_load_is_left_alone() {
    for load in LOADS {
        println!("{}", load.name);
        // Slower, so that so much time can be played; what matters is how often it moves.
        let mut play = Play::new(Load { clients: 16, ..load }, ONE);
        play.adapt(30 * SECOND);
        let before = play.now;
        play.adapt(500 * SECOND);
        let changes = play.changes_since(before);
        assert!(changes <= 10, "{}: {changes} changes", load.name);
    }
}

#[test]
fn it_follows_a_load_that_changes() {
    let mut play = Play::new(FSYNC, ONE);
    play.adapt(60 * SECOND);
    for load in [HOOK, FSYNC, READER] {
        println!("{}", load.name);
        *play.load.lock().unwrap() = load;
        play.adapt(30 * SECOND);
        let (does, (set, best)) = (play.adapt(5 * SECOND), best(load));
        assert!(does >= 0.95 * best, "{}: {does:.0}/s, and the best is {best:.0}/s with {set:?}", load.name);
        play.adapt(60 * SECOND);
    }
}

#[test]
fn workers_that_nobody_needs_any_more_go() {
    let mut play = Play::new(HOOK, ONE);
    play.adapt(15 * SECOND);
    let many = play.rig.pipeline.glance()[0].workers;
    assert!(many >= 32, "{many}");
    play.clients(2);
    play.adapt(100 * SECOND);
    let few = play.rig.pipeline.glance()[0].workers;
    assert!((2..=4).contains(&few), "{few}");
    let before = play.now;
    play.adapt(300 * SECOND);
    assert_eq!(play.changes_since(before), 0, "a few are needed, and a few are there");
    play.clients(HOOK.clients);
    play.adapt(10 * SECOND);
    assert!(play.rig.pipeline.glance()[0].workers >= 32);
}
