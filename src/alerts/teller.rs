//! Which notices go out: one when an alert is raised, one when it is cleared, and one an hour while it lasts.
//!
//! In a silence nothing is told but the end of what was told before, so that nobody waits for it. What is raised still when
//! a silence ends is told then. Counts values, as the judges do.

use super::signal::{SIGNALS, Signal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Raised,
    /// It was told, and goes on.
    Still,
    Cleared,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Raised => "raised",
            Kind::Still => "still",
            Kind::Cleared => "cleared",
        }
    }
}

pub struct Teller {
    /// Values since the last notice of what was told and is not over.
    told: [Option<u32>; SIGNALS],
    repeat: u32,
}

impl Teller {
    /// `repeat`: values between two notices of the same alert.
    pub fn new(repeat: u32) -> Teller {
        Teller { told: [None; SIGNALS], repeat: repeat.max(1) }
    }

    /// To be called with each value of each signal.
    pub fn due(&mut self, signal: Signal, is_raised: bool, is_silent: bool) -> Option<Kind> {
        let told = &mut self.told[signal as usize];
        match (is_raised, *told) {
            (true, None) if !is_silent => {
                *told = Some(0);
                Some(Kind::Raised)
            }
            (true, Some(age)) => {
                let age = age.saturating_add(1);
                let is_due = age >= self.repeat && !is_silent;
                *told = Some(if is_due { 0 } else { age });
                is_due.then_some(Kind::Still)
            }
            (false, Some(_)) => {
                *told = None;
                Some(Kind::Cleared)
            }
            _ => None,
        }
    }

    /// Whether somebody was told that it is raised.
    pub fn is_told(&self, signal: Signal) -> bool {
        self.told[signal as usize].is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a series of "is it raised, is it silent".
    fn told(series: &[(bool, bool)]) -> Vec<Option<Kind>> {
        let mut teller = Teller::new(3);
        series.iter().map(|(raised, silent)| teller.due(Signal::Latency, *raised, *silent)).collect()
    }

    #[test]
    fn one_when_it_is_raised_one_in_a_while_and_one_when_it_is_cleared() {
        let up = (true, false);
        let heard = told(&[(false, false), up, up, up, up, up, (false, false), (false, false)]);
        let (raised, still, cleared) = (Some(Kind::Raised), Some(Kind::Still), Some(Kind::Cleared));
        assert_eq!(heard, [None, raised, None, None, still, None, cleared, None]);
    }

    #[test]
    fn a_silence_is_kept_and_what_is_raised_after_it_is_told() {
        let quiet = (true, true);
        assert_eq!(
            told(&[quiet, quiet, (true, false), (false, true)]),
            [None, None, Some(Kind::Raised), Some(Kind::Cleared)]
        );
        assert_eq!(told(&[quiet, (false, true), (false, false)]), [None; 3]);
        assert_eq!(told(&[(true, false), quiet, quiet, quiet, quiet, (true, false)])[5], Some(Kind::Still));
    }
}
