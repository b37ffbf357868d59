//! A client's frame to a domain command (wire.md sections 2 and 3).
//!
//! Owns which bytes mean which command, and nothing of what comes of it. Fields that no rule needs are dropped here.
//! What can be read but is not offered becomes `Command::Unsupported` with its documented code, so that the client is
//! answered and keeps its connection; only bytes that cannot be read are an error.

mod conversation;
mod message;
mod session;

use bytes::Bytes;
use prost::Message as _;
use tidegate_domain::command::{Command, Gate, Request, Signature};
use tidegate_domain::error::Code;
use tidegate_domain::ids::ClientId;

pub(crate) use message::priority;

use crate::wire::{CommandType, GenericCommand, OpType};

/// The frame is no command. Where [`envelope`](crate::envelope) still tells whose it is, that one is answered; else the
/// connection closes (4114).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("this is not a command: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the message's text is not UTF-8")]
    NotUtf8,
}

/// Reads one command. A message's body shares `frame`'s bytes.
pub fn decode(frame: Bytes) -> Result<Request, DecodeError> {
    let mut envelope = GenericCommand::decode(frame)?;
    let i = envelope.i;
    let app = boxed(envelope.app_id.take());
    let peer = envelope.peer_id.take().map(ClientId::from);
    Ok(Request { i, app, peer, command: command(envelope)? })
}

fn command(envelope: GenericCommand) -> Result<Command, DecodeError> {
    use CommandType as Cmd;

    let op = envelope.op.and_then(|op| OpType::try_from(op).ok());
    let Some(cmd) = envelope.cmd.and_then(|cmd| CommandType::try_from(cmd).ok()) else {
        return Ok(unknown("this type of command is not known"));
    };
    Ok(match cmd {
        Cmd::Session => session::command(op, *envelope.session_message.unwrap_or_default()),
        Cmd::Conv => conversation::command(op, *envelope.conv_message.unwrap_or_default()),
        Cmd::Direct => message::send(envelope.direct_message.unwrap_or_default(), envelope.priority)?,
        Cmd::Ack => message::delivered(envelope.ack_message.unwrap_or_default()),
        Cmd::Read => message::read(envelope.read_message.unwrap_or_default()),
        Cmd::Logs => message::logs(*envelope.logs_message.unwrap_or_default()),
        Cmd::Patch => message::patch(op, &envelope.patch_message.unwrap_or_default()),
        Cmd::Echo => Command::Echo,
        Cmd::Login => Command::Login(gate(envelope)),
        Cmd::Logout => Command::Logout(gate(envelope)),
        Cmd::Report if op == Some(OpType::Upload) => Command::Report,
        Cmd::Report => unknown("this operation on reports is not known"),
        Cmd::Data => Command::Nothing,
        Cmd::Blacklist => Command::Unsupported(Code::BlacklistDisabled, "blacklists are not offered"),
        Cmd::Room | Cmd::Presence | Cmd::Pubsub => unknown("this type of command is not offered"),
        Cmd::Rcp | Cmd::Unread | Cmd::Error | Cmd::Loggedin | Cmd::Loggedout | Cmd::Goaway => {
            unknown("only a server sends this type of command")
        }
    })
}

/// wire.md 3.5: an error, and the connection stays.
fn unknown(why: &'static str) -> Command {
    Command::Unsupported(Code::Unparseable, why)
}

fn gate(envelope: GenericCommand) -> Gate {
    Gate { service: envelope.service, installation: boxed(envelope.installation_id) }
}

/// C# sends a signature's fields empty where it has none: that is no signature.
fn signature(s: Option<String>, t: Option<i64>, n: Option<String>) -> Option<Signature> {
    let text = boxed(s).filter(|text| !text.is_empty())?;
    Some(Signature { text, timestamp: t.unwrap_or_default(), nonce: n.unwrap_or_default().into() })
}

fn boxed(text: Option<String>) -> Option<Box<str>> {
    text.map(String::into_boxed_str)
}

fn all_boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(String::into_boxed_str).collect()
}

fn clients(ids: Vec<String>) -> Vec<ClientId> {
    ids.into_iter().map(ClientId::from).collect()
}

#[cfg(test)]
mod tests;
