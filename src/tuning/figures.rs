//! What a change did: rate and latency before it and a minute later.

use std::collections::VecDeque;

use tidegate_http::{Effect, Figures, Setting};

use super::Tuner;
use crate::live::{quantile, since};

/// How the whole pipeline is called among the stages.
const PIPELINE: &str = "pipeline";
/// Seconds that figures are of; the engine's are of as many.
const SECONDS: usize = 10;

/// How long the deliveries of the last seconds took.
#[derive(Default)]
pub struct Deliveries {
    /// Counts since the start, by upper bound in ns, one for each second; the oldest first.
    counts: VecDeque<Vec<(u64, u64)>>,
}

impl Deliveries {
    pub fn note(&mut self, counts: Vec<(u64, u64)>) {
        if self.counts.len() > SECONDS {
            self.counts.pop_front();
        }
        self.counts.push_back(counts);
    }

    /// The upper bound of the bucket in which the 99th of 100 lies; `None` where nothing was delivered.
    fn p99_ms(&self) -> Option<f64> {
        let (first, last) = (self.counts.front()?, self.counts.back()?);
        quantile(&since(first, last), 0.99).map(|ns| ns as f64 / 1e6)
    }
}

impl Tuner {
    /// Of the pipeline and of each stage that `changes` are about.
    pub(super) fn figures_before(&self, deliveries: &Deliveries, changes: &[Setting]) -> Vec<Effect> {
        let mut of = vec![PIPELINE];
        let stages = changes.iter().filter_map(|change| change.key.strip_prefix("stages.")?.split('.').next());
        stages.for_each(|stage| {
            if !of.contains(&stage) {
                of.push(stage)
            }
        });
        let effect = |of: &str| Effect { of: of.to_owned(), before: self.figures_of(deliveries, of), after: None };
        of.into_iter().map(effect).collect()
    }

    pub(super) fn figures_of(&self, deliveries: &Deliveries, of: &str) -> Figures {
        let name = if of == PIPELINE { &self.entry } else { of };
        let Some(stage) = self.pipeline.stage(name) else { return Figures::default() };
        let wait = (stage.wait.max > 0).then_some(stage.wait.p99 as f64 / 1e6);
        Figures { rate: stage.rate, p99_ms: if of == PIPELINE { deliveries.p99_ms() } else { wait } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_those_of_the_last_ten_seconds() {
        let mut deliveries = Deliveries::default();
        assert_eq!(deliveries.p99_ms(), None);
        deliveries.note(vec![(1_000_000, 1_000)]);
        assert_eq!(deliveries.p99_ms(), None, "all of them were before");
        deliveries.note(vec![(1_000_000, 1_990), (2_000_000, 10)]);
        assert_eq!(deliveries.p99_ms(), Some(1.0));
        deliveries.note(vec![(1_000_000, 1_990), (2_000_000, 11)]);
        assert_eq!(deliveries.p99_ms(), Some(2.0), "11 of 1,001");
        (0..SECONDS).for_each(|_| deliveries.note(vec![(1_000_000, 1_990), (2_000_000, 12)]));
        assert_eq!(deliveries.p99_ms(), Some(2.0), "the one that is left");
        deliveries.note(vec![(1_000_000, 1_990), (2_000_000, 12)]);
        assert_eq!(deliveries.p99_ms(), None);
    }
}
