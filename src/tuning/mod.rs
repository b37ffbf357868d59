//! Changes of the running server: made one at a time, remembered with who made them and what came of them, taken back.
//!
//! Owns the log of changes (`log`), the figures around each (`figures`) and what is read from and written to the
//! configuration file (`file`). Must not know how a stage or a pool carries out what it is told.

mod figures;
mod file;
mod log;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_config::{Config, IN_FLIGHT};
use tidegate_engine::{Act, Pipeline, PoolPatch, Problem, StagePatch, Step, Topology};
use tidegate_http::{Amount, Change, How, Policy, Refused, Saved, Setting, WebhookHooks, Wish};
use tidegate_stages::event::Event;

use figures::Deliveries;
use log::Log;

pub struct Tuner {
    pipeline: Arc<Pipeline<Event>>,
    hooks: Arc<WebhookHooks>,
    /// The stage that everything comes in by.
    entry: String,
    state: Mutex<State>,
}

struct State {
    /// As it was loaded, but for `in_flight`, which is in force; what is in force of its topology, the pipeline knows.
    config: Config,
    /// The file that it was loaded from, and its text then.
    file: Option<(PathBuf, String)>,
    log: Log,
    deliveries: Deliveries,
}

/// All that can be changed while the server runs.
#[derive(Clone, Default)]
struct Running {
    topology: Topology,
    /// As `Config::in_flight`.
    in_flight: Vec<(String, usize)>,
}

impl Running {
    /// This with all that `before` and `after` differ in as it was in `before`.
    fn undone(&self, before: &Running, after: &Running) -> Running {
        let calls =
            |of: &Running, stage: &str| of.in_flight.iter().find(|(name, _)| name == stage).map(|(_, calls)| *calls);
        let mut back = Running { topology: self.topology.undone(&before.topology, &after.topology), ..self.clone() };
        for (stage, now) in &mut back.in_flight {
            if let (Some(before), Some(after)) = (calls(before, stage), calls(after, stage))
                && before != after
            {
                *now = before;
            }
        }
        back
    }

    /// This with a stage's calls at once changed.
    fn with_calls(mut self, stage: &str, calls: usize) -> Result<Running, Refused> {
        if !IN_FLIGHT.contains(&calls) {
            let (least, most) = (IN_FLIGHT.start(), IN_FLIGHT.end());
            return Err(Refused::Impossible(format!("in_flight is {calls}; {least} to {most}")));
        }
        let known = self.in_flight.iter_mut().find(|(name, _)| name == stage);
        let (_, now) =
            known.ok_or_else(|| Refused::Impossible(format!("{stage} has no in_flight: it calls nobody")))?;
        *now = calls;
        Ok(self)
    }
}

impl Tuner {
    /// `file`: where `config` was read from, and what it said.
    pub fn new(
        pipeline: Arc<Pipeline<Event>>,
        hooks: Arc<WebhookHooks>,
        config: Config,
        file: Option<(PathBuf, String)>,
    ) -> Self {
        let entry = config.net.to.clone();
        let state = State { config, file, log: Log::default(), deliveries: Deliveries::default() };
        Tuner { pipeline, hooks, entry, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stage that everything comes in by.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// Makes a change, all of it or nothing. Waits for those that others make.
    pub fn change(&self, wish: Wish, how: How) -> Result<Change, Refused> {
        let mut state = self.state();
        let before = Running { topology: self.pipeline.topology(), in_flight: state.config.in_flight.clone() };
        let (mut undoes, mut read) = (None, None);
        let with = |topology: Topology| Running { topology, ..before.clone() };
        let mut after = match wish {
            Wish::Stage(name, patch) => {
                let (topology, calls) = (&before.topology, patch.in_flight);
                let changed =
                    topology.with_stage(&name, of_stage(patch, &name, topology)).map_err(unknown).map(with)?;
                match calls {
                    Some(calls) => changed.with_calls(&name, calls)?,
                    None => changed,
                }
            }
            Wish::Pool(name, patch) => {
                let known = self.pipeline.pools().iter().any(|pool| *pool.name == *name);
                if !known {
                    return Err(Refused::Unknown);
                }
                let spin = patch.spin_us.map(|us| Duration::from_secs_f64(us / 1e6));
                let patch = PoolPatch { workers: patch.workers, spin, helped: patch.reactors };
                before.topology.with_pool(&name, patch).map_err(|problem| impossible(vec![problem])).map(with)?
            }
            Wish::Undo => {
                let nothing =
                    || Refused::Conflict("There is nothing to undo; GET /changes lists what was done.".into());
                let (id, from, to) = state.log.last_undoable().ok_or_else(nothing)?;
                undoes = Some(id);
                before.undone(from, to)
            }
            Wish::Reload => {
                let (after, text) = state.reload(&before)?;
                read = Some(text);
                after
            }
        };
        keep_what_was_found(&before.topology, &mut after.topology);
        let changes = settings(&state.with(&before), &state.with(&after));
        let mut change = Change {
            id: 0,
            at_ms: crate::clock::now(),
            by: how.by,
            changes,
            why: None,
            undoes,
            undone_by: None,
            effect: Vec::new(),
            dry_run: how.dry_run,
        };
        if how.dry_run {
            self.pipeline.try_topology(&after.topology).map_err(impossible)?;
            return Ok(change);
        }
        change.effect = self.figures_before(&state.deliveries, &change.changes);
        self.pipeline.set_topology(after.topology.clone()).map_err(impossible)?;
        // What could be refused was.
        state.config.in_flight.clone_from(&after.in_flight);
        if let Some(calls) = state.config.most_in_flight() {
            self.hooks.set_in_flight(calls);
        }
        if let Some(text) = read {
            state.read(text);
        }
        if !change.changes.is_empty() {
            change = state.log.add(change, before, after);
            ::log::info!("{}", log::line(&change));
        }
        Ok(change)
    }

    /// Makes a step of the adaptive controller's, unless somebody has set the stage otherwise meanwhile.
    pub fn step(&self, step: &Step) -> Result<(), Refused> {
        let mut state = self.state();
        if step.act == Act::Keep {
            state.log.explain(&step.stage, &step.why);
            ::log::info!("{BY_ITSELF}: {}: it stays", step.why);
            return Ok(());
        }
        let before = Running { topology: self.pipeline.topology(), in_flight: state.config.in_flight.clone() };
        let stage = before.topology.stages.iter().find(|stage| stage.name == *step.stage).ok_or(Refused::Unknown)?;
        let (from, to) = (step.from, step.to);
        let is_ours = |auto: bool, now: usize, from: usize, to: usize| now == from && (auto || from == to);
        if !is_ours(stage.auto.workers, stage.workers, from.workers, to.workers)
            || !is_ours(stage.auto.batch, stage.batch, from.batch, to.batch)
        {
            return Err(Refused::Conflict("somebody else has set it".to_owned()));
        }
        let patch = StagePatch { workers: Some(to.workers), batch: Some(to.batch), ..StagePatch::default() };
        let topology = before.topology.with_stage(&step.stage, patch).map_err(unknown)?;
        let after = Running { topology, ..before.clone() };
        let setting = |key: &str, from: usize, to: usize| {
            let key = format!("stages.{}.{key}", step.stage);
            (from != to).then(|| Setting { key, from: from.into(), to: to.into() })
        };
        let changes = [setting("workers", from.workers, to.workers), setting("batch", from.batch, to.batch)];
        let mut change = Change {
            id: 0,
            at_ms: crate::clock::now(),
            by: BY_ITSELF.to_owned(),
            changes: changes.into_iter().flatten().collect(),
            why: Some(step.why.clone()),
            undoes: (step.act == Act::TakeBack).then(|| state.log.last_step_of(&step.stage)).flatten(),
            undone_by: None,
            effect: Vec::new(),
            dry_run: false,
        };
        change.effect = self.figures_before(&state.deliveries, &change.changes);
        self.pipeline.set_topology(after.topology.clone()).map_err(impossible)?;
        let change = state.log.add(change, before, after);
        ::log::info!("{}", log::line(&change));
        Ok(())
    }

    /// The last changes, oldest first.
    pub fn changes(&self) -> Vec<Change> {
        self.state().log.changes()
    }

    /// What is running, as a file.
    pub fn running(&self) -> Config {
        Config { topology: self.pipeline.topology(), ..self.state().config.clone() }
    }

    /// Calls to the outside at once of a stage that makes some.
    pub fn in_flight(&self, stage: &str) -> Option<usize> {
        self.state().config.in_flight(stage)
    }

    /// Writes what is running into the file that was read.
    pub fn save(&self, how: &How) -> Result<Saved, Refused> {
        let mut state = self.state();
        let running = Config { topology: self.pipeline.topology(), ..state.config.clone() };
        state.save(&running, how)
    }

    /// Once a second: `delivered` is what the reactors counted since the start, as upper bounds in ns and numbers.
    pub fn tick(&self, delivered: Vec<(u64, u64)>) {
        let mut state = self.state();
        state.deliveries.note(delivered);
        let State { log, deliveries, .. } = &mut *state;
        log.see_effects(|of| self.figures_of(deliveries, of));
    }
}

impl State {
    fn with(&self, running: &Running) -> Config {
        let Running { topology, in_flight } = running.clone();
        Config { topology, in_flight, ..self.config.clone() }
    }
}

/// By whom the adaptive controller's steps are.
const BY_ITSELF: &str = "adaptive";

/// A file or a change says of what is found only that it is: the number of the moment stays.
fn keep_what_was_found(before: &Topology, after: &mut Topology) {
    for (now, then) in before.stages.iter().zip(&mut after.stages).filter(|(now, then)| now.name == then.name) {
        then.workers = if now.auto.workers && then.auto.workers { now.workers } else { then.workers };
        // A bound that is lowered takes it along: nobody has set this number.
        then.batch = if now.auto.batch && then.auto.batch { now.batch.min(then.bound) } else { then.batch };
    }
}

/// What differs, with values as a file has them.
fn settings(from: &Config, to: &Config) -> Vec<Setting> {
    let value = |toml: Option<String>| toml.map_or(serde_json::Value::Null, |toml| json_of(&toml));
    let differences = tidegate_config::differences(from, to).into_iter();
    differences.map(|d| Setting { key: d.path, from: value(d.from), to: value(d.to) }).collect()
}

/// Numbers, flags, texts and lists are written the same in both.
fn json_of(toml: &str) -> serde_json::Value {
    serde_json::from_str(toml).unwrap_or_else(|_| toml.into())
}

fn of_stage(patch: tidegate_http::StagePatch, name: &str, topology: &Topology) -> StagePatch {
    let ms = |ms: Option<f64>| ms.map(|ms| Duration::from_secs_f64(ms / 1_000.0));
    // A stage that names itself wants a pool of its own.
    let own = |pool: &String| pool == name && topology.pools.iter().all(|shared| shared.name != *pool);
    StagePatch {
        pool: patch.pool.map(|pool| Some(pool).filter(|pool| !own(pool))),
        workers: patch.workers.and_then(Amount::number),
        batch: patch.batch.and_then(Amount::number),
        auto_workers: patch.workers.map(|workers| workers == Amount::Auto),
        auto_batch: patch.batch.map(|batch| batch == Amount::Auto),
        bound: patch.bound,
        policy: patch.policy.map(|policy| match policy {
            Policy::Block => tidegate_engine::Policy::Block,
            Policy::Shed => tidegate_engine::Policy::Shed,
            Policy::DropOldest => tidegate_engine::Policy::DropOldest,
        }),
        delay_target: ms(patch.delay_target_ms),
        delay_interval: ms(patch.delay_interval_ms),
        key_share: patch.key_share,
        window: patch.window,
    }
}

fn unknown(_: Problem) -> Refused {
    Refused::Unknown
}

fn impossible(problems: Vec<Problem>) -> Refused {
    let said: Vec<String> = problems.iter().map(|p| format!("{}; {}", p.reason, p.help)).collect();
    Refused::Impossible(said.join(". "))
}
