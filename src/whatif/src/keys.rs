//! Keys that are as unequal as the recorded ones.

/// Whose events a stage gets.
pub(crate) struct Keys {
    /// Up to which share of all events this key and those before it have them.
    frequent: Vec<f64>,
}

impl Keys {
    /// `shares`: those of the most frequent ones.
    pub fn new(shares: &[f64]) -> Keys {
        let mut sum = 0.0;
        let add = |share: &f64| {
            sum += share;
            sum
        };
        Keys { frequent: shares.iter().map(add).collect() }
    }

    /// The key of an event by its number, which decides it.
    pub fn of(&self, number: u64) -> u64 {
        let place = mix(number);
        let share = (place >> 11) as f64 / (1u64 << 53) as f64;
        let index = self.frequent.partition_point(|sum| *sum <= share);
        // The others are many: each its own.
        if index < self.frequent.len() { index as u64 } else { mix(place) | 1 << 63 }
    }
}

/// Spreads numbers that follow each other (splitmix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_keys_come_as_often_as_recorded_and_the_others_are_many() {
        let keys = Keys::new(&[0.5, 0.1]);
        let all: Vec<u64> = (0..100_000).map(|number| keys.of(number)).collect();
        let share = |key: u64| all.iter().filter(|other| **other == key).count() as f64 / all.len() as f64;
        assert!((share(0) - 0.5).abs() < 0.01 && (share(1) - 0.1).abs() < 0.01);
        let others: std::collections::HashSet<u64> = all.iter().copied().filter(|key| *key > 1).collect();
        assert!(others.len() > 39_000);
    }

    #[test]
    fn where_all_keys_are_known_there_are_no_others() {
        let keys = Keys::new(&[0.25; 4]);
        assert!((0..10_000).all(|number| keys.of(number) < 4));
    }
}
