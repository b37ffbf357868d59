//! A pipeline for tests: stages that pass events on, and a sink that remembers what came out.
#![allow(dead_code, clippy::disallowed_methods)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_engine::*;

#[derive(Debug, Clone)]
pub struct Ev {
    pub key: u64,
    pub n: u64,
    pub droppable: bool,
    pub journey: Option<Journey>,
}

impl PartialEq for Ev {
    fn eq(&self, other: &Ev) -> bool {
        (self.key, self.n, self.droppable) == (other.key, other.n, other.droppable)
    }
}

pub fn ev(key: u64, n: u64) -> Ev {
    Ev { key, n, droppable: false, journey: None }
}

impl Event for Ev {
    type Answer = u64;
    type Stub = (u64, u64);
    fn stub(&self) -> (u64, u64) {
        (self.key, self.n)
    }
    fn droppable(&self) -> bool {
        self.droppable
    }
    fn journey(&self) -> Option<&Journey> {
        self.journey.as_ref()
    }
}

pub const NEXT: &[Output] = &[Output { name: "next", kind: OutputKind::Stage, most: 1 }];
pub const END: &[Output] = &[Output { name: "end", kind: OutputKind::Sink("end"), most: 1 }];

type Work = dyn Fn(&mut Batch<'_, Ev>, Item<Ev>) + Send + Sync;

/// A module made of a function.
pub struct Fun {
    pub outputs: &'static [Output],
    pub sheddable: bool,
    pub blocks: bool,
    pub one_by_one: bool,
    pub work: Arc<Work>,
}

struct FunStage(Arc<Work>);

impl Module<Ev> for Fun {
    fn outputs(&self) -> &'static [Output] {
        self.outputs
    }
    fn blocks(&self) -> bool {
        self.blocks
    }
    fn sheddable(&self) -> bool {
        self.sheddable
    }
    fn one_by_one(&self) -> bool {
        self.one_by_one
    }
    fn key(&self, event: &Ev) -> u64 {
        event.key
    }
    fn worker(&self) -> Box<dyn Stage<Ev>> {
        Box::new(FunStage(self.work.clone()))
    }
}

impl Stage<Ev> for FunStage {
    fn run(&mut self, batch: &mut Batch<'_, Ev>) {
        while let Some(item) = batch.next() {
            (self.0)(batch, item);
        }
    }
}

pub fn module(
    outputs: &'static [Output],
    work: impl Fn(&mut Batch<'_, Ev>, Item<Ev>) + Send + Sync + 'static,
) -> Arc<dyn Module<Ev>> {
    Arc::new(Fun { outputs, sheddable: true, blocks: false, one_by_one: true, work: Arc::new(work) })
}

/// Passes every event on over output 0.
pub fn pass(outputs: &'static [Output]) -> Arc<dyn Module<Ev>> {
    module(outputs, |batch, item| match item {
        Item::New(event) | Item::Resumed(event, _) => batch.emit(0, event),
    })
}

/// A sink with a bound, which somebody may empty or leave full.
#[derive(Default)]
pub struct End {
    pub bound: usize,
    used: AtomicUsize,
    failed: AtomicBool,
    pub most_used: AtomicUsize,
    got: Mutex<Vec<Ev>>,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl End {
    pub fn new(bound: usize) -> Arc<End> {
        Arc::new(End { bound, ..End::default() })
    }
    /// Takes everything out.
    pub fn take(&self) -> Vec<Ev> {
        let got = std::mem::take(&mut *self.got.lock().unwrap());
        self.free(got.len());
        got
    }
    pub fn len(&self) -> usize {
        self.got.lock().unwrap().len()
    }
    fn free(&self, n: usize) {
        self.used.fetch_sub(n, SeqCst);
        if self.failed.swap(false, SeqCst) {
            let wake = self.wake.lock().unwrap().clone();
            wake.unwrap()();
        }
    }
    fn try_reserve(&self, n: usize) -> bool {
        self.used.fetch_update(SeqCst, SeqCst, |used| (used + n <= self.bound).then_some(used + n)).is_ok()
    }
}

impl Sink<Ev> for End {
    fn reserve(&self, n: u32) -> bool {
        self.try_reserve(n as usize) || {
            self.failed.store(true, SeqCst);
            self.try_reserve(n as usize)
        }
    }
    fn give_back(&self, n: u32) {
        self.free(n as usize);
    }
    fn push(&self, events: &mut Vec<Ev>) {
        let mut got = self.got.lock().unwrap();
        got.append(events);
        self.most_used.fetch_max(got.len(), SeqCst);
        assert!(got.len() <= self.bound, "the sink was given more than was reserved");
    }
    fn on_room(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.lock().unwrap() = Some(wake);
    }
}

/// Remembers what was refused and what failed.
#[derive(Default)]
pub struct Log {
    pub refused: Mutex<Vec<(Ev, Refusal)>>,
    pub failed: Mutex<Vec<(u64, u64)>>,
}

impl Supervisor<Ev> for Log {
    fn refused(&self, event: Ev, why: Refusal) {
        self.refused.lock().unwrap().push((event, why));
    }
    fn failed(&self, stub: (u64, u64), _stage: &str) {
        self.failed.lock().unwrap().push(stub);
    }
}

pub struct Rig {
    pub pipeline: Pipeline<Ev>,
    pub end: Arc<End>,
    pub log: Arc<Log>,
}

pub fn rig(
    topology: Topology,
    modules: impl IntoIterator<Item = (&'static str, Arc<dyn Module<Ev>>)>,
    end: usize,
    env: Env,
) -> Rig {
    let (end, log) = (End::new(end), Arc::new(Log::default()));
    let modules = modules.into_iter().map(|(name, module)| (name.to_owned(), module)).collect();
    let sinks = HashMap::from([("end".to_owned(), end.clone() as Arc<dyn Sink<Ev>>)]);
    let entry = topology.stages[0].name.clone();
    let pipeline = Pipeline::build(topology, modules, sinks, log.clone(), &[&entry], env)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    Rig { pipeline, end, log }
}

/// Waits until `done`, and fails with `what` when that takes absurdly long.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "still not: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A small generator of numbers (splitmix64).
pub struct Random(pub AtomicU64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(AtomicU64::new(seed))
    }
    pub fn below(&self, n: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, SeqCst).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}
