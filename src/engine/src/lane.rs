//! A lane: the events of some keys, in order, and the keys that wait for an answer.
//!
//! Plain data without locks or clocks, so that a model can be held against it. One worker at a time owns a lane: only the
//! owner takes from it, finishes what it took, and holds; others may only push and answer. What a key may be:
//!
//! - unknown (nearly always): its events go straight through;
//! - with *slots*: one for each of its events that is held, or that started behind a held one. A slot is `Running` (in
//!   the owner's batch), `Pending` (held), `Answered` (to be resumed when it is the front one) or `Done` (finished; what
//!   it emitted waits for the slots before it). Slots leave from the front only: that is what keeps overlapping work in order;
//! - with *parked* followers: they may not start, because a hold is pending or the window is full.

use std::collections::{HashMap, VecDeque};

use crate::law::Passed;
use crate::{Event, Late};

/// An event in a queue.
pub(crate) struct Entry<E> {
    pub event: E,
    pub key: u64,
    /// When it was put here.
    pub at: u64,
}

/// An event given to a batch.
pub(crate) enum Work<E: Event> {
    New(Entry<E>),
    Resumed { entry: Entry<E>, answer: Result<E::Answer, Late>, slot: u64, held: Held },
}

/// When an event was held, and in which of its turns: 0 is the one in which it was new.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub at: u64,
    pub turn: u8,
}

impl<E: Event> Work<E> {
    pub fn entry(&self) -> &Entry<E> {
        match self {
            Work::New(entry) | Work::Resumed { entry, .. } => entry,
        }
    }
}

/// Something emitted: the output, the key in the target stage (0 for a sink), the event.
pub(crate) struct Emission<E> {
    pub output: usize,
    pub key: u64,
    pub event: E,
}

/// Entries whose memory an empty lane keeps.
const KEEP: usize = 256;

pub(crate) struct Lane<E: Event> {
    queue: VecDeque<Entry<E>>,
    keys: HashMap<u64, Key<E>>,
    /// Keys on which something can go on.
    ready: VecDeque<u64>,
    next_slot: u64,
    /// Who has come in, but for those that were dropped.
    came: Passed,
    /// On the stage's ready queue or owned by a worker.
    pub scheduled: bool,
}

struct Key<E: Event> {
    slots: VecDeque<Slot<E>>,
    parked: VecDeque<Entry<E>>,
    /// Slots held exclusively. While there is one nobody starts.
    holds: usize,
    /// Followers in the owner's batch that have no slot yet.
    taken: usize,
    /// In `Lane::ready`.
    queued: bool,
}

struct Slot<E: Event> {
    id: u64,
    state: State<E>,
}

enum State<E: Event> {
    Running,
    Pending { entry: Entry<E>, held: Held, exclusive: bool },
    Answered { entry: Entry<E>, answer: Result<E::Answer, Late>, held: Held, exclusive: bool },
    Done(Vec<Emission<E>>),
}

/// Whether an item of a batch may start.
#[derive(Debug, PartialEq)]
pub(crate) enum Admission {
    /// Nothing of its key is waiting: what it emits leaves at once.
    Free,
    /// It starts behind others: what it emits is kept in this slot.
    Behind(u64),
    /// It must wait.
    Back,
}

/// What [`Lane::take`] found, over all lanes of a batch; a number beside a thing says which of these lanes it is from.
pub(crate) struct Taken<E: Event> {
    pub work: VecDeque<(u16, Work<E>)>,
    /// What finished events had kept back, in order; one input's room was used for each of `finished`.
    pub released: Vec<Emission<E>>,
    /// Events that left the stage.
    pub finished: usize,
    /// Held events that are held no more.
    pub unheld: usize,
    /// Keys to look at again in [`Lane::settle`].
    pub touched: Vec<(u16, u64)>,
}

impl<E: Event> Taken<E> {
    pub fn new() -> Taken<E> {
        Taken { work: VecDeque::new(), released: Vec::new(), finished: 0, unheld: 0, touched: Vec::new() }
    }
}

impl<E: Event> Key<E> {
    fn new() -> Key<E> {
        Key { slots: VecDeque::new(), parked: VecDeque::new(), holds: 0, taken: 0, queued: false }
    }

    fn may_start(&self, window: usize) -> bool {
        self.holds == 0 && (self.slots.is_empty() || self.slots.len() + self.taken < window)
    }

    fn can_go_on(&self, window: usize) -> bool {
        match self.slots.front().map(|slot| &slot.state) {
            Some(State::Answered { .. } | State::Done(_)) => true,
            _ => !self.parked.is_empty() && self.may_start(window),
        }
    }
}

impl<E: Event> Lane<E> {
    pub fn new() -> Lane<E> {
        Lane {
            queue: VecDeque::new(),
            keys: HashMap::default(),
            ready: VecDeque::new(),
            next_slot: 0,
            came: Passed::default(),
            scheduled: false,
        }
    }

    /// Events that wait in the queue. What is parked or held does not count.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Events that wait, parked ones included; held ones do not wait here but for an answer.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.keys.values().map(|key| key.parked.len()).sum::<usize>()
    }

    /// How many of them are of the key that has the most.
    pub fn hottest(&self) -> usize {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        self.queue.iter().for_each(|entry| *counts.entry(entry.key).or_default() += 1);
        self.keys.iter().for_each(|(id, key)| *counts.entry(*id).or_default() += key.parked.len());
        counts.into_values().max().unwrap_or(0)
    }

    /// Whether `limit` or more of `key`'s events wait here. Looks through the queue only when it is long enough.
    pub fn holds_share(&self, key: u64, limit: usize) -> bool {
        let parked = self.keys.get(&key).map_or(0, |k| k.parked.len());
        self.queue.len() + parked >= limit
            && self.queue.iter().filter(|entry| entry.key == key).count() + parked >= limit
    }

    /// Who has come in since the start, but for those that were dropped.
    pub fn came(&self) -> Passed {
        self.came
    }

    /// Whether some key of the lane waits for an answer or behind one.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Adds an event. True when the caller must put the lane on the ready queue.
    #[must_use]
    pub fn push(&mut self, entry: Entry<E>) -> bool {
        self.came.pass(1, entry.at);
        self.queue.push_back(entry);
        self.schedule()
    }

    fn schedule(&mut self) -> bool {
        !std::mem::replace(&mut self.scheduled, true)
    }

    /// Takes what `room` inputs allow, older things first. The caller owns the lane, which is the batch's `lane`th.
    /// Returns how much of the room is left.
    pub fn take(&mut self, lane: u16, room: usize, window: usize, taken: &mut Taken<E>) -> usize {
        let mut left = room;
        while left > 0 {
            let Some(&id) = self.ready.front() else { break };
            if let Some(key) = self.keys.get_mut(&id) {
                taken.touched.push((lane, id));
                left = key.take(lane, left, window, taken);
                if left == 0 && key.can_go_on(window) {
                    break; // stays in front: next time
                }
                key.queued = false;
            }
            self.ready.pop_front();
        }
        while left > 0 {
            let Some(entry) = self.queue.pop_front() else { break };
            if let Some(key) = self.keys.get_mut(&entry.key) {
                taken.touched.push((lane, entry.key));
                if !key.parked.is_empty() || !key.may_start(window) {
                    key.parked.push_back(entry);
                    continue;
                }
                key.taken += 1;
            }
            taken.work.push_back((lane, Work::New(entry)));
            left -= 1;
        }
        left
    }

    /// Asks whether an item that was taken may start now. Within one batch the answer for a key only gets stricter, so
    /// that a turned back event is never passed by a later one.
    pub fn admit(&mut self, id: u64, window: usize) -> Admission {
        let Some(key) = self.keys.get_mut(&id) else { return Admission::Free };
        if key.slots.is_empty() {
            return Admission::Free;
        }
        if key.holds > 0 || key.slots.len() >= window {
            return Admission::Back;
        }
        let id = self.next_slot;
        self.next_slot += 1;
        key.slots.push_back(Slot { id, state: State::Running });
        Admission::Behind(id)
    }

    /// Holds an event until its slot is answered; `slot` is the one that it runs in, if it has one.
    pub fn hold(&mut self, entry: Entry<E>, slot: Option<u64>, held: Held, exclusive: bool) -> u64 {
        let key = self.keys.entry(entry.key).or_insert_with(Key::new);
        key.holds += exclusive as usize;
        let state = State::Pending { entry, held, exclusive };
        match slot.and_then(|id| key.slots.iter_mut().find(|s| s.id == id)) {
            Some(slot) => {
                slot.state = state;
                slot.id
            }
            None => {
                let id = self.next_slot;
                self.next_slot += 1;
                key.slots.push_back(Slot { id, state });
                id
            }
        }
    }

    /// Answers a held event. `Err` gives the answer back when nobody waits for it any more; `Ok(true)` means that the
    /// caller must put the lane on the ready queue.
    #[allow(clippy::type_complexity)]
    pub fn answer(
        &mut self,
        id: u64,
        slot: u64,
        answer: Result<E::Answer, Late>,
    ) -> Result<bool, Result<E::Answer, Late>> {
        let Some(key) = self.keys.get_mut(&id) else { return Err(answer) };
        let Some(at) = key.slots.iter().position(|s| s.id == slot) else { return Err(answer) };
        let found = &mut key.slots[at];
        match std::mem::replace(&mut found.state, State::Running) {
            State::Pending { entry, held, exclusive } => {
                found.state = State::Answered { entry, answer, held, exclusive };
            }
            other => {
                found.state = other;
                return Err(answer);
            }
        }
        if at > 0 {
            return Ok(false); // its turn comes when the ones before it have left
        }
        if !std::mem::replace(&mut key.queued, true) {
            self.ready.push_back(id);
        }
        Ok(self.schedule())
    }

    /// The event in `slot` is finished. Its emissions leave once it is the front slot.
    pub fn finish(&mut self, id: u64, slot: u64, emissions: Vec<Emission<E>>) {
        if let Some(found) = self.keys.get_mut(&id).and_then(|k| k.slots.iter_mut().find(|s| s.id == slot)) {
            found.state = State::Done(emissions);
        }
    }

    /// Takes a slot away with what is in it, because its batch panicked. The caller drops the result outside the lock.
    /// The number says how many held events it was.
    pub fn forget(&mut self, id: u64, slot: u64) -> (Option<impl Sized + use<E>>, usize) {
        let Some(key) = self.keys.get_mut(&id) else { return (None, 0) };
        let Some(at) = key.slots.iter().position(|s| s.id == slot) else { return (None, 0) };
        let gone = key.slots.remove(at);
        let held = match gone.as_ref().map(|slot| &slot.state) {
            Some(State::Pending { exclusive, .. } | State::Answered { exclusive, .. }) => {
                key.holds -= *exclusive as usize;
                1
            }
            _ => 0,
        };
        (gone, held)
    }

    /// Puts an item back that was taken and not worked on. The caller puts back the last one first.
    /// The number says how many held events it is.
    pub fn put_back(&mut self, work: Work<E>) -> usize {
        match work {
            Work::New(entry) => {
                match self.keys.get_mut(&entry.key) {
                    Some(key) => key.parked.push_front(entry),
                    None => self.queue.push_front(entry),
                }
                0
            }
            Work::Resumed { entry, answer, slot, held } => {
                let key = self.keys.get_mut(&entry.key);
                let found = key.and_then(|k| k.slots.iter_mut().find(|s| s.id == slot));
                let Some(found) = found else { return 0 };
                // Its key is not held by it any more: followers may have started.
                found.state = State::Answered { entry, answer, held, exclusive: false };
                1
            }
        }
    }

    /// The batch is over: looks at the keys that it touched. Returns how many events left the stage.
    pub fn settle(&mut self, touched: impl Iterator<Item = u64>, window: usize) -> usize {
        let mut finished = 0;
        for id in touched {
            let Some(key) = self.keys.get_mut(&id) else { continue };
            key.taken = 0;
            while matches!(key.slots.front(), Some(Slot { state: State::Done(kept), .. }) if kept.is_empty()) {
                key.slots.pop_front();
                finished += 1;
            }
            if key.slots.is_empty() && key.parked.is_empty() {
                self.keys.remove(&id);
            } else if key.can_go_on(window) && !std::mem::replace(&mut key.queued, true) {
                self.ready.push_back(id);
            }
        }
        finished
    }

    /// Gives up ownership. True when there is more to do and the caller must put the lane on the ready queue.
    #[must_use]
    pub fn let_go(&mut self) -> bool {
        self.scheduled = !self.queue.is_empty() || !self.ready.is_empty();
        // A burst must not keep its memory for ever, in each lane that ever had one.
        if self.queue.is_empty() && self.queue.capacity() > KEEP {
            self.queue = VecDeque::new();
        }
        if self.keys.is_empty() && self.keys.capacity() > KEEP {
            self.keys = HashMap::new();
        }
        self.scheduled
    }

    /// Takes up to `most` droppable events out, the oldest first.
    pub fn drop_oldest(&mut self, most: usize) -> Vec<E> {
        let mut dropped = Vec::new();
        let mut at = 0;
        while dropped.len() < most && at < self.queue.len() {
            if self.queue[at].event.droppable() {
                let gone = self.queue.remove(at);
                gone.iter().for_each(|entry| self.came.take_back(entry.at));
                dropped.extend(gone.map(|entry| entry.event));
            } else {
                at += 1;
            }
        }
        dropped
    }

    /// Empties the lane. The caller drops the result outside the lock: events may hold tickets of this very lane.
    pub fn clear(&mut self) -> impl Sized + use<E> {
        self.ready.clear();
        (std::mem::take(&mut self.queue), std::mem::take(&mut self.keys))
    }
}

impl<E: Event> Key<E> {
    fn take(&mut self, lane: u16, mut left: usize, window: usize, taken: &mut Taken<E>) -> usize {
        while left > 0 {
            match self.slots.front_mut() {
                Some(Slot { state: State::Done(kept), .. }) => {
                    taken.released.append(kept);
                    taken.finished += 1;
                    self.slots.pop_front();
                    left -= 1;
                }
                Some(slot @ Slot { state: State::Answered { .. }, .. }) => {
                    let state = std::mem::replace(&mut slot.state, State::Running);
                    if let State::Answered { entry, answer, held, exclusive } = state {
                        self.holds -= exclusive as usize;
                        taken.unheld += 1;
                        taken.work.push_back((lane, Work::Resumed { entry, answer, slot: slot.id, held }));
                        left -= 1;
                    }
                    break; // the slots behind it wait for what becomes of it
                }
                _ => break,
            }
        }
        while left > 0 && self.may_start(window) {
            let Some(entry) = self.parked.pop_front() else { break };
            self.taken += 1;
            taken.work.push_back((lane, Work::New(entry)));
            left -= 1;
        }
        left
    }
}

#[cfg(test)]
mod tests;
