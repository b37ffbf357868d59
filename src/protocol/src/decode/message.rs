//! Messages and what is said about them: `direct`, `ack`, `read`, `logs`, `patch` (wire.md 3.8, 3.9, 3.12 to 3.14).

use bytes::Bytes;
use tidegate_domain::command::{Body, Bound, Command, Delivered, Direction, Logs, Mentions, Priority, ReadUpTo, Send};
use tidegate_domain::error::Code;
use tidegate_domain::ids::{ConvId, MessageId, Millis};

use super::{DecodeError, boxed, clients, unknown};
use crate::wire::logs_command::QueryDirection;
use crate::wire::{AckCommand, DirectCommand, LogsCommand, OpType, PatchCommand, ReadCommand};

pub(super) fn send(body: DirectCommand, priority: Option<i32>) -> Result<Command, DecodeError> {
    Ok(Command::Send(Send {
        cid: conv(body.cid.as_deref()),
        body: content(body.msg, body.binary_msg)?,
        transient: body.transient == Some(true),
        receipt: body.r == Some(true),
        will: body.will == Some(true),
        // An empty token would make all of a client's messages one.
        dedupe: boxed(body.dt).filter(|token| !token.is_empty()),
        push_data: boxed(body.push_data).filter(|json| !json.is_empty()),
        mentions: Mentions { all: body.mention_all == Some(true), clients: clients(body.mention_pids) },
        priority: self::priority(priority),
    }))
}

/// `binaryMsg` beats `msg` (Java may send both), but an empty one says nothing. Without either: an empty text.
fn content(text: Option<Bytes>, binary: Option<Bytes>) -> Result<Body, DecodeError> {
    if let Some(binary) = binary.filter(|bytes| !bytes.is_empty()) {
        return Ok(Body::Binary(binary));
    }
    let text = text.unwrap_or_default();
    match std::str::from_utf8(&text) {
        Ok(_) => Ok(Body::Text(text)),
        Err(_) => Err(DecodeError::NotUtf8),
    }
}

/// The envelope's number, where 1 is the most urgent.
pub(crate) fn priority(number: Option<i32>) -> Priority {
    match number {
        Some(1) => Priority::High,
        Some(3) => Priority::Low,
        _ => Priority::Normal,
    }
}

/// One that names neither a message nor a range (LiveQuery's list of ids) marks nothing.
pub(super) fn delivered(body: AckCommand) -> Command {
    let mid = body.mid.as_deref().and_then(MessageId::parse);
    let to = given(body.tots);
    if mid.is_none() && to.is_none() {
        return Command::Nothing;
    }
    Command::Delivered(Delivered { cid: conv(body.cid.as_deref()), mid, from: given(body.fromts), to })
}

/// The form in use, and JS's two old ones, which mean all of a conversation.
pub(super) fn read(body: ReadCommand) -> Command {
    let whole = body.cid.into_iter().chain(body.cids);
    let whole = whole.map(|cid| ReadUpTo { cid: ConvId::parse(&cid), timestamp: None, mid: None });
    let up_to = body.convs.into_iter().filter_map(|tuple| {
        let mid = tuple.mid.as_deref().filter(|mid| !mid.is_empty());
        let known = mid.and_then(MessageId::parse);
        let timestamp = given(tuple.timestamp);
        // A mark at something that is no message of ours must not turn into "all".
        let lost = mid.is_some() && known.is_none() && timestamp.is_none();
        (!lost).then(|| ReadUpTo { cid: ConvId::parse(&tuple.cid), timestamp, mid: known })
    });
    Command::Read(up_to.chain(whole).collect())
}

pub(super) fn logs(body: LogsCommand) -> Command {
    let bound = |at: Option<Millis>, mid: Option<String>, included: Option<bool>| {
        let mid = mid.as_deref().and_then(MessageId::parse);
        given(at).map(|timestamp| Bound { timestamp, mid, included: included == Some(true) })
    };
    let newer = body.direction == Some(QueryDirection::New as i32);
    Command::Logs(Logs {
        cid: conv(body.cid.as_deref()),
        start: bound(body.t, body.mid, body.t_included),
        end: bound(body.tt, body.tmid, body.tt_included),
        limit: body.limit.or(body.l),
        direction: if newer { Direction::New } else { Direction::Old },
        kind: body.lctype,
    })
}

pub(super) fn patch(op: Option<OpType>, patch: &PatchCommand) -> Command {
    let recalls = patch.patches.iter().any(|item| item.recall == Some(true));
    match op {
        Some(OpType::Modify) if recalls => {
            Command::Unsupported(Code::MessageRecallDisabled, "recalling messages is not offered")
        }
        Some(OpType::Modify) => Command::Unsupported(Code::MessageEditDisabled, "editing messages is not offered"),
        // Old clients acknowledge a patch so.
        Some(OpType::Modified) => Command::Nothing,
        _ => unknown("this operation on messages is not known"),
    }
}

fn conv(cid: Option<&str>) -> ConvId {
    ConvId::parse(cid.unwrap_or_default())
}

/// ObjC sends 0 for a time that it does not have.
fn given(at: Option<Millis>) -> Option<Millis> {
    at.filter(|at| *at != 0)
}
