//! A small pipeline with real threads: stages that work, that wait for something, and one that commits batches. A crowd
//! sends to it, open loop, whatever becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_engine::*;
use tidegate_recording::{Messages, Recording, VERSION};

pub struct Sent {
    user: u64,
    room: u64,
    journey: Journey,
}

impl Event for Sent {
    type Answer = ();
    type Stub = ();

    fn stub(&self) {}

    fn journey(&self) -> Option<&Journey> {
        Some(&self.journey)
    }
}

/// What a stage takes of a processor for each event and for each batch, and how long it waits for something else.
#[derive(Clone, Copy, Default)]
struct Kind {
    blocks: bool,
    by_room: bool,
    works_each: Duration,
    waits_each: Duration,
    waits_batch: Duration,
    last: bool,
}

const NEXT: &[Output] = &[Output { name: "next", kind: OutputKind::Stage, most: 1 }];
const END: &[Output] = &[Output { name: "end", kind: OutputKind::Sink("end"), most: 1 }];

struct Toy(Kind);

impl Module<Sent> for Toy {
    fn outputs(&self) -> &'static [Output] {
        if self.0.last { END } else { NEXT }
    }

    fn blocks(&self) -> bool {
        self.0.blocks
    }

    fn key(&self, sent: &Sent) -> u64 {
        if self.0.by_room { sent.room } else { sent.user }
    }

    fn worker(&self) -> Box<dyn Stage<Sent>> {
        Box::new(Toy(self.0))
    }
}

impl Stage<Sent> for Toy {
    fn run(&mut self, batch: &mut Batch<'_, Sent>) {
        let mut all = Vec::new();
        while let Some(Item::New(sent)) = batch.next() {
            work(self.0.works_each);
            wait(self.0.waits_each);
            all.push(sent);
        }
        if !all.is_empty() {
            wait(self.0.waits_batch);
        }
        all.into_iter().for_each(|sent| batch.emit(0, sent));
    }
}

fn wait(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

/// As much work as takes so long on a processor that nobody else uses.
fn work(time: Duration) {
    static TURNS_A_US: std::sync::OnceLock<f64> = std::sync::OnceLock::new();
    let turns = |n: u64| (0..n).fold(0u64, |sum, i| std::hint::black_box(sum.wrapping_mul(31).wrapping_add(i)));
    let pace = TURNS_A_US.get_or_init(|| {
        let once = || {
            let start = Instant::now();
            turns(100_000);
            100_000.0 / start.elapsed().as_nanos() as f64 * 1_000.0
        };
        (0..20).map(|_| once()).fold(0.0, f64::max)
    });
    turns((time.as_nanos() as f64 / 1_000.0 * pace) as u64);
}

struct End;

impl Sink<Sent> for End {
    fn reserve(&self, _: u32) -> bool {
        true
    }
    fn give_back(&self, _: u32) {}
    fn push(&self, events: &mut Vec<Sent>) {
        events.clear();
    }
    fn on_room(&self, _: Arc<dyn Fn() + Send + Sync>) {}
}

struct Nobody;

impl Supervisor<Sent> for Nobody {
    fn refused(&self, _: Sent, _: Refusal) {}
    fn failed(&self, (): (), _: &str) {}
}

fn modules() -> Modules<Sent> {
    let us = Duration::from_micros;
    let plain = Kind::default();
    let all = [
        ("read", Kind { works_each: us(10), ..plain }),
        ("ask", Kind { waits_each: us(400), works_each: us(10), ..plain }),
        ("commit", Kind { blocks: true, by_room: true, works_each: us(15), waits_batch: us(3_000), ..plain }),
        ("send", Kind { by_room: true, works_each: us(20), last: true, ..plain }),
    ];
    all.into_iter().map(|(name, kind)| (name.to_owned(), Arc::new(Toy(kind)) as Arc<dyn Module<Sent>>)).collect()
}

/// One configuration: `read` → `ask` → `commit` → `send`.
pub fn topology() -> Topology {
    let stage = |name: &str, to: &str| {
        let stage = StageSettings { bound: 4_096, ..StageSettings::new(name) };
        if to.is_empty() { stage } else { stage.to("next", to) }
    };
    let mut stages = vec![stage("read", "ask"), stage("ask", "commit"), stage("commit", "send"), stage("send", "")];
    stages[1].workers = 3;
    stages[1].batch = 4;
    stages[2].batch = 16;
    Topology { stages, pools: vec![PoolSettings { helped: false, ..PoolSettings::new("shared", 2) }] }
}

/// The processors that this process may use.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// Runs it for so long under so many events a second, and records.
pub fn run(topology: &Topology, rate: f64, time: Duration, seed: u64) -> Recording {
    let sinks = HashMap::from([("end".to_owned(), Arc::new(End) as Arc<dyn Sink<Sent>>)]);
    let pipeline =
        Pipeline::build(topology.clone(), modules(), sinks, Arc::new(Nobody), &["read"], Env::real()).unwrap();
    work(Duration::from_micros(1)); // calibrates itself
    pipeline.start().unwrap();
    pipeline.begin_tape();
    let door = pipeline.door("read");
    let (mut random, start, mut number, mut next) = (fastrand::Rng::with_seed(seed), Instant::now(), 0, 0.0);
    while next < time.as_secs_f64() {
        let now = start.elapsed().as_secs_f64();
        if next > now {
            std::thread::sleep(Duration::from_secs_f64(next - now));
            continue;
        }
        next += -(1.0 - random.f64()).ln() / rate;
        number += 1;
        let user = random.u64(0..50);
        // Of the rooms one has a tenth of all.
        let room = if random.f64() < 0.1 { 0 } else { random.u64(1..40) };
        if door.admit(1, user) {
            let _ = door.offer(Sent { user, room, journey: Journey::new(number) });
        }
    }
    let tape = pipeline.end_tape().unwrap();
    pipeline.stop();
    Recording {
        version: VERSION,
        program: "the toy".to_owned(),
        seconds: tape.ns as f64 / 1e9,
        cores: cores(),
        // One thread makes the load, and is in nobody's way for long.
        beside: 0.0,
        config: String::new(),
        stages: tidegate_whatif::stages(&tape).into_iter().collect::<BTreeMap<_, _>>(),
        messages: Messages::default(),
    }
}
