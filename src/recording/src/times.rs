//! Many times in few numbers.

use serde::{Deserialize, Serialize};

/// Times in nanoseconds and how often each was seen, ascending: the filled places of a histogram, exact to a hundredth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Times(pub Vec<(u64, u64)>);

impl Times {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Their mean; 0 when there are none.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|(ns, count)| *ns as f64 * *count as f64).sum();
        sum / self.count().max(1) as f64
    }

    /// The least that a share of `quantile` of them does not exceed; `None` when there are none.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let wanted = (quantile.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.0
            .iter()
            .find(|(_, count)| {
                seen += count;
                seen >= wanted
            })
            .map(|(ns, _)| *ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_the_mean_are_those_of_the_times() {
        let times = Times(vec![(10, 50), (20, 49), (1_000, 1)]);
        assert_eq!((times.count(), times.mean()), (100, 24.8));
        let at = [0.0, 0.5, 0.51, 0.99, 0.995, 1.0].map(|quantile| times.quantile(quantile).unwrap());
        assert_eq!(at, [10, 10, 20, 20, 1_000, 1_000]);
        assert_eq!(Times::default().quantile(0.5), None);
    }
}
