//! Shows the running pipeline to the engine's adaptive controller, and makes the steps that it says.
//!
//! Owns the thread that looks. What is tried and judged is the engine's business, how a change is made and remembered
//! `tuning`'s.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tidegate_engine::{Adaptive, Look, Pipeline, Topology};
use tidegate_stages::catalogue::DECLARED;
use tidegate_stages::event::Event;

use crate::monitor::Monitor;
use crate::tuning::Tuner;

/// How often the controller looks.
const EVERY: Duration = Duration::from_millis(100);
/// How soon it is noticed that a figure is to be found, where none was; until then there is nothing to do.
const NOTICED: Duration = Duration::from_millis(500);

/// Begins. It ends when what comes back is dropped.
pub fn begin(pipeline: Arc<Pipeline<Event>>, tuner: Arc<Tuner>) -> std::io::Result<Monitor> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let mut controller = Adaptive::new();
    Monitor::start("adaptive", move || {
        let topology = pipeline.topology();
        if !topology.stages.iter().any(|stage| stage.auto.any()) {
            controller = Adaptive::new();
            return NOTICED;
        }
        let Some(step) = controller.look(pipeline.now(), &looks(&pipeline, &topology, cores)) else { return EVERY };
        if let Err(refused) = tuner.step(&step) {
            log::debug!("adaptive: {} {:?} -> {:?} was refused: {refused:?}", step.stage, step.from, step.to);
            controller.refused(&step.stage);
        }
        EVERY
    })
}

fn looks(pipeline: &Pipeline<Event>, topology: &Topology, cores: usize) -> Vec<Look> {
    let threads = |name: &String| topology.pools.iter().find(|pool| pool.name == *name).map(|pool| pool.workers);
    let glances = pipeline.glance();
    let each = glances.iter().zip(&topology.stages).map(|(glance, stage)| {
        let waits = DECLARED.iter().any(|declared| declared.name == stage.module && declared.blocks);
        Look::at(glance, stage.auto, cores, waits, stage.pool.as_ref().and_then(threads))
    });
    each.collect()
}
