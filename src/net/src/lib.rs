//! Connections: sockets, TLS, WebSocket and length-prefixed TCP, on reactors that never block.
//!
//! A reactor is a thread with its own listeners and connections. Whole commands go to a [`Door`]; answers, deliveries
//! and orders come back as [`Mail`] through a bounded [`Mailbox`]; what is HTTP goes to an [`HttpDoor`]. Knows framings
//! and groups under opaque numbers; must not know conversations, sessions' rules or what a command says.
//!
//! Where to read: `net` starts and stops it all, `reactor` is one thread's loop, `conn` is one connection's life,
//! `outbox` what waits to be written, `mailbox`, `credit` and `turnstile` the bounds towards the pipeline.

mod accept;
mod conn;
mod credit;
mod door;
mod gate;
mod groups;
mod http_handoff;
mod listen;
mod mail;
mod mailbox;
#[cfg(all(test, feature = "shuttle"))]
mod model;
mod net;
mod opening;
mod options;
mod outbox;
mod reactor;
mod receive;
mod send;
mod stats;
mod sync;
mod table;
mod tls;
mod turnstile;
mod wheel;

pub use credit::Credit;
pub use door::{Closed, ConnMeta, Door, Frame, NotTaken, Refusal, Transport};
pub use http_handoff::{HttpDoor, HttpGone, HttpSender, HttpStream};
pub use listen::BACKLOG;
pub use mail::{Class, GoAway, Going, Mail, Recipient};
pub use mailbox::Mailbox;
pub use net::{Listeners, LocalAddrs, Net, start};
pub use options::{Cidr, Options};
pub use stats::Stats;
pub use tidegate_protocol::frame::Subprotocol;
pub use turnstile::Turn;

use std::time::Duration;

/// How long a push that a connection's own command caused stays behind that command's reply. JavaScript handles what
/// came in one read in one turn, and its SDK's listeners are attached in the turn after the reply's (wire.md 8.3, 8.4).
pub const AFTER_REPLY: Duration = Duration::from_millis(5);

/// The close code for a connection that does not read what it is sent. No source names one; this one is among the
/// documented reasons of a close (wire.md 2.4), and every SDK reconnects after it.
pub const SLOW_READER: (u16, &str) = (4200, "INTERNAL_ERROR");
