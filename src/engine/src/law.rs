//! Little's law, held against each stage: the events that are inside on average (L) are as many as come in a second (λ)
//! times as long as each stays (W). Where the two differ, an instrument lies.
//!
//! Owns how L is measured: from who came and who left, when, and not from what the histograms say that it took. Every
//! event inside at a time has come before and not left, so the time that all have spent inside up to now is
//! `(came - left) · now - Σ came_at + Σ left_at`: two sums on each side, added to under locks that are held anyway. λ·W is
//! what the histograms of wait, service and time held say, all events of the second together (`metrics.rs`). The two share
//! the clock and an event's own time of arrival, and nothing else.

/// Events that passed a point, and the sum of the times at which they did. Sums wrap; only differences mean something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub events: u64,
    pub times: u64,
}

impl Passed {
    pub fn pass(&mut self, events: u64, at: u64) {
        self.events = self.events.wrapping_add(events);
        self.times = self.times.wrapping_add(events.wrapping_mul(at));
    }

    /// One event that has passed is to count as if it never had.
    pub fn take_back(&mut self, at: u64) {
        self.events = self.events.wrapping_sub(1);
        self.times = self.times.wrapping_sub(at);
    }

    pub fn add(&mut self, other: Passed) {
        self.events = self.events.wrapping_add(other.events);
        self.times = self.times.wrapping_add(other.times);
    }
}

/// The time that all events together have been inside up to `now`, in nanoseconds; it wraps.
pub(crate) fn spent(came: Passed, left: Passed, now: u64) -> u64 {
    let inside = came.events.wrapping_sub(left.events);
    inside.wrapping_mul(now).wrapping_sub(came.times).wrapping_add(left.times)
}

/// Below so many events inside, an error is told as a share of this many: one event at the edge of a second is no lie.
const FLOOR: f64 = 0.1;

/// Little's law in one stage over some time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Law {
    /// L: events that were in the stage on average, waiting, in work or held, by who came and who left.
    pub inside: f64,
    /// λ·W: the same by what the histograms of wait, service and time held say.
    pub told: f64,
}

impl Law {
    /// From times that all events together spent inside during `ns`, both in nanoseconds.
    pub(crate) fn over(ns: u64, inside: u64, told: u64) -> Law {
        let ns = ns.max(1) as f64;
        Law { inside: inside as f64 / ns, told: told as f64 / ns }
    }

    /// How far the two are apart, as a share of the larger one: 0 is full agreement, near 1 none. Of less than a tenth
    /// of an event it is a share of that tenth. A hundredth or less under steady load; honestly more where events stay for
    /// about as long as the time looked at, for these are inside before they are told.
    pub fn error(&self) -> f64 {
        (self.inside - self.told).abs() / self.inside.max(self.told).max(FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_spent_inside_is_that_of_each_added_up() {
        let (mut came, mut left) = (Passed::default(), Passed::default());
        came.pass(1, 100);
        came.pass(2, 150);
        assert_eq!(spent(came, left, 200), 100 + 2 * 50);
        left.pass(2, 170);
        assert_eq!(spent(came, left, 200), 70 + 20 + 50);
        came.take_back(150);
        assert_eq!(spent(came, left, 1_000), 70 + 20, "who was taken back counts no more");
    }

    #[test]
    fn sums_that_wrap_change_nothing() {
        let (mut came, mut left) = (Passed::default(), Passed::default());
        let late = u64::MAX / 2;
        (0..1_000).for_each(|n| came.pass(1, late + n));
        (0..1_000).for_each(|n| left.pass(1, late + n + 7));
        assert_eq!(spent(came, left, late + 5_000), 7_000);
    }

    #[test]
    fn the_error_is_relative_and_next_to_nothing_is_no_error() {
        assert_eq!(Law { inside: 0.0, told: 0.0 }.error(), 0.0);
        assert!((Law { inside: 10.0, told: 9.5 }.error() - 0.05).abs() < 1e-9);
        assert!((Law { inside: 9.5, told: 10.0 }.error() - 0.05).abs() < 1e-9);
        assert!(Law { inside: 0.001, told: 0.0 }.error() < 0.011);
        assert_eq!(Law { inside: 3.0, told: 0.0 }.error(), 1.0);
    }
}
