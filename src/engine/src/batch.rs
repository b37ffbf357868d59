//! What a stage sees of the engine while it works on a batch.
//!
//! Nothing that a stage emits leaves before its batch is over, so that what panics, an item or the whole batch, has
//! emitted nothing.

use std::time::Duration;

use crate::core::{Core, StageCore, Target};
use crate::deadlines::Place;
use crate::lane::{Admission, Emission, Entry, Held, Taken, Work};
use crate::sync::lock;
use crate::tape::Notes;
use crate::{Event, Item, Journey, Ticket};

/// The events of one go, and the way out for what becomes of them.
pub struct Batch<'a, E: Event> {
    pub(crate) core: &'a Core<E>,
    pub(crate) stage: &'a StageCore<E>,
    pub(crate) task: &'a mut Task<E>,
}

/// A worker's batch: kept and reused, so that a batch allocates nothing once its vectors have grown.
pub(crate) struct Task<E: Event> {
    /// Index of the stage.
    pub stage: usize,
    /// How many events of one key may overlap. Fixed for the batch: a key that was turned back must stay so.
    pub window: usize,
    /// When it started.
    pub now: u64,
    pub lanes: Vec<OwnedLane>,
    pub taken: Taken<E>,
    /// What leaves when the batch is over, by output.
    pub outs: Vec<Out<E>>,
    /// Room set aside, by output; 0 where none is needed.
    pub reserved: Vec<usize>,
    /// Items that may not start yet, in order.
    pub back: Vec<(u16, Work<E>)>,
    /// Slots that items of this batch run in or are held in.
    pub slots: Vec<(u16, u64, u64)>,
    /// Whom to tell when this batch panics.
    pub stubs: Vec<E::Stub>,
    pub journeys: Vec<(Journey, u64)>,
    pub waits: Vec<u64>,
    /// The least wait of those that came first in their lane.
    pub least: Option<u64>,
    /// Nothing more could be taken.
    pub full: bool,
    /// Whose first event that was looked at last.
    first_of: Option<u16>,
    pub held_for: Vec<u64>,
    /// Items of this batch that were held in it.
    pub held: usize,
    pub notes: Notes,
    /// What a current item with a slot has emitted.
    kept: Vec<Emission<E>>,
    /// On which outputs the current item has emitted what is not kept, in order.
    emitted_on: Vec<u16>,
    current: Option<Current>,
    #[cfg(debug_assertions)]
    emitted: Vec<u32>,
}

pub(crate) struct OwnedLane {
    pub lane: u16,
    /// Some key of it has slots, so items must ask before they start.
    pub has_keys: bool,
}

pub(crate) struct Out<E> {
    pub keys: Vec<u64>,
    pub events: Vec<E>,
    /// So many of them, in front, are from events that are finished: they leave even if this batch panics.
    released: usize,
}

impl<E> Out<E> {
    pub fn push(&mut self, key: u64, event: E) {
        self.keys.push(key);
        self.events.push(event);
    }
}

struct Current {
    lane: u16,
    key: u64,
    at: u64,
    slot: Option<u64>,
    /// It is in the front slot: nothing is before it, so what it emits need not be kept.
    front: bool,
    held: bool,
    /// 0 when it is new, one more each time that it was held.
    turn: u8,
}

impl<E: Event> Task<E> {
    pub fn new() -> Task<E> {
        Task {
            stage: 0,
            window: 0,
            now: 0,
            lanes: Vec::new(),
            taken: Taken::new(),
            outs: Vec::new(),
            reserved: Vec::new(),
            back: Vec::new(),
            slots: Vec::new(),
            stubs: Vec::new(),
            journeys: Vec::new(),
            waits: Vec::new(),
            least: None,
            full: false,
            first_of: None,
            held_for: Vec::new(),
            held: 0,
            notes: Notes::default(),
            kept: Vec::new(),
            emitted_on: Vec::new(),
            current: None,
            #[cfg(debug_assertions)]
            emitted: Vec::new(),
        }
    }

    /// Makes the outputs ready, with what earlier batches' events had kept back in front.
    pub fn open(&mut self, outputs: usize) {
        (self.least, self.first_of) = (None, None);
        self.outs.resize_with(outputs, || Out { keys: Vec::new(), events: Vec::new(), released: 0 });
        for emission in self.taken.released.drain(..) {
            self.outs[emission.output].push(emission.key, emission.event);
        }
        self.outs.iter_mut().for_each(|out| out.released = out.events.len());
    }

    /// Throws away what this batch's items emitted.
    pub fn discard(&mut self) {
        for out in &mut self.outs {
            out.keys.truncate(out.released);
            out.events.truncate(out.released);
        }
        self.kept.clear();
        self.current = None;
    }

    /// Throws away what the current item emitted. Says whether it had a slot; `None`: there is no such item.
    pub fn discard_current(&mut self) -> Option<bool> {
        let current = self.current.take()?;
        for output in self.emitted_on.drain(..) {
            let out = &mut self.outs[output as usize];
            out.keys.pop();
            out.events.pop();
        }
        self.kept.clear();
        Some(current.slot.is_some() || current.held)
    }
}

impl<E: Event> Batch<'_, E> {
    /// The next item, or `None` when the batch is over. What is emitted until the next call belongs to this item.
    ///
    /// A stage may also take all items first and emit after the `None` (one that commits and answers then): what it emits
    /// there belongs to the batch, leaves with it, and is not kept behind an item that overlaps.
    #[allow(clippy::should_implement_trait)] // a stage wants `while let`, and an iterator could not be emitted to
    pub fn next(&mut self) -> Option<Item<E>> {
        self.finish_item();
        loop {
            let Some((lane, work)) = self.task.taken.work.pop_front() else {
                // What a stage emits from here on belongs to the batch: one that commits first and answers then.
                #[cfg(debug_assertions)]
                self.task.emitted.clear();
                return None;
            };
            let owned = &self.task.lanes[lane as usize];
            let key = work.entry().key;
            let (slot, front) = match &work {
                Work::Resumed { slot, .. } => (Some(*slot), true),
                Work::New(_) if !owned.has_keys => (None, true),
                Work::New(_) => match lock(self.stage.queue.lane(owned.lane)).admit(key, self.task.window) {
                    Admission::Free => (None, true),
                    Admission::Behind(slot) => (Some(slot), false),
                    Admission::Back => {
                        self.task.back.push((lane, work));
                        continue;
                    }
                },
            };
            if let Some(slot) = slot {
                self.task.slots.push((lane, key, slot));
            }
            return Some(self.start_item(lane, work, slot, front));
        }
    }

    fn start_item(&mut self, lane: u16, work: Work<E>, slot: Option<u64>, front: bool) -> Item<E> {
        let task = &mut *self.task;
        let entry = work.entry();
        task.stubs.push(entry.event.stub());
        let turn = match &work {
            Work::New(_) => 0,
            Work::Resumed { held, .. } => held.turn.saturating_add(1),
        };
        task.current = Some(Current { lane, key: entry.key, at: entry.at, slot, front, held: false, turn });
        task.emitted_on.clear();
        #[cfg(debug_assertions)]
        {
            task.emitted.clear();
            task.emitted.resize(self.stage.outputs.len(), 0);
        }
        if let Some(journey) = entry.event.journey() {
            task.journeys.push((journey.clone(), entry.at));
        }
        match work {
            Work::New(entry) => {
                let wait = task.now.saturating_sub(entry.at);
                if task.first_of.replace(lane) != Some(lane) {
                    task.least = Some(task.least.map_or(wait, |least| least.min(wait)));
                }
                task.waits.push(wait);
                task.notes.key(entry.key);
                Item::New(entry.event)
            }
            Work::Resumed { entry, answer, held, .. } => {
                let held_for = task.now.saturating_sub(held.at);
                task.held_for.push(held_for);
                task.notes.resume(held.turn, held_for);
                Item::Resumed(entry.event, answer)
            }
        }
    }

    /// How many items are left. Some of them may turn out to have to wait longer.
    pub fn len(&self) -> usize {
        self.task.taken.work.len()
    }

    /// Whether no item is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time, in nanoseconds of the pipeline's clock, read once when the batch started.
    pub fn now(&self) -> u64 {
        self.task.now
    }

    /// Whether events emitted on this output go anywhere. False for an optional one that is bound to `"none"`.
    pub fn is_bound(&self, output: usize) -> bool {
        self.stage.outputs[output].to != Target::Nothing
    }

    /// Sends an event to an output, an index into [`Module::outputs`](crate::Module::outputs), when the batch is over. On an
    /// output bound to `"none"` the event is dropped. An item emits at most what the output declares.
    pub fn emit(&mut self, output: usize, event: E) {
        let binding = &self.stage.outputs[output];
        #[cfg(debug_assertions)]
        {
            if let Some(emitted) = self.task.emitted.get_mut(output) {
                *emitted += 1;
                let most = binding.output.most;
                assert!(
                    *emitted <= most,
                    "{}.{}: more than {most} for one input",
                    self.stage.name,
                    binding.output.name
                );
            }
        }
        // The key is asked for here, where a panic in it is the batch's.
        let key = match binding.to {
            Target::Nothing => return,
            Target::Sink(_) => 0,
            Target::Stage(to) => self.core.stages[to].module.key(&event),
        };
        match &self.task.current {
            Some(Current { front: false, .. }) => self.task.kept.push(Emission { output, key, event }),
            current => {
                if current.is_some() {
                    self.task.emitted_on.push(output as u16);
                }
                self.task.outs[output].push(key, event);
            }
        }
    }

    /// Sets the current item's event aside until its ticket is used; the events of its key that follow wait. It comes back as
    /// [`Item::Resumed`], before them, with the answer or the reason why there is none. What this item emits in this turn
    /// (its question) leaves with the batch.
    ///
    /// At most once an item; a second time panics.
    pub fn hold(&mut self, event: E, deadline: Duration) -> Ticket<E> {
        self.later(event, deadline, true)
    }

    /// As [`Batch::hold`], but the events of its key that follow are started, as many as the stage's window allows. What each
    /// emits *in its last turn* is kept until those before it are finished, so that it leaves in order; what an item emits
    /// in a turn in which it is held leaves with the batch.
    pub fn overlap(&mut self, event: E, deadline: Duration) -> Ticket<E> {
        self.later(event, deadline, false)
    }

    fn later(&mut self, event: E, deadline: Duration, exclusive: bool) -> Ticket<E> {
        let task = &mut *self.task;
        let Some(current) = task.current.as_mut().filter(|current| !current.held) else {
            panic!("{}: only the item last taken can be held, and once", self.stage.name);
        };
        current.held = true;
        task.held += 1;
        task.notes.hold(current.turn, exclusive);
        let owned = &mut task.lanes[current.lane as usize];
        owned.has_keys = true;
        let entry = Entry { event, key: current.key, at: current.at };
        let held = Held { at: task.now, turn: current.turn };
        let slot = lock(self.stage.queue.lane(owned.lane)).hold(entry, current.slot, held, exclusive);
        if current.slot.is_none() {
            task.slots.push((current.lane, current.key, slot));
        }
        task.taken.touched.push((current.lane, current.key));
        self.stage.held.fetch_add(1, crate::sync::atomic::Ordering::SeqCst);
        let place = Place { stage: task.stage, lane: owned.lane, key: current.key, slot };
        let due = self.stage.deadlines.add(task.now, deadline, place);
        self.core.alarm.ring_before(due.0);
        Ticket::new(self.core.me.clone(), place, due)
    }

    /// Ends the current item: counts it, or leaves what it emitted where it belongs.
    pub(crate) fn finish_item(&mut self) {
        let task = &mut *self.task;
        let Some(current) = task.current.take() else { return };
        if task.notes.on {
            let at_once = task.emitted_on.iter().map(|output| usize::from(*output));
            let later = task.kept.iter().map(|emission| emission.output);
            task.notes.turn(current.turn, current.held, at_once.chain(later));
        }
        if current.held {
            // A question leaves at once.
            for emission in task.kept.drain(..) {
                task.outs[emission.output].push(emission.key, emission.event);
            }
            return;
        }
        match current.slot {
            None => task.taken.finished += 1,
            // With nothing kept, the slot leaves (and is counted) as soon as it is the front one.
            Some(slot) => {
                let lane = task.lanes[current.lane as usize].lane;
                lock(self.stage.queue.lane(lane)).finish(current.key, slot, std::mem::take(&mut task.kept));
                task.taken.touched.push((current.lane, current.key));
            }
        }
    }
}
