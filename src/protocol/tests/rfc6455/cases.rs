//! The cases of the Autobahn WebSocket suite for a server without compression, by their numbers: what the client sends,
//! what must be heard, and how it must end.
//!
//! Written from RFC 6455 and the suite's list of cases. The suite looks at an echo; here it is what was heard. Each case
//! is run at several chunkings whatever the suite says, `chop` is the one it names. Also used over a real socket.

use super::listen::{End, Heard};

pub const FIN: u8 = 0x80;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Longer than any message here.
pub const LIMIT: u32 = 16 << 20;

pub struct Case {
    pub number: String,
    pub frames: Vec<Vec<u8>>,
    pub heard: Vec<Heard>,
    pub end: End,
    pub chop: Option<usize>,
}

const BROKEN: End = End::Closed(Some(1002));
const NOT_UTF8: End = End::Closed(Some(1007));

/// A client's frame; `first` is its first byte: FIN, the reserved bits and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x9d, 0, 0x3c, 0xff];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn text(payload: &[u8]) -> Vec<u8> {
    frame(FIN | TEXT, payload)
}

fn ping(payload: &[u8]) -> Vec<u8> {
    frame(FIN | PING, payload)
}

fn close(payload: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, payload)
}

fn close_with(code: u16, reason: &[u8]) -> Vec<u8> {
    close(&[&code.to_be_bytes(), reason].concat())
}

/// A message as so many frames.
fn fragments<'a>(opcode: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut parts = parts.into_iter().peekable();
    let (mut frames, mut opcode) = (Vec::new(), opcode);
    while let Some(part) = parts.next() {
        let fin = if parts.peek().is_none() { FIN } else { 0 };
        frames.push(frame(fin | opcode, part));
        opcode = 0;
    }
    frames
}

fn said(payload: &[u8]) -> Heard {
    Heard::Text(payload.to_vec())
}

fn pinged(payload: &[u8]) -> Heard {
    Heard::Ping(payload.to_vec())
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, number: impl Into<String>, frames: Vec<Vec<u8>>, heard: Vec<Heard>, end: End) -> &mut Case {
        self.0.push(Case { number: number.into(), frames, heard, end, chop: None });
        self.0.last_mut().expect("just pushed")
    }
}

/// All of them, in the suite's order.
pub fn all() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    framing(&mut cases);
    pings(&mut cases);
    reserved(&mut cases);
    fragmentation(&mut cases);
    utf8_handling(&mut cases);
    utf8_sequences(&mut cases);
    closing(&mut cases);
    limits(&mut cases);
    cases.0
}

/// 1.1 and 1.2: text and binary around each length at which the header changes its form.
fn framing(cases: &mut Cases) {
    for (family, opcode, byte) in [(1, TEXT, b'*'), (2, BINARY, 0xfe)] {
        for (at, len) in [0, 125, 126, 127, 128, 65_535, 65_536, 65_536].into_iter().enumerate() {
            let payload = vec![byte; len];
            let heard = if opcode == TEXT { said(&payload) } else { Heard::Binary(payload.clone()) };
            let frames = vec![frame(FIN | opcode, &payload)];
            let case = cases.add(format!("1.{family}.{}", at + 1), frames, vec![heard], End::Open);
            case.chop = (at == 7).then_some(997);
        }
    }
}

/// 2: pings and pongs.
fn pings(cases: &mut Cases) {
    let longest = [0xfe; 125];
    let ten: Vec<_> = (0..10).map(|n| format!("number {n}").into_bytes()).collect();
    let (ten_sent, ten_heard) =
        (ten.iter().map(|p| ping(p)).collect::<Vec<_>>(), ten.iter().map(|p| pinged(p)).collect::<Vec<_>>());
    cases.add("2.1", vec![ping(b"")], vec![pinged(b"")], End::Open);
    cases.add("2.2", vec![ping(b"a small text")], vec![pinged(b"a small text")], End::Open);
    cases.add("2.3", vec![ping(&[0, 255, 254, 10])], vec![pinged(&[0, 255, 254, 10])], End::Open);
    cases.add("2.4", vec![ping(&longest)], vec![pinged(&longest)], End::Open);
    cases.add("2.5", vec![ping(&[0xfe; 126])], vec![], BROKEN);
    cases.add("2.6", vec![ping(&longest)], vec![pinged(&longest)], End::Open).chop = Some(1);
    cases.add("2.7", vec![frame(FIN | PONG, b"")], vec![Heard::Pong], End::Open);
    cases.add("2.8", vec![frame(FIN | PONG, b"nobody asked")], vec![Heard::Pong], End::Open);
    let both = vec![frame(FIN | PONG, b"nobody asked"), ping(b"and you?")];
    cases.add("2.9", both, vec![Heard::Pong, pinged(b"and you?")], End::Open);
    cases.add("2.10", ten_sent.clone(), ten_heard.clone(), End::Open);
    cases.add("2.11", ten_sent, ten_heard, End::Open).chop = Some(1);
}

/// 3: reserved bits without an extension; 4: opcodes that nobody has defined.
fn reserved(cases: &mut Cases) {
    let bits = |n: u8| FIN | n << 4;
    cases.add("3.1", vec![frame(bits(1) | TEXT, b"*")], vec![], BROKEN);
    for (number, bit, chop) in [("3.2", 2, None), ("3.3", 3, Some(7)), ("3.4", 4, Some(1))] {
        let frames = vec![text(b"before"), frame(bits(bit) | TEXT, b"*"), ping(b"")];
        cases.add(number, frames, vec![said(b"before")], BROKEN).chop = chop;
    }
    cases.add("3.5", vec![frame(bits(5) | BINARY, &[1; 8])], vec![], BROKEN);
    cases.add("3.6", vec![frame(bits(6) | PING, b"*")], vec![], BROKEN);
    cases.add("3.7", vec![frame(bits(7) | CLOSE, b"")], vec![], BROKEN);

    for (family, first) in [(1, 3), (2, 11)] {
        for at in 0..5u8 {
            let unknown = FIN | (first + at);
            let number = format!("4.{family}.{}", at + 1);
            match at {
                0 => cases.add(number, vec![frame(unknown, b"")], vec![], BROKEN),
                1 => cases.add(number, vec![frame(unknown, b"payload")], vec![], BROKEN),
                _ => {
                    let payload = if at == 2 { &b""[..] } else { b"payload" };
                    let frames = vec![text(b"before"), frame(unknown, payload), ping(b"")];
                    cases.add(number, frames, vec![said(b"before")], BROKEN)
                }
            }
            .chop = (at == 4).then_some(1);
        }
    }
}

/// 5: messages in fragments, with control frames between, and fragments of nothing.
fn fragmentation(cases: &mut Cases) {
    for (number, opcode) in [("5.1", PING), ("5.2", PONG)] {
        cases.add(number, fragments(opcode, [&b"in "[..], b"two"]), vec![], BROKEN);
    }
    let two = fragments(TEXT, [&b"one, "[..], b"two"]);
    for (number, chop) in [("5.3", None), ("5.4", Some(11)), ("5.5", Some(1))] {
        cases.add(number, two.clone(), vec![said(b"one, two")], End::Open).chop = chop;
    }
    let interrupted = vec![two[0].clone(), ping(b"now?"), two[1].clone()];
    for (number, chop) in [("5.6", None), ("5.7", Some(11)), ("5.8", Some(1))] {
        cases.add(number, interrupted.clone(), vec![pinged(b"now?"), said(b"one, two")], End::Open).chop = chop;
    }
    for (first, fin) in [(9, FIN), (12, 0)] {
        for (at, chop) in [None, Some(9), Some(1)].into_iter().enumerate() {
            let frames = vec![frame(fin, b"of nothing"), text(b"after")];
            cases.add(format!("5.{}", first + at), frames, vec![], BROKEN).chop = chop;
        }
    }
    let followed = [&two[..], &[frame(0, b"of nothing"), text(b"after")]].concat();
    cases.add("5.15", followed, vec![said(b"one, two")], BROKEN);
    for (number, fin) in [("5.16", 0), ("5.17", FIN)] {
        let once = [&[frame(fin, b"of nothing")], &two[..]].concat();
        cases.add(number, [&once[..], &once].concat(), vec![], BROKEN);
    }
    cases.add("5.18", vec![frame(TEXT, b"one, "), frame(FIN | TEXT, b"two")], vec![], BROKEN);
    let five = fragments(TEXT, [&b"1"[..], b"2", b"3", b"4", b"5"]);
    let frames = vec![
        five[0].clone(),
        five[1].clone(),
        ping(b"first"),
        five[2].clone(),
        five[3].clone(),
        ping(b"second"),
        five[4].clone(),
    ];
    let heard = vec![pinged(b"first"), pinged(b"second"), said(b"12345")];
    cases.add("5.19", frames.clone(), heard.clone(), End::Open).chop = Some(14);
    cases.add("5.20", frames, heard, End::Open);
}

/// Text of all lengths of characters, of our own.
const WORDS: &str = "Straße, Žluťoučký, καλημέρα, 你好，世界, 🌊🚪";

/// 6.1 to 6.4: text in pieces, and how early a wrong byte is found.
fn utf8_handling(cases: &mut Cases) {
    let words = WORDS.as_bytes();
    let octets = |bytes: &'static [u8]| fragments(TEXT, bytes.chunks(1));
    cases.add("6.1.1", vec![text(b"")], vec![said(b"")], End::Open);
    cases.add("6.1.2", fragments(TEXT, [&b""[..], b"", b""]), vec![said(b"")], End::Open);
    cases.add("6.1.3", fragments(TEXT, [&b""[..], b"middle", b""]), vec![said(b"middle")], End::Open);
    cases.add("6.2.1", vec![text(words)], vec![said(words)], End::Open);
    let (start, rest) = words.split_at("Straß".len());
    cases.add("6.2.2", fragments(TEXT, [start, rest]), vec![said(words)], End::Open);
    cases.add("6.2.3", octets(words), vec![said(words)], End::Open);
    let greek = "κόσμε".as_bytes();
    cases.add("6.2.4", octets(greek), vec![said(greek)], End::Open);

    const WRONG: &[u8] = b"good \xed\xa0\x80 more";
    cases.add("6.3.1", vec![text(WRONG)], vec![], NOT_UTF8);
    cases.add("6.3.2", octets(WRONG), vec![], NOT_UTF8);
    // The last fragment never comes: the second is wrong by itself, at its end and at its start.
    for (number, wrong) in [("6.4.1", &b"tail \xf4\x90"[..]), ("6.4.2", b"\x80 head")] {
        let mut frames = fragments(TEXT, [&b"good, "[..], wrong, b"good"]);
        frames.pop();
        cases.add(number, frames, vec![], NOT_UTF8);
    }
    // Inside one frame we look once it is whole: what a lone frame brings is at most `max_frame`.
    for (number, wrong) in [("6.4.3", &b"good, tail \xf4\x90\x80\x80, good"[..]), ("6.4.4", b"good, \x80 head, good")] {
        cases.add(number, vec![text(wrong)], vec![], NOT_UTF8).chop = Some(12);
    }
}

/// 6.5 to 6.23: sequences that are UTF-8, and those that only look like it.
fn utf8_sequences(cases: &mut Cases) {
    let mut family = |number: usize, good: bool, sequences: &[&[u8]]| {
        for (at, sequence) in sequences.iter().enumerate() {
            // 6.6 and 6.11 hold both kinds; what is good is plain to see for the standard library.
            let good = if matches!(number, 6 | 11) { std::str::from_utf8(sequence).is_ok() } else { good };
            let (heard, end) = if good { (vec![said(sequence)], End::Open) } else { (vec![], NOT_UTF8) };
            cases.add(format!("6.{number}.{}", at + 1), vec![text(sequence)], heard, end);
        }
    };
    let valid = ["Tide", "Tür", "κόσμε", "你好", "🌊"];
    family(5, true, &valid.map(str::as_bytes));
    // With the accent that takes three bytes.
    let greek = "κ\u{1f79}σμε".as_bytes();
    family(6, true, &(1..=greek.len()).map(|end| &greek[..end]).collect::<Vec<_>>());
    family(7, true, &[b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]);
    family(8, false, &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]);
    family(9, true, &[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]);
    family(10, false, &[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]);
    family(11, true, &[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"]);
    let continuations: Vec<u8> = [0x80, 0xbf].into_iter().cycle().take(6).collect();
    let every: Vec<u8> = (0x80..0xbf).collect();
    let mut lonely: Vec<&[u8]> = vec![&continuations[..1], &continuations[1..2]];
    lonely.extend((2..=6).map(|len| &continuations[..len]));
    lonely.push(&every);
    family(12, false, &lonely);
    let starts = |range: std::ops::RangeInclusive<u8>| range.flat_map(|byte| [byte, b' ']).collect::<Vec<_>>();
    let starts =
        [starts(0xc0..=0xdf), starts(0xe0..=0xef), starts(0xf0..=0xf7), starts(0xf8..=0xfb), starts(0xfc..=0xfd)];
    family(13, false, &starts.each_ref().map(Vec::as_slice));
    let unfinished: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    family(14, false, &unfinished);
    family(15, false, &[&unfinished.concat()]);
    family(16, false, &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]);
    // A slash, the largest and the zero that are written in more bytes than they need.
    let slashes: [&[u8]; 5] =
        [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"];
    family(17, false, &slashes);
    let largest: [&[u8]; 5] =
        [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"];
    family(18, false, &largest);
    let zeros: [&[u8]; 5] =
        [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"];
    family(19, false, &zeros);
    // Halves of UTF-16 pairs, alone and together.
    let high: [&[u8]; 4] = [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"];
    let low: [&[u8]; 2] = [b"\xed\xb0\x80", b"\xed\xbf\xbf"];
    family(20, false, &[high[0], high[1], high[2], high[3], low[0], b"\xed\xbe\x80", low[1]]);
    let pairs: Vec<_> = high.iter().flat_map(|high| low.map(|low| [high, low].concat())).collect();
    family(21, false, &pairs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    // Code points that are no characters are UTF-8 all the same.
    let as_text = |point: u32| char::from_u32(point).expect("no surrogate").to_string();
    let none: Vec<_> = (0..=16).flat_map(|plane| [0xfffe, 0xffff].map(|at| as_text(plane << 16 | at))).collect();
    family(22, true, &none.iter().map(String::as_bytes).collect::<Vec<_>>());
    let specials: Vec<_> = (0xfff9..=0xffff).map(as_text).collect();
    family(23, true, &specials.iter().map(String::as_bytes).collect::<Vec<_>>());
}

/// 7: the close handshake.
fn closing(cases: &mut Cases) {
    let normal = End::Closed(Some(1000));
    let bye = || close_with(1000, b"");
    let long = vec![b'*'; 256 * KIB];
    let (first, last) = (frame(TEXT, b"begun"), frame(FIN, b"ended"));
    cases.add("7.1.1", vec![text(b"last words"), bye()], vec![said(b"last words")], normal);
    cases.add("7.1.2", vec![bye(), bye()], vec![], normal);
    cases.add("7.1.3", vec![bye(), ping(b"")], vec![], normal);
    cases.add("7.1.4", vec![bye(), text(b"too late")], vec![], normal);
    cases.add("7.1.5", vec![first, bye(), last], vec![], normal);
    cases.add("7.1.6", vec![text(&long), bye(), ping(b"")], vec![said(&long)], normal);

    cases.add("7.3.1", vec![close(b"")], vec![], End::Closed(None));
    cases.add("7.3.2", vec![close(b"\x03")], vec![], BROKEN);
    cases.add("7.3.3", vec![bye()], vec![], normal);
    cases.add("7.3.4", vec![close_with(1000, b"that was it")], vec![], normal);
    cases.add("7.3.5", vec![close_with(1000, &[b'*'; 123])], vec![], normal);
    cases.add("7.3.6", vec![close_with(1000, &[b'*'; 124])], vec![], BROKEN);
    cases.add("7.5.1", vec![close_with(1000, b"no \xce text")], vec![], NOT_UTF8);
    let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    for (at, code) in allowed.into_iter().enumerate() {
        cases.add(format!("7.7.{}", at + 1), vec![close_with(code, b"")], vec![], End::Closed(Some(code)));
    }
    for (at, code) in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999].into_iter().enumerate() {
        cases.add(format!("7.9.{}", at + 1), vec![close_with(code, b"")], vec![], BROKEN);
    }
    for (number, code) in [("7.13.1", 5000), ("7.13.2", 65_535)] {
        cases.add(number, vec![close_with(code, b"")], vec![], BROKEN);
    }
}

/// 9 and 10: long messages, many fragments, small chops, many messages.
fn limits(cases: &mut Cases) {
    let kinds = [(TEXT, b'*'), (BINARY, 0xfe)];
    let heard = |opcode, payload: &[u8]| {
        if opcode == TEXT { said(payload) } else { Heard::Binary(payload.to_vec()) }
    };
    for (family, (opcode, byte)) in [1, 2].into_iter().zip(kinds) {
        for (at, len) in [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB].into_iter().enumerate() {
            let payload = vec![byte; len];
            let frames = vec![frame(FIN | opcode, &payload)];
            cases.add(format!("9.{family}.{}", at + 1), frames, vec![heard(opcode, &payload)], End::Open);
        }
    }
    for (family, (opcode, byte)) in [3, 4].into_iter().zip(kinds) {
        let payload = vec![byte; 4 * MIB];
        let sizes = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];
        for (at, size) in sizes.into_iter().enumerate() {
            let frames = fragments(opcode, payload.chunks(size));
            cases.add(format!("9.{family}.{}", at + 1), frames, vec![heard(opcode, &payload)], End::Open);
        }
    }
    for (family, (opcode, byte)) in [5, 6].into_iter().zip(kinds) {
        let payload = vec![byte; MIB];
        for (at, chop) in [64, 128, 256, 512, 1024, 2048].into_iter().enumerate() {
            let frames = vec![frame(FIN | opcode, &payload)];
            cases.add(format!("9.{family}.{}", at + 1), frames, vec![heard(opcode, &payload)], End::Open).chop =
                Some(chop);
        }
    }
    for (family, (opcode, byte)) in [7, 8].into_iter().zip(kinds) {
        for (at, len) in [0, 16, 64, 256, 1024, 4096].into_iter().enumerate() {
            let payload = vec![byte; len];
            let frames = vec![frame(FIN | opcode, &payload); 1000];
            cases.add(format!("9.{family}.{}", at + 1), frames, vec![heard(opcode, &payload); 1000], End::Open);
        }
    }
    let payload = vec![b'*'; 65_536];
    cases.add("10.1.1", fragments(TEXT, payload.chunks(1300)), vec![said(&payload)], End::Open);
}
