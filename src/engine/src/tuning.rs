//! Changes of a topology whose graph stays: what may be changed while events flow, and how it is said.
//!
//! Only values. How a change comes into force is in `core.rs` and `pipeline.rs`.

use std::time::Duration;

use crate::{Place, Policy, PoolSettings, Problem, StageSettings, Topology};

/// A change of a stage. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StagePatch {
    /// The pool that serves it: a shared one, or `Some(None)` for its own.
    pub pool: Option<Option<String>>,
    /// Threads that may be inside at once; a pool of its own is resized with it.
    pub workers: Option<usize>,
    /// Events a thread takes in one go.
    pub batch: Option<usize>,
    /// Events that may be waiting, worked on and held.
    pub bound: Option<usize>,
    /// What happens when it is full.
    pub policy: Option<Policy>,
    /// The wait above which the door begins to close.
    pub delay_target: Option<Duration>,
    /// How often that is decided.
    pub delay_interval: Option<Duration>,
    /// The share of the bound for one key.
    pub key_share: Option<f64>,
    /// Overlapping events of one key.
    pub window: Option<usize>,
    /// Whether the number of workers is found while it runs.
    pub auto_workers: Option<bool>,
    /// The same for the batch.
    pub auto_batch: Option<bool>,
}

/// A change of a pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolPatch {
    /// How many threads; the stage of a pool of its own is resized with it.
    pub workers: Option<usize>,
    /// How long a thread without work looks for some before it parks; a stage's own pool never does.
    pub spin: Option<Duration>,
    /// Whether those who hand events in help it; nobody helps a stage's own pool.
    pub helped: Option<bool>,
}

/// Each field's value in `to`, where it differs in `from`.
fn other<T: PartialEq + Clone>(from: &T, to: &T) -> Option<T> {
    (from != to).then(|| to.clone())
}

impl StagePatch {
    /// What makes `to` of `from`.
    pub fn between(from: &StageSettings, to: &StageSettings) -> StagePatch {
        // A number that is found may be another one by the time that the patch is applied.
        let number = |is_same: bool, from: usize, to: usize| if is_same { other(&from, &to) } else { Some(to) };
        StagePatch {
            pool: other(&from.pool, &to.pool),
            workers: number(from.auto.workers == to.auto.workers, from.workers, to.workers),
            batch: number(from.auto.batch == to.auto.batch, from.batch, to.batch),
            bound: other(&from.bound, &to.bound),
            policy: other(&from.policy, &to.policy),
            delay_target: other(&from.delay_target, &to.delay_target),
            delay_interval: other(&from.delay_interval, &to.delay_interval),
            key_share: other(&from.key_share, &to.key_share),
            window: other(&from.window, &to.window),
            auto_workers: other(&from.auto.workers, &to.auto.workers),
            auto_batch: other(&from.auto.batch, &to.auto.batch),
        }
    }

    fn apply(self, settings: &mut StageSettings) {
        settings.pool = self.pool.unwrap_or(settings.pool.take());
        settings.workers = self.workers.unwrap_or(settings.workers);
        settings.batch = self.batch.unwrap_or(settings.batch);
        settings.bound = self.bound.unwrap_or(settings.bound);
        settings.policy = self.policy.unwrap_or(settings.policy);
        settings.delay_target = self.delay_target.unwrap_or(settings.delay_target);
        settings.delay_interval = self.delay_interval.unwrap_or(settings.delay_interval);
        settings.key_share = self.key_share.unwrap_or(settings.key_share);
        settings.window = self.window.unwrap_or(settings.window);
        settings.auto.workers = self.auto_workers.unwrap_or(settings.auto.workers);
        settings.auto.batch = self.auto_batch.unwrap_or(settings.auto.batch);
    }
}

impl PoolPatch {
    /// What makes `to` of `from`.
    pub fn between(from: &PoolSettings, to: &PoolSettings) -> PoolPatch {
        PoolPatch {
            workers: other(&from.workers, &to.workers),
            spin: other(&from.spin, &to.spin),
            helped: other(&from.helped, &to.helped),
        }
    }

    fn apply(self, settings: &mut PoolSettings) {
        settings.workers = self.workers.unwrap_or(settings.workers);
        settings.spin = self.spin.unwrap_or(settings.spin);
        settings.helped = self.helped.unwrap_or(settings.helped);
    }
}

impl Topology {
    /// The same with a stage changed. An error where there is no such stage; whether the result is good is not asked.
    pub fn with_stage(&self, name: &str, patch: StagePatch) -> Result<Topology, Problem> {
        let mut changed = self.clone();
        let Some(stage) = changed.stages.iter_mut().find(|stage| stage.name == name) else {
            return Err(unknown(Place::Stage { stage: name.to_owned(), field: "name" }, "stage", name));
        };
        patch.apply(stage);
        Ok(changed)
    }

    /// The same with a pool changed, be it a shared one or a stage's own. An error where there is no such pool, or the
    /// pool is a stage's own and has not what is to be changed.
    pub fn with_pool(&self, name: &str, patch: PoolPatch) -> Result<Topology, Problem> {
        let mut changed = self.clone();
        if let Some(pool) = changed.pools.iter_mut().find(|pool| pool.name == name) {
            patch.apply(pool);
            return Ok(changed);
        }
        let own = changed.stages.iter_mut().find(|stage| stage.pool.is_none() && stage.name == name);
        let Some(stage) = own else {
            return Err(unknown(Place::Pool { pool: name.to_owned(), field: "name" }, "pool", name));
        };
        let field = if patch.spin.is_some() { Some("spin") } else { patch.helped.map(|_| "helped") };
        if let Some(field) = field {
            let place = Place::Pool { pool: name.to_owned(), field };
            let reason = "only a shared pool has this".to_owned();
            return Err(Problem { place, reason, help: "name a pool in the stage".to_owned() });
        }
        if let Some(workers) = patch.workers {
            (stage.workers, stage.auto.workers) = (workers, false);
        }
        Ok(changed)
    }

    /// This topology with all that `before` and `after` differ in as it was in `before`; what one of them lacks stays.
    pub fn undone(&self, before: &Topology, after: &Topology) -> Topology {
        let mut back = self.clone();
        for stage in &mut back.stages {
            if let (Some(before), Some(after)) = (before.stage(&stage.name), after.stage(&stage.name)) {
                StagePatch::between(after, before).apply(stage);
            }
        }
        for pool in &mut back.pools {
            let find = |of: &'_ Topology| of.pools.iter().find(|other| other.name == pool.name).cloned();
            if let (Some(before), Some(after)) = (find(before), find(after)) {
                PoolPatch::between(&after, &before).apply(pool);
            }
        }
        back
    }
}

/// Stages, their bindings and the names of pools are what threads, lanes and queues were made for.
pub(crate) fn refuse_another_graph(running: &Topology, wanted: &Topology) -> Result<(), Vec<Problem>> {
    let help = || "restart for that".to_owned();
    let mut problems = Vec::new();
    for (now, then) in running.stages.iter().zip(&wanted.stages) {
        if (&now.name, &now.module, &now.to) != (&then.name, &then.module, &then.to) {
            let place = Place::Stage { stage: now.name.clone(), field: "to" };
            problems.push(Problem {
                place,
                reason: "the graph cannot change in a running pipeline".to_owned(),
                help: help(),
            });
        }
    }
    let names = |of: &Topology| of.pools.iter().map(|pool| pool.name.clone()).collect::<Vec<_>>();
    if running.stages.len() != wanted.stages.len() || names(running) != names(wanted) {
        let place = Place::Pool { pool: names(wanted).join(", "), field: "name" };
        problems.push(Problem {
            place,
            reason: "stages and pools neither come nor go in a running pipeline".to_owned(),
            help: help(),
        });
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

pub(crate) fn unknown(place: Place, what: &str, name: &str) -> Problem {
    Problem { place, reason: format!("there is no {what} {name:?}"), help: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        Topology {
            stages: vec![StageSettings::new("first").to("next", "second"), StageSettings::new("second")],
            pools: vec![PoolSettings::new("common", 2)],
        }
    }

    #[test]
    fn what_was_changed_is_undone_and_nothing_else() {
        let before = topology();
        let patch = StagePatch { batch: Some(7), pool: Some(Some("common".to_owned())), ..StagePatch::default() };
        let after = before.with_stage("first", patch).unwrap();
        let later = after.with_stage("first", StagePatch { bound: Some(99), ..StagePatch::default() }).unwrap();
        let later = later.with_pool("common", PoolPatch { workers: Some(5), ..PoolPatch::default() }).unwrap();
        let back = later.undone(&before, &after);
        assert_eq!((back.stages[0].batch, &back.stages[0].pool, back.stages[0].bound), (64, &None, 99));
        assert_eq!(back.pools[0].workers, 5);
        assert_eq!(back.undone(&after, &later), before);
    }

    #[test]
    fn a_patch_between_two_makes_one_of_the_other() {
        let (from, mut to) = (StageSettings::new("first"), StageSettings::new("first"));
        (to.policy, to.window, to.key_share) = (Policy::Shed, 3, 0.5);
        to.auto.batch = true;
        let mut made = from.clone();
        StagePatch::between(&from, &to).apply(&mut made);
        assert_eq!(made, to);
        assert_eq!(StagePatch::between(&to, &to), StagePatch::default());
    }

    #[test]
    fn another_graph_is_refused() {
        let running = topology();
        assert_eq!(refuse_another_graph(&running, &running), Ok(()));
        let mut wanted = topology();
        wanted.stages[0].to.clear();
        assert_eq!(refuse_another_graph(&running, &wanted).unwrap_err().len(), 1);
        wanted = topology();
        wanted.stages.pop();
        wanted.pools.push(PoolSettings::new("more", 1));
        assert_eq!(refuse_another_graph(&running, &wanted).unwrap_err().len(), 1);
    }
}
