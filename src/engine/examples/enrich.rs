//! A log pipeline: lines are parsed, enriched by a slow look-up, and counted, in order per host.
//!
//! `cargo run -p tidegate-engine --example enrich`. The look-up answers later from another thread: *overlap* lets a host's
//! next lines start meanwhile, and what comes out is in order all the same. While it runs, a pool is resized.
#![allow(clippy::disallowed_methods)] // the outside world has a clock

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tidegate_engine::*;

/// What flows: a line, and later what is known about it.
struct Line {
    host: u64,
    number: u64,
    text: String,
    level: &'static str,
    city: &'static str,
}

impl Event for Line {
    type Answer = &'static str;
    type Stub = (u64, u64);
    fn stub(&self) -> (u64, u64) {
        (self.host, self.number)
    }
}

const NEXT: &[Output] = &[Output { name: "next", kind: OutputKind::Stage, most: 1 }];
const OUT: &[Output] = &[Output { name: "out", kind: OutputKind::Sink("out"), most: 1 }];

struct Parse;

impl Module<Line> for Parse {
    fn outputs(&self) -> &'static [Output] {
        NEXT
    }
    fn key(&self, line: &Line) -> u64 {
        line.host
    }
    fn worker(&self) -> Box<dyn Stage<Line>> {
        Box::new(Parse)
    }
}

impl Stage<Line> for Parse {
    fn run(&mut self, batch: &mut Batch<'_, Line>) {
        while let Some(Item::New(mut line)) = batch.next() {
            line.level = if line.text.contains("failed") { "error" } else { "info" };
            batch.emit(0, line);
        }
    }
}

/// Asks another thread where a host stands.
struct Enrich(mpsc::Sender<(u64, Ticket<Line>)>);

impl Module<Line> for Enrich {
    fn outputs(&self) -> &'static [Output] {
        OUT
    }
    fn key(&self, line: &Line) -> u64 {
        line.host
    }
    fn worker(&self) -> Box<dyn Stage<Line>> {
        Box::new(Enrich(self.0.clone()))
    }
}

impl Stage<Line> for Enrich {
    fn run(&mut self, batch: &mut Batch<'_, Line>) {
        while let Some(item) = batch.next() {
            match item {
                Item::New(line) => {
                    let host = line.host;
                    let ticket = batch.overlap(line, Duration::from_secs(1));
                    // If nobody is there to answer, the ticket is dropped and the line comes back at once.
                    let _ = self.0.send((host, ticket));
                }
                Item::Resumed(mut line, answer) => {
                    line.city = answer.unwrap_or("unknown");
                    batch.emit(0, line);
                }
            }
        }
    }
}

/// Counts lines by city and level, and checks each host's order.
#[derive(Default)]
struct Counts(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    counts: HashMap<(&'static str, &'static str), u64>,
    last: HashMap<u64, u64>,
}

impl Sink<Line> for Counts {
    fn reserve(&self, _: u32) -> bool {
        true // counts take no room
    }
    fn give_back(&self, _: u32) {}
    fn push(&self, lines: &mut Vec<Line>) {
        let mut seen = self.0.lock().unwrap_or_else(|e| e.into_inner());
        for line in lines.drain(..) {
            *seen.counts.entry((line.city, line.level)).or_default() += 1;
            let before = seen.last.insert(line.host, line.number);
            debug_assert!(before.is_none_or(|before| before < line.number));
        }
    }
    fn on_room(&self, _: Arc<dyn Fn() + Send + Sync>) {}
}

struct Complain;

impl Supervisor<Line> for Complain {
    fn refused(&self, line: Line, why: Refusal) {
        eprintln!("line {} of host {} was refused: {why:?}", line.number, line.host);
    }
    fn failed(&self, (host, number): (u64, u64), stage: &str) {
        eprintln!("line {number} of host {host} was lost in {stage}");
    }
}

fn main() {
    let (ask, asked) = mpsc::channel::<(u64, Ticket<Line>)>();
    thread::spawn(move || {
        for (host, ticket) in asked {
            ticket.resume(["Bergen", "Lagos", "Quito"][host as usize % 3]);
        }
    });
    let modules: Modules<Line> = HashMap::from([
        ("parse".to_owned(), Arc::new(Parse) as Arc<dyn Module<Line>>),
        ("enrich".to_owned(), Arc::new(Enrich(ask)) as Arc<dyn Module<Line>>),
    ]);
    let counts = Arc::new(Counts::default());
    let sinks: Sinks<Line> = HashMap::from([("out".to_owned(), counts.clone() as Arc<dyn Sink<Line>>)]);
    let topology = Topology {
        stages: vec![StageSettings::new("parse").to("next", "enrich"), StageSettings::new("enrich")],
        pools: vec![],
    };
    let pipeline = Pipeline::build(topology, modules, sinks, Arc::new(Complain), &["parse"], Env::real())
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    pipeline.start().expect("threads");

    let door = pipeline.door("parse");
    for number in 0..100_000 {
        let text = if number % 50 == 0 { "log-in failed" } else { "log-in" }.to_owned();
        let mut line = Line { host: number % 7, number, text, level: "", city: "" };
        while let Err((back, _)) = door.offer(line) {
            line = back; // full: this producer can wait
            thread::sleep(Duration::from_micros(50));
        }
        if number == 50_000 {
            pipeline.set_pool("enrich", PoolPatch { workers: Some(3), ..PoolPatch::default() }).expect("a good number");
        }
    }
    assert!(pipeline.drain(Duration::from_secs(10)), "all out in time");

    let mut rows: Vec<_> = counts.0.lock().unwrap_or_else(|e| e.into_inner()).counts.clone().into_iter().collect();
    rows.sort();
    for ((city, level), count) in rows {
        println!("{city:8} {level:6} {count:6}");
    }
    println!();
    for stage in pipeline.stages() {
        println!(
            "{:8} {} threads  {} events  wait p50 {} us  held p50 {} us  batch p50 {}",
            stage.name,
            stage.workers,
            stage.totals.events,
            stage.wait.p50 / 1000,
            stage.held_time.p50 / 1000,
            stage.batch_size.p50,
        );
    }
}
