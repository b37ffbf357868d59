//! Where a pool's idle threads wait.
//!
//! A worker that finds nothing to do puts itself on the list, looks once more, and only then parks. Whoever makes work
//! publishes it first and looks at the list afterwards. Between the two stands a fence, so either the worker sees the work
//! or the other sees the worker: no wake-up is lost. One wake-up wakes one worker, who looks at everything and wakes the
//! next if there is more than it takes; so a worker that leaves must pass its wake-up on.

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

#[derive(Default)]
pub(crate) struct Parking {
    sleepers: Mutex<Vec<Arc<Sleeper>>>,
    count: AtomicUsize,
}

impl Parking {
    pub fn new() -> Parking {
        Parking { sleepers: Mutex::new(Vec::new()), count: AtomicUsize::new(0) }
    }

    /// First half of going to sleep. The caller looks for work again before it parks.
    pub fn register(&self, me: &Arc<Sleeper>) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.push(me.clone());
        self.count.store(sleepers.len(), SeqCst);
        drop(sleepers);
        fence(SeqCst);
    }

    /// The caller found work after all. If it was woken in the meantime it has taken that wake-up, and like every woken
    /// worker it wakes another when there is more work than it takes. (`woken` changes under the list's lock only, so a
    /// worker is on the list or woken, never both: an entry left behind would swallow somebody else's wake-up.)
    pub fn cancel(&self, me: &Arc<Sleeper>) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.retain(|s| !Arc::ptr_eq(s, me));
        self.count.store(sleepers.len(), SeqCst);
        me.take_woken();
    }

    pub fn has_sleepers(&self) -> bool {
        fence(SeqCst);
        self.count.load(SeqCst) > 0
    }

    /// Wakes the one that went to sleep last: its caches are the warmest.
    pub fn wake_one(&self) {
        if !self.has_sleepers() {
            return;
        }
        let mut sleepers = lock(&self.sleepers);
        let Some(sleeper) = sleepers.pop() else { return };
        self.count.store(sleepers.len(), SeqCst);
        sleeper.woken.store(true, SeqCst);
        drop(sleepers);
        sleeper.unpark();
    }

    pub fn wake_all(&self) {
        if !self.has_sleepers() {
            return;
        }
        let mut sleepers = lock(&self.sleepers);
        let woken = std::mem::take(&mut *sleepers);
        self.count.store(0, SeqCst);
        woken.iter().for_each(|sleeper| sleeper.woken.store(true, SeqCst));
        drop(sleepers);
        woken.iter().for_each(|sleeper| sleeper.unpark());
    }
}
