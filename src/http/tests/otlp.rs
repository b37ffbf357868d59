//! The queue of spans: what does not fit is dropped, all of a trace or none of it, and everything is counted. How traces
//! look, and what a collector may do, is `tests/otlp.rs` of the whole server.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tidegate_domain::ids::JourneyId;
use tidegate_http::metrics::Value;
use tidegate_http::{Exporter, ExporterOptions, HttpRuntime, Span, SpanId, SpanKind};

/// As many wait at most.
const MOST_WAITING: usize = 16_384;
const BATCH: usize = 512;

fn trace(journey: u128, spans: u64) -> Vec<Span> {
    let span = |nth| Span {
        journey: JourneyId(journey),
        id: SpanId::nth(JourneyId(journey), nth),
        parent: (nth > 0).then(|| SpanId::root(JourneyId(journey))),
        name: "a span".into(),
        kind: SpanKind::Internal,
        begun_ns: 1,
        ended_ns: 2,
        attributes: Vec::new(),
        events: Vec::new(),
        error: None,
    };
    (0..spans).map(span).collect()
}

/// Exported, failed, dropped, waiting.
fn counts(exporter: &Exporter) -> [f64; 4] {
    let samples = exporter.families().into_iter().flat_map(|family| family.samples);
    let numbers = samples.map(|sample| match sample.value {
        Value::Number(number) => number,
        other => panic!("{other:?}"),
    });
    numbers.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn what_does_not_fit_is_dropped_by_the_trace() {
    // Connections are taken, and nothing is ever answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = ExporterOptions { url: format!("http://{}", silent.local_addr().unwrap()), headers: Vec::new() };
    let runtime = HttpRuntime::start(1).unwrap();
    let exporter = Exporter::start(&runtime, &options).unwrap();
    exporter.offer(trace(1, BATCH as u64));
    let end = Instant::now() + Duration::from_secs(20);
    while counts(&exporter)[3] > 0.0 {
        assert!(Instant::now() < end, "the first batch is not on its way");
        std::thread::sleep(Duration::from_millis(5));
    }
    exporter.offer(trace(2, MOST_WAITING as u64 - 3));
    let begun = Instant::now();
    (0..1_000).for_each(|n| exporter.offer(trace(10 + n, 7)));
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for a queue that is full");
    exporter.offer(trace(3, 3));
    assert_eq!(counts(&exporter), [0.0, 0.0, 7_000.0, MOST_WAITING as f64]);
    exporter.stop(Duration::from_millis(100));
    assert_eq!(counts(&exporter), [0.0, 0.0, 7_000.0 + MOST_WAITING as f64, 0.0]);
    exporter.offer(trace(4, 1));
    assert_eq!(counts(&exporter)[2], 7_001.0 + MOST_WAITING as f64, "what comes after the end is not kept");
    runtime.stop(Duration::from_millis(100));
}

#[test]
fn a_wrong_address_or_header_is_refused_at_the_start() {
    let runtime = HttpRuntime::start(1).unwrap();
    let start = |url: &str, name: &str, value: &str| {
        let headers = vec![(name.to_owned(), value.to_owned())];
        Exporter::start(&runtime, &ExporterOptions { url: url.to_owned(), headers }).map_err(|error| error.to_string())
    };
    assert!(start("http://127.0.0.1:4318/base/", "x-scope", "7").is_ok());
    assert!(start("collector:4318", "x-scope", "7").unwrap_err().contains("[journeys] otlp \"collector:4318\""));
    let secret = start("http://127.0.0.1:4318", "x-scope", "two\nlines").unwrap_err();
    assert!(secret.contains("x-scope") && !secret.contains("lines"), "{secret}");
}
