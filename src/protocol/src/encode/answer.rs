//! Each answer as an envelope that still lacks `i`, `peerId` and the time.

use tidegate_domain::command::Gate;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{MessageId, Millis};
use tidegate_domain::reply::{Answer, Changed, MemberMarks};
use tidegate_domain::time::iso;

use super::parts::{app, clients, conv, envelope, error, flag, json, log_item, of};
use crate::wire::{
    AckCommand, CommandType as Cmd, ConvCommand, ErrorCommand, GenericCommand, LoggedinCommand, LogsCommand,
    MaxReadTuple, OpType as Op, SessionCommand,
};

/// `service` of LiveQuery.
const LIVE_QUERY: i32 = 1;

pub(super) fn envelope_of(answer: &Answer) -> GenericCommand {
    match answer {
        Answer::Echo => envelope(Cmd::Echo, None),
        Answer::LoggedIn(gate) => logged_in(gate),
        Answer::LoggedOut(gate) => GenericCommand { service: gate.service, ..gated(Cmd::Loggedout, gate) },
        Answer::Opened { token, ttl_s } => session(Op::Opened, with_token(token, *ttl_s)),
        Answer::Closed => session(Op::Closed, SessionCommand::default()),
        Answer::Refreshed { token, ttl_s } => session(Op::Refreshed, with_token(token, *ttl_s)),
        Answer::Online(online) => {
            session(Op::QueryResult, SessionCommand { online_session_peer_ids: clients(online), ..Default::default() })
        }
        Answer::Watched { add } => session(if *add { Op::Added } else { Op::Removed }, SessionCommand::default()),
        Answer::Reported => envelope(Cmd::Report, Some(Op::Uploaded)),
        Answer::Started { cid, created, updated, unique_id, existing } => conv(
            Op::Started,
            ConvCommand {
                cdate: Some(iso(*created)),
                udate: updated.map(iso),
                unique_id: unique_id.as_deref().map(str::to_owned),
                existing: flag(*existing),
                ..of(*cid)
            },
        ),
        Answer::Added(changed) => conv(Op::Added, change(changed)),
        Answer::Removed(changed) => conv(Op::Removed, change(changed)),
        Answer::Results { json: rows } => conv(Op::Results, ConvCommand { results: json(rows), ..Default::default() }),
        Answer::Updated { cid, updated, attr, modified } => conv(
            Op::Updated,
            ConvCommand { udate: Some(iso(*updated)), attr: json(attr), attr_modified: json(modified), ..of(*cid) },
        ),
        Answer::Muted { cid, updated } => conv(Op::Updated, ConvCommand { udate: Some(iso(*updated)), ..of(*cid) }),
        Answer::Count { cid, count } => conv(Op::Result, ConvCommand { count: Some(*count), ..of(*cid) }),
        Answer::Members { cid, members } => conv(Op::Members, ConvCommand { m: clients(members), ..of(*cid) }),
        Answer::MaxRead { cid, read, delivered } => {
            conv(Op::MaxRead, ConvCommand { max_read_timestamp: *read, max_ack_timestamp: *delivered, ..of(*cid) })
        }
        Answer::MaxReadOfAll { cid, members } => {
            conv(Op::MaxRead, ConvCommand { max_read_tuples: members.iter().map(marks).collect(), ..of(*cid) })
        }
        Answer::IsMember { json: by_cid } => {
            conv(Op::IsMember, ConvCommand { results: json(by_cid), ..Default::default() })
        }
        Answer::Sent { mid, at, cid } => ack(AckCommand { cid: Some(cid.to_string()), ..told(*mid, *at) }),
        Answer::NotSent { failure, mid, at } => ack(refused(failure, told(*mid, *at))),
        Answer::Logs { cid, items } => {
            let body = LogsCommand {
                cid: Some(cid.to_string()),
                logs: items.iter().map(log_item).collect(),
                ..Default::default()
            };
            GenericCommand { logs_message: Some(Box::new(body)), ..envelope(Cmd::Logs, None) }
        }
        Answer::Failed(failure) => GenericCommand { error_message: Some(error(failure)), ..envelope(Cmd::Error, None) },
    }
}

fn gated(cmd: Cmd, gate: &Gate) -> GenericCommand {
    GenericCommand { installation_id: gate.installation.as_deref().map(str::to_owned), ..envelope(cmd, None) }
}

/// LiveQuery gets its own service back. Anybody else is Java's push service, which is told that there is none here, or
/// it would keep reconnecting for it (wire.md 3.4).
fn logged_in(gate: &Gate) -> GenericCommand {
    let base = gated(Cmd::Loggedin, gate);
    if gate.service == Some(LIVE_QUERY) {
        return GenericCommand { service: Some(LIVE_QUERY), ..base };
    }
    let loggedin_message = Some(LoggedinCommand { push_disabled: Some(true) });
    GenericCommand { service: Some(0), loggedin_message, ..base }
}

fn session(op: Op, body: SessionCommand) -> GenericCommand {
    GenericCommand { session_message: Some(Box::new(body)), ..envelope(Cmd::Session, Some(op)) }
}

fn with_token(token: &str, ttl_s: i32) -> SessionCommand {
    SessionCommand { st: Some(token.to_owned()), st_ttl: Some(ttl_s), ..Default::default() }
}

fn change(changed: &Changed) -> ConvCommand {
    let failed = changed.failed.iter();
    ConvCommand {
        allowed_pids: clients(&changed.allowed),
        failed_pids: failed.map(|(failure, who)| ErrorCommand { pids: clients(who), ..error(failure) }).collect(),
        udate: Some(iso(changed.updated)),
        ..of(changed.cid)
    }
}

fn marks(member: &MemberMarks) -> MaxReadTuple {
    MaxReadTuple {
        pid: Some(member.client.to_string()),
        max_ack_timestamp: member.delivered,
        max_read_timestamp: member.read,
    }
}

fn ack(body: AckCommand) -> GenericCommand {
    GenericCommand { ack_message: Some(body), ..envelope(Cmd::Ack, None) }
}

fn told(mid: MessageId, at: Millis) -> AckCommand {
    AckCommand { uid: Some(mid.to_string()), t: Some(at), ..Default::default() }
}

/// Of an expired temporary conversation only the code is said: JS has words of its own for 4323, which its test wants
/// to see, and uses them only where there is no `reason` (wire.md 3.8.2).
fn refused(failure: &Failure, ack: AckCommand) -> AckCommand {
    let reason = (failure.code != Code::TemporaryExpired).then(|| failure.code.name().to_owned());
    let (app_code, app_msg) = app(failure);
    AckCommand { code: Some(failure.code.number()), reason, app_code, app_msg, ..ack }
}
