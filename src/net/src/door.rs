//! Where connections hand over what they received: the pipeline's entrance, and what is said there.
//!
//! Owns the words between reactors and the pipeline. Must not know what a command says.

use std::net::IpAddr;

use bytes::Bytes;
use tidegate_domain::ids::ConnId;
use tidegate_protocol::frame::Subprotocol;

use crate::credit::Credit;
use crate::turnstile::Turn;

/// The pipeline's entrance, called from reactor threads: every method returns at once and never waits.
pub trait Door: Send + Sync {
    /// A connection may send commands from now on.
    fn opened(&self, conn: ConnId, meta: ConnMeta);
    /// One whole command, taken or not.
    fn frame(&self, conn: ConnId, frame: Frame) -> Result<(), NotTaken>;
    /// Exactly once after `opened`; no frame of this connection comes after it. Of connections that their clients ended,
    /// only a few come at a time: keep the turn until the news has been taken in.
    fn closed(&self, conn: ConnId, why: Closed, turn: Option<Turn>);
    /// Called by each reactor (they count from 0) soon after it handed something over, and before it waits: it can spare
    /// some 100 us now, for what else would need another thread woken.
    fn lend(&self, _reactor: u8) {}
}

/// What is known of a connection when it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnMeta {
    /// The client's own address, behind trusted proxies.
    pub ip: IpAddr,
    /// The `Origin` of a browser; others send none. Not judged here.
    pub origin: Option<String>,
    pub transport: Transport,
    pub tls: bool,
    /// `appId` of the handshake's query, where a client gave one.
    pub app_hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    WebSocket(Subprotocol),
}

/// One command as it came.
#[derive(Debug)]
pub struct Frame {
    /// A `GenericCommand` in protobuf, its base64 undone.
    pub bytes: Bytes,
    /// When the socket was read, on the clock of [`Options::clock`](crate::Options::clock).
    pub received_ns: u64,
    /// Keep it until the command has been answered.
    pub credit: Credit,
    /// Given to whatever a guest says, and to commands that came back as [`NotTaken::Later`]. Keep it until the next one
    /// may come.
    pub turn: Option<Turn>,
}

/// Why the door did not take a command.
#[derive(Debug)]
pub enum NotTaken {
    /// Net itself writes the refusal, and closes if it says so.
    Refused(Refusal),
    /// It is of a kind of which only a few come in at a time: it comes again with its turn. Until then its connection is
    /// not read. A frame that has its turn must not be given back.
    Later(Frame),
}

/// What to tell a client whose command the pipeline did not take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// A `GenericCommand` to send.
    pub reply: Option<Bytes>,
    /// Close after it, with a code and the code's documented name.
    pub close: Option<(u16, &'static str)>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// The close code that was sent or received; 1006 when the socket just went away.
    pub code: u16,
    /// Whether the client took leave (a WebSocket close, or the end of its TCP stream between two commands).
    pub clean: bool,
}
