//! Two listeners to the same bytes, ours and tungstenite's, and what they say in common words. Also used by the fuzz target.

use std::collections::VecDeque;
use std::io;

use tidegate_protocol::frame::websocket::{Event, Reader, Violation};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

#[derive(Clone, PartialEq)]
pub enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
}

/// Megabytes do not belong into a failure.
impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, bytes) = match self {
            Heard::Text(bytes) => ("Text", bytes.as_slice()),
            Heard::Binary(bytes) => ("Binary", bytes.as_slice()),
            Heard::Ping(bytes) => ("Ping", bytes.as_slice()),
            Heard::Pong => ("Pong", &[][..]),
        };
        write!(f, "{name}({} bytes: {:02x?})", bytes.len(), &bytes[..bytes.len().min(20)])
    }
}

/// How the connection is after a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Open,
    /// The server's close frame has this code, or none as the client's had none.
    Closed(Option<u16>),
}

pub type Outcome = (Vec<Heard>, End);

/// Our reader, as a reactor uses it: what makes no whole frame stays.
pub fn ours(stream: &[u8], chops: &[usize], max: u32) -> Outcome {
    let (mut reader, mut held, mut heard) = (Reader::new(max), Vec::new(), Vec::new());
    for chunk in chopped(stream, chops) {
        held.extend_from_slice(chunk);
        let mut at = 0;
        loop {
            match reader.next(&mut held[at..]) {
                Ok(None) => break,
                Ok(Some(step)) => {
                    at += step.consumed;
                    match step.event {
                        Event::Message { text: true, payload } => heard.push(Heard::Text(payload.into_owned())),
                        Event::Message { text: false, payload } => heard.push(Heard::Binary(payload.into_owned())),
                        Event::Fragment => {}
                        Event::Ping(payload) => heard.push(Heard::Ping(payload.to_vec())),
                        Event::Pong => heard.push(Heard::Pong),
                        Event::Close { code, .. } => return (heard, End::Closed(code)),
                    }
                }
                Err(violation) => return (heard, End::Closed(Some(violation.close().0))),
            }
        }
        held.drain(..at);
    }
    (heard, End::Open)
}

/// The same bytes to tungstenite as a server.
pub fn theirs(stream: &[u8], chops: &[usize], max: u32) -> Outcome {
    let config = WebSocketConfig::default().max_frame_size(Some(max as usize)).max_message_size(Some(max as usize));
    let mut socket = WebSocket::from_raw_socket(Pipe::default(), Role::Server, Some(config));
    let mut heard = Vec::new();
    for chunk in chopped(stream, chops) {
        socket.get_mut().0.extend(chunk);
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => heard.push(Heard::Text(text.as_bytes().to_vec())),
                Ok(Message::Binary(bytes)) => heard.push(Heard::Binary(bytes.to_vec())),
                Ok(Message::Ping(payload)) => heard.push(Heard::Ping(payload.to_vec())),
                Ok(Message::Pong(_)) => heard.push(Heard::Pong),
                Ok(Message::Close(why)) => return (heard, End::Closed(why.map(|why| why.code.into()))),
                Ok(Message::Frame(_)) => unreachable!("only made by hand"),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(Error::Protocol(_)) => return (heard, End::Closed(Some(1002))),
                Err(Error::Utf8(_)) => return (heard, End::Closed(Some(1007))),
                // RFC 6455 would say 1009; our clients know 4109 (wire.md 6), so that is no difference here.
                Err(Error::Capacity(_)) => return (heard, End::Closed(Some(Violation::TooLong.close().0))),
                Err(other) => panic!("{other}"),
            }
        }
    }
    (heard, End::Open)
}

#[derive(Default)]
struct Pipe(VecDeque<u8>);

impl io::Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream in pieces of these sizes, over and over.
fn chopped<'a>(stream: &'a [u8], chops: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut chops) = (stream, chops.iter().cycle());
    std::iter::from_fn(move || {
        let (now, later) = rest.split_at(rest.len().min(*chops.next()?));
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}
