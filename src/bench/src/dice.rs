//! Chance that a seed repeats: good enough to spread a load, and nothing else.

/// Xorshift: each number from the one before.
pub struct Dice(u64);

impl Dice {
    /// Neighbouring seeds give other rows: the seed is stirred first, and 0 is not left as it is.
    pub fn new(seed: u64) -> Dice {
        Dice((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// From 0 up to `limit`, without it; 0 where that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll().checked_rem(limit).unwrap_or(0)
    }

    /// Any number but 0.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A place in `shares`, each as likely as its share says.
    pub fn weighted(&mut self, shares: &[u64]) -> usize {
        let mut at = self.below(shares.iter().sum());
        for (place, share) in shares.iter().enumerate() {
            match at.checked_sub(*share) {
                None => return place,
                Some(rest) => at = rest,
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept() {
        let mut dice = Dice::new(7);
        let mut counts = [0; 4];
        (0..10_000).for_each(|_| counts[dice.weighted(&[1, 0, 6, 3])] += 1);
        assert_eq!(counts[1], 0);
        for (count, share) in [(counts[0], 1000), (counts[2], 6000), (counts[3], 3000)] {
            assert!(i32::abs(count - share) < 300, "{counts:?}");
        }
    }

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let row = |seed| {
            let mut dice = Dice::new(seed);
            (0..8).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        assert_eq!(Dice::new(0).below(0), 0);
    }
}
