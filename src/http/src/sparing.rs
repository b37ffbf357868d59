//! A word for people at most so often: a receiver that is down for an hour, or a stranger who tries tokens, shall not fill
//! the log.
//!
//! Pure: the clock comes in, so that tests need no waiting.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two words about one receiver.
const PAUSE: Duration = Duration::from_secs(30);

pub(crate) struct Sparing {
    /// The time between two words.
    pause: Duration,
    state: Mutex<State>,
}

impl Default for Sparing {
    fn default() -> Self {
        Sparing::every(PAUSE)
    }
}

#[derive(Default)]
struct State {
    said: Option<Instant>,
    withheld: u64,
}

impl Sparing {
    /// With this time between two words.
    pub fn every(pause: Duration) -> Self {
        Sparing { pause, state: Mutex::default() }
    }

    /// Whether to speak now; with how many words were withheld since the last.
    pub fn say(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.is_some_and(|said| now < said + self.pause) {
            state.withheld += 1;
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_rest_counted() {
        let (now, sparing) = (Instant::now(), Sparing::default());
        assert_eq!(sparing.say(now), Some(0));
        for _ in 0..7 {
            assert_eq!(sparing.say(now + PAUSE / 2), None);
        }
        assert_eq!(sparing.say(now + PAUSE), Some(7));
        assert_eq!(sparing.say(now + PAUSE), None);
        assert_eq!(sparing.say(now + PAUSE * 3), Some(1));
    }
}
