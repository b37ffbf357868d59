//! `tidegate whatif` against the real server: one recording, other configurations and loads predicted from it, and then
//! really run.
//!
//! What decides here is held by things that do not depend on who else uses the machine: an app's server that thinks for
//! so long, syncs that take so much longer, pages of history that keep their thread so long. Which of them is narrow is
//! the configuration's and the load's doing.
//!
//! A few always run, with wide bounds. The table of docs/whatif.md, in parts of four minutes (say it again until it is
//! complete; the folder keeps the recording and what was run, delete it to begin anew), with data in memory, so that the
//! syncs take as long as they are made to:
//!
//!     TMPDIR=/dev/shm TIDEGATE_WHATIF=/tmp/whatif cargo test --release --test whatif_real -- --ignored --nocapture
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::faults::What;
use common::open_loop::{Crowd, Load, quantile};
use common::server::Shim;
use common::{Receiver, Reply, Server, Setup, eventually, http, tidegate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long the app's server thinks about each message.
const HOOK: Duration = Duration::from_millis(20);
/// What a sync takes longer.
const SYNC_MS: i64 = 6;
/// What a page of history takes at least.
const PAGE_US: u32 = 4_000;

/// What comes in a second at a load of 1, and the part of it that asks for history.
const RATE: f64 = 300.0;
const PAGES: f64 = 0.2;
const USERS: usize = 20;

/// One configuration under one load.
#[derive(Clone)]
struct Case {
    load: f64,
    /// Lines of stages' tables.
    stages: Vec<(&'static str, &'static str)>,
    pools: &'static str,
}

fn case(load: f64, stages: &[(&'static str, &'static str)]) -> Case {
    Case { load, stages: stages.to_vec(), pools: "" }
}

const RECORDED: &[(&str, &str)] = &[];

impl Case {
    fn name(&self) -> String {
        let lines = |(stage, lines): &(&str, &str)| format!("{stage} {}", lines.replace('\n', " ").replace(" = ", "="));
        let pools = self.pools.replace("reactors = false", "").replace(['\n', '[', ']'], " ").replace(" = ", "=");
        let said = self.stages.iter().map(lines).chain((!pools.is_empty()).then_some(pools));
        let said: Vec<String> = said.map(|part| part.trim().to_owned()).collect();
        if said.is_empty() { "as recorded".to_owned() } else { said.join(", ") }
    }

    fn key(&self) -> String {
        format!("{} at {}", self.name(), self.load)
    }

    /// The recorded configuration, or what differs from it in this case.
    fn tables(&self, hook: &str) -> String {
        let stage = |name: &&str| {
            // Small, so that what waits is as much early in a run as late.
            let is_bounded = ["decode", "authenticate", "route", "persist", "read"].contains(name);
            let mut keys = BTreeMap::from([("delay_target", "\"30s\""), ("key_share", "1.0")]);
            keys.extend(is_bounded.then_some(("bound", "64")));
            // A batch's events have to fit into what comes next.
            keys.extend(["decode", "authenticate", "route"].contains(name).then_some(("batch", "4")));
            keys.extend((*name == "read").then_some(("workers", "2")));
            let own = self.stages.iter().filter(|(stage, _)| stage == name);
            keys.extend(own.flat_map(|(_, lines)| lines.lines()).filter_map(|line| line.split_once(" = ")));
            let lines: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            format!("[stages.{name}]\n{lines}")
        };
        let names = ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"];
        let stages: String = names.iter().map(stage).collect();
        let app = common::app(common::APP, "");
        format!(
            "[journeys]\nsample = 1.0\n{stages}{}\n{app}[[app.webhook]]\nurl = \"{hook}\"\nsecret = \"a secret of some length\"\n\
             events = [\"messageReceived\"]\nconcurrency = 128\n",
            self.pools
        )
    }
}

/// What a run came to, or is said to come to.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Came {
    /// Messages a second that reached the end of the line.
    rate: f64,
    /// From the door to there, in milliseconds.
    p50: f64,
    p99: f64,
    /// What the clients saw, from when they should have sent to the acknowledgement.
    clients_p99: f64,
}

impl Came {
    fn of(figures: &Value) -> Came {
        let ms = |name: &str| figures["end_to_end"][name].as_f64().unwrap_or(f64::NAN) / 1e6;
        let rate = figures["throughput"].as_f64().unwrap_or(f64::NAN);
        Came { rate, p50: ms("p50"), p99: ms("p99"), clients_p99: f64::NAN }
    }
}

fn whatif(arguments: &[&str]) -> Value {
    let output = tidegate().arg("whatif").args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the real server so, and records it for so long under its load. What was recorded is in `out`, and beside it, as
/// .toml, what it ran by.
fn run(case: &Case, seconds: f64, seed: u64, out: &Path) -> Came {
    let hook = Receiver::start(|_| Reply::After(HOOK, Box::new(Reply::Json(json!({})))));
    let tables = case.tables(&hook.url());
    let server = Server::launch(Setup { tables, shim: Shim::Faults, ..Setup::default() });
    fs::copy(server.config(), out.with_extension("toml")).unwrap();
    let mut crowd = Crowd::enter(&server, USERS, seed);
    let load = |seconds| Load { rate: RATE * case.load, seconds, transient: 0.0, hot: 0.0 };
    (crowd.dedupes, crowd.rests) = (true, true);
    // So that there is a history, and nothing is done for the first time any more.
    crowd.send(Load { rate: 1_000.0, ..load(0.3) });
    crowd.asks = PAGES;
    server.faults().set(What::SyncDelayMs, SYNC_MS);
    server.faults().slow_down("read", PAGE_US);
    crowd.send(load(0.7));
    let admin = format!("http://{}", server.admin());
    let mut recorder = tidegate();
    recorder.args(["record", "--force", "--for", &format!("{seconds}s"), "--admin", &admin, "--out"]).arg(out);
    let child = recorder.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the recording to begin", || {
        let now = http::get(server.admin(), "/record").json();
        (!now.is_null()).then_some(())
    });
    let sent = crowd.send(load(seconds + 0.5));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let recorded = whatif(&[out.to_str().unwrap()]);
    let seen = sent.iter().filter(|sent| sent.is_in()).map(|sent| sent.ms()).collect();
    Came { clients_p99: quantile(seen, 0.99), ..Came::of(&recorded["recorded"]) }
}

/// What is said of the configuration that was run for `real`.
fn say(recording: &Path, config: &Path, load: f64) -> Came {
    let speed = load.to_string();
    let said = whatif(&[recording.to_str().unwrap(), "--config", config.to_str().unwrap(), "--speed", &speed]);
    Came::of(&said["predicted"])
}

/// How far the second is from the first, as a share of the first.
fn error(real: f64, other: f64) -> f64 {
    (other - real).abs() / real
}

/// A neighbour of this machine can spoil a run; then it is made again.
const TIMES: usize = 3;

#[test]
fn what_is_narrow_is_seen_before_it_is_run() {
    let folder = tempfile::TempDir::new().unwrap();
    let recording = folder.path().join("recording.json");
    run(&case(1.0, RECORDED), 4.0, 1, &recording);
    let cases = [
        case(1.0, &[("persist", "batch = 1")]),
        case(1.0, &[("persist", "batch = 1\nworkers = 4")]),
        case(4.0, &[("route", "window = 1")]),
    ];
    for case in cases {
        let out = folder.path().join("real.json");
        let is_right = |_| {
            let real = run(&case, 2.0, 2, &out);
            let said = say(&recording, &out.with_extension("toml"), case.load);
            let is_near = error(real.rate, said.rate) < 0.3;
            // What waits in a queue that fills is as long as the run is: a factor is enough here.
            let is_like = (1.0 / 4.0..4.0).contains(&(said.p99 / real.p99));
            println!("{}: {real:?}, said {said:?}", case.key());
            is_near && is_like
        };
        assert!((0..TIMES).any(is_right), "{}", case.key());
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |loads: &[f64], stages: &[(&'static str, &'static str)]| {
        cases.extend(loads.iter().map(|load| case(*load, stages)));
    };
    add(&[0.1, 0.5, 1.0, 2.0, 3.0], RECORDED);
    // Bound by commits.
    add(&[0.5, 1.0], &[("persist", "batch = 1")]);
    add(&[1.0, 2.0], &[("persist", "batch = 2")]);
    add(&[1.0, 2.0], &[("persist", "batch = 4")]);
    add(&[3.0], &[("persist", "batch = 8")]);
    add(&[1.0], &[("persist", "batch = 1\nworkers = 2")]);
    add(&[1.0, 2.0], &[("persist", "batch = 1\nworkers = 4")]);
    add(&[2.0], &[("persist", "batch = 2\nworkers = 6")]);
    add(&[2.0], &[("persist", "workers = 4")]);
    // Bound by readers.
    add(&[1.0, 2.0, 3.0], &[("read", "workers = 1")]);
    add(&[2.0, 3.0], &[("read", "workers = 4")]);
    add(&[2.0], &[("read", "batch = 1")]);
    add(&[2.0], &[("read", "batch = 1\nworkers = 1")]);
    // Bound by the hook, as those of one conversation wait for each other.
    add(&[1.0, 2.0, 4.0], &[("route", "window = 1")]);
    add(&[2.0, 4.0], &[("route", "window = 2")]);
    add(&[3.0], &[("route", "window = 4\nworkers = 2")]);
    // Bounds and what happens at them.
    add(&[1.0], &[("persist", "batch = 1\nbound = 8")]);
    add(&[1.0], &[("persist", "batch = 1\nbound = 16\npolicy = \"shed\"")]);
    add(&[2.0], &[("route", "bound = 16")]);
    add(&[1.0], &[("persist", "batch = 1"), ("decode", "bound = 8"), ("route", "bound = 16")]);
    // Overload as the door is by default.
    add(&[2.0], &[("persist", "batch = 2\ndelay_target = \"25ms\"")]);
    add(&[3.0], &[("persist", "batch = 2\ndelay_target = \"25ms\"")]);
    // Several at once.
    add(&[2.0], &[("persist", "batch = 4"), ("read", "workers = 1"), ("route", "window = 2")]);
    add(&[3.0], &[("persist", "batch = 4\nworkers = 4"), ("read", "workers = 4")]);
    let line = |stages: &[&'static str]| stages.iter().map(|stage| (*stage, "pool = \"line\"")).collect::<Vec<_>>();
    let shared = line(&["decode", "authenticate", "route", "fan_out"]);
    let all = line(&["decode", "authenticate", "route", "fan_out", "hook", "push"]);
    let one = "[pools.line]\nworkers = 1\nreactors = false\n";
    let two = "[pools.line]\nworkers = 2\nreactors = false\n";
    for (load, stages, pools) in [(1.0, &shared, one), (3.0, &shared, one), (2.0, &all, one), (3.0, &all, two)] {
        cases.push(Case { load, stages: stages.clone(), pools });
    }
    cases
}

/// How long each is recorded, and how long a part of all of them may take.
const RECORDING: f64 = 20.0;
const REAL: f64 = 5.0;
const PART: Duration = Duration::from_secs(240);

#[test]
#[ignore = "measures: a quarter of an hour on a machine with nothing else to do, in parts"]
fn table() {
    let begun = Instant::now();
    let spare = tempfile::TempDir::new().unwrap();
    let asked = std::env::var_os("TIDEGATE_WHATIF").map(PathBuf::from);
    let folder = asked.clone().unwrap_or_else(|| spare.path().to_owned());
    fs::create_dir_all(&folder).unwrap();
    let (recording, runs) = (folder.join("recording.json"), folder.join("runs.json"));
    let base = case(1.0, RECORDED);
    if !recording.exists() {
        run(&base, RECORDING, 1, &recording);
    }
    let cases = cases();
    let mut real: BTreeMap<String, Vec<Came>> =
        fs::read(&runs).map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default();
    // First all of them once, and then once more, so that what changes slowly is between the two.
    for seed in [11, 12] {
        for (n, case) in cases.iter().enumerate() {
            let of_case = real.entry(case.key()).or_default();
            let is_over = asked.is_some() && begun.elapsed() > PART;
            if of_case.len() < seed as usize - 10 && !is_over {
                of_case.push(run(case, REAL, seed, &folder.join(format!("{n}.json"))));
                fs::write(&runs, serde_json::to_string(&real).unwrap()).unwrap();
            }
        }
    }
    let missing: usize = cases.iter().map(|case| 2 - real[&case.key()].len().min(2)).sum();
    println!("{} configurations and loads, {missing} runs missing", cases.len());
    println!(
        "| configuration | load | real/s | again | said | error | again | p99 ms | again | said | error | again | clients' p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut errors: [Vec<f64>; 4] = Default::default();
    for (n, case) in cases.iter().enumerate() {
        let came = &real[&case.key()];
        let Some(one) = came.first() else { continue };
        let said = say(&recording, &folder.join(format!("{n}.toml")), case.load);
        let again = came.get(1).copied().unwrap_or(Came { rate: f64::NAN, p99: f64::NAN, ..Came::default() });
        let off = [
            error(one.rate, said.rate),
            error(one.rate, again.rate),
            error(one.p99, said.p99),
            error(one.p99, again.p99),
        ];
        let [rate, rate_again, p99, p99_again] = off.map(|off| match off.is_nan() {
            true => "-".to_owned(),
            false => format!("{:.0}%", off * 100.0),
        });
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {rate} | {rate_again} | {:.1} | {:.1} | {:.1} | {p99} | {p99_again} | {:.1} |",
            case.name(),
            case.load,
            one.rate,
            again.rate,
            said.rate,
            one.p99,
            again.p99,
            said.p99,
            one.clients_p99,
        );
        errors.iter_mut().zip(off).filter(|(_, off)| !off.is_nan()).for_each(|(all, one)| all.push(one));
    }
    let medians = errors.map(|mut of| {
        of.sort_by(f64::total_cmp);
        of.get(of.len() / 2).copied().unwrap_or(f64::NAN) * 100.0
    });
    let [rate, rate_again, p99, p99_again] = medians;
    println!(
        "median errors: throughput {rate:.1}% (repeating {rate_again:.1}%), p99 {p99:.1}% (repeating {p99_again:.1}%)"
    );
    assert!(missing > 0 || (rate <= 10.0 && p99 <= 30.0), "{medians:?}");
}
