//! How long a batch takes, drawn from those that were recorded.
//!
//! Times are drawn at the recorded sizes next to the batch's and joined by a line between them, both at the same
//! quantile, so that a slow batch is as slow as a slow one was. Below the smallest size seen a batch takes what that one
//! did; above the largest, as much more as a part for the batch and a part for each event say that fit best. Where only
//! one size was seen, all of its time is taken to be its events', so that nothing is promised that nobody has seen.

use tidegate_recording::Service;

use crate::quantiles::Quantiles;

/// A stage's batches.
pub(crate) struct Work {
    /// By size, ascending.
    sizes: Vec<Size>,
    /// Nanoseconds for a batch and for each event in it.
    line: (f64, f64),
}

struct Size {
    size: f64,
    /// What they took.
    ns: Quantiles,
    mean: f64,
    cpu: f64,
    around: f64,
}

/// What a batch takes, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drawn {
    /// On a processor.
    pub cpu: f64,
    /// For something else.
    pub wait: f64,
    /// On a processor, before and after it.
    pub around: f64,
}

/// Sizes that were seen less often than this are joined with the next: a few batches say little about all of their size.
const FEW: u64 = 30;

impl Work {
    pub fn new(recorded: &[Service]) -> Work {
        let mut sizes: Vec<Size> = Vec::new();
        for service in join_few(recorded) {
            let (size, cpu, around) = (service.size, service.cpu, service.around_ns);
            sizes.push(Size { size, ns: Quantiles::new(&service.ns), mean: service.ns.mean(), cpu, around });
        }
        let line = line(&sizes);
        Work { sizes, line }
    }

    /// The largest size that was seen.
    pub fn largest(&self) -> f64 {
        self.sizes.last().map_or(0.0, |size| size.size)
    }

    /// A batch of `items`; `chance`, below 1, says how slow a one.
    pub fn draw(&self, items: usize, chance: f64) -> Drawn {
        let n = items as f64;
        let after = self.sizes.partition_point(|size| size.size < n);
        match (after.checked_sub(1).map(|before| &self.sizes[before]), self.sizes.get(after)) {
            (Some(before), Some(after)) => {
                let part = (n - before.size) / (after.size - before.size);
                let between = |before: f64, after: f64| before + (after - before) * part;
                let ns = between(before.at(chance), after.at(chance));
                let cpu = between(before.at(chance) * before.cpu, after.at(chance) * after.cpu);
                Drawn { cpu, wait: ns - cpu, around: between(before.around, after.around) }
            }
            (None, Some(smallest)) => smallest.drawn(chance, 1.0),
            (Some(largest), None) => {
                let at = |size: f64| self.line.0 + self.line.1 * size;
                let more = if at(largest.size) > 0.0 { at(n) / at(largest.size) } else { 1.0 };
                largest.drawn(chance, more)
            }
            (None, None) => Drawn { cpu: 0.0, wait: 0.0, around: 0.0 },
        }
    }
}

impl Size {
    fn at(&self, chance: f64) -> f64 {
        self.ns.draw(chance) as f64
    }

    fn drawn(&self, chance: f64, times: f64) -> Drawn {
        let ns = self.at(chance) * times;
        Drawn { cpu: ns * self.cpu, wait: ns * (1.0 - self.cpu), around: self.around * times.max(1.0) }
    }
}

/// Neighbours in size are joined until each has enough batches.
fn join_few(recorded: &[Service]) -> Vec<Service> {
    let mut joined: Vec<Service> = Vec::new();
    for service in recorded.iter().filter(|service| service.ns.count() > 0) {
        match joined.last_mut() {
            Some(last) if last.ns.count() < FEW => *last = join(last, service),
            _ => joined.push(service.clone()),
        }
    }
    // The largest has no next one.
    if joined.len() > 1 && joined.last().is_some_and(|last| last.ns.count() < FEW) {
        let (last, before) = (joined.pop(), joined.pop());
        joined.extend(before.zip(last).map(|(before, last)| join(&before, &last)));
    }
    joined
}

fn join(one: &Service, other: &Service) -> Service {
    let (a, b) = (one.ns.count() as f64, other.ns.count() as f64);
    let mean = |of_one: f64, of_other: f64| (of_one * a + of_other * b) / (a + b);
    let (spent, spent_other) = (one.ns.mean() * a, other.ns.mean() * b);
    let mut ns = one.ns.clone();
    ns.0.extend(&other.ns.0);
    ns.0.sort_unstable();
    Service {
        size: mean(one.size, other.size),
        ns,
        cpu: (one.cpu * spent + other.cpu * spent_other) / (spent + spent_other).max(1.0),
        around_ns: mean(one.around_ns, other.around_ns),
    }
}

/// The least squares' line through the means, each size counting as often as it was seen; neither part below 0.
fn line(sizes: &[Size]) -> (f64, f64) {
    let sum = |of: &dyn Fn(&Size) -> f64| sizes.iter().map(|size| of(size) * size.ns.count() as f64).sum::<f64>();
    let (count, n, ns) = (sum(&|_| 1.0), sum(&|size| size.size), sum(&|size| size.mean));
    let (nn, both) = (sum(&|size| size.size * size.size), sum(&|size| size.size * size.mean));
    let spread = count * nn - n * n;
    if sizes.len() < 2 || spread <= 0.0 {
        return (0.0, ns / n.max(1.0));
    }
    let each = ((count * both - n * ns) / spread).max(0.0);
    let fixed = (ns - each * n) / count;
    if fixed < 0.0 { (0.0, ns / n) } else { (fixed, each) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_recording::Times;

    fn seen(size: f64, ns: &[(u64, u64)], cpu: f64) -> Service {
        Service { size, ns: Times(ns.to_vec()), cpu, around_ns: 100.0 }
    }

    #[test]
    fn a_size_that_was_seen_takes_what_it_took_and_as_often() {
        let work = Work::new(&[seen(1.0, &[(1_000, 90), (50_000, 10)], 1.0)]);
        let slow = (0..1_000).filter(|n| work.draw(1, *n as f64 / 1_000.0).cpu > 10_000.0).count();
        assert_eq!(slow, 100);
    }

    #[test]
    fn between_two_sizes_it_is_between_their_times_and_never_below_the_smallest() {
        let work = Work::new(&[seen(2.0, &[(1_000, 50)], 0.5), seen(4.0, &[(2_000, 50)], 0.5)]);
        let drawn = work.draw(3, 0.5);
        assert_eq!((drawn.cpu, drawn.wait), (750.0, 750.0));
        assert_eq!(work.draw(1, 0.0).cpu, 500.0);
    }

    #[test]
    fn a_commit_shared_by_more_than_was_seen_costs_each_less() {
        let of = |size: f64| seen(size, &[((1_000_000.0 + 10_000.0 * size) as u64, 50)], 0.1);
        let work = Work::new(&[of(1.0), of(4.0), of(8.0)]);
        let drawn = work.draw(64, 0.5);
        assert!((drawn.cpu + drawn.wait - 1_640_000.0).abs() < 10_000.0, "{drawn:?}");
    }

    #[test]
    fn of_a_single_size_nothing_is_promised() {
        let work = Work::new(&[seen(2.0, &[(1_000, 50)], 1.0)]);
        assert_eq!(work.draw(8, 0.5).cpu, 4_000.0);
    }

    #[test]
    fn a_few_batches_of_a_size_do_not_speak_for_it() {
        let work = Work::new(&[seen(1.0, &[(1_000, 97)], 1.0), seen(2.0, &[(900_000, 3)], 1.0)]);
        let mean = (0..100).map(|n| work.draw(2, n as f64 / 100.0).cpu).sum::<f64>() / 100.0;
        assert!(mean < 60_000.0, "{mean}");
    }
}
