//! Predictions against what really happens: one recording of a small real pipeline (`toy.rs`), other configurations of
//! it predicted from that, and then run.
//!
//! `cargo test --release -p tidegate-whatif --test proof -- --ignored --nocapture` prints the table of docs/whatif.md.

mod toy;

use std::time::Duration;

use tidegate_engine::{StagePatch, Topology};
use tidegate_recording::Recording;
use tidegate_whatif::{Figures, Load, predict};

const RATE: f64 = 1_000.0;

fn with(topology: &Topology, stage: &str, patch: StagePatch) -> Topology {
    topology.with_stage(stage, patch).unwrap()
}

fn workers(topology: &Topology, stage: &str, workers: usize) -> Topology {
    with(topology, stage, StagePatch { workers: Some(workers), ..StagePatch::default() })
}

fn batch(topology: &Topology, stage: &str, batch: usize) -> Topology {
    with(topology, stage, StagePatch { batch: Some(batch), ..StagePatch::default() })
}

fn shared(topology: &Topology, stages: &[&str]) -> Topology {
    let pool = || StagePatch { pool: Some(Some("shared".to_owned())), ..StagePatch::default() };
    stages.iter().fold(topology.clone(), |topology, stage| with(&topology, stage, pool()))
}

fn figures(recording: &Recording, topology: &Topology) -> Figures {
    Figures::of(&recording.stages, topology, recording.seconds)
}

fn p99(figures: &Figures) -> f64 {
    figures.end_to_end.map_or(f64::NAN, |spread| spread.p99 as f64 / 1e6)
}

/// How far the second is from the first, as a share of the first.
fn error(real: f64, said: f64) -> f64 {
    (said - real).abs() / real
}

/// A neighbour of this machine can spoil a run; then it is made again.
const TIMES: usize = 3;

#[test]
fn what_decides_is_seen_before_it_is_done() {
    let base = toy::topology();
    let recording = toy::run(&base, RATE, Duration::from_secs(3), 1);
    let (few, slow) = (workers(&base, "ask", 1), batch(&base, "commit", 1));
    for (name, topology, speed) in [("one that asks", few, 3.0), ("commits of one", slow, 1.0)] {
        let said = predict(&recording, &topology, Load { speed, ..Load::default() }).unwrap();
        assert!(
            said.throughput < 0.7 * RATE * speed,
            "{name}: {:.0}/s; it was meant to be too little",
            said.throughput
        );
        let run = |_| figures(&toy::run(&topology, RATE * speed, Duration::from_secs(2), 2), &topology).throughput;
        let real: Vec<f64> = (0..TIMES).map(run).collect();
        let off = real.iter().map(|real| error(*real, said.throughput)).fold(f64::INFINITY, f64::min);
        assert!(off < 0.2, "{name}: {:.0}/s said, {real:.0?}/s real", said.throughput);
    }
}

#[test]
fn the_same_recording_says_the_same_each_time() {
    let base = toy::topology();
    let recording = toy::run(&base, RATE, Duration::from_millis(500), 1);
    let say = || predict(&recording, &workers(&base, "commit", 2), Load::default()).unwrap();
    assert_eq!(say(), say());
}

#[test]
#[ignore = "runs for minutes, and prints a table"]
fn table() {
    let base = toy::topology();
    let recording = toy::run(&base, RATE, Duration::from_secs(15), 1);
    let mut cases: Vec<(String, Topology, f64)> = Vec::new();
    for speed in [0.5, 1.0, 1.5, 2.5] {
        cases.push(("as recorded".to_owned(), base.clone(), speed));
    }
    for (stage, counts) in [("ask", [1, 2, 4, 8]), ("commit", [2, 3, 4, 6])] {
        for count in counts {
            for speed in [1.0, 2.0] {
                cases.push((format!("{stage} workers={count}"), workers(&base, stage, count), speed));
            }
        }
    }
    for size in [1, 2, 4, 8, 64] {
        cases.push((format!("commit batch={size}"), batch(&base, "commit", size), 1.0));
    }
    for size in [1, 16] {
        cases.push((format!("ask batch={size}"), batch(&base, "ask", size), 1.0));
    }
    let more = |ask, commit, size| batch(&workers(&workers(&base, "ask", ask), "commit", commit), "commit", size);
    for (ask, commit, size, speed) in
        [(8, 1, 64, 2.0), (8, 2, 32, 3.0), (8, 4, 8, 2.0), (12, 2, 64, 4.0), (6, 2, 4, 1.5)]
    {
        cases.push((
            format!("ask workers={ask}, commit workers={commit} batch={size}"),
            more(ask, commit, size),
            speed,
        ));
    }
    let pooled = shared(&base, &["read", "send"]);
    for speed in [1.0, 1.5] {
        cases.push(("read, send share 2".to_owned(), pooled.clone(), speed));
    }
    let pooled = shared(&base, &["read", "ask", "send"]);
    cases.push(("read, ask, send share 2".to_owned(), pooled, 0.8));

    println!("{} processors, {} configurations", toy::cores(), cases.len());
    println!(
        "| configuration | load | real/s | again | said | error | again | p99 ms | again | said | error | again |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut errors: [Vec<f64>; 4] = Default::default();
    for (name, topology, speed) in &cases {
        let run = |seed| figures(&toy::run(topology, RATE * speed, Duration::from_secs(4), seed), topology);
        let (real, again) = (run(11), run(12));
        let said = predict(&recording, topology, Load { speed: *speed, first_seconds: Some(4.0 * speed), cores: None })
            .unwrap();
        let off = [
            error(real.throughput, said.throughput),
            error(real.throughput, again.throughput),
            error(p99(&real), p99(&said)),
            error(p99(&real), p99(&again)),
        ];
        println!(
            "| {name} | {speed} | {:.0} | {:.0} | {:.0} | {:.0}% | {:.0}% | {:.2} | {:.2} | {:.2} | {:.0}% | {:.0}% |",
            real.throughput,
            again.throughput,
            said.throughput,
            off[0] * 100.0,
            off[1] * 100.0,
            p99(&real),
            p99(&again),
            p99(&said),
            off[2] * 100.0,
            off[3] * 100.0,
        );
        errors.iter_mut().zip(off).for_each(|(all, one)| all.push(one));
    }
    let medians = errors.map(|mut of| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    });
    println!(
        "median errors: throughput {:.1}% (repeating {:.1}%), p99 {:.1}% (repeating {:.1}%)",
        medians[0] * 100.0,
        medians[1] * 100.0,
        medians[2] * 100.0,
        medians[3] * 100.0
    );
    assert!(medians[0] <= 0.10 && medians[2] <= 0.30, "{medians:?}");
}
