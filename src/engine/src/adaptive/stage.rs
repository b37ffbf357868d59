//! One stage: whether it is the limit, what came of what was tried, and how long to leave it alone then. What to try
//! is in `next.rs`.

use std::sync::Arc;

use super::next::{Failed, Knob};
use super::window::Window;
use super::{Act, Look, Setting, Step};
use crate::topology::Auto;

const SECOND: u64 = 1_000_000_000;
/// After a change, until what had begun before it is done: so long, or two batches, at most a second.
const SETTLE: u64 = SECOND / 10;
/// A rate is believed after so long, or eight batches, and not looked at for longer than a trial may take.
const ENOUGH: u64 = SECOND * 6 / 10;
const LONGEST: u64 = 3 * SECOND;
/// Batches without which nothing is known of a stage.
const FEWEST: f64 = 2.0;
/// A step is kept when the stage then does so many times as much.
const WORTH: f64 = 1.03;
/// While something else is left to try, one that has brought nothing so far is given up when it hardly brings more than this.
const HASTE: f64 = 1.2;
/// A step that does harm is taken back at once, and none that goes farther is tried.
const HARM: f64 = 0.8;
const AT_ONCE: u64 = SECOND * 3 / 10;
/// Of smaller batches, so little less is enough.
const NO_LESS: f64 = 0.95;
/// The workers' share of time at work from which on a stage may be the limit.
const BUSY: f64 = 0.85;
/// The share of time without room from which on another stage is.
const BLOCKED: f64 = 0.3;
/// How long a stage is left alone when nothing is left to try; each time so many times as long.
const FIRST_REST: u64 = 30 * SECOND;
const MORE_REST: u64 = 3;
const LONGEST_REST: u64 = 3_600 * SECOND;
/// While it is left alone, over how long it is looked at, and what is another load: a rate so many times as high, or low.
const WATCH: u64 = 2 * SECOND;
const CHANGED: f64 = 1.3;
/// How soon after the last change of load another one counts; twice as long each time that nothing better came of it.
const FIRST_CALM: u64 = 10 * SECOND;
/// Workers of which half were idle for so long, at every moment, are taken away.
const FIRST_IDLE: u64 = 30 * SECOND;
const LONGEST_IDLE: u64 = 3_600 * SECOND;

#[derive(Debug)]
struct Trial {
    from: Setting,
    knob: Knob,
    /// Of the setting before.
    base: Window,
}

#[derive(Debug)]
pub(super) struct Adapted {
    name: Arc<str>,
    pub(super) set: Setting,
    /// What of it is to be found.
    auto: Auto,
    /// Of the present setting, without a trial at most `WATCH` or so old.
    pub(super) window: Window,
    settled: u64,
    trial: Option<Trial>,
    /// Which is tried first, and how long the steps are.
    pub(super) first: Knob,
    pub(super) factors: (usize, usize),
    /// Between where it is and where it came from in a long step that brought little.
    pub(super) between: Option<Setting>,
    pub(super) failed: Vec<Failed>,
    /// What it was before the last step that was kept.
    pub(super) worse: Option<Failed>,
    rest: Rest,
    idle: Idle,
}

/// When it is left alone.
#[derive(Debug)]
struct Rest {
    until: u64,
    length: u64,
    /// What the stage did when it was left alone: events a second.
    rate: Option<f64>,
    /// Windows in a row in which it did clearly something else.
    other: u32,
    calm: u64,
    calm_until: u64,
    /// A step was kept since the load changed.
    better: bool,
}

/// What is known of workers that nobody needs.
#[derive(Debug)]
struct Idle {
    since: Option<u64>,
    most_busy: f64,
    length: u64,
    shrunk: Option<u64>,
}

impl Adapted {
    pub fn new(look: &Look) -> Adapted {
        Adapted {
            name: look.name.clone(),
            set: look.set,
            auto: look.auto,
            window: Window::default(),
            settled: 0,
            trial: None,
            first: Knob::Batch,
            factors: (2, 2),
            between: None,
            failed: Vec::new(),
            worse: None,
            rest: Rest {
                until: 0,
                length: FIRST_REST,
                rate: None,
                other: 0,
                calm: FIRST_CALM,
                calm_until: 0,
                better: false,
            },
            idle: Idle { since: None, most_busy: 0.0, length: FIRST_IDLE, shrunk: None },
        }
    }

    pub fn is(&self, name: &str) -> bool {
        *self.name == *name
    }

    pub fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    pub fn inside(&self) -> f64 {
        self.window.inside()
    }

    /// Takes a look in.
    pub fn see(&mut self, now: u64, look: &Look) {
        if (look.set, look.auto) != (self.set, self.auto) {
            *self = Adapted::new(look);
        }
        if now < self.settled {
            self.window.clear();
        } else {
            self.window.add(now, look);
        }
        if self.trial.is_none() {
            self.watch_idle(now, look);
            self.watch_load(now, look);
            let has_seen_some = self.window.ended() >= FEWEST || self.window.span() > 10 * LONGEST;
            if self.window.span() > LONGEST && has_seen_some {
                self.window.clear();
            }
        }
    }

    fn enough(&self) -> bool {
        self.window.ended() >= FEWEST
            && self.window.span() >= ((self.window.service() * 8.0) as u64).clamp(ENOUGH, LONGEST)
    }

    /// Whether it has more before it than it can do, and it is not another stage's fault.
    fn is_limit(&self) -> bool {
        let workers = self.set.workers as f64;
        let window = &self.window;
        // Large batches may leave nothing for the others.
        let able = (window.inside() / self.set.batch as f64).clamp(1.0, workers);
        self.enough() && window.busy() >= BUSY * able && window.inside() >= 1.25 * workers && window.blocked() < BLOCKED
    }

    /// What is to be tried now.
    pub fn wants(&self, now: u64, look: &Look) -> Option<Setting> {
        if now < self.rest.until || !self.is_limit() {
            return None;
        }
        self.next(look).map(|(_, to)| to)
    }

    /// Begins the trial of what is wanted.
    pub fn begin(&mut self, now: u64, look: &Look) -> Option<Step> {
        let (knob, to) = self.next(look)?;
        self.between = None;
        let window = &self.window;
        let busy = (window.busy() / self.set.workers as f64 * 100.0).min(100.0);
        let who = if self.set.workers == 1 { "its worker" } else { "its workers" };
        let why = format!(
            "{} had {} events in it and {who} busy {busy:.0} % of the time, at {}/s: a trial",
            self.name,
            thousands(window.inside()),
            thousands(window.rate()),
        );
        let trial = Trial { from: self.set, knob, base: std::mem::take(&mut self.window) };
        self.settle(now, trial.base.service());
        let step = self.step(Act::Try, self.set, to, why);
        self.trial = Some(trial);
        Some(step)
    }

    fn step(&mut self, act: Act, from: Setting, to: Setting, why: String) -> Step {
        self.set = to;
        Step { stage: self.name.clone(), act, from, to, why }
    }

    /// What is measured begins when what had begun before is done.
    fn settle(&mut self, now: u64, service: f64) {
        self.settled = now + (service as u64 * 2).clamp(SETTLE, SECOND);
        self.window.clear();
    }

    /// Decides on the trial, when it can be decided.
    pub fn judge(&mut self, now: u64, look: &Look) -> Option<Step> {
        let trial = self.trial.take()?;
        let (window, base) = (&self.window, &trial.base);
        let gain = window.rate() / base.rate().max(1e-9);
        let error = gain * window.error().hypot(base.error());
        let over = window.span() >= LONGEST;
        let enough = self.enough() || over;
        let at_once = window.span() >= AT_ONCE.max((window.service() * 4.0) as u64);
        let harmful = at_once && gain + 3.0 * error < HARM;
        if !enough && !harmful {
            self.trial = Some(trial);
            return None;
        }
        let (before, after) = (of_knob(trial.from, self.set, trial.from), of_knob(trial.from, self.set, self.set));
        let did = format!(
            "{} did {}/s with {before} and {}/s with {after}",
            self.name,
            thousands(base.rate()),
            thousands(window.rate()),
        );
        if window.inside() * 4.0 < base.inside() {
            let inside = [base, window].map(|window| thousands(window.inside()));
            if gain >= NO_LESS {
                let why = format!("{did}, and of {} events in it {} are left", inside[0], inside[1]);
                return Some(self.keep(now, trial, gain, why));
            }
            self.rest.until = now + FIRST_CALM;
            let why = format!("{did}: the load went away before it could be judged");
            return Some(self.take_back(now, look, trial, why));
        }
        let smaller = self.set.batch < trial.from.batch && self.set.workers == trial.from.workers;
        let better = match smaller {
            true => gain + error >= NO_LESS && !harmful,
            false => gain - 2.0 * error >= WORTH || over && gain >= WORTH && gain - error >= 1.0,
        };
        if better {
            return Some(self.keep(now, trial, gain, did));
        }
        let hasty = self.has_other(look, trial.knob) && gain < WORTH && gain + 2.0 * error < HASTE;
        if gain + 2.0 * error < WORTH || over || harmful || smaller || hasty {
            self.failed.push(Failed { knob: trial.knob, value: trial.knob.of(self.set), harmful: gain < HARM });
            let why = format!("{did}: not worth it");
            return Some(self.take_back(now, look, trial, why));
        }
        self.trial = Some(trial);
        None
    }

    /// Whether the other kind of step was not tried yet.
    fn has_other(&self, look: &Look, knob: Knob) -> bool {
        let is_possible = match knob {
            Knob::Workers => self.more_batch(look, 2).is_some(),
            Knob::Batch => self.more_workers(look, 2).is_some(),
        };
        is_possible && self.failed.iter().all(|failed| failed.knob == knob)
    }

    fn keep(&mut self, now: u64, trial: Trial, gain: f64, why: String) -> Step {
        let (from, to) = (trial.from, self.set);
        let factor = trial.knob.of(to) as f64 / trial.knob.of(from) as f64;
        // Where most of a step came through, the next one may be longer.
        let next = if gain >= 1.0 + 0.6 * (factor - 1.0) { 4 } else { 2 };
        match trial.knob {
            Knob::Workers => self.factors.0 = next,
            Knob::Batch => self.factors.1 = next,
        }
        // A long step that brought little may have gone past the best.
        let middle = |from: usize, to: usize| ((from * to) as f64).sqrt().round() as usize;
        self.between = (factor > 3.0 && gain < 0.5 * factor).then(|| match trial.knob {
            Knob::Workers => Setting { workers: middle(from.workers, to.workers), ..to },
            Knob::Batch => Setting { batch: middle(from.batch, to.batch), ..to },
        });
        self.failed.clear();
        // Not back where it came from; smaller batches were not better, so that nothing between is either.
        let smaller = trial.knob == Knob::Batch && to.batch < from.batch;
        let value = if smaller { to.batch + 1 } else { trial.knob.of(from) };
        self.worse = Some(Failed { knob: trial.knob, value, harmful: true });
        self.first = if smaller { Knob::Workers } else { trial.knob };
        (self.rest.length, self.rest.calm, self.rest.better) = (FIRST_REST, FIRST_CALM, true);
        self.rest.rate = None;
        if self.idle.shrunk.is_some_and(|shrunk| now < shrunk + 4 * self.idle.length) {
            self.idle.length = (self.idle.length * 2).min(LONGEST_IDLE);
        }
        self.idle.shrunk = None;
        self.step(Act::Keep, from, to, why)
    }

    fn take_back(&mut self, now: u64, look: &Look, trial: Trial, why: String) -> Step {
        match trial.knob {
            Knob::Workers => self.factors.0 = 2,
            Knob::Batch => self.factors.1 = 2,
        }
        let service = self.window.service();
        let step = self.step(Act::TakeBack, self.set, trial.from, why);
        self.window = trial.base;
        if now >= self.rest.until && self.next(look).is_none() {
            self.leave_alone(now);
        }
        self.settle(now, service);
        step
    }

    /// Nothing is left to try.
    fn leave_alone(&mut self, now: u64) {
        let rest = &mut self.rest;
        rest.until = now + rest.length;
        rest.length = (rest.length * MORE_REST).min(LONGEST_REST);
        (rest.rate, rest.other) = (Some(self.window.rate()), 0);
        if !std::mem::take(&mut rest.better) {
            rest.calm = (rest.calm * 2).min(LONGEST_REST);
        }
        rest.calm_until = now + rest.calm;
        // Next time, what failed first is tried again, and nothing else.
        if !self.failed.is_empty() {
            self.failed.remove(0);
        }
    }

    /// Whether the load is another one than that for which all else was tried in vain.
    fn watch_load(&mut self, now: u64, look: &Look) {
        if self.window.span() < WATCH || !self.is_limit() {
            return;
        }
        if let Some(rate) = self.rest.rate {
            let times = self.window.rate() / rate.max(1e-9);
            self.rest.other = if (1.0 / CHANGED..CHANGED).contains(&times) { 0 } else { self.rest.other + 1 };
            if self.rest.other >= 2 && now >= self.rest.calm_until {
                (self.rest.until, self.rest.length, self.rest.rate) = (now, FIRST_REST, None);
                self.failed.clear();
                self.worse = None;
            }
            self.window.clear();
        } else if self.next(look).is_none() {
            // The limit, and nothing that could be tried: this is the load that it is for.
            (self.rest.rate, self.rest.other) = (Some(self.window.rate()), 0);
        }
    }

    fn watch_idle(&mut self, now: u64, look: &Look) {
        if self.set.workers == 1 || !look.auto.workers {
            self.idle.since = None;
        } else if self.window.span() >= ENOUGH {
            let busy = self.window.busy();
            if 2.0 * busy > self.set.workers as f64 {
                self.idle.since = None;
            } else if self.idle.since.is_some() {
                self.idle.most_busy = self.idle.most_busy.max(busy);
            } else {
                (self.idle.since, self.idle.most_busy) = (Some(now), busy);
            }
        }
    }

    /// Takes workers away that nobody has needed for long.
    pub fn rest(&mut self, now: u64, look: &Look) -> Option<Step> {
        let since = self.idle.since.filter(|since| now >= since + self.idle.length && look.auto.workers)?;
        let busy = self.idle.most_busy;
        // What is left is busy two thirds of the time at most.
        let workers = ((busy * 1.5).ceil() as usize).max(1);
        self.idle.since = None;
        if workers >= self.set.workers {
            return None;
        }
        let why = format!(
            "in {} s never more than {busy:.1} of the {} workers of {} were busy",
            (now - since) / SECOND,
            self.set.workers,
            self.name,
        );
        self.idle.shrunk = Some(now);
        self.failed.clear();
        self.worse = None;
        let service = self.window.service();
        let step = self.step(Act::Shrink, self.set, Setting { workers, ..self.set }, why);
        self.settle(now, service);
        Some(step)
    }

    /// What was tried last is not possible.
    pub fn refused(&mut self) {
        if let Some(trial) = self.trial.take() {
            self.failed.push(Failed { knob: trial.knob, value: trial.knob.of(self.set), harmful: false });
            self.set = trial.from;
        }
    }
}

/// What of a setting two of them differ in.
fn of_knob(from: Setting, to: Setting, of: Setting) -> String {
    let workers = || if of.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", of.workers) };
    match (from.workers == to.workers, from.batch == to.batch) {
        (true, _) => format!("batch {}", of.batch),
        (false, true) => workers(),
        (false, false) => format!("{} and batch {}", workers(), of.batch),
    }
}

/// 1048576.4 as 1,048,576.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
