//! What a day came to for one app: messages, clients that were there, the most connections at once.
//!
//! Clients are counted by a sketch of fixed size (HyperLogLog): exact to a client or two while there are few, within about
//! 2 % where there are many, and the same whether a server counted all day or was started in between.

use crate::ids::Millis;

/// A day in UTC: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

const DAY_MS: Millis = 24 * 60 * 60 * 1000;

impl Day {
    /// The day of a time; the first one for times before it.
    pub fn of(at: Millis) -> Day {
        Day(u32::try_from(at.max(0) / DAY_MS).unwrap_or(u32::MAX))
    }

    /// As `2026-11-28`.
    pub fn date(self) -> String {
        let mut text = crate::time::iso(Millis::from(self.0) * DAY_MS);
        text.truncate("2026-11-28".len());
        text
    }
}

/// One app's day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Messages that were accepted.
    pub messages: u64,
    /// The most connections at once.
    pub peak: u64,
    /// Who was logged in at some time.
    pub clients: Sketch,
}

/// Their error is 1.04 / sqrt(4096) = 1.6 %.
const REGISTERS: usize = 1 << BITS;
const BITS: u32 = 12;
const VERSION: u8 = 1;

impl Figures {
    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.messages.to_be_bytes());
        bytes.extend(self.peak.to_be_bytes());
        bytes.extend(&self.clients.0);
        bytes
    }

    /// `None`: that is none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Figures> {
        let (messages, rest) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
        let (peak, registers) = rest.split_first_chunk()?;
        let fits = registers.is_empty() || registers.len() == REGISTERS;
        let highest = u64::BITS - BITS + 1;
        if !fits || registers.iter().any(|register| u32::from(*register) > highest) {
            return None;
        }
        let clients = Sketch(registers.to_vec());
        Some(Figures { messages: u64::from_be_bytes(*messages), peak: u64::from_be_bytes(*peak), clients })
    }
}

/// How many different things it has seen. Empty until it has seen one, then 4 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch(Vec<u8>);

impl Sketch {
    /// Sees something, maybe again.
    pub fn see(&mut self, what: &str) {
        use sha1::{Digest, Sha1};
        // The same for ever: what was counted before a restart is counted on.
        let digest = Sha1::digest(what.as_bytes());
        let hash = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if self.0.is_empty() {
            self.0 = vec![0; REGISTERS];
        }
        let rest = hash << BITS;
        let rank = (rest.leading_zeros().min(u64::BITS - BITS) + 1) as u8;
        if let Some(register) = self.0.get_mut((hash >> (u64::BITS - BITS)) as usize) {
            *register = rank.max(*register);
        }
    }

    /// As if it had seen what `other` saw.
    pub fn merge(&mut self, other: &Sketch) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine = (*theirs).max(*mine));
    }

    /// About how many.
    pub fn count(&self) -> u64 {
        let registers = REGISTERS as f64;
        let empty = self.0.iter().filter(|register| **register == 0).count();
        if self.0.is_empty() {
            return 0;
        }
        let linear = registers * (registers / empty.max(1) as f64).ln();
        if empty > 0 && linear <= 2.5 * registers {
            return linear.round() as u64;
        }
        let sum: f64 = self.0.iter().map(|register| (-f64::from(*register)).exp2()).sum();
        let alpha = 0.7213 / (1.0 + 1.079 / registers);
        (alpha * registers * registers / sum).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(names: std::ops::Range<u32>) -> Sketch {
        let mut sketch = Sketch::default();
        names.for_each(|n| sketch.see(&format!("client-{n}")));
        sketch
    }

    #[test]
    fn few_are_counted_nearly_exactly_and_many_within_five_percent() {
        for n in [0, 1, 2, 5, 20] {
            assert_eq!(seen(0..n).count(), u64::from(n));
        }
        for n in [100u32, 1_000, 9_000, 12_000, 100_000, 500_000] {
            let error = seen(0..n).count() as f64 / f64::from(n) - 1.0;
            assert!(error.abs() < 0.05, "{n}: {error}");
        }
    }

    #[test]
    fn seeing_again_and_merging_change_nothing_that_was_seen() {
        let mut twice = seen(0..3_000);
        twice.merge(&seen(2_000..4_000));
        twice.merge(&Sketch::default());
        assert_eq!(twice, seen(0..4_000));
        let mut empty = Sketch::default();
        empty.merge(&twice);
        assert_eq!(empty, twice);
    }

    #[test]
    fn days_are_those_of_utc() {
        assert_eq!(Day::of(0).date(), "1970-01-01");
        assert_eq!(Day::of(-5), Day(0));
        assert_eq!(Day::of(1_795_824_000_000 - 1).date(), "2026-11-27");
        assert_eq!(Day::of(1_795_824_000_000).date(), "2026-11-28");
    }

    proptest! {
        #[test]
        fn figures_are_read_as_they_were_written(messages: u64, peak: u64, clients in 0u32..50) {
            let figures = Figures { messages, peak, clients: seen(0..clients) };
            prop_assert_eq!(Figures::from_bytes(&figures.to_bytes()), Some(figures));
        }

        #[test]
        fn other_bytes_are_none_or_read_back(bytes: Vec<u8>) {
            if let Some(read) = Figures::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }
}
