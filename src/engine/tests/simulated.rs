//! Thousands of simulated runs of a pipeline that has everything: shared and own pools, a stage that holds, one that
//! overlaps, a side stage that answers, panics, deadlines, lost tickets, a sink that is emptied late, live changes.
//!
//! Each run is decided by its seed. `SEEDS=n` sets how many are run, `SEED=n` plays one again.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_engine::*;

/// An order that goes through a shop. Payments are asked of the outside, stock is checked by a stage beside the line.
enum Order {
    Line { key: u64, n: u64 },
    Stock { key: u64, n: u64, ticket: Ticket<Order> },
}

impl Order {
    fn id(&self) -> (u64, u64) {
        match self {
            Order::Line { key, n, .. } | Order::Stock { key, n, .. } => (*key, *n),
        }
    }
}

impl Event for Order {
    type Answer = u64;
    type Stub = (u64, u64);
    fn stub(&self) -> (u64, u64) {
        self.id()
    }
}

/// What the stages of one run share: chance, and what has become of each order.
struct World {
    random: AtomicU64,
    outside: Outside,
    panics: bool,
    /// Whether a panic costs one order; else its batch.
    one_by_one: bool,
    /// How often it was said that one is lost.
    lost: AtomicUsize,
    failed: Mutex<HashSet<(u64, u64)>>,
    refused_stock: AtomicUsize,
    /// Orders that the books have, or that were lost on the way into them.
    booked: Mutex<HashSet<(u64, u64)>>,
    late: AtomicUsize,
    resumed: AtomicUsize,
}

impl World {
    fn below(&self, n: u64) -> u64 {
        let mut z = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
    fn book(&self, order: (u64, u64)) {
        assert!(self.booked.lock().unwrap().insert(order), "{order:?} was booked twice");
    }
    fn delay(&self) -> Duration {
        Duration::from_micros(self.below(400))
    }
}

impl Supervisor<Order> for World {
    fn refused(&self, event: Order, why: Refusal) {
        assert_eq!(why, Refusal::Full);
        match event {
            Order::Stock { ticket, .. } => {
                self.refused_stock.fetch_add(1, SeqCst);
                ticket.refuse();
            }
            Order::Line { .. } => panic!("an order on the line was refused"),
        }
    }
    fn failed(&self, stub: (u64, u64), stage: &str) {
        if stage != "books" {
            self.lost.fetch_add(1, SeqCst);
        }
        match stage {
            // A question that fails drops its ticket, so that the order itself comes back.
            "stock" => {}
            "books" => self.book(stub),
            _ => assert!(self.failed.lock().unwrap().insert(stub), "{stub:?} failed twice"),
        }
    }
}

struct Kind {
    name: &'static str,
    outputs: &'static [Output],
    world: Arc<World>,
}

impl Module<Order> for Kind {
    fn outputs(&self) -> &'static [Output] {
        self.outputs
    }
    /// Books are closed when the batch is over.
    fn one_by_one(&self) -> bool {
        self.world.one_by_one && self.name != "books"
    }
    fn key(&self, event: &Order) -> u64 {
        event.id().0
    }
    fn worker(&self) -> Box<dyn Stage<Order>> {
        Box::new(Clerk { name: self.name, world: self.world.clone() })
    }
}

struct Clerk {
    name: &'static str,
    world: Arc<World>,
}

impl Clerk {
    fn maybe_panic(&self) {
        if self.world.panics && self.world.below(60) == 0 {
            std::panic::resume_unwind(Box::new("by design")); // without the hook's message
        }
    }

    /// Gives a ticket away: answered in a while, dropped in a while, or forgotten until its deadline.
    fn ask_outside(&self, ticket: Ticket<Order>) {
        self.world.late.fetch_add(1, SeqCst);
        let delay = self.world.delay();
        match self.world.below(8) {
            0 => drop(ticket),
            1 => self.world.outside.after(delay, move || drop(ticket)),
            2 => self.world.outside.after(Duration::from_millis(5), move || ticket.resume(0)),
            3 => ticket.resume(1),
            _ => self.world.outside.after(delay, move || ticket.resume(2)),
        }
    }
}

impl Stage<Order> for Clerk {
    fn run(&mut self, batch: &mut Batch<'_, Order>) {
        let deadline = Duration::from_micros(300 + self.world.below(300));
        let mut booked = Vec::new();
        let mut left = usize::MAX;
        if self.world.below(10) == 0 {
            left = self.world.below(4) as usize; // leaves the rest for another time
        }
        while left > 0 {
            let Some(item) = batch.next() else { break };
            left -= 1;
            self.maybe_panic();
            let (event, new) = match item {
                Item::New(event) => (event, true),
                Item::Resumed(event, _) => {
                    self.world.resumed.fetch_add(1, SeqCst);
                    (event, false)
                }
            };
            let again = self.world.below(10) == 0;
            match (self.name, event) {
                ("hold", event) if (new && self.world.below(3) == 0) || (!new && again) => {
                    self.ask_outside(batch.hold(event, deadline));
                }
                ("overlap", Order::Line { key, n, .. }) if (new && self.world.below(2) == 0) || (!new && again) => {
                    let ticket = batch.overlap(Order::Line { key, n }, deadline);
                    self.world.late.fetch_add(1, SeqCst);
                    batch.emit(1, Order::Stock { key, n, ticket });
                }
                ("mixed", event) if new && self.world.below(4) == 0 => self.ask_outside(batch.overlap(event, deadline)),
                ("mixed", event) if self.world.below(6) == 0 => self.ask_outside(batch.hold(event, deadline)),
                ("mixed", Order::Line { key, n }) => {
                    batch.emit(0, Order::Line { key, n });
                    batch.emit(1, Order::Line { key, n });
                }
                // Booked only when its batch does not panic any more: here, where nothing follows.
                ("books", event) => booked.push(event.id()),
                ("stock", Order::Stock { ticket, .. }) => self.ask_outside_for(ticket),
                (_, event) => batch.emit(0, event),
            }
            self.maybe_panic();
        }
        booked.into_iter().for_each(|order| self.world.book(order));
    }
}

impl Clerk {
    fn ask_outside_for(&self, ticket: Ticket<Order>) {
        match self.world.below(4) {
            0 => ticket.resume(1),
            1 => drop(ticket),
            _ => self.world.outside.after(self.world.delay(), move || ticket.resume(3)),
        }
    }
}

const NEXT: &[Output] = &[Output { name: "next", kind: OutputKind::Stage, most: 1 }];
const ASKS: &[Output] = &[
    Output { name: "next", kind: OutputKind::Stage, most: 1 },
    Output { name: "stock", kind: OutputKind::Side, most: 1 },
];
const BOOKS: &[Output] = &[
    Output { name: "next", kind: OutputKind::Stage, most: 1 },
    Output { name: "books", kind: OutputKind::Stage, most: 1 },
];
const END: &[Output] = &[Output { name: "end", kind: OutputKind::Sink("end"), most: 1 }];
const NOTHING: &[Output] = &[];

struct End {
    bound: usize,
    used: AtomicUsize,
    failed: AtomicBool,
    got: Mutex<Vec<Order>>,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl End {
    fn take(&self, most: usize) -> Vec<Order> {
        let mut got = self.got.lock().unwrap();
        let n = got.len().min(most);
        let taken = got.drain(..n).collect();
        drop(got);
        self.free(n);
        taken
    }
    fn free(&self, n: usize) {
        self.used.fetch_sub(n, SeqCst);
        if n > 0 && self.failed.swap(false, SeqCst) {
            let wake = self.wake.lock().unwrap().clone();
            wake.unwrap()();
        }
    }
}

impl Sink<Order> for End {
    fn reserve(&self, n: u32) -> bool {
        let n = n as usize;
        let fits = self.used.load(SeqCst) + n <= self.bound;
        match fits {
            true => drop(self.used.fetch_add(n, SeqCst)),
            false => self.failed.store(true, SeqCst),
        }
        fits
    }
    fn give_back(&self, n: u32) {
        self.free(n as usize);
    }
    fn push(&self, events: &mut Vec<Order>) {
        let mut got = self.got.lock().unwrap();
        got.append(events);
        assert!(got.len() <= self.bound, "the sink holds more than its bound");
    }
    fn on_room(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.lock().unwrap() = Some(wake);
    }
}

fn topology(sim: &mut Sim<Order>) -> Topology {
    let mut stages = vec![
        StageSettings::new("in").to("next", "hold"),
        StageSettings::new("hold").to("next", "overlap"),
        StageSettings::new("overlap").to("next", "mixed").to("stock", "stock"),
        StageSettings::new("mixed").to("next", "out").to("books", "books"),
        StageSettings::new("out"),
        StageSettings::new("books"),
        StageSettings::new("stock"),
    ];
    let layout = sim.random(3);
    for (i, stage) in stages.iter_mut().enumerate() {
        stage.batch = 1 + sim.random(6) as usize;
        stage.bound = 6 + sim.random(20) as usize;
        stage.workers = 1 + sim.random(3) as usize;
        if stage.name == "stock" {
            stage.bound = 1 + sim.random(3) as usize; // often full
            stage.batch = stage.batch.min(stage.bound);
        }
        stage.window = 1 + sim.random(5) as usize;
        stage.pool = match layout {
            0 => None,
            1 => Some("all".to_owned()),
            _ if i % 2 == 0 => Some("even".to_owned()),
            _ => None,
        };
    }
    let pool = |name: &str, sim: &mut Sim<Order>| PoolSettings::new(name, 1 + sim.random(4) as usize);
    let pools = match layout {
        // It waits for a stage.
        0 => vec![pool("spare", sim)],
        1 => vec![pool("all", sim)],
        _ => vec![pool("even", sim)],
    };
    Topology { stages, pools }
}

fn change(sim: &mut Sim<Order>, pipeline: &Pipeline<Order>) {
    let pools = pipeline.pools();
    let what = sim.random(5);
    if what == 0 {
        let topology = pipeline.topology();
        let name = &topology.stages[sim.random(topology.stages.len() as u64) as usize].name;
        let choices: Vec<_> = topology.pools.iter().map(|pool| Some(pool.name.clone())).chain([None]).collect();
        let pool = choices[sim.random(choices.len() as u64) as usize].clone();
        let moved = pipeline.set_stage(name, StagePatch { pool: Some(pool), ..StagePatch::default() });
        if let Err(problems) = moved {
            assert!(problems.iter().all(|problem| problem.reason.contains("mixes stages")), "{problems:?}");
        }
    } else if what < 3 {
        let pool = &pools[sim.random(pools.len() as u64) as usize];
        let workers = Some(1 + sim.random(4) as usize);
        pipeline.set_pool(&pool.name, PoolPatch { workers, ..PoolPatch::default() }).unwrap();
    } else {
        let stages = pipeline.topology().stages;
        let name = &stages[sim.random(stages.len() as u64) as usize].name;
        let patch = StagePatch {
            workers: Some(1 + sim.random(3) as usize),
            batch: Some(1 + sim.random(6) as usize),
            bound: Some(6 + sim.random(20) as usize),
            window: Some(1 + sim.random(5) as usize),
            ..StagePatch::default()
        };
        pipeline.set_stage(name, patch).unwrap();
    }
}

/// What one run did, to see that the runs together cover what they are for.
#[derive(Default, Debug)]
struct Sum {
    came: usize,
    failed: usize,
    refused_stock: usize,
    late: usize,
    resumed: usize,
    full: usize,
    steps: u64,
}

fn simulate(seed: u64, sum: &mut Sum) {
    let mut sim: Sim<Order> = Sim::new(seed);
    let world = Arc::new(World {
        random: AtomicU64::new(seed ^ 0xABCD),
        outside: sim.outside(),
        panics: seed.is_multiple_of(2),
        one_by_one: seed.is_multiple_of(4),
        lost: AtomicUsize::new(0),
        failed: Mutex::default(),
        refused_stock: AtomicUsize::new(0),
        booked: Mutex::default(),
        late: AtomicUsize::new(0),
        resumed: AtomicUsize::new(0),
    });
    let end = Arc::new(End {
        bound: 6 + sim.random(20) as usize,
        used: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        got: Mutex::default(),
        wake: Mutex::default(),
    });
    let kinds: [(&'static str, &'static [Output]); 7] = [
        ("in", NEXT),
        ("hold", NEXT),
        ("overlap", ASKS),
        ("mixed", BOOKS),
        ("out", END),
        ("books", NOTHING),
        ("stock", NOTHING),
    ];
    let modules: Modules<Order> = kinds
        .into_iter()
        .map(|(name, outputs)| {
            let kind: Arc<dyn Module<Order>> = Arc::new(Kind { name, outputs, world: world.clone() });
            (name.to_owned(), kind)
        })
        .collect();
    let sinks: Sinks<Order> = HashMap::from([("end".to_owned(), end.clone() as Arc<dyn Sink<Order>>)]);
    let topology = topology(&mut sim);
    let pipeline = Pipeline::build(topology, modules, sinks, world.clone(), &["in"], sim.env()).unwrap();
    let door = pipeline.door("in");

    let (keys, most) = (1 + sim.random(5), 20 + sim.random(60));
    let mut sent: HashMap<u64, u64> = HashMap::new();
    let mut came: Vec<(u64, u64)> = Vec::new();
    let mut offered = 0;
    // A bound that shrinks refuses new events; it does not make old ones go away.
    let bounds = |pipeline: &Pipeline<Order>| pipeline.topology().stages.into_iter().map(|stage| stage.bound);
    let mut largest: Vec<usize> = bounds(&pipeline).collect();
    loop {
        match sim.random(12) {
            0..=2 if offered < most => {
                let key = sim.random(keys);
                let n = sent.entry(key).or_default();
                match door.offer(Order::Line { key, n: *n }) {
                    Ok(()) => {
                        *n += 1;
                        offered += 1;
                    }
                    Err((_, why)) => {
                        assert_eq!(why, Refusal::Full);
                        sum.full += 1;
                    }
                }
            }
            3 => came.extend(end.take(sim.random(8) as usize).iter().map(Order::id)),
            4 if sim.random(8) == 0 => {
                change(&mut sim, &pipeline);
                largest.iter_mut().zip(bounds(&pipeline)).for_each(|(most, bound)| *most = bound.max(*most));
            }
            _ => {
                let moved = sim.step(&pipeline);
                for ((stage, depth, held), most) in pipeline.depths().into_iter().zip(&largest) {
                    assert!(depth <= *most, "{stage} is over its bound");
                    assert!(held <= depth, "{stage}: held events use room");
                }
                if !moved {
                    let rest = end.take(usize::MAX);
                    if rest.is_empty() && offered == most {
                        break;
                    }
                    let room = pipeline.depths()[0].1 < pipeline.topology().stages[0].bound;
                    assert!(!rest.is_empty() || room, "all stands still, the door is shut, and the sink is empty");
                    came.extend(rest.iter().map(Order::id));
                }
            }
        }
    }
    for (stage, depth, held) in pipeline.depths() {
        assert_eq!((depth, held), (0, 0), "{stage} has something left and nobody to move it");
    }
    assert!(pipeline.quiet());
    assert_eq!(end.used.load(SeqCst), 0, "all room of the sink was given back");

    // Who came has left: by these counts, too, nobody is inside for the next seconds.
    let quiet_since = pipeline.now();
    (1..=3).for_each(|n| world.outside.after(Duration::from_millis(60 * n), || ()));
    sim.run(&pipeline);
    for (stage, ..) in pipeline.depths() {
        let seconds = pipeline.seconds(&stage, quiet_since);
        assert!(!seconds.is_empty());
        assert!(seconds.iter().all(|second| second.law.inside == 0.0), "{stage}: {:?}", seconds[0].law);
    }

    if world.one_by_one {
        let panics = |name: &str| pipeline.stage(name).unwrap().totals.panics as usize;
        let all: usize = kinds.iter().filter(|(name, _)| *name != "books").map(|(name, _)| panics(name)).sum();
        assert_eq!(world.lost.load(SeqCst), all, "one is lost to each panic");
    }

    // Nothing lost, repeated or out of order: what came and what failed is what was sent.
    let failed = world.failed.lock().unwrap();
    let mut next: HashMap<u64, u64> = HashMap::new();
    for (key, n) in &came {
        assert!(!failed.contains(&(*key, *n)), "{key}.{n} failed and came");
        let next = next.entry(*key).or_default();
        while failed.contains(&(*key, *next)) {
            *next += 1;
        }
        assert_eq!(*n, *next, "key {key}");
        *next += 1;
    }
    assert_eq!(came.len() + failed.len(), offered as usize);
    let booked = world.booked.lock().unwrap();
    assert!(came.iter().all(|order| booked.contains(order)), "what went out is in the books");
    sum.came += came.len();
    sum.failed += failed.len();
    sum.refused_stock += world.refused_stock.load(SeqCst);
    sum.late += world.late.load(SeqCst);
    sum.resumed += world.resumed.load(SeqCst);
    sum.steps += sim.steps();
}

#[test]
fn whatever_the_schedule_nothing_is_lost_repeated_or_reordered() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(if cfg!(debug_assertions) { 300 } else { 10_000 }),
    };
    let count = seeds.end - seeds.start;
    let mut sum = Sum::default();
    for seed in seeds {
        if let Err(reason) = catch_unwind(AssertUnwindSafe(|| simulate(seed, &mut sum))) {
            eprintln!("seed {seed} fails; play it again with SEED={seed}");
            std::panic::resume_unwind(reason);
        }
    }
    println!("{count} seeds: {sum:?}");
    if count >= 100 {
        let covered = [sum.came, sum.failed, sum.refused_stock, sum.late, sum.resumed, sum.full];
        assert!(covered.iter().all(|n| *n > 0), "the runs do not cover what they are for: {sum:?}");
    }
}
