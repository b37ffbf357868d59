//! When held events give up waiting.
//!
//! Each stage keeps its own deadlines; one thread (or the virtual clock) looks after all of them. An answered event takes
//! its deadline away, so there are never more deadlines than held events.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sync::{Mutex, lock};

/// A held event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub stage: usize,
    pub lane: u16,
    pub key: u64,
    pub slot: u64,
}

/// A deadline, made unique by a number.
pub(crate) type Due = (u64, u64);

pub(crate) struct Deadlines {
    all: Mutex<BTreeMap<Due, Place>>,
    next: AtomicU64,
}

impl Deadlines {
    pub fn new() -> Deadlines {
        Deadlines { all: Mutex::new(BTreeMap::new()), next: AtomicU64::new(0) }
    }

    pub fn add(&self, now: u64, wait: Duration, place: Place) -> Due {
        let at = now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let due = (at, self.next.fetch_add(1, SeqCst));
        lock(&self.all).insert(due, place);
        due
    }

    pub fn remove(&self, due: Due) {
        lock(&self.all).remove(&due);
    }

    /// Takes out one that is due.
    pub fn pop_due(&self, now: u64) -> Option<Place> {
        let mut all = lock(&self.all);
        let first = all.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub fn first(&self) -> Option<u64> {
        lock(&self.all).first_key_value().map(|(due, _)| due.0)
    }
}
