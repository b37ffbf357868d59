//! Anomaly alerts of the real binary: a drop to nothing is raised, silenced, told, and cleared; what was usual at an hour
//! outlives a restart. The interval is a second here, so that the recent past is a minute.

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::receiver::is_signed;
use common::{Client, Receiver, Reply, Server, eventually, http, now_ms, patient};
use serde_json::{Value, json};

const SECRET: &str = "s3cret-of-alerts";
const SETTINGS: &str =
    "[alerts]\ninterval = \"1s\"\nfor = \"2s\"\nclear_after = \"3s\"\nmin_rate = 5\nmin_latency = \"10m\"\n";
/// Longer than it takes to learn.
const LEARNED: Duration = Duration::from_secs(60);

fn alert(server: &Server, name: &str) -> Value {
    let report = http::get(server.admin(), "/alerts").json();
    report["alerts"].as_array().unwrap().iter().find(|alert| alert["alert"] == name).unwrap().clone()
}

/// Waits until a signal is in this state, as long as it takes to learn.
fn comes_to(server: &Server, name: &str, state: &str) -> Value {
    let end = Instant::now() + LEARNED;
    loop {
        let alert = alert(server, name);
        if alert["state"] == state {
            return alert;
        }
        assert!(Instant::now() < end, "{name} does not become {state}: {alert}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Talks, with pauses when it is told to, until it is told to end.
fn talk(server: &Server, quiet: &AtomicBool, end: &AtomicBool) {
    let mut tom = Client::tcp(server, "tom");
    let mut jerry = Client::tcp(server, "jerry");
    let cid = tom.start(&["jerry"]);
    while !end.load(Ordering::Relaxed) {
        if !quiet.load(Ordering::Relaxed) {
            tom.send(&cid, "hello");
            jerry.text();
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_drop_to_nothing_is_raised_silenced_told_and_cleared() {
    let first = AtomicBool::new(true);
    let receiver = Receiver::start(move |_| match first.swap(false, Ordering::SeqCst) {
        true => Reply::Status(503),
        false => Reply::Json(json!({})),
    });
    let webhook = format!("webhook = \"{}\"\nsecret = \"{SECRET}\"\n", receiver.url());
    let server = Server::with(format!("{SETTINGS}{webhook}{}", patient()));
    let silence = |method: &str, body: &str| {
        let answer = http::request(server.admin(), method, "/alerts/silence", body).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let (quiet, end) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| talk(&server, &quiet, &end));
        // The talk has to end when a check fails, too.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!(alert(&server, "messages")["state"], "learning");
            let report = silence("POST", r#"{"for": "1h", "reason": "a test"}"#);
            assert_eq!(report["silence"]["reason"], "a test");
            comes_to(&server, "messages", "ok");

            quiet.store(true, Ordering::SeqCst);
            let raised = comes_to(&server, "messages", "raised");
            assert_eq!((&raised["side"], &raised["told"]), (&json!("low"), &json!(false)), "{raised}");
            assert!(
                raised["words"].as_str().unwrap().contains("messages a second; in the last 60 s it was"),
                "{raised}"
            );
            assert!(receiver.calls().is_empty(), "it is silent: {:?}", receiver.calls());
            let second = eventually("a second that tells of it", || {
                let newest = http::get(server.admin(), "/history?seconds=1").json()[0].clone();
                (newest["alerts"]["raised"] != json!([])).then_some(newest)
            });
            assert_eq!(second["alerts"]["raised"][0]["alert"], "messages");
            let page = http::get(server.admin(), "/metrics").body;
            for line in ["tidegate_alert_raised{alert=\"messages\"} 1", "tidegate_alerts_silent 1"] {
                assert!(page.contains(line), "no {line} in {page}");
            }
            let said = common::tidegate().args(["alerts", "--admin", &server.admin().to_string()]).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            assert!(said.contains("messages  raised") && said.contains("Silent until"), "{said}");

            // Its end tells what is raised still; the first try is refused.
            silence("DELETE", "");
            let call = receiver.call("the notice", |call| call.params["alert"] == "messages");
            assert!(is_signed(&call, SECRET), "{call:?}");
            let told = &call.params;
            assert_eq!(
                (&told["state"], &told["still"], &told["side"]),
                (&json!("raised"), &json!(false), &json!("low"))
            );
            assert!(told["expected"]["recent"][0].as_f64().unwrap() > 5.0, "{told}");
            assert!(told["text"].as_str().unwrap().contains(told["words"].as_str().unwrap()), "{told}");
            assert!(!told["server"].as_str().unwrap().is_empty() && told["version"].is_string(), "{told}");
            eventually("it is tried again", || (receiver.calls().len() >= 2).then_some(()));
            assert_eq!(receiver.calls()[1].body, call.body);

            quiet.store(false, Ordering::SeqCst);
            receiver.call("the end", |call| call.params["state"] == "cleared");
            let report = http::get(server.admin(), "/alerts").json();
            let kinds: Vec<_> = report["notices"].as_array().unwrap().iter().map(|notice| &notice["notice"]).collect();
            assert_eq!(kinds, ["raised", "cleared"], "{report}");
            eventually("both are answered", || {
                let sent = http::get(server.admin(), "/alerts").json()["webhook"].clone();
                (sent == json!({"pending": 0, "answered": 2, "failed": 0, "unsent": 0})).then_some(())
            });
        }));
        end.store(true, Ordering::SeqCst);
        if let Err(failed) = checked {
            std::panic::resume_unwind(failed);
        }
    });
    for words in [
        "alerts are silent until",
        "alert messages: 0 messages a second",
        "the silence of alerts was ended by from 127.0.0.1",
        "alert messages is over",
    ] {
        assert!(server.said().contains(words), "no {words:?} in {}", server.said());
    }
    assert!(!server.said().contains(SECRET));
}

/// Two hours, so that it does not matter which one it is when the test runs.
fn hours() -> Value {
    let now = now_ms() / 3_600_000;
    let usual = json!([{"low": 70.0, "middle": 80.0, "high": 90.0}, null, null, null]);
    let of = |days: i64, more: i64| json!({"hour": now - 24 * days + more, "usual": usual});
    json!({"version": 1, "hours": [of(2, 0), of(2, 1), of(1, 0), of(1, 1)]})
}

#[test]
fn what_was_usual_at_an_hour_outlives_a_restart_and_a_damaged_file_is_told() {
    let mut server = Server::with(SETTINGS);
    let file = server.data().join("alerts.json");
    server.kill9();
    fs::write(&file, hours().to_string()).unwrap();
    server.restart();
    let expected = eventually("a value that is held against the hour", || {
        let expected = alert(&server, "messages")["expected"]["same_hour"].clone();
        expected.is_array().then_some(expected)
    });
    assert_eq!(expected, json!([70.0, 90.0]));
    server.kill9();
    fs::write(&file, "{\"version\": 1, \"hou").unwrap();
    server.restart();
    let said = server.said();
    assert!(said.contains("alerts.json cannot be read") && said.contains("learned anew"), "{said}");
    assert_eq!(alert(&server, "messages")["state"], "learning");
}

#[test]
fn a_server_that_nobody_uses_has_nothing_to_tell() {
    let receiver = Receiver::agreeing();
    let server = Server::with(format!("{SETTINGS}webhook = \"{}\"\n", receiver.url()));
    for name in ["messages", "churn"] {
        comes_to(&server, name, "ok");
    }
    // Shares and percentiles of nothing are not learned.
    for name in ["latency", "errors"] {
        let alert = alert(&server, name);
        assert_eq!((&alert["state"], &alert["value"]), (&json!("learning"), &Value::Null));
    }
    assert!(receiver.calls().is_empty());
}
