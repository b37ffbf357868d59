//! Commands of `session` (wire.md 3.1).

use tidegate_domain::command::{Command, Open};

use super::{boxed, clients, signature, unknown};
use crate::wire::{OpType, SessionCommand};

pub(super) fn command(op: Option<OpType>, body: SessionCommand) -> Command {
    match op {
        Some(OpType::Open) => Command::Open(open(body)),
        Some(OpType::Close) => Command::Close,
        Some(OpType::Refresh) => {
            Command::Refresh { token: boxed(body.st), signature: signature(body.s, body.t, body.n) }
        }
        Some(OpType::Query) => Command::Online(clients(body.session_peer_ids)),
        Some(OpType::Add) => Command::Watch { add: true },
        Some(OpType::Remove) => Command::Watch { add: false },
        _ => unknown("this operation on sessions is not known"),
    }
}

fn open(body: SessionCommand) -> Open {
    Open {
        reopen: body.r == Some(true),
        tag: boxed(body.tag),
        device: boxed(body.device_id.or(body.device_token)),
        signature: signature(body.s, body.t, body.n),
        token: boxed(body.st),
        last_unread: body.last_unread_notif_time,
        last_patch: body.last_patch_time,
        config_bitmap: body.config_bitmap,
    }
}
