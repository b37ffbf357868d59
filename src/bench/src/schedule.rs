//! Open loop: when each message should be sent, whatever happened to those before it.
//!
//! Latency is counted from these times, so that a stall is counted against every message that should have been sent
//! during it. Knows no clock: it is told the time.

use crate::clock::SECOND;

/// One stretch of constant rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Messages a second.
    pub rate: f64,
    /// Length in nanoseconds.
    pub length: u64,
}

/// The intended times of stretches, one after the other.
#[derive(Debug)]
pub struct Schedule {
    stretches: Vec<Stretch>,
    /// Where the current stretch begins, and its number.
    begin: u64,
    at: usize,
    /// Messages of the current stretch so far.
    sent: u64,
}

impl Schedule {
    /// Begins at `start`; stretches without a rate are pauses.
    pub fn new(start: u64, stretches: Vec<Stretch>) -> Schedule {
        Schedule { stretches, begin: start, at: 0, sent: 0 }
    }

    /// The intended time of the next message; `None` at the end.
    pub fn next(&mut self) -> Option<u64> {
        loop {
            let stretch = self.stretches.get(self.at)?;
            if stretch.rate > 0.0 {
                let offset = (self.sent as f64 * SECOND as f64 / stretch.rate) as u64;
                if offset < stretch.length {
                    return Some(self.begin + offset);
                }
            }
            self.begin += stretch.length;
            self.at += 1;
            self.sent = 0;
        }
    }

    /// Takes the next message, if it should have been sent by `now`.
    pub fn due(&mut self, now: u64) -> Option<u64> {
        let intended = self.next().filter(|intended| *intended <= now)?;
        self.sent += 1;
        Some(intended)
    }
}

/// One message of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When it should be sent.
    pub intended: u64,
    pub line: u32,
    /// In bytes.
    pub size: u32,
}

/// Messages each at a time of its own.
#[derive(Debug)]
pub struct Script {
    all: Vec<Due>,
    sent: usize,
}

impl Script {
    /// `all` is ascending.
    pub fn new(all: Vec<Due>) -> Script {
        Script { all, sent: 0 }
    }

    /// The intended time of the next message; `None` at the end.
    pub fn next(&self) -> Option<u64> {
        self.all.get(self.sent).map(|due| due.intended)
    }

    /// Takes the next message, if it should have been sent by `now`.
    pub fn due(&mut self, now: u64) -> Option<Due> {
        let due = self.all.get(self.sent).filter(|due| due.intended <= now)?;
        self.sent += 1;
        Some(*due)
    }
}

/// Steps of offered load: up from `from` to `to` in `steps`, and down again.
pub fn up_and_down(from: f64, to: f64, steps: u32, length: u64) -> Vec<Stretch> {
    let last = steps.max(2) - 1;
    let rate = |step: u32| from + (to - from) * f64::from(step) / f64::from(last);
    (0..=last).chain((0..last).rev()).map(|step| Stretch { rate: rate(step), length }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(schedule: &mut Schedule, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| schedule.due(now)).collect()
    }

    #[test]
    fn messages_are_due_at_even_times() {
        let mut schedule = Schedule::new(7, vec![Stretch { rate: 4.0, length: SECOND }]);
        assert!(all(&mut schedule, 6).is_empty());
        assert_eq!(all(&mut schedule, 7), [7]);
        assert_eq!(schedule.next(), Some(7 + SECOND / 4));
    }

    #[test]
    fn a_stall_makes_nothing_forgotten_or_later() {
        let mut schedule = Schedule::new(0, vec![Stretch { rate: 1000.0, length: SECOND }]);
        let due = all(&mut schedule, SECOND * 5);
        assert_eq!(due.len(), 1000, "what should have been sent while nobody looked is still due");
        assert_eq!((due[0], due[999]), (0, 999_000_000), "at the times that were meant");
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn stretches_follow_each_other_and_may_be_silent() {
        let stretch = |rate, length| Stretch { rate, length };
        let mut schedule = Schedule::new(0, vec![stretch(2.0, SECOND), stretch(0.0, SECOND), stretch(1.0, 2 * SECOND)]);
        assert_eq!(all(&mut schedule, u64::MAX), [0, SECOND / 2, 2 * SECOND, 3 * SECOND]);
    }

    #[test]
    fn a_script_is_followed_to_its_end() {
        let due = |intended, line| Due { intended, line, size: 5 };
        let mut script = Script::new(vec![due(3, 1), due(3, 0), due(9, 1)]);
        assert_eq!((script.due(2), script.next()), (None, Some(3)));
        assert_eq!((script.due(8), script.due(8), script.due(8)), (Some(due(3, 1)), Some(due(3, 0)), None));
        assert_eq!((script.due(u64::MAX), script.next()), (Some(due(9, 1)), None));
    }

    #[test]
    fn a_ramp_goes_up_and_back() {
        let rates: Vec<f64> = up_and_down(100.0, 300.0, 3, 1).iter().map(|stretch| stretch.rate).collect();
        assert_eq!(rates, [100.0, 200.0, 300.0, 200.0, 100.0]);
    }
}
