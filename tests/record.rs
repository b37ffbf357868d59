//! `tidegate record` and `tidegate replay`: what is recorded of one server comes to another, and nobody is named.

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Instant;

use common::server::free_port;
use common::{Client, PATIENCE, Server, eventually, http, patient, tidegate};
use serde_json::{Value, json};
use tempfile::TempDir;

fn start(arguments: &[&str]) -> Child {
    let mut program = tidegate();
    program.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program.spawn().unwrap()
}

/// Runs it to its end, which has to come by itself.
fn run(arguments: &[&str]) -> Output {
    let begin = Instant::now();
    let output = start(arguments).wait_with_output().unwrap();
    assert!(begin.elapsed() < PATIENCE * 3, "{arguments:?} took {:?}", begin.elapsed());
    output
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn good(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    said(output)
}

/// With this code and these words.
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for part in words {
        assert!(said.contains(part), "{arguments:?} does not say {part:?}: {said}");
    }
}

fn server() -> Server {
    Server::with(patient())
}

fn admin(server: &Server) -> String {
    format!("http://{}", server.admin())
}

/// A recording that has begun.
fn record(server: &Server, length: &str, out: &Path) -> Child {
    let admin = admin(server);
    let child = start(&["record", "--for", length, "--out", out.to_str().unwrap(), "--admin", &admin]);
    eventually("the recording to begin", || {
        let now = http::get(server.admin(), "/record").json();
        (!now.is_null()).then_some(())
    });
    child
}

/// All of them at once, for a second, over TCP.
fn bench(server: &Server, scenarios: &[&str]) {
    let address = server.tcp().to_string();
    let begin = |scenario: &&str| {
        let mut all = vec!["bench"];
        all.extend(scenario.split_whitespace());
        all.extend(["--seconds", "1", "--warm", "0", "--no-floor", "--server", &address]);
        start(&all)
    };
    let running: Vec<Child> = scenarios.iter().map(begin).collect();
    running.into_iter().for_each(|child| _ = good(&child.wait_with_output().unwrap()));
}

/// The JSON of a replay that was found good.
fn replay(file: &Path, to: SocketAddr, more: &str) -> Value {
    let (file, to) = (file.to_str().unwrap(), to.to_string());
    let mut all = vec!["replay", file, "--to", &to, "--no-floor", "--json", "-"];
    all.extend(more.split_whitespace());
    let output = run(&all);
    good(&output);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    for wrong in ["lost", "repeated", "out_of_order"] {
        assert_eq!(json["checked"][wrong], 0, "{json}");
    }
    json
}

fn figure(json: &Value, name: &str) -> u64 {
    json["figures"][name]["value"].as_f64().unwrap_or_else(|| panic!("no {name} in {json}")) as u64
}

/// A recording of nothing but these conversations and messages.
fn file(folder: &TempDir, conversations: Value, all: Value) -> PathBuf {
    let path = folder.path().join("made.json");
    let recording = json!({
        "version": 2, "program": "a test", "seconds": 1.0, "cores": 1, "beside": 0.0, "config": "", "stages": {},
        "messages": {"senders_of_1000": 1000, "left_out": 0, "conversations": conversations, "all": all},
    });
    fs::write(&path, recording.to_string()).unwrap();
    path
}

#[test]
fn what_is_recorded_comes_again_and_nobody_is_named() {
    const BODY: &str = "what nobody else shall read";
    let (server, folder) = (server(), TempDir::new().unwrap());
    let mut tom = Client::come_in(&server, "tom-of-the-secrets");
    let _jerry = Client::come_in(&server, "jerry-of-the-secrets");
    let cid = tom.start(&["jerry-of-the-secrets"]);
    tom.send(&cid, "before anybody recorded");
    let out = folder.path().join("day.json");
    let recording = record(&server, "8s", &out);
    tom.send(&cid, BODY);
    let (pairs, typing) = ("pairs --pairs 4 --rate 100", "pairs --pairs 2 --rate 30 --transient");
    bench(&server, &[pairs, typing, "rooms --rooms 1 --members 20 --rate 20"]);
    let words = good(&recording.wait_with_output().unwrap());
    assert!(words.contains("151 messages of 8 senders in 8 conversations"), "{words}");
    assert!(words.contains("tidegate replay"), "{words}");

    let text = fs::read_to_string(&out).unwrap();
    for secret in ["of-the-secrets", BODY, &cid, "before anybody"] {
        assert!(!text.contains(secret), "{secret} is in the file");
    }
    let json: Value = serde_json::from_str(&text).unwrap();
    let messages = &json["messages"];
    assert!(!messages.to_string().replace("\"senders_of_1000\"", "").contains("\":\""), "a text is in it");
    assert_eq!((&messages["left_out"], &messages["senders_of_1000"]), (&json!(0), &json!(1000)));
    let all = messages["all"].as_array().unwrap();
    assert!(all.iter().all(|of| of.as_array().unwrap().iter().all(|field| field.is_u64() || field.is_boolean())));
    assert_eq!(all[0].as_array().unwrap()[1..], [json!(0), json!(0), json!(BODY.len()), json!(false)]);
    assert_eq!(all.iter().filter(|of| of[4] == true).count(), 30);
    let rooms = messages["conversations"].as_array().unwrap().iter().filter(|of| of["room"] == true);
    assert_eq!(rooms.cloned().collect::<Vec<_>>(), [json!({"members": 20, "room": true})]);

    // What the stages did is there too, and enough to foretell from.
    let events = |stage: &str| json["stages"][stage]["events"].as_u64().unwrap();
    assert!(events("decode") >= 151 && (101..=events("decode")).contains(&events("persist")), "{}", json["stages"]);
    let foretold = run(&["whatif", out.to_str().unwrap(), "--json"]);
    good(&foretold);
    let foretold: Value = serde_json::from_slice(&foretold.stdout).unwrap();
    assert!(foretold.is_object(), "{foretold}");

    let other = Server::with(patient());
    for (speed, seconds) in [("1", 8.0), ("5", 1.6)] {
        let json = replay(&out, other.tcp(), &format!("--speed {speed}"));
        let counts = ["recorded", "sent", "acknowledged_in_all", "delivered_in_all"].map(|name| figure(&json, name));
        assert_eq!(counts, [151, 151, 151, 131 + 20 * 20], "{json}");
        let took = json["settings"]["seconds"].as_f64().unwrap();
        assert!((seconds..seconds * 1.2).contains(&took), "{json}");
        assert_eq!(json["latency_ms"]["acknowledgement"]["count"], 151, "{json}");
    }
    // A recording of the replay has the same pattern.
    let again = folder.path().join("again.json");
    let recording = record(&other, "6s", &again);
    replay(&out, other.tcp(), "--speed 4 --transport tcp --per-connection 3");
    good(&recording.wait_with_output().unwrap());
    let again: Value = serde_json::from_str(&fs::read_to_string(&again).unwrap()).unwrap();
    let pattern = |json: &Value| -> Vec<Value> {
        let all = json["messages"]["all"].as_array().unwrap();
        let mut counts: Vec<Value> = all.iter().map(|of| of[4].clone()).collect();
        counts.sort_by_key(Value::to_string);
        counts
    };
    assert_eq!(pattern(&again), pattern(&json));
    let conversations = |json: &Value| {
        let all = json["messages"]["conversations"].as_array().unwrap().iter();
        let mut all: Vec<String> = all.map(Value::to_string).collect();
        all.sort();
        all
    };
    assert_eq!(conversations(&again), conversations(&json));
}

#[test]
fn a_recording_is_the_only_one_and_keeps_what_was_there() {
    let (server, folder) = (server(), TempDir::new().unwrap());
    let admin = admin(&server);
    let out = folder.path().join("one.json");
    let path = out.to_str().unwrap();
    let ask = ["record", "--out", path, "--admin", &admin, "--for", "200ms"];
    let mut longer = record(&server, "60s", &out);
    refused(&ask, 1, &["is recording, for", "one recording at a time"]);
    // Whoever asked is gone, and the next may.
    longer.kill().unwrap();
    longer.wait().unwrap();
    eventually("the recording to end", || http::get(server.admin(), "/record").json().is_null().then_some(()));
    assert!(!out.exists());
    let words = good(&run(&ask));
    assert!(words.contains("0 messages") && words.contains("Nobody sent anything"), "{words}");
    let first = fs::read(&out).unwrap();
    refused(&ask, 1, &["is there already", "--force"]);
    assert_eq!(fs::read(&out).unwrap(), first);
    good(&run(&[&ask[..], &["--force"]].concat()));
    assert_ne!(fs::read(&out).unwrap(), first, "it took another time");
    refused(&["replay", path, "--to", &server.tcp().to_string()], 1, &["has no messages", "record while"]);
    let changes = http::get(server.admin(), "/changes").json();
    assert_eq!(changes, json!([]), "there is nothing to undo");
}

#[test]
fn what_cannot_be_recorded_is_said_before_the_time_is_spent() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("one.json");
    let path = out.to_str().unwrap();
    refused(&["record", "--out", path, "--admin", &nobody], 1, &["no answer from", "--admin"]);
    assert!(!out.exists());
    let deep = folder.path().join("no/such/one.json");
    refused(&["record", "--out", deep.to_str().unwrap(), "--admin", &nobody], 1, &["is no folder"]);
    refused(&["record"], 2, &["--out"]);
    for (length, words) in [("60", "write 60s"), ("1ms", "100ms at least"), ("2h", "write 60s"), ("61m", "60m at most")]
    {
        refused(&["record", "--out", path, "--for", length], 2, &[words]);
    }
    // The public side is no admin side.
    let server = server();
    let public = format!("http://{}", server.http());
    refused(&["record", "--out", path, "--for", "1s", "--admin", &public], 1, &["/record"]);
    assert!(!out.exists());
}

#[test]
fn a_file_that_is_no_recording_is_said_to_be_none() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bad.json");
    let name = path.to_str().unwrap();
    let replay = ["replay", name, "--to", "127.0.0.1:1"];
    refused(&replay, 1, &[name, "No such file"]);
    let whole = json!({"version": 2, "program": "", "seconds": 1.0, "cores": 1, "beside": 0.0, "config": "", "stages": {}, "messages":
        {"senders_of_1000": 1000, "left_out": 0, "conversations": [{"members": 2, "room": false}], "all": [[5, 0, 0, 5, false]]}});
    let with = |key: &str, value: Value| {
        let mut other = whole.clone();
        *other.pointer_mut(key).unwrap() = value;
        other.to_string()
    };
    for (text, words) in [
        ("".to_owned(), "is no recording"),
        ("[]".to_owned(), "is no recording"),
        (whole.to_string()[..100].to_owned(), "is no recording"),
        (with("/version", json!(3)), "version 3"),
        (with("/seconds", json!(-1)), "is damaged"),
        (with("/messages/all/0/2", json!(1)), "message 1 is of conversation 1"),
        (with("/messages/all/0", json!([1, 2])), "is no recording"),
    ] {
        fs::write(&path, &text).unwrap();
        refused(&replay, 1, &[name, words]);
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    refused(&replay, 1, &["is no text"]);
    fs::write(&path, whole.to_string()).unwrap();
    refused(&replay, 1, &["is the server running"]);
    for speed in ["0", "0.05", "21", "fast", "NaN"] {
        refused(&[&replay[..], &["--speed", speed]].concat(), 2, &["0.1 to 20"]);
    }
    refused(&["replay", name], 2, &["--to"]);
    refused(&["replay", name, "--to", "http://127.0.0.1:7701"], 2, &["write HOST:PORT"]);
}

#[test]
fn what_the_machine_cannot_hold_is_cut_and_said() {
    let (server, folder) = (server(), TempDir::new().unwrap());
    let conversations = json!([{"members": 40, "room": false}, {"members": 50, "room": true}]);
    let all: Vec<Value> = (0..60).map(|n| json!([n * 1_000, n % 30, n % 2, 60, false])).collect();
    let made = file(&folder, conversations, json!(all));
    let json = replay(&made, server.tcp(), "--clients 20 --speed 2");
    assert_eq!(figure(&json, "acknowledged_in_all"), 60, "{json}");
    assert!(json["settings"]["clients"].as_u64().unwrap() <= 20, "{json}");
    let notes = json["notes"].to_string();
    for part in ["send what 30 sent", "in chat rooms that 50 were in", "--per-connection"] {
        assert!(notes.contains(part), "{notes}");
    }
    // All of it, where there is room, and by name.
    let to = format!("localhost:{}", server.tcp().port());
    let whole = run(&["replay", made.to_str().unwrap(), "--to", &to, "--no-floor", "--json", "-"]);
    good(&whole);
    let json: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(figure(&json, "delivered_in_all"), 30 * 39 + 30 * 50, "{json}");
}
