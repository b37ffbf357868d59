//! How much is let in, decided once an interval from what the stages and the door have noted.
//!
//! Nothing is refused until events have waited longer than a stage's target all through two intervals, and more of them
//! than it could take at once: where only few wait long, its thread was kept from running, and refusing would not help.
//! What the door let in while that stage always had work, less what its queue grew by, is the *limit*: what the stage can
//! keep up with. From then on as much is let in as the limit, a little more when the queue is short and less when it is
//! long, so that it stays just long enough to keep the stage busy. When the stage runs out of work, the limit was too low
//! and rises; when less is offered than the limit, everybody is in; and when that has lasted, the limit is forgotten.
//!
//! Pure arithmetic on readings: no clock, no thread. `delay.rs` has the signal, `admission.rs` who is let in.

/// What one interval looked like at the stage that was furthest above its target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    /// Its length.
    pub ns: u64,
    /// The least wait before the stage, as a part of its target.
    pub wait: f64,
    /// The target, as a part of the interval.
    pub target: f64,
    /// The share of what the stage did that came in full batches.
    pub full: f64,
    /// How many events more wait before it than at the interval's beginning.
    pub grown: i64,
    /// What the door let in.
    pub admitted: u64,
    /// Whether the door refused anybody.
    pub refusing: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Controller {
    limit: Option<Limit>,
    /// Whether the wait was above the target in the interval before.
    late: bool,
}

#[derive(Debug)]
struct Limit {
    /// Admissions a nanosecond that the stage can keep up with.
    rate: f64,
    /// Sums over the intervals in which the stage always had work, older ones counting less.
    ns: f64,
    admitted: f64,
    grown: f64,
    /// Intervals for which it has had less than it can do, though somebody was refused.
    idle: u32,
    /// Intervals for which nobody has been refused.
    calm: u32,
}

/// How long the past counts in the sums.
const KEEP: f64 = 0.875;
/// After so many intervals without a refusal the limit is forgotten.
const CALM: u32 = 20;
/// Where the standing wait is held, as a part of the target.
const HOLD: f64 = 0.3;
/// A stage has always had work when at least this share of it came in full batches.
const BACKLOGGED: f64 = 0.8;

impl Controller {
    /// How many may be let in during the next interval, if it is as long as this one; `None`: all.
    pub fn decide(&mut self, interval: Interval) -> Option<f64> {
        let late = interval.wait > 1.0 && interval.full > BACKLOGGED;
        let was_late = std::mem::replace(&mut self.late, late);
        // An interval may be no longer than two batches: one that was late is chance.
        if self.limit.is_none() && !(late && was_late) {
            return None;
        }
        let limit = self.limit.get_or_insert(Limit { rate: 0.0, ns: 0.0, admitted: 0.0, grown: 0.0, idle: 0, calm: 0 });
        limit.calm = if interval.refusing || late { 0 } else { limit.calm + 1 };
        if limit.calm > CALM {
            self.limit = None;
            return None;
        }
        if interval.full > BACKLOGGED {
            for (sum, now) in [
                (&mut limit.ns, interval.ns as f64),
                (&mut limit.admitted, interval.admitted as f64),
                (&mut limit.grown, interval.grown as f64),
            ] {
                *sum = *sum * KEEP + now;
            }
            // What is never refused takes its part of the stage too; so the growth is subtracted: a ratio would be of both.
            limit.rate = ((limit.admitted - limit.grown) / limit.ns).max(0.0);
            limit.idle = 0;
        } else if interval.refusing {
            limit.idle = (limit.idle + 1).min(10);
            limit.rate = limit.rate.max(1.0 / interval.ns as f64) * (1.0 + 0.02 * limit.idle as f64);
        }
        // Half of what the queue is too long by is to be gone after the next interval.
        let correct = ((HOLD - interval.wait) * interval.target * 0.5).clamp(-0.3, 0.05);
        Some(limit.rate * (1.0 + correct) * interval.ns as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interval of 50 ms with a target of 25 ms, in which a stage that does 2 events a millisecond had enough to do.
    fn busy(wait: f64, admitted: u64) -> Interval {
        let grown = admitted as i64 - 100;
        Interval { ns: 50_000_000, wait, target: 0.5, full: 1.0, grown, admitted, refusing: true }
    }

    #[test]
    fn a_wait_within_the_target_refuses_nobody() {
        let mut controller = Controller::default();
        for _ in 0..100 {
            assert_eq!(controller.decide(Interval { refusing: false, ..busy(0.9, 100) }), None);
        }
    }

    #[test]
    fn a_few_that_wait_for_a_thread_which_the_machine_does_not_run_are_no_overload() {
        let mut controller = Controller::default();
        for _ in 0..100 {
            assert_eq!(controller.decide(Interval { refusing: false, full: 0.0, ..busy(6.0, 1) }), None);
        }
    }

    #[test]
    fn the_limit_is_what_the_stage_keeps_up_with_from_the_second_interval() {
        let mut controller = Controller::default();
        assert_eq!(controller.decide(Interval { refusing: false, ..busy(2.0, 400) }), None, "once is chance");
        let first = controller.decide(Interval { refusing: false, ..busy(2.0, 400) }).unwrap();
        assert!((60.0..=100.0).contains(&first), "{first}: 100, less for the queue that has to go");
        let held = controller.decide(busy(HOLD, 100)).unwrap();
        assert!((99.0..=101.0).contains(&held), "{held}");
        assert!(controller.decide(busy(1.5, 100)).unwrap() < held, "a long queue lets in less");
    }

    #[test]
    fn a_limit_that_is_too_low_rises_the_faster_the_longer_it_is() {
        let mut controller = Controller::default();
        controller.decide(busy(2.0, 100));
        controller.decide(busy(2.0, 100)).unwrap();
        let idle = Interval { wait: 0.0, full: 0.1, ..busy(0.0, 50) };
        let steps: Vec<f64> = (0..4).map(|_| controller.decide(idle).unwrap()).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert!(steps[3] / steps[2] > steps[1] / steps[0], "{steps:?}");
    }

    #[test]
    fn when_nobody_has_been_refused_for_a_while_the_limit_is_forgotten() {
        let mut controller = Controller::default();
        controller.decide(busy(2.0, 100));
        assert!(controller.decide(busy(2.0, 100)).is_some());
        let calm = Interval { refusing: false, ..busy(0.1, 50) };
        let intervals = (0..100).take_while(|_| controller.decide(calm).is_some()).count();
        assert_eq!(intervals as u32, CALM);
    }

    #[test]
    fn nothing_let_in_and_nothing_done_leaves_a_limit_that_can_rise() {
        let mut controller = Controller::default();
        controller.decide(busy(9.0, 0));
        controller.decide(busy(9.0, 0)).unwrap();
        let idle = Interval { wait: 0.0, full: 0.0, ..busy(0.0, 0) };
        let after = (0..60).map(|_| controller.decide(idle).unwrap()).last().unwrap();
        assert!(after > 10.0, "{after}");
    }
}
