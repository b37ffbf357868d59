//! What waits for something else in the simulation: a question for whom it asks, a commit for the one before it. The
//! recordings are made up, so that anybody can work out what has to come.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_engine::{StageSettings, Topology};
use tidegate_recording::{Emits, Messages, Recording, Service, StageTape, Times, Turn, VERSION, Way};
use tidegate_whatif::{Figures, Load, predict};

const MS: u64 = 1_000_000;

/// A second of 1,000 events, evenly, which come to `route`.
fn recording(stages: &[(&str, StageTape)]) -> Recording {
    let mut stages: BTreeMap<String, StageTape> =
        stages.iter().map(|(name, tape)| ((*name).to_owned(), tape.clone())).collect();
    stages.get_mut("route").unwrap().arrivals = (0..1_000).map(|n| (n * 10, 1)).collect();
    Recording {
        version: VERSION,
        program: "a test".to_owned(),
        seconds: 1.0,
        cores: 2,
        beside: 0.0,
        config: String::new(),
        stages,
        messages: Messages::default(),
    }
}

/// One event at a time takes so long, and no processor.
fn waits(ns: u64) -> StageTape {
    let service = vec![Service { size: 1.0, ns: Times(vec![(ns, 1_000)]), cpu: 0.0, around_ns: 0.0 }];
    StageTape { events: 1_000, service, ..StageTape::default() }
}

fn emits(output: &str, way: Way, of_batch: f64) -> Emits {
    Emits { output: output.to_owned(), way, most: 1, mean: 1.0, of_batch }
}

/// With a door that refuses nobody for waiting.
fn play(recording: &Recording, topology: &Topology) -> Figures {
    let mut topology = topology.clone();
    topology.stages.iter_mut().for_each(|stage| stage.delay_target = Duration::from_secs(30));
    predict(recording, &topology, Load::default()).unwrap()
}

fn about(got: f64, wanted: f64) {
    assert!((got - wanted).abs() < wanted * 0.1, "{got} and not {wanted}");
}

/// `route` asks `read` about each event and goes on when it is answered.
fn asking(answers: bool) -> (Recording, impl Fn(usize) -> Topology) {
    let held_ns = Times(vec![(20 * MS, 1_000)]);
    let first = Turn { held: 1.0, exclusive: 0.0, asks: vec![0.0, 1.0], emits: vec![0.0, 0.0], held_ns };
    let second = Turn { emits: vec![1.0, 0.0], ..Turn::default() };
    let route = StageTape {
        emits: vec![emits("next", Way::Line, 0.0), emits("lookup", Way::Side, 0.0)],
        turns: vec![first, second],
        ..waits(1_000)
    };
    let read = StageTape { answers, ..waits(2 * MS) };
    let recording = recording(&[("route", route), ("read", read), ("end", waits(1_000))]);
    let topology = |workers| {
        let route = StageSettings { window: 1_000, ..StageSettings::new("route") };
        let read = StageSettings { workers, batch: 1, ..StageSettings::new("read") };
        Topology {
            stages: vec![route.to("next", "end").to("lookup", "read"), read, StageSettings::new("end")],
            pools: vec![],
        }
    };
    (recording, topology)
}

#[test]
fn who_asks_waits_as_long_as_the_one_that_answers_takes() {
    let (recording, with) = asking(true);
    about(play(&recording, &with(1)).throughput, 500.0);
    about(play(&recording, &with(4)).throughput, 1_000.0);
    let stays = play(&recording, &with(4)).end_to_end.unwrap();
    assert!((2 * MS..3 * MS).contains(&stays.p50), "as long as it takes, and not as long as it took: {stays:?}");
}

#[test]
fn a_call_takes_as_long_as_it_took_once_it_is_made() {
    let (recording, with) = asking(false);
    about(play(&recording, &with(1)).throughput, 500.0);
    let stays = play(&recording, &with(4)).end_to_end.unwrap();
    assert!((19 * MS..21 * MS).contains(&stays.p50), "{stays:?}");
}

#[test]
fn commits_that_wait_together_do_not_wait_side_by_side() {
    let route = StageTape { emits: vec![emits("next", Way::Line, 1.0)], ..waits(1_000) };
    let commit = |waits_together| StageTape { waits_together, ..waits(10 * MS) };
    let topology = |workers| {
        let commit = StageSettings { workers, batch: 1, ..StageSettings::new("commit") };
        Topology { stages: vec![StageSettings::new("route").to("next", "commit"), commit], pools: vec![] }
    };
    for (waits_together, workers, wanted) in [(false, 4, 400.0), (true, 1, 100.0), (true, 2, 100.0), (true, 4, 200.0)] {
        let recording = recording(&[("route", route.clone()), ("commit", commit(waits_together))]);
        about(play(&recording, &topology(workers)).throughput, wanted);
    }
}

#[test]
fn what_the_rest_of_the_process_needs_is_not_there_for_the_stages() {
    let works = StageTape {
        service: vec![Service { size: 1.0, ns: Times(vec![(3 * MS, 1_000)]), cpu: 1.0, around_ns: 0.0 }],
        ..waits(1)
    };
    let route = StageTape { emits: vec![emits("next", Way::Line, 1.0)], ..waits(1_000) };
    let busy = StageSettings { workers: 4, batch: 1, ..StageSettings::new("busy") };
    let topology = Topology { stages: vec![StageSettings::new("route").to("next", "busy"), busy], pools: vec![] };
    for (beside, wanted) in [(0.0, 667.0), (0.5, 500.0), (1.0, 333.0)] {
        let recording = Recording { beside, ..recording(&[("route", route.clone()), ("busy", works.clone())]) };
        about(play(&recording, &topology).throughput, wanted);
    }
}
