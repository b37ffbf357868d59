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

use tidegate_config::Config;
use tidegate_engine::{Pipeline, PoolPatch, Problem, StagePatch, Topology};
use tidegate_http::{Change, How, Policy, Refused, Saved, Setting, Wish};
use tidegate_stages::event::Event;

use figures::Deliveries;
use log::Log;

pub struct Tuner {
    pipeline: Arc<Pipeline<Event>>,
    /// The stage that everything comes in by.
    entry: String,
    state: Mutex<State>,
}

struct State {
    /// As it was loaded; what is in force of its topology, the pipeline knows.
    config: Config,
    /// The file that it was loaded from, and its text then.
    file: Option<(PathBuf, String)>,
    log: Log,
    deliveries: Deliveries,
}

impl Tuner {
    /// `file`: where `config` was read from, and what it said.
    pub fn new(pipeline: Arc<Pipeline<Event>>, config: Config, file: Option<(PathBuf, String)>) -> Self {
        let entry = config.net.to.clone();
        let state = State { config, file, log: Log::default(), deliveries: Deliveries::default() };
        Tuner { pipeline, entry, state: Mutex::new(state) }
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
        let before = self.pipeline.topology();
        let (mut undoes, mut read) = (None, None);
        let after = match wish {
            Wish::Stage(name, patch) => before.with_stage(&name, of_stage(patch, &name, &before)).map_err(unknown)?,
            Wish::Pool(name, patch) => {
                let known = self.pipeline.pools().iter().any(|pool| *pool.name == *name);
                if !known {
                    return Err(Refused::Unknown);
                }
                let spin = patch.spin_us.map(|us| Duration::from_secs_f64(us / 1e6));
                let patch = PoolPatch { workers: patch.workers, spin, helped: patch.reactors };
                before.with_pool(&name, patch).map_err(|problem| impossible(vec![problem]))?
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
        let changes = settings(&state.with(&before), &state.with(&after));
        let mut change = Change {
            id: 0,
            at_ms: crate::clock::now(),
            by: how.by,
            changes,
            undoes,
            undone_by: None,
            effect: Vec::new(),
            dry_run: how.dry_run,
        };
        if how.dry_run {
            self.pipeline.try_topology(&after).map_err(impossible)?;
            return Ok(change);
        }
        change.effect = self.figures_before(&state.deliveries, &change.changes);
        self.pipeline.set_topology(after.clone()).map_err(impossible)?;
        if let Some(text) = read {
            state.read(text);
        }
        if !change.changes.is_empty() {
            change = state.log.add(change, before, after);
            ::log::info!("{}", log::line(&change));
        }
        Ok(change)
    }

    /// The last changes, oldest first.
    pub fn changes(&self) -> Vec<Change> {
        self.state().log.changes()
    }

    /// What is running, as a file.
    pub fn running(&self) -> Config {
        self.state().with(&self.pipeline.topology())
    }

    /// Writes what is running into the file that was read.
    pub fn save(&self, how: &How) -> Result<Saved, Refused> {
        let running = self.pipeline.topology();
        self.state().save(&running, how)
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
    fn with(&self, topology: &Topology) -> Config {
        Config { topology: topology.clone(), ..self.config.clone() }
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
        workers: patch.workers,
        batch: patch.batch,
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
