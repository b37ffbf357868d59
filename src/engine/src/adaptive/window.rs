//! Some time of a stage at one setting: what it did in it, and how sure that is.
//!
//! Made of looks at sums since the start. Must not know what the figures are wanted for.

use super::Look;

const SECOND: f64 = 1e9;

/// From its first look to its last one.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    first: Option<Point>,
    last: Option<Point>,
    /// Rates from look to look: how many, their mean, and the squares of what each is away from it.
    slices: f64,
    mean: f64,
    squares: f64,
    /// Sums over looks.
    inside: f64,
    at_work: f64,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    at: u64,
    events: u64,
    batches: u64,
    busy: u64,
    blocked: u64,
}

impl Window {
    pub fn add(&mut self, now: u64, look: &Look) {
        let (events, batches) = (look.events, look.batches);
        let point = Point { at: now, events, batches, busy: look.busy_ns, blocked: look.blocked_ns };
        if let Some(last) = self.last {
            let rate = events.saturating_sub(last.events) as f64 * SECOND / now.saturating_sub(last.at).max(1) as f64;
            self.slices += 1.0;
            let away = rate - self.mean;
            self.mean += away / self.slices;
            self.squares += away * (rate - self.mean);
            self.inside += look.inside as f64;
            self.at_work += look.at_work as f64;
        }
        self.first.get_or_insert(point);
        self.last = Some(point);
    }

    /// Begins again with nothing.
    pub fn clear(&mut self) {
        *self = Window::default();
    }

    fn difference(&self, of: impl Fn(&Point) -> u64) -> f64 {
        match (&self.first, &self.last) {
            (Some(first), Some(last)) => of(last).saturating_sub(of(first)) as f64,
            _ => 0.0,
        }
    }

    /// Nanoseconds.
    pub fn span(&self) -> u64 {
        self.difference(|point| point.at) as u64
    }

    fn ns(&self) -> f64 {
        (self.span() as f64).max(1.0)
    }

    /// Events a second.
    pub fn rate(&self) -> f64 {
        self.difference(|point| point.events) * SECOND / self.ns()
    }

    /// How far the rate may be off, as a share of it: by how much it wavered, and since a batch counts only when it ends.
    pub fn error(&self) -> f64 {
        let wavers = (self.squares / (self.slices * (self.slices - 1.0)).max(1.0)).sqrt() / self.rate().max(1e-9);
        wavers.max(0.5 / self.batches())
    }

    /// Batches that ended.
    pub fn ended(&self) -> f64 {
        self.difference(|point| point.batches)
    }

    fn batches(&self) -> f64 {
        self.ended().max(1.0)
    }

    /// Events in a batch, on average.
    pub fn batch(&self) -> f64 {
        self.difference(|point| point.events) / self.batches()
    }

    /// Nanoseconds that a batch took, on average.
    pub fn service(&self) -> f64 {
        self.difference(|point| point.busy) / self.batches()
    }

    /// Workers at work, on average: by the batches that have ended, or, where these take long, as the looks found them.
    pub fn busy(&self) -> f64 {
        let ended = self.difference(|point| point.busy) / self.ns();
        ended.max(self.at_work / self.slices.max(1.0))
    }

    /// The share of time with work and without room.
    pub fn blocked(&self) -> f64 {
        self.difference(|point| point.blocked) / self.ns()
    }

    /// Events that wait or are worked on, on average.
    pub fn inside(&self) -> f64 {
        self.inside / self.slices.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adaptive::tests::look;

    #[test]
    fn a_steady_stage_is_known_surely_and_a_wavering_one_is_not() {
        let (mut steady, mut wavering) = (Window::default(), Window::default());
        for n in 0..=10u64 {
            let now = n * 100_000_000;
            steady.add(now, &Look { events: n * 100, batches: n * 100, busy_ns: now, inside: 7, ..look() });
            let events = n * 100 + n % 2 * 60;
            wavering.add(now, &Look { events, batches: n * 100, blocked_ns: now / 2, ..look() });
        }
        assert_eq!((steady.rate(), steady.inside(), steady.busy(), steady.batch()), (1_000.0, 7.0, 1.0, 1.0));
        assert_eq!((steady.span(), steady.error()), (1_000_000_000, 0.000_5));
        assert_eq!((wavering.rate(), wavering.blocked()), (1_000.0, 0.5));
        assert!((0.15..0.3).contains(&wavering.error()), "{}", wavering.error());
        steady.clear();
        assert_eq!((steady.span(), steady.rate(), steady.inside()), (0, 0.0, 0.0));
    }
}
