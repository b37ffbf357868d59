//! The tape: while it runs, what comes to each stage and what each batch was like is noted, in all the detail that it
//! takes to run the same work again in a simulated machine.
//!
//! Owns what is noted and how much of it is kept: the work, never an event. Keys leave as shares of the most frequent
//! ones, without saying what they are. While it does not run, a batch pays one relaxed load for it and a door as much.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use hdrhistogram::Histogram;

use crate::core::StageCore;
use crate::frequent::Frequent;
use crate::metrics::{LONGEST_NS, no_times};
use crate::processor::ThreadTimes;
use crate::{Env, Event, Output, Pipeline};

/// Arrivals are counted in slots of so long, in nanoseconds.
pub const ARRIVAL_SLOT_NS: u64 = 100_000;
/// So many slots with arrivals are kept; later ones are not. An hour of 1,000 a second, or ten minutes of 10,000.
const MOST_SLOTS: usize = 4_000_000;

/// What a tape has of a pipeline.
#[derive(Debug, Clone)]
pub struct Tape {
    /// How long it ran, in nanoseconds.
    pub ns: u64,
    /// What the process needed of processors beside the stages: for the threads that hand events in and take them out.
    pub beside_ns: u64,
    /// The stages, in the topology's order.
    pub stages: Vec<TapedStage>,
}

/// What a tape has of a stage. Times in nanoseconds.
#[derive(Debug, Clone)]
pub struct TapedStage {
    /// Its name.
    pub name: Arc<str>,
    /// What its module declares, and how many events left over each output.
    pub outputs: Vec<(Output, u64)>,
    /// As [`Module::blocks`](crate::Module::blocks).
    pub blocks: bool,
    /// As [`Module::sheddable`](crate::Module::sheddable).
    pub sheddable: bool,
    /// Events that somebody outside wanted to hand in, refused ones too: the slot of 100 us since the beginning, and how
    /// many in it. Slots ascend; those without any are left out.
    pub arrivals: Vec<(u32, u32)>,
    /// New events that were worked on.
    pub events: u64,
    /// Events that were refused, at its doors or by its queue.
    pub refused: u64,
    /// How long its workers were at batches, together.
    pub busy_ns: u64,
    /// How many of the events the most frequent keys had at least, at most 64 of them, the largest first.
    pub keys: Vec<u64>,
    /// Its batches by size, ascending.
    pub batches: Vec<TapedBatches>,
    /// Events that were resumed.
    pub resumed: u64,
    /// What became of its events in their first turn, when they were new, in their second, after they were held for the
    /// first time, and so on. The last of [`MOST_TURNS`] stands for all later ones.
    pub turns: Vec<TapedTurn>,
    /// As [`Module::waits_together`](crate::Module::waits_together).
    pub waits_together: bool,
    /// As [`Module::answers`](crate::Module::answers).
    pub answers: bool,
    /// How long events waited in the queue.
    pub wait_ns: Histogram<u32>,
    /// How long it took from an event's coming to a worker that had slept to run, without the time for which no
    /// processor was free.
    pub wake_ns: Histogram<u32>,
    /// From the door to the end of this stage, of the events that have a journey.
    pub since_door_ns: Histogram<u32>,
}

/// Turns of events that are told apart, at most.
pub const MOST_TURNS: usize = 8;

/// What became of events in one of their turns.
#[derive(Debug, Clone)]
pub struct TapedTurn {
    /// How many events had it.
    pub items: u64,
    /// How many of them were held in it.
    pub held: u64,
    /// How many of these kept the others of their key back: [`Batch::hold`](crate::Batch::hold).
    pub exclusive: u64,
    /// What those that were held emitted, by output: what they wait for, mostly.
    pub asked: Vec<u64>,
    /// What the others emitted, by output. What leaves when the batch is over belongs to no turn.
    pub sent: Vec<u64>,
    /// How long they were held.
    pub held_ns: Histogram<u32>,
}

impl TapedTurn {
    fn new() -> TapedTurn {
        TapedTurn { items: 0, held: 0, exclusive: 0, asked: Vec::new(), sent: Vec::new(), held_ns: no_times() }
    }
}

/// Batches of about one size.
#[derive(Debug, Clone)]
pub struct TapedBatches {
    /// How many there were.
    pub batches: u64,
    /// Items in all of them.
    pub items: u64,
    /// How long each took, without the time for which its thread could have worked and had no processor.
    pub ns: Histogram<u32>,
    /// The sum of that.
    pub sum_ns: u64,
    /// The part of the sum that a processor worked.
    pub cpu_ns: u64,
    /// What the engine took before and after them: finding, taking, sending on, giving back. Its sum, not in `sum_ns`.
    pub around_ns: u64,
}

/// A stage's part of the tape.
#[derive(Default)]
pub(crate) struct Reel {
    noted: Mutex<Option<Box<Noted>>>,
}

struct Noted {
    begun: u64,
    refused_before: u64,
    arrivals: Vec<(u32, u32)>,
    emitted: Vec<u64>,
    events: u64,
    busy_ns: u64,
    resumed: u64,
    turns: Vec<TapedTurn>,
    keys: Frequent,
    batches: BTreeMap<usize, TapedBatches>,
    wait_ns: Histogram<u32>,
    wake_ns: Histogram<u32>,
    since_door_ns: Histogram<u32>,
}

/// What a worker has at hand of the batch that it is on. While nothing is taped it is empty and `on` is false.
#[derive(Default)]
pub(crate) struct Notes {
    /// Whether this batch is taped.
    pub on: bool,
    /// The worker had slept, and found this when it was woken.
    pub woken: bool,
    /// When it began to look for the batch, and what its thread had had then.
    begun: u64,
    before: ThreadTimes,
    /// What its thread had been kept waiting when the last taped batch ended; 0: there was none.
    delayed: u64,
    started: u64,
    ended: u64,
    after: ThreadTimes,
    keys: Vec<u64>,
    waits: Vec<u64>,
    held_for: Vec<u64>,
    since_door: Vec<u64>,
    emitted: Vec<u64>,
    turns: Vec<Turn>,
    /// In which turn an item was held, and for how long.
    held: Vec<(u8, u64)>,
    least: Option<u64>,
}

/// What this batch's items did in one of their turns.
#[derive(Default)]
struct Turn {
    items: u64,
    held: u64,
    exclusive: u64,
    asked: Vec<u64>,
    sent: Vec<u64>,
}

/// The place of a turn, made where it is the first.
fn of_turn<T>(turns: &mut Vec<T>, turn: usize, new: impl FnMut() -> T) -> &mut T {
    let turn = turn.min(MOST_TURNS - 1);
    if turns.len() <= turn {
        turns.resize_with(turn + 1, new);
    }
    &mut turns[turn]
}

fn count(counts: &mut Vec<u64>, place: usize, more: u64) {
    if counts.len() <= place {
        counts.resize(place + 1, 0);
    }
    counts[place] += more;
}

impl Notes {
    /// A batch is about to be taken.
    pub fn begin(&mut self, taping: &AtomicBool, env: &Env) {
        self.on = taping.load(Relaxed);
        if self.on {
            self.begun = env.now();
        }
    }

    /// It starts.
    pub fn start(&mut self, env: &Env) {
        if self.on {
            self.keys.clear();
            self.emitted.clear();
            self.since_door.clear();
            self.turns.clear();
            self.held.clear();
            self.before = env.thread_begin();
        }
    }

    /// It is over. `now`: when it started.
    pub fn end(&mut self, env: &Env, now: u64, waits: &[u64], held_for: &[u64], least: Option<u64>) {
        if self.on {
            self.after = env.thread_end();
            (self.started, self.least) = (now, least);
            self.waits.clear();
            self.waits.extend(waits);
            self.held_for.clear();
            self.held_for.extend(held_for);
        }
    }

    /// When it was over, known on a machine only when what it sent leaves.
    pub fn ended(&mut self, end: u64) {
        self.ended = end;
    }

    /// A new event of this key is worked on.
    pub fn key(&mut self, key: u64) {
        if self.on {
            self.keys.push(key);
        }
    }

    /// An item is held in this turn of its.
    pub fn hold(&mut self, turn: u8, exclusive: bool) {
        if self.on {
            let turn = of_turn(&mut self.turns, turn.into(), Turn::default);
            turn.held += 1;
            turn.exclusive += exclusive as u64;
        }
    }

    /// One that was held in this turn has come back.
    pub fn resume(&mut self, turn: u8, held_for: u64) {
        if self.on {
            self.held.push((turn, held_for));
        }
    }

    /// An item's turn is over; what it emitted in it.
    pub fn turn(&mut self, turn: u8, held: bool, outputs: impl Iterator<Item = usize>) {
        let turn = of_turn(&mut self.turns, turn.into(), Turn::default);
        turn.items += 1;
        let counts = if held { &mut turn.asked } else { &mut turn.sent };
        outputs.for_each(|output| count(counts, output, 1));
    }

    /// So many events leave over the next output.
    pub fn emit(&mut self, events: usize) {
        if self.on {
            self.emitted.push(events as u64);
        }
    }

    /// An event with a journey came in by a door at `begun` and has been through this stage at `end`.
    pub fn since_door(&mut self, begun: u64, end: u64) {
        if self.on {
            self.since_door.push(end.saturating_sub(begun));
        }
    }
}

impl Reel {
    fn noted(&self) -> MutexGuard<'_, Option<Box<Noted>>> {
        self.noted.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn begin(&self, now: u64, refused_before: u64) {
        *self.noted() = Some(Box::new(Noted::new(now, refused_before)));
    }

    /// Somebody outside wants to hand an event in.
    pub fn arrives(&self, taping: &AtomicBool, at: u64) {
        if !taping.load(Relaxed) {
            return;
        }
        if let Some(noted) = self.noted().as_mut() {
            let slot = (at.saturating_sub(noted.begun) / ARRIVAL_SLOT_NS) as u32;
            let slots = noted.arrivals.len();
            match noted.arrivals.last_mut() {
                // Reactors are not in step with each other: a little late is as good as now.
                Some((last, count)) if *last >= slot => *count += 1,
                _ if slots < MOST_SLOTS => noted.arrivals.push((slot, 1)),
                _ => {}
            }
        }
    }

    /// The batch is over, and its lanes are given back.
    pub fn note(&self, notes: &mut Notes, env: &Env) {
        if !std::mem::take(&mut notes.on) {
            return;
        }
        let settled = env.now();
        if let Some(noted) = self.noted().as_mut() {
            noted.add(notes, settled);
        }
        notes.delayed = notes.after.delayed;
        notes.woken = false;
    }

    fn end<E: Event>(&self, stage: &StageCore<E>) -> Option<TapedStage> {
        let noted = self.noted().take()?;
        let emitted = noted.emitted.iter().copied().chain(std::iter::repeat(0));
        Some(TapedStage {
            name: stage.name.clone(),
            outputs: stage.outputs.iter().map(|binding| binding.output).zip(emitted).collect(),
            blocks: stage.module.blocks(),
            sheddable: stage.module.sheddable(),
            arrivals: noted.arrivals,
            events: noted.events,
            refused: stage.metrics.refusals().saturating_sub(noted.refused_before),
            busy_ns: noted.busy_ns,
            keys: noted.keys.most_frequent(),
            batches: noted.batches.into_values().collect(),
            resumed: noted.resumed,
            turns: noted.turns,
            waits_together: stage.module.waits_together(),
            answers: stage.module.answers(),
            wait_ns: noted.wait_ns,
            wake_ns: noted.wake_ns,
            since_door_ns: noted.since_door_ns,
        })
    }
}

impl Noted {
    fn new(begun: u64, refused_before: u64) -> Noted {
        Noted {
            begun,
            refused_before,
            arrivals: Vec::new(),
            emitted: Vec::new(),
            events: 0,
            busy_ns: 0,
            resumed: 0,
            turns: Vec::new(),
            keys: Frequent::default(),
            batches: BTreeMap::new(),
            wait_ns: no_times(),
            wake_ns: no_times(),
            since_door_ns: no_times(),
        }
    }

    fn add_turns(&mut self, notes: &Notes) {
        for (i, of) in notes.turns.iter().enumerate() {
            let turn = of_turn(&mut self.turns, i, TapedTurn::new);
            turn.items += of.items;
            turn.held += of.held;
            turn.exclusive += of.exclusive;
            for (counts, more) in [(&mut turn.asked, &of.asked), (&mut turn.sent, &of.sent)] {
                more.iter().enumerate().for_each(|(output, more)| count(counts, output, *more));
            }
        }
        for (turn, ns) in &notes.held {
            let turn = of_turn(&mut self.turns, usize::from(*turn), TapedTurn::new);
            turn.held_ns.saturating_record((*ns).min(LONGEST_NS));
        }
    }

    fn add(&mut self, notes: &Notes, settled: u64) {
        if notes.begun < self.begun {
            return; // taken before the tape began
        }
        self.events += notes.waits.len() as u64;
        self.resumed += notes.held_for.len() as u64;
        self.add_turns(notes);
        notes.keys.iter().for_each(|key| self.keys.count(*key));
        if self.emitted.len() < notes.emitted.len() {
            self.emitted.resize(notes.emitted.len(), 0);
        }
        self.emitted.iter_mut().zip(&notes.emitted).for_each(|(sum, emitted)| *sum += emitted);
        for (times, histogram) in [(&notes.waits, &mut self.wait_ns), (&notes.since_door, &mut self.since_door_ns)] {
            times.iter().for_each(|time| histogram.saturating_record((*time).min(LONGEST_NS)));
        }
        let items = (notes.waits.len() + notes.held_for.len()) as u64;
        if items == 0 {
            return;
        }
        let cpu = notes.after.cpu.saturating_sub(notes.before.cpu);
        let delayed = notes.after.delayed.saturating_sub(notes.before.delayed);
        let service = notes.ended.saturating_sub(notes.started);
        self.busy_ns += service;
        let service = service.saturating_sub(delayed).max(cpu.min(service));
        let batches = self.batches.entry(size_class(items)).or_insert_with(|| TapedBatches {
            batches: 0,
            items: 0,
            ns: no_times(),
            sum_ns: 0,
            cpu_ns: 0,
            around_ns: 0,
        });
        batches.batches += 1;
        batches.items += items;
        batches.ns.saturating_record(service.clamp(1, LONGEST_NS));
        batches.sum_ns += service;
        batches.cpu_ns += cpu.min(service);
        batches.around_ns += (settled - notes.begun).saturating_sub(notes.ended - notes.started).min(AROUND_MOST);
        if let (true, Some(least)) = (notes.woken && notes.delayed > 0, notes.least) {
            let delayed = notes.before.delayed.saturating_sub(notes.delayed);
            self.wake_ns.saturating_record(least.saturating_sub(delayed).clamp(1, LONGEST_NS));
        }
    }
}

/// What the stages have had of processors, the engine's work around their batches included.
fn worked(stages: &[TapedStage]) -> u64 {
    stages.iter().flat_map(|stage| &stage.batches).map(|of| of.cpu_ns + of.around_ns).sum()
}

/// More around one batch is not the engine's work: its thread lost the processor there.
const AROUND_MOST: u64 = 200_000;

/// Batches of one class differ by a quarter in size at most; below 8 they do not.
fn size_class(items: u64) -> usize {
    match items {
        0..8 => items as usize,
        _ => {
            let octave = items.ilog2();
            8 + (octave as usize - 3) * 4 + ((items >> (octave - 2)) & 3) as usize
        }
    }
}

/// Whether a tape runs, and since when.
#[derive(Default)]
pub(crate) struct Recording {
    pub on: AtomicBool,
    since: AtomicU64,
    /// What the process had had of processors then.
    cpu: AtomicU64,
}

impl<E: Event> Pipeline<E> {
    /// Starts the tape. One that runs already begins anew.
    pub fn begin_tape(&self) {
        let core = &self.core;
        core.taping.on.store(false, Relaxed);
        let now = core.env.now();
        core.taping.since.store(now, Relaxed);
        core.taping.cpu.store(core.env.process_cpu(), Relaxed);
        core.stages.iter().for_each(|stage| stage.reel.begin(now, stage.metrics.refusals()));
        core.taping.on.store(true, Relaxed);
    }

    /// Ends the tape, and gives what it has: `None` when none runs.
    pub fn end_tape(&self) -> Option<Tape> {
        let core = &self.core;
        if !core.taping.on.swap(false, Relaxed) {
            return None;
        }
        let ns = core.env.now().saturating_sub(core.taping.since.load(Relaxed));
        let cpu = core.env.process_cpu().saturating_sub(core.taping.cpu.load(Relaxed));
        let stages: Vec<TapedStage> = core.stages.iter().filter_map(|stage| stage.reel.end(stage)).collect();
        Some(Tape { ns, beside_ns: cpu.saturating_sub(worked(&stages)), stages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_class_are_alike() {
        assert_eq!((1..=8).map(size_class).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
        for size in 1..5_000u64 {
            let (this, next) = (size_class(size), size_class(size + 1));
            assert!(next == this || next == this + 1, "{size}");
            let first = (1..=size).find(|other| size_class(*other) == this).unwrap();
            assert!(size as f64 / first as f64 <= 1.25, "{first} and {size}");
        }
    }

    #[test]
    fn arrivals_are_counted_in_slots_and_only_while_a_tape_runs() {
        let (reel, on) = (Reel::default(), AtomicBool::new(true));
        reel.begin(1_000, 0);
        [1_000, 50_000, 101_000, 90_000, 1_001_000].iter().for_each(|at| reel.arrives(&on, *at));
        on.store(false, Relaxed);
        reel.arrives(&on, 2_000_000);
        assert_eq!(reel.noted().take().unwrap().arrivals, [(0, 2), (1, 2), (10, 1)]);
    }
}
