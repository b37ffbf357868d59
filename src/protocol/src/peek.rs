//! What a frame is about, read in one pass without an allocation: enough to refuse a command at the door without
//! paying for its decoding.
//!
//! Says about any bytes what `decode` would have said as far as it got; where they are broken it stops, and `decode`
//! is the one to complain.

use tidegate_domain::command::Priority;

use crate::decode::priority;
use crate::wire::CommandType;

/// The head of a command. Numbers are the wire's; absent where the frame has none or is broken before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head<'a> {
    pub cmd: Option<i32>,
    pub op: Option<i32>,
    pub i: Option<i32>,
    pub peer: Option<&'a str>,
    /// The conversation that the body names, as text.
    pub cid: Option<&'a str>,
    /// A message that is not to be stored.
    pub transient: bool,
    pub priority: Priority,
}

/// Where bodies keep their conversation: command, the body's field in the envelope, `cid`'s field in the body.
const CIDS: [(CommandType, u32, u32); 5] = [
    (CommandType::Direct, 104, 11),
    (CommandType::Conv, 110, 4),
    (CommandType::Ack, 105, 4),
    (CommandType::Logs, 109, 1),
    (CommandType::Read, 107, 1),
];

/// `transient` in a `direct`.
const TRANSIENT: u32 = 13;

/// Scans a frame; never fails, never panics.
pub fn peek(frame: &[u8]) -> Head<'_> {
    let mut head = Head::default();
    let mut priority_number = None;
    for (field, value) in Fields(frame) {
        match (field, value) {
            (1, Value::Number(cmd)) => head.cmd = Some(cmd as i32),
            (2, Value::Number(op)) => head.op = Some(op as i32),
            (4, Value::Bytes(peer)) => head.peer = std::str::from_utf8(peer).ok(),
            (5, Value::Number(i)) => head.i = Some(i as i32),
            (7, Value::Number(number)) => priority_number = Some(number as i32),
            _ => {}
        }
    }
    head.priority = priority(priority_number);
    let place = CIDS.iter().find(|(cmd, ..)| head.cmd == Some(*cmd as i32));
    if let Some(&(cmd, body_field, cid_field)) = place {
        // A second look, for the command's number may stand behind its body.
        for (_, body) in Fields(frame).filter(|(field, _)| *field == body_field) {
            let Value::Bytes(body) = body else { continue };
            for (field, value) in Fields(body) {
                match value {
                    Value::Bytes(cid) if field == cid_field => head.cid = std::str::from_utf8(cid).ok(),
                    Value::Number(flag) if field == TRANSIENT && cmd == CommandType::Direct => {
                        head.transient = flag != 0;
                    }
                    _ => {}
                }
            }
        }
    }
    head
}

/// The head of a command that cannot be decoded, where its envelope can be read to the end all the same: the command can
/// be answered. `None`: nobody knows what was said, nor who said it.
pub fn envelope(frame: &[u8]) -> Option<Head<'_>> {
    let mut fields = Fields(frame);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1 | 2 | 5, Value::Number(_)) => {}
            (4, Value::Bytes(peer)) if std::str::from_utf8(peer).is_ok() => {}
            (1 | 2 | 4 | 5, _) => return None,
            _ => {}
        }
    }
    Some(peek(frame)).filter(|head| head.cmd.is_some())
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed width, or a group.
    Skipped,
}

/// How deep groups may stand in one another; the decoder has the same bound.
const DEEPEST: u32 = 100;

/// The fields of a protobuf message, up to its end or its first broken one.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn value(&mut self, key: u64, depth: u32) -> Option<Value<'a>> {
        Some(match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Skipped)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            3 => self.skip_group(key >> 3, depth).map(|()| Value::Skipped)?,
            5 => self.take(4).map(|_| Value::Skipped)?,
            _ => return None,
        })
    }

    /// Groups are in no schema of ours, and skipped like any field that nobody knows.
    fn skip_group(&mut self, field: u64, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        loop {
            let key = self.varint()?;
            if key & 7 == 4 {
                return (key >> 3 == field).then_some(());
            }
            self.value(key, depth)?;
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = self.value(key, DEEPEST)?;
        Some((u32::try_from(key >> 3).ok()?, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use crate::wire::{ConvCommand, DirectCommand, GenericCommand, LogsCommand};
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message as _;
    use tidegate_domain::command::Command;
    use tidegate_domain::ids::ConvId;

    /// Found by fuzzing: what stands behind a group was not seen at the door, and was by the decoder.
    #[test]
    fn groups_are_skipped_as_the_decoder_skips_them() {
        let group = [0x7b, 0x08, 0x01, 0x83, 0x01, 0x84, 0x01, 0x7a, 1, b'x', 0x7c];
        let frame = [&[0x08, 9][..], &group, &[0x28, 7]].concat();
        assert_eq!(decode(Bytes::from(frame.clone())).unwrap().i, Some(7));
        assert_eq!(peek(&frame).i, Some(7));
        for broken in [&[0x08, 9, 0x7b, 0x28, 7][..], &[0x08, 9, 0x7b, 0x84, 0x01, 0x28, 7], &[0x08, 9, 0x7c, 0x28, 7]]
        {
            assert!(decode(Bytes::copy_from_slice(broken)).is_err());
            assert_eq!(peek(broken).i, None, "{broken:x?}");
        }
        let deep = [&[0x08, 9][..], &[0x7b; 50_000], &[0x7c; 50_000], &[0x28, 7]].concat();
        assert!(decode(Bytes::from(deep.clone())).is_err());
        assert_eq!(peek(&deep).i, None);
    }

    #[test]
    fn a_message_shows_all_of_its_head() {
        let direct = DirectCommand {
            cid: Some("559d08a1e4b0a35bc5062ba1".into()),
            transient: Some(true),
            msg: Some(Bytes::from_static(b"hello")),
            ..Default::default()
        };
        let frame = GenericCommand {
            cmd: Some(CommandType::Direct as i32),
            peer_id: Some("Tom".into()),
            i: Some(-3),
            priority: Some(1),
            direct_message: Some(direct),
            ..Default::default()
        }
        .encode_to_vec();
        let whole = Head {
            cmd: Some(2),
            op: None,
            i: Some(-3),
            peer: Some("Tom"),
            cid: Some("559d08a1e4b0a35bc5062ba1"),
            transient: true,
            priority: Priority::High,
        };
        assert_eq!(peek(&frame), whole);
        // Protobuf promises no order of fields.
        let behind = [&frame[2..], &frame[..2]].concat();
        assert_eq!(peek(&behind), whole);
        // Broken at any point, it says what it had read and no more.
        for cut in 0..frame.len() {
            let head = peek(&frame[..cut]);
            assert!(head.i.is_none_or(|i| i == -3) && head.peer.is_none_or(|peer| peer == "Tom"));
        }
    }

    #[test]
    fn a_body_that_is_not_the_commands_own_says_nothing() {
        let logs = LogsCommand { cid: Some("other".into()), ..Default::default() };
        let frame = GenericCommand {
            cmd: Some(CommandType::Echo as i32),
            logs_message: Some(Box::new(logs)),
            ..Default::default()
        };
        assert_eq!(peek(&frame.encode_to_vec()).cid, None);
    }

    /// Field 13 is `transient` in a `direct` and a signature's time in a `conv`.
    #[test]
    fn only_messages_are_transient() {
        let conv = ConvCommand { t: Some(1), transient: Some(true), ..Default::default() };
        let frame = GenericCommand {
            cmd: Some(CommandType::Conv as i32),
            conv_message: Some(Box::new(conv)),
            ..Default::default()
        };
        assert!(!peek(&frame.encode_to_vec()).transient);
    }

    #[test]
    fn what_is_broken_inside_a_body_leaves_the_envelope_readable() {
        let direct = DirectCommand { cid: Some("a conversation".into()), ..Default::default() };
        let whole = GenericCommand {
            cmd: Some(CommandType::Direct as i32),
            peer_id: Some("Tom".into()),
            i: Some(7),
            direct_message: Some(direct),
            ..Default::default()
        }
        .encode_to_vec();
        let broken = |what: &[u8], by: u8| {
            let mut frame = whole.clone();
            let at = frame.windows(what.len()).position(|part| part == what).expect("it is in there");
            frame[at] = by;
            assert!(decode(Bytes::from(frame.clone())).is_err(), "{what:?}");
            frame
        };
        let text = broken(b"conversation", 0xff);
        let head = envelope(&text).expect("the envelope is whole");
        assert_eq!((head.cmd, head.i, head.peer), (Some(2), Some(7), Some("Tom")));
        // A length that leads out of the body.
        assert!(envelope(&broken(b"\x0ea conv", 0x0f)).is_some());
        assert_eq!(envelope(&broken(b"Tom", 0xff)), None, "nobody knows who speaks");
        for cut in 1..whole.len() {
            assert!(envelope(&whole[..whole.len() - cut]).is_none_or(|head| head.cid.is_none()), "{cut}");
        }
        assert_eq!(envelope(b""), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(frame in any::<Vec<u8>>()) {
            let _ = peek(&frame);
        }

        #[test]
        fn what_decodes_has_the_same_head(
            cmd in prop::option::of(0..23i32), op in prop::option::of(any::<i32>()), i in prop::option::of(any::<i32>()),
            peer in prop::option::of(".*"), noise in any::<i64>(),
        ) {
            let envelope = GenericCommand { cmd, op, i, peer_id: peer.clone(), server_ts: Some(noise), ..Default::default() };
            let frame = envelope.encode_to_vec();
            let head = peek(&frame);
            prop_assert_eq!((head.cmd, head.op), (cmd, op));
            let request = decode(Bytes::from(frame.clone())).unwrap();
            prop_assert_eq!((head.i, head.peer), (request.i, request.peer.as_deref()));
        }

        #[test]
        fn a_messages_head_is_that_of_the_message(
            cid: [u8; 12], transient in prop::option::of(any::<bool>()), priority in prop::option::of(0..5), msg in ".*",
        ) {
            let cid = ConvId::Object(cid);
            let direct =
                DirectCommand { cid: Some(cid.to_string()), transient, msg: Some(msg.into()), ..Default::default() };
            let frame = GenericCommand {
                cmd: Some(CommandType::Direct as i32), priority, direct_message: Some(direct), ..Default::default()
            }.encode_to_vec();
            let head = peek(&frame);
            let Command::Send(send) = decode(Bytes::from(frame.clone())).unwrap().command else {
                return Err(TestCaseError::fail("not a message"));
            };
            prop_assert_eq!((head.transient, head.priority), (send.transient, send.priority));
            prop_assert_eq!(head.cid.map(ConvId::parse), Some(send.cid));
        }
    }
}
