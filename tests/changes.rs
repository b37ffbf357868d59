//! What is done with live changes: tried, listed, taken back, read from the file and saved into it, over HTTP, by signal and
//! by command.

mod common;

use std::fs;
use std::process::Output;

use common::server::signal;
use common::{Client, Server, eventually, http, tidegate};
use serde_json::{Value, json};

/// Somebody's own file: what it looks like is theirs.
const STAGES: &str = "\
# our pipeline, 我们的流水线
[stages.decode]
[stages.authenticate]
[stages.route]   # who may
[stages.persist]
batch   =   8     # small, for the example
pool = 'disk'
[stages.fan_out]
[stages.read]
pool = 'disk'
[stages.hook]
[stages.push]

[pools.disk]
workers = 2   # threads
";

fn post(server: &Server, path: &str) -> (u16, Value) {
    let answer = http::request(server.admin(), "POST", path, "").unwrap();
    (answer.status, answer.json())
}

fn patch(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let answer = http::patch(server.admin(), path, &body.to_string());
    (answer.status, answer.json())
}

fn get(server: &Server, path: &str) -> Value {
    http::get(server.admin(), path).json()
}

fn stage(server: &Server, name: &str) -> Value {
    get(server, &format!("/stages/{name}"))
}

fn tune(server: &Server, arguments: &[&str]) -> Output {
    let admin = server.admin().to_string();
    tidegate().arg("tune").args(arguments).args(["--admin", &admin]).env("USER", "ann").output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_change_is_tried_made_listed_and_taken_back() {
    let server = Server::start();
    let (status, tried) = patch(&server, "/stages/persist?dry_run=true", &json!({"batch": 16, "workers": 2}));
    let wanted = json!([
        {"key": "stages.persist.workers", "from": 1, "to": 2},
        {"key": "stages.persist.batch", "from": 64, "to": 16},
    ]);
    assert_eq!((status, &tried["changes"], &tried["dry_run"]), (200, &wanted, &json!(true)));
    assert_eq!((stage(&server, "persist")["batch"].clone(), get(&server, "/changes")), (json!(64), json!([])));
    // What cannot be is said of a trial too.
    assert_eq!(patch(&server, "/stages/fan_out?dry_run=true", &json!({"policy": "shed"})).0, 422);
    assert_eq!(post(&server, "/undo").0, 409);

    assert_eq!(patch(&server, "/stages/persist", &json!({"batch": 16, "workers": 2})).1["batch"], 16);
    assert_eq!(patch(&server, "/pools/persist", &json!({"workers": 3})).1["workers"], 3);
    assert_eq!(patch(&server, "/stages/persist", &json!({"batch": 16})).0, 200, "it was so already: no change");
    let changes = get(&server, "/changes");
    assert_eq!((changes[0]["changes"].clone(), changes.as_array().unwrap().len()), (wanted, 2));
    assert_eq!(changes[1]["changes"], json!([{"key": "stages.persist.workers", "from": 2, "to": 3}]));
    assert!(changes[0]["by"].as_str().unwrap().starts_with("from 127.0.0.1:"), "{changes}");
    let of: Vec<_> = changes[0]["effect"].as_array().unwrap().iter().map(|effect| effect["of"].clone()).collect();
    assert_eq!((of, &changes[0]["effect"][0]["after"]), (vec![json!("pipeline"), json!("persist")], &Value::Null));

    assert_eq!(post(&server, "/undo?dry_run=true").1["undoes"], 2);
    assert_eq!(stage(&server, "persist")["workers"], 3);
    assert_eq!(post(&server, "/undo").1["undoes"], 2);
    assert_eq!(stage(&server, "persist")["workers"], 2);
    assert_eq!(post(&server, "/undo").1["undoes"], 1);
    assert_eq!(
        (stage(&server, "persist")["workers"].clone(), stage(&server, "persist")["batch"].clone()),
        (json!(1), json!(64))
    );
    assert_eq!(post(&server, "/undo").0, 409);
    assert_eq!(get(&server, "/changes")[0]["undone_by"], 4);
}

#[test]
fn what_is_running_is_saved_into_the_file_and_nothing_else_of_it_changes() {
    let mut server = Server::with(STAGES);
    let before = fs::read_to_string(server.config()).unwrap();
    assert_eq!(post(&server, "/config/save").1["backup"], Value::Null, "it says already what is running");
    patch(&server, "/stages/persist", &json!({"batch": 128, "delay_target_ms": 40}));
    patch(&server, "/pools/disk", &json!({"workers": 3}));
    assert_eq!(post(&server, "/config/save?dry_run=true").1["changes"].as_array().unwrap().len(), 3);
    assert_eq!(fs::read_to_string(server.config()).unwrap(), before);
    let (status, saved) = post(&server, "/config/save");
    assert_eq!(status, 200, "{saved}");
    let after = fs::read_to_string(server.config()).unwrap();
    let gone: Vec<_> = before.lines().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    assert_eq!(gone, ["batch   =   8     # small, for the example", "workers = 2   # threads"]);
    assert_eq!(
        new,
        ["batch   =   128     # small, for the example", "delay_target = \"40ms\"", "workers = 3   # threads"]
    );
    assert_eq!(fs::read_to_string(saved["backup"].as_str().unwrap()).unwrap(), before);
    server.kill9();
    server.restart();
    assert_eq!(
        (stage(&server, "persist")["batch"].clone(), stage(&server, "persist")["delay_target_ms"].clone()),
        (json!(128), json!(40))
    );

    // Somebody has it open in an editor.
    fs::write(server.config(), after + "# mine\n").unwrap();
    patch(&server, "/stages/persist", &json!({"batch": 99}));
    let (status, refused) = post(&server, "/config/save");
    assert!(status == 409 && refused["error"].as_str().unwrap().contains("changed on disk"), "{refused}");
}

#[test]
fn a_signal_puts_the_file_into_force_whole_or_not_at_all() {
    let mut server = Server::with(STAGES);
    let original = fs::read_to_string(server.config()).unwrap();
    let hang_up = |text: &str| {
        fs::write(server.config(), text).unwrap();
        signal(server.pid(), "HUP");
    };
    hang_up(&original.replace("batch   =   8", "batch = 32").replace("workers = 2", "workers = 4"));
    eventually("the change to be in force", || (stage(&server, "persist")["batch"] == 32).then_some(()));
    assert_eq!(get(&server, "/pools/disk")["workers"], 4);
    assert_eq!(get(&server, "/changes")[0]["by"], "SIGHUP");
    for (wrong, words) in [
        (original.replace("batch   =   8", "bach = 32"), "bach"),
        (original.replace("batch   =   8", "batch = 31\nbound = 10"), "stages.persist"),
        (original.replace("batch   =   8", "batch = 31\nmodule = 'persist'") + "[net]\nreactors = 2\n", "net.reactors"),
        ("[stages".to_owned(), "stages"),
    ] {
        let heard = server.said().matches("nothing was changed").count();
        hang_up(&wrong);
        eventually("a refusal", || (server.said().matches("nothing was changed").count() > heard).then_some(()));
        assert!(server.said().contains(words), "{}", server.said());
        assert_eq!(stage(&server, "persist")["batch"], 32);
    }
    // The server is well after all that, and leaves as it should.
    hang_up(&original);
    eventually("the file as it was to be in force", || (stage(&server, "persist")["batch"] == 8).then_some(()));
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    tom.send(&cid, "well");
    server.term();
    assert_eq!(server.ended(common::PATIENCE).code(), Some(0));
}

#[test]
fn the_number_of_calls_at_once_is_a_setting_like_the_others() {
    let server = Server::with(STAGES);
    let calls = || stage(&server, "hook")["in_flight"].clone();
    assert_eq!((calls(), stage(&server, "route")["in_flight"].clone()), (json!(256), Value::Null));
    let key = |from: u64, to: u64| json!([{"key": "stages.hook.in_flight", "from": from, "to": to}]);
    let tried = patch(&server, "/stages/hook?dry_run=true", &json!({"in_flight": 8})).1;
    assert_eq!((&tried["changes"], calls()), (&key(256, 8), json!(256)));
    for (path, change) in [
        ("/stages/hook", json!({"in_flight": 0})),
        ("/stages/hook", json!({"in_flight": 65_537})),
        ("/stages/hook", json!({"in_flight": 8, "batch": 0})),
        ("/stages/hook", json!({"in_flight": 8, "batch": 100_000})),
        ("/stages/route", json!({"in_flight": 8})),
    ] {
        let (status, refused) = patch(&server, path, &change);
        assert!(status == 422 && calls() == 256, "{path} {change}: {refused}");
    }

    // Among other changes, each is taken back alone.
    assert_eq!(patch(&server, "/stages/hook", &json!({"in_flight": 8, "batch": 16})).1["in_flight"], 8);
    assert!(said(&tune(&server, &["hook", "in_flight=9"])).contains("stages.hook.in_flight: 8 -> 9"));
    assert!(said(&tune(&server, &["hook"])).contains("in_flight=9"));
    patch(&server, "/stages/hook", &json!({"batch": 17}));
    assert_eq!(
        (post(&server, "/undo").0, stage(&server, "hook")["batch"].clone(), calls()),
        (200, json!(16), json!(9))
    );
    assert_eq!((post(&server, "/undo").1["changes"].clone(), calls()), (key(9, 8), json!(8)));
    let config = http::get(server.admin(), "/config").body;
    assert!(config.contains("in_flight = 8\n"), "{config}");

    assert_eq!(post(&server, "/config/save").0, 200);
    let text = fs::read_to_string(server.config()).unwrap();
    assert!(text.contains("[stages.hook]\nbatch = 16\nin_flight = 8\n"), "{text}");
    fs::write(server.config(), text.replace("in_flight = 8", "in_flight = 3")).unwrap();
    signal(server.pid(), "HUP");
    eventually("the file to be in force", || (calls() == 3).then_some(()));
    assert_eq!((post(&server, "/undo").0, calls()), (200, json!(8)), "SIGHUP is a change like others");
}

#[test]
fn the_command_does_the_same() {
    let server = Server::with(STAGES);
    let answer = said(&tune(&server, &["persist", "batch=32", "delay_target=50ms"]));
    assert!(answer.contains("stages.persist.batch: 8 -> 32") && answer.contains("25ms -> 50ms"), "{answer}");
    assert!(said(&tune(&server, &["persist", "batch=32"])).contains("so already"));
    assert!(said(&tune(&server, &["--pool", "disk", "workers=3", "spin=20us"])).contains("pools.disk.workers: 2 -> 3"));
    assert!(said(&tune(&server, &["--pool", "disk", "workers=1", "--dry-run"])).contains("Nothing was changed"));
    assert!(said(&tune(&server, &["persist"])).contains("delay_target=50ms"));
    assert!(said(&tune(&server, &[])).lines().any(|line| line.starts_with("persist") && line.contains("disk")));
    let listed = said(&tune(&server, &["--changes"]));
    assert!(listed.contains("ann, tidegate tune,") && listed.contains("pools.disk.spin: 5us -> 20us"), "{listed}");
    assert!(said(&tune(&server, &["--undo"])).contains("pools.disk.workers: 3 -> 2"));
    assert!(said(&tune(&server, &["--save"])).contains("pipeline.toml.bak"));
    assert!(fs::read_to_string(server.config()).unwrap().contains("batch   =   32     # small"));
    for (arguments, words) in [
        (vec!["nobody", "batch=3"], "no stage named"),
        (vec!["persist", "bach=3"], "unknown field"),
        (vec!["fan_out", "policy=shed"], "must not lose"),
    ] {
        let output = tune(&server, &arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(words), "{error}");
    }
    let nobody = tidegate().args(["tune", "--admin", "127.0.0.1:1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("Is the server running?"), "{nobody:?}");
}

#[test]
fn top_prints_one_look() {
    let server = Server::with(STAGES);
    let admin = server.admin().to_string();
    let look = |arguments: &[&str]| tidegate().arg("top").args(arguments).args(["--admin", &admin]).output().unwrap();
    let second: Value = eventually("a second", || serde_json::from_slice(&look(&["--once", "--json"]).stdout).ok());
    assert_eq!(second["stages"].as_array().map(Vec::len), Some(8), "{second}");
    let picture = said(&look(&["--once"]));
    assert!(
        picture.contains("sessions") && picture.lines().any(|line| line.trim().starts_with("persist")),
        "{picture}"
    );
    let nowhere = look(&[]);
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--once"), "it needs a terminal: {nowhere:?}");
}

#[test]
fn the_running_configuration_is_a_good_file_without_secrets() {
    let server = Server::start();
    patch(&server, "/stages/persist", &json!({"batch": 17}));
    let text = http::get(server.admin(), "/config").body;
    assert!(text.contains("[stages.persist]") && text.contains("batch = 17"), "{text}");
    assert!(!text.contains("development-only"), "{text}");
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("pipeline.toml");
    fs::write(&file, &text).unwrap();
    let checked = tidegate().arg("check").arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn a_file_that_is_gone_is_neither_read_nor_written() {
    let server = Server::start();
    fs::remove_file(server.config()).unwrap();
    let (status, refused) = post(&server, "/config/reload");
    assert!(status == 422 && refused["error"].as_str().unwrap().contains("cannot read"), "{refused}");
    patch(&server, "/stages/persist", &json!({"batch": 18}));
    assert_eq!(post(&server, "/config/save").0, 409);
}
