//! Everything that can be wrong with a topology, found in one go and told with what to write instead.
//!
//! The rest of the engine relies on what is checked here: that names exist, that the line has no circle, that a batch fits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::topology::NONE;
use crate::{
    Event, Module, Modules, Output, OutputKind, Place, Policy, PoolSettings, Problem, StageSettings, Topology,
};

const MOST_WORKERS: usize = 1024;
const MOST_BATCH: usize = 65_536;
const MOST_BOUND: usize = 1 << 24;
const MOST_WINDOW: usize = 65_536;
/// What a stage's `delay_target` may be.
pub const DELAY_TARGET: RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_secs(60);
/// What a stage's `delay_interval` may be.
pub const DELAY_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);

impl Topology {
    /// Everything that is wrong, in one go. `entries` are the stages that events come in at from outside. The sinks that
    /// modules ask for are checked when a pipeline is built.
    pub fn check<E: Event>(&self, modules: &Modules<E>, entries: &[&str]) -> Vec<Problem> {
        let mut check = Check { topology: self, modules, problems: Vec::new() };
        check.names();
        for stage in &self.stages {
            check.figures(stage);
            check.bindings(stage);
        }
        check.pools();
        check.cycles();
        check.reach(entries);
        check.problems
    }
}

struct Check<'a, E: Event> {
    topology: &'a Topology,
    modules: &'a Modules<E>,
    problems: Vec<Problem>,
}

impl<'a, E: Event> Check<'a, E> {
    fn at_stage(&mut self, stage: &str, field: &'static str, reason: impl Into<String>, help: impl Into<String>) {
        let place = Place::Stage { stage: stage.to_owned(), field };
        self.problems.push(Problem { place, reason: reason.into(), help: help.into() });
    }

    fn at_output(&mut self, stage: &str, output: &str, reason: impl Into<String>, help: impl Into<String>) {
        let place = Place::Output { stage: stage.to_owned(), output: output.to_owned() };
        self.problems.push(Problem { place, reason: reason.into(), help: help.into() });
    }

    fn at_pool(&mut self, pool: &str, field: &'static str, reason: impl Into<String>, help: impl Into<String>) {
        let place = Place::Pool { pool: pool.to_owned(), field };
        self.problems.push(Problem { place, reason: reason.into(), help: help.into() });
    }

    fn module(&self, stage: &StageSettings) -> Option<&'a dyn Module<E>> {
        self.modules.get(&stage.module).map(|module| &**module)
    }

    fn outputs(&self, stage: &StageSettings) -> &'static [Output] {
        self.module(stage).map_or(&[], |module| module.outputs())
    }

    fn names(&mut self) {
        let mut seen = BTreeSet::new();
        for stage in &self.topology.stages {
            if stage.name.is_empty() || stage.name == NONE {
                self.at_stage(
                    &stage.name,
                    "name",
                    format!("a stage cannot be called {:?}", stage.name),
                    "choose a name",
                );
            }
            if !seen.insert(&stage.name) {
                self.at_stage(&stage.name, "name", "there is another stage of this name", "rename or remove one");
            }
            if self.module(stage).is_none() {
                let help = one_of("a module", self.modules.keys().map(String::as_str), &stage.module);
                self.at_stage(&stage.name, "module", format!("there is no module {:?}", stage.module), help);
            }
        }
        let mut seen = BTreeSet::new();
        for pool in &self.topology.pools {
            if !seen.insert(&pool.name) {
                self.at_pool(&pool.name, "name", "there is another pool of this name", "rename or remove one");
            }
        }
    }

    fn figures(&mut self, stage: &StageSettings) {
        for (field, value, most) in [
            ("workers", stage.workers, MOST_WORKERS),
            ("batch", stage.batch, MOST_BATCH),
            ("bound", stage.bound, MOST_BOUND),
            ("window", stage.window, MOST_WINDOW),
        ] {
            if value == 0 || value > most {
                self.at_stage(&stage.name, field, format!("{value} is not possible"), format!("1 to {most}"));
            }
        }
        if stage.batch > stage.bound && stage.bound > 0 && stage.batch <= MOST_BATCH {
            let reason = format!("a batch of {} can never fill: {} is the bound", stage.batch, stage.bound);
            let help = format!("{} or more, or a batch of at most {}", stage.batch, stage.bound);
            self.at_stage(&stage.name, "bound", reason, help);
        }
        for (field, value, range) in [
            ("delay_target", stage.delay_target, DELAY_TARGET),
            ("delay_interval", stage.delay_interval, DELAY_INTERVAL),
        ] {
            if !range.contains(&value) {
                let help = format!("{:?} to {:?}", range.start(), range.end());
                self.at_stage(&stage.name, field, format!("a {field} of {value:?} is not possible"), help);
            }
        }
        if !(stage.key_share > 0.0 && stage.key_share <= 1.0) {
            let reason = format!("{} is no share", stage.key_share);
            self.at_stage(&stage.name, "key_share", reason, "above 0, up to 1; 1 lets one key take it all");
        }
        if stage.policy == Policy::Shed && self.module(stage).is_some_and(|module| !module.sheddable()) {
            let reason = format!("{:?} must not lose what waits before it, and \"shed\" would", stage.module);
            self.at_stage(&stage.name, "policy", reason, "\"block\"");
        }
    }

    fn bindings(&mut self, stage: &StageSettings) {
        if self.module(stage).is_none() {
            return; // said already, and its outputs are unknown
        }
        let outputs = self.outputs(stage);
        let mut seen = BTreeSet::new();
        for (name, _) in &stage.to {
            let known = outputs.iter().filter(|o| !matches!(o.kind, OutputKind::Sink(_))).map(|output| output.name);
            if !known.clone().any(|output| output == name) {
                let help = one_of("an output", known, name);
                self.at_output(&stage.name, name, format!("{:?} has no output {name:?}", stage.module), help);
            }
            if !seen.insert(name) {
                self.at_output(&stage.name, name, "this output is bound twice", "keep one");
            }
        }
        for output in outputs {
            if matches!(output.kind, OutputKind::Sink(_)) {
                continue;
            }
            match stage.target(output.name) {
                None if output.kind.is_optional() => {}
                None => {
                    let help = format!("{} = \"<a stage>\"", output.name);
                    self.at_output(&stage.name, output.name, "this output is not bound", help);
                }
                Some(NONE) if output.kind.is_optional() => {}
                Some(NONE) => {
                    let reason = "this output is needed: it cannot be \"none\"";
                    self.at_output(&stage.name, output.name, reason, "the name of a stage");
                }
                Some(target) => match self.topology.stage(target) {
                    None => {
                        let help = one_of("a stage", self.topology.stages.iter().map(|s| s.name.as_str()), target);
                        self.at_output(&stage.name, output.name, format!("there is no stage {target:?}"), help);
                    }
                    Some(target) => self.fits(stage, output, target),
                },
            }
        }
    }

    /// A whole batch must fit into the target, over all outputs that lead there: see [`Binding::join`](crate::core::Binding::join).
    fn fits(&mut self, stage: &StageSettings, output: &Output, target: &StageSettings) {
        let outputs = self.outputs(stage).iter();
        let there: Vec<&Output> =
            outputs.filter(|o| o.kind.is_line() && stage.target(o.name) == Some(&target.name)).collect();
        if there.first().is_none_or(|first| first.name != output.name) {
            return; // beside the line, or said already
        }
        let joint: usize = there.iter().map(|output| output.most.max(1) as usize).sum();
        let most = stage.batch.saturating_mul(joint);
        if most > target.bound {
            let names: Vec<String> = there.iter().map(|output| format!("{:?}", output.name)).collect();
            let reason = format!(
                "a batch of {} becomes up to {most} events on {}, more than {:?} can ever hold ({})",
                stage.batch,
                names.join(" and "),
                target.name,
                target.bound
            );
            let help = format!("at most {}, or a bound of {most} for {:?}", (target.bound / joint).max(1), target.name);
            self.at_stage(&stage.name, "batch", reason, help);
        }
    }

    fn pools(&mut self) {
        let shared: HashMap<&str, &PoolSettings> = self.topology.pools.iter().map(|p| (p.name.as_str(), p)).collect();
        let mut members: BTreeMap<&str, Vec<&StageSettings>> = BTreeMap::new();
        for stage in &self.topology.stages {
            match &stage.pool {
                Some(pool) if shared.contains_key(pool.as_str()) => members.entry(pool).or_default().push(stage),
                Some(pool) => {
                    let help = match shared.is_empty() {
                        true => format!("leave it out for a pool of its own, or add [pools.{pool}]"),
                        false => one_of("a pool", shared.keys().copied(), pool),
                    };
                    self.at_stage(&stage.name, "pool", format!("there is no pool {pool:?}"), help);
                }
                None if shared.contains_key(stage.name.as_str()) => {
                    let reason = format!("stage {:?} has a pool of its own of that name", stage.name);
                    let help = format!("rename it, or write pool = {:?} in the stage", stage.name);
                    self.at_pool(&stage.name, "name", reason, help);
                }
                None => {}
            }
        }
        for pool in &self.topology.pools {
            if pool.workers == 0 || pool.workers > MOST_WORKERS {
                let reason = format!("{} is not possible", pool.workers);
                self.at_pool(&pool.name, "workers", reason, format!("1 to {MOST_WORKERS}"));
            }
            if pool.spin > Duration::from_millis(10) {
                let reason = format!("{:?} of spinning would take the processor away from work", pool.spin);
                self.at_pool(&pool.name, "spin", reason, "some microseconds, or 0");
            }
            // One that no stage names is idle until a stage is moved there.
            let Some(stages) = members.get(pool.name.as_str()) else { continue };
            let sort = |blocks| {
                let names = stages.iter().filter(|s| self.module(s).is_some_and(|module| module.blocks() == blocks));
                names.map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ")
            };
            let (blocking, computing) = (sort(true), sort(false));
            if !blocking.is_empty() && !computing.is_empty() {
                let reason = format!("it mixes stages that wait for the disk ({blocking}) with others ({computing})");
                self.at_pool(&pool.name, "name", reason, "give each sort a pool");
            }
        }
    }

    /// Line edges of a stage.
    fn line(&self, stage: &StageSettings) -> Vec<&'a StageSettings> {
        let line = self.outputs(stage).iter().filter(|output| output.kind.is_line());
        line.filter_map(|output| self.topology.stage(stage.target(output.name)?)).collect()
    }

    fn cycles(&mut self) {
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for stage in &self.topology.stages {
            let mut path: Vec<&StageSettings> = Vec::new();
            if let Some(cycle) = self.walk(stage, &mut path, &mut done) {
                let names: Vec<&str> = cycle.iter().map(|s| s.name.as_str()).collect();
                let last = cycle[cycle.len() - 2];
                let back = cycle[cycle.len() - 1];
                let output = self
                    .outputs(last)
                    .iter()
                    .find(|o| o.kind.is_line() && last.target(o.name) == Some(back.name.as_str()));
                let reason = format!("the line goes round in a circle: {}", names.join(" -> "));
                let help = "a full queue in a circle would wait for itself for ever; bind this output elsewhere";
                self.at_output(&last.name, output.map_or("", |o| o.name), reason, help);
            }
        }
    }

    fn walk(
        &self,
        stage: &'a StageSettings,
        path: &mut Vec<&'a StageSettings>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a StageSettings>> {
        if let Some(from) = path.iter().position(|s| s.name == stage.name) {
            let mut cycle = path[from..].to_vec();
            cycle.push(stage);
            return Some(cycle);
        }
        if !done.insert(&stage.name) {
            return None;
        }
        path.push(stage);
        let found = self.line(stage).into_iter().find_map(|next| self.walk(next, path, done));
        path.pop();
        found
    }

    fn reach(&mut self, entries: &[&str]) {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = Vec::new();
        for entry in entries {
            match self.topology.stage(entry) {
                Some(stage) => next.push(&stage.name),
                None => {
                    let help = one_of("a stage", self.topology.stages.iter().map(|s| s.name.as_str()), entry);
                    let reason = format!("there is no stage {entry:?} for what comes in");
                    self.problems.push(Problem { place: Place::Entry((*entry).to_owned()), reason, help });
                }
            }
        }
        if next.is_empty() {
            return; // nothing to go by
        }
        while let Some(name) = next.pop() {
            if let Some(stage) = self.topology.stage(name).filter(|_| reached.insert(name)) {
                next.extend(stage.to.iter().map(|(_, to)| to.as_str()));
            }
        }
        for stage in self.topology.stages.iter().filter(|stage| !reached.contains(stage.name.as_str())) {
            let reason = "nothing leads to this stage";
            self.at_stage(&stage.name, "name", reason, "bind an output to it, or remove it");
        }
    }
}

/// "a stage: a, b, c", with the likely one first when there is a likely one.
fn one_of<'a>(what: &str, names: impl Iterator<Item = &'a str>, wrong: &str) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    match names.iter().map(|name| (distance(name, wrong), *name)).min() {
        None => String::new(),
        Some((far, likely)) if far <= 2 && far < likely.len() => format!("did you mean {likely:?}?"),
        Some(_) => format!("{what}: {}", names.join(", ")),
    }
}

/// How many letters must be changed, added or removed to make one the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
