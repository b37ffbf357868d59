//! What came of it: the few figures that a recording and a prediction are compared by.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tidegate_engine::Topology;
use tidegate_recording::{StageTape, Times, Way};

/// A pipeline under some load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// How long was looked at.
    pub seconds: f64,
    /// Events a second that came from outside, refused ones too.
    pub offered: f64,
    /// Events a second that came to the last stage of the line, and which stage that is.
    pub throughput: f64,
    /// See `throughput`.
    pub last: String,
    /// Events a second that were refused, all stages together.
    pub refused: f64,
    /// From the door to the end of the last stage, in nanoseconds. `None`: no event was followed that far.
    pub end_to_end: Option<Spread>,
    /// By stage, the line first.
    pub stages: Vec<StageFigures>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageFigures {
    /// Its name.
    pub name: String,
    /// Events a second.
    pub rate: f64,
    /// Refused before it, events a second.
    pub refused: f64,
    /// The share of time for which its workers were at a batch.
    pub utilisation: f64,
    /// Events in a batch.
    pub batch: f64,
    /// Of a prediction: the largest batches that were recorded. What is said of larger ones is read off a line.
    pub largest_seen: Option<f64>,
    /// In its queue, in nanoseconds.
    pub wait: Option<Spread>,
    /// The longest wait, in nanoseconds.
    pub longest_wait: u64,
}

/// Half of the times are no longer than `p50`, and of a hundred one is longer than `p99`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
}

impl Spread {
    fn of(times: &Times) -> Option<Spread> {
        Some(Spread { p50: times.quantile(0.5)?, p99: times.quantile(0.99)? })
    }
}

impl Figures {
    /// Of what was taped for so long while `topology` was in force.
    pub fn of(stages: &BTreeMap<String, StageTape>, topology: &Topology, seconds: f64) -> Figures {
        let seconds = seconds.max(1e-9);
        let far = how_far(stages, topology);
        let mut names: Vec<&str> = topology.stages.iter().map(|stage| stage.name.as_str()).collect();
        names.sort_by_key(|name| far.get(name).copied().unwrap_or(usize::MAX));
        let last = far.iter().max_by_key(|(name, far)| (**far, stages.get(**name).map_or(0, |tape| tape.events)));
        let last = last.map_or("", |(name, _)| name);
        let told = names.iter().filter_map(|name| {
            let settings = topology.stages.iter().find(|stage| stage.name == **name)?;
            Some(stage_figures(name, stages.get(*name)?, settings.workers, seconds))
        });
        let stages_told: Vec<StageFigures> = told.collect();
        Figures {
            seconds,
            offered: stages.values().map(StageTape::arrived).sum::<u64>() as f64 / seconds,
            throughput: stages.get(last).map_or(0.0, |tape| tape.events as f64) / seconds,
            last: last.to_owned(),
            refused: stages_told.iter().map(|stage| stage.refused).sum(),
            end_to_end: stages.get(last).and_then(|tape| Spread::of(&tape.since_door_ns)),
            stages: stages_told,
        }
    }

    /// Where most of the time goes: the stage whose workers have the least left.
    pub fn busiest(&self) -> Option<&StageFigures> {
        self.stages.iter().max_by(|one, other| one.utilisation.total_cmp(&other.utilisation))
    }
}

fn stage_figures(name: &str, tape: &StageTape, workers: usize, seconds: f64) -> StageFigures {
    let batches = tape.service.iter().map(|service| service.ns.count()).sum::<u64>().max(1) as f64;
    let items = tape.service.iter().map(|service| service.size * service.ns.count() as f64).sum::<f64>();
    StageFigures {
        name: name.to_owned(),
        rate: tape.events as f64 / seconds,
        refused: tape.refused as f64 / seconds,
        utilisation: (tape.busy_ns as f64 / 1e9 / seconds / workers.max(1) as f64).min(1.0),
        batch: items / batches,
        largest_seen: None,
        wait: Spread::of(&tape.wait_ns),
        longest_wait: tape.wait_ns.quantile(1.0).unwrap_or(0),
    }
}

/// How many stages are before each on the line; stages beside it are left out.
fn how_far<'a>(stages: &BTreeMap<String, StageTape>, topology: &'a Topology) -> HashMap<&'a str, usize> {
    let entry = |name: &str| stages.get(name).is_some_and(|tape| !tape.arrivals.is_empty());
    let mut far: HashMap<&str, usize> = topology
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .filter(|name| entry(name))
        .map(|name| (name, 0))
        .collect();
    // The line has no cycles, so no way is longer than there are stages.
    for _ in 0..topology.stages.len() {
        for stage in &topology.stages {
            let Some(here) = far.get(stage.name.as_str()).copied() else { continue };
            for (output, to) in &stage.to {
                let emits =
                    stages.get(&stage.name).and_then(|tape| tape.emits.iter().find(|emits| emits.output == *output));
                let is_used = emits.is_some_and(|emits| emits.way == Way::Line && emits.mean > 0.0);
                if is_used && let Some(next) = topology.stages.iter().find(|next| next.name == *to) {
                    let there = far.entry(&next.name).or_default();
                    *there = (*there).max(here + 1);
                }
            }
        }
    }
    far
}
