//! One stage's side of the overload signal: how long events wait before it, and how long what waits will take.
//!
//! Workers note it once a batch. A standing queue shows in the *least* wait of an interval, which a burst does not raise
//! (as in CoDel); it is taken over the first event of each lane, because those behind it may have come a moment ago. From
//! what a batch takes follows how much may wait: the door asks that for every few events, so that it need not wait for an
//! interval to be over before a crowd is kept out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a stage's workers have noted since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// The least wait; `None` when nothing was worked on.
    pub least: Option<u64>,
    /// The share of events that came in full batches: 1 when the stage always had as much work as it could take.
    pub full: f64,
}

pub(crate) struct Delay {
    target: AtomicU64,
    interval: AtomicU64,
    /// `u64::MAX` when nothing was worked on.
    least: AtomicU64,
    served: AtomicU64,
    in_full: AtomicU64,
    /// What an event takes when they come in full batches, all workers together.
    each: AtomicU64,
}

impl Delay {
    pub fn new(target: Duration, interval: Duration) -> Delay {
        let delay = Delay {
            target: AtomicU64::new(0),
            interval: AtomicU64::new(0),
            least: AtomicU64::new(u64::MAX),
            served: AtomicU64::new(0),
            in_full: AtomicU64::new(0),
            each: AtomicU64::new(0),
        };
        delay.set(target, interval);
        delay
    }

    pub fn set(&self, target: Duration, interval: Duration) {
        self.target.store((target.as_nanos() as u64).max(1), Relaxed);
        self.interval.store(interval.as_nanos() as u64, Relaxed);
    }

    pub fn target(&self) -> u64 {
        self.target.load(Relaxed)
    }

    pub fn interval(&self) -> u64 {
        self.interval.load(Relaxed)
    }

    /// A batch of `items` took `service`; its lanes' first events had waited `least`. `full`: there was no room for more.
    /// `batch` and `workers`: the stage's settings.
    pub fn note(&self, least: Option<u64>, items: usize, full: bool, service: u64, batch: usize, workers: usize) {
        if let Some(least) = least
            && least < self.least.load(Relaxed)
        {
            self.least.fetch_min(least, Relaxed);
        }
        self.served.fetch_add(items as u64, Relaxed);
        if full {
            self.in_full.fetch_add(items as u64, Relaxed);
        }
        // One commit takes as long for one event as for many. So only full batches tell what an event takes; the others
        // say no more than that it is not less than this, and have the less of a word the smaller they are.
        let (batch, items) = (batch.max(1) as u64, items.min(batch) as u64);
        let each = service / (batch * workers.max(1) as u64);
        let before = self.each.load(Relaxed);
        let after = before as i64 + (each as i64 - before as i64) * items as i64 / (4 * batch) as i64;
        self.each.store(after as u64, Relaxed);
    }

    /// Whether nothing was noted since the last reading.
    pub fn is_unread(&self) -> bool {
        self.served.load(Relaxed) == 0
    }

    /// What was noted since the last call.
    pub fn read(&self) -> Reading {
        let least = self.least.swap(u64::MAX, Relaxed);
        let (served, in_full) = (self.served.swap(0, Relaxed), self.in_full.swap(0, Relaxed));
        Reading { least: (least != u64::MAX).then_some(least), full: in_full as f64 / served.max(1) as f64 }
    }

    /// How many targets' worth of work `waiting` events are, in quarters.
    pub fn quarters(&self, waiting: u64) -> u64 {
        waiting.saturating_mul(self.each.load(Relaxed)).saturating_mul(4) / self.target()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay() -> Delay {
        Delay::new(Duration::from_millis(5), Duration::from_millis(50))
    }

    #[test]
    fn a_burst_that_drains_shows_no_standing_wait() {
        let delay = delay();
        delay.note(Some(80_000_000), 64, true, 1_000, 64, 1);
        delay.note(Some(1_000), 3, false, 1_000, 64, 1);
        assert_eq!(delay.read().least, Some(1_000));
        assert!(delay.is_unread());
        assert_eq!(delay.read().least, None);
    }

    #[test]
    fn full_batches_tell_what_an_event_takes_and_small_ones_do_not() {
        let delay = delay();
        for _ in 0..20 {
            delay.note(Some(1), 64, true, 64_000_000, 64, 1);
        }
        assert!((19..=20).contains(&delay.quarters(25)), "25 ms are 20 quarters of 5: {}", delay.quarters(25));
        for _ in 0..10 {
            delay.note(Some(1), 1, false, 1_000_000, 64, 1);
        }
        assert!(delay.quarters(25) >= 18, "{}", delay.quarters(25));
    }
}
