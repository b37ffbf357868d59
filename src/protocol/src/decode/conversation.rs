//! Commands of `conv` (wire.md 3.6, 3.16). A conversation that is not named is one that does not exist.

use tidegate_domain::command::{Change, Command, Query, Start};
use tidegate_domain::error::Code;
use tidegate_domain::ids::ConvId;

use super::{all_boxed, boxed, clients, signature, unknown};
use crate::wire::{ConvCommand, JsonObjectMessage, OpType};

/// Bits of `flag` in a query.
const COMPACT: i32 = 1;
const LAST_MESSAGE: i32 = 2;

pub(super) fn command(op: Option<OpType>, body: ConvCommand) -> Command {
    use OpType as Op;

    let cid = ConvId::parse(body.cid.as_deref().unwrap_or_default());
    match op {
        Some(Op::Start) => Command::Start(start(body)),
        Some(Op::Add) => Command::Add(change(cid, body)),
        Some(Op::Remove) => Command::Remove(change(cid, body)),
        Some(Op::Query) => Command::Query(query(body)),
        Some(Op::Update) => Command::Update { cid, attr: json(body.attr) },
        Some(Op::Mute) => Command::Mute { cid, on: true },
        Some(Op::Unmute) => Command::Mute { cid, on: false },
        Some(Op::Count) => Command::Count { cid },
        Some(Op::Members) => Command::Members { cid, limit: body.limit },
        Some(Op::MaxRead) => Command::MaxRead { cid, all_members: body.query_all_members == Some(true) },
        Some(Op::IsMember) => Command::IsMember { cids: all_boxed(body.cids) },
        Some(Op::Status) => Command::Unsupported(Code::ConversationInternal, "conversation status is not offered"),
        Some(Op::MemberInfoUpdate) => Command::Unsupported(Code::MemberInfoDisabled, "roles are not offered"),
        Some(Op::AddShutup | Op::RemoveShutup | Op::QueryShutup | Op::CheckShutup) => {
            Command::Unsupported(Code::MemberInfoDisabled, "muting members is not offered")
        }
        _ => unknown("this operation on conversations is not known"),
    }
}

fn start(body: ConvCommand) -> Start {
    Start {
        members: clients(body.m),
        attr: json(body.attr),
        transient: body.transient == Some(true),
        unique: body.unique == Some(true),
        temporary: body.temp_conv == Some(true),
        temporary_ttl: body.temp_conv_ttl,
        signature: signature(body.s, body.t, body.n),
    }
}

fn change(cid: ConvId, body: ConvCommand) -> Change {
    Change { cid, members: clients(body.m), signature: signature(body.s, body.t, body.n) }
}

fn query(body: ConvCommand) -> Query {
    let flag = body.flag.unwrap_or_default();
    Query {
        filter: json(body.r#where),
        sort: boxed(body.sort),
        skip: body.skip,
        limit: body.limit,
        compact: flag & COMPACT != 0,
        last_message: flag & LAST_MESSAGE != 0,
        temporary_ids: all_boxed(body.temp_conv_ids),
    }
}

fn json(object: Option<JsonObjectMessage>) -> Option<Box<str>> {
    object.map(|object| object.data.into_boxed_str())
}
