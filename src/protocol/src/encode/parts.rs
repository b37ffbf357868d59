//! The pieces that several answers and notices share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tidegate_domain::command::Body;
use tidegate_domain::error::Failure;
use tidegate_domain::ids::{ClientId, ConvId};
use tidegate_domain::reply::LogItem;

use crate::wire::{self, CommandType, ConvCommand, GenericCommand, JsonObjectMessage, OpType};

pub(super) fn envelope(cmd: CommandType, op: Option<OpType>) -> GenericCommand {
    GenericCommand { cmd: Some(cmd as i32), op: op.map(|op| op as i32), ..Default::default() }
}

pub(super) fn conv(op: OpType, body: ConvCommand) -> GenericCommand {
    GenericCommand { conv_message: Some(Box::new(body)), ..envelope(CommandType::Conv, Some(op)) }
}

/// A body of `conv` with nothing but its conversation.
pub(super) fn of(cid: ConvId) -> ConvCommand {
    ConvCommand { cid: Some(cid.to_string()), ..Default::default() }
}

pub(super) fn clients(ids: &[ClientId]) -> Vec<String> {
    ids.iter().map(|id| id.to_string()).collect()
}

pub(super) fn json(data: &str) -> Option<JsonObjectMessage> {
    Some(JsonObjectMessage { data: data.to_owned() })
}

/// Present only where it holds: SDKs take presence for truth.
pub(super) fn flag(holds: bool) -> Option<bool> {
    holds.then_some(true)
}

pub(super) fn error(failure: &Failure) -> wire::ErrorCommand {
    let (app_code, app_msg) = app(failure);
    wire::ErrorCommand {
        code: failure.code.number(),
        reason: failure.code.name().to_owned(),
        app_code,
        detail: detail(failure),
        pids: Vec::new(),
        app_msg,
    }
}

pub(super) fn detail(failure: &Failure) -> Option<String> {
    failure.detail.as_deref().map(str::to_owned)
}

pub(super) fn app(failure: &Failure) -> (Option<i32>, Option<String>) {
    failure.app.as_ref().map(|(code, words)| (*code, words.to_string())).unzip()
}

/// Text and bytes of a body: exactly one of them, and bytes never empty, which SDKs would take for a binary message.
pub(super) fn content(body: &Body) -> (Option<Bytes>, Option<Bytes>) {
    match body {
        Body::Binary(bytes) if !bytes.is_empty() => (None, Some(bytes.clone())),
        Body::Text(bytes) | Body::Binary(bytes) => (Some(bytes.clone()), None),
    }
}

/// One message of a page of history, where bytes go as base64.
pub(super) fn log_item(item: &LogItem) -> wire::LogItem {
    let (data, bin) = match content(&item.body) {
        (_, Some(bytes)) => (STANDARD.encode(bytes).into(), Some(true)),
        (text, None) => (text.unwrap_or_default(), None),
    };
    wire::LogItem {
        from: Some(item.from.to_string()),
        data: Some(data),
        timestamp: Some(item.at),
        msg_id: Some(item.mid.to_string()),
        ack_at: item.delivered_at,
        read_at: item.read_at,
        patch_timestamp: item.patched_at,
        mention_all: flag(item.mentions.all),
        mention_pids: clients(&item.mentions.clients),
        bin,
        conv_type: Some(item.kind.number()),
    }
}
