//! Where a pool's idle threads wait.
//!
//! A worker that finds nothing to do puts itself on the list, looks once more, and only then parks. Whoever makes work
//! publishes it first and looks at the list afterwards. Between the two stands a fence, so either the worker sees the work
//! or the other sees the worker: no wake-up is lost.
//!
//! One at a time is woken. Until it has found something it counts as a *searcher*, and while there is one nobody else is
//! woken: it will see whatever was published. That holds because a searcher stops being one first and looks at everything
//! after that: when it found work, to wake the next if there is more than it took; when it did not, before it parks.

use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst, fence};
use crate::sync::{Mutex, lock, thread};

/// One worker's bed.
pub(crate) struct Sleeper {
    woken: AtomicBool,
    /// `None` in the simulated run, where nobody sleeps for real.
    thread: Option<thread::Thread>,
}

impl Sleeper {
    pub fn new(thread: Option<thread::Thread>) -> Arc<Sleeper> {
        Arc::new(Sleeper { woken: AtomicBool::new(false), thread })
    }

    /// Parks the calling thread, whose sleeper this is, until it is woken.
    pub fn park(&self) {
        while !self.take_woken() {
            thread::park();
        }
    }

    /// Whether it was woken; asking resets it.
    pub fn take_woken(&self) -> bool {
        self.woken.swap(false, SeqCst)
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

pub(crate) struct Parking {
    sleepers: Mutex<Vec<Arc<Sleeper>>>,
    count: AtomicUsize,
    /// Workers that look for work without having any: those that were woken, and one that has not gone to bed yet.
    searching: AtomicUsize,
}

impl Parking {
    pub fn new() -> Parking {
        Parking { sleepers: Mutex::new(Vec::new()), count: AtomicUsize::new(0), searching: AtomicUsize::new(0) }
    }

    /// First half of going to sleep. The caller looks for work again before it parks.
    pub fn register(&self, me: &Arc<Sleeper>) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.push(me.clone());
        self.count.store(sleepers.len(), SeqCst);
        drop(sleepers);
        fence(SeqCst);
    }

    /// The caller found work after all. True when it was woken in the meantime: it is a searcher then, like every woken
    /// worker. (`woken` changes under the list's lock only, so a worker is on the list or woken, never both: an entry left
    /// behind would swallow somebody else's wake-up.)
    pub fn cancel(&self, me: &Arc<Sleeper>) -> bool {
        let mut sleepers = lock(&self.sleepers);
        sleepers.retain(|s| !Arc::ptr_eq(s, me));
        self.count.store(sleepers.len(), SeqCst);
        me.take_woken()
    }

    /// Makes the caller, who is about to go to bed, the one searcher. False when there is one already.
    pub fn start_search(&self) -> bool {
        self.searching.compare_exchange(0, 1, SeqCst, SeqCst).is_ok()
    }

    /// The caller searches no more. It looks at everything once more afterwards.
    pub fn end_search(&self) {
        let before = self.searching.fetch_sub(1, SeqCst);
        debug_assert!(before > 0, "a search ended twice");
    }

    /// Whether [`Parking::wake_one`] would wake somebody.
    pub fn would_wake(&self) -> bool {
        fence(SeqCst);
        self.searching.load(SeqCst) == 0 && self.count.load(SeqCst) > 0
    }

    /// Wakes the one that went to sleep last (its caches are the warmest), unless somebody is searching.
    pub fn wake_one(&self) {
        if !self.would_wake() {
            return;
        }
        let mut sleepers = lock(&self.sleepers);
        let Some(sleeper) = sleepers.pop() else { return };
        self.count.store(sleepers.len(), SeqCst);
        self.searching.fetch_add(1, SeqCst);
        sleeper.woken.store(true, SeqCst);
        drop(sleepers);
        sleeper.unpark();
    }

    pub fn wake_all(&self) {
        let mut sleepers = lock(&self.sleepers);
        let woken = std::mem::take(&mut *sleepers);
        self.count.store(0, SeqCst);
        self.searching.fetch_add(woken.len(), SeqCst);
        woken.iter().for_each(|sleeper| sleeper.woken.store(true, SeqCst));
        drop(sleepers);
        woken.iter().for_each(|sleeper| sleeper.unpark());
    }
}
