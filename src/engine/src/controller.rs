//! The overload signal: how long events wait before a stage, not how many wait.
//!
//! In the manner of CoDel: a standing queue shows in the *least* wait of an interval, which a burst does not raise. While
//! it is above the target the share that the door refuses grows step by step, more quickly the further it is above; while
//! it is below, the share shrinks again. A level of 1 refuses all of class 3, 2 all of class 2 as well, and so on; within
//! a class it is a hash of the user that decides, so that a user is wholly in or wholly out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Levels are counted in thousandths.
pub(crate) const WHOLE: u64 = 1000;
/// Class 0 is never refused for delay: it frees resources. Of class 1 a tenth always comes in, so that work goes on and
/// its delay is seen.
const HIGHEST: u64 = 3 * WHOLE - WHOLE / 10;
/// A tenth of a class an interval when just above the target, at most four times that.
const RISE: u64 = WHOLE / 10;
const FALL: u64 = WHOLE / 20;

/// One stage's controller. Workers note waits; a clock's tick decides.
pub(crate) struct Controller {
    target: AtomicU64,
    interval: AtomicU64,
    /// The least wait since the last decision; `u64::MAX` when nothing was worked on.
    least: AtomicU64,
    next: AtomicU64,
    level: AtomicU64,
}

impl Controller {
    pub fn new(target: Duration, interval: Duration) -> Controller {
        let controller = Controller {
            target: AtomicU64::new(0),
            interval: AtomicU64::new(0),
            least: AtomicU64::new(u64::MAX),
            next: AtomicU64::new(0),
            level: AtomicU64::new(0),
        };
        controller.set(target, interval);
        controller
    }

    pub fn set(&self, target: Duration, interval: Duration) {
        self.target.store(target.as_nanos() as u64, Relaxed);
        self.interval.store(interval.as_nanos() as u64, Relaxed);
    }

    #[cfg(not(feature = "shuttle"))]
    pub fn interval(&self) -> u64 {
        self.interval.load(Relaxed)
    }

    pub fn note(&self, wait: u64) {
        if wait < self.least.load(Relaxed) {
            self.least.fetch_min(wait, Relaxed);
        }
    }

    /// Decides when its interval is over. `waiting`: whether lanes with work stand there right now, which counts as a wait
    /// without end when none was worked on. Returns the level.
    pub fn tick(&self, now: u64, waiting: bool) -> u64 {
        let level = self.level.load(Relaxed);
        if now < self.next.load(Relaxed) {
            return level;
        }
        self.next.store(now + self.interval.load(Relaxed), Relaxed);
        let target = self.target.load(Relaxed).max(1);
        let level = match self.least.swap(u64::MAX, Relaxed) {
            u64::MAX if waiting => level + RISE,
            u64::MAX => level.saturating_sub(fall(level)),
            least if least > target => level + RISE * (least / target).min(4),
            least if least < target / 2 => level.saturating_sub(fall(level)),
            _ => level.saturating_sub(FALL),
        };
        let level = level.min(HIGHEST);
        self.level.store(level, Relaxed);
        level
    }
}

/// How far the level goes down when there is room to spare: quickly from far up, so that nobody is refused for long
/// after the crowd has gone.
fn fall(level: u64) -> u64 {
    (level / 4).max(2 * FALL)
}

/// Whether somebody of `class` (0 is refused last, 3 first) is let in at `level`.
pub(crate) fn admits(level: u64, class: u8, who: u64) -> bool {
    let refused = level.saturating_sub((3 - class.min(3)) as u64 * WHOLE);
    if refused == 0 {
        return true;
    }
    // Mixed, so that neighbouring numbers are not in and out together.
    let mixed = (who ^ (who >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) % WHOLE >= refused
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(5);
    const INTERVAL: Duration = Duration::from_millis(100);

    #[test]
    fn a_standing_queue_raises_the_level_and_its_end_lowers_it() {
        let controller = Controller::new(TARGET, INTERVAL);
        let mut now = 1;
        for _ in 0..20 {
            controller.note(50_000_000);
            now += 100_000_000;
            controller.tick(now, true);
        }
        assert_eq!(controller.tick(now, true), HIGHEST);
        for _ in 0..200 {
            controller.note(10_000);
            now += 100_000_000;
            controller.tick(now, false);
        }
        assert_eq!(controller.tick(now, false), 0);
    }

    #[test]
    fn a_burst_that_drains_within_the_interval_refuses_nobody() {
        let controller = Controller::new(TARGET, INTERVAL);
        for step in 1..50 {
            controller.note(80_000_000);
            controller.note(1_000);
            assert_eq!(controller.tick(step * 100_000_000, false), 0);
        }
    }

    #[test]
    fn a_stage_that_stands_still_counts_as_late() {
        let controller = Controller::new(TARGET, INTERVAL);
        assert!(controller.tick(100_000_000, true) > 0);
    }

    #[test]
    fn classes_go_in_order_and_a_user_is_in_or_out() {
        for class in 0..=3u8 {
            assert!(admits(0, class, 7));
        }
        assert!(!admits(HIGHEST, 3, 7) && !admits(HIGHEST, 2, 7));
        let admitted = |class| (0..10_000).filter(|who| admits(HIGHEST, class, *who)).count();
        assert!((500..1_500).contains(&admitted(1)), "{} of 10000", admitted(1));
        assert_eq!(admitted(0), 10_000);
        let level = WHOLE + WHOLE / 2; // class 3 out, half of class 2
        assert!(!admits(level, 3, 7));
        assert!(admits(level, 1, 7));
        let admitted = (0..10_000).filter(|who| admits(level, 2, *who)).count();
        assert!((4_000..6_000).contains(&admitted), "{admitted} of 10000");
        let higher = (0..10_000).filter(|who| admits(level + 100, 2, *who) && !admits(level, 2, *who)).count();
        assert_eq!(higher, 0, "a higher level lets nobody in whom a lower one refused");
    }
}
