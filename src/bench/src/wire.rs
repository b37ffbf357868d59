//! The commands that a load needs, to bytes and back.
//!
//! What is sent is built of the wire's own types. What is received is looked at where it lies, since a generator that
//! decodes every delivery into strings would be slower than the server it measures.

use std::io::Write;

use prost::Message;
use tidegate_protocol::wire::{
    CommandType, ConvCommand, DirectCommand, GenericCommand, JsonObjectMessage, LogsCommand, OpType, SessionCommand,
};

use crate::dice::Dice;

/// What a received command says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    pub cmd: u64,
    pub op: u64,
    pub peer: &'a [u8],
    pub i: Option<i32>,
    /// The one message inside, whichever it is.
    pub body: &'a [u8],
}

/// One field's value, of the two kinds that the wire uses.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Nearly all are of one byte: a generator that is slow here is the limit of every fan-out.
#[inline]
fn varint(input: &mut &[u8]) -> Option<u64> {
    match *input {
        [byte @ 0..0x80, rest @ ..] => {
            *input = rest;
            Some(u64::from(*byte))
        }
        _ => long_varint(input),
    }
}

fn long_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (at, byte) in input.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *input = &input[at + 1..];
            return Some(value);
        }
    }
    None
}

#[inline]
fn field<'a>(input: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(input)?;
    let value = match key & 7 {
        0 => Value::Number(varint(input)?),
        2 => {
            let len = usize::try_from(varint(input)?).ok()?;
            let (value, rest) = input.split_at_checked(len)?;
            *input = rest;
            Value::Bytes(value)
        }
        _ => return None,
    };
    Some((key >> 3, value))
}

/// Reads a command's envelope; `None` for what is no command.
pub fn head(mut frame: &[u8]) -> Option<Head<'_>> {
    let mut head = Head::default();
    while !frame.is_empty() {
        match field(&mut frame)? {
            (1, Value::Number(cmd)) => head.cmd = cmd,
            (2, Value::Number(op)) => head.op = op,
            (4, Value::Bytes(peer)) => head.peer = peer,
            (5, Value::Number(i)) => head.i = Some(i as i32),
            (100.., Value::Bytes(body)) => head.body = body,
            _ => {}
        }
    }
    Some(head)
}

/// A delivered message's text and time.
pub fn delivered(mut direct: &[u8]) -> Option<(&[u8], i64)> {
    let (mut text, mut time) = (None, 0);
    while !direct.is_empty() {
        match field(&mut direct)? {
            (1, Value::Bytes(value)) => text = Some(value),
            // The time: what comes behind it is not looked at.
            (4, Value::Number(value)) => {
                time = value as i64;
                if text.is_some() {
                    break;
                }
            }
            _ => {}
        }
    }
    text.map(|text| (text, time))
}

/// The code of an `ack` or `error`; none in an ack is success.
pub fn code(mut body: &[u8]) -> Option<i32> {
    while !body.is_empty() {
        if let (1, Value::Number(code)) = field(&mut body)? {
            return Some(code as i32);
        }
    }
    None
}

/// What a message of ours says: whose it is, and when it should have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub line: u32,
    pub number: u32,
    /// The generator's clock, nanoseconds.
    pub intended: u64,
}

impl Stamp {
    /// As text of `size` bytes (more where the stamp itself is longer), the rest of it by chance: what compresses
    /// to nothing would make a store smaller than any that people fill.
    pub fn text(self, size: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(size.max(48) + 8);
        // Writing into memory does not fail.
        let _ = write!(text, "{} {} {} ", self.line, self.number, self.intended);
        let size = size.max(text.len());
        let mut dice = Dice::new(self.intended ^ u64::from(self.number));
        while text.len() < size {
            text.extend(dice.roll().to_le_bytes().map(|byte| b'0' + byte % 64));
        }
        text.truncate(size);
        text
    }

    /// `None` for a text that is none of ours.
    pub fn read(mut text: &[u8]) -> Option<Stamp> {
        let (line, number, intended) = (digits(&mut text)?, digits(&mut text)?, digits(&mut text)?);
        Some(Stamp { line: u32::try_from(line).ok()?, number: u32::try_from(number).ok()?, intended })
    }
}

/// A number and the blank behind it.
fn digits(text: &mut &[u8]) -> Option<u64> {
    let mut sum = 0u64;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => sum = sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')),
            b' ' if at > 0 => {
                *text = &text[at + 1..];
                return Some(sum);
            }
            _ => return None,
        }
    }
    None
}

fn command(cmd: CommandType, peer: String, i: i32) -> GenericCommand {
    GenericCommand { cmd: Some(cmd as i32), peer_id: Some(peer), i: Some(i), ..Default::default() }
}

/// A log-in; with a token it is the return of a client whose connection was cut.
pub fn open(app: &str, peer: String, i: i32, token: Option<String>) -> GenericCommand {
    let session = SessionCommand {
        ua: Some("tidegate-bench".into()),
        r: token.is_some().then_some(true),
        st: token,
        config_bitmap: Some(187),
        ..Default::default()
    };
    GenericCommand {
        op: Some(OpType::Open as i32),
        app_id: Some(app.to_owned()),
        session_message: Some(Box::new(session)),
        ..command(CommandType::Session, peer, i)
    }
}

/// The token that `opened` carries.
pub fn token(frame: &[u8]) -> Option<String> {
    GenericCommand::decode(frame).ok()?.session_message?.st
}

/// A conversation of these members, the same one for the same members, or a new chat room.
pub fn start(peer: String, i: i32, members: Vec<String>, room: bool) -> GenericCommand {
    let conv = ConvCommand {
        m: members,
        unique: (!room).then_some(true),
        transient: room.then_some(true),
        attr: Some(JsonObjectMessage { data: "{}".into() }),
        ..Default::default()
    };
    GenericCommand {
        op: Some(OpType::Start as i32),
        conv_message: Some(Box::new(conv)),
        ..command(CommandType::Conv, peer, i)
    }
}

/// The conversation of a `started`.
pub fn started(frame: &[u8]) -> Option<String> {
    GenericCommand::decode(frame).ok()?.conv_message?.cid
}

/// Joins a chat room.
pub fn join(peer: String, i: i32, cid: &str) -> GenericCommand {
    let conv = ConvCommand { m: vec![peer.clone()], cid: Some(cid.to_owned()), ..Default::default() };
    GenericCommand {
        op: Some(OpType::Add as i32),
        conv_message: Some(Box::new(conv)),
        ..command(CommandType::Conv, peer, i)
    }
}

/// A message.
pub fn direct(peer: String, i: i32, cid: &str, text: Vec<u8>, transient: bool) -> GenericCommand {
    let direct = DirectCommand {
        msg: Some(text.into()),
        cid: Some(cid.to_owned()),
        transient: transient.then_some(true),
        ..Default::default()
    };
    GenericCommand { direct_message: Some(direct), ..command(CommandType::Direct, peer, i) }
}

/// A page of history: the newest `limit` before `before` (milliseconds; 0: now), or with `forward` the oldest after it.
pub fn page(peer: String, i: i32, cid: &str, limit: i32, before: i64, forward: bool) -> GenericCommand {
    let logs = LogsCommand {
        cid: Some(cid.to_owned()),
        l: Some(limit),
        t: (before != 0).then_some(before),
        direction: forward.then_some(tidegate_protocol::wire::logs_command::QueryDirection::New as i32),
        ..Default::default()
    };
    GenericCommand { logs_message: Some(Box::new(logs)), ..command(CommandType::Logs, peer, i) }
}

/// The messages of a page, oldest first: text and time.
pub fn logs(frame: &[u8]) -> Option<Vec<(bytes::Bytes, i64)>> {
    let logs = GenericCommand::decode(frame).ok()?.logs_message?.logs;
    Some(logs.into_iter().map(|item| (item.data.unwrap_or_default(), item.timestamp.unwrap_or(0))).collect())
}

/// A heartbeat of a connection, whose answer nobody waits for.
pub fn heartbeat() -> GenericCommand {
    GenericCommand { cmd: Some(CommandType::Echo as i32), ..GenericCommand::default() }
}

/// A heartbeat that is timed.
pub fn echo(peer: String, i: i32) -> GenericCommand {
    command(CommandType::Echo, peer, i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_envelope_is_read_where_it_lies() {
        let frame = direct("tom".into(), -3, "c", b"hi".to_vec(), false).encode_to_vec();
        let head = head(&frame).unwrap();
        assert_eq!((head.cmd, head.peer, head.i), (2, &b"tom"[..], Some(-3)));
        assert_eq!(delivered(head.body), Some((&b"hi"[..], 0)));
    }

    #[test]
    fn an_answer_has_a_code_or_none() {
        use tidegate_protocol::wire::{AckCommand, ErrorCommand};
        assert_eq!(code(&AckCommand { uid: Some("m".into()), t: Some(7), ..Default::default() }.encode_to_vec()), None);
        let error = ErrorCommand { code: 4116, reason: "TOO_FAST".into(), ..Default::default() };
        assert_eq!(code(&error.encode_to_vec()), Some(4116));
    }

    #[test]
    fn a_stamp_reads_back() {
        let stamp = Stamp { line: 7, number: u32::MAX, intended: u64::MAX };
        for size in [0, 48, 120] {
            assert_eq!(Stamp::read(&stamp.text(size)), Some(stamp));
        }
        assert_eq!(stamp.text(120).len(), 120);
        for other in [&b""[..], b"1 2", b"1  2 3 ", b"a b c ", b"4294967296 1 1 ."] {
            assert_eq!(Stamp::read(other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_command_is_no_panic(bytes in any::<Vec<u8>>()) {
            let _ = (head(&bytes), delivered(&bytes), code(&bytes), Stamp::read(&bytes));
        }
    }
}
