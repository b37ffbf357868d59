//! `tidegate whatif` as it is typed: what it says of a recording, of another file, and what to do where it cannot.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use common::tidegate;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_recording::{Emits, Messages, Recording, Service, StageTape, Times, VERSION, Way};

const DEFAULT: &str = include_str!("../pipeline.toml");

/// A second of 1,000 messages, each in a commit of its own that takes 2 ms for up to 64: one worker with batches is enough.
fn recording() -> Recording {
    let stage = |to: &[(&str, Way, f64)], cpu: f64, ns: u64| StageTape {
        sheddable: true,
        events: 1_000,
        service: [1.0, 64.0].map(|size| Service { size, ns: Times(vec![(ns, 500)]), cpu, around_ns: 500.0 }).to_vec(),
        emits: to
            .iter()
            .map(|(output, way, mean)| Emits {
                output: (*output).to_owned(),
                way: *way,
                most: 1,
                mean: *mean,
                of_batch: *mean,
            })
            .collect(),
        ..StageTape::default()
    };
    let (line, side) = (Way::Line, Way::Side);
    let mut stages = BTreeMap::from([
        ("decode", stage(&[("next", line, 1.0)], 1.0, 2_000)),
        ("authenticate", stage(&[("next", line, 1.0)], 1.0, 2_000)),
        (
            "route",
            stage(
                &[("durable", line, 1.0), ("transient", line, 0.0), ("before", side, 0.0), ("lookup", side, 0.0)],
                1.0,
                3_000,
            ),
        ),
        ("persist", stage(&[("fan_out", line, 1.0), ("lookup", side, 0.0)], 0.1, 2_000_000)),
        ("fan_out", stage(&[("offline", side, 0.0)], 1.0, 5_000)),
        ("read", StageTape { sheddable: true, ..stage(&[], 0.5, 1_000) }),
        ("hook", stage(&[("push", side, 0.0)], 1.0, 1_000)),
        ("push", stage(&[], 1.0, 1_000)),
    ]);
    for name in ["persist", "read"] {
        stages.entry(name).and_modify(|stage| stage.blocks = true);
    }
    stages.entry("decode").and_modify(|stage| stage.arrivals = (0..1_000).map(|n| (n * 10, 1)).collect());
    Recording {
        version: VERSION,
        program: "a test".to_owned(),
        seconds: 1.0,
        cores: 2,
        beside: 0.0,
        config: DEFAULT.to_owned(),
        stages: stages.into_iter().map(|(name, stage)| (name.to_owned(), stage)).collect(),
        messages: Messages::default(),
    }
}

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    tidegate().arg("whatif").args(arguments).current_dir(folder.path()).output().unwrap()
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("minute.json"), serde_json::to_string(&recording()).unwrap()).unwrap();
    folder
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn commits_of_one_are_seen_to_be_too_slow_before_anybody_tries_them() {
    let folder = folder();
    fs::write(folder.path().join("other.toml"), DEFAULT.replace("[stages.persist]", "[stages.persist]\nbatch = 1"))
        .unwrap();
    let said = json(&run(&folder, &["minute.json", "--config", "other.toml", "--json"]));
    let rate = |of: &str| said[of]["throughput"].as_f64().unwrap();
    assert!((950.0..=1_001.0).contains(&rate("replayed")), "{said}");
    assert!((400.0..=520.0).contains(&rate("predicted")), "500 commits of 2 ms fit into a second: {said}");
    assert_eq!(said["predicted"]["last"], "fan_out");

    let words = run(&folder, &["minute.json", "--config", "other.toml"]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("other.toml") && words.contains("persist at work"), "{words}");
}

#[test]
fn a_search_finds_what_holds_up_the_others() {
    let folder = folder();
    fs::write(folder.path().join("other.toml"), DEFAULT.replace("[stages.persist]", "[stages.persist]\nbatch = 1"))
        .unwrap();
    let arguments = ["minute.json", "--config", "other.toml", "--suggest", "--goal", "throughput", "--json"];
    let said = json(&run(&folder, &arguments));
    let steps = said["suggestion"]["steps"].as_array().unwrap();
    assert!(steps.first().is_some_and(|step| step["change"].as_str().unwrap().starts_with("persist ")), "{said}");
    let rate = |of: &str| said["suggestion"][of]["throughput"].as_f64().unwrap();
    assert!(rate("after") > 1.5 * rate("before"), "{said}");
}

#[test]
fn what_is_no_recording_is_refused_in_words() {
    let folder = folder();
    fs::write(folder.path().join("wrong.json"), "{}").unwrap();
    let wrong = run(&folder, &["wrong.json"]);
    let words = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(words.contains("wrong.json is no recording") && words.contains("tidegate record"), "{words}");
}
