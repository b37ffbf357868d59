//! How many workers a stage should have and how large its batches should be, found by trying.
//!
//! A controller without threads and without a clock: whoever has a pipeline shows it a [`Look`] at each stage about ten
//! times a second, and makes the [`Step`] that it may answer. It uses no model of a stage. Where one is the limit (its
//! workers are always busy and more waits), another setting is put on trial, one stage at a time; what the stage then
//! gets done in 0.6 to 3 seconds, longer where its rate wavers, decides whether it stays. From success to success the
//! steps get longer, after a failure shorter. When nothing is left to try the stage is left alone, each time for longer,
//! until its load clearly changes. Workers that nobody has needed for long are taken away.
//!
//! `stage.rs` knows one stage and judges what was tried, `next.rs` says what to try, `window.rs` measures. Here is decided
//! whose turn it is.

mod next;
mod stage;
mod window;

use std::sync::Arc;

use crate::Glance;
use crate::topology::Auto;
use stage::Adapted;

/// The most workers that are tried for a stage whose work waits for a disk or the like.
pub const MOST_WAITING: usize = 64;
/// The most workers that are tried for one whose work is a processor's, for each core.
pub const MOST_A_CORE: usize = 2;
/// The largest batch that is tried. One four times as large saves next to nothing more and holds up what is behind it.
pub const MOST_BATCH: usize = 1_024;

/// What is found for a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Threads inside at once.
    pub workers: usize,
    /// Events taken in one go.
    pub batch: usize,
}

/// A stage as it is now. Sums are since the pipeline's start, times in nanoseconds.
#[derive(Debug, Clone)]
pub struct Look {
    /// The stage's name.
    pub name: Arc<str>,
    /// In force now.
    pub set: Setting,
    /// What of it is to be found; with neither, the stage is left alone.
    pub auto: Auto,
    /// The most that is tried.
    pub most: Setting,
    /// Events begun.
    pub events: u64,
    /// Batches ended.
    pub batches: u64,
    /// In batches, all workers together.
    pub busy_ns: u64,
    /// With work and without room.
    pub blocked_ns: u64,
    /// Now: events that wait or are worked on, without those held.
    pub inside: usize,
    /// Now: threads that are in it.
    pub at_work: usize,
}

impl Look {
    /// A stage at a glance. `cores`: of the machine; `waits`: whether its work waits for a disk or the like; `threads`: of
    /// the pool, where it shares one.
    pub fn at(glance: &Glance, auto: Auto, cores: usize, waits: bool, threads: Option<usize>) -> Look {
        let workers = if waits { MOST_WAITING } else { cores.max(1) * MOST_A_CORE };
        let most = Setting { workers: workers.min(threads.unwrap_or(usize::MAX)), batch: MOST_BATCH.min(glance.bound) };
        Look {
            name: glance.name.clone(),
            set: Setting { workers: glance.workers, batch: glance.batch },
            auto,
            most,
            events: glance.events,
            batches: glance.batches,
            busy_ns: glance.busy_ns,
            blocked_ns: glance.blocked_ns,
            inside: glance.depth.saturating_sub(glance.held),
            at_work: glance.inside,
        }
    }
}

/// What is to be done about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Set it, to see what comes of it.
    Try,
    /// Nothing is to be set: what was tried stays.
    Keep,
    /// Set it back: what was tried is not worth it.
    TakeBack,
    /// Set it: so many workers were not needed for long.
    Shrink,
}

/// A step, to be made before the next look.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The stage's name.
    pub stage: Arc<str>,
    /// What to do.
    pub act: Act,
    /// Before the step; of [`Act::Keep`], before the trial.
    pub from: Setting,
    /// After it.
    pub to: Setting,
    /// For people, with numbers, without a full stop.
    pub why: String,
}

/// The controller of a whole pipeline.
#[derive(Debug, Default)]
pub struct Adaptive {
    stages: Vec<Adapted>,
}

impl Adaptive {
    /// One that has seen nothing yet.
    pub fn new() -> Adaptive {
        Adaptive::default()
    }

    /// What to do now, if anything. `now`: nanoseconds on any clock that does not go back; `looks`: the stages, always in
    /// the same order. A setting that is another one than a step has left is somebody else's, and taken as it is.
    pub fn look(&mut self, now: u64, looks: &[Look]) -> Option<Step> {
        if self.stages.len() != looks.len() {
            self.stages = looks.iter().map(Adapted::new).collect();
        }
        for (stage, look) in self.stages.iter_mut().zip(looks) {
            stage.see(now, look);
        }
        let mut each = self.stages.iter_mut().zip(looks);
        if let Some((stage, look)) = each.find(|(stage, _)| stage.on_trial()) {
            return stage.judge(now, look);
        }
        let each = || self.stages.iter().zip(looks).enumerate();
        // Of those that are the limit, the one with the most before it: what is behind a limit has little.
        let limits = each().filter(|(_, (stage, look))| stage.wants(now, look).is_some());
        let first = limits.max_by(|(_, (one, _)), (_, (other, _))| one.inside().total_cmp(&other.inside()));
        if let Some((i, (_, look))) = first {
            return self.stages[i].begin(now, look);
        }
        self.stages.iter_mut().zip(looks).find_map(|(stage, look)| stage.rest(now, look))
    }

    /// The step that was answered last could not be made: what it wanted is not possible.
    pub fn refused(&mut self, stage: &str) {
        if let Some(stage) = self.stages.iter_mut().find(|adapted| adapted.is(stage)) {
            stage.refused();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Setting = Setting { workers: 1, batch: 1 };

    pub(super) fn look() -> Look {
        Look {
            name: "disk".into(),
            set: ONE,
            auto: Auto { workers: true, batch: true },
            most: Setting { workers: 8, batch: 64 },
            events: 0,
            batches: 0,
            busy_ns: 0,
            blocked_ns: 0,
            inside: 100,
            at_work: 0,
        }
    }

    const TICK: u64 = 100_000_000;

    /// Shows it a stage that does so many events a tick, until it takes a step or some time is over.
    fn until_a_step(controller: &mut Adaptive, look: &mut Look, now: &mut u64, a_tick: u64) -> Option<Step> {
        (0..400).find_map(|_| {
            *now += TICK;
            look.events += a_tick;
            look.batches += a_tick.div_ceil(look.set.batch as u64);
            look.busy_ns += TICK * look.set.workers as u64;
            let step = controller.look(*now, std::slice::from_ref(look))?;
            if step.act != Act::Keep {
                look.set = step.to;
            }
            Some(step)
        })
    }

    #[test]
    fn what_is_better_stays_and_what_is_not_is_taken_back() {
        let (mut controller, mut look, mut now) = (Adaptive::new(), look(), 0);
        let step = until_a_step(&mut controller, &mut look, &mut now, 100).unwrap();
        assert_eq!((step.act, step.to), (Act::Try, Setting { workers: 1, batch: 2 }));
        assert!(step.why.contains("100 events") && step.why.contains("1,000/s"), "{}", step.why);
        let step = until_a_step(&mut controller, &mut look, &mut now, 190).unwrap();
        assert_eq!((step.act, step.to), (Act::Keep, Setting { workers: 1, batch: 2 }));
        assert_eq!(step.why, "disk did 1,000/s with batch 1 and 1,900/s with batch 2");
        let step = until_a_step(&mut controller, &mut look, &mut now, 190).unwrap();
        assert_eq!((step.act, step.to.batch), (Act::Try, 8), "a longer step");
        let step = until_a_step(&mut controller, &mut look, &mut now, 190).unwrap();
        assert_eq!((step.act, step.to.batch), (Act::TakeBack, 2));
        assert_eq!(step.why, "disk did 1,900/s with batch 2 and 1,900/s with batch 8: not worth it");
    }

    #[test]
    fn only_what_is_to_be_found_is_touched() {
        for auto in [Auto { workers: true, batch: false }, Auto { workers: false, batch: true }] {
            let (mut controller, mut look, mut now) = (Adaptive::new(), Look { auto, ..look() }, 0);
            loop {
                // The more of it, the more it does.
                let a_tick = 100 * (look.set.workers * look.set.batch) as u64;
                let Some(step) = until_a_step(&mut controller, &mut look, &mut now, a_tick) else { break };
                assert!(auto.workers || step.to.workers == 1, "{step:?}");
                assert!(auto.batch || step.to.batch == 1, "{step:?}");
                if now > 30 * 10 * TICK {
                    break;
                }
            }
            assert_ne!(look.set, ONE);
        }
        let mut fixed = Look { auto: Auto::default(), ..look() };
        assert_eq!(until_a_step(&mut Adaptive::new(), &mut fixed, &mut 0, 100), None);
    }

    #[test]
    fn who_has_no_backlog_or_no_room_is_left_alone() {
        let mut idle = Look { inside: 1, ..look() };
        assert_eq!(until_a_step(&mut Adaptive::new(), &mut idle, &mut 0, 100), None);
        let (mut controller, mut blocked) = (Adaptive::new(), look());
        for n in 1..100 {
            (blocked.events, blocked.batches, blocked.busy_ns) = (n * 100, n * 100, n * TICK);
            blocked.blocked_ns = n * TICK / 2;
            assert_eq!(controller.look(n * TICK, &[blocked.clone()]), None);
        }
    }

    #[test]
    fn what_somebody_else_sets_stays_and_what_is_refused_is_not_asked_again() {
        let (mut controller, mut look, mut now) = (Adaptive::new(), look(), 0);
        until_a_step(&mut controller, &mut look, &mut now, 100).unwrap();
        look.set = Setting { workers: 3, batch: 5 };
        let step = until_a_step(&mut controller, &mut look, &mut now, 100).unwrap();
        assert_eq!((step.act, step.from), (Act::Try, Setting { workers: 3, batch: 5 }));
        look.set = step.from;
        controller.refused("disk");
        let other = until_a_step(&mut controller, &mut look, &mut now, 100).unwrap();
        assert_ne!(other.to, step.to);
    }

    #[test]
    fn a_load_that_goes_away_decides_nothing() {
        let (mut controller, mut look, mut now) = (Adaptive::new(), look(), 0);
        until_a_step(&mut controller, &mut look, &mut now, 100).unwrap();
        look.inside = 0;
        let step = until_a_step(&mut controller, &mut look, &mut now, 3).unwrap();
        assert_eq!((step.act, step.to), (Act::TakeBack, ONE));
        assert!(step.why.contains("went away"), "{}", step.why);
    }
}
