//! Recorded times, to be drawn from.

use tidegate_recording::Times;

/// Times in the order of their lengths, each as often as it was recorded.
pub(crate) struct Quantiles {
    /// Up to how many of them are as long as this or shorter, and this, in nanoseconds.
    up_to: Vec<(u64, u64)>,
}

impl Quantiles {
    pub fn new(times: &Times) -> Quantiles {
        let mut seen = 0;
        let add = |(ns, count): &(u64, u64)| {
            seen += count;
            (seen, *ns)
        };
        Quantiles { up_to: times.0.iter().map(add).collect() }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.up_to.last().map_or(0, |(seen, _)| *seen)
    }

    /// `chance`, below 1, says how long a one. 0 where there are none.
    pub fn draw(&self, chance: f64) -> u64 {
        let wanted = (chance * self.count() as f64) as u64;
        let place = self.up_to.partition_point(|(seen, _)| *seen <= wanted);
        self.up_to.get(place).or(self.up_to.last()).map_or(0, |(_, ns)| *ns)
    }
}
