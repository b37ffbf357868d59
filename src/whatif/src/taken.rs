//! From the engine's tape to a recording's stages.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use tidegate_engine::{OutputKind, Tape, TapedBatches, TapedStage, TapedTurn};
use tidegate_recording::{Emits, Service, StageTape, Times, Turn, Way};

/// What a tape says, by stage, as it stands in a recording.
pub fn stages(tape: &Tape) -> BTreeMap<String, StageTape> {
    tape.stages.iter().map(|stage| (stage.name.to_string(), stage_tape(stage))).collect()
}

/// Processors that were busy beside the stages: a part of one, or several.
pub fn beside(tape: &Tape) -> f64 {
    of(tape.beside_ns, tape.ns)
}

fn of(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn stage_tape(taped: &TapedStage) -> StageTape {
    let held: u64 = taped.turns.iter().map(|turn| turn.held).sum();
    let finished = (taped.events + taped.resumed).saturating_sub(held);
    let in_turns = |output: usize| -> u64 {
        let of_turn = |turn: &TapedTurn| [&turn.asked, &turn.sent].map(|of| of.get(output).copied().unwrap_or(0));
        taped.turns.iter().flat_map(of_turn).sum()
    };
    let emits = |(i, (output, events)): (usize, &(tidegate_engine::Output, u64))| Emits {
        output: output.name.to_owned(),
        way: match output.kind {
            OutputKind::Stage | OutputKind::Optional => Way::Line,
            OutputKind::Side | OutputKind::OptionalSide => Way::Side,
            OutputKind::Sink(_) => Way::Out,
        },
        most: output.most.max(1),
        mean: of(*events, finished),
        of_batch: of(events.saturating_sub(in_turns(i)), finished),
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
        emits: taped.outputs.iter().enumerate().map(emits).collect(),
        turns: taped.turns.iter().map(|turn| turn_of(turn, taped.outputs.len())).collect(),
        waits_together: taped.waits_together,
        answers: taped.answers,
        wake_ns: times(&taped.wake_ns),
        wait_ns: times(&taped.wait_ns),
        since_door_ns: times(&taped.since_door_ns),
    }
}

fn turn_of(taped: &TapedTurn, outputs: usize) -> Turn {
    let each = |counts: &[u64], whole: u64| {
        (0..outputs).map(|output| of(counts.get(output).copied().unwrap_or(0), whole)).collect()
    };
    Turn {
        held: of(taped.held, taped.items),
        exclusive: of(taped.exclusive, taped.held),
        asks: each(&taped.asked, taped.held),
        emits: each(&taped.sent, taped.items.saturating_sub(taped.held)),
        held_ns: times(&taped.held_ns),
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
