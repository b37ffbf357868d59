//! How a client wants to hear that its command failed (rule 9 of wire.md).

use tidegate_domain::command::{Command, Request};
use tidegate_domain::error::Failure;
use tidegate_domain::ids::{MessageId, Millis};
use tidegate_domain::reply::Answer;

use crate::peek::Head;
use crate::wire::{CommandType, OpType};

/// The shape of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureForm {
    /// A message: `ack` with a code.
    Ack,
    /// `error`.
    Error,
    /// Nothing is waited for. An `error` without `i` would be taken for one of the connection, and one with an `i` that
    /// nobody waits for makes Java drop its socket (wire.md 1.6).
    Silent,
}

impl FailureForm {
    pub fn of(request: &Request) -> Self {
        let waited_for = request.i.is_some();
        match request.command {
            Command::Delivered(_) | Command::Read(_) | Command::Nothing => Self::Silent,
            Command::Send(_) if waited_for => Self::Ack,
            // Java re-opens with its token and without `i`, and listens for the error all the same (wire.md 3.1.1).
            Command::Open(_) => Self::Error,
            _ if waited_for => Self::Error,
            _ => Self::Silent,
        }
    }

    /// The same, of a frame that was only peeked at.
    pub fn of_head(head: &Head<'_>) -> Self {
        let is = |cmd: CommandType| head.cmd == Some(cmd as i32);
        let waited_for = head.i.is_some();
        if is(CommandType::Ack) || is(CommandType::Read) || is(CommandType::Data) {
            Self::Silent
        } else if is(CommandType::Direct) && waited_for {
            Self::Ack
        } else if waited_for || (is(CommandType::Session) && head.op == Some(OpType::Open as i32)) {
            Self::Error
        } else {
            Self::Silent
        }
    }

    /// The answer that says `failure`; `None` where none may be given. Swift wants an id and a time even of a refused
    /// message, hence `mid` and `at`.
    pub fn answer(self, failure: Failure, mid: MessageId, at: Millis) -> Option<Answer> {
        match self {
            Self::Ack => Some(Answer::NotSent { failure, mid, at }),
            Self::Error => Some(Answer::Failed(failure)),
            Self::Silent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use crate::peek::peek;
    use crate::wire::GenericCommand;
    use bytes::Bytes;
    use prost::Message as _;

    fn form(cmd: CommandType, op: Option<OpType>, i: Option<i32>) -> FailureForm {
        let envelope = GenericCommand { cmd: Some(cmd as i32), op: op.map(|op| op as i32), i, ..Default::default() };
        let frame = Bytes::from(envelope.encode_to_vec());
        let form = FailureForm::of(&decode(frame.clone()).unwrap());
        assert_eq!(FailureForm::of_head(&peek(&frame)), form, "the door says the same");
        form
    }

    #[test]
    fn messages_fail_by_ack_and_the_rest_by_error() {
        assert_eq!(form(CommandType::Direct, None, Some(0)), FailureForm::Ack);
        assert_eq!(form(CommandType::Conv, Some(OpType::Start), Some(-1)), FailureForm::Error);
        assert_eq!(form(CommandType::Logs, None, Some(2)), FailureForm::Error);
        assert_eq!(form(CommandType::Room, Some(OpType::Join), Some(2)), FailureForm::Error);
    }

    #[test]
    fn nobody_is_told_who_does_not_listen() {
        for cmd in [CommandType::Ack, CommandType::Read] {
            assert_eq!(form(cmd, None, Some(1)), FailureForm::Silent);
        }
        assert_eq!(form(CommandType::Direct, None, None), FailureForm::Silent);
        assert_eq!(form(CommandType::Conv, Some(OpType::Query), None), FailureForm::Silent);
        assert_eq!(form(CommandType::Session, Some(OpType::Open), None), FailureForm::Error);
    }
}
