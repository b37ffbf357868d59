//! TLS of one connection, by rustls without buffers of its own: records are opened from the reactor's read buffer, and
//! only a record that came in part is kept here.
//!
//! Ciphertext waits here until the socket has taken it; the owner encrypts more only when nothing waits.

use std::io::{self, Write};
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{Error, ServerConfig};
use tidegate_protocol::frame::keep;

/// The most that is kept of a client's part of the handshake, in bytes. We ask for no certificate, so that it is a
/// greeting of a few hundred bytes, or of two thousand with keys for the time after.
const LONGEST_GREETING: usize = 8 << 10;

/// What one record adds to its content at most, all versions and suites that rustls has; and the content it holds.
const RECORD_COST: usize = 5 + 16 + 16 + 16;
const RECORD: usize = 16 << 10;

pub(crate) struct Tls {
    session: UnbufferedServerConnection,
    /// The start of a record whose rest is still to come.
    partial: Vec<u8>,
    /// Ciphertext that the socket has not taken, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    ended: bool,
}

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let session = UnbufferedServerConnection::new(config)?;
        Ok(Tls { session, partial: Vec::new(), out: Vec::new(), sent: 0, ended: false })
    }

    /// Takes what the socket gave and appends what it says to `plain`. On an error an alert may wait to be written.
    pub(crate) fn receive(&mut self, input: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        if self.ended {
            return Ok(());
        }
        if self.partial.is_empty() {
            let used = self.open(input, plain)?;
            keep(&mut self.partial, &input[used..]);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            keep(&mut whole, input);
            match self.open(&mut whole, plain)? {
                0 => self.partial = whole,
                used => keep(&mut self.partial, &whole[used..]),
            }
        }
        if self.session.is_handshaking() && self.partial.len() > LONGEST_GREETING {
            return Err(Error::General("its greeting is too long".into()));
        }
        Ok(())
    }

    /// Bytes of a record in part.
    pub(crate) fn kept(&self) -> usize {
        self.partial.len()
    }

    /// Opens the whole records at the start of `input`; returns how many bytes are done with.
    fn open(&mut self, input: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(&mut input[used..]);
            let mut waits = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        plain.extend_from_slice(record?.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut self.out, |out| data.encode(out))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                // Early data is not offered, so its state is never met; the rest wait for more input.
                Ok(_) => waits = true,
                Err(error) => {
                    self.take_alert(&mut input[used..]);
                    return Err(error);
                }
            }
            used += discard;
            if self.ended {
                return Ok(input.len());
            }
            if waits {
                return Ok(used);
            }
        }
    }

    /// After an error: the alert that tells the client why. Asked once and with the input that failed, for the session
    /// remembers places in it; what it says besides no longer matters.
    fn take_alert(&mut self, input: &mut [u8]) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = self.session.process_tls_records(input).state
            && let Err(error) = encode(&mut self.out, |out| data.encode(out))
        {
            log::debug!("an alert could not be encoded: {error}");
        }
    }

    /// Encrypts `plain`, to be written by [`flush`](Self::flush).
    pub(crate) fn send(&mut self, plain: &[u8]) -> Result<(), Error> {
        let room = plain.len() + (plain.len() / RECORD + 2) * RECORD_COST;
        self.write_traffic(room, |traffic, out| traffic.encrypt(plain, out))
    }

    /// Says that nothing more will come.
    pub(crate) fn send_close(&mut self) -> Result<(), Error> {
        self.write_traffic(RECORD_COST * 2, |traffic, out| traffic.queue_close_notify(out))
    }

    fn write_traffic(
        &mut self,
        room: usize,
        mut act: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        loop {
            // A record in part is shown again, because the session remembers where it looked at it.
            match self.session.process_tls_records(&mut self.partial).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let start = self.out.len();
                    self.out.resize(start + room, 0);
                    let done = act(&mut traffic, &mut self.out[start..]);
                    let written = match done {
                        Ok(written) => written,
                        Err(EncryptError::InsufficientSize(needed)) => {
                            self.out.resize(start + needed.required_size, 0);
                            act(&mut traffic, &mut self.out[start..]).map_err(|_| exhausted())?
                        }
                        Err(EncryptError::EncryptExhausted) => return Err(exhausted()),
                    };
                    self.out.truncate(start + written);
                    return Ok(());
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut self.out, |out| data.encode(out))?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    /// Whether ciphertext waits for the socket.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Writes what waits; `Ok` when all is out, and then no buffer is kept.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.is_waiting() {
            match socket.write(&self.out[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.out, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    /// The client said that it will send no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}

fn encode(out: &mut Vec<u8>, mut data: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) -> Result<(), Error> {
    let start = out.len();
    let mut room = 4096;
    for _ in 0..2 {
        out.resize(start + room, 0);
        match data(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) => room = needed.required_size,
            Err(EncodeError::AlreadyEncoded) => break,
        }
    }
    out.truncate(start);
    Err(Error::General("a TLS record did not fit".into()))
}

fn exhausted() -> Error {
    Error::General("the TLS session cannot encrypt more".into())
}
