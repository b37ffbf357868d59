//! From an offline receiver to a notification: whose content, and who is left (http.md 7.6).
//!
//! Content, highest first: the hook's, the message's own, the server's default. None of them: no push.

use serde_json::{Value, json};
use tidegate_domain::hook::{Notification, ReceiversOffline};

/// `content` and `force` are the hook's; `ask.offline` is what it left of the receivers.
pub(crate) fn resolve(
    mut ask: ReceiversOffline,
    content: Option<Value>,
    force: bool,
    default: Option<&str>,
) -> Option<Notification> {
    if !force {
        ask.offline.retain(|client| !ask.muted.contains(client));
    }
    if ask.offline.is_empty() {
        return None;
    }
    let data = match (content, &ask.push_data, default) {
        (Some(Value::String(text)), _, _) => parsed(&text),
        (Some(object), _, _) => object,
        (None, Some(text), _) => parsed(text),
        (None, None, Some(text)) => filled(parsed(text), &ask),
        (None, None, None) => return None,
    };
    let ReceiversOffline { app, cid, mid, from, at, offline: to, journey, .. } = ask;
    Some(Notification { app, cid, mid, from, at, to, data, journey })
}

/// Content is an object in JSON; any other text is what the alert shall say.
fn parsed(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => object,
        Ok(Value::String(alert)) => json!({"alert": alert}),
        _ => json!({"alert": text}),
    }
}

/// The variables of the default, inside its strings: nothing put in can break the JSON around it.
fn filled(content: Value, ask: &ReceiversOffline) -> Value {
    match content {
        Value::String(text) => text
            .replace("${convId}", &ask.cid.to_string())
            .replace("${timestamp}", &ask.at.to_string())
            .replace("${fromClientId}", &ask.from)
            .into(),
        Value::Array(items) => items.into_iter().map(|item| filled(item, ask)).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, filled(value, ask))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tidegate_domain::command::Body;
    use tidegate_domain::ids::{AppId, ConvId, MessageId};

    fn ask() -> ReceiversOffline {
        ReceiversOffline {
            app: AppId(0),
            cid: ConvId::parse("559d08a1e4b0a35bc5062ba1"),
            mid: MessageId([7; 16]),
            from: "ann\"".into(),
            body: Body::Text(Bytes::from_static(b"hi")),
            at: 1_700_000_000_000,
            offline: vec!["bob".into(), "cy".into()],
            muted: vec!["cy".into()],
            mention_all: false,
            mentioned_offline: Vec::new(),
            push_data: Some(r#"{"alert":"own"}"#.into()),
            journey: None,
        }
    }

    fn data(ask: ReceiversOffline, content: Option<Value>, default: Option<&str>) -> Option<Value> {
        resolve(ask, content, false, default).map(|notification| notification.data)
    }

    #[test]
    fn the_highest_content_wins() {
        let silent = || ReceiversOffline { push_data: None, ..ask() };
        let default = Some(r#"{"alert":"from ${fromClientId}","at":["${timestamp}"]}"#);
        assert_eq!(data(ask(), Some(json!("{\"alert\":\"hook\"}")), default), Some(json!({"alert": "hook"})));
        assert_eq!(data(ask(), Some(json!({"alert": "hook"})), default), Some(json!({"alert": "hook"})));
        assert_eq!(data(ask(), Some(json!("plain words")), default), Some(json!({"alert": "plain words"})));
        assert_eq!(data(ask(), None, default), Some(json!({"alert": "own"})));
        assert_eq!(data(silent(), None, default), Some(json!({"alert": "from ann\"", "at": ["1700000000000"]})));
        assert_eq!(data(silent(), None, None), None);
    }

    #[test]
    fn the_muted_are_left_alone_unless_forced() {
        let to = |force| resolve(ask(), None, force, None).expect("content is there").to;
        assert_eq!(to(false), ["bob".into()]);
        assert_eq!(to(true), ["bob".into(), "cy".into()]);
        let nobody = ReceiversOffline { offline: vec!["cy".into()], ..ask() };
        assert_eq!(resolve(nobody, None, false, None), None);
    }
}
