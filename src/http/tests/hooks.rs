//! Hooks against a real server that obeys, changes, drops, stalls, fails and lies.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use common::*;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tidegate_domain::app::{OnFailure, Webhook};
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::hook::{HookEvent, Hooks, Notification, ReceiversOffline, Verdict};
use tidegate_domain::ids::AppId;
use tidegate_http::{HookOptions, HttpRuntime, StartError, WebhookHooks};

const PASS: Verdict = Verdict::Pass { body: None, to: None, failed: false };
/// No answer of use, and the app lets messages pass.
const FAILED: Verdict = Verdict::Pass { body: None, to: None, failed: true };

struct Asker {
    hooks: WebhookHooks,
    _runtime: HttpRuntime,
}

impl Asker {
    /// Apps 0, 1, … with these webhooks.
    fn of(apps: Vec<Vec<Webhook>>, options: HookOptions) -> Self {
        let runtime = HttpRuntime::start(2).unwrap();
        let apps: Vec<_> = apps.into_iter().enumerate().map(|(nth, webhooks)| app(nth as u16, webhooks)).collect();
        Asker { hooks: WebhookHooks::start(&runtime, options, &apps).unwrap(), _runtime: runtime }
    }

    fn one(webhook: Webhook) -> Self {
        Asker::of(vec![vec![webhook]], HookOptions::default())
    }

    fn begin(&self, app: u16) -> std::sync::mpsc::Receiver<Verdict> {
        let (done, verdict) = told();
        self.hooks.message_received(received(app), done);
        verdict
    }

    fn received(&self) -> Verdict {
        self.begin(0).recv_timeout(PATIENCE).expect("a verdict")
    }

    fn offline(&self, ask: ReceiversOffline) -> Option<Notification> {
        let (done, notification) = told();
        self.hooks.receivers_offline(ask, done);
        notification.recv_timeout(PATIENCE).expect("an answer").push
    }

    fn sent(&self) {
        let (done, over) = told();
        self.hooks.message_sent(sent(0), Box::new(move |_| done(())));
        over.recv_timeout(PATIENCE).expect("the end of the call");
    }
}

fn refused(cause: &str) -> Verdict {
    Verdict::Drop(Failure::because(Code::MessageRejectedByApp, format!("hook messageReceived failed: {cause}")))
}

fn says(answer: Value) -> Receiver {
    Receiver::new(move |_| {
        let answer = answer.clone();
        async move { Json(answer) }
    })
}

#[test]
fn a_message_passes_and_the_call_says_all_that_is_documented() {
    let receiver = says(json!({}));
    let asker = Asker::one(webhook(receiver.url()));
    assert_eq!(asker.received(), PASS);
    let heard = receiver.heard().remove(0);
    assert_eq!(heard.json["event"], "messageReceived");
    assert_eq!(heard.json["appId"], "app-0");
    assert_eq!(
        heard.json["params"],
        json!({
            "fromPeer": "ann", "convId": CONV, "toPeers": ["bob", "cy"], "transient": false, "bin": false,
            "content": "hello", "receipt": true, "timestamp": 1_700_000_000_000_i64, "system": false,
            "groupId": null, "sourceIP": "10.1.2.3"
        })
    );
    assert_eq!(asker.received(), PASS);
    let again = receiver.heard().remove(1);
    assert_ne!(heard.json["id"], again.json["id"], "each call has an id of its own");
    assert_eq!(heard.from, again.from, "the connection is used again");
}

#[test]
fn the_signature_verifies() {
    let receiver = says(json!(null));
    let before = now_ms();
    Asker::one(webhook(receiver.url())).received();
    let heard = receiver.heard().remove(0);
    let signature = heard.signature.expect("a signature");
    let (time, hex) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("its form");
    assert!((before..=now_ms()).contains(&time.parse().expect("milliseconds")));
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
    let verify = |body: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.verify_slice(&bytes).is_ok()
    };
    assert!(verify(&heard.body));
    assert!(!verify(b"{}"));
}

fn now_ms() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
}

#[test]
fn a_hook_changes_body_and_receivers() {
    let receiver = says(json!({"content": "changed", "toPeers": ["bob"]}));
    let verdict = Asker::one(webhook(receiver.url())).received();
    assert_eq!(verdict, Verdict::Pass { body: Some(text("changed")), to: Some(vec!["bob".into()]), failed: false });
}

#[test]
fn a_hook_drops_with_its_own_code() {
    let receiver = says(json!({"drop": true, "code": 123, "detail": "not here"}));
    let asker = Asker::one(webhook(receiver.url()));
    let failure = Failure { code: Code::MessageRejectedByApp, detail: None, app: Some((123, "not here".into())) };
    assert_eq!(asker.received(), Verdict::Drop(failure));
}

#[test]
fn the_second_webhook_sees_what_the_first_changed() {
    let (first, second) = (says(json!({"content": "once", "toPeers": ["bob"]})), says(json!({"content": "twice"})));
    let asker = Asker::of(vec![vec![webhook(first.url()), webhook(second.url())]], HookOptions::default());
    assert_eq!(
        asker.received(),
        Verdict::Pass { body: Some(text("twice")), to: Some(vec!["bob".into()]), failed: false }
    );
    let params = &second.heard()[0].json["params"];
    assert_eq!((&params["content"], &params["toPeers"]), (&json!("once"), &json!(["bob"])));
}

#[test]
fn only_the_chosen_events_are_asked() {
    let receiver = says(json!({"drop": true}));
    let only_sent = Webhook { events: vec![HookEvent::MessageSent], ..webhook(receiver.url()) };
    let asker = Asker::of(vec![vec![only_sent], vec![]], HookOptions::default());
    assert!(asker.hooks.wants(AppId(0), HookEvent::MessageSent));
    assert!(!asker.hooks.wants(AppId(0), HookEvent::MessageReceived));
    assert!(!asker.hooks.wants(AppId(1), HookEvent::MessageSent));
    assert!(!asker.hooks.wants(AppId(9), HookEvent::MessageSent));
    assert_eq!(asker.received(), PASS);
    assert_eq!(asker.begin(9).recv_timeout(PATIENCE), Ok(PASS));
    assert_eq!(receiver.count(), 0);
    asker.sent();
    let heard = receiver.heard().remove(0);
    assert_eq!(heard.json["event"], "messageSent");
    assert_eq!(
        heard.json["params"],
        json!({
            "fromPeer": "ann", "convId": CONV, "msgId": "0kR60kR60kR60kR60kR60k", "onlinePeers": ["bob"],
            "offlinePeers": ["cy"], "transient": false, "system": false, "bin": false, "content": "hello",
            "receipt": false, "timestamp": 1_700_000_000_000_i64, "sourceIP": null
        })
    );
}

#[test]
fn a_stall_ends_at_the_time_out_as_the_app_chose() {
    let receiver = Receiver::new(|_| std::future::pending::<&str>());
    for (on_failure, verdict) in [(OnFailure::Pass, FAILED), (OnFailure::Refuse, refused("no answer within 200 ms"))] {
        let timeout = Duration::from_millis(200);
        let asker = Asker::one(Webhook { timeout, on_failure, ..webhook(receiver.url()) });
        let begun = Instant::now();
        assert_eq!(asker.received(), verdict);
        assert!(begun.elapsed() >= timeout);
    }
}

#[test]
fn every_failure_passes_or_refuses_as_the_app_chose() {
    let failing = [
        (Receiver::new(|_| async { StatusCode::INTERNAL_SERVER_ERROR }), "it answered with status 500"),
        // Not followed: a hook's server shall not send us anywhere.
        (
            Receiver::new(|_| async { (StatusCode::FOUND, [("location", "/hook")]).into_response() }),
            "it answered with status 302",
        ),
        (Receiver::new(|_| async { "<html>" }), "its answer makes no sense: it is no JSON"),
        (says(json!([1])), "its answer makes no sense: it is no JSON object"),
        (says(json!({"content": 7})), "its answer makes no sense: content is no string"),
        (says(json!({"toPeers": {}})), "its answer makes no sense: toPeers is no list of client ids"),
        (Receiver::new(|_| async { "x".repeat(1 << 20) }), "its answer is too long"),
    ];
    for (receiver, cause) in failing {
        assert_eq!(Asker::one(webhook(receiver.url())).received(), FAILED, "{cause}");
        let refusing = Webhook { on_failure: OnFailure::Refuse, ..webhook(receiver.url()) };
        assert_eq!(Asker::one(refusing).received(), refused(cause));
        assert_eq!(receiver.count(), 2, "a question is never repeated");
    }
    let nobody = Webhook { on_failure: OnFailure::Refuse, ..webhook(format!("http://{}/", closed_port())) };
    assert_eq!(Asker::one(nobody).received(), refused("it cannot be reached"));
}

fn closed_port() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_breaker_opens_and_recovers() {
    let ill = Arc::new(AtomicBool::new(true));
    let seen = ill.clone();
    let receiver = Receiver::new(move |_| {
        let status = if seen.load(Ordering::SeqCst) { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        async move { status }
    });
    let options = HookOptions { breaker_after: 3, breaker_open: Duration::from_millis(300), ..HookOptions::default() };
    let refusing = Webhook { on_failure: OnFailure::Refuse, ..webhook(receiver.url()) };
    let asker = Asker::of(vec![vec![refusing]], options);
    for _ in 0..3 {
        assert_eq!(asker.received(), refused("it answered with status 502"));
    }
    let opened = Instant::now();
    let alone = refused("it failed too often and is left alone for a while");
    let (mut calls, mut answers) = (receiver.count(), Vec::new());
    while opened.elapsed() < Duration::from_millis(150) {
        answers.push(asker.received());
    }
    if opened.elapsed() < Duration::from_millis(300) {
        assert!(answers.iter().all(|answer| *answer == alone));
        assert_eq!(receiver.count(), calls, "left alone means no call");
    }
    // A probe fails: open again. Then it heals, and a probe closes it.
    calls = receiver.count();
    wait_until("a probe goes out", || asker.received() != alone);
    assert_eq!(receiver.count(), calls + 1);
    ill.store(false, Ordering::SeqCst);
    wait_until("it recovers", || asker.received() == PASS);
    for _ in 0..20 {
        assert_eq!(asker.received(), PASS);
    }
}

/// A server that answers when told to.
fn gated() -> (Receiver, tokio::sync::watch::Sender<bool>) {
    let (open, gate) = tokio::sync::watch::channel(false);
    let receiver = Receiver::new(move |_| {
        let mut gate = gate.clone();
        async move {
            let opened = gate.wait_for(|open| *open).await.is_ok();
            assert!(opened);
            Json(json!({}))
        }
    });
    (receiver, open)
}

#[test]
fn calls_of_one_webhook_stay_within_its_concurrency() {
    let (receiver, gate) = gated();
    let asker = Asker::one(Webhook { concurrency: 3, timeout: PATIENCE, ..webhook(receiver.url()) });
    let verdicts: Vec<_> = (0..40).map(|_| asker.begin(0)).collect();
    wait_until("as many as may are on their way", || receiver.inside() == 3);
    gate.send_replace(true);
    for verdict in verdicts {
        assert_eq!(verdict.recv_timeout(PATIENCE), Ok(PASS));
        assert!(verdict.try_recv().is_err(), "told once");
    }
    assert_eq!((receiver.most(), receiver.count()), (3, 40));
}

#[test]
fn who_waits_is_bounded() {
    let (receiver, gate) = gated();
    let refusing =
        Webhook { concurrency: 1, timeout: PATIENCE, on_failure: OnFailure::Refuse, ..webhook(receiver.url()) };
    let asker = Asker::of(vec![vec![refusing]], HookOptions { waiting_per_call: 1, ..HookOptions::default() });
    let first = asker.begin(0);
    wait_until("the first is on its way", || receiver.inside() == 1);
    let others: Vec<_> = (0..10).map(|_| asker.begin(0)).collect();
    let crowded = AtomicUsize::new(0);
    let waiting: Vec<_> = others
        .into_iter()
        .filter(|verdict| match verdict.recv_timeout(Duration::from_millis(200)) {
            Ok(word) => {
                assert_eq!(word, refused("too many calls are waiting for it"));
                crowded.fetch_add(1, Ordering::SeqCst);
                false
            }
            Err(_) => true,
        })
        .collect();
    assert_eq!((crowded.into_inner(), waiting.len()), (9, 1));
    gate.send_replace(true);
    assert_eq!(first.recv_timeout(PATIENCE), Ok(PASS));
    assert_eq!(waiting[0].recv_timeout(PATIENCE), Ok(PASS));
}

#[test]
fn a_dead_receiver_does_not_touch_other_apps() {
    let (dead, _gate) = gated();
    let well = says(json!({"content": "well"}));
    let slow = Webhook { concurrency: 100, timeout: PATIENCE, ..webhook(dead.url()) };
    let asker =
        Asker::of(vec![vec![slow], vec![webhook(well.url())]], HookOptions { in_flight: 4, ..HookOptions::default() });
    let stuck: Vec<_> = (0..200).map(|_| asker.begin(0)).collect();
    wait_until("the dead one holds its share", || dead.inside() == 2);
    for _ in 0..50 {
        let verdict = asker.begin(1).recv_timeout(PATIENCE);
        assert_eq!(verdict, Ok(Verdict::Pass { body: Some(text("well")), to: None, failed: false }));
    }
    assert_eq!(dead.most(), 2, "no app holds more than its share of the whole");
    assert!(stuck.iter().all(|verdict| verdict.try_recv().is_err()));
}

/// Hangs up on its first `rude` callers after reading something of each, then answers everybody `{}`.
fn rude(rude: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 64 * 1024];
            let mut read = 0;
            while !request[..read].ends_with(b"}}") {
                read += stream.read(&mut request[read..]).unwrap();
            }
            if counted.fetch_add(1, Ordering::SeqCst) >= rude {
                stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            }
        }
    });
    (address, calls)
}

#[test]
fn only_what_may_be_repeated_is_repeated_and_once() {
    let (address, calls) = rude(usize::MAX);
    let asker = Asker::one(Webhook { on_failure: OnFailure::Refuse, ..webhook(format!("http://{address}/")) });
    assert_eq!(asker.received(), refused("it cannot be reached"));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "a question is asked once");
    asker.sent();
    assert_eq!(calls.load(Ordering::SeqCst), 3, "news is told twice at most");
    let (address, calls) = rude(1);
    let asker = Asker::one(webhook(format!("http://{address}/")));
    asker.sent();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let outcomes = asker.hooks.families().remove(0);
    let answered = outcomes.samples.iter().find(|s| s.labels.iter().any(|(_, value)| value == "answered"));
    assert_eq!(answered.map(|s| s.value.clone()), Some(tidegate_http::metrics::Value::Number(1.0)));
}

#[test]
fn an_offline_push_is_resolved_by_hook_message_and_mutes() {
    let clients = |ids: &[&str]| ids.iter().map(|id| (*id).into()).collect::<Vec<_>>();

    let receiver = says(json!({}));
    let plain = Asker::one(webhook(receiver.url())).offline(offline(0)).expect("a push");
    assert_eq!((plain.data, plain.to), (json!({"alert": "own"}), clients(&["bob"])));
    assert_eq!(
        receiver.heard()[0].json["params"],
        json!({
            "fromPeer": "ann", "convId": CONV, "content": "hello", "timestamp": 1_700_000_000_000_i64,
            "offlinePeers": ["bob", "cy"], "mentionAll": false, "mentionOfflinePeers": ["bob"]
        })
    );
    drop(receiver);

    let with = |answer: Value| {
        let receiver = says(answer);
        Asker::one(webhook(receiver.url())).offline(offline(0))
    };
    assert_eq!(with(json!({"skip": true})), None);
    let forced = with(json!({"pushMessage": "{\"alert\":\"hook\"}", "force": true})).expect("a push");
    assert_eq!((forced.data, forced.to), (json!({"alert": "hook"}), clients(&["bob", "cy"])));
    let fewer = with(json!({"offlinePeers": ["cy", "stranger"], "force": true})).expect("a push");
    assert_eq!(fewer.to, clients(&["cy"]), "a hook adds nobody");
    assert_eq!(with(json!({"offlinePeers": []})), None);

    let dead = webhook(format!("http://{}/", closed_port()));
    let refusing = Webhook { on_failure: OnFailure::Refuse, ..dead.clone() };
    assert_eq!(Asker::one(dead).offline(offline(0)).map(|push| push.data), Some(json!({"alert": "own"})));
    assert_eq!(Asker::one(refusing).offline(offline(0)), None);

    // An app without any hook still has its messages' own content.
    let bare = Asker::of(vec![vec![]], HookOptions::default());
    assert_eq!(bare.offline(offline(0)).map(|push| push.data), Some(json!({"alert": "own"})));
    assert_eq!(bare.offline(ReceiversOffline { push_data: None, ..offline(0) }), None);
}

#[test]
fn nobody_is_left_without_an_answer_when_the_threads_end() {
    let (receiver, _gate) = gated();
    let refusing = Webhook { timeout: PATIENCE, on_failure: OnFailure::Refuse, ..webhook(receiver.url()) };
    let Asker { hooks, _runtime: runtime } = Asker::one(refusing);
    let (done, verdict) = told();
    hooks.message_received(received(0), done);
    wait_until("it is on its way", || receiver.inside() == 1);
    runtime.stop(Duration::from_millis(10));
    assert_eq!(verdict.recv_timeout(PATIENCE), Ok(refused("the server is stopping")));
    let (done, verdict) = told();
    hooks.message_received(received(0), done);
    assert_eq!(verdict.recv_timeout(PATIENCE), Ok(refused("the server is stopping")), "and none comes in after");
}

#[test]
fn an_address_that_is_none_is_refused_at_start() {
    let runtime = HttpRuntime::start(1).unwrap();
    let apps = [app(0, vec![webhook("ftp://example.com/")])];
    let refused = WebhookHooks::start(&runtime, HookOptions::default(), &apps);
    assert!(matches!(refused, Err(StartError::Url { .. })));
}

/// What was logged at warn or above, by everybody in this program.
static LOGGED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            LOGGED.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn failures_are_warned_of_once_in_a_while_with_app_event_host_and_reason() {
    log::set_logger(&Lines).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    let receiver = Receiver::new(|_| async { StatusCode::BAD_GATEWAY });
    let host = receiver.address.to_string();
    let about =
        |host: &str| -> Vec<_> { LOGGED.lock().unwrap().iter().filter(|line| line.contains(host)).cloned().collect() };
    let url = receiver.url().replace("http://", "http://user:s3cret@").replace("/hook", "/hook?token=s3cret");
    let asker = Asker::of(vec![vec![webhook(url)]], HookOptions { breaker_after: 3, ..HookOptions::default() });
    for _ in 0..2 {
        assert_eq!(asker.received(), FAILED);
    }
    let failed = format!(
        "webhook 0 of app app-0 at {host} failed on messageReceived: it answered with status 502; the message went on"
    );
    assert_eq!(about(&host), std::slice::from_ref(&failed));
    asker.sent();
    let alone = format!(
        "webhook 0 of app app-0 at {host} is left alone for a while: \
         too many failures in a row, the last: it answered with status 502"
    );
    assert_eq!(about(&host), [failed, alone]);

    let nobody = closed_port();
    let refusing = Webhook { on_failure: OnFailure::Refuse, ..webhook(format!("http://{nobody}/")) };
    assert_eq!(Asker::one(refusing).received(), refused("it cannot be reached"));
    let said = about(&nobody.to_string());
    assert!(said[0].contains("refused (os error") && said[0].ends_with("; the message was refused"), "{said:?}");
    assert!(LOGGED.lock().unwrap().iter().all(|line| !line.contains("s3cret") && !line.contains(SECRET)));
}
