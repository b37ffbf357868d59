//! How long a stage had work but no room for what it would emit, and whose fault that was.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::core::Target;

/// Only figures: nothing decides by them, so relaxed order does.
#[derive(Default)]
pub(crate) struct BlockedClock {
    /// 0: not blocked.
    since: AtomicU64,
    total: AtomicU64,
    by: AtomicUsize,
}

impl BlockedClock {
    pub fn start(&self, by: Target, now: impl FnOnce() -> u64) {
        self.by.store(encode(by), Relaxed);
        if self.since.load(Relaxed) == 0 {
            let _ = self.since.compare_exchange(0, now(), Relaxed, Relaxed);
        }
    }

    pub fn stop(&self, now: impl FnOnce() -> u64) {
        if self.since.load(Relaxed) != 0 {
            let since = self.since.swap(0, Relaxed);
            if since != 0 {
                self.total.fetch_add(now().saturating_sub(since), Relaxed);
            }
        }
    }

    /// Nanoseconds blocked so far, the time that is still running included.
    pub fn total(&self, now: u64) -> u64 {
        let since = self.since.load(Relaxed);
        let running = if since == 0 { 0 } else { now.saturating_sub(since) };
        self.total.load(Relaxed) + running
    }

    /// What it last waited for.
    pub fn by(&self) -> Option<Target> {
        match self.by.load(Relaxed) {
            0 => None,
            n if n % 2 == 1 => Some(Target::Stage(n / 2)),
            n => Some(Target::Sink(n / 2 - 1)),
        }
    }
}

fn encode(target: Target) -> usize {
    match target {
        Target::Stage(n) => n * 2 + 1,
        Target::Sink(n) => n * 2 + 2,
        Target::Nothing => 0,
    }
}
