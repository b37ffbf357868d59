//! A stage's queue: its lanes, the list of those that have work, and its room.
//!
//! Room is taken before an event is pushed and freed when the event has left the stage, so that it covers what waits, what
//! is worked on and what is held; when no queue uses any, the pipeline is quiet.

use std::collections::VecDeque;

use crate::lane::{Entry, Lane};
use crate::law::Passed;
use crate::room::Room;
use crate::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use crate::sync::{Mutex, lock};
use crate::{Event, Refusal};

/// How many lanes a stage has. Keys that share one wait for each other's batches, never for each other's answers.
pub(crate) const LANES: usize = if cfg!(feature = "shuttle") { 4 } else { 256 };

pub(crate) struct Queue<E: Event> {
    lanes: Box<[Mutex<Lane<E>>]>,
    ready: Mutex<VecDeque<u16>>,
    /// The length of `ready`, to be looked at without its lock.
    ready_len: AtomicUsize,
    pub room: Room,
}

impl<E: Event> Queue<E> {
    pub fn new(bound: usize) -> Queue<E> {
        Queue {
            lanes: (0..LANES).map(|_| Mutex::new(Lane::new())).collect(),
            ready: Mutex::new(VecDeque::with_capacity(LANES)),
            ready_len: AtomicUsize::new(0),
            room: Room::new(bound),
        }
    }

    pub fn lane(&self, lane: u16) -> &Mutex<Lane<E>> {
        &self.lanes[lane as usize]
    }

    fn lane_of(key: u64) -> u16 {
        // Keys may be small numbers: spread them by their upper product bits.
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - LANES.trailing_zeros())) as u16
    }

    /// Adds events whose room is reserved, in order. Those of a key that already holds `share` events come out in
    /// `refused`; the caller frees their room. Returns whether a lane has become ready; the caller wakes the pool.
    pub fn push(
        &self,
        events: impl Iterator<Item = (u64, E)>,
        at: u64,
        share: usize,
        refused: &mut Vec<(E, Refusal)>,
    ) -> bool {
        // A lane is scheduled once until it has been on the ready queue, so it cannot come up twice.
        let (mut ready, mut count) = ([0; LANES], 0);
        let mut events = events.peekable();
        while let Some((key, event)) = events.next() {
            let index = Self::lane_of(key);
            let mut lane = lock(self.lane(index));
            let mut next = Some((key, event));
            while let Some((key, event)) = next {
                if self.room.used() > share && lane.holds_share(key, share) {
                    refused.push((event, Refusal::KeyShare));
                } else if lane.push(Entry { event, key, at }) {
                    ready[count] = index;
                    count += 1;
                }
                next = events.next_if(|(key, _)| Self::lane_of(*key) == index);
            }
        }
        self.make_ready(&ready[..count])
    }

    /// Puts lanes that were scheduled on the ready queue. True when there was one.
    pub fn make_ready(&self, lanes: &[u16]) -> bool {
        if lanes.is_empty() {
            return false;
        }
        let mut ready = lock(&self.ready);
        ready.extend(lanes);
        self.ready_len.store(ready.len(), SeqCst);
        true
    }

    pub fn has_ready(&self) -> bool {
        self.ready_len.load(SeqCst) > 0
    }

    /// The next lane with work, which is then the caller's.
    pub fn pop_ready(&self) -> Option<u16> {
        let mut ready = lock(&self.ready);
        let lane = ready.pop_front();
        self.ready_len.store(ready.len(), SeqCst);
        lane
    }

    /// How many events wait, and how many of these are of one key, of the longest lane's. Looks at all lanes, so it is for
    /// whoever looks now and then.
    pub fn hottest(&self) -> (usize, usize) {
        let waiting = |lane: &u16| lock(self.lane(*lane)).waiting();
        let lengths: Vec<usize> = (0..LANES as u16).map(|lane| waiting(&lane)).collect();
        let longest = (0..LANES).max_by_key(|lane| lengths[*lane]).unwrap_or(0);
        // In between some may have left.
        let hottest = lock(self.lane(longest as u16)).hottest().min(lengths[longest]);
        (lengths.iter().sum(), hottest)
    }

    /// Who has come in since the start, but for those that were dropped. Looks at all lanes.
    pub fn came(&self) -> Passed {
        let mut all = Passed::default();
        self.lanes.iter().for_each(|lane| all.add(lock(lane).came()));
        all
    }

    /// Makes room by dropping up to `wanted` droppable events, from the longest lane first.
    pub fn drop_oldest(&self, wanted: usize) -> Vec<E> {
        let mut lengths: Vec<(usize, u16)> =
            (0..LANES as u16).map(|i| (lock(self.lane(i)).len(), i)).filter(|(len, _)| *len > 0).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let mut dropped = Vec::new();
        for (_, lane) in lengths {
            if dropped.len() >= wanted {
                break;
            }
            dropped.extend(lock(self.lane(lane)).drop_oldest(wanted - dropped.len()));
        }
        dropped
    }

    /// Drops everything. Only when nobody works here any more.
    pub fn clear(&self) {
        for lane in &self.lanes {
            let gone = lock(lane).clear();
            drop(gone);
        }
    }
}
