//! A circuit breaker: a receiver that failed often is left alone for a while, then asked once.
//!
//! Closed: every call may go. Open: none may, until its time is over. Half open: one call, the probe, decides
//! whether it closes or stays open for another while. Pure: the clock comes in, so that tests need no waiting.

use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(crate) struct Breaker {
    /// Failures in a row that open it; at least 1.
    after: u32,
    open_for: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    /// Set while open or half open.
    open_until: Option<Instant>,
    /// The probe is out.
    probing: bool,
}

/// Leave to make one call. Dropped without an outcome (the call was given up), it counts as neither.
pub(crate) struct Leave<'a> {
    breaker: &'a Breaker,
    probe: bool,
    told: bool,
}

impl Breaker {
    pub fn new(after: u32, open_for: Duration) -> Self {
        Breaker { after: after.max(1), open_for, state: Mutex::default() }
    }

    /// `None`: leave the receiver alone.
    pub fn enter(&self, now: Instant) -> Option<Leave<'_>> {
        let mut state = self.state();
        let probe = match state.open_until {
            None => false,
            Some(until) if now < until || state.probing => return None,
            Some(_) => true,
        };
        state.probing |= probe;
        Some(Leave { breaker: self, probe, told: false })
    }

    /// Whether a call would be refused now; takes no probe.
    pub fn is_open(&self, now: Instant) -> bool {
        let state = self.state();
        state.open_until.is_some_and(|until| now < until || state.probing)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics under the lock; were it poisoned, its state would still be whole.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Leave<'_> {
    pub fn succeeded(mut self) {
        self.told = true;
        *self.breaker.state() = State::default();
    }

    /// True when this failure opened the breaker that was closed.
    pub fn failed(mut self, now: Instant) -> bool {
        self.told = true;
        let mut state = self.breaker.state();
        state.failures = state.failures.saturating_add(1);
        let was_closed = state.open_until.is_none();
        if self.probe || (was_closed && state.failures >= self.breaker.after) {
            state.open_until = Some(now + self.breaker.open_for);
        }
        if self.probe {
            state.probing = false;
        }
        was_closed && state.open_until.is_some()
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            self.breaker.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHILE: Duration = Duration::from_secs(5);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(3, WHILE);
        for nth in 1..=3 {
            assert_eq!(breaker.enter(now).expect("closed").failed(now), nth == 3);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (now, breaker) = (Instant::now(), Breaker::new(3, WHILE));
        for _ in 0..10 {
            assert!(!breaker.enter(now).expect("closed").failed(now));
            assert!(!breaker.enter(now).expect("closed").failed(now));
            breaker.enter(now).expect("closed").succeeded();
        }
        let breaker = opened(now);
        assert!(breaker.is_open(now) && breaker.enter(now).is_none());
        assert!(breaker.enter(now + WHILE - Duration::from_millis(1)).is_none());
    }

    #[test]
    fn one_probe_decides() {
        let now = Instant::now();
        let (breaker, later) = (opened(now), now + WHILE);
        let probe = breaker.enter(later).expect("half open");
        assert!(breaker.enter(later).is_none() && breaker.is_open(later), "one probe at a time");
        assert!(!probe.failed(later), "it was open before");
        assert!(breaker.enter(later + WHILE - Duration::from_millis(1)).is_none(), "open for another while");
        breaker.enter(later + WHILE).expect("half open again").succeeded();
        assert!(!breaker.is_open(later + WHILE));
        assert!(!breaker.enter(later + WHILE).expect("closed").failed(later), "counts from nothing again");
    }

    #[test]
    fn a_probe_that_was_given_up_makes_room_for_another() {
        let now = Instant::now();
        let breaker = opened(now);
        drop(breaker.enter(now + WHILE).expect("half open"));
        assert!(breaker.enter(now + WHILE).is_some());
    }

    #[test]
    fn a_late_failure_does_not_prolong_it() {
        let (now, breaker) = (Instant::now(), Breaker::new(1, WHILE));
        let (one, two) = (breaker.enter(now).expect("closed"), breaker.enter(now).expect("closed"));
        assert!(one.failed(now));
        assert!(!two.failed(now + WHILE / 2));
        assert!(breaker.enter(now + WHILE).is_some());
    }
}
