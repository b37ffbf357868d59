//! `workers = "auto"` and `batch = "auto"` on the real server: it grows from one, says why, and stops when a person sets a
//! number.
//!
//! `cargo test --release --test adaptive table -- --ignored --nocapture` measures what it finds against a grid of fixed
//! settings, and prints the table of docs/tuning.md.

mod common;
#[allow(dead_code)]
#[path = "attribution/load.rs"]
mod load;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::faults::What;
use common::server::Shim;
use common::{APP, Receiver, Reply, Server, Setup, app, eventually, http, patient};
use load::{Act, Fleet, Pace};
use serde_json::{Value, json};

const SAY: Act = Act::Say { bytes: 100, transient: false };

/// A server whose machine can be made slow, patient, with these lines in the table of a stage.
fn server(stage: &str, lines: &str, tables: &str) -> Server {
    let header = format!("[stages.{stage}]\n");
    let tables = patient().replace(&header, &format!("{header}{lines}\n")) + tables;
    Server::launch(Setup { tables, shim: Shim::Faults, ..Setup::default() })
}

/// An app whose messages are agreed to by a server of its own, which takes so long.
fn hooked(takes: Duration) -> (Receiver, String) {
    let receiver = Receiver::start(move |_: &_| Reply::After(takes, Box::new(Reply::Json(json!({})))));
    let hook = format!(
        "[[app.webhook]]\nurl = \"{}\"\nsecret = \"a secret of some length\"\nevents = [\"messageReceived\"]\nconcurrency = 256\n",
        receiver.url()
    );
    (receiver, app(APP, &hook))
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something while so many users do something, each with so many unanswered, in conversations of their own.
fn loaded(server: &Server, users: usize, act: Act, window: usize, then: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let mut fleet = Fleet::enter(server, APP, users, "user-");
    fleet.start_each(&[], 0);
    if act == Act::History {
        fleet.talk(20);
    }
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        scope.spawn(|| fleet.run(act, Pace::Window(window), &stop));
        then();
    });
}

fn get(server: &Server, path: &str) -> Value {
    http::get(server.admin(), path).json()
}

fn stage(server: &Server, name: &str) -> Value {
    get(server, &format!("/stages/{name}"))
}

fn set(server: &Server, stage: &str, wish: Value) -> Value {
    let answer = http::patch(server.admin(), &format!("/stages/{stage}"), &wish.to_string());
    assert_eq!(answer.status, 200, "{wish}: {}", answer.json());
    answer.json()
}

/// Its own steps at a stage, the oldest first.
fn steps(server: &Server, stage: &str) -> Vec<Value> {
    let of = |change: &&Value| {
        let keys = change["changes"].as_array().into_iter().flatten().filter_map(|setting| setting["key"].as_str());
        change["by"] == "adaptive" && keys.into_iter().any(|key| key.split('.').nth(1) == Some(stage))
    };
    get(server, "/changes").as_array().unwrap().iter().filter(of).cloned().collect()
}

/// The server's seconds that come from now on: so many of them, when they are over.
fn seconds(server: &Server, count: u64) -> Vec<Value> {
    let newest = || get(server, "/history?seconds=1")[0]["n"].as_u64().unwrap_or(0);
    // The one that is under way began before.
    let from = newest() + 1;
    eventually("the seconds are over", || (newest() >= from + count).then_some(()));
    let all = get(server, "/history?seconds=60");
    let seconds = all.as_array().unwrap().iter().filter(|second| second["n"].as_u64().unwrap() > from);
    seconds.take(count as usize).cloned().collect()
}

/// Events a second of a stage, over so many seconds from now on.
fn rate(server: &Server, stage: &str, count: u64) -> f64 {
    let of = |second: &Value| {
        let stages = second["stages"].as_array().unwrap();
        stages.iter().find(|of| of["name"] == *stage).unwrap()["rate"].as_f64().unwrap()
    };
    let rates: Vec<f64> = seconds(server, count).iter().map(of).collect();
    rates.iter().sum::<f64>() / rates.len() as f64
}

const AUTO: &str = "workers = \"auto\"\nbatch = \"auto\"";

#[test]
fn commits_get_larger_batches_until_a_person_sets_a_number() {
    let server = server("persist", AUTO, "");
    let found = |server: &Server| {
        let stage = stage(server, "persist");
        (stage["workers"].as_u64().unwrap(), stage["batch"].as_u64().unwrap(), stage["auto"].clone())
    };
    assert_eq!(found(&server), (1, 64, json!({"workers": true, "batch": true})));
    set(&server, "persist", json!({"batch": 1}));
    assert_eq!(found(&server), (1, 1, json!({"workers": true, "batch": false})));
    set(&server, "persist", json!({"batch": "auto"}));
    assert_eq!(found(&server), (1, 1, json!({"workers": true, "batch": true})), "it goes on from there");
    server.faults().set(What::SyncDelayMs, 10);
    loaded(&server, 64, SAY, 4, || {
        eventually("larger batches or more workers", || {
            let (workers, batch, _) = found(&server);
            (workers * batch >= 16).then_some(())
        });
        let reasons = eventually("a step that was judged", || {
            let reasons =
                steps(&server, "persist").into_iter().filter_map(|step| step["why"].as_str().map(str::to_owned));
            let judged: Vec<String> = reasons.filter(|why| why.contains("persist did ")).collect();
            (!judged.is_empty()).then_some(judged)
        });
        assert!(reasons[0].contains("/s with batch 1 and ") || reasons[0].contains("/s with 1 worker"), "{reasons:?}");
        assert!(server.said().contains("by adaptive"), "each step is in the log");

        // A number is a person's, whoever was at it.
        set(&server, "persist", json!({"workers": 1, "batch": 5}));
        let before = steps(&server, "persist").len();
        seconds(&server, 3);
        assert_eq!(
            (found(&server), steps(&server, "persist").len()),
            ((1, 5, json!({"workers": false, "batch": false})), before)
        );
        set(&server, "persist", json!({"workers": "auto", "batch": "auto"}));
        eventually("another step", || (steps(&server, "persist").len() > before).then_some(()));
    });
    // What it does by itself is nothing to take back: that was left to it is.
    let undone = http::request(server.admin(), "POST", "/undo", "").unwrap().json();
    let changes = undone["changes"].as_array().unwrap();
    assert!(changes.contains(&json!({"key": "stages.persist.batch", "from": "auto", "to": 5})), "{undone}");
    assert_eq!(found(&server), (1, 5, json!({"workers": false, "batch": false})));
}

#[test]
fn what_is_saved_is_that_it_is_left_to_the_server() {
    let server = server("persist", AUTO, "");
    set(&server, "route", json!({"workers": "auto"}));
    set(&server, "persist", json!({"batch": 7}));
    let saved = http::request(server.admin(), "POST", "/config/save", "").unwrap().json();
    let wanted = json!([
        {"key": "stages.route.workers", "from": 1, "to": "auto"},
        {"key": "stages.persist.batch", "from": "auto", "to": 7},
    ]);
    assert_eq!(saved["changes"], wanted);
    let file = fs::read_to_string(server.config()).unwrap();
    assert!(file.contains("[stages.persist]\nworkers = \"auto\"\nbatch = 7\n"), "{file}");
    let config = http::get(server.admin(), "/config").body;
    assert!(config.contains("workers = \"auto\""), "{config}");
    let reloaded = http::request(server.admin(), "POST", "/config/reload", "").unwrap().json();
    assert_eq!(reloaded["changes"], json!([]), "it is so already, whatever the numbers are");
}

#[test]
fn a_stage_that_waits_for_the_disk_gets_more_workers() {
    let server = server("read", "workers = \"auto\"", "");
    server.faults().slow_down("read", 3_000);
    loaded(&server, 32, Act::History, 2, || {
        eventually("a second worker", || (stage(&server, "read")["workers"].as_u64() > Some(1)).then_some(()));
        let why = eventually("its reason", || {
            steps(&server, "read")
                .iter()
                .find_map(|step| step["why"].as_str().filter(|why| why.contains(" did ")).map(str::to_owned))
        });
        assert!(why.contains("with 1 worker and "), "{why}");
    });
}

/// A load, the stage that limits it, and the fixed settings that it is held against.
struct Bound {
    name: &'static str,
    stage: &'static str,
    workers: &'static [usize],
    batch: &'static [usize],
    act: Act,
    users: usize,
    window: usize,
    sync_ms: i64,
    slow_us: u32,
    hook_ms: Option<u64>,
}

const BOUND: Bound = Bound {
    name: "",
    stage: "persist",
    workers: &[1, 2, 4],
    batch: &[1, 8, 64, 256],
    act: SAY,
    users: 64,
    window: 8,
    sync_ms: 0,
    slow_us: 0,
    hook_ms: None,
};

#[test]
#[ignore = "measures for minutes, and wants the machine for itself"]
fn table() {
    let loads = [
        Bound { name: "commits, each sync 10 ms longer", sync_ms: 10, ..BOUND },
        Bound { name: "commits, the disk as it is", ..BOUND },
        Bound {
            name: "pages of history, 5 ms each",
            stage: "read",
            workers: &[1, 4, 16, 64],
            batch: &[1, 16, 64],
            act: Act::History,
            window: 2,
            slow_us: 5_000,
            ..BOUND
        },
        Bound {
            name: "a webhook that takes 50 ms",
            stage: "hook",
            workers: &[1, 2, 4],
            batch: &[1, 64],
            hook_ms: Some(50),
            ..BOUND
        },
    ];
    println!(
        "| load | one worker, batch 1 | best fixed | workers × batch | adaptive after 10 s | workers × batch | share | steps |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for load in loads {
        let hook = load.hook_ms.map(|ms| hooked(Duration::from_millis(ms)));
        let server = server(load.stage, "", hook.as_ref().map_or("", |(_, app)| app));
        server.faults().set(What::SyncDelayMs, load.sync_ms);
        if load.slow_us > 0 {
            server.faults().slow_down(load.stage, load.slow_us);
        }
        loaded(&server, load.users, load.act, load.window, || row(&server, &load));
    }
}

fn row(server: &Server, load: &Bound) {
    let set = |workers: Value, batch: Value| set(server, load.stage, json!({"workers": workers, "batch": batch}));
    let grid = load.workers.iter().flat_map(|workers| load.batch.iter().map(move |batch| (*workers, *batch)));
    let measured = grid.map(|(workers, batch)| {
        set(workers.into(), batch.into());
        // The second in which it changed is left out.
        (workers, batch, rate(server, load.stage, 3))
    });
    let measured: Vec<_> = measured.collect();
    let best = measured.iter().max_by(|one, other| one.2.total_cmp(&other.2)).unwrap();
    set(1.into(), 1.into());
    seconds(server, 1);
    let before = steps(server, load.stage).len();
    let begun = Instant::now();
    set("auto".into(), "auto".into());
    thread::sleep(Duration::from_secs(10).saturating_sub(begun.elapsed()));
    let found = stage(server, load.stage);
    let does = rate(server, load.stage, 5);
    // The best again, beside it: a machine that others use is not the same all the time.
    set(best.0.into(), best.1.into());
    let again = rate(server, load.stage, 5);
    println!(
        "| {} | {:.0}/s | {again:.0}/s ({:.0}/s before) | {} × {} | {does:.0}/s | {} × {} | {:.0} % | {} |",
        load.name,
        measured[0].2,
        best.2,
        best.0,
        best.1,
        found["workers"],
        found["batch"],
        100.0 * does / again,
        steps(server, load.stage).len() - before,
    );
    for step in steps(server, load.stage).iter().skip(before) {
        eprintln!("    {}: {}", step["changes"], step["why"]);
    }
}
