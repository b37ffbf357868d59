//! What one thread of a pool does: look for a stage that can work, take a batch, run it, send on what it emitted.
//!
//! A worker is a passive machine: [`Worker::step`] never waits. `threads.rs` drives it with a real thread, `sim.rs` with a
//! seeded schedule. The order within a batch is what correctness hangs on:
//!
//! 1. room is reserved before anything is taken, and a thread goes in only with its room, so an attempt that fails leaves
//!    nothing behind that another could have stumbled over unnoticed;
//! 2. a lane stays the worker's until what its events became has been pushed, so nothing overtakes;
//! 3. the event's own room is freed last, so "no room used anywhere" means that nothing is on its way.
//!
//! And for waking: before a worker starts on a batch it wakes another if there is more than it took.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::batch::{Batch, Out, OwnedLane, Task};
use crate::core::{Core, StageCore, Target};
use crate::metrics::Recorder;
use crate::parking::Sleeper;
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::lock;
use crate::topology::Policy;
use crate::{Event, Mark, Refusal, Stage};

pub(crate) struct Worker<E: Event> {
    core: Arc<Core<E>>,
    pool: usize,
    number: usize,
    pub sleeper: Arc<Sleeper>,
    /// Events that it takes in one go, at most, whatever the stage allows.
    most: usize,
    /// The pool's stages, downstream first, as they were when so many moves had been made.
    places: Vec<usize>,
    moves: usize,
    /// By stage; made when first needed.
    kits: Vec<Option<Kit<E>>>,
    /// How far it is with the batch that it has.
    busy: Option<Busy>,
    task: Task<E>,
    searches: u32,
    /// Counted as a searcher, see `parking.rs`.
    searching: bool,
}

/// A batch's life. The steps are apart so that the simulated run can let others in between.
enum Busy {
    /// Taken.
    Taken,
    /// Run; it ended at this time, and what it emitted has not left.
    Run(u64),
    /// What it emitted has left; the lanes are still the worker's.
    Sent,
}

/// A worker's things for one stage.
struct Kit<E: Event> {
    stage: Box<dyn Stage<E>>,
    recorder: Arc<std::sync::Mutex<Recorder>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done.
    Again,
    /// There is nothing to do.
    Idle,
    /// The worker has left its pool and must not be driven any more.
    Gone,
}

/// Every so many searches a worker looks upstream first, so that a branch which is never empty starves nobody.
const UPSTREAM_FIRST: u32 = 64;

impl<E: Event> Worker<E> {
    pub fn new(core: Arc<Core<E>>, pool: usize, number: usize, sleeper: Arc<Sleeper>) -> Worker<E> {
        let kits = core.stages.iter().map(|_| None).collect();
        let (moves, places) = (usize::MAX, Vec::new());
        let (most, busy, task) = (usize::MAX, None, Task::new());
        Worker { core, pool, number, sleeper, most, places, moves, kits, busy, task, searches: 0, searching: false }
    }

    /// Goes over to another pool.
    pub fn change_pool(&mut self, pool: usize) {
        if self.pool != pool {
            self.pool = pool;
            self.moves = usize::MAX;
        }
    }

    /// One that is driven by a thread which is not the pool's, by [`Worker::one_batch`] alone. It never lies down, takes up to
    /// `most` events in one go, and nobody counts it.
    pub fn guest(core: Arc<Core<E>>, pool: usize, most: usize) -> Worker<E> {
        Worker { most, ..Worker::new(core, pool, usize::MAX, Sleeper::new(None)) }
    }

    /// Works on one batch to its end, if there is one.
    pub fn one_batch(&mut self) -> bool {
        let found = self.find();
        while self.busy.is_some() {
            self.step();
        }
        found
    }

    /// Whose worker it is.
    pub fn pool(&self) -> usize {
        self.pool
    }

    /// Does one thing: finds a batch, or goes on with the one that it has.
    pub fn step(&mut self) -> Step {
        let core = self.core.clone();
        let stage = &core.stages[self.task.stage];
        self.busy = match self.busy.take() {
            Some(Busy::Taken) => Some(Busy::Run(self.run(&core, stage))),
            Some(Busy::Run(end)) => {
                let end = core.env.ended(end);
                self.task.notes.ended(end);
                // Before anything leaves: whoever sees an event come out finds its marks and figures there.
                self.note(stage, end);
                self.flush(&core, stage, end);
                Some(Busy::Sent)
            }
            Some(Busy::Sent) => {
                settle(&core, stage, &mut self.task, self.pool);
                stage.reel.note(&mut self.task.notes, &core.env);
                if stage.pool() != self.pool {
                    // It moved meanwhile: what was left of it is for others.
                    core.pools[stage.pool()].parking.wake_one();
                }
                return Step::Again;
            }
            None => return self.look_around(),
        };
        Step::Again
    }

    /// Until when the batch that was run takes, for the simulated run, where it may be longer than the step was.
    pub fn busy_until(&self) -> Option<u64> {
        match self.busy {
            Some(Busy::Run(end)) => Some(end),
            _ => None,
        }
    }

    fn look_around(&mut self) -> Step {
        if self.must_go() {
            return Step::Gone;
        }
        if self.search() { Step::Again } else { Step::Idle }
    }

    /// Goes to bed, unless there is something to do after all. After true the caller waits for the sleeper to be woken, and
    /// then calls [`Worker::get_up`].
    pub fn lie_down(&mut self) -> bool {
        self.task.notes.woken = false;
        let core = self.core.clone();
        let pool = &core.pools[self.pool];
        self.end_search();
        pool.parking.register(&self.sleeper);
        let up = core.stopping.load(SeqCst) || self.number >= pool.size.load(SeqCst) || self.find();
        if up {
            self.searching = pool.parking.cancel(&self.sleeper);
            self.end_search();
            self.share_work(); // not before: it would have woken this very worker
        }
        !up
    }

    /// The worker was woken.
    pub fn get_up(&mut self) {
        self.searching = true;
        self.task.notes.woken = true;
    }

    /// Asks to look for work a little longer instead of going to bed: [`Worker::step`] goes on, and [`Worker::lie_down`] ends
    /// it. False when another worker does so already.
    pub fn stay_up(&mut self) -> bool {
        self.searching = self.searching || self.core.pools[self.pool].parking.start_search();
        self.searching
    }

    fn end_search(&mut self) {
        if std::mem::take(&mut self.searching) {
            self.core.pools[self.pool].parking.end_search();
        }
    }

    fn must_go(&mut self) -> bool {
        let pool = &self.core.pools[self.pool];
        let stopping = self.core.stopping.load(SeqCst);
        if stopping {
            pool.dismiss(self.number);
        }
        let goes = stopping || pool.leaves(self.number);
        if goes {
            self.end_search();
            // It may have been woken for work that it now leaves to others.
            self.core.pools[self.pool].parking.wake_one();
        }
        goes
    }

    /// Looks for something to do and lets another worker know when there is more.
    fn search(&mut self) -> bool {
        let found = self.find();
        if found {
            self.end_search();
            self.share_work();
        }
        found
    }

    /// Whether something is ready in the pool.
    pub fn has_work(&mut self) -> bool {
        self.look_at_moves();
        self.places.iter().any(|stage| self.core.stages[*stage].queue.has_ready())
    }

    fn look_at_moves(&mut self) {
        let moves = self.core.moves.load(SeqCst);
        if moves != self.moves {
            (self.moves, self.places) = (moves, self.core.pools[self.pool].stages());
        }
    }

    /// Takes a batch from the first stage that can work.
    fn find(&mut self) -> bool {
        self.look_at_moves();
        let count = self.places.len();
        self.searches = self.searches.wrapping_add(1);
        let upstream_first = self.searches.is_multiple_of(UPSTREAM_FIRST);
        let places = (0..count).map(|i| if upstream_first { count - 1 - i } else { i });
        for place in places {
            if self.take(self.places[place]) {
                self.busy = Some(Busy::Taken);
                return true;
            }
        }
        false
    }

    /// Wakes another when there is more to do than was taken.
    pub fn share_work(&self) {
        let pool = &self.core.pools[self.pool];
        if pool.parking.would_wake() && self.places.iter().any(|s| self.core.could_run(&self.core.stages[*s])) {
            pool.parking.wake_one();
        }
    }

    fn take(&mut self, index: usize) -> bool {
        let core = &*self.core;
        let stage = &core.stages[index];
        if !stage.queue.has_ready() {
            stage.blocked.stop(|| core.env.now());
            return false;
        }
        if !stage.has_place() {
            return false;
        }
        let task = &mut self.task;
        task.notes.begin(&core.taping.on, &core.env);
        let wish = stage.knobs.batch.load(SeqCst).min(self.most).min(stage.queue.room.used().max(1));
        let room = match core.reserve(stage, wish, &mut task.reserved) {
            Ok(room) => room,
            Err(full) => {
                stage.blocked.start(full, || core.env.now());
                return false;
            }
        };
        if !stage.enter() {
            core.give_back(stage, &mut task.reserved, 0);
            return false;
        }
        stage.blocked.stop(|| core.env.now());
        task.stage = index;
        task.window = stage.knobs.window.load(SeqCst);
        let mut left = room;
        while left > 0 {
            let Some(lane) = stage.queue.pop_ready() else { break };
            let mut guard = lock(stage.queue.lane(lane));
            left = guard.take(task.lanes.len() as u16, left, task.window, &mut task.taken);
            task.lanes.push(OwnedLane { lane, has_keys: guard.has_keys() });
        }
        let is_whole = room < wish || wish == stage.knobs.batch.load(SeqCst);
        task.full = left == 0 && is_whole && stage.waiting() > room;
        core.give_back(stage, &mut task.reserved, room - left);
        stage.held.fetch_sub(task.taken.unheld, SeqCst);
        true
    }

    /// Runs the batch, and returns when it ended.
    fn run(&mut self, core: &Core<E>, stage: &StageCore<E>) -> u64 {
        let task = &mut self.task;
        task.notes.start(&core.env);
        task.now = core.env.now();
        task.open(stage.outputs.len());
        let finished = task.taken.finished;
        if !task.taken.work.is_empty() {
            let kit = self.kits[task.stage]
                .get_or_insert_with(|| Kit { stage: stage.module.worker(), recorder: stage.metrics.recorder() });
            let mut batch = Batch { core, stage, task: &mut *task };
            let ran = catch_unwind(AssertUnwindSafe(|| {
                kit.stage.run(&mut batch);
                batch.finish_item();
            }));
            if ran.is_err() {
                kit.stage = stage.module.worker();
                fail(core, stage, task, finished);
            }
        }
        let end = core.env.end_of_batch();
        let task = &mut self.task;
        task.notes.end(&core.env, task.now, &task.waits, &task.held_for, task.least);
        end
    }

    /// Pushes what was kept back and what was emitted, and gives back the room that was not used.
    fn flush(&mut self, core: &Core<E>, stage: &StageCore<E>, now: u64) {
        let task = &mut self.task;
        for (i, binding) in stage.outputs.iter().enumerate() {
            let out = &mut task.outs[i];
            let reserved = task.reserved[i];
            task.notes.emit(out.events.len());
            match binding.to {
                Target::Nothing => {}
                Target::Sink(to) => {
                    let used = out.events.len();
                    if used > 0 {
                        core.sinks[to].sink.push(&mut out.events);
                        out.events.clear();
                        out.keys.clear();
                    }
                    if reserved > used {
                        core.sinks[to].sink.give_back((reserved - used) as u32);
                    }
                }
                Target::Stage(to) => {
                    if reserved > 0 {
                        let used = out.events.len();
                        core.stages[to].queue.room.force(used.saturating_sub(reserved));
                        core.push(to, out.keys.drain(..).zip(out.events.drain(..)), now, Some(self.pool));
                        core.free(binding.to, reserved.saturating_sub(used), Some(self.pool));
                    } else if !out.events.is_empty() {
                        offer(core, to, out, now, binding.output.kind.is_line(), self.pool);
                    }
                }
            }
        }
    }

    /// Figures, once a batch, and the marks of sampled journeys.
    fn note(&mut self, stage: &StageCore<E>, end: u64) {
        let task = &mut self.task;
        // Fewer where the stage panicked: what is lost has left, too.
        let items = task.stubs.len();
        let begun = task.waits.len() + task.held_for.len();
        for (journey, queued_at) in task.journeys.drain(..) {
            if task.notes.on {
                task.notes.since_door(journey.begun().unwrap_or(queued_at), end);
            }
            journey.mark(Mark {
                stage: stage.name.clone(),
                queued_at,
                started_at: task.now,
                ended_at: end,
                batch: items as u32,
            });
        }
        if let Some(kit) = &self.kits[task.stage]
            && begun > 0
        {
            let mut recorder = kit.recorder.lock().unwrap_or_else(|e| e.into_inner());
            let service = end.saturating_sub(task.now);
            if items > 0 {
                recorder.note(&task.waits, &task.held_for, service, items);
            }
            recorder.left(begun - task.held, service, end);
        }
        if items > 0 {
            let knobs = &stage.knobs;
            let (batch, workers) = (knobs.batch.load(SeqCst), knobs.workers.load(SeqCst));
            stage.delay.note(task.least, items, task.full, end.saturating_sub(task.now), batch, workers);
        }
        task.stubs.clear();
        task.waits.clear();
        task.held_for.clear();
        task.held = 0;
    }
}

/// The stage panicked: nothing leaves of what the lost items emitted. That is the current one where each is done when
/// the next one is taken, and else all that had started; the others come again.
#[cold]
fn fail<E: Event>(core: &Core<E>, stage: &StageCore<E>, task: &mut Task<E>, finished: usize) {
    let one = if stage.module.one_by_one() { task.discard_current() } else { None };
    let (slots, stubs) = match one {
        Some(has_slot) => (task.slots.len() - has_slot as usize, task.stubs.len() - 1),
        None => {
            task.discard();
            task.taken.finished = finished;
            (0, 0)
        }
    };
    let mut held = 0;
    for (lane, key, slot) in task.slots.drain(slots..) {
        let (gone, was_held) = lock(stage.queue.lane(task.lanes[lane as usize].lane)).forget(key, slot);
        held += was_held;
        drop(gone); // outside the lock: it may hold tickets
        task.taken.touched.push((lane, key));
    }
    stage.held.fetch_sub(held, SeqCst);
    task.held -= held;
    let lost = task.stubs.len() - stubs;
    // Each has left the stage, whatever had become of it.
    task.taken.finished += lost;
    log::error!("stage {} panicked: {lost} event(s) are lost, their senders are told", stage.name);
    stage.metrics.panicked();
    for stub in task.stubs.drain(stubs..) {
        core.supervisor.failed(stub, &stage.name);
    }
}

/// Hands events to a stage whose room was not reserved: as many as fit, the rest is refused.
fn offer<E: Event>(core: &Core<E>, to: usize, out: &mut Out<E>, now: u64, line: bool, pool: usize) {
    let target = &core.stages[to];
    let count = out.events.len();
    let mut got = target.queue.room.reserve(count, 1);
    if got < count && target.knobs.policy() == Policy::DropOldest {
        core.drop_oldest(to, count - got);
        got += target.queue.room.reserve(count - got, 1);
    }
    let why = if line { Refusal::Shed } else { Refusal::Full };
    let mut events = out.keys.drain(..).zip(out.events.drain(..));
    core.push(to, events.by_ref().take(got), now, Some(pool));
    events.for_each(|(_, event)| core.refuse(to, event, why));
}

/// Gives the lanes back and frees the room of what has left the stage.
fn settle<E: Event>(core: &Core<E>, stage: &StageCore<E>, task: &mut Task<E>, pool: usize) {
    let taken = &mut task.taken;
    let mut held = 0;
    // Turned back items came before those that were not looked at; last first, so that each lane gets its own in order.
    for (lane, work) in taken.work.drain(..).rev().chain(task.back.drain(..).rev()) {
        held += lock(stage.queue.lane(task.lanes[lane as usize].lane)).put_back(work);
    }
    stage.held.fetch_add(held, SeqCst);
    taken.touched.sort_unstable();
    taken.touched.dedup();
    let mut ready = [0; crate::queue::LANES];
    let mut count = 0;
    for (i, owned) in task.lanes.drain(..).enumerate() {
        let mut lane = lock(stage.queue.lane(owned.lane));
        let from = taken.touched.partition_point(|(lane, _)| (*lane as usize) < i);
        let touched = taken.touched[from..].iter().take_while(|(lane, _)| *lane as usize == i);
        taken.finished += lane.settle(touched.map(|(_, key)| *key), task.window);
        if lane.let_go() {
            ready[count] = owned.lane;
            count += 1;
        }
    }
    stage.queue.make_ready(&ready[..count]);
    stage.leave();
    core.free(Target::Stage(task.stage), taken.finished, Some(pool));
    taken.touched.clear();
    taken.finished = 0;
    taken.unheld = 0;
    task.slots.clear();
}
