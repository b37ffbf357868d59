//! What a hop from stage to stage costs, in CPU time of the stages' threads, with all instruments on.
//!
//! `cargo bench -p tidegate-engine --bench hop [-- --quick]`. Five stages that do nothing are saturated by a feeder, whose
//! own time is not counted. Beside it stand the floors: the same five steps as threads joined by bare crossbeam channels,
//! and as one loop without queues. Medians of several rounds; on a busy machine only ratios within one run mean much.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_engine::*;

const HOPS: usize = 5;
const NAMES: [&str; HOPS] = ["b-one", "b-two", "b-three", "b-four", "b-five"];

/// About the size of what a real pipeline carries.
struct Ev {
    key: u64,
    sent: Instant,
    _load: [u64; 4],
}

impl Ev {
    fn new(key: u64, sent: Instant) -> Ev {
        Ev { key, sent, _load: [key; 4] }
    }
}

impl Event for Ev {
    type Answer = ();
    type Stub = u64;
    fn stub(&self) -> u64 {
        self.key
    }
}

struct Pass(&'static [Output]);
struct PassStage;

impl Module<Ev> for Pass {
    fn outputs(&self) -> &'static [Output] {
        self.0
    }
    fn key(&self, event: &Ev) -> u64 {
        event.key
    }
    fn worker(&self) -> Box<dyn Stage<Ev>> {
        Box::new(PassStage)
    }
}

impl Stage<Ev> for PassStage {
    fn run(&mut self, batch: &mut Batch<'_, Ev>) {
        while let Some(item) = batch.next() {
            if let Item::New(event) = item {
                batch.emit(0, black_box(event));
            }
        }
    }
}

const NEXT: &[Output] = &[Output { name: "next", kind: OutputKind::Stage, most: 1 }];
const END: &[Output] = &[Output { name: "end", kind: OutputKind::Sink("end"), most: 1 }];

/// Counts, and when asked to notes how long each event was on its way (ns).
#[derive(Default)]
struct Count {
    came: AtomicU64,
    times: Option<Mutex<Vec<u64>>>,
}

impl Sink<Ev> for Count {
    fn reserve(&self, _: u32) -> bool {
        true
    }
    fn give_back(&self, _: u32) {}
    fn push(&self, events: &mut Vec<Ev>) {
        if let Some(times) = &self.times {
            let mut times = times.lock().unwrap_or_else(|e| e.into_inner());
            times.extend(events.iter().map(|event| event.sent.elapsed().as_nanos() as u64));
        }
        self.came.fetch_add(events.len() as u64, SeqCst);
        events.clear();
    }
    fn on_room(&self, _: Arc<dyn Fn() + Send + Sync>) {}
}

struct Ignore;

impl Supervisor<Ev> for Ignore {
    fn refused(&self, _: Ev, _: Refusal) {}
    fn failed(&self, _: u64, _: &str) {}
}

/// CPU time of this process's threads whose name passes.
fn cpu(named: impl Fn(&str) -> bool) -> Duration {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if named(read("comm").trim()) {
            sum += read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(sum)
}

/// CPU time of the whole process, threads that have ended included, in steps of a hundredth of a second.
fn process_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

struct Result {
    /// CPU nanoseconds an event and hop.
    ns: f64,
    /// Events a second through all five.
    rate: f64,
    batch: u64,
}

fn build(shared: bool, batch: usize, count: Arc<Count>) -> Pipeline<Ev> {
    let mut stages: Vec<StageSettings> = NAMES.map(StageSettings::new).into();
    for (i, stage) in stages.iter_mut().enumerate() {
        stage.batch = batch;
        stage.module = if i + 1 < HOPS { "pass" } else { "last" }.to_owned();
        stage.pool = shared.then(|| "b-all".to_owned());
        if i + 1 < HOPS {
            stage.to.push(("next".to_owned(), NAMES[i + 1].to_owned()));
        }
    }
    let pools = if shared { vec![PoolSettings::new("b-all", 2)] } else { vec![] };
    let modules: Modules<Ev> = HashMap::from([
        ("pass".to_owned(), Arc::new(Pass(NEXT)) as Arc<dyn Module<Ev>>),
        ("last".to_owned(), Arc::new(Pass(END)) as Arc<dyn Module<Ev>>),
    ]);
    let sinks: Sinks<Ev> = HashMap::from([("end".to_owned(), count as Arc<dyn Sink<Ev>>)]);
    let topology = Topology { stages, pools };
    let pipeline = Pipeline::build(topology, modules, sinks, Arc::new(Ignore), &[NAMES[0]], Env::real());
    let pipeline = pipeline.unwrap_or_else(|problems| panic!("{problems:?}"));
    pipeline.start().expect("threads");
    pipeline
}

/// As many events as will go through.
fn saturated(shared: bool, batch: usize, events: u64) -> Result {
    let count = Arc::new(Count::default());
    let pipeline = build(shared, batch, count.clone());
    let door = pipeline.door(NAMES[0]);
    let (before, start) = (cpu(|name| name.starts_with("b-")), Instant::now());
    let mut now = pipeline.now();
    for key in 0..events {
        if key % 64 == 0 {
            now = pipeline.now();
        }
        let mut event = Ev::new(key % 5000, start);
        while let Err((back, _)) = door.offer_at(event, now) {
            event = back;
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    while count.came.load(SeqCst) < events {
        std::thread::sleep(Duration::from_micros(200));
    }
    let (took, used) = (start.elapsed(), cpu(|name| name.starts_with("b-")) - before);
    let middle = pipeline.stage(NAMES[2]).map_or(0, |stage| stage.batch_size.p50);
    pipeline.stop();
    result(used, took, events, middle)
}

/// What a paced event goes through.
#[derive(Clone, Copy)]
enum Way {
    OwnPools,
    /// One shared pool, whose thread is woken for each event.
    Woken,
    /// The same, and who hands an event in helps.
    Helped,
    /// One thread behind a channel that does all five steps.
    Fused,
}

/// So many events a second, evenly: the median and the 99th percentile of the way through (us), and the CPU time of an event
/// (us) with all threads, the feeder's own sleeps included.
fn paced(way: Way, rate: u64, seconds: f64) -> (f64, f64, f64) {
    let count = Arc::new(Count { times: Some(Mutex::default()), ..Count::default() });
    let events = (rate as f64 * seconds) as u64;
    let feed = |mut hand_in: Box<dyn FnMut(Ev)>| {
        let start = Instant::now();
        for key in 0..events {
            let at = start + Duration::from_nanos(key * 1_000_000_000 / rate);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            hand_in(Ev::new(key, Instant::now()));
        }
    };
    let before = process_cpu();
    if let Way::Fused = way {
        let (to, from) = crossbeam_channel::bounded::<Ev>(8192);
        let end = count.clone();
        let worker = std::thread::spawn(move || {
            for event in from {
                end.push(&mut vec![NAMES.iter().fold(event, |event, _| black_box(event))]);
            }
        });
        feed(Box::new(move |event| to.send(event).expect("open")));
        worker.join().expect("no panic");
    } else {
        let pipeline = build(!matches!(way, Way::OwnPools), 64, count.clone());
        let door = pipeline.door(NAMES[0]);
        let (helps, mut helper) = (matches!(way, Way::Helped), door.helper());
        let door = if helps { door.for_helpers() } else { door };
        feed(Box::new(move |event| {
            drop(door.offer(event));
            if helps {
                helper.help();
            }
        }));
        pipeline.drain(Duration::from_secs(5));
    }
    let used = (process_cpu() - before).as_secs_f64() * 1e6 / events as f64;
    let mut times =
        count.times.iter().flat_map(|times| std::mem::take(&mut *times.lock().unwrap())).collect::<Vec<_>>();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, |ns| *ns as f64 / 1000.0);
    (at(50), at(99), used)
}

fn result(used: Duration, took: Duration, events: u64, batch: u64) -> Result {
    Result { ns: used.as_nanos() as f64 / events as f64 / HOPS as f64, rate: events as f64 / took.as_secs_f64(), batch }
}

fn channels(events: u64) -> Result {
    let (first, mut from) = crossbeam_channel::bounded::<Ev>(8192);
    let mut threads = Vec::new();
    for name in NAMES {
        let (to, next) = crossbeam_channel::bounded(8192);
        let mine = std::mem::replace(&mut from, next);
        let thread = std::thread::Builder::new().name(name.replace("b-", "c-"));
        threads.push(thread.spawn(move || mine.iter().for_each(|event| to.send(black_box(event)).expect("open"))));
    }
    let end = std::thread::spawn(move || from.iter().take(events as usize).count());
    let (before, start) = (cpu(|name| name.starts_with("c-")), Instant::now());
    for key in 0..events {
        let mut event = Ev::new(key, start);
        while let Err(full) = first.try_send(event) {
            event = full.into_inner();
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let _ = end.join();
    let (took, used) = (start.elapsed(), cpu(|name| name.starts_with("c-")) - before);
    drop(first);
    threads.into_iter().flatten().for_each(|thread| drop(thread.join()));
    result(used, took, events, 1)
}

fn fused(events: u64) -> Result {
    let steps: Vec<Box<dyn Fn(Ev) -> Ev>> =
        NAMES.iter().map(|_| Box::new(black_box) as Box<dyn Fn(Ev) -> Ev>).collect();
    let start = Instant::now();
    for key in 0..events {
        let event = Ev::new(key, start);
        black_box(steps.iter().fold(event, |event, step| step(event)).key);
    }
    let took = start.elapsed();
    result(took, took, events, 1)
}

fn median(rounds: usize, mut run: impl FnMut() -> Result) -> Result {
    let mut results: Vec<Result> = (0..rounds).map(|_| run()).collect();
    results.sort_by(|a, b| a.ns.total_cmp(&b.ns));
    results.swap_remove(rounds / 2)
}

fn per_call(calls: u64, mut call: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(&mut call);
    start.elapsed().as_nanos() as f64 / calls as f64
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, scale) = if quick { (1, 1) } else { (5, 10) };
    println!("{:<34} {:>12} {:>14} {:>12}", "5 hops, saturated", "CPU ns/hop", "events/s", "batch p50");
    let row = |what: &str, result: Result| {
        println!("{:<34} {:>12.0} {:>14.0} {:>12}", what, result.ns, result.rate, result.batch);
    };
    for batch in [1, 16, 64] {
        for (layout, shared) in [("own pools", false), ("one shared pool of 2", true)] {
            let events = scale * if batch == 1 { 20_000 } else { 100_000 };
            row(&format!("{layout}, batch {batch}"), median(rounds, || saturated(shared, batch, events)));
        }
    }
    row("floor: crossbeam channels", median(rounds, || channels(scale * 50_000)));
    row("floor: fused loop", median(rounds, || fused(scale * 500_000)));
    println!("\n{:<34} {:>10} {:>10} {:>12}", "5 hops, paced", "p50 us", "p99 us", "CPU us/event");
    let ways = [
        ("own pools", Way::OwnPools),
        ("one shared pool, woken", Way::Woken),
        ("one shared pool, helped", Way::Helped),
        ("floor: fused, behind a channel", Way::Fused),
    ];
    for rate in [1_000, 10_000] {
        for (layout, way) in ways {
            let (p50, p99, used) = paced(way, rate, scale as f64 * 0.2);
            println!("{:<34} {p50:>10.1} {p99:>10.1} {used:>12.1}", format!("{layout}, {rate}/s"));
        }
    }
    let mut histogram = hdrhistogram::Histogram::<u32>::new_with_bounds(1, 600_000_000_000, 2).expect("bounds");
    let record = per_call(scale * 500_000, |n| histogram.saturating_record(black_box(1000 + (n * 7919) % 5_000_000)));
    let env = Env::real();
    let clock = per_call(scale * 200_000, |_| {
        black_box(env.now());
    });
    println!("\nhistogram record {record:.1} ns, clock {clock:.1} ns (once a batch at start, once at end)");
}
