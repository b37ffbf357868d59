//! Spans as the JSON that OTLP defines beside its protobuf: ids are hex, 64-bit numbers are text.
//!
//! opentelemetry-proto, `docs/specification.md` and `opentelemetry/proto/trace/v1/trace.proto`. Must not know how it is
//! sent.

use serde::{Deserialize, Serialize};

use super::span::{Span, Value};

/// What sends the spans, once in each request.
pub(crate) struct Sender {
    pub version: &'static str,
    /// Another one for each start of the server.
    pub instance: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: [Attribute<'a>; 3],
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope<'a>,
    spans: Vec<Written<'a>>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    time_unix_nano: String,
    name: &'a str,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: &'a str,
}

/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
enum AnyValue<'a> {
    #[serde(rename = "stringValue")]
    Text(&'a str),
    #[serde(rename = "intValue")]
    Number(String),
    #[serde(rename = "boolValue")]
    Flag(bool),
}

/// The body of one `POST /v1/traces`.
pub(crate) fn request(sender: &Sender, spans: &[Span]) -> Vec<u8> {
    let text = |key, value| Attribute { key, value: AnyValue::Text(value) };
    let attributes = [
        text("service.name", "tidegate"),
        text("service.version", sender.version),
        text("service.instance.id", &sender.instance),
    ];
    let scope = Scope { name: "tidegate.journeys", version: sender.version };
    let scope_spans = [ScopeSpans { scope, spans: spans.iter().map(written).collect() }];
    let request = Request { resource_spans: [ResourceSpans { resource: Resource { attributes }, scope_spans }] };
    match serde_json::to_vec(&request) {
        Ok(json) => json,
        Err(_) => unreachable!("strings, numbers and lists of them always are JSON"),
    }
}

fn written(span: &Span) -> Written<'_> {
    let event = |(name, at): &(&'static str, u64)| Event { time_unix_nano: at.to_string(), name };
    Written {
        trace_id: span.journey.to_string(),
        span_id: format!("{:016x}", span.id.0),
        parent_span_id: span.parent.map(|parent| format!("{:016x}", parent.0)),
        name: &span.name,
        kind: span.kind as u8,
        start_time_unix_nano: span.begun_ns.to_string(),
        end_time_unix_nano: span.ended_ns.to_string(),
        attributes: span.attributes.iter().map(attribute).collect(),
        events: span.events.iter().map(event).collect(),
        status: span.error.as_ref().map(|message| Status { code: ERROR, message }),
    }
}

fn attribute<'a>((key, value): &'a (&'static str, Value)) -> Attribute<'a> {
    let value = match value {
        Value::Text(text) => AnyValue::Text(text),
        Value::Number(number) => AnyValue::Number(number.to_string()),
        Value::Flag(flag) => AnyValue::Flag(*flag),
    };
    Attribute { key, value }
}

/// What a collector says of a request that it took in part only.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rejected {
    pub spans: u64,
    pub why: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    partial_success: Option<PartialSuccess>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    /// Text, as 64-bit numbers are; some write a number.
    rejected_spans: serde_json::Value,
    error_message: String,
}

/// Nothing where all was taken, or where the answer cannot be read: it was a success.
pub(crate) fn rejected(answer: &[u8]) -> Rejected {
    let Some(partial) = serde_json::from_slice::<Answer>(answer).ok().and_then(|answer| answer.partial_success) else {
        return Rejected::default();
    };
    let spans = match &partial.rejected_spans {
        serde_json::Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    };
    Rejected { spans: spans.unwrap_or_default(), why: partial.error_message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_domain::ids::JourneyId;

    use super::super::span::{SpanId, SpanKind};
    use super::*;

    #[test]
    fn a_span_is_written_as_otlp_has_it() {
        let span = Span {
            journey: JourneyId(0xAB),
            id: SpanId(2),
            parent: Some(SpanId(1)),
            name: "persist".into(),
            kind: SpanKind::Internal,
            begun_ns: 1_700_000_000_000_000_001,
            ended_ns: 1_700_000_000_000_000_003,
            attributes: vec![
                ("tidegate.batch", Value::Number(64)),
                ("tidegate.held", Value::Flag(true)),
                ("tidegate.outcome", Value::Text("refused".to_owned())),
            ],
            events: vec![("started", 1_700_000_000_000_000_002)],
            error: Some("SERVER_OVERLOADED".to_owned()),
        };
        let sender = Sender { version: "1.2.3", instance: "i-1".to_owned() };
        let told: serde_json::Value = serde_json::from_slice(&request(&sender, &[span])).expect("it is JSON");
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "tidegate"}},
                {"key": "service.version", "value": {"stringValue": "1.2.3"}},
                {"key": "service.instance.id", "value": {"stringValue": "i-1"}},
            ]},
            "scopeSpans": [{
                "scope": {"name": "tidegate.journeys", "version": "1.2.3"},
                "spans": [{
                    "traceId": "000000000000000000000000000000ab",
                    "spanId": "0000000000000002",
                    "parentSpanId": "0000000000000001",
                    "name": "persist",
                    "kind": 1,
                    "startTimeUnixNano": "1700000000000000001",
                    "endTimeUnixNano": "1700000000000000003",
                    "attributes": [
                        {"key": "tidegate.batch", "value": {"intValue": "64"}},
                        {"key": "tidegate.held", "value": {"boolValue": true}},
                        {"key": "tidegate.outcome", "value": {"stringValue": "refused"}},
                    ],
                    "events": [{"timeUnixNano": "1700000000000000002", "name": "started"}],
                    "status": {"code": 2, "message": "SERVER_OVERLOADED"},
                }],
            }],
        }]});
        assert_eq!(told, expected);
    }

    #[test]
    fn a_partial_success_is_read_whoever_wrote_it() {
        let some = |spans, why: &str| Rejected { spans, why: why.to_owned() };
        let told = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        assert_eq!(rejected(told), some(3, "too old"));
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":3}}"#), some(3, ""));
        assert_eq!(rejected(br#"{"partialSuccess":{"errorMessage":"a word"}}"#), some(0, "a word"));
        for nothing in [&b""[..], b"{}", b"null", b"<html>", br#"{"partialSuccess":null}"#] {
            assert_eq!(rejected(nothing), some(0, ""));
        }
    }
}
