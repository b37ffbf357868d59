//! Stages that are played: they take, send on and hold as the recorded ones did, and do nothing.
//!
//! Owns the events that stand for the recorded ones. An event has a number and no content; chance decides by the
//! recorded shares what becomes of it, from seeds, so that the same recording always plays the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tidegate_engine::{
    Batch, Event, Item, Journey, Module, Modules, Output, OutputKind, Outside, Refusal, Stage, Supervisor,
};
use tidegate_recording::{StageTape, Way};

use crate::keys::{Keys, mix};
use crate::quantiles::Quantiles;
use crate::work::Work;

/// What stands for an event.
#[derive(Debug)]
pub(crate) struct Token {
    pub number: u64,
    /// Of a sample, as in the recording.
    pub journey: Option<Journey>,
}

impl Event for Token {
    type Answer = ();
    type Stub = ();

    fn stub(&self) {}

    fn journey(&self) -> Option<&Journey> {
        self.journey.as_ref()
    }
}

/// A recording's stages, to be played any number of times.
pub(crate) struct Model {
    parts: BTreeMap<String, Arc<Part>>,
}

/// What one stage plays.
struct Part {
    outputs: &'static [Output],
    /// By output: how many events each finished one becomes on it.
    means: Vec<f64>,
    blocks: bool,
    sheddable: bool,
    salt: u64,
    keys: Keys,
    work: Work,
    held: f64,
    held_again: f64,
    exclusive: f64,
    held_ns: Quantiles,
}

impl Model {
    pub fn new(stages: &BTreeMap<String, StageTape>) -> Model {
        let part =
            |(i, (name, tape)): (usize, (&String, &StageTape))| (name.clone(), Arc::new(Part::new(tape, i as u64)));
        Model { parts: stages.iter().enumerate().map(part).collect() }
    }

    /// The modules of one run. They are named as the stages are.
    pub fn modules(&self, outside: &Outside) -> Modules<Token> {
        let module = |(name, part): (&String, &Arc<Part>)| {
            let played = Played { part: part.clone(), outside: outside.clone(), workers: AtomicU64::new(0) };
            (name.clone(), Arc::new(played) as Arc<dyn Module<Token>>)
        };
        self.parts.iter().map(module).collect()
    }

    /// The largest batch of the stage that was recorded.
    pub fn largest_batch(&self, stage: &str) -> f64 {
        self.parts.get(stage).map_or(0.0, |part| part.work.largest())
    }

    pub fn key(&self, stage: &str, number: u64) -> u64 {
        self.parts.get(stage).map_or(0, |part| part.key(number))
    }
}

impl Part {
    fn new(tape: &StageTape, i: u64) -> Part {
        // What leads out of the pipeline is not simulated, and takes no room there.
        let bound: Vec<_> = tape.emits.iter().filter(|emits| emits.way != Way::Out).collect();
        let output = |emits: &&tidegate_recording::Emits| Output {
            name: forever(&emits.output),
            kind: if emits.way == Way::Line { OutputKind::Optional } else { OutputKind::OptionalSide },
            most: emits.most.max(1),
        };
        let outputs: Vec<Output> = bound.iter().map(output).collect();
        Part {
            // A program plays few recordings in its life, and the engine wants its modules' outputs to be for ever.
            outputs: Box::leak(outputs.into_boxed_slice()),
            means: bound.iter().map(|emits| emits.mean).collect(),
            blocks: tape.blocks,
            sheddable: tape.sheddable,
            salt: mix(i + 1),
            keys: Keys::new(&tape.keys),
            work: Work::new(&tape.service),
            held: tape.held,
            held_again: tape.held_again,
            exclusive: tape.exclusive,
            held_ns: Quantiles::new(&tape.held_ns),
        }
    }

    fn key(&self, number: u64) -> u64 {
        self.keys.of(number ^ self.salt)
    }
}

fn forever(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

struct Played {
    part: Arc<Part>,
    outside: Outside,
    workers: AtomicU64,
}

impl Module<Token> for Played {
    fn outputs(&self) -> &'static [Output] {
        self.part.outputs
    }

    fn blocks(&self) -> bool {
        self.part.blocks
    }

    fn sheddable(&self) -> bool {
        self.part.sheddable
    }

    fn key(&self, token: &Token) -> u64 {
        self.part.key(token.number)
    }

    fn worker(&self) -> Box<dyn Stage<Token>> {
        let seed = self.part.salt ^ self.workers.fetch_add(1, Relaxed);
        Box::new(Player {
            part: self.part.clone(),
            outside: self.outside.clone(),
            random: fastrand::Rng::with_seed(seed),
        })
    }
}

struct Player {
    part: Arc<Part>,
    outside: Outside,
    random: fastrand::Rng,
}

/// Held events come back long before this.
const NEVER: Duration = Duration::from_secs(100_000);

impl Stage<Token> for Player {
    fn run(&mut self, batch: &mut Batch<'_, Token>) {
        let mut items = 0;
        while let Some(item) = batch.next() {
            items += 1;
            let (token, held) = match item {
                Item::New(token) => (token, self.part.held),
                Item::Resumed(token, _) => (token, self.part.held_again),
            };
            if held > 0.0 && self.random.f64() < held {
                self.hold(batch, token);
            } else {
                self.finish(batch, &token);
            }
        }
        let drawn = self.part.work.draw(items, self.random.f64());
        self.outside.work(Duration::from_nanos((drawn.cpu + drawn.around) as u64));
        self.outside.wait(Duration::from_nanos(drawn.wait as u64));
    }
}

impl Player {
    fn hold(&mut self, batch: &mut Batch<'_, Token>, token: Token) {
        let exclusive = self.random.f64() < self.part.exclusive;
        let ticket = if exclusive { batch.hold(token, NEVER) } else { batch.overlap(token, NEVER) };
        let time = self.part.held_ns.draw(self.random.f64());
        self.outside.after(Duration::from_nanos(time), move || ticket.resume(()));
    }

    fn finish(&mut self, batch: &mut Batch<'_, Token>, token: &Token) {
        for (output, mean) in self.part.means.iter().enumerate() {
            let more = self.random.f64() < mean.fract();
            let count = (*mean as u32 + u32::from(more)).min(self.part.outputs[output].most);
            let is_line = self.part.outputs[output].kind == OutputKind::Optional;
            for i in 0..count {
                let number = mix(token.number ^ (output as u64) << 32 ^ u64::from(i));
                // What is asked beside the line is no part of the event's way.
                let journey = if is_line { token.journey.clone() } else { None };
                batch.emit(output, Token { number, journey });
            }
        }
    }
}

/// Nobody is told: what was refused shows in the figures.
pub(crate) struct Nobody;

impl Supervisor<Token> for Nobody {
    fn refused(&self, _: Token, _: Refusal) {}

    fn failed(&self, (): (), _: &str) {}
}
