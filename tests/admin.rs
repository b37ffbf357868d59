//! The admin side of the real binary: readiness, metrics, the stages' figures, live changes, and the story of a client
//! or a message.

mod common;

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::client::{body, some};
use common::{Client, Server, eventually, http};
use serde_json::{Value, json};
use tidegate_protocol::wire::*;

const STAGES: [&str; 8] = ["decode", "authenticate", "route", "read", "persist", "fan_out", "push", "hook"];

/// Some messages, one of them to somebody who is away.
fn talk(server: &Server) -> (Client, String) {
    let mut tom = Client::tcp(server, "tom");
    let mut jerry = Client::tcp(server, "jerry");
    let cid = tom.start(&["jerry", "spike"]);
    for n in 0..20 {
        tom.send(&cid, &n.to_string());
        jerry.message();
    }
    (tom, cid)
}

fn stage(server: &Server, name: &str) -> Value {
    let answer = http::get(server.admin(), &format!("/stages/{name}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn change(server: &Server, path: &str, body: &str) -> (u16, Value) {
    let answer = http::patch(server.admin(), path, body);
    (answer.status, answer.json())
}

#[test]
fn it_says_that_it_is_ready() {
    let server = Server::start();
    let answer = http::get(server.admin(), "/readyz");
    assert_eq!((answer.status, &answer.json()["ready"]), (200, &json!(true)));
    // What operators ask is not for the public side.
    for path in ["/readyz", "/metrics", "/stages", "/trace?client=tom"] {
        assert_eq!(http::get(server.http(), path).status, 404, "{path}");
    }
}

#[test]
fn metrics_are_well_formed_and_name_every_stage() {
    let server = Server::start();
    talk(&server);
    let answer = http::get(server.admin(), "/metrics");
    assert_eq!(answer.status, 200);
    let (mut families, mut series) = (HashSet::new(), HashSet::new());
    for line in answer.body.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(typed.split(' ').next().unwrap().to_owned()), "{line} comes twice");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with("tidegate_"), "{line}");
        assert!(series.insert(name.to_owned()), "{line} comes twice");
        let base = name.split('{').next().unwrap();
        assert!(families.iter().any(|family| base.starts_with(family.as_str())), "{line} has no type");
    }
    for stage in STAGES {
        assert!(answer.body.contains(&format!("stage=\"{stage}\"")), "{stage} has no metrics");
    }
}

#[test]
fn every_stage_shows_all_its_figures() {
    let server = Server::start();
    talk(&server);
    let all = http::get(server.admin(), "/stages").json();
    let names: HashSet<_> = all.as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(names, HashSet::from(STAGES));
    for stage in all.as_array().unwrap() {
        let name = &stage["name"];
        assert_eq!((&stage["module"], &stage["pool"]), (name, name));
        for number in
            ["workers", "batch", "bound", "delay_target_ms", "depth", "held", "utilisation", "rate", "refused"]
        {
            assert!(stage[number].is_number(), "{number} of {stage}");
        }
        assert!(stage["blocked"]["share"].is_number() && stage["blocked"].as_object().unwrap().contains_key("by"));
        assert_eq!(stage["policy"], "block");
        for histogram in ["wait_ns", "service_ns", "held_ns", "batch_size"] {
            let histogram = &stage[histogram];
            let of = |name: &str| histogram[name].as_u64().unwrap_or_else(|| panic!("{name} of {histogram}"));
            let row = ["p50", "p90", "p99", "p999", "max"].map(of);
            assert!(row.is_sorted(), "{row:?}");
        }
    }
    let persist = stage(&server, "persist");
    assert!(persist["service_ns"]["p50"].as_u64() > Some(0) && persist["rate"].as_f64() > Some(0.0), "{persist}");
    assert!(persist["batch_size"]["p50"].as_u64() >= Some(1), "{persist}");
    assert_eq!(http::get(server.admin(), "/stages/nowhere").status, 404);
}

#[test]
fn a_change_is_in_force_when_it_is_answered() {
    let server = Server::start();
    let body = r#"{"workers":3,"batch":32,"bound":4096,"delay_target_ms":7.5,"delay_interval_ms":200}"#;
    let (status, now) = change(&server, "/stages/route", body);
    assert_eq!(status, 200, "{now}");
    for (key, value) in serde_json::from_str::<Value>(body).unwrap().as_object().unwrap() {
        assert_eq!(&now[key], value, "{key}");
        assert_eq!(&stage(&server, "route")[key], value, "{key}");
    }
    let (status, now) = change(&server, "/stages/decode", r#"{"policy":"shed"}"#);
    assert_eq!((status, &now["policy"]), (200, &json!("shed")));
    // Its own pool went with it.
    assert_eq!(http::get(server.admin(), "/pools/route").json()["workers"], 3);
    let (status, now) = change(&server, "/pools/route", r#"{"workers":1}"#);
    assert_eq!((status, &now["workers"]), (200, &json!(1)));
}

#[test]
fn a_change_is_made_whole_or_not_at_all() {
    let server = Server::start();
    let before = stage(&server, "route");
    let settings =
        |stage: &Value| ["workers", "batch", "bound", "policy", "delay_target_ms"].map(|key| stage[key].clone());
    for (nonsense, status) in [
        (r#"{"workers":2,"batch":0}"#, 422),
        (r#"{"workers":2,"bound":1}"#, 422),
        (r#"{"workers":2,"batch":65,"bound":64}"#, 422),
        (r#"{"workers":2,"batch":8193}"#, 422),
        (r#"{"workers":2,"colour":"red"}"#, 422),
        (r#"{"workers":2,"policy":"never"}"#, 422),
        (r#"{"workers":2,"batch":"many"}"#, 422),
        (r#"{"workers":2,"batch":-1}"#, 422),
        (r#"{"workers":1000000}"#, 422),
        (r#"{"workers":2,"delay_target_ms":-1}"#, 422),
        // What a file may not say, either.
        (r#"{"workers":2,"delay_target_ms":0.05}"#, 422),
        (r#"{"workers":2,"delay_target_ms":60001}"#, 422),
        (r#"{"workers":2,"delay_interval_ms":0.5}"#, 422),
        (r#"{"workers":null}"#, 422),
        ("[]", 422),
        (r#"{"workers":2"#, 400),
        ("", 400),
        ("workers=2", 400),
    ] {
        let (answered, words) = change(&server, "/stages/route", nonsense);
        assert_eq!(answered, status, "{nonsense}: {words}");
        assert!(words["error"].as_str().is_some_and(|words| !words.is_empty()), "{words}");
        assert_eq!(settings(&stage(&server, "route")), settings(&before), "{nonsense} changed something");
    }
    // What would lose what was promised is refused whatever else is in it.
    assert_eq!(change(&server, "/stages/fan_out", r#"{"policy":"shed"}"#).0, 422);
    assert_eq!(change(&server, "/stages/nowhere", r#"{"workers":2}"#).0, 404);
    assert_eq!(change(&server, "/pools/nowhere", r#"{"workers":2}"#).0, 404);
    assert_eq!(change(&server, "/pools/route", r#"{"workers":0}"#).0, 422);
    assert_eq!(change(&server, "/pools/route", r#"{"threads":2}"#).0, 422);
}

/// In one pool that the stages of the line share, a quiet server's reactor runs them itself; the pool's own threads are
/// there for when it does not.
#[test]
fn reactors_help_a_shared_pool_where_it_says_so() {
    let shared = |reactors: bool| {
        let line = ["decode", "authenticate", "route", "fan_out", "hook", "push"];
        let all = STAGES.map(|name| {
            let pool = if line.contains(&name) { "pool = \"line\"\n" } else { "" };
            format!("[stages.{name}]\n{pool}")
        });
        format!("{}[pools.line]\nreactors = {reactors}\n", all.concat())
    };
    for reactors in [true, false] {
        let server = Server::with(shared(reactors));
        let (mut tom, cid) = talk(&server);
        assert_eq!(tom.history(&cid).len(), 20);
        let helped = http::get(server.admin(), "/pools/line").json()["helped"].as_u64();
        assert_eq!(helped > Some(0), reactors, "{helped:?} batches");
    }
}

/// How many threads of the server are named after this pool.
fn threads(server: &Server, pool: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-') == pool).count()
}

#[test]
fn threads_come_and_go_within_a_tenth_of_a_second_under_load() {
    let server = Server::start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                let mut tom = Client::tcp(server, &format!("tom-{n}"));
                let cid = tom.start(&["jerry"]);
                while !stop.load(Ordering::Relaxed) {
                    let direct = || DirectCommand { cid: some(&cid), msg: body("x"), ..DirectCommand::default() };
                    let posted: Vec<_> = (0..16).map(|_| tom.post(direct())).collect();
                    for i in posted {
                        _ = tom.answer(i);
                    }
                }
            });
        }
        eventually("a load", || (stage(&server, "persist")["rate"].as_f64() > Some(100.0)).then_some(()));
        for workers in [4, 1, 3, 2, 1] {
            let (status, now) = change(&server, "/stages/persist", &json!({ "workers": workers }).to_string());
            assert_eq!((status, &now["workers"]), (200, &json!(workers)));
            let answered = Instant::now();
            eventually(&format!("{workers} threads"), || (threads(&server, "persist") == workers).then_some(()));
            let took = answered.elapsed();
            assert!(took < Duration::from_millis(150), "{workers} threads took {took:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn steps(server: &Server, query: &str) -> Vec<Value> {
    let answer = http::get(server.admin(), &format!("/trace?{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["steps"].as_array().unwrap().clone()
}

#[test]
fn it_tells_what_became_of_a_message_and_of_a_client() {
    let server = Server::start();
    let (mut tom, cid) = talk(&server);
    let sent = tom.send(&cid, "for jerry, who is gone, and spike, who never was");
    let story = eventually("the story of a message", || {
        let steps = steps(&server, &format!("message={}", sent.id));
        steps.iter().any(|step| step["what"] == "offline").then_some(steps)
    });
    let whats: Vec<_> = story.iter().map(|step| step["what"].as_str().unwrap()).collect();
    assert!(whats.contains(&"stored"), "{whats:?}");
    assert!(story.windows(2).all(|pair| pair[0]["at_ms"].as_i64() <= pair[1]["at_ms"].as_i64()), "{story:?}");

    let mut spike = Client::tcp(&server, "spike");
    let heard = tom.send(&cid, "for spike");
    spike.message();
    let story = steps(&server, &format!("message={}", heard.id));
    let delivered = |step: &Value| {
        let to_spike = step["client"] == "spike" || step["detail"] == "to spike";
        step["what"] == "delivered" && step["message"] == heard.id && to_spike
    };
    assert!(story.iter().any(delivered), "{story:?}");
    let story = steps(&server, "client=spike");
    assert!(story.iter().any(delivered), "{story:?}");

    spike.remove(&cid, &["spike"]).unwrap();
    let direct = DirectCommand { cid: some(&cid), msg: body("let me"), ..DirectCommand::default() };
    assert_eq!(common::client::code(spike.try_send(direct)), 4401);
    drop(spike);
    let story = eventually("the story of a client", || {
        let steps = steps(&server, "client=spike");
        steps.iter().any(|step| step["what"] == "closed").then_some(steps)
    });
    let refused = story.iter().find(|step| step["what"] == "refused").unwrap_or_else(|| panic!("{story:?}"));
    assert_eq!(refused["code"], 4401);
    assert!(story.iter().any(|step| step["what"] == "opened"), "{story:?}");
    assert!(steps(&server, "client=nobody").is_empty());
    for nonsense in ["", "client=a&message=b", "colour=red"] {
        assert_eq!(http::get(server.admin(), &format!("/trace?{nonsense}")).status, 400, "{nonsense}");
    }
}

fn of_stage<'v>(second: &'v Value, name: &str) -> &'v Value {
    second["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()
}

#[test]
fn each_second_is_shown_and_its_slow_messages_are_found() {
    let server = Server::with("[journeys]\nsample = 1.0");
    talk(&server);
    let list = |path: &str| http::get(server.admin(), path).json().as_array().unwrap().clone();
    let seen = eventually("a second in which messages were persisted", || {
        list("/history").iter().find(|second| of_stage(second, "persist")["wait"] != Value::Null).cloned()
    });
    for name in STAGES {
        assert!(of_stage(&seen, name)["bound"].as_u64() > Some(0), "{name}: {seen}");
    }
    let persist = of_stage(&seen, "persist");
    let counted: u64 = persist["wait"]["counts"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).sum();
    assert_eq!(Some(counted), persist["wait"]["count"].as_u64());
    assert!(seen["resident_bytes"].as_u64().is_none_or(|bytes| bytes > 1 << 20), "{seen}");
    let delivered = eventually("a delivery in a second", || {
        list("/history").iter().find(|second| second["delivery"]["p99_ms"] != Value::Null).cloned()
    });
    assert!(delivered["delivery"]["rate"].as_f64().unwrap() > 0.0);
    assert!(
        list("/history").windows(2).all(|pair| pair[0]["n"].as_u64().unwrap() + 1 == pair[1]["n"].as_u64().unwrap())
    );

    let journeys = list("/journeys?stage=persist");
    assert!(!journeys.is_empty());
    let slowest = &journeys[0];
    assert!(slowest["stages"].as_array().unwrap().iter().any(|stop| stop["stage"] == "persist"), "{slowest}");
    assert!(list("/journeys?stage=persist&wait_at_least_us=60000000").is_empty());
    assert!(list("/journeys?stage=persist&to_ms=5").is_empty());
    let graph = http::get(server.admin(), "/topology").json();
    assert_eq!((&graph["entry"], &graph["stages"][0]["to"]["next"]), (&json!("decode"), &json!("authenticate")));
}
