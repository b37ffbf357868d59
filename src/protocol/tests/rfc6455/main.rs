//! RFC 6455 by the numbers of the Autobahn suite, and beside it another implementation, tungstenite, fed the same bytes.
//!
//! What is compared is what a message reader is for: which messages, pings and pongs were heard, and the close code that
//! the server answers with. In all 301 cases the two agree; the two differences beyond them have their
//! tests and their reasons below.

mod cases;
mod listen;

use std::collections::BTreeMap;

use cases::{BINARY, CLOSE, Case, FIN, LIMIT, TEXT, frame};
use listen::{End, Heard, ours, theirs};

/// The longest message by the built-in configuration.
const MAX_FRAME: u32 = 64 << 10;

/// Whole, each frame by itself, byte for byte, as the suite says, and at random (the same in each run of a case).
fn chunkings(case: &Case) -> Vec<Vec<usize>> {
    let bytes: usize = case.frames.iter().map(Vec::len).sum();
    let mut chunkings = vec![vec![bytes], case.frames.iter().map(Vec::len).collect(), random(bytes as u64)];
    chunkings.extend(case.chop.map(|chop| vec![chop]));
    // Byte for byte through megabytes would say nothing new.
    if bytes < 200_000 {
        chunkings.push(vec![1]);
    }
    chunkings
}

/// Sizes from a linear congruential generator: mostly small ones, some of a socket's read.
fn random(seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    (0..97).map(|_| if next() % 4 == 0 { 1 + next() % 65_536 } else { 1 + next() % 40 }).collect()
}

#[test]
fn every_case_is_heard_as_it_must_be_and_as_tungstenite_hears_it() {
    for case in cases::all() {
        let stream = case.frames.concat();
        for chops in chunkings(&case) {
            let expected = (case.heard.clone(), case.end);
            let at = &chops[..chops.len().min(5)];
            assert_eq!(ours(&stream, &chops, LIMIT), expected, "case {} in pieces of {at:?}", case.number);
            let theirs = theirs(&stream, &chops, LIMIT);
            assert_eq!(theirs, expected, "tungstenite, case {} in pieces of {at:?}", case.number);
        }
    }
}

/// With the built-in limit a message passes or is refused by its length, before it was buffered, and nothing else of it
/// matters.
#[test]
fn what_is_longer_than_max_frame_is_refused_with_its_own_code() {
    let mut refused = 0;
    for case in cases::all() {
        let too_long = |heard: &Heard| match heard {
            Heard::Text(bytes) | Heard::Binary(bytes) => bytes.len() > MAX_FRAME as usize,
            Heard::Ping(_) | Heard::Pong => false,
        };
        let before = case.heard.iter().position(too_long);
        let expected = match before {
            None => (case.heard.clone(), case.end),
            Some(before) => (case.heard[..before].to_vec(), End::Closed(Some(4109))),
        };
        refused += usize::from(before.is_some());
        let stream = case.frames.concat();
        for chops in chunkings(&case) {
            assert_eq!(ours(&stream, &chops, MAX_FRAME), expected, "case {}", case.number);
            assert_eq!(theirs(&stream, &chops, MAX_FRAME), expected, "tungstenite, case {}", case.number);
        }
    }
    assert!(refused > 30, "{refused}");
}

/// The suite has 301 cases without compression; none was left out.
#[test]
fn no_case_is_missing() {
    let mut families = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for case in cases::all() {
        let (family, _) = case.number.rsplit_once('.').expect("a number has two parts at least");
        *families.entry(family.to_owned()).or_insert(0) += 1;
        assert!(seen.insert(case.number.clone()), "{} twice", case.number);
    }
    let expected = "1.1=8 1.2=8 10.1=1 2=11 3=7 4.1=5 4.2=5 5=20 6.1=3 6.10=3 6.11=5 6.12=8 6.13=5 6.14=10 6.15=1 \
        6.16=3 6.17=5 6.18=5 6.19=5 6.2=4 6.20=7 6.21=8 6.22=34 6.23=7 6.3=2 6.4=4 6.5=5 6.6=11 6.7=4 6.8=2 6.9=4 \
        7.1=6 7.13=2 7.3=6 7.5=1 7.7=13 7.9=9 9.1=6 9.2=6 9.3=9 9.4=9 9.5=6 9.6=6 9.7=6 9.8=6";
    let found: Vec<_> = families.iter().map(|(family, count)| format!("{family}={count}")).collect();
    assert_eq!(found.join(" "), expected);
    assert_eq!(seen.len(), 301);
}

/// RFC 6455 5.2: "the minimal number of bytes". The suite does not ask; tungstenite takes it, we do not, since one
/// message would have several forms.
#[test]
fn a_length_in_more_bytes_than_it_needs_is_where_we_differ() {
    let whole = frame(FIN | BINARY, b"five!");
    let wasteful = [&[FIN | BINARY, 0x80 | 126, 0, 5][..], &whole[2..]].concat();
    assert_eq!(ours(&wasteful, &[1], LIMIT), (vec![], End::Closed(Some(1002))));
    assert_eq!(theirs(&wasteful, &[1], LIMIT), (vec![Heard::Binary(b"five!".to_vec())], End::Open));
}

/// Close code 1014, "bad gateway", came to IANA's registry after the RFC; tungstenite does not know it.
#[test]
fn a_close_code_of_the_registry_is_where_we_differ() {
    let close = frame(FIN | CLOSE, &1014_u16.to_be_bytes());
    assert_eq!(ours(&close, &[1], LIMIT), (vec![], End::Closed(Some(1014))));
    assert_eq!(theirs(&close, &[1], LIMIT), (vec![], End::Closed(Some(1002))));
}

/// What breaks a rule is said as early as it can be: a header's fault needs no payload, and 2^63 bytes are not waited for.
#[test]
fn a_fault_in_a_header_needs_no_payload() {
    let ends = |bytes: &[u8], code| assert_eq!(ours(bytes, &[1], MAX_FRAME), (vec![], End::Closed(Some(code))));
    ends(&[FIN | BINARY, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0], 4109);
    ends(&[FIN | TEXT, 0x80 | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255], 4109);
    ends(&[FIN | BINARY, 5], 1002);
    ends(&[0x09], 1002);
}
