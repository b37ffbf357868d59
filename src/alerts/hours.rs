//! What was usual at the same hour of earlier days.
//!
//! Owns the hours that are over: of each signal the median and the range of 95 of 100 values. At an hour's edge the next
//! one counts as well, so that a morning that begins some minutes early is no news. Hours are of UTC, numbered from the
//! epoch. Must not know where they are kept.

use serde::{Deserialize, Serialize};

use super::signal::{SIGNALS, Signal};
use super::usual::{Usual, median, spread};

/// Days that are looked back to.
pub const DAYS: u32 = 14;
/// With fewer days an hour is not known.
const FEWEST_DAYS: usize = 2;
/// From so many days on, the oddest one is left out at either end: an incident does not become the usual.
const MANY_DAYS: usize = 5;
const HOUR_MS: i64 = 3_600_000;
/// So near to an hour's edge the hour beyond counts, too.
const EDGE_MS: i64 = HOUR_MS / 4;

/// One hour that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hour {
    /// Since the epoch.
    pub hour: u32,
    /// By the signals' places; `null` where there was too little of it.
    pub usual: [Option<Range>; SIGNALS],
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    pub low: f64,
    pub middle: f64,
    pub high: f64,
}

pub struct Hours {
    /// Oldest first.
    done: Vec<Hour>,
    /// The hour that goes on, once a value was seen.
    now: Option<u32>,
    values: [Vec<f64>; SIGNALS],
    /// Values that make an hour known.
    enough: usize,
}

impl Hours {
    /// `an_hour`: values of one hour.
    pub fn new(done: Vec<Hour>, an_hour: usize) -> Hours {
        Hours { done, now: None, values: Default::default(), enough: (an_hour / 2).max(1) }
    }

    /// Values of this moment; `None`: not to be remembered. Whether an hour is over with it.
    pub fn see(&mut self, at_ms: i64, values: [Option<f64>; SIGNALS]) -> bool {
        let hour = hour_of(at_ms);
        let is_over = self.now.is_some_and(|now| now != hour);
        if let (true, Some(over)) = (is_over, self.now) {
            self.end(over);
        }
        self.now = Some(hour);
        for (kept, value) in self.values.iter_mut().zip(values) {
            kept.extend(value);
        }
        is_over
    }

    fn end(&mut self, over: u32) {
        let values = std::mem::take(&mut self.values);
        let range = |values: Vec<f64>| {
            let usual = Usual::of(values.iter().copied()).filter(|_| values.len() >= self.enough)?;
            Some(Range { low: usual.low, middle: usual.middle, high: usual.high })
        };
        let usual = values.map(range);
        // A clock that was set back lives an hour twice; one that was wrong has seen hours that are none.
        let kept = |hour: &Hour| hour.hour < over && hour.hour + DAYS * 24 >= over;
        self.done.retain(kept);
        if usual.iter().any(Option::is_some) {
            self.done.push(Hour { hour: over, usual });
        }
    }

    pub fn done(&self) -> &[Hour] {
        &self.done
    }

    /// What was usual of a signal at this hour, and, near its edge, at the one beyond; empty where too few days are known.
    pub fn usual(&self, signal: Signal, at_ms: i64) -> Vec<Usual> {
        let hours = [hour_of(at_ms - EDGE_MS), hour_of(at_ms + EDGE_MS)];
        let both = if hours[0] == hours[1] { &hours[..1] } else { &hours[..] };
        both.iter().filter_map(|hour| self.of(signal, *hour)).collect()
    }

    fn of(&self, signal: Signal, hour: u32) -> Option<Usual> {
        let is_same =
            |done: &&Hour| done.hour < hour && (hour - done.hour).is_multiple_of(24) && done.hour + DAYS * 24 >= hour;
        let days = self.done.iter().filter(is_same).filter_map(|done| done.usual[signal as usize]);
        let days: Vec<Range> = days.collect();
        if days.len() < FEWEST_DAYS {
            return None;
        }
        let sorted = |of: fn(&Range) -> f64| {
            let mut values: Vec<f64> = days.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (lows, middles, highs) = (sorted(|day| day.low), sorted(|day| day.middle), sorted(|day| day.high));
        let odd = usize::from(days.len() >= MANY_DAYS);
        let middle = median(&middles)?;
        let (low, high) = (*lows.get(odd)?, *highs.get(highs.len() - 1 - odd)?);
        Some(Usual { middle, spread: spread(middles, middle), low, high })
    }
}

/// Before the epoch there was no hour.
fn hour_of(at_ms: i64) -> u32 {
    u32::try_from(at_ms.div_euclid(HOUR_MS)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * HOUR_MS;
    /// A midnight.
    const BEGIN: i64 = 20_000 * DAY;

    /// `days` days of a value for each minute.
    fn lived(days: i64, value: impl Fn(i64) -> f64) -> Hours {
        let mut hours = Hours::new(Vec::new(), 60);
        for minute in 0..days * 24 * 60 {
            let at = BEGIN + minute * MINUTE;
            hours.see(at, [Some(value(at)), None, None, None]);
        }
        hours
    }

    #[test]
    fn an_hour_is_known_after_two_days_and_forgotten_after_fourteen() {
        let value = |at: i64| ((at / HOUR_MS) % 24) as f64 * 100.0;
        let nine =
            |hours: &Hours, day: i64| hours.usual(Signal::Messages, BEGIN + day * DAY + 9 * HOUR_MS + HOUR_MS / 2);
        assert!(nine(&lived(1, value), 1).is_empty());
        let known = lived(3, value);
        assert_eq!(nine(&known, 3), [Usual { middle: 900.0, spread: 0.0, low: 900.0, high: 900.0 }]);
        assert!(known.usual(Signal::Latency, BEGIN + 3 * DAY).is_empty(), "nothing was seen of it");
        let long = lived(40, value);
        assert!(long.done().len() <= (DAYS * 24 + 1) as usize, "{}", long.done().len());
        assert_eq!(nine(&long, 39 + 14).len(), 0, "one day alone is left of it");
    }

    #[test]
    fn near_the_edge_both_hours_count() {
        let hours = lived(3, |at| if (at / HOUR_MS) % 24 < 9 { 10.0 } else { 500.0 });
        let at = |minute: i64| {
            let usual = hours.usual(Signal::Messages, BEGIN + 3 * DAY + 9 * HOUR_MS + minute * MINUTE);
            usual.iter().map(|usual| usual.middle).collect::<Vec<_>>()
        };
        assert_eq!((at(-30), at(-5), at(5), at(30)), (vec![10.0], vec![10.0, 500.0], vec![10.0, 500.0], vec![500.0]));
    }

    #[test]
    fn one_odd_day_of_many_is_left_out() {
        let odd = |days: i64| {
            let hours = lived(days, |at| if (at - BEGIN) / DAY == 1 { 9_000.0 } else { 100.0 });
            hours.usual(Signal::Messages, BEGIN + days * DAY + 30 * MINUTE)[0].high
        };
        assert_eq!((odd(3), odd(6)), (9_000.0, 100.0));
    }

    #[test]
    fn an_hour_with_too_few_values_is_not_kept() {
        let mut hours = Hours::new(Vec::new(), 60);
        for minute in 0..29 {
            assert!(!hours.see(BEGIN + minute * MINUTE, [Some(1.0); SIGNALS]));
        }
        assert!(hours.see(BEGIN + HOUR_MS, [None; SIGNALS]));
        assert!(hours.done().is_empty());
        // A clock that is set back, and one from before the epoch.
        hours.see(BEGIN - DAY, [Some(1.0); SIGNALS]);
        hours.see(-5, [Some(1.0); SIGNALS]);
        assert!(hours.usual(Signal::Churn, -5).is_empty());
    }
}
