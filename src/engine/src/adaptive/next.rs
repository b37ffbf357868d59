//! What to try next at a stage: larger batches, more workers, or less of either, whatever has not failed yet.
//!
//! Must not know how a trial is judged.

use super::stage::Adapted;
use super::{Look, Setting};

/// Where batches take longer, little can be judged.
const LONG_BATCH: u64 = 1_000_000_000 / 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knob {
    Workers,
    Batch,
}

impl Knob {
    pub fn other(self) -> Knob {
        match self {
            Knob::Workers => Knob::Batch,
            Knob::Batch => Knob::Workers,
        }
    }

    pub fn of(self, setting: Setting) -> usize {
        match self {
            Knob::Workers => setting.workers,
            Knob::Batch => setting.batch,
        }
    }
}

/// What was tried in vain since the setting is as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub knob: Knob,
    pub value: usize,
    /// It did harm: what goes farther that way would do more.
    pub harmful: bool,
}

impl Adapted {
    /// The next thing that has not failed yet.
    pub(super) fn next(&self, look: &Look) -> Option<(Knob, Setting)> {
        if let Some(between) = self.between {
            let knob = if between.workers == self.set.workers { Knob::Batch } else { Knob::Workers };
            return Some((knob, between));
        }
        // Fewer workers were better: even fewer may be.
        let falls = |worse: &Failed| worse.knob == Knob::Workers && worse.value > self.set.workers;
        let on = self.worse.as_ref().filter(|worse| falls(worse)).and_then(|_| self.fewer_workers(look));
        let less = || self.less_batch(look);
        on.or_else(less).or_else(|| self.more(look)).or_else(|| self.fewer_workers(look))
    }

    /// A step of each kind, then a shorter one, and then a longer one: of what a batch costs, half is left and then a quarter.
    fn more(&self, look: &Look) -> Option<(Knob, Setting)> {
        let factors = [self.factors, (2, 2), (4, 4)];
        factors.into_iter().find_map(|(workers, batch)| {
            let of = |knob| match knob {
                Knob::Workers => self.more_workers(look, workers),
                Knob::Batch => self.more_batch(look, batch),
            };
            of(self.first).or_else(|| of(self.first.other()))
        })
    }

    /// A larger batch, where batches are full and enough waits to fill larger ones.
    pub(super) fn more_batch(&self, look: &Look, factor: usize) -> Option<(Knob, Setting)> {
        let Setting { workers, batch } = self.set;
        let fills = self.window.inside() / workers as f64;
        if !look.auto.batch || self.window.batch() < 0.75 * batch as f64 || fills < 1.25 * batch as f64 {
            return None;
        }
        let most = look.most.batch.min((fills.ceil() as usize).next_power_of_two());
        let batch = self.longer(Knob::Batch, (batch * factor).min(most))?;
        Some((Knob::Batch, Setting { workers, batch }))
    }

    /// More workers, with batches that leave something for all of them.
    pub(super) fn more_workers(&self, look: &Look, factor: usize) -> Option<(Knob, Setting)> {
        if !look.auto.workers {
            return None;
        }
        let most = look.most.workers.min(self.window.inside().round() as usize);
        let workers = self.longer(Knob::Workers, (self.set.workers * factor).min(most))?;
        let share = (self.window.inside() / workers as f64) as usize;
        let batch = if look.auto.batch { self.set.batch.min(share.max(1)) } else { self.set.batch };
        Some((Knob::Workers, Setting { workers, batch }))
    }

    /// Smaller batches, where one takes so long that nothing else could be judged.
    fn less_batch(&self, look: &Look) -> Option<(Knob, Setting)> {
        let Setting { workers, batch } = self.set;
        let takes = self.window.service() / LONG_BATCH as f64;
        // Half as long as is too long.
        let less = ((self.window.batch() / takes / 2.0) as usize).max(1);
        let wanted = look.auto.batch && batch > 1 && takes > 1.0;
        (wanted && !self.has_failed(Knob::Batch, less)).then_some((Knob::Batch, Setting { workers, batch: less }))
    }

    /// Fewer workers with larger batches, where all that is there is in work already: the other way round from above.
    fn fewer_workers(&self, look: &Look) -> Option<(Knob, Setting)> {
        let Setting { workers, batch } = self.set;
        let (fewer, in_work) = (workers.div_ceil(4), (workers * batch) as f64);
        if !(look.auto.workers && look.auto.batch) || workers == 1 || self.window.inside() > 1.25 * in_work {
            return None;
        }
        let batch = (self.window.inside() / fewer as f64) as usize;
        let to = Setting { workers: fewer, batch: batch.clamp(1, look.most.batch) };
        (to.batch > self.set.batch && !self.has_failed(Knob::Workers, fewer)).then_some((Knob::Workers, to))
    }

    /// The value, where it is a step at all that has not failed.
    fn longer(&self, knob: Knob, value: usize) -> Option<usize> {
        (value * 4 >= knob.of(self.set) * 5 && !self.has_failed(knob, value)).then_some(value)
    }

    fn has_failed(&self, knob: Knob, value: usize) -> bool {
        // What is all but the same fails again.
        let near = |failed: &Failed| value * 3 < failed.value * 4 && failed.value * 3 < value * 4;
        let now = knob.of(self.set);
        let beyond = |failed: &Failed| {
            let is_between = |one: usize, other: usize| one < failed.value && failed.value < other;
            failed.harmful && (is_between(now, value) || is_between(value, now))
        };
        self.failed.iter().chain(&self.worse).any(|failed| failed.knob == knob && (near(failed) || beyond(failed)))
    }
}
