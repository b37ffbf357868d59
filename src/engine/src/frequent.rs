//! The most frequent keys among any number, with little memory (the space-saving algorithm): a new key takes the place of
//! the least frequent one and its count, which is remembered as what it may be too much by.

use std::collections::HashMap;

/// So many keys are counted at a time.
const MOST_KEYS: usize = 64;

/// Counts keys.
#[derive(Default)]
pub(crate) struct Frequent {
    /// By key: the count, and what it may be too much by.
    counts: HashMap<u64, (u64, u64)>,
}

impl Frequent {
    pub fn count(&mut self, key: u64) {
        if let Some((count, _)) = self.counts.get_mut(&key) {
            *count += 1;
        } else if self.counts.len() < MOST_KEYS {
            self.counts.insert(key, (1, 0));
        } else if let Some((least, count)) =
            self.counts.iter().map(|(key, (count, _))| (*key, *count)).min_by_key(|of| of.1)
        {
            self.counts.remove(&least);
            self.counts.insert(key, (count + 1, count));
        }
    }

    /// What each had at least, the largest first.
    pub fn most_frequent(self) -> Vec<u64> {
        let mut counts: Vec<u64> = self.counts.into_values().map(|(count, error)| count - error).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_keys_are_found_among_many_and_nothing_is_counted_too_often() {
        let mut keys = Frequent::default();
        for n in 0..100_000u64 {
            match n % 10 {
                0..3 => keys.count(7),
                3 => keys.count(8),
                _ => keys.count(1_000 + n),
            }
        }
        let counts = keys.most_frequent();
        assert!((29_000..=30_000).contains(&counts[0]), "{counts:?}");
        assert!((9_000..=10_000).contains(&counts[1]), "{counts:?}");
        assert!(counts[2] < 1_000, "{counts:?}");
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut keys = Frequent::default();
        (0..60u64).for_each(|key| (0..=key).for_each(|_| keys.count(key)));
        assert_eq!(keys.most_frequent(), (1..=60).rev().collect::<Vec<_>>());
    }
}
