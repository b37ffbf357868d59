//! What a hook is sent: `{"event","appId","id","params"}`, params as in http.md 3.2.
//!
//! Owns these documents only.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tidegate_domain::command::Body;
use tidegate_domain::hook::{HookEvent, MessageReceived, MessageSent, ReceiversOffline};
use tidegate_domain::ids::{ClientId, Millis};

#[derive(Serialize)]
struct Call<'a, P> {
    event: &'static str,
    #[serde(rename = "appId")]
    app: &'a str,
    id: &'a str,
    params: P,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Received<'a> {
    from_peer: &'a str,
    conv_id: String,
    to_peers: Vec<&'a str>,
    transient: bool,
    bin: bool,
    content: Cow<'a, str>,
    receipt: bool,
    timestamp: Millis,
    system: bool,
    /// A leftover of old servers that receivers may still look for: always null.
    group_id: Option<()>,
    #[serde(rename = "sourceIP")]
    source_ip: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    from_peer: &'a str,
    conv_id: String,
    msg_id: String,
    online_peers: Vec<&'a str>,
    offline_peers: Vec<&'a str>,
    transient: bool,
    system: bool,
    bin: bool,
    content: Cow<'a, str>,
    receipt: bool,
    timestamp: Millis,
    #[serde(rename = "sourceIP")]
    source_ip: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Offline<'a> {
    from_peer: &'a str,
    conv_id: String,
    content: Cow<'a, str>,
    timestamp: Millis,
    offline_peers: Vec<&'a str>,
    mention_all: bool,
    mention_offline_peers: Vec<&'a str>,
}

pub(crate) fn message_received(app: &str, id: &str, ask: &MessageReceived) -> Vec<u8> {
    let params = Received {
        from_peer: &ask.from,
        conv_id: ask.cid.to_string(),
        to_peers: peers(&ask.to),
        transient: ask.transient,
        bin: ask.body.is_binary(),
        content: content(&ask.body),
        receipt: ask.receipt,
        timestamp: ask.at,
        system: false,
        group_id: None,
        source_ip: ask.ip.as_deref(),
    };
    written(HookEvent::MessageReceived, app, id, params)
}

pub(crate) fn message_sent(app: &str, id: &str, tell: &MessageSent) -> Vec<u8> {
    let params = Sent {
        from_peer: &tell.from,
        conv_id: tell.cid.to_string(),
        msg_id: tell.mid.to_string(),
        online_peers: peers(&tell.online),
        offline_peers: peers(&tell.offline),
        transient: tell.transient,
        system: false,
        bin: tell.body.is_binary(),
        content: content(&tell.body),
        receipt: tell.receipt,
        timestamp: tell.at,
        source_ip: tell.ip.as_deref(),
    };
    written(HookEvent::MessageSent, app, id, params)
}

pub(crate) fn receivers_offline(app: &str, id: &str, ask: &ReceiversOffline) -> Vec<u8> {
    let params = Offline {
        from_peer: &ask.from,
        conv_id: ask.cid.to_string(),
        content: content(&ask.body),
        timestamp: ask.at,
        offline_peers: peers(&ask.offline),
        mention_all: ask.mention_all,
        // With everybody mentioned there is nobody in particular.
        mention_offline_peers: if ask.mention_all { Vec::new() } else { peers(&ask.mentioned_offline) },
    };
    written(HookEvent::ReceiversOffline, app, id, params)
}

fn written(event: HookEvent, app: &str, id: &str, params: impl Serialize) -> Vec<u8> {
    match serde_json::to_vec(&Call { event: event.name(), app, id, params }) {
        Ok(json) => json,
        Err(_) => unreachable!("strings, numbers and lists of them always are JSON"),
    }
}

fn peers(clients: &[ClientId]) -> Vec<&str> {
    clients.iter().map(|client| &**client).collect()
}

fn content(body: &Body) -> Cow<'_, str> {
    match body {
        Body::Text(text) => String::from_utf8_lossy(text),
        Body::Binary(bytes) => STANDARD.encode(bytes).into(),
    }
}
