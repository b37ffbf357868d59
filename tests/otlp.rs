//! Sampled messages as traces at a real collector, which takes them, is down, is busy, is slow or refuses; the same id in
//! logs, at the admin port and at the app's own server.

mod common;

use std::collections::HashMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::client::{body, some};
use common::server::free_port;
use common::{Call, Client, Receiver, Reply, Server, Setup, app, eventually, http, patient};
use serde_json::{Value, json};
use tidegate_protocol::wire::DirectCommand;

/// A span, read as OTLP has it; whatever is not of its form fails the test.
#[derive(Debug, Clone)]
struct Span {
    trace: String,
    id: String,
    parent: Option<String>,
    name: String,
    kind: u64,
    begun: u64,
    ended: u64,
    attributes: HashMap<String, Value>,
    events: Vec<(String, u64)>,
    is_error: bool,
}

impl Span {
    fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key)?["stringValue"].as_str()
    }
}

fn attributes(of: &Value) -> HashMap<String, Value> {
    let each = of["attributes"].as_array().unwrap().iter();
    each.map(|attribute| (attribute["key"].as_str().unwrap().to_owned(), attribute["value"].clone())).collect()
}

fn hex(value: &Value, digits: usize) -> String {
    let text = value.as_str().unwrap_or_else(|| panic!("no id: {value}"));
    assert!(text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{text}");
    assert!(text.bytes().any(|b| b != b'0'), "an id is never all zero");
    text.to_owned()
}

fn time(value: &Value) -> u64 {
    value.as_str().unwrap_or_else(|| panic!("64-bit numbers are texts: {value}")).parse().unwrap()
}

/// All spans of one request.
fn spans_of(call: &Call) -> Vec<Span> {
    let body: Value = serde_json::from_str(&call.body).unwrap();
    let mut spans = Vec::new();
    for resource in body["resourceSpans"].as_array().unwrap() {
        let of = attributes(&resource["resource"]);
        assert_eq!(of["service.name"], json!({"stringValue": "tidegate"}));
        assert_eq!(of["service.version"], json!({"stringValue": env!("CARGO_PKG_VERSION")}));
        assert!(of["service.instance.id"]["stringValue"].as_str().is_some_and(|id| !id.is_empty()));
        for scope in resource["scopeSpans"].as_array().unwrap() {
            assert_eq!(scope["scope"]["name"], "tidegate.journeys");
            spans.extend(scope["spans"].as_array().unwrap().iter().map(|span| Span {
                trace: hex(&span["traceId"], 32),
                id: hex(&span["spanId"], 16),
                parent: span.get("parentSpanId").map(|parent| hex(parent, 16)),
                name: span["name"].as_str().unwrap().to_owned(),
                kind: span["kind"].as_u64().unwrap(),
                begun: time(&span["startTimeUnixNano"]),
                ended: time(&span["endTimeUnixNano"]),
                attributes: attributes(span),
                events: span["events"].as_array().map_or(Vec::new(), |events| {
                    events.iter().map(|e| (e["name"].as_str().unwrap().to_owned(), time(&e["timeUnixNano"]))).collect()
                }),
                is_error: span["status"]["code"] == 2,
            }));
        }
    }
    spans
}

fn all_spans(collector: &Receiver) -> Vec<Span> {
    collector.calls().iter().flat_map(spans_of).collect()
}

/// The trace of a message: the root, and the rest by when it began. Waits until `is_whole`.
fn trace(collector: &Receiver, message: &str, is_whole: impl Fn(&[Span]) -> bool) -> (Span, Vec<Span>) {
    eventually("the trace of the message", || {
        let all = all_spans(collector);
        let root = all.iter().find(|span| span.text("tidegate.message.id") == Some(message))?.clone();
        let mut rest: Vec<_> = all.into_iter().filter(|s| s.trace == root.trace && s.id != root.id).collect();
        rest.sort_by_key(|span| (span.begun, span.ended));
        is_whole(&rest).then_some((root, rest))
    })
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

fn journeys(collector: &Receiver, more: &str) -> String {
    format!("[journeys]\nsample = 1.0\notlp = \"http://{}\"\n{more}\n{}", collector.address, patient())
}

fn pair(server: &Server) -> (Client, Client, String) {
    let (mut tom, jerry) = (Client::tcp(server, "tom"), Client::tcp(server, "jerry"));
    let cid = tom.start(&["jerry"]);
    (tom, jerry, cid)
}

/// A metric with its labels.
fn metric(server: &Server, name: &str) -> f64 {
    let page = http::get(server.admin(), "/metrics").body;
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is not in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn spans(server: &Server, outcome: &str) -> f64 {
    metric(server, &format!("tidegate_otlp_spans_total{{outcome=\"{outcome}\"}}"))
}

const LINE: [&str; 6] = ["decode", "authenticate", "route", "persist", "fan_out", "hook"];

#[test]
fn a_sampled_message_is_one_trace() {
    let collector = Receiver::agreeing();
    let headers = "otlp_headers = { Authorization = \"Bearer of-the-collector\", x-scope-orgid = \"7\" }";
    let server = Server::with(journeys(&collector, headers));
    let (mut tom, mut jerry, cid) = pair(&server);
    let sent = tom.send(&cid, "a word that no trace may hold");
    jerry.text();
    let (root, stages) = trace(&collector, &sent.id, |rest| rest.len() >= LINE.len());
    assert_eq!(names(&stages), LINE);
    assert_eq!((root.name.as_str(), root.parent.as_ref(), root.is_error), ("message", None, false));
    let of_root = |key: &str| root.text(key).unwrap_or_default().to_owned();
    assert_eq!(of_root("tidegate.message.outcome"), "stored");
    assert_eq!(of_root("tidegate.message.class"), "normal");
    assert_eq!(of_root("tidegate.conversation.kind"), "normal");
    let now = common::now_ms() as u64 * 1_000_000;
    assert!(now.abs_diff(root.begun) < 60_000_000_000, "times are of the wall clock");
    for stage in &stages {
        assert_eq!(stage.parent.as_ref(), Some(&root.id));
        assert!(root.begun <= stage.begun && stage.begun <= stage.ended && stage.ended <= root.ended, "{stage:?}");
        let [(event, at)] = &stage.events[..] else { panic!("{stage:?}") };
        assert!(event == "work begins" && (stage.begun..=stage.ended).contains(at), "{stage:?}");
        assert!(stage.attributes.contains_key("tidegate.wait_us"), "{stage:?}");
    }
    let mut ids: Vec<_> = stages.iter().map(|stage| &stage.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), LINE.len());
    // The same id at the admin port and in development's own page.
    let list = http::get(server.admin(), "/journeys?stage=persist").json();
    let listed = list.as_array().unwrap().iter().find(|journey| journey["id"] == json!(sent.id)).unwrap();
    assert_eq!(listed["journey"], json!(root.trace));
    let shown = http::get(server.http(), &format!("/dev/journeys/{}", sent.id)).json();
    assert_eq!(shown["journey"], json!(root.trace));
    for call in collector.calls() {
        assert_eq!((call.path.as_str(), call.header("content-type")), ("/v1/traces", Some("application/json")));
        assert_eq!(call.header("authorization"), Some("Bearer of-the-collector"));
        assert_eq!(call.header("x-scope-orgid"), Some("7"));
        for secret in ["a word that no trace", "tom", "jerry", cid.as_str()] {
            assert!(!call.body.contains(secret), "{secret} is in {}", call.body);
        }
    }
    assert!(!server.said().contains("of-the-collector"));
    let config = http::get(server.admin(), "/config").body;
    assert!(config.contains("otlp_headers") && !config.contains("of-the-collector"), "{config}");
    eventually("the count", || (spans(&server, "exported") >= 7.0).then_some(()));
    assert_eq!((spans(&server, "failed"), spans(&server, "dropped")), (0.0, 0.0));
}

#[test]
fn a_refused_message_is_told_so() {
    let collector = Receiver::agreeing();
    let server = Server::with(journeys(&collector, ""));
    let (_tom, _jerry, cid) = pair(&server);
    let mut butch = Client::tcp(&server, "butch");
    let words = DirectCommand { cid: some(&cid), msg: body("let me in"), ..DirectCommand::default() };
    butch.try_send(words).expect_err("he is no member");
    let refused = eventually("the trace of a refusal", || {
        let all = all_spans(&collector);
        all.into_iter().find(|span| span.text("tidegate.message.outcome") == Some("refused"))
    });
    assert!(refused.is_error && refused.parent.is_none(), "{refused:?}");
    assert_eq!(refused.text("tidegate.message.code"), Some("4401"));
}

/// An app with a webhook; the development app is not there, so all is sampled because it is said so.
fn hooked(collector: &Receiver, receiver: &Receiver, journeys: &str, events: &str) -> String {
    let url = receiver.url();
    let hook = format!("[[app.webhook]]\nurl = \"{url}\"\nsecret = \"of-the-webhook\"\nevents = {events}\n");
    let otlp = format!("[journeys]\notlp = \"http://{}\"\n{journeys}\n", collector.address);
    format!("{otlp}{}{}", patient(), app("hooked-app", &hook))
}

fn hooked_pair(server: &Server) -> (Client, Client, String) {
    let (mut tom, jerry) =
        (Client::login_to(server, "hooked-app", "tom"), Client::login_to(server, "hooked-app", "jerry"));
    let cid = tom.start(&["jerry"]);
    (tom, jerry, cid)
}

#[test]
fn the_apps_server_goes_on_with_the_trace() {
    let (collector, receiver) = (Receiver::agreeing(), Receiver::agreeing());
    let server = Server::with(hooked(&collector, &receiver, "sample = 1.0", r#"["messageReceived", "messageSent"]"#));
    let (mut tom, mut jerry, cid) = hooked_pair(&server);
    let sent = tom.send(&cid, "may I?");
    jerry.text();
    let (root, rest) = trace(&collector, &sent.id, |rest| rest.len() >= 10);
    let mut found = names(&rest);
    found.sort_unstable();
    let mut expected = LINE.to_vec();
    // Route waits for the answer, and so has two stops; the question is hook's, as is the word afterwards.
    expected.extend(["route", "hook", "webhook messageReceived", "webhook messageSent"]);
    expected.sort_unstable();
    assert_eq!(found, expected);
    for event in ["messageReceived", "messageSent"] {
        let call = receiver.call(event, |call| call.event == event);
        let span = rest.iter().find(|span| span.name == format!("webhook {event}")).unwrap();
        assert_eq!(call.header("traceparent"), Some(&*format!("00-{}-{}-01", root.trace, span.id)));
        assert_eq!((span.kind, span.parent.as_ref()), (3, Some(&root.id)));
        assert!(span.ended > span.begun && !span.is_error);
    }
    let resumed: Vec<_> = rest.iter().filter(|span| span.attributes.contains_key("tidegate.held")).collect();
    assert_eq!(resumed.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["route"]);
}

#[test]
fn what_is_not_sampled_is_told_to_nobody() {
    let (collector, receiver) = (Receiver::agreeing(), Receiver::agreeing());
    let server = Server::with(hooked(&collector, &receiver, "sample = 0", r#"["messageReceived"]"#));
    let (mut tom, mut jerry, cid) = hooked_pair(&server);
    tom.send(&cid, "hello");
    jerry.text();
    assert_eq!(receiver.call("the question", |_| true).header("traceparent"), None);
    server.term();
    let mut server = server;
    assert!(server.ended(Duration::from_secs(20)).success());
    assert!(collector.calls().is_empty());
}

#[test]
fn a_slow_message_is_kept_though_it_was_not_sampled() {
    let late = |call: &Call| match call.params["content"].as_str() {
        Some("slow") => Reply::After(Duration::from_millis(400), Box::new(Reply::Json(json!({})))),
        _ => Reply::Json(json!({})),
    };
    let (collector, receiver) = (Receiver::agreeing(), Receiver::start(late));
    let journeys = "sample = 0\nslow = \"300ms\"";
    let server = Server::with(hooked(&collector, &receiver, journeys, r#"["messageReceived"]"#));
    let (mut tom, mut jerry, cid) = hooked_pair(&server);
    let slow = tom.send(&cid, "slow");
    assert_eq!(jerry.text(), "slow");
    let (root, stops) = trace(&collector, &slow.id, |rest| !rest.is_empty());
    assert_eq!(root.attributes.get("tidegate.slow"), Some(&json!({"boolValue": true})));
    assert_eq!(names(&stops), ["not sampled"]);
    assert!(root.ended - root.begun >= 300_000_000, "{root:?}");
    let listed = http::get(server.admin(), "/journeys?stage=not%20sampled").json();
    assert_eq!(listed[0]["id"], json!(slow.id));
}

#[test]
fn log_lines_about_a_sampled_message_name_its_journey() {
    for format in ["text", "json"] {
        let (collector, receiver) = (Receiver::agreeing(), Receiver::start(|_| Reply::Status(500)));
        let tables = hooked(&collector, &receiver, "sample = 1.0", r#"["messageReceived"]"#);
        let first = if format == "json" { "export TIDEGATE_LOG_FORMAT=json" } else { "" };
        let server = Server::launch(Setup { tables, first, ..Setup::default() });
        let (mut tom, mut jerry, cid) = hooked_pair(&server);
        let sent = tom.send(&cid, "hello");
        jerry.text();
        let (root, _) = trace(&collector, &sent.id, |rest| !rest.is_empty());
        let line = eventually("a line about the webhook", || {
            let said = server.said();
            said.lines().find(|line| line.contains("failed on messageReceived")).map(str::to_owned)
        });
        match format {
            "json" => assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["journey"], json!(root.trace)),
            _ => assert!(line.ends_with(&format!(" journey={}", root.trace)), "{line}"),
        }
        let said = server.said();
        assert!(!said.lines().any(|line| line.contains("journey=\n") || line.contains("None")), "{said}");
    }
}

#[test]
fn a_collector_that_is_down_holds_nobody_up_and_is_found_when_it_is_back() {
    let port = free_port();
    let otlp = format!("[journeys]\nsample = 1.0\notlp = \"http://127.0.0.1:{port}\"\n{}", patient());
    let server = Server::with(otlp);
    let (mut tom, mut jerry, cid) = pair(&server);
    let sent = tom.send(&cid, "is anybody there?");
    jerry.text();
    eventually("a word about the collector", || server.said().contains("it is tried again").then_some(()));
    for n in 0..20 {
        tom.send(&cid, &n.to_string());
        assert_eq!(jerry.text(), n.to_string());
    }
    let collector = Receiver::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), |_| Reply::Json(json!({})));
    let (_, stages) = trace(&collector, &sent.id, |rest| rest.len() >= LINE.len());
    assert_eq!(names(&stages), LINE);
    assert_eq!(spans(&server, "failed"), 0.0);
}

#[test]
fn a_busy_collector_is_asked_again_when_it_wants_to_be() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let collector = Receiver::start(move |_| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
        true => Reply::Raw(b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n".to_vec()),
        false => Reply::Json(json!({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "two too many"}})),
    });
    let server = Server::with(journeys(&collector, ""));
    let (mut tom, mut jerry, cid) = pair(&server);
    tom.send(&cid, "hello");
    jerry.text();
    eventually("a second try", || (collector.calls().len() >= 2).then_some(()));
    let calls = collector.calls();
    assert_eq!(calls[0].body, calls[1].body, "nothing is lost by a refusal that passes");
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(2_900), "{:?}", calls[1].at - calls[0].at);
    eventually("the count of what was refused", || (spans(&server, "failed") >= 2.0).then_some(()));
    assert!(server.said().contains("two too many"), "{}", server.said());
}

#[test]
fn a_refusal_for_good_is_said_with_what_to_do() {
    let collector = Receiver::start(|_| Reply::Status(401));
    let server = Server::with(journeys(&collector, ""));
    let (mut tom, mut jerry, cid) = pair(&server);
    tom.send(&cid, "hello");
    jerry.text();
    eventually("the count of what was given up", || (spans(&server, "failed") >= 7.0).then_some(()));
    assert!(server.said().contains("[journeys] otlp_headers"), "{}", server.said());
    assert_eq!(spans(&server, "exported"), 0.0);
}

#[test]
fn a_slow_collector_holds_nobody_up() {
    let delay = Duration::from_secs(9);
    let collector = Receiver::start(move |_| Reply::After(delay, Box::new(Reply::Json(json!({})))));
    let server = Server::with(journeys(&collector, ""));
    let (mut tom, mut jerry, cid) = pair(&server);
    tom.send(&cid, "hello");
    jerry.text();
    let asked = collector.call("the first batch", |_| true).at;
    for n in 0..50 {
        tom.send(&cid, &n.to_string());
        assert_eq!(jerry.text(), n.to_string());
    }
    assert!(Instant::now() < asked + delay, "fifty messages waited for the collector");
    assert!(metric(&server, "tidegate_otlp_waiting") >= 50.0 * 7.0);
}

#[test]
fn what_is_left_is_sent_at_the_end() {
    let collector = Receiver::agreeing();
    let mut server = Server::with(journeys(&collector, ""));
    let (mut tom, mut jerry, cid) = pair(&server);
    let sent: Vec<_> = (0..30).map(|n| tom.send(&cid, &n.to_string())).collect();
    (0..30).for_each(|_| drop(jerry.text()));
    server.term();
    assert!(server.ended(Duration::from_secs(30)).success());
    let told = all_spans(&collector);
    let roots: Vec<_> = told.iter().filter_map(|span| span.text("tidegate.message.id")).collect();
    assert!(sent.iter().all(|sent| roots.contains(&sent.id.as_str())), "{} of {}", roots.len(), sent.len());
}

#[test]
fn a_collector_that_hangs_does_not_keep_the_server() {
    let collector = Receiver::start(|_| Reply::After(Duration::from_secs(60), Box::new(Reply::HangUp)));
    let mut server = Server::with(format!("[net]\ndrain_timeout = \"2s\"\n{}", journeys(&collector, "")));
    let (mut tom, mut jerry, cid) = pair(&server);
    tom.send(&cid, "hello");
    jerry.text();
    collector.call("the first batch", |_| true);
    tom.send(&cid, "one more");
    jerry.text();
    server.term();
    assert!(server.ended(Duration::from_secs(8)).success());
    assert!(server.said().contains("did not take the last spans"), "{}", server.said());
}

#[test]
fn a_wrong_collector_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.toml");
    std::fs::write(&file, "[journeys]\notlp = \"collector:4318/v1/traces\"\n").unwrap();
    let checked = common::tidegate().arg("check").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success() && said.contains("journeys.otlp"), "{said}");
}
