//! Events through stages that do nothing: lanes, queues, room and all instruments.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use tidegate_engine::{
    Batch, Event, Item, Module, Output, OutputKind, Pipeline, Refusal, Sim, Sink, Stage, StageSettings, Supervisor,
    Topology,
};

const STAGES: [&str; 5] = ["one", "two", "three", "four", "five"];
const EVENTS: u64 = 2_048;

/// About as large as a real one.
struct Passing {
    key: u64,
    _load: [u64; 5],
}

impl Event for Passing {
    type Answer = ();
    type Stub = ();
    fn stub(&self) {}
}

struct Pass {
    is_last: bool,
}

impl Module<Passing> for Pass {
    fn outputs(&self) -> &'static [Output] {
        const NEXT: &[Output] = &[Output { name: "next", kind: OutputKind::Stage, most: 1 }];
        const END: &[Output] = &[Output { name: "end", kind: OutputKind::Sink("end"), most: 1 }];
        if self.is_last { END } else { NEXT }
    }
    fn key(&self, event: &Passing) -> u64 {
        event.key
    }
    fn worker(&self) -> Box<dyn Stage<Passing>> {
        Box::new(Passes)
    }
}

struct Passes;

impl Stage<Passing> for Passes {
    fn run(&mut self, batch: &mut Batch<'_, Passing>) {
        while let Some(item) = batch.next() {
            if let Item::New(event) = item {
                batch.emit(0, black_box(event));
            }
        }
    }
}

struct End;

impl Sink<Passing> for End {
    fn reserve(&self, _: u32) -> bool {
        true
    }
    fn give_back(&self, _: u32) {}
    fn push(&self, events: &mut Vec<Passing>) {
        events.clear();
    }
    fn on_room(&self, _: Arc<dyn Fn() + Send + Sync>) {}
}

struct Nobody;

impl Supervisor<Passing> for Nobody {
    fn refused(&self, _: Passing, _: Refusal) {}
    fn failed(&self, (): (), _: &str) {}
}

/// Gives the hops of one round.
pub fn run(rounds: u64) -> u64 {
    let mut sim = Sim::new(1);
    let stages = STAGES.iter().enumerate().map(|(at, name)| {
        let stage = StageSettings::new(*name);
        STAGES.get(at + 1).map_or(stage.clone(), |next| stage.to("next", *next))
    });
    let topology = Topology { stages: stages.collect(), pools: Vec::new() };
    let modules = STAGES.iter().map(|name| {
        let module: Arc<dyn Module<Passing>> = Arc::new(Pass { is_last: *name == STAGES[STAGES.len() - 1] });
        ((*name).to_owned(), module)
    });
    let sinks = HashMap::from([("end".to_owned(), Arc::new(End) as Arc<dyn Sink<Passing>>)]);
    let pipeline = Pipeline::build(topology, modules.collect(), sinks, Arc::new(Nobody), &[STAGES[0]], sim.env())
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    for _ in 0..rounds {
        for key in 0..EVENTS {
            pipeline.door(STAGES[0]).offer_always(Passing { key, _load: [key; 5] });
        }
        while !pipeline.quiet() {
            sim.step(&pipeline);
        }
    }
    EVENTS * STAGES.len() as u64
}
