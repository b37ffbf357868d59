//! Each notice as an envelope that still lacks service, `peerId` and the time. Never an `i`.

use tidegate_domain::error::Failure;
use tidegate_domain::ids::{ClientId, ConvId, Millis};
use tidegate_domain::reply::{Message, Notice, Unread};
use tidegate_domain::time::iso;

use super::parts::{clients, content, conv, detail, envelope, flag, json, of};
use crate::wire::{
    CommandType as Cmd, ConvCommand, DirectCommand, GenericCommand, OpType as Op, RcpCommand, SessionCommand,
    UnreadCommand, UnreadTuple,
};

/// Kept for clients that were away: what changed for the client itself (wire.md 2.2).
const PERMANENT: i32 = 1;

pub(super) fn envelope_of(notice: &Notice) -> GenericCommand {
    match notice {
        Notice::Message(message) => {
            GenericCommand { direct_message: Some(direct(message)), ..envelope(Cmd::Direct, None) }
        }
        Notice::Joined { cid, by, updated } => permanent(conv(Op::Joined, change(*cid, by, *updated))),
        Notice::MembersJoined { cid, members, by, updated } => {
            conv(Op::MembersJoined, ConvCommand { m: clients(members), ..change(*cid, by, *updated) })
        }
        Notice::Left { cid, by, updated } => permanent(conv(Op::Left, change(*cid, by, *updated))),
        Notice::MembersLeft { cid, members, by, updated } => {
            conv(Op::MembersLeft, ConvCommand { m: clients(members), ..change(*cid, by, *updated) })
        }
        Notice::Updated { cid, by, updated, attr, modified } => conv(
            Op::Updated,
            ConvCommand { attr: json(attr), attr_modified: json(modified), ..change(*cid, by, *updated) },
        ),
        Notice::Receipt { cid, mid, at, by, read } => {
            let rcp = RcpCommand {
                id: Some(mid.to_string()),
                cid: Some(cid.to_string()),
                t: Some(*at),
                read: flag(*read),
                from: Some(by.to_string()),
            };
            GenericCommand { rcp_message: Some(rcp), ..envelope(Cmd::Rcp, None) }
        }
        Notice::Unread { convs, as_of } => {
            let unread = UnreadCommand { convs: convs.iter().map(tuple).collect(), notif_time: Some(*as_of) };
            GenericCommand { unread_message: Some(unread), ..envelope(Cmd::Unread, None) }
        }
        Notice::SessionClosed(failure) => closed(failure),
        Notice::GoAway => envelope(Cmd::Goaway, None),
    }
}

fn permanent(envelope: GenericCommand) -> GenericCommand {
    GenericCommand { notification_type: Some(PERMANENT), ..envelope }
}

fn change(cid: ConvId, by: &ClientId, updated: Millis) -> ConvCommand {
    ConvCommand { init_by: Some(by.to_string()), udate: Some(iso(updated)), ..of(cid) }
}

fn direct(message: &Message) -> DirectCommand {
    let (msg, binary_msg) = content(&message.body);
    DirectCommand {
        msg,
        from_peer_id: Some(message.from.to_string()),
        timestamp: Some(message.at),
        offline: flag(message.offline),
        has_more: flag(message.has_more),
        cid: Some(message.cid.to_string()),
        id: Some(message.mid.to_string()),
        transient: flag(message.transient),
        patch_timestamp: message.patched_at,
        binary_msg,
        mention_pids: clients(&message.mentions.clients),
        mention_all: flag(message.mentions.all),
        conv_type: Some(message.kind.number()),
        ..Default::default()
    }
}

/// The count, and the last message with all four of its fields: ObjC takes it only whole (wire.md 3.11).
fn tuple(unread: &Unread) -> UnreadTuple {
    let base = UnreadTuple {
        cid: unread.cid.to_string(),
        unread: unread.count,
        mentioned: flag(unread.mentioned),
        conv_type: Some(unread.kind.number()),
        ..Default::default()
    };
    let Some(last) = &unread.last else { return base };
    let (data, binary_msg) = content(&last.body);
    UnreadTuple {
        mid: Some(last.mid.to_string()),
        timestamp: Some(last.at),
        from: Some(last.from.to_string()),
        data,
        binary_msg,
        patch_timestamp: last.patched_at,
        ..base
    }
}

fn closed(failure: &Failure) -> GenericCommand {
    let body = SessionCommand {
        code: Some(failure.code.number()),
        reason: Some(failure.code.name().to_owned()),
        detail: detail(failure),
        ..Default::default()
    };
    GenericCommand { session_message: Some(Box::new(body)), ..envelope(Cmd::Session, Some(Op::Closed)) }
}
