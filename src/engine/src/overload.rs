//! What the pipeline does about overload: twice an interval's decision, and many times a look in between.
//!
//! *Once an interval* the stages' readings and the door's counts go through the controller, which says how much may be
//! let in; the admission says who that is. This holds the queue short while a crowd lasts. *In between* the door looks,
//! for every few events, how long what waits on the line will take: before the controller knows of a crowd, and while a
//! stage stands still, that alone bounds the wait.
//!
//! `delay.rs` has a stage's readings, `controller.rs` the arithmetic, `admission.rs` the classes and users.

use crate::Event;
use crate::admission::{Admission, Crowd};
use crate::controller::{Controller, Interval};
use crate::core::{Core, StageCore};
use crate::sync::lock;

/// What is known from one decision to the next. Only whoever decides has it.
pub(crate) struct Decisions {
    controller: Controller,
    crowd: Crowd,
    /// When the present interval began, and how many waited before each stage then.
    since: u64,
    depths: Vec<usize>,
    refusing: bool,
}

impl Decisions {
    pub fn new() -> Decisions {
        let controller = Controller::default();
        Decisions { controller, crowd: Crowd::new(), since: 0, depths: Vec::new(), refusing: false }
    }
}

/// How long the work that waits before a stage may take, in quarters of its target: a burst may wait a while, but not on
/// top of too much.
const BURST: u64 = 10;
const LATE: u64 = 6;

/// An interval grows while a stage that has work finishes none of it: a batch may take longer than an interval. One that
/// grows to more than so many times its length says that the stage stood still, and nothing about what it can do.
const LONGEST: u64 = 4;

impl<E: Event> Core<E> {
    fn on_line(&self) -> impl Iterator<Item = &StageCore<E>> {
        self.stages.iter().filter(|stage| stage.on_line)
    }

    /// Lets the controller decide when an interval is over: the shortest of the stages on the line.
    pub fn tick(&self, now: u64) {
        let mut decisions = lock(&self.decisions);
        let Some(length) = self.on_line().map(|stage| stage.delay.interval()).min() else { return };
        let ns = now.saturating_sub(decisions.since);
        let stands_still = |stage: &StageCore<E>| stage.delay.is_unread() && stage.waiting() > 0;
        if ns < length || self.on_line().any(stands_still) {
            return;
        }
        let Decisions { controller, crowd, since, depths, refusing } = &mut *decisions;
        *since = now;
        self.admission.count(crowd);
        let waiting = self.on_line().map(StageCore::waiting).collect();
        let before = std::mem::replace(depths, waiting);
        let intervals = self.on_line().enumerate().filter_map(|(i, stage)| {
            let reading = stage.delay.read();
            let target = stage.delay.target() as f64;
            Some(Interval {
                ns,
                wait: reading.least? as f64 / target,
                target: target / ns as f64,
                full: reading.full,
                grown: depths[i] as i64 - before.get(i).copied().unwrap_or(0) as i64,
                admitted: crowd.admitted,
                refusing: *refusing,
            })
        });
        let worst = intervals.max_by(|one, other| one.wait.total_cmp(&other.wait));
        if ns > LONGEST * length {
            return; // all as it is: the look in between keeps out what would wait
        }
        let wanted = worst.and_then(|worst| controller.decide(worst));
        *refusing = crowd.let_in(&self.admission, wanted, ns);
        self.admission.set_late(wanted.is_some());
    }

    /// Looks how much work waits on the line, and keeps out the classes for which it is too much.
    pub fn look(&self) {
        let quarters = |stage: &StageCore<E>| match stage.waiting() as u64 {
            0 => 0,
            waiting => stage.delay.quarters(waiting.saturating_sub(stage.in_work())),
        };
        let longest = self.on_line().map(quarters).max().unwrap_or(0);
        let most = if self.admission.is_late() { LATE } else { BURST };
        self.admission.keep_out(match longest {
            few if few < most / 2 => Admission::NOBODY,
            few if few < most * 3 / 4 => 3,
            few if few < most => 2,
            _ => 1,
        });
    }
}
