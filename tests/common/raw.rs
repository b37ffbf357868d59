//! A WebSocket without a library: bytes as the test makes them, right or wrong, and the server's frames as they come.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use prost::Message as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tidegate_protocol::wire::GenericCommand;

use super::{PATIENCE, Server};

pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// A frame of the server's: opcode and payload.
pub type Frame = (u8, Vec<u8>);

impl Raw {
    /// After a handshake that offers this subprotocol.
    pub fn connect(server: &Server, subprotocol: &str) -> io::Result<Raw> {
        let mut stream = TcpStream::connect(server.http())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(handshake(subprotocol).as_bytes())?;
        let mut raw = Raw { stream, read: Vec::new() };
        let head = loop {
            if let Some(end) = raw.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break raw.read.drain(..end + 4).collect::<Vec<_>>();
            }
            if !raw.more()? {
                return Err(io::Error::other("the handshake was not answered"));
            }
        };
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(raw)
    }

    /// Writes in pieces of `chop` bytes, each a write of its own.
    pub fn write(&mut self, bytes: &[u8], chop: usize) -> io::Result<()> {
        bytes.chunks(chop).try_for_each(|chunk| self.stream.write_all(chunk))
    }

    /// A command in a binary frame.
    pub fn send(&mut self, command: &GenericCommand) -> io::Result<()> {
        self.stream.write_all(&frame(0x82, &command.encode_to_vec()))
    }

    /// The next frame; `None` at the end of the stream. An error is a reset, or that nothing came for too long.
    pub fn frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((used, frame)) = whole(&self.read) {
                self.read.drain(..used);
                return Ok(Some(frame));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// The next command.
    pub fn command(&mut self) -> io::Result<GenericCommand> {
        match self.frame()? {
            Some((2, payload)) => GenericCommand::decode(&payload[..]).map_err(io::Error::other),
            other => Err(io::Error::other(format!("no command: {other:02x?}"))),
        }
    }

    /// The code of the close frame, whatever comes before it; `None`: a close frame without one.
    pub fn close_code(&mut self) -> io::Result<Option<u16>> {
        loop {
            match self.frame()? {
                Some((8, payload)) => return Ok(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
                Some(_) => {}
                None => return Err(io::Error::other("the stream ended without a close frame")),
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut part = [0; 4096];
        let n = self.stream.read(&mut part)?;
        self.read.extend_from_slice(&part[..n]);
        Ok(n > 0)
    }
}

pub fn handshake(subprotocol: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
}

/// A client's frame, masked with zeros; `first`: FIN, the reserved bits and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => out.extend([&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat()),
        len => out.extend([&[0x80 | 127][..], &(len as u64).to_be_bytes()].concat()),
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

/// One frame of the server's, never masked or fragmented, and how many bytes it took.
fn whole(read: &[u8]) -> Option<(usize, Frame)> {
    let (first, short) = (*read.first()?, *read.get(1)?);
    assert!(first & 0x80 != 0 && short & 0x80 == 0, "{:02x?}", &read[..2]);
    let (start, len) = match short {
        126 => (4, u16::from_be_bytes(*read.get(2..)?.first_chunk()?).into()),
        127 => (10, u64::from_be_bytes(*read.get(2..)?.first_chunk()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = read.get(start..start + len)?.to_vec();
    Some((start + len, (first & 0xf, payload)))
}

/// How TLS begins.
pub fn hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
