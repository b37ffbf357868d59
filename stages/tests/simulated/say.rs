//! What clients say and hear, in the wire's own types.

use tidegate_domain::ids::ConvId;
use tidegate_protocol::wire::{
    AckCommand, CommandType as Cmd, ConvCommand, DirectCommand, GenericCommand, OpType as Op, ReadCommand, ReadTuple,
    SessionCommand,
};

fn envelope(cmd: Cmd, op: Option<Op>) -> GenericCommand {
    GenericCommand { cmd: Some(cmd as i32), op: op.map(|op| op as i32), ..Default::default() }
}

fn session(op: Op, body: SessionCommand) -> GenericCommand {
    GenericCommand {
        app_id: Some("app".into()),
        session_message: Some(Box::new(body)),
        ..envelope(Cmd::Session, Some(op))
    }
}

fn conv(op: Op, body: ConvCommand) -> GenericCommand {
    GenericCommand { conv_message: Some(Box::new(body)), ..envelope(Cmd::Conv, Some(op)) }
}

fn texts(clients: &[&str]) -> Vec<String> {
    clients.iter().map(|client| (*client).to_owned()).collect()
}

pub fn open() -> GenericCommand {
    session(Op::Open, SessionCommand::default())
}

/// As the one device of this kind.
pub fn open_tagged() -> GenericCommand {
    session(Op::Open, SessionCommand { tag: Some("phone".into()), ..Default::default() })
}

/// Coming back by a token.
pub fn reopen(token: &str) -> GenericCommand {
    session(Op::Open, SessionCommand { r: Some(true), st: Some(token.to_owned()), ..Default::default() })
}

pub fn close() -> GenericCommand {
    session(Op::Close, SessionCommand::default())
}

pub fn start(members: &[&str], unique: bool) -> GenericCommand {
    conv(Op::Start, ConvCommand { m: texts(members), unique: Some(unique), ..Default::default() })
}

pub fn add(cid: ConvId, members: &[&str]) -> GenericCommand {
    conv(Op::Add, ConvCommand { cid: Some(cid.to_string()), m: texts(members), ..Default::default() })
}

pub fn remove(cid: ConvId, members: &[&str]) -> GenericCommand {
    conv(Op::Remove, ConvCommand { cid: Some(cid.to_string()), m: texts(members), ..Default::default() })
}

pub fn count(cid: ConvId) -> GenericCommand {
    conv(Op::Count, ConvCommand { cid: Some(cid.to_string()), ..Default::default() })
}

pub fn message(cid: ConvId, text: &str, dt: Option<&str>, transient: bool) -> GenericCommand {
    let body = DirectCommand {
        cid: Some(cid.to_string()),
        msg: Some(text.to_owned().into()),
        dt: dt.map(str::to_owned),
        transient: transient.then_some(true),
        r: Some(!transient),
        ..Default::default()
    };
    GenericCommand { direct_message: Some(body), ..envelope(Cmd::Direct, None) }
}

/// A message for when the session's connection is lost.
pub fn will(cid: ConvId, text: &str) -> GenericCommand {
    let mut will = message(cid, text, None, false);
    will.direct_message.iter_mut().for_each(|body| body.will = Some(true));
    will
}

/// A receiver has the message.
pub fn ack(cid: &str, mid: &str) -> GenericCommand {
    let body = AckCommand { cid: Some(cid.to_owned()), mid: Some(mid.to_owned()), ..Default::default() };
    GenericCommand { ack_message: Some(body), ..envelope(Cmd::Ack, None) }
}

/// A receiver has read up to the message.
pub fn read(cid: &str, mid: &str, timestamp: i64) -> GenericCommand {
    let tuple = ReadTuple { cid: cid.to_owned(), timestamp: Some(timestamp), mid: Some(mid.to_owned()) };
    let body = ReadCommand { convs: vec![tuple], ..Default::default() };
    GenericCommand { read_message: Some(body), ..envelope(Cmd::Read, None) }
}

pub fn is(command: &GenericCommand, cmd: Cmd, op: Op) -> bool {
    command.cmd == Some(cmd as i32) && command.op == Some(op as i32)
}

pub fn is_opened(command: &GenericCommand) -> bool {
    is(command, Cmd::Session, Op::Opened)
}

/// The end of a session that another device has taken.
pub fn is_kicked(command: &GenericCommand) -> bool {
    command.i.is_none() && is(command, Cmd::Session, Op::Closed)
}

/// A good ack of a message: its id and time.
pub fn sent(command: &GenericCommand) -> Option<(String, i64)> {
    let ack = command.ack_message.as_ref().filter(|ack| ack.code.is_none())?;
    Some((ack.uid.clone()?, ack.t?))
}

/// The code of a failure, whatever its form.
pub fn code(command: &GenericCommand) -> Option<i32> {
    let error = command.error_message.as_ref().map(|error| error.code);
    error.or_else(|| command.ack_message.as_ref().and_then(|ack| ack.code))
}

/// A message that came by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub cid: String,
    pub mid: String,
    pub at: i64,
    pub text: String,
    pub transient: bool,
}

pub fn heard(command: &GenericCommand) -> Option<Heard> {
    let direct = command.direct_message.as_ref()?;
    Some(Heard {
        cid: direct.cid.clone()?,
        mid: direct.id.clone()?,
        at: direct.timestamp?,
        text: String::from_utf8_lossy(direct.msg.as_ref()?).into_owned(),
        transient: direct.transient == Some(true),
    })
}

pub fn is_open(command: &GenericCommand) -> bool {
    is(command, Cmd::Session, Op::Open)
}

pub fn is_closed(command: &GenericCommand) -> bool {
    is(command, Cmd::Session, Op::Closed)
}
