//! From the engine's tape to a recording's stages.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use tidegate_engine::{OutputKind, Tape, TapedBatches, TapedStage};
use tidegate_recording::{Emits, Service, StageTape, Times, Way};

/// What a tape says, by stage, as it stands in a recording.
pub fn stages(tape: &Tape) -> BTreeMap<String, StageTape> {
    tape.stages.iter().map(|stage| (stage.name.to_string(), stage_tape(stage))).collect()
}

fn stage_tape(taped: &TapedStage) -> StageTape {
    let of = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let held = taped.held.0 + taped.held.1;
    let finished = (taped.events + taped.resumed).saturating_sub(held);
    let emits = |(output, events): &(tidegate_engine::Output, u64)| Emits {
        output: output.name.to_owned(),
        way: match output.kind {
            OutputKind::Stage | OutputKind::Optional => Way::Line,
            OutputKind::Side | OutputKind::OptionalSide => Way::Side,
            OutputKind::Sink(_) => Way::Out,
        },
        most: output.most.max(1),
        mean: of(*events, finished),
    };
    StageTape {
        blocks: taped.blocks,
        sheddable: taped.sheddable,
        arrivals: taped.arrivals.clone(),
        events: taped.events,
        refused: taped.refused,
        busy_ns: taped.busy_ns,
        keys: taped.keys.iter().map(|count| of(*count, taped.events)).collect(),
        service: taped.batches.iter().map(service).collect(),
        emits: taped.outputs.iter().map(emits).collect(),
        held: of(taped.held.0, taped.events),
        held_again: of(taped.held.1, taped.resumed),
        exclusive: of(taped.exclusive, held),
        held_ns: times(&taped.held_ns),
        wake_ns: times(&taped.wake_ns),
        wait_ns: times(&taped.wait_ns),
        since_door_ns: times(&taped.since_door_ns),
    }
}

fn service(taped: &TapedBatches) -> Service {
    Service {
        size: taped.items as f64 / taped.batches.max(1) as f64,
        ns: times(&taped.ns),
        cpu: (taped.cpu_ns as f64 / taped.sum_ns.max(1) as f64).min(1.0),
        around_ns: taped.around_ns as f64 / taped.batches.max(1) as f64,
    }
}

/// A histogram's filled places.
fn times(histogram: &Histogram<u32>) -> Times {
    let place = |value: hdrhistogram::iterators::IterationValue<u32>| {
        (histogram.median_equivalent(value.value_iterated_to()), u64::from(value.count_at_value()))
    };
    Times(histogram.iter_recorded().map(place).collect())
}
