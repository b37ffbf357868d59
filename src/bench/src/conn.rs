//! One connection: its socket, TLS where there is, and the framing. Never blocks.
//!
//! Holds no read buffer while nothing is half read. Knows frames, not what they say.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tidegate_protocol::frame;

/// More than any answer of the server's.
const LONGEST: usize = 64 << 20;
/// A buffer that grew past this is given back when it is empty.
const KEPT: usize = 64 << 10;
/// Any key would do: what is masked here is read by no proxy.
const MASK: [u8; 4] = [0x3d, 0xa7, 0x51, 0xc8];

/// What a socket needs to become a connection.
pub struct Opening<'a> {
    pub tls: Option<(&'a Arc<rustls::ClientConfig>, &'a ServerName<'static>)>,
    /// The Host of the WebSocket handshake.
    pub ws: Option<&'a str>,
}

pub struct Conn {
    pub socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    ws: bool,
    /// The WebSocket handshake is not answered yet.
    upgrading: bool,
    /// The opening was answered, or needs no answer.
    ready: bool,
    /// Bytes read that make no whole frame yet.
    rest: Vec<u8>,
    /// Bytes to send.
    out: Vec<u8>,
}

impl Conn {
    pub fn new(socket: TcpStream, opening: Opening) -> io::Result<Conn> {
        let tls = match opening.tls {
            None => None,
            Some((config, name)) => {
                Some(Box::new(ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?))
            }
        };
        let mut out = Vec::new();
        if let Some(host) = opening.ws {
            write!(
                out,
                "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGlkZWdhdGUtYmVuY2gtMQ==\r\n\
                 Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
            )?;
        }
        let ws = opening.ws.is_some();
        Ok(Conn { socket, tls, ws, upgrading: ws, ready: !ws, rest: Vec::new(), out })
    }

    /// Whether commands may be sent.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Bytes that the server does not take.
    pub fn backlog(&self) -> usize {
        self.out.len()
    }

    /// A command behind all that is waiting; leaves with the next flush.
    pub fn push(&mut self, command: &impl prost::Message) {
        let len = command.encoded_len();
        if !self.ws {
            self.out.extend_from_slice(&frame::tcp::prefix(len));
            // A vector has room.
            let _ = command.encode(&mut self.out);
            return;
        }
        self.frame_header(2, len);
        let from = self.out.len();
        let _ = command.encode(&mut self.out);
        self.mask(from);
    }

    fn frame_header(&mut self, opcode: u8, len: usize) {
        self.out.push(0x80 | opcode);
        match len {
            0..=125 => self.out.push(0x80 | len as u8),
            126..=0xffff => {
                self.out.push(0x80 | 126);
                self.out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                self.out.push(0x80 | 127);
                self.out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        self.out.extend_from_slice(&MASK);
    }

    fn mask(&mut self, from: usize) {
        for chunk in self.out[from..].chunks_mut(4) {
            chunk.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
        }
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = match &mut self.tls {
            None => write_some(&mut self.socket, &self.out)?,
            Some(tls) => {
                let mut taken = 0;
                loop {
                    let more = if tls.is_handshaking() { 0 } else { tls.writer().write(&self.out[taken..])? };
                    taken += more;
                    let mut blocked = false;
                    while tls.wants_write() && !blocked {
                        match tls.write_tls(&mut self.socket) {
                            Ok(_) => {}
                            Err(error) if is_later(&error) => blocked = true,
                            Err(error) => return Err(error),
                        }
                    }
                    if blocked || more == 0 {
                        break taken;
                    }
                }
            }
        };
        self.out.drain(..sent);
        if self.out.is_empty() && self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Reads until there is no more, and hands over each command. An error ends the connection; it says why.
    pub fn read(&mut self, scratch: &mut [u8], mut on: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let read = match &mut self.tls {
                None => self.socket.read(scratch),
                Some(tls) => read_tls(tls, &mut self.socket, scratch),
            };
            match read {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
                Ok(read) => {
                    self.take(&scratch[..read], &mut on)?;
                    // Told once when bytes come: a read that was not filled has emptied the socket.
                    if self.tls.is_none() && read < scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, input: &[u8], on: &mut impl FnMut(&[u8])) -> io::Result<()> {
        if self.rest.is_empty() {
            let used = self.frames(input, on)?;
            self.rest.extend_from_slice(&input[used..]);
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(input);
        let used = self.frames(&rest, on)?;
        if used < rest.len() {
            rest.drain(..used);
            self.rest = rest;
        }
        Ok(())
    }

    /// Hands over the whole frames at the start of `input`, and says how many bytes they were.
    fn frames(&mut self, input: &[u8], on: &mut impl FnMut(&[u8])) -> io::Result<usize> {
        let mut at = 0;
        if self.upgrading {
            let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(0) };
            if !input.starts_with(b"HTTP/1.1 101") {
                let head = String::from_utf8_lossy(&input[..end]);
                let said = head.lines().next().unwrap_or_default().to_owned();
                return Err(io::Error::other(format!("no WebSocket: {said}")));
            }
            at = end + 4;
            (self.upgrading, self.ready) = (false, true);
        }
        if !self.ws {
            while let Some(found) = frame::tcp::next(&input[at..], LONGEST).map_err(io::Error::other)? {
                on(&input[at..][found.payload]);
                at += found.consumed;
            }
            return Ok(at);
        }
        while let Some((opcode, start, end)) = server_frame(&input[at..])? {
            let payload = &input[at + start..at + end];
            match opcode {
                8 => return Err(closed(payload)),
                9 => {
                    self.frame_header(10, payload.len());
                    let from = self.out.len();
                    self.out.extend_from_slice(payload);
                    self.mask(from);
                }
                10 => {}
                _ => on(payload),
            }
            at += end;
        }
        Ok(at)
    }
}

fn closed(payload: &[u8]) -> io::Error {
    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
    io::Error::other(format!("the server closed the WebSocket: {code} {reason}"))
}

/// Opcode, and where the payload of the frame at the start of `input` begins and ends. A server neither masks nor, here,
/// fragments.
fn server_frame(input: &[u8]) -> io::Result<Option<(u8, usize, usize)>> {
    let [first, second, ..] = *input else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(io::Error::other("the server's WebSocket frame is masked or in pieces"));
    }
    let (start, len) = match second {
        126 => match input[2..].first_chunk() {
            Some(len) => (4, u64::from(u16::from_be_bytes(*len))),
            None => return Ok(None),
        },
        127 => match input[2..].first_chunk() {
            Some(len) => (10, u64::from_be_bytes(*len)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    if len > LONGEST as u64 {
        return Err(io::Error::other("the server's WebSocket frame is longer than 64 MiB"));
    }
    let end = start + len as usize;
    Ok((input.len() >= end).then_some((first & 0x0f, start, end)))
}

fn is_later(error: &io::Error) -> bool {
    // Not connected: the socket is still connecting and will say when it is.
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected)
}

fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match socket.write(&bytes[at..]) {
            Ok(written) => at += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_later(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

fn read_tls(tls: &mut ClientConnection, socket: &mut TcpStream, scratch: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(scratch) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        if tls.read_tls(socket)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_frames_come_out_once_they_are_whole() {
        let mut long = vec![0x82, 126, 1, 0];
        long.extend([7; 256]);
        for (bytes, found) in [(&[0x82, 2, 1, 2][..], (2, 2, 4)), (&[0x89, 0], (9, 2, 2)), (&long, (2, 4, 260))] {
            for cut in 0..bytes.len() {
                assert_eq!(server_frame(&bytes[..cut]).unwrap(), None, "{cut}");
            }
            assert_eq!(server_frame(bytes).unwrap(), Some(found));
        }
        for bad in [&[0x02, 0][..], &[0x82, 0x80], &[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(server_frame(bad).is_err(), "{bad:?}");
        }
    }
}
