//! What was usual of a figure, and from where on a value is out of it.
//!
//! Values are never negative. Out means three things at once: `factor` times more (or less) than the median, further from it
//! than six spreads, and a quarter beyond what 95 of 100 values were. So a figure that is restless by nature has wide limits, and one
//! burst every ten minutes is no news.

/// A value so many spreads from the median is no noise.
const SPREADS: f64 = 6.0;
/// The median absolute deviation times this is the standard deviation, where values are normally distributed.
const DEVIATION: f64 = 1.4826;
/// The part of the values at either end that does not belong to the usual range.
const TAIL: f64 = 0.05;
/// So far beyond the usual range a value may lie: the next burst is seldom as high as the last one.
const MARGIN: f64 = 1.25;

/// A past in four numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    pub middle: f64,
    /// As a standard deviation.
    pub spread: f64,
    /// 95 of 100 values are at least and at most these.
    pub low: f64,
    pub high: f64,
}

/// From `low` to `high`, both inside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    pub low: f64,
    pub high: f64,
}

/// On which side of a band a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    High,
    Low,
}

/// How the usual becomes limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensitivity {
    /// Above 1.
    pub factor: f64,
    /// Nothing up to this is too high, and nothing is too low where it is not usually more: three in place of one are no news.
    pub floor: f64,
    pub may_fall: bool,
}

impl Usual {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Usual> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = median(&values)?;
        let tail = (values.len() as f64 * TAIL) as usize;
        let (low, high) = (*values.get(tail)?, *values.get(values.len() - 1 - tail)?);
        Some(Usual { middle, spread: spread(values, middle), low, high })
    }

    /// What is still taken as usual.
    pub fn limits(&self, how: &Sensitivity) -> Band {
        let restless = if self.middle > 0.0 { 1.0 + SPREADS * self.spread / self.middle } else { 1.0 };
        let times = how.factor.max(restless);
        let falls = how.may_fall && self.middle >= how.floor;
        Band {
            low: if falls { (self.middle / times).min(self.low / MARGIN) } else { 0.0 },
            high: (self.middle * times).max(self.high * MARGIN).max(how.floor),
        }
    }

    /// Half way from the middle to the limits: who is in there is well again.
    pub fn well(&self, how: &Sensitivity) -> Band {
        let limits = self.limits(how);
        let low = if limits.low > 0.0 { (self.middle + limits.low) / 2.0 } else { 0.0 };
        Band { low, high: (self.middle + limits.high) / 2.0 }
    }
}

impl Band {
    /// What is in one of the two.
    pub fn or(self, other: Band) -> Band {
        Band { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// `None` inside.
    pub fn out(&self, value: f64) -> Option<Side> {
        match value {
            value if value > self.high => Some(Side::High),
            value if value < self.low => Some(Side::Low),
            _ => None,
        }
    }
}

/// Of sorted values.
pub fn median(values: &[f64]) -> Option<f64> {
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    Some(if values.len() % 2 == 1 { upper } else { (values.get(half.wrapping_sub(1))? + upper) / 2.0 })
}

/// The standard deviation as the median sees it: a few odd values do not change it.
pub fn spread(mut values: Vec<f64>, middle: f64) -> f64 {
    values.iter_mut().for_each(|value| *value = (*value - middle).abs());
    values.sort_by(f64::total_cmp);
    median(&values).unwrap_or_default() * DEVIATION
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Sensitivity = Sensitivity { factor: 2.0, floor: 10.0, may_fall: true };

    #[test]
    fn the_usual_is_of_the_middle_of_what_was() {
        assert_eq!(Usual::of([]), None);
        assert_eq!(Usual::of([7.0]), Some(Usual { middle: 7.0, spread: 0.0, low: 7.0, high: 7.0 }));
        let usual = Usual::of((1..=100).map(f64::from)).unwrap();
        assert_eq!((usual.middle, usual.low, usual.high), (50.5, 6.0, 95.0));
        // One mad value of a hundred changes nothing.
        let mad = Usual::of((1..=99).map(f64::from).chain([1e9])).unwrap();
        assert_eq!((mad.middle, mad.high), (50.5, 95.0));
    }

    #[test]
    fn a_steady_figure_is_out_at_twice_and_at_half() {
        let band = Usual::of((0..60).map(|n| 100.0 + f64::from(n % 3))).unwrap().limits(&HOW);
        assert_eq!((band.out(203.0), band.out(201.0), band.out(60.0)), (Some(Side::High), None, None));
        assert_eq!((band.out(50.0), band.out(0.0)), (Some(Side::Low), Some(Side::Low)));
    }

    #[test]
    fn a_restless_figure_has_wider_limits() {
        let restless = Usual::of((0..60).map(|n| 100.0 + 40.0 * f64::from(n % 3))).unwrap();
        assert_eq!(restless.limits(&HOW).out(350.0), None);
        // It comes and goes: neither end is news.
        let bursts = Usual::of((0..60).map(|n| if n % 10 < 2 { 1000.0 } else { 50.0 })).unwrap();
        assert_eq!(bursts.limits(&HOW).out(1000.0), None);
        let pauses = Usual::of((0..60).map(|n| if n % 10 < 2 { 0.0 } else { 50.0 })).unwrap();
        assert_eq!(pauses.limits(&HOW).out(0.0), None);
    }

    #[test]
    fn little_is_no_news() {
        let quiet = Usual::of([1.0; 60]).unwrap();
        assert_eq!(
            [0.0, 3.0, 10.0, 11.0].map(|value| quiet.limits(&HOW).out(value)),
            [None, None, None, Some(Side::High)]
        );
        let nothing = Usual::of([0.0; 60]).unwrap().limits(&Sensitivity { floor: 0.01, ..HOW });
        assert_eq!([0.0, 0.01, 0.02].map(|value| nothing.out(value)), [None, None, Some(Side::High)]);
    }

    #[test]
    fn what_is_well_is_well_inside_the_limits() {
        let usual = Usual::of([100.0; 60]).unwrap();
        assert_eq!(usual.limits(&HOW), Band { low: 50.0, high: 200.0 });
        assert_eq!(usual.well(&HOW), Band { low: 75.0, high: 150.0 });
        let never_low = Sensitivity { may_fall: false, ..HOW };
        assert_eq!((usual.limits(&never_low).low, usual.well(&never_low).low), (0.0, 0.0));
    }
}
