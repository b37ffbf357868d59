//! The cases of `src/protocol/tests/rfc6455` over a real socket: those in which no message comes to its end, for a
//! message is a command here and has answers of its own; and commands cut in all ways.

mod common;

#[allow(dead_code)]
#[path = "../src/protocol/tests/rfc6455/cases.rs"]
mod cases;
#[allow(dead_code)]
#[path = "../src/protocol/tests/rfc6455/listen.rs"]
mod listen;

use cases::{BINARY, CLOSE, Case, FIN, PING, PONG};
use common::client::command;
use common::raw::{self, Raw};
use common::{Client, Server};
use listen::{End, Heard};
use prost::Message as _;
use tidegate_protocol::wire::*;

#[test]
fn cases_without_messages_end_as_they_must() {
    let server = Server::start();
    let cases: Vec<_> = cases::all().into_iter().filter(is_without_messages).collect();
    assert!(cases.len() > 120, "{}", cases.len());
    for case in &cases {
        let stream = case.frames.concat();
        for chop in [stream.len(), case.chop.unwrap_or(5), 1] {
            play(&server, case, &stream, chop).unwrap_or_else(|wrong| panic!("case {}: {wrong}", case.number));
        }
    }
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

fn is_without_messages(case: &Case) -> bool {
    case.heard.iter().all(|heard| matches!(heard, Heard::Ping(_) | Heard::Pong))
        && case.frames.iter().map(Vec::len).sum::<usize>() < 2_000
}

fn play(server: &Server, case: &Case, stream: &[u8], chop: usize) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let mut socket = Raw::connect(server, "lc.protobuf2.3").map_err(words)?;
    // The server may have closed before all is out: the rest has nowhere to go then.
    let written = socket.write(stream, chop);
    let mut pings: Vec<&[u8]> = case
        .heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Ping(payload) => Some(&payload[..]),
            _ => None,
        })
        .collect();
    if case.end == End::Open {
        written.map_err(words)?;
        socket.write(&raw::frame(FIN | PING, b"and that was it"), chop).map_err(words)?;
        pings.push(b"and that was it");
    }
    // Pings that came together are answered by the last of them.
    let mut next = 0;
    loop {
        match socket.frame().map_err(words)? {
            Some((PONG, payload)) => {
                let skipped = pings[next..].iter().position(|ping| *ping == payload);
                next += 1 + skipped.ok_or_else(|| format!("a pong that was not due: {payload:02x?}"))?;
                if case.end == End::Open && next == pings.len() {
                    return Ok(());
                }
            }
            Some((CLOSE, payload)) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                return match End::Closed(code) == case.end {
                    true => Ok(()),
                    false => Err(format!("closed with {code:?}, not {:?}", case.end)),
                };
            }
            other => return Err(format!("{other:02x?} came, {:?} was due", case.end)),
        }
    }
}

/// Lengths around each form of the header up to `max_frame`, whole, in fragments and in single bytes.
#[test]
fn a_command_of_any_length_cut_in_any_way_is_answered() {
    let server = Server::start();
    let mut socket = Raw::connect(&server, "lc.protobuf2.3").unwrap();
    let mut open = command(CommandType::Session, Some(OpType::Open));
    (open.app_id, open.peer_id, open.i) = (Some(common::APP.into()), Some("tom".into()), Some(1));
    open.session_message = Some(Box::default());
    socket.send(&open).unwrap();
    while socket.command().unwrap().i != Some(1) {}
    let mut i = 1;
    for len in [50_usize, 125, 126, 127, 1_000, 65_535, 65_536] {
        for (fragment, chop) in [(len, len), (1_300, 1_000), (len.div_ceil(50), 7_000), (len, 1)] {
            if chop == 1 && len > 1_000 {
                continue;
            }
            i += 1;
            let echo = echo(i, len);
            let parts = echo.chunks(fragment).count();
            let frames: Vec<_> = echo
                .chunks(fragment)
                .enumerate()
                .flat_map(|(at, part)| {
                    let fin = if at + 1 == parts { FIN } else { 0 };
                    raw::frame(fin | if at == 0 { BINARY } else { 0 }, part)
                })
                .collect();
            socket.write(&frames, chop).unwrap();
            let answer = socket.command().unwrap();
            assert_eq!((answer.cmd(), answer.i), (CommandType::Echo, Some(i)), "{len} in {parts}");
        }
    }
    socket.write(&raw::frame(FIN | BINARY, &echo(i + 1, 65_537)), 70_000).unwrap();
    assert_eq!(socket.close_code().unwrap(), Some(4109));
    Client::tcp(&server, "jerry").echo();
}

/// An `echo` of exactly so many bytes.
fn echo(i: i32, len: usize) -> Vec<u8> {
    let mut echo = command(CommandType::Echo, None);
    (echo.i, echo.installation_id) = (Some(i), Some(String::new()));
    while echo.encoded_len() < len {
        let more = (len - echo.encoded_len()).div_ceil(2);
        echo.installation_id.get_or_insert_default().push_str(&"x".repeat(more));
    }
    assert_eq!(echo.encoded_len(), len);
    echo.encode_to_vec()
}
