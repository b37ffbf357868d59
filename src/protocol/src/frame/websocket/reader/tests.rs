use std::collections::VecDeque;
use std::io;

use proptest::prelude::*;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use super::super::write;
use super::*;

const MAX: u32 = 70_000;

/// What a reader said, without borrows.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
}

/// A client's frame.
fn frame(fin: bool, opcode: Opcode, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let header = write::header(opcode, payload.len());
    let mut out = header.to_vec();
    out[0] = if fin { 0x80 } else { 0 } | opcode as u8;
    out[1] |= 0x80;
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask);
    out
}

fn whole(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(true, opcode, [7, 0, 99, 255], payload)
}

fn part(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(fin, opcode, [7, 0, 99, 255], payload)
}

/// Feeds a stream as a reactor would: what is not whole stays, in pieces of the sizes that `cuts` repeats.
fn listen(max: u32, stream: &[u8], cuts: &[usize]) -> Result<Vec<Heard>, Violation> {
    let mut reader = Reader::new(max);
    let (mut held, mut heard, mut rest) = (Vec::new(), Vec::new(), stream);
    let mut cuts = cuts.iter().copied().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(cuts.next().unwrap_or(usize::MAX)));
        held.extend_from_slice(now);
        rest = later;
        let mut at = 0;
        while let Some(step) = reader.next(&mut held[at..])? {
            at += step.consumed;
            match step.event {
                Event::Message { text: true, payload } => heard.push(Heard::Text(payload.into_owned())),
                Event::Message { text: false, payload } => heard.push(Heard::Binary(payload.into_owned())),
                Event::Fragment => {}
                Event::Ping(payload) => heard.push(Heard::Ping(payload.to_vec())),
                Event::Pong => heard.push(Heard::Pong),
                Event::Close { code, reason } => heard.push(Heard::Close(code, reason.to_owned())),
            }
        }
        held.drain(..at);
    }
    Ok(heard)
}

fn heard(parts: &[Vec<u8>]) -> Result<Vec<Heard>, Violation> {
    listen(MAX, &parts.concat(), &[usize::MAX])
}

#[test]
fn an_idle_reader_is_two_words() {
    assert_eq!(size_of::<Reader>(), 2 * size_of::<usize>());
}

/// RFC 6455, 5.7: the masked "Hello".
#[test]
fn the_example_of_the_rfc_is_read() {
    let mut input = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let step = Reader::new(MAX).next(&mut input).unwrap().unwrap();
    assert_eq!(step.consumed, 11);
    assert_eq!(step.event, Event::Message { text: true, payload: Cow::Borrowed(b"Hello") });
}

#[test]
fn control_frames_pass_between_fragments() {
    let stream = [
        part(false, Opcode::Text, b"Hel"),
        whole(Opcode::Ping, b"?"),
        part(false, Opcode::Continuation, b""),
        whole(Opcode::Pong, b""),
        part(true, Opcode::Continuation, b"lo"),
    ];
    assert_eq!(heard(&stream).unwrap(), [Heard::Ping(b"?".to_vec()), Heard::Pong, Heard::Text(b"Hello".to_vec())]);
}

#[test]
fn a_buffer_exists_from_the_first_fragment_to_the_last() {
    let mut reader = Reader::new(MAX);
    assert!(!reader.is_assembling());
    reader.next(&mut part(false, Opcode::Binary, b"a")).unwrap();
    assert!(reader.is_assembling());
    reader.next(&mut part(true, Opcode::Continuation, b"b")).unwrap();
    assert!(!reader.is_assembling());
}

#[test]
fn fragments_come_in_their_order_only() {
    assert_eq!(heard(&[part(true, Opcode::Continuation, b"")]), Err(Violation::NothingToContinue));
    for second in [Opcode::Text, Opcode::Binary] {
        let stream = [part(false, Opcode::Binary, b"a"), part(true, second, b"b")];
        assert_eq!(heard(&stream), Err(Violation::Interleaved));
    }
}

#[test]
fn limits_hold_for_frames_and_for_messages_before_their_bytes_come() {
    let mut at_limit = whole(Opcode::Binary, &[0; 10]);
    assert!(Reader::new(10).next(&mut at_limit).unwrap().is_some());
    let over = whole(Opcode::Binary, &[0; 11]);
    assert_eq!(Reader::new(10).next(&mut over[..2].to_vec()), Err(Violation::TooLong));

    let mut reader = Reader::new(10);
    reader.next(&mut part(false, Opcode::Binary, &[0; 6])).unwrap();
    let mut ping = whole(Opcode::Ping, &[0; 125]);
    assert!(reader.next(&mut ping).unwrap().is_some(), "a ping counts for itself");
    let next = part(false, Opcode::Continuation, &[0; 5]);
    assert_eq!(reader.next(&mut next[..6].to_vec()), Err(Violation::TooLong));
}

#[test]
fn text_is_checked_as_it_comes() {
    let two = "é".as_bytes();
    let split = [part(false, Opcode::Text, &two[..1]), part(true, Opcode::Continuation, &two[1..])];
    assert_eq!(heard(&split).unwrap(), [Heard::Text(two.to_vec())]);

    assert_eq!(heard(&[whole(Opcode::Text, b"\xff")]), Err(Violation::NotUtf8));
    // Said with the fragment that is wrong, not with the last one.
    assert_eq!(heard(&[part(false, Opcode::Text, b"ab\xffcd")]), Err(Violation::NotUtf8));
    assert_eq!(heard(&[part(false, Opcode::Text, b"\xed\xa0")]), Err(Violation::NotUtf8), "a surrogate");
    let unfinished = [part(false, Opcode::Text, &two[..1]), part(true, Opcode::Continuation, b"")];
    assert_eq!(heard(&unfinished), Err(Violation::NotUtf8));
    assert_eq!(heard(&[whole(Opcode::Binary, b"\xff")]).unwrap(), [Heard::Binary(vec![0xff])]);
}

fn close_frame(code: u16, reason: &[u8]) -> Vec<u8> {
    whole(Opcode::Close, &[&code.to_be_bytes(), reason].concat())
}

#[test]
fn close_frames_carry_a_code_that_may_be_sent() {
    assert_eq!(heard(&[whole(Opcode::Close, b"")]).unwrap(), [Heard::Close(None, String::new())]);
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
        assert_eq!(heard(&[close_frame(code, b"bye")]).unwrap(), [Heard::Close(Some(code), "bye".into())]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(heard(&[close_frame(code, b"")]), Err(Violation::BadCloseCode), "{code}");
    }
    assert_eq!(heard(&[whole(Opcode::Close, b"\x03")]), Err(Violation::BadControl));
    assert_eq!(heard(&[close_frame(1000, b"\xff")]), Err(Violation::NotUtf8));
}

#[test]
fn violations_close_with_their_codes() {
    assert_eq!(Violation::TooLong.close(), (4109, "FRAME_TOO_LONG"));
    assert_eq!(Violation::NotUtf8.close().0, 1007);
    assert_eq!(Violation::Unmasked.close().0, 1002);
}

#[test]
fn a_payload_becomes_bytes_by_at_most_one_copy() {
    let kept = vec![1, 2, 3];
    let at = kept.as_ptr();
    assert_eq!(into_bytes(Cow::Owned(kept)).as_ptr(), at);
    assert_eq!(into_bytes(Cow::Borrowed(&[1, 2, 3])), [1, 2, 3][..]);
}

/// What a client does next: a message in so many fragments of so many bytes, or a control frame.
#[derive(Debug, Clone)]
enum Act {
    Say { text: bool, fragments: Vec<String>, between: Vec<Vec<u8>> },
    Ping(Vec<u8>),
    Pong,
}

fn acts() -> impl Strategy<Value = Act> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => (any::<bool>(), prop::collection::vec(".{0,90}", 1..5), prop::collection::vec(control(), 0..4))
            .prop_map(|(text, fragments, between)| Act::Say { text, fragments, between }),
        1 => control().prop_map(Act::Ping),
        1 => Just(Act::Pong),
    ]
}

/// The stream of these acts, and what a listener must hear. Text is cut anywhere, inside characters too.
fn perform(acts: &[Act], mask: [u8; 4], shift: usize) -> (Vec<u8>, Vec<Heard>) {
    let (mut stream, mut heard) = (Vec::new(), Vec::new());
    for act in acts {
        match act {
            Act::Ping(payload) => {
                stream.extend(frame(true, Opcode::Ping, mask, payload));
                heard.push(Heard::Ping(payload.clone()));
            }
            Act::Pong => {
                stream.extend(frame(true, Opcode::Pong, mask, b""));
                heard.push(Heard::Pong);
            }
            Act::Say { text, fragments, between } => {
                let message = fragments.concat().into_bytes();
                let size = message.len() / fragments.len() + shift % 3;
                let (mut rest, mut between) = (&message[..], between.iter());
                for at in 0..fragments.len() {
                    let last = at + 1 == fragments.len();
                    let (now, later) = rest.split_at(if last { rest.len() } else { rest.len().min(size) });
                    rest = later;
                    let first = if *text { Opcode::Text } else { Opcode::Binary };
                    let opcode = if at == 0 { first } else { Opcode::Continuation };
                    stream.extend(frame(last, opcode, mask, now));
                    if let Some(ping) = between.next().filter(|_| !last) {
                        stream.extend(frame(true, Opcode::Ping, mask, ping));
                        heard.push(Heard::Ping(ping.clone()));
                    }
                }
                heard.push(if *text { Heard::Text(message) } else { Heard::Binary(message) });
            }
        }
    }
    (stream, heard)
}

/// A socket made of two queues, for the oracle.
#[derive(Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl io::Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn any_split_of_any_conversation_is_heard_the_same(
        acts in prop::collection::vec(acts(), 0..6), mask: [u8; 4], shift in 0usize..3,
        cuts in prop::collection::vec(1usize..60, 1..20),
    ) {
        let (stream, expected) = perform(&acts, mask, shift);
        prop_assert_eq!(listen(MAX, &stream, &cuts).unwrap(), expected.clone());
        prop_assert_eq!(listen(MAX, &stream, &[usize::MAX]).unwrap(), expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_any_split_ends_the_same(
        stream in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(1usize..9, 1..9),
    ) {
        prop_assert_eq!(listen(100, &stream, &cuts), listen(100, &stream, &[1]));
    }

    #[test]
    fn damage_never_panics(
        acts in prop::collection::vec(acts(), 1..4), at in any::<prop::sample::Index>(), byte: u8,
        cuts in prop::collection::vec(1usize..60, 1..9),
    ) {
        let (mut stream, _) = perform(&acts, [1, 2, 3, 4], 1);
        let at = at.index(stream.len());
        stream[at] = byte;
        let _ = listen(300, &stream, &cuts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Another implementation of RFC 6455 as the client.
    #[test]
    fn another_implementation_understands_and_is_understood(
        text in ".*", binary in prop::collection::vec(any::<u8>(), 0..70_000), ping in prop::collection::vec(any::<u8>(), 0..=125),
    ) {
        let mut client = WebSocket::from_raw_socket(Pipe::default(), Role::Client, None);
        for message in [Message::text(text.clone()), Message::binary(binary.clone()), Message::Ping(ping.clone().into())] {
            client.send(message).unwrap();
        }
        let expected = [Heard::Text(text.clone().into()), Heard::Binary(binary.clone()), Heard::Ping(ping.clone())];
        let said = std::mem::take(&mut client.get_mut().outgoing);
        prop_assert_eq!(listen(MAX, &said, &[4096]).unwrap(), expected);

        let reply = [
            &write::header(Opcode::Text, text.len())[..], text.as_bytes(),
            &write::header(Opcode::Binary, binary.len()), &binary,
            &write::pong(&ping), &write::close(Some(4107), "READ_TIMEOUT"),
        ].concat();
        client.get_mut().incoming.extend(reply);
        prop_assert_eq!(client.read().unwrap(), Message::text(text));
        prop_assert_eq!(client.read().unwrap(), Message::binary(binary));
        prop_assert_eq!(client.read().unwrap(), Message::Pong(ping.into()));
        let Message::Close(Some(close)) = client.read().unwrap() else { return Err(TestCaseError::fail("no close")) };
        prop_assert_eq!((u16::from(close.code), close.reason.as_str()), (4107, "READ_TIMEOUT"));
    }
}
