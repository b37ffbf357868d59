//! The best change of a recorded configuration for a goal: others are tried on the simulated machine, one after the other.
//!
//! The search is greedy: of all single changes the best is kept, and all are tried again on top of it, until none is
//! worth it. A change is worth it when it betters the goal by a tenth and takes nothing noticeable from the others.

use serde::{Serialize, Serializer};
use tidegate_engine::{PoolPatch, StagePatch, Topology};
use tidegate_recording::Recording;

use crate::figures::{Figures, StageFigures};
use crate::predict::{Load, Prepared, Unpredictable};

/// What is to become better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The time that the slowest in a hundred takes, under the recorded load.
    P99,
    /// How many events a second can be kept up with, whatever the recorded load was.
    Throughput,
    /// Room in the queues and threads, with the rest as it is.
    Memory,
}

/// What to change, and what is expected of it.
#[derive(Debug, Clone, Serialize)]
pub struct Suggestion {
    /// For what.
    pub goal: Goal,
    /// The changes, the weightiest first. Empty: nothing that was tried is worth it.
    pub steps: Vec<Step>,
    /// The recorded configuration, predicted under the load that was searched with.
    pub before: Figures,
    /// The same with all steps taken.
    pub after: Figures,
    /// How many configurations were tried.
    pub tried: usize,
}

/// One change of it.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// As it is typed after `tidegate tune`.
    #[serde(serialize_with = "as_text")]
    pub change: Change,
    /// What it is expected to better, in a sentence.
    pub reason: String,
}

/// A single change of a topology.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Of a stage.
    Stage(String, StagePatch),
    /// Of a pool.
    Pool(String, PoolPatch),
}

fn as_text<S: Serializer>(change: &Change, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(change)
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, workers, batch, bound, pool) = match self {
            Change::Stage(name, patch) => (name, patch.workers, patch.batch, patch.bound, patch.pool.clone()),
            Change::Pool(name, patch) => (name, patch.workers, None, None, None),
        };
        if let Change::Pool(..) = self {
            f.write_str("--pool ")?;
        }
        f.write_str(name)?;
        for (key, value) in [("workers", workers), ("batch", batch), ("bound", bound)] {
            if let Some(value) = value {
                write!(f, " {key}={value}")?;
            }
        }
        match pool {
            Some(Some(pool)) => write!(f, " pool={pool}"),
            Some(None) => write!(f, " pool={name}"),
            None => Ok(()),
        }
    }
}

/// So many changes on top of each other, at most.
const MOST_STEPS: usize = 4;
/// How much of the recording is played for each configuration, in events: more tells little more, and takes longer.
const EVENTS: f64 = 60_000.0;
/// What a change must better the goal by, and what it may worsen of the rest.
const WORTH: f64 = 0.9;
const NOTICEABLE: f64 = 1.05;

/// Looks for the best change of `topology`, which is best the recorded one. Tries some dozens of configurations, each
/// for a second or less.
pub fn suggest(
    recording: &Recording,
    topology: &Topology,
    goal: Goal,
    cores: Option<f64>,
) -> Result<Suggestion, Unpredictable> {
    let prepared = Prepared::new(recording)?;
    let load = load_for(&prepared, topology, goal, cores)?;
    let before = prepared.predict(topology, load)?;
    let cores = cores.unwrap_or(f64::from(recording.cores));
    let (mut best, mut figures, mut steps, mut tried) = (topology.clone(), before.clone(), Vec::new(), 1);
    while steps.len() < MOST_STEPS {
        let mut next: Option<(Change, Topology, Figures)> = None;
        for change in changes(&best, &figures, goal, cores) {
            let Some(changed) = apply(&best, &change) else { continue };
            // What the engine would refuse is no suggestion.
            let predicted = match prepared.predict(&changed, load) {
                Err(Unpredictable::Topology(_)) => continue,
                other => other?,
            };
            tried += 1;
            let is_better = worth(goal, &best, &figures, &changed, &predicted) < WORTH
                && next
                    .as_ref()
                    .is_none_or(|(_, topology, figures)| worth(goal, topology, figures, &changed, &predicted) < 1.0);
            if is_better {
                next = Some((change, changed, predicted));
            }
        }
        let Some((change, changed, predicted)) = next else { break };
        let reason = reason(goal, &change, &figures, &predicted, (&best, &changed));
        steps.push(Step { change, reason });
        (best, figures) = (changed, predicted);
    }
    Ok(Suggestion { goal, steps, before, after: figures, tried })
}

/// The recorded load, or for throughput more than the configuration can do.
fn load_for(
    prepared: &Prepared<'_>,
    topology: &Topology,
    goal: Goal,
    cores: Option<f64>,
) -> Result<Load, Unpredictable> {
    let rate = prepared.rate();
    let mut load = Load { speed: 1.0, cores, first_seconds: Some(EVENTS / rate.max(1e-9)) };
    if goal == Goal::Throughput {
        for _ in 0..10 {
            let figures = prepared.predict(topology, load)?;
            if figures.refused > 0.05 * figures.offered {
                break;
            }
            load.speed *= 2.0;
        }
        // So that twice as good a configuration has enough to do, too.
        load.speed *= 2.0;
    }
    Ok(load)
}

fn apply(topology: &Topology, change: &Change) -> Option<Topology> {
    match change {
        Change::Stage(name, patch) => topology.with_stage(name, patch.clone()).ok(),
        Change::Pool(name, patch) => topology.with_pool(name, patch.clone()).ok(),
    }
}

/// All single changes that may serve the goal.
fn changes(topology: &Topology, figures: &Figures, goal: Goal, cores: f64) -> Vec<Change> {
    let mut changes = Vec::new();
    // Threads that only wait need no processor, so there may be more of them than those; but each costs something.
    let most = (cores as usize * 4).max(8);
    for stage in &topology.stages {
        let of = figures.stages.iter().find(|of| of.name == stage.name);
        let mut add = |patch: StagePatch| changes.push(Change::Stage(stage.name.clone(), patch));
        if goal == Goal::Memory {
            if let Some(bound) = of.and_then(|of| room_for(of, stage.workers * stage.batch, stage.bound)) {
                add(StagePatch { bound: Some(bound), ..StagePatch::default() });
            }
            if stage.workers > 1 {
                add(StagePatch { workers: Some(stage.workers - 1), ..StagePatch::default() });
            }
            continue;
        }
        for workers in [stage.workers + 1, stage.workers * 2, stage.workers * 4, stage.workers.saturating_sub(1)] {
            if workers != stage.workers && (1..=most).contains(&workers) {
                add(StagePatch { workers: Some(workers), ..StagePatch::default() });
            }
        }
        for batch in [stage.batch * 4, stage.batch * 2, stage.batch / 2, stage.batch / 4] {
            if (1..=1_024).contains(&batch) && batch <= stage.bound {
                add(StagePatch { batch: Some(batch), ..StagePatch::default() });
            }
        }
        for pool in topology.pools.iter().filter(|pool| stage.pool.as_ref() != Some(&pool.name)) {
            add(StagePatch { pool: Some(Some(pool.name.clone())), ..StagePatch::default() });
        }
        if stage.pool.is_some() {
            add(StagePatch { pool: Some(None), ..StagePatch::default() });
        }
    }
    for pool in &topology.pools {
        let fewer = pool.workers.saturating_sub(1);
        let counts = if goal == Goal::Memory { vec![fewer] } else { vec![pool.workers + 1, pool.workers * 2, fewer] };
        for workers in counts.into_iter().filter(|workers| (1..=most).contains(workers)) {
            changes.push(Change::Pool(pool.name.clone(), PoolPatch { workers: Some(workers), ..PoolPatch::default() }));
        }
    }
    changes
}

/// A smaller bound that has four times the room that was ever needed.
fn room_for(of: &StageFigures, in_work: usize, bound: usize) -> Option<usize> {
    let waiting = of.rate * of.longest_wait as f64 / 1e9;
    let room = ((waiting * 4.0) as usize + in_work).max(64).next_power_of_two();
    (room < bound).then_some(room)
}

/// How the second compares with the first: below 1 it is better. Whatever worsens something else noticeably is not.
fn worth(goal: Goal, topology: &Topology, figures: &Figures, other: &Topology, predicted: &Figures) -> f64 {
    let p99 = |of: &Figures| of.end_to_end.map_or(f64::MAX, |spread| spread.p99 as f64).max(1.0);
    let is_as_good = predicted.throughput * NOTICEABLE >= figures.throughput
        && predicted.refused <= figures.refused + figures.offered * (NOTICEABLE - 1.0);
    match goal {
        Goal::Throughput => figures.throughput / predicted.throughput.max(1e-9),
        _ if !is_as_good => f64::MAX,
        Goal::P99 => p99(predicted) / p99(figures),
        Goal::Memory if p99(predicted) > p99(figures) * NOTICEABLE => f64::MAX,
        Goal::Memory => memory(other) / memory(topology),
    }
}

/// Places in queues, and a thread for about as many as its stack is worth.
fn memory(topology: &Topology) -> f64 {
    let places: usize = topology.stages.iter().map(|stage| stage.bound).sum();
    let own = topology.stages.iter().filter(|stage| stage.pool.is_none()).map(|stage| stage.workers);
    let threads: usize = own.chain(topology.pools.iter().map(|pool| pool.workers)).sum();
    (places + threads * 256) as f64
}

fn reason(
    goal: Goal,
    change: &Change,
    before: &Figures,
    after: &Figures,
    topologies: (&Topology, &Topology),
) -> String {
    let ms = |ns: u64| format!("{:.2} ms", ns as f64 / 1e6);
    let expected = match goal {
        Goal::P99 => {
            let p99 = |of: &Figures| of.end_to_end.map_or("nothing known".to_owned(), |spread| ms(spread.p99));
            format!("p99 from the door to the end of {}: {} instead of {}", after.last, p99(after), p99(before))
        }
        Goal::Throughput => format!("{:.0} events/s instead of {:.0}", after.throughput, before.throughput),
        Goal::Memory => {
            let (was, is) = (memory(topologies.0), memory(topologies.1));
            format!("{:.0}% less room set aside, and nothing slower", (1.0 - is / was) * 100.0)
        }
    };
    let name = match change {
        Change::Stage(name, _) => Some(name),
        Change::Pool(..) => None,
    };
    let find = |of: &'_ Figures| of.stages.iter().find(|stage| Some(&stage.name) == name).cloned();
    let (Some(was), Some(is)) = (find(before), find(after)) else { return expected };
    let wait = |of: &StageFigures| of.wait.map_or("nothing".to_owned(), |spread| ms(spread.p99));
    let why = match change {
        _ if goal == Goal::Memory => {
            format!("no event waited longer than {} before {}", ms(was.longest_wait), was.name)
        }
        Change::Stage(_, patch) if patch.batch.is_some() => {
            format!("its batches have {:.1} events instead of {:.1}", is.batch, was.batch)
        }
        _ => format!(
            "its workers are busy for {:.0}% instead of {:.0}% of the time, and p99 of the wait before it is {} instead of {}",
            is.utilisation * 100.0,
            was.utilisation * 100.0,
            wait(&is),
            wait(&was)
        ),
    };
    format!("{expected}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_said_as_it_is_typed() {
        let stage = StagePatch { workers: Some(2), pool: Some(Some("line".to_owned())), ..StagePatch::default() };
        assert_eq!(Change::Stage("route".to_owned(), stage).to_string(), "route workers=2 pool=line");
        let own = StagePatch { pool: Some(None), ..StagePatch::default() };
        assert_eq!(Change::Stage("route".to_owned(), own).to_string(), "route pool=route");
        let pool = PoolPatch { workers: Some(3), ..PoolPatch::default() };
        assert_eq!(Change::Pool("line".to_owned(), pool).to_string(), "--pool line workers=3");
    }
}
