//! Stages that are played: they take, send on and hold as the recorded ones did, and do nothing.
//!
//! Owns the events that stand for the recorded ones. An event has a number and no content; chance decides by the
//! recorded shares what becomes of it, from seeds, so that the same recording always plays the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tidegate_engine::{
    Batch, Event, Item, Journey, Module, Modules, Output, OutputKind, Outside, Refusal, Stage, Supervisor, Ticket,
};
use tidegate_recording::{Emits, StageTape, Turn, Way};

use crate::keys::{Keys, mix};
use crate::quantiles::Quantiles;
use crate::work::{Drawn, Work};

/// What stands for an event.
#[derive(Debug)]
pub(crate) struct Token {
    pub number: u64,
    /// Of a sample, as in the recording.
    pub journey: Option<Journey>,
    /// How often it was held in the stage that it is in.
    turn: usize,
    /// Who waits for what comes of it.
    asked: Option<Asked>,
}

/// A held event that waits for another's end.
#[derive(Debug)]
struct Asked {
    ticket: Ticket<Token>,
    /// How long such a one was held, all in all.
    held_ns: u64,
}

impl Token {
    pub fn new(number: u64, journey: Option<Journey>) -> Token {
        Token { number, journey, turn: 0, asked: None }
    }
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
    /// By output: how many events each finished one becomes on it, whatever its turn.
    means: Vec<f64>,
    turns: Vec<PartTurn>,
    /// The number under which its workers wait together, where they do.
    together: Option<u32>,
    answers: bool,
    /// From an event's coming to the end of its batch, as recorded: the mean, in nanoseconds.
    stay_ns: u64,
    blocks: bool,
    sheddable: bool,
    salt: u64,
    keys: Keys,
    work: Work,
}

/// What becomes of an event in one of its turns.
struct PartTurn {
    held: f64,
    exclusive: f64,
    held_ns: Quantiles,
    /// By output, as [`Part::means`].
    asks: Vec<f64>,
    emits: Vec<f64>,
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
        let all: Vec<(usize, &Emits)> = tape.emits.iter().enumerate().collect();
        let bound: Vec<_> = all.into_iter().filter(|(_, emits)| emits.way != Way::Out).collect();
        let output = |(_, emits): &(usize, &Emits)| Output {
            name: forever(&emits.output),
            kind: if emits.way == Way::Line { OutputKind::Optional } else { OutputKind::OptionalSide },
            most: emits.most.max(1),
        };
        let outputs: Vec<Output> = bound.iter().map(output).collect();
        Part {
            // A program plays few recordings in its life, and the engine wants its modules' outputs to be for ever.
            outputs: Box::leak(outputs.into_boxed_slice()),
            means: bound.iter().map(|(_, emits)| emits.of_batch).collect(),
            turns: tape.turns.iter().map(|turn| PartTurn::new(turn, &bound)).collect(),
            together: tape.waits_together.then_some(i as u32),
            answers: tape.answers,
            stay_ns: stay_ns(tape) as u64,
            blocks: tape.blocks,
            sheddable: tape.sheddable,
            salt: mix(i + 1),
            keys: Keys::new(&tape.keys),
            work: Work::new(&tape.service),
        }
    }

    /// Later turns than those that are told apart are as the last of these.
    fn turn(&self, turn: usize) -> Option<&PartTurn> {
        self.turns.get(turn).or(self.turns.last())
    }

    fn key(&self, number: u64) -> u64 {
        self.keys.of(number ^ self.salt)
    }
}

impl PartTurn {
    fn new(of: &Turn, bound: &[(usize, &Emits)]) -> PartTurn {
        let by_output = |counts: &[f64]| bound.iter().map(|(i, _)| counts.get(*i).copied().unwrap_or(0.0)).collect();
        PartTurn {
            held: of.held,
            exclusive: of.exclusive,
            held_ns: Quantiles::new(&of.held_ns),
            asks: by_output(&of.asks),
            emits: by_output(&of.emits),
        }
    }
}

fn stay_ns(tape: &StageTape) -> f64 {
    let batches: f64 = tape.service.iter().map(|service| service.ns.count() as f64).sum();
    let took: f64 = tape.service.iter().map(|service| service.ns.mean() * service.ns.count() as f64).sum();
    tape.wait_ns.mean() + took / batches.max(1.0)
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
        let (mut items, mut answers) = (0, Vec::new());
        while let Some(item) = batch.next() {
            items += 1;
            let mut token = match item {
                Item::New(token) | Item::Resumed(token, _) => token,
            };
            let held = self.part.turn(token.turn).map_or(0.0, |turn| turn.held);
            if held > 0.0 && self.random.f64() < held {
                self.hold(batch, token);
            } else {
                self.finish(batch, &token);
                answers.extend(token.asked.take().map(|asked| (items, asked)));
            }
        }
        let drawn = self.part.work.draw(items, self.random.f64());
        self.outside.work(Duration::from_nanos((drawn.cpu + drawn.around) as u64));
        let wait = Duration::from_nanos(drawn.wait as u64);
        match self.part.together {
            Some(number) => self.outside.wait_together(number, wait),
            None => self.outside.wait(wait),
        }
        answers.into_iter().for_each(|(place, asked)| self.answer(asked, drawn, place as f64 / items as f64));
    }
}

impl Player {
    fn hold(&mut self, batch: &mut Batch<'_, Token>, mut token: Token) {
        let part = self.part.clone();
        let Some(turn) = part.turn(token.turn) else { return };
        let number = mix(token.number ^ token.turn as u64);
        token.turn += 1;
        let exclusive = self.random.f64() < turn.exclusive;
        let ticket = if exclusive { batch.hold(token, NEVER) } else { batch.overlap(token, NEVER) };
        let held_ns = turn.held_ns.draw(self.random.f64());
        // Whom it asks, by the shares of those that were asked; one is enough.
        let mut chance = self.random.f64();
        let asks = turn.asks.iter().position(|share| {
            chance -= share;
            chance < 0.0
        });
        match asks {
            Some(output) => {
                let asked = Some(Asked { ticket, held_ns });
                batch.emit(output, Token { asked, ..Token::new(number, None) });
            }
            None => self.outside.after(Duration::from_nanos(held_ns), move || ticket.resume(())),
        }
    }

    /// Whoever asked goes on when this `part` of the batch is done, or when the call that was made then has come back. How
    /// long such calls took is what all of it took, without what this stage did.
    fn answer(&self, asked: Asked, drawn: Drawn, part: f64) {
        let Asked { ticket, held_ns } = asked;
        let done = ((drawn.cpu + drawn.around + drawn.wait) * part) as u64;
        let call = if self.part.answers { 0 } else { held_ns.saturating_sub(self.part.stay_ns) };
        self.outside.after(Duration::from_nanos(done + call), move || ticket.resume(()));
    }

    fn finish(&mut self, batch: &mut Batch<'_, Token>, token: &Token) {
        let part = self.part.clone();
        let turn = part.turn(token.turn);
        for (output, mean) in part.means.iter().enumerate() {
            let mean = mean + turn.map_or(0.0, |turn| turn.emits[output]);
            let more = self.random.f64() < mean.fract();
            let count = (mean as u32 + u32::from(more)).min(self.part.outputs[output].most);
            let is_line = self.part.outputs[output].kind == OutputKind::Optional;
            for i in 0..count {
                let number = mix(token.number ^ (output as u64) << 32 ^ u64::from(i));
                // What is asked beside the line is no part of the event's way.
                let journey = if is_line { token.journey.clone() } else { None };
                batch.emit(output, Token::new(number, journey));
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
