//! From a topology to the parts that run: names become numbers, and what follows from the graph is worked out once.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::Admission;
use crate::core::{Binding, Core, Pool, SinkCore, StageCore, Target};
use crate::delay::Delay;
use crate::overload::Decisions;
use crate::pipeline::Threads;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use crate::sync::{Mutex, lock};
use crate::threads::Alarm;
use crate::topology::NONE;
use crate::tuning::unknown;
use crate::{Env, Event, Modules, OutputKind, Pipeline, Place, Problem, Sinks, StageSettings, Supervisor, Topology};

impl<E: Event> Pipeline<E> {
    /// Builds a pipeline without starting it, or says everything that is wrong. `entries` are the stages that have doors.
    pub fn build(
        topology: Topology,
        modules: Modules<E>,
        sinks: Sinks<E>,
        supervisor: Arc<dyn Supervisor<E>>,
        entries: &[&str],
        env: Env,
    ) -> Result<Pipeline<E>, Vec<Problem>> {
        let mut problems = topology.check(&modules, entries);
        problems.extend(missing_sinks(&topology, &modules, &sinks));
        if !problems.is_empty() {
            return Err(problems);
        }
        let core = Arc::new_cyclic(|me| {
            let mut stages = Vec::new();
            let mut ends: Vec<SinkCore<E>> = Vec::new();
            let names =
                topology.pools.iter().map(|pool| &pool.name).chain(topology.stages.iter().map(|stage| &stage.name));
            let pools = names.map(|name| Pool::new(name.as_str().into())).collect();
            for settings in &topology.stages {
                let module = modules[&settings.module].clone();
                let outputs = module.outputs().iter().map(|output| {
                    let to = match output.kind {
                        OutputKind::Sink(name) => Target::Sink(sink(&mut ends, name, &sinks)),
                        _ => bound_to(&topology, settings, output.name),
                    };
                    (*output, to)
                });
                let outputs = Binding::join(outputs);
                stages.push(StageCore::new(
                    settings.name.as_str().into(),
                    module,
                    outputs,
                    settings.bound,
                    Delay::new(settings.delay_target, settings.delay_interval),
                    env.now(),
                ));
            }
            wire(&mut stages, &mut ends, entries);
            Core {
                stages,
                pools,
                moves: AtomicUsize::new(0),
                sinks: ends,
                supervisor,
                env,
                topology: Mutex::new(topology),
                draining: AtomicBool::new(false),
                stopping: AtomicBool::new(false),
                admission: Admission::new(),
                decisions: Mutex::new(Decisions::new()),
                taping: Default::default(),
                alarm: Alarm::new(),
                me: me.clone(),
            }
        });
        core.put_into_force(&lock(&core.topology));
        for (i, sink) in core.sinks.iter().enumerate() {
            let core = Arc::downgrade(&core);
            sink.sink.on_room(Arc::new(move || {
                if let Some(core) = core.upgrade() {
                    core.sink_has_room(i);
                }
            }));
        }
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Ok(Pipeline { core, modules, entries, threads: Mutex::new(Threads::default()) })
    }
}

/// How many events of one key a stage takes.
fn share(settings: &StageSettings, sheddable: bool) -> usize {
    match sheddable && settings.key_share < 1.0 {
        true => ((settings.bound as f64 * settings.key_share) as usize).max(1),
        false => usize::MAX,
    }
}

fn missing_sinks<E: Event>(topology: &Topology, modules: &Modules<E>, sinks: &Sinks<E>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for stage in &topology.stages {
        for output in modules.get(&stage.module).map_or(&[][..], |module| module.outputs()) {
            if let OutputKind::Sink(name) = output.kind
                && !sinks.contains_key(name)
            {
                let place = Place::Output { stage: stage.name.clone(), output: output.name.to_owned() };
                problems.push(unknown(place, "sink", name));
            }
        }
    }
    problems
}

fn sink<E>(ends: &mut Vec<SinkCore<E>>, name: &str, sinks: &Sinks<E>) -> usize {
    ends.iter().position(|end| end.name == name).unwrap_or_else(|| {
        ends.push(SinkCore::new(name.to_owned(), sinks[name].clone(), Vec::new()));
        ends.len() - 1
    })
}

fn bound_to(topology: &Topology, settings: &StageSettings, output: &str) -> Target {
    let bound = settings.to.iter().find(|(name, _)| name == output).map(|(_, to)| to.as_str());
    match bound.filter(|to| *to != NONE).and_then(|to| topology.stages.iter().position(|stage| stage.name == to)) {
        Some(to) => Target::Stage(to),
        None => Target::Nothing,
    }
}

/// Fills in what follows from the graph: who is woken when there is room, which stages the door listens to, and how far
/// downstream each is.
fn wire<E: Event>(stages: &mut [StageCore<E>], sinks: &mut [SinkCore<E>], entries: &[&str]) {
    let mut edges = Vec::new();
    for (from, stage) in stages.iter().enumerate() {
        for binding in &stage.outputs {
            match binding.to {
                Target::Stage(to) => edges.push((from, to, binding.output.kind.is_line())),
                Target::Sink(to) if !sinks[to].feeders.contains(&from) => sinks[to].feeders.push(from),
                _ => {}
            }
        }
    }
    // How far downstream: the longest way over line edges, which have no cycles; a side stage comes after whoever asks it.
    let mut far = vec![0; stages.len()];
    for _ in 0..stages.len() {
        edges.iter().filter(|(_, _, line)| *line).for_each(|(from, to, _)| far[*to] = far[*to].max(far[*from] + 1));
    }
    for (from, to, _) in edges.iter().filter(|(_, _, line)| !*line) {
        if far[*to] == 0 {
            far[*to] = far[*from] + 1;
        }
    }
    for (from, to, line) in &edges {
        if *line && !stages[*to].feeders.contains(from) {
            stages[*to].feeders.push(*from);
        }
    }
    for stage in stages.iter_mut() {
        stage.on_line = entries.contains(&&*stage.name);
    }
    for _ in 0..stages.len() {
        for (from, to, _) in edges.iter().filter(|(_, _, line)| *line) {
            stages[*to].on_line |= stages[*from].on_line;
        }
    }
    stages.iter_mut().zip(far).for_each(|(stage, far)| stage.far = far);
}

/// The number of the pool that serves a stage: a shared one, or its own, see [`Core::pools`].
fn pool_of(topology: &Topology, stage: usize) -> usize {
    let shared =
        topology.stages[stage].pool.as_ref().and_then(|name| topology.pools.iter().position(|p| p.name == *name));
    shared.unwrap_or(topology.pools.len() + stage)
}

impl<E: Event> Core<E> {
    /// Sets every figure as a checked topology has it; its stages and pools are those that the core was built with. Wake
    /// everybody afterwards.
    pub fn put_into_force(&self, topology: &Topology) {
        for (stage, settings) in self.stages.iter().zip(&topology.stages) {
            stage.knobs.workers.store(settings.workers, SeqCst);
            stage.knobs.batch.store(settings.batch, SeqCst);
            stage.knobs.share.store(share(settings, stage.module.sheddable()), SeqCst);
            stage.knobs.window.store(settings.window, SeqCst);
            stage.knobs.set_policy(settings.policy);
            stage.queue.room.set_bound(settings.bound);
            stage.delay.set(settings.delay_target, settings.delay_interval);
        }
        self.move_stages(|stage| pool_of(topology, stage));
        let own = topology.stages.iter().map(|stage| match &stage.pool {
            None => (stage.workers, Duration::ZERO, false),
            Some(_) => (0, Duration::ZERO, false),
        });
        let settings = topology.pools.iter().map(|pool| (pool.workers, pool.spin, pool.helped)).chain(own);
        for (pool, (workers, spin, helped)) in self.pools.iter().zip(settings) {
            let blocks = pool.stages().iter().any(|stage| self.stages[*stage].module.blocks());
            pool.helped.store(helped && !blocks, SeqCst);
            pool.spin_ns.store(spin.as_nanos() as u64, SeqCst);
            pool.size.store(workers, SeqCst);
        }
    }
}
