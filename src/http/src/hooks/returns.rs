//! What a hook answers, and what of it is believed.
//!
//! Nothing, `null` and `{}` mean "go on". A field of the wrong type is a lie, and a lie is a failure of the hook: half
//! an answer is not acted upon. Only `drop` is obeyed whatever else is wrong, for its intention is plain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_domain::command::Body;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::ClientId;

/// Of `messageReceived`.
#[derive(Debug, PartialEq)]
pub(crate) enum Returned {
    Pass { body: Option<Body>, to: Option<Vec<ClientId>> },
    Drop(Failure),
}

/// Of `receiversOffline`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct OfflineReturned {
    pub skip: bool,
    pub offline: Option<Vec<ClientId>>,
    /// `pushMessage`: JSON text, or an object.
    pub content: Option<Value>,
    pub force: bool,
}

/// A client id's longest form, in characters (wire.md 5).
const ID_CHARS: usize = 64;

/// `binary`: whether the body that was asked about is; `max_body` bounds a new one, in bytes.
pub(crate) fn message_received(answer: &[u8], binary: bool, max_body: usize) -> Result<Returned, String> {
    let Some(fields) = object(answer)? else { return Ok(Returned::Pass { body: None, to: None }) };
    if fields.get("drop").is_some_and(truthy) {
        return Ok(Returned::Drop(refusal(&fields)));
    }
    let binary = optional_bool(&fields, "bin")?.unwrap_or(binary);
    let body = match present(&fields, "content") {
        None => None,
        Some(Value::String(content)) => Some(body(content, binary, max_body)?),
        Some(_) => return Err("content is no string".to_owned()),
    };
    Ok(Returned::Pass { body, to: clients(&fields, "toPeers")? })
}

pub(crate) fn receivers_offline(answer: &[u8]) -> Result<OfflineReturned, String> {
    let Some(fields) = object(answer)? else { return Ok(OfflineReturned::default()) };
    if fields.get("skip").is_some_and(truthy) {
        return Ok(OfflineReturned { skip: true, ..OfflineReturned::default() });
    }
    let content = match present(&fields, "pushMessage") {
        Some(content @ (Value::String(_) | Value::Object(_))) => Some(content.clone()),
        Some(_) => return Err("pushMessage is neither a string nor an object".to_owned()),
        None => None,
    };
    Ok(OfflineReturned {
        skip: false,
        offline: clients(&fields, "offlinePeers")?,
        content,
        force: optional_bool(&fields, "force")?.unwrap_or(false),
    })
}

/// `None`: nothing was said.
fn object(answer: &[u8]) -> Result<Option<Map<String, Value>>, String> {
    if answer.trim_ascii().is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(answer) {
        Ok(Value::Object(fields)) => Ok(Some(fields)),
        Ok(Value::Null) => Ok(None),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(_) => Err("it is no JSON".to_owned()),
    }
}

/// As JavaScript has it, in which most receivers are written.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// `code` and `detail` are the hook's own (`appCode`, `appMsg`); what has another type counts as absent.
fn refusal(fields: &Map<String, Value>) -> Failure {
    let code = fields.get("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
    let detail = fields.get("detail").and_then(Value::as_str);
    match (code, detail) {
        (Some(code), detail) => {
            Failure { app: Some((code, detail.unwrap_or_default().into())), ..Code::MessageRejectedByApp.into() }
        }
        // Words alone have no place of their own; the sender shall still see them.
        (None, Some(detail)) => Failure::because(Code::MessageRejectedByApp, detail),
        (None, None) => Code::MessageRejectedByApp.into(),
    }
}

fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn optional_bool(fields: &Map<String, Value>, name: &str) -> Result<Option<bool>, String> {
    match present(fields, name) {
        None => Ok(None),
        Some(Value::Bool(yes)) => Ok(Some(*yes)),
        Some(_) => Err(format!("{name} is neither true nor false")),
    }
}

fn body(content: &str, binary: bool, max_body: usize) -> Result<Body, String> {
    let body = if binary {
        Body::Binary(STANDARD.decode(content).map_err(|_| "content is no base64, though bin is true")?.into())
    } else {
        Body::Text(Bytes::copy_from_slice(content.as_bytes()))
    };
    if body.bytes().len() > max_body {
        return Err(format!("content is longer than {max_body} bytes"));
    }
    Ok(body)
}

fn clients(fields: &Map<String, Value>, name: &str) -> Result<Option<Vec<ClientId>>, String> {
    let lie = || format!("{name} is no list of client ids");
    let listed = match present(fields, name) {
        None => return Ok(None),
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(lie()),
    };
    let mut clients: Vec<ClientId> = Vec::with_capacity(listed.len());
    for value in listed {
        let id = value.as_str().ok_or_else(lie)?;
        if id.is_empty() || id.chars().count() > ID_CHARS {
            return Err(lie());
        }
        clients.push(id.into());
    }
    Ok(Some(clients))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 16;

    fn received(answer: &str) -> Result<Returned, String> {
        message_received(answer.as_bytes(), false, MAX)
    }

    #[test]
    fn nothing_said_is_go_on() {
        for answer in ["", "  \n", "null", "{}", r#"{"drop":false}"#, r#"{"drop":0,"content":null,"other":[1]}"#] {
            assert_eq!(received(answer), Ok(Returned::Pass { body: None, to: None }), "{answer}");
            assert_eq!(receivers_offline(answer.as_bytes()), Ok(OfflineReturned::default()), "{answer}");
        }
    }

    #[test]
    fn a_change_is_read() {
        let text = Body::Text(Bytes::from_static(b"hi"));
        let to = Some(vec!["a".into(), "b".into()]);
        assert_eq!(
            received(r#"{"content":"hi","toPeers":["a","b"]}"#),
            Ok(Returned::Pass { body: Some(text.clone()), to })
        );
        let binary = Body::Binary(Bytes::from_static(b"hi"));
        assert_eq!(
            received(r#"{"content":"aGk=","bin":true}"#),
            Ok(Returned::Pass { body: Some(binary.clone()), to: None })
        );
        let of_binary = |answer: &str| message_received(answer.as_bytes(), true, MAX);
        assert_eq!(of_binary(r#"{"content":"aGk="}"#), Ok(Returned::Pass { body: Some(binary), to: None }));
        assert_eq!(of_binary(r#"{"content":"hi","bin":false}"#), Ok(Returned::Pass { body: Some(text), to: None }));
    }

    #[test]
    fn a_drop_is_obeyed_with_the_words_that_are_right() {
        let dropped = |answer: &str| match received(answer) {
            Ok(Returned::Drop(failure)) => failure,
            other => panic!("{answer}: {other:?}"),
        };
        assert_eq!(dropped(r#"{"drop":true,"code":123,"detail":"no"}"#).app, Some((123, "no".into())));
        assert_eq!(dropped(r#"{"drop":1,"code":123}"#).app, Some((123, "".into())));
        let words = dropped(r#"{"drop":"yes","detail":"no"}"#);
        assert_eq!((words.app, words.detail.as_deref()), (None, Some("no")));
        for lie in [r#"{"drop":true,"code":"x","detail":7}"#, r#"{"drop":[],"code":99999999999,"content":7}"#] {
            assert_eq!(dropped(lie), Code::MessageRejectedByApp.into());
        }
    }

    #[test]
    fn lies_are_failures() {
        for lie in [
            "<html>",
            "[]",
            "7",
            r#""drop""#,
            r#"{"content":7}"#,
            r#"{"content":"not base64!","bin":true}"#,
            r#"{"content":"longer than sixteen bytes"}"#,
            r#"{"content":"x","bin":"yes"}"#,
            r#"{"toPeers":"a"}"#,
            r#"{"toPeers":[1]}"#,
            r#"{"toPeers":[""]}"#,
        ] {
            assert!(received(lie).is_err(), "{lie}");
        }
        for lie in ["[]", r#"{"pushMessage":7}"#, r#"{"offlinePeers":{}}"#, r#"{"force":"x"}"#] {
            assert!(receivers_offline(lie.as_bytes()).is_err(), "{lie}");
        }
    }

    #[test]
    fn a_push_can_be_rewritten_or_skipped() {
        let read = |answer: &str| receivers_offline(answer.as_bytes()).expect(answer);
        assert!(read(r#"{"skip":1,"pushMessage":7}"#).skip);
        let rewritten = read(r#"{"offlinePeers":["a"],"pushMessage":"{\"alert\":\"x\"}","force":true}"#);
        assert_eq!(rewritten.offline, Some(vec!["a".into()]));
        assert_eq!(rewritten.content, Some(Value::String(r#"{"alert":"x"}"#.into())));
        assert!(rewritten.force);
        assert_eq!(read(r#"{"pushMessage":{"alert":"x"}}"#).content, Some(serde_json::json!({"alert": "x"})));
    }
}
