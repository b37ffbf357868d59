//! What leaves the pipeline for the reactors. Plain data; the binary hands it to `net`, whose words these are not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_domain::error::Code;
use tidegate_domain::ids::{ClientId, ConnId};

use crate::event::Going;
use crate::shared::busy::Busy;

/// One session that a frame goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub conn: ConnId,
    pub client: ClientId,
}

/// What a congested connection drops first (wire.md 4; design.md, Bounded).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    RoomLow,
    Transient,
    RoomNormal,
    RoomHigh,
    /// Durable messages.
    Normal,
    /// Notices about sessions and conversations.
    Notice,
}

/// An order to the reactors.
#[derive(Debug, Clone)]
pub enum Mail {
    /// The answer to a command; carries its own `peerId`. `busy`: its share of its session's commands in flight, to be
    /// dropped once the reactor has the frame, so that the session's end is told after it.
    Reply {
        conn: ConnId,
        frame: Bytes,
        busy: Option<Arc<Busy>>,
    },
    /// One frame to many sessions, each of which gets its own `peerId` appended.
    Deliver(Deliver),
    /// One frame to everybody in a group.
    Broadcast {
        group: u64,
        frame: Bytes,
        class: Class,
        except: Option<ClientId>,
        /// Whose command caused it: that connection gets it in a later turn than its reply.
        cause: Option<ConnId>,
        since_ns: u64,
        going: Going,
    },
    Join {
        group: u64,
        member: Recipient,
    },
    Leave {
        group: u64,
        member: Recipient,
    },
    /// Out of all groups `but` this one.
    LeaveAll {
        member: Recipient,
        but: Option<u64>,
    },
    /// The session is open. What is delivered to it waits until `Lift`.
    Entered(Recipient),
    /// The unread snapshot of a new session: what waited and is counted in it is dropped, the rest follows it.
    Lift(Lift),
    /// A session ended; the connection goes on, with `still` open if any.
    Gone {
        conn: ConnId,
        still: Option<ClientId>,
    },
    /// A heartbeat came: no log-in time-out.
    Alive {
        conn: ConnId,
    },
    Close {
        conn: ConnId,
        code: Code,
    },
    /// Several at once, in order: one event, whose room was reserved as one.
    Several(Vec<Mail>),
}

#[derive(Debug, Clone)]
pub struct Deliver {
    pub to: Vec<Recipient>,
    pub frame: Bytes,
    pub class: Class,
    pub cause: Option<ConnId>,
    /// When the socket was read that caused it, on the connections' clock; 0: not measured.
    pub since_ns: u64,
    /// Where a message stands: its conversation as a number, and its time. `None` for notices.
    pub position: Option<(u64, i64)>,
    pub going: Going,
}

#[derive(Debug, Clone)]
pub struct Lift {
    pub session: Recipient,
    /// What is sent first, each with the session's `peerId` appended.
    pub first: Vec<Bytes>,
    /// Per conversation, the time up to which messages are counted in it.
    pub counted: Arc<[(u64, i64)]>,
    /// An SDK that registers its client only after it handled `opened` needs a while (wire.md 3.1.1).
    pub delay: Duration,
}

impl Lift {
    /// For a session that is told nothing: what waited goes on.
    pub fn of_nothing(session: Recipient) -> Self {
        Lift { session, first: Vec::new(), counted: Arc::new([]), delay: Duration::ZERO }
    }
}
