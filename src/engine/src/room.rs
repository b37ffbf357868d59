//! Room in a queue, reserved before it is used, and who is told when there is some again.
//!
//! No wake-up is lost: whoever finds no room sets `wanted` and looks again; whoever makes room looks at `wanted`
//! afterwards. Both in sequential consistency, so one of the two sees the other.

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

pub(crate) struct Room {
    used: AtomicUsize,
    bound: AtomicUsize,
    wanted: AtomicBool,
}

impl Room {
    pub fn new(bound: usize) -> Room {
        Room { used: AtomicUsize::new(0), bound: AtomicUsize::new(bound), wanted: AtomicBool::new(false) }
    }

    pub fn used(&self) -> usize {
        self.used.load(SeqCst)
    }

    pub fn bound(&self) -> usize {
        self.bound.load(SeqCst)
    }

    /// A bound below what is used refuses until enough has left. After raising it, wake whoever waits.
    pub fn set_bound(&self, bound: usize) {
        self.bound.store(bound, SeqCst);
    }

    /// Takes room for as many of `wish` groups of `group` events as there is. Never takes and gives back: an attempt that
    /// fails is invisible to others, who could otherwise fail because of it.
    pub fn reserve(&self, wish: usize, group: usize) -> usize {
        let (bound, mut got) = (self.bound(), 0);
        let _ = self.used.fetch_update(SeqCst, SeqCst, |used| {
            got = (bound.saturating_sub(used) / group).min(wish);
            (got > 0).then(|| used + got * group)
        });
        got
    }

    /// As [`Room::reserve`], leaving word that room is wanted when there is none.
    pub fn reserve_or_want(&self, wish: usize, group: usize) -> usize {
        match self.reserve(wish, group) {
            0 => {
                self.wanted.store(true, SeqCst);
                self.reserve(wish, group)
            }
            got => got,
        }
    }

    /// Whether `n` more would fit, leaving word when they would not.
    pub fn has_or_want(&self, n: usize) -> bool {
        let fits = || self.used() + n <= self.bound();
        fits() || {
            self.wanted.store(true, SeqCst);
            fits()
        }
    }

    /// Takes room past the bound.
    pub fn force(&self, n: usize) {
        self.used.fetch_add(n, SeqCst);
    }

    /// Frees room; true when somebody waits for it and must be woken.
    #[must_use]
    pub fn release(&self, n: usize) -> bool {
        if n > 0 {
            let before = self.used.fetch_sub(n, SeqCst);
            debug_assert!(before >= n, "released more room than was reserved");
        }
        n > 0 && self.take_wanted()
    }

    /// Whether somebody waits for room, who is to be woken by the caller.
    pub fn take_wanted(&self) -> bool {
        self.wanted.load(SeqCst) && self.wanted.swap(false, SeqCst)
    }
}

#[cfg(all(test, feature = "shuttle"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sync::thread;

    #[test]
    fn whoever_found_no_room_is_told_when_there_is_some() {
        shuttle::check_random(
            || {
                let room = Arc::new(Room::new(1));
                assert_eq!(room.reserve(1, 1), 1);
                let of = room.clone();
                let releases = thread::spawn(move || of.release(1));
                let got = room.reserve_or_want(1, 1);
                let told = releases.join().unwrap();
                assert!(got == 1 || told, "room was made, and nobody knows");
            },
            2000,
        );
    }
}
