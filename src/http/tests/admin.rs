//! The admin side over TCP, with a server behind it that is only a table.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_http::metrics::registry::{CONNECTIONS, STAGE_WAITED_SECONDS};
use tidegate_http::metrics::{Distribution, Family};
use tidegate_http::{
    Admin, AlertReport, AlertState, Alerting, AlertsReport, Amount, Auto, Blocked, Cause, Change, DayReport, Delivery,
    Deps, Expected, Graph, How, HttpRuntime, HttpSide, JourneyReport, JourneysOf, Law, Node, Options, Percentiles,
    Policy, PoolReport, Readiness, Recorder, Recording, Refused, Saved, Second, Setting, Silence, SilenceWish,
    StageReport, StartError, Stop, StoreSecond, TraceOf, TraceStep, Verdict, Wish, bind_admin,
};

struct Table {
    route: Mutex<StageReport>,
    reasons: Mutex<Vec<String>>,
    pool_workers: Mutex<usize>,
    changes: Mutex<Vec<Change>>,
    recording: Arc<AtomicBool>,
    silence: Mutex<Option<Silence>>,
}

/// A recording of nothing.
struct Reel(Arc<AtomicBool>, String);

impl Recorder for Reel {
    fn finish(self: Box<Self>) -> Result<String, String> {
        Ok(self.1.clone())
    }
}

impl Drop for Reel {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn report() -> StageReport {
    let of = |p50| Percentiles { p50, p90: 2, p99: 3, p999: 4, max: 5 };
    StageReport {
        name: "route".into(),
        module: "route".into(),
        pool: "common".into(),
        workers: 1,
        batch: 64,
        bound: 8192,
        policy: Policy::DropOldest,
        delay_target_ms: Some(5.0),
        delay_interval_ms: Some(100.0),
        key_share: 0.5,
        window: 16,
        auto: Auto { workers: false, batch: true },
        in_flight: Some(256),
        depth: 3,
        held: 2,
        utilisation: 0.25,
        blocked: Blocked { share: 0.5, by: Some("persist".into()) },
        rate: 1234.5,
        refused: 7,
        wait_ns: of(1000),
        service_ns: of(2000),
        held_ns: of(3000),
        batch_size: of(4),
        law: Law { inside: 2.0, told: 1.75, error: 0.125 },
    }
}

fn second(n: u64) -> Second {
    Second {
        n,
        at_ms: 7,
        stages: Vec::new(),
        delivery: Delivery::default(),
        connections: 1,
        sessions: 2,
        conversations: 3,
        resident_bytes: None,
        cpu: Some(0.5),
        received_bytes: 1.0,
        sent_bytes: 2.0,
        mailbox: 0,
        slow_readers: 0,
        store: StoreSecond::default(),
        bottleneck: verdict(),
        alerts: Alerting::default(),
    }
}

fn verdict() -> Verdict {
    Verdict {
        stage: Some("persist".into()),
        cause: Cause::LaneSkew,
        evidence: vec!["93% of what waits is of one key".into()],
        suggestion: "tidegate tune route key_share=0.05".into(),
    }
}

impl Admin for Table {
    fn readiness(&self) -> Readiness {
        let reasons = self.reasons.lock().unwrap().clone();
        Readiness { ready: reasons.is_empty(), reasons }
    }

    fn stages(&self) -> Vec<StageReport> {
        vec![self.route.lock().unwrap().clone()]
    }

    fn stage(&self, name: &str) -> Option<StageReport> {
        (name == "route").then(|| self.stages().remove(0))
    }

    fn days(&self, days: u32) -> Result<Vec<DayReport>, String> {
        let day = |n: u32| DayReport {
            day: format!("2026-11-{:02}", 28 - n % 28),
            app: "chat".into(),
            messages: 7,
            active_clients: 2,
            peak_connections: 1,
        };
        if days == 13 { Err("the disk is broken".into()) } else { Ok((0..days).map(day).collect()) }
    }

    fn bottleneck(&self) -> Verdict {
        verdict()
    }

    fn alerts(&self) -> AlertsReport {
        let latency = AlertReport {
            alert: "latency",
            state: AlertState::Raised,
            side: Some("high"),
            since_ms: 5,
            value: Some(840.0),
            unit: "ms",
            expected: Expected { recent: Some([20.0, 35.0]), same_hour: None },
            limits: Some([0.0, 70.0]),
            told: true,
            words: "p99 is 840 ms; in the last hour it was 20 to 35 ms".into(),
        };
        let silence = self.silence.lock().unwrap().clone();
        AlertsReport { interval_ms: 60_000, silence, alerts: vec![latency], ..AlertsReport::default() }
    }

    fn silence(&self, by: &str, wish: Option<SilenceWish>) -> AlertsReport {
        let until_ms = |wish: &SilenceWish| wish.length.as_millis() as i64;
        let silence =
            wish.map(|wish| Silence { by: by.into(), since_ms: 0, until_ms: until_ms(&wish), reason: wish.reason });
        *self.silence.lock().unwrap() = silence;
        self.alerts()
    }

    fn record(&self, by: &str, length: Duration) -> Result<Box<dyn Recorder>, Refused> {
        if self.recording.swap(true, Ordering::SeqCst) {
            return Err(Refused::Conflict("somebody is recording".into()));
        }
        Ok(Box::new(Reel(self.recording.clone(), format!("{{\"by\":{by:?},\"ms\":{}}}", length.as_millis()))))
    }

    fn recording(&self) -> Option<Recording> {
        let by = "me".to_owned();
        self.recording.load(Ordering::SeqCst).then_some(Recording { by, seconds: 1.0, elapsed: 0.5, messages: 3 })
    }

    fn change(&self, wish: Wish, how: How) -> Result<Change, Refused> {
        let changes = match wish {
            Wish::Stage(name, patch) => {
                if name != "route" {
                    return Err(Refused::Unknown);
                }
                if patch.batch.and_then(Amount::number) > Some(1000) {
                    return Err(Refused::Impossible("batch is 1001; persist holds at most 1000".into()));
                }
                let mut route = self.route.lock().unwrap();
                let from = route.workers;
                if !how.dry_run {
                    route.workers = patch.workers.and_then(Amount::number).unwrap_or(from);
                    route.batch = patch.batch.and_then(Amount::number).unwrap_or(route.batch);
                    route.policy = patch.policy.unwrap_or(route.policy);
                    route.delay_target_ms = patch.delay_target_ms.or(route.delay_target_ms);
                }
                let to = match patch.workers {
                    Some(Amount::Auto) => json!("auto"),
                    workers => json!(workers.and_then(Amount::number).unwrap_or(from)),
                };
                vec![Setting { key: "stages.route.workers".into(), from: json!(from), to }]
            }
            Wish::Pool(name, patch) => {
                if name != "common" {
                    return Err(Refused::Unknown);
                }
                *self.pool_workers.lock().unwrap() = patch.workers.unwrap_or(2);
                Vec::new()
            }
            Wish::Undo => return Err(Refused::Conflict("There is nothing to undo.".into())),
            Wish::Reload => Vec::new(),
        };
        let change = Change {
            id: 1,
            at_ms: 5,
            by: how.by,
            changes,
            why: None,
            undoes: None,
            undone_by: None,
            effect: Vec::new(),
            dry_run: how.dry_run,
        };
        self.changes.lock().unwrap().push(change.clone());
        Ok(change)
    }

    fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap().clone()
    }

    fn config(&self) -> String {
        "[stages.route]\n".to_owned()
    }

    fn save(&self, how: How) -> Result<Saved, Refused> {
        let backup = (!how.dry_run).then(|| "pipeline.toml.bak".to_owned());
        Ok(Saved { file: "pipeline.toml".into(), backup, changes: Vec::new(), dry_run: how.dry_run })
    }

    fn pools(&self) -> Vec<PoolReport> {
        vec![PoolReport {
            name: "common".into(),
            workers: *self.pool_workers.lock().unwrap(),
            spin_us: 5.0,
            reactors: true,
            helped: 0,
            stages: vec!["route".into()],
        }]
    }

    fn seconds(&self, after: u64) -> Vec<Arc<Second>> {
        (after + 1..=3).map(|n| Arc::new(second(n))).collect()
    }

    fn graph(&self) -> Graph {
        let to = [("next".to_owned(), "none".to_owned())].into();
        let route = Node { name: "route".into(), module: "route".into(), pool: "common".into(), to };
        Graph { entry: "route".into(), stages: vec![route], pools: vec!["common".into()] }
    }

    fn journeys(&self, of: JourneysOf) -> Option<Vec<JourneyReport>> {
        if of.stage != "route" {
            return None;
        }
        let stop = Stop { stage: of.stage, queued_us: 0.0, wait_us: of.wait_at_least_us, service_us: 2.0, batch: 3 };
        Some(vec![JourneyReport {
            id: "m".into(),
            journey: "j".into(),
            at_ms: of.from_ms,
            total_us: 4.0,
            stages: vec![stop],
        }])
    }

    fn trace(&self, of: TraceOf) -> Vec<TraceStep> {
        assert_ne!(of, TraceOf::Message("panic".into()), "as asked");
        let detail = Some(format!("{of:?}"));
        vec![TraceStep { at_ms: 1, what: "refused".into(), code: Some(4116), detail, ..TraceStep::default() }]
    }

    fn families(&self) -> Vec<Family> {
        let buckets = vec![(0.001, 2), (0.01, 3), (f64::MAX, 1)];
        let waited = Distribution { sum: 0.5, count: 6, buckets };
        vec![CONNECTIONS.is(9.0), STAGE_WAITED_SECONDS.of([(["a\"b"], waited)])]
    }
}

struct Server {
    address: SocketAddr,
    table: Arc<Table>,
    _side: HttpSide,
    _runtime: HttpRuntime,
}

fn server() -> Server {
    with(Options::default())
}

fn with(options: Options) -> Server {
    let runtime = HttpRuntime::start(1).unwrap();
    let table = Arc::new(Table {
        route: Mutex::new(report()),
        reasons: Mutex::default(),
        pool_workers: Mutex::new(2),
        changes: Mutex::default(),
        recording: Arc::default(),
        silence: Mutex::default(),
    });
    let listener = bind_admin("127.0.0.1:0".parse().unwrap()).unwrap();
    let deps = Deps { admin: Some((listener, table.clone())), ..Deps::default() };
    let side = HttpSide::start(&runtime, options, deps).unwrap();
    Server { address: side.admin_addr().unwrap(), table, _side: side, _runtime: runtime }
}

impl Server {
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        self.ask_as("localhost", method, path, body)
    }

    fn ask_as(&self, host: &str, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }

    fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.ask(method, path, body);
        (status, serde_json::from_str(&body).unwrap())
    }
}

#[test]
fn a_stage_is_shown_with_the_promised_names() {
    let server = server();
    let shown = json!({
        "name": "route", "module": "route", "pool": "common", "workers": 1, "batch": 64, "bound": 8192,
        "policy": "drop-oldest", "delay_target_ms": 5, "delay_interval_ms": 100, "key_share": 0.5, "window": 16, "auto": {"workers": false, "batch": true}, "in_flight": 256, "depth": 3, "held": 2,
        "utilisation": 0.25, "blocked": {"share": 0.5, "by": "persist"}, "rate": 1234.5, "refused": 7,
        "wait_ns": {"p50": 1000, "p90": 2, "p99": 3, "p999": 4, "max": 5},
        "service_ns": {"p50": 2000, "p90": 2, "p99": 3, "p999": 4, "max": 5},
        "held_ns": {"p50": 3000, "p90": 2, "p99": 3, "p999": 4, "max": 5},
        "batch_size": {"p50": 4, "p90": 2, "p99": 3, "p999": 4, "max": 5},
        "law": {"inside": 2.0, "told": 1.75, "error": 0.125}
    });
    assert_eq!(server.json("GET", "/stages/route", ""), (200, shown.clone()));
    assert_eq!(server.json("GET", "/stages", ""), (200, json!([shown])));
    assert_eq!(server.json("GET", "/stages/rout", "").0, 404);
    let pool =
        json!({"name": "common", "workers": 2, "spin_us": 5.0, "reactors": true, "helped": 0, "stages": ["route"]});
    assert_eq!(server.json("GET", "/pools", ""), (200, json!([pool])));
    assert_eq!(server.json("GET", "/pools/common", ""), (200, pool));
}

#[test]
fn a_change_is_made_and_shown_or_refused_whole() {
    let server = server();
    let (status, stage) =
        server.json("PATCH", "/stages/route", r#"{"workers":3,"policy":"shed","delay_target_ms":0.5}"#);
    assert_eq!((status, &stage["workers"], &stage["policy"]), (200, &json!(3), &json!("shed")));
    assert_eq!((&stage["delay_target_ms"], &stage["batch"]), (&json!(0.5), &json!(64)));
    assert_eq!(server.json("PATCH", "/pools/common", r#"{"workers":5}"#).1["workers"], 5);
    let before = server.json("GET", "/stages", "");
    for (path, body, status) in [
        ("/stages/route", "{", 400),
        ("/stages/route", "", 400),
        ("/stages/route", r#"{"workers":2} x"#, 400),
        ("/stages/route", r#"{"workers":2,"unknown":1}"#, 422),
        ("/stages/route", r#"{"workers":0}"#, 422),
        ("/stages/route", r#"{"workers":null}"#, 422),
        ("/stages/route", r#"{"workers":"many"}"#, 422),
        ("/pools/common", r#"{"workers":"auto"}"#, 422),
        ("/stages/route", r#"{"policy":"never"}"#, 422),
        ("/stages/route", r#"{"delay_target_ms":-1}"#, 422),
        ("/stages/route", r#"{"workers":2,"batch":1001}"#, 422),
        ("/stages/route", "[]", 422),
        ("/stages/nobody", r#"{"workers":2}"#, 404),
        ("/pools/common", r#"{"batch":2}"#, 422),
        ("/pools/common", r#"{"workers":0}"#, 422),
        ("/pools/common", r#"{"spin_us":-1}"#, 422),
        ("/pools/common", r#"{"reactors":"yes"}"#, 422),
        ("/stages/route", r#"{"pool":null}"#, 422),
        ("/stages/route", r#"{"window":0}"#, 422),
        ("/stages/route", r#"{"in_flight":0}"#, 422),
        ("/pools/nobody", r#"{"workers":2}"#, 404),
    ] {
        let (got, error) = server.json("PATCH", path, body);
        assert_eq!((got, &error["code"]), (status, &json!(status)), "{path} {body}: {error}");
    }
    assert_eq!(server.json("GET", "/stages", ""), before);
    assert_eq!(server.json("DELETE", "/stages/route", "").0, 405);
    assert_eq!(server.json("GET", "/nothing", "").0, 404);
}

#[test]
fn a_change_may_be_tried_and_says_who_asked() {
    let server = server();
    let (status, tried) = server.json("PATCH", "/stages/route?dry_run=true", r#"{"workers":3}"#);
    assert_eq!((status, &tried["dry_run"]), (200, &json!(true)));
    assert_eq!(tried["changes"], json!([{"key": "stages.route.workers", "from": 1, "to": 3}]));
    assert_eq!(server.json("GET", "/stages/route", "").1["workers"], 1);
    assert_eq!(server.json("PATCH", "/stages/route?dry=1", r#"{"workers":3}"#).0, 400);
    assert_eq!(server.json("POST", "/undo", ""), (409, json!({"code": 409, "error": "There is nothing to undo."})));
    assert_eq!(server.json("GET", "/undo", "").0, 405);
    assert_eq!(server.json("POST", "/config/save", "").1["backup"], "pipeline.toml.bak");
    assert_eq!(server.json("POST", "/config/reload?dry_run=true", "").1["dry_run"], true);
    let (status, head, text) = server.ask("GET", "/config", "");
    assert_eq!((status, &*text), (200, "[stages.route]\n"));
    assert!(head.contains("application/toml"), "{head}");
    let by = server.json("GET", "/changes", "").1[0]["by"].as_str().unwrap().to_owned();
    assert!(by.starts_with("from 127.0.0.1:"), "{by}");
}

/// A browser sends a POST for any page, without asking first, and with it what a person once told it to be let in.
#[test]
fn pages_of_other_origins_change_nothing() {
    let server = server();
    let fetched = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let headers: String = headers.iter().map(|(name, value)| format!("\r\nSec-Fetch-{name}: {value}")).collect();
        server.ask_as(&format!("localhost{headers}"), method, path, "").0
    };
    for (site, to_read, to_change) in [
        ("same-origin", 200, 409),
        ("none", 200, 409),
        ("same-site", 403, 403),
        ("cross-site", 403, 403),
        ("", 403, 403),
    ] {
        let found = (fetched("GET", "/stages", &[("Site", site)]), fetched("POST", "/undo", &[("Site", site)]));
        assert_eq!(found, (to_read, to_change), "{site}");
    }
    // A link leads here from anywhere; a form, a frame and an image do not.
    let link = [("Site", "cross-site"), ("Mode", "navigate"), ("Dest", "document")];
    assert_eq!((fetched("GET", "/stages", &link), fetched("POST", "/undo", &link)), (200, 403));
    for (mode, dest) in [("navigate", "iframe"), ("no-cors", "image"), ("no-cors", "script"), ("cors", "empty")] {
        let headers = [("Site", "cross-site"), ("Mode", mode), ("Dest", dest)];
        assert_eq!(fetched("GET", "/stages", &headers), 403, "{mode} {dest}");
    }
    for (origin, status) in [
        ("http://evil.example", 403),
        ("http://127.0.0.1:8000", 403),
        ("null", 403),
        (&*format!("http://{}", server.address), 409),
    ] {
        let host = format!("{}\r\norigin: {origin}", server.address);
        assert_eq!(server.ask_as(&host, "POST", "/undo", "").0, status, "{origin}");
    }
}

#[test]
fn seconds_are_streamed_and_listed() {
    let server = server();
    let numbers = |list: Value| list.as_array().unwrap().iter().map(|s| s["n"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers(server.json("GET", "/history", "").1), [1, 2, 3]);
    assert_eq!(numbers(server.json("GET", "/history?seconds=2", "").1), [2, 3]);
    assert_eq!(server.json("GET", "/history?seconds=x", "").0, 400);
    let days = |query: &str| server.json("GET", &format!("/days{query}"), "");
    assert_eq!((days("").1.as_array().unwrap().len(), days("?days=2").1.as_array().unwrap().len()), (31, 2));
    let figures =
        ["day", "app", "messages", "active_clients", "peak_connections"].map(|key| days("").1[0][key].clone());
    assert_eq!(figures, [json!("2026-11-28"), json!("chat"), json!(7), json!(2), json!(1)]);
    let (status, body) = days("?days=13");
    assert!(status == 503 && body["error"].as_str().unwrap().contains("the disk is broken"), "{body}");
    assert_eq!(server.json("GET", "/live?after=x", "").0, 400);
    for (path, first) in [("/live", 3), ("/live?after=1", 2)] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).unwrap();
        let mut heard = String::new();
        while !heard.contains(r#""n":3,"#) {
            let mut some = [0; 4096];
            let n = stream.read(&mut some).unwrap();
            assert_ne!(n, 0, "{heard}");
            heard.push_str(&String::from_utf8_lossy(&some[..n]));
        }
        assert!(heard.contains("text/event-stream"), "{heard}");
        let events: Vec<_> = heard.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let event: Value = serde_json::from_str(events[0]).unwrap();
        assert_eq!((event["n"].as_u64(), event["cpu"].as_f64()), (Some(first), Some(0.5)));
    }
    assert_eq!(server.json("GET", "/topology", "").1["stages"][0]["to"], json!({"next": "none"}));
    let (status, journeys) = server.json("GET", "/journeys?stage=route&from_ms=5&wait_at_least_us=2.5", "");
    assert_eq!((status, &journeys[0]["at_ms"], &journeys[0]["stages"][0]["wait_us"]), (200, &json!(5), &json!(2.5)));
    assert_eq!(server.json("GET", "/journeys?stage=nobody", "").0, 404);
    assert_eq!(server.json("GET", "/journeys", "").0, 400);
}

#[test]
fn a_recording_takes_its_time_is_the_only_one_and_ends_with_whoever_asked() {
    let server = server();
    for wrong in ["/record", "/record?seconds=x", "/record?seconds=1&then=2"] {
        assert_eq!(server.json("POST", wrong, "").0, 400, "{wrong}");
    }
    for wrong in ["0", "-1", "3601", "NaN", "inf"] {
        assert_eq!(server.json("POST", &format!("/record?seconds={wrong}"), "").0, 422, "{wrong}");
    }
    assert_eq!(server.json("GET", "/record", ""), (200, Value::Null));
    let begin = Instant::now();
    let (status, recording) = server.json("POST", "/record?seconds=0.2", "");
    assert_eq!((status, &recording["ms"]), (200, &json!(200)));
    assert!(recording["by"].as_str().unwrap().starts_with("from 127.0.0.1:"), "{recording}");
    assert!(begin.elapsed() >= Duration::from_millis(200));
    let mut stays = TcpStream::connect(server.address).unwrap();
    write!(stays, "POST /record?seconds=3600 HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).unwrap();
    common::wait_until("it records", || server.json("GET", "/record", "").1["messages"] == 3);
    assert_eq!(server.json("POST", "/record?seconds=1", "").0, 409);
    drop(stays);
    common::wait_until("it is given up", || server.json("GET", "/record", "").1.is_null());
}

#[test]
fn the_bottleneck_has_its_promised_names() {
    let shown = json!({
        "stage": "persist", "cause": "lane_skew", "evidence": ["93% of what waits is of one key"],
        "suggestion": "tidegate tune route key_share=0.05"
    });
    assert_eq!(server().json("GET", "/bottleneck", ""), (200, shown));
    let names = ["workers", "cpu", "lane_skew", "fsync", "hook", "push_provider", "slow_clients", "reactors"];
    let causes = [
        Cause::Workers,
        Cause::Cpu,
        Cause::LaneSkew,
        Cause::Fsync,
        Cause::Hook,
        Cause::PushProvider,
        Cause::SlowClients,
        Cause::Reactors,
    ];
    assert_eq!(causes.map(|cause| json!(cause)), names.map(|name| json!(name)));
    assert_eq!(json!(Cause::UpstreamIdle), json!("upstream_idle"));
}

#[test]
fn readiness_has_its_status_and_reasons() {
    let server = server();
    assert_eq!(server.json("GET", "/readyz", ""), (200, json!({"ready": true, "reasons": []})));
    server.table.reasons.lock().unwrap().push("the disk is full".into());
    assert_eq!(server.json("GET", "/readyz", ""), (503, json!({"ready": false, "reasons": ["the disk is full"]})));
}

/// Else any page that the operator looks at could ask, under a name that resolves to this machine.
#[test]
fn it_is_asked_by_address_only() {
    let server = server();
    for host in ["127.0.0.1:7702", "localhost", "LocalHost:7702", "[::1]:7702", "10.1.2.3"] {
        assert_eq!(server.ask_as(host, "GET", "/stages", "").0, 200, "{host}");
    }
    for host in ["evil.example:7702", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
        let (status, ..) = server.ask_as(host, "PATCH", "/stages/route", r#"{"workers":3}"#);
        assert!(status == 421 || status == 400, "{host}: {status}");
    }
}

#[test]
fn a_trace_is_asked_by_client_or_message() {
    let server = server();
    let (status, trace) = server.json("GET", "/trace?client=ann%20b&app=app-0", "");
    assert_eq!((status, &trace["client"]), (200, &json!("ann b")));
    assert_eq!(trace["steps"][0]["code"], 4116);
    let asked = trace["steps"][0]["detail"].as_str().unwrap();
    assert!(asked.contains("ann b") && asked.contains("app-0"), "{asked}");
    let (status, trace) = server.json("GET", "/trace?message=m1", "");
    assert_eq!((status, &trace["message"]), (200, &json!("m1")));
    for path in ["/trace", "/trace?client=a&message=b", "/trace?other=1"] {
        assert_eq!(server.json("GET", path, "").0, 400, "{path}");
    }
    assert_eq!(server.json("GET", "/trace?message=panic", "").0, 500, "a panic inside is an answer too");
    assert_eq!(server.json("GET", "/trace?message=m1", "").0, 200);
}

#[test]
fn metrics_are_open_metrics() {
    let (status, head, text) = server().ask("GET", "/metrics", "");
    assert_eq!(status, 200);
    assert!(head.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    for line in [
        "# TYPE tidegate_stage_depth gauge",
        "# HELP tidegate_stage_depth Events in the stage now, and room reserved for those on their way",
        r#"tidegate_stage_depth{stage="route"} 3.0"#,
        "# TYPE tidegate_stage_refused counter",
        r#"tidegate_stage_refused_total{stage="route"} 7.0"#,
        r#"tidegate_stage_wait_seconds{stage="route",percentile="p50"} 0.000001"#,
        "tidegate_connections 9.0",
        "# TYPE tidegate_stage_waited_seconds histogram",
        "# UNIT tidegate_stage_waited_seconds seconds",
        r#"tidegate_stage_waited_seconds_count{stage="a\"b"} 6"#,
        r#"tidegate_stage_waited_seconds_bucket{le="0.01",stage="a\"b"} 5"#,
        r#"tidegate_stage_waited_seconds_bucket{le="+Inf",stage="a\"b"} 6"#,
        r#"tidegate_stage_little_error{stage="route"} 0.125"#,
    ] {
        assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let mut seen = std::collections::HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("tidegate_") && value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(series), "{series} twice");
    }
}

#[test]
fn an_address_in_use_is_refused_in_words() {
    let server = server();
    let Err(error @ StartError::Listen { .. }) = bind_admin(server.address) else {
        panic!("two servers on one address")
    };
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}

#[test]
fn a_body_too_long_is_refused_as_json() {
    let server = server();
    for length in [65 * 1024, 3 << 20] {
        let body = format!("{{\"workers\":{}1}}", " ".repeat(length));
        let (status, error) = server.json("PATCH", "/stages/route", &body);
        assert_eq!((status, &error["code"]), (413, &json!(413)), "{error}");
    }
    assert_eq!(server.json("PATCH", "/pools/common", &format!("{}{{}}", " ".repeat(60 * 1024))).0, 200);
}

/// What comes until the server hangs up.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    loop {
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(0) => return String::from_utf8(all).unwrap(),
            Ok(n) => all.extend_from_slice(&some[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return String::from_utf8(all).unwrap();
            }
            Err(error) => panic!("still open after {:?}: {error}", String::from_utf8_lossy(&all)),
        }
    }
}

#[test]
fn who_keeps_a_connection_and_says_nothing_is_hung_up_on() {
    let server = with(Options { head_timeout: std::time::Duration::from_millis(100), ..Options::default() });
    for said in ["", "GET /readyz HT", "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: 1\r\n"] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        assert!(!rest(stream).contains("200 OK"), "{said:?}");
    }
    // Kept after an answer, and then forgotten.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    assert!(rest(stream).contains("200 OK"));
}

#[test]
fn admin_connections_are_bounded_and_make_room_again() {
    let server = server();
    let idle: Vec<_> = (0..64).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let extra = TcpStream::connect(server.address).unwrap();
    let said = rest(extra);
    assert!(said.contains("503") && said.contains(r#""code":503"#), "{said}");
    drop(idle);
    let served = || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        // It may be hung up on before it has said anything.
        stream.write_all(request).is_ok() && rest(stream).contains("200 OK")
    };
    common::wait_until("there is room again", served);
}

#[test]
fn alerts_are_shown_with_the_promised_names() {
    let server = server();
    let shown = json!({
        "interval_ms": 60_000, "silence": null, "webhook": null, "notices": [],
        "alerts": [{
            "alert": "latency", "state": "raised", "side": "high", "since_ms": 5, "value": 840.0, "unit": "ms",
            "expected": {"recent": [20.0, 35.0], "same_hour": null}, "limits": [0.0, 70.0], "told": true,
            "words": "p99 is 840 ms; in the last hour it was 20 to 35 ms"
        }]
    });
    assert_eq!(server.json("GET", "/alerts", ""), (200, shown));
    let (_, seconds) = server.json("GET", "/history", "");
    assert_eq!(seconds[0]["alerts"], json!({"raised": [], "silence": null}));
}

#[test]
fn a_silence_has_a_length_and_says_by_whom_it_is() {
    let server = server();
    let silence = |body: &str| server.json("POST", "/alerts/silence", body);
    let (status, report) = silence(r#"{"for": "2h", "reason": "de\u0007ploy"}"#);
    let silent = &report["silence"];
    assert_eq!((status, &silent["until_ms"], &silent["reason"]), (200, &json!(7_200_000), &json!("deploy")));
    assert!(silent["by"].as_str().unwrap().starts_with("from 127.0.0.1"), "{silent}");
    for nonsense in [
        r#"{}"#,
        r#"{"for": 7}"#,
        r#"{"for": "2"}"#,
        r#"{"for": "0s"}"#,
        r#"{"for": "31d"}"#,
        r#"{"for": "1h", "x": 1}"#,
    ] {
        assert_eq!(silence(nonsense).0, 422, "{nonsense}");
    }
    assert_eq!(silence("{").0, 400);
    assert_eq!(server.json("GET", "/alerts", "").1["silence"]["reason"], "deploy");
    let (status, report) = server.json("DELETE", "/alerts/silence", "");
    assert_eq!((status, &report["silence"]), (200, &Value::Null));
    assert_eq!(server.json("GET", "/alerts/silence", "").0, 405);
}
