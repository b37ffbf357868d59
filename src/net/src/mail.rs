//! What a reactor can be told: answers, deliveries, broadcasts, and orders about connections and groups.
//!
//! Plain data: a connection is named, never held. Frames are a `GenericCommand` in protobuf; framing (length prefix,
//! WebSocket header, base64) is the reactor's.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_domain::ids::{ClientId, ConnId};

/// One entry of a reactor's mailbox. Mail for a connection that is gone is dropped.
pub enum Mail {
    /// The answer to a command. Always fits; bounded by the connection's credits.
    Reply {
        conn: ConnId,
        frame: Bytes,
    },
    /// One notice to many sessions: shared bytes, and each recipient's `peerId` appended.
    Deliver {
        to: Vec<Recipient>,
        frame: Bytes,
        class: Class,
        /// The connection whose own command caused this: it gets it in a later turn than its reply, after
        /// [`AFTER_REPLY`](crate::AFTER_REPLY). What is delivered to it meanwhile queues behind, in order.
        later_for: Option<ConnId>,
        /// Its stream and its place there, by which a new session's snapshot tells whether it counted it.
        position: Option<(u64, i64)>,
        /// When the message's command was read ([`Frame::received_ns`](crate::Frame::received_ns)), to measure
        /// deliveries end to end; 0: not measured.
        since_ns: u64,
        going: Going,
    },
    /// One notice to all members of a group, in order per group; goes to every reactor.
    Broadcast {
        group: u64,
        frame: Bytes,
        class: Class,
        except: Option<ClientId>,
        later_for: Option<ConnId>,
        since_ns: u64,
        going: Going,
    },
    /// A session joins a group; twice is once. It gets what is broadcast after this mail.
    Join {
        group: u64,
        conn: ConnId,
        peer: ClientId,
    },
    Leave {
        group: u64,
        conn: ConnId,
        peer: ClientId,
    },
    /// A session leaves all its groups `but` this one. A closed connection's sessions do so by themselves.
    LeaveAll {
        conn: ConnId,
        peer: ClientId,
        but: Option<u64>,
    },
    /// The connection has a session: no log-in time-out, and a `goaway` will name this client. What is delivered to the
    /// session waits until `Lift`, at most 10 s.
    LoggedIn {
        conn: ConnId,
        peer: ClientId,
    },
    /// What a new session missed, and up to where it was counted.
    Lift {
        conn: ConnId,
        peer: ClientId,
        /// Sent first, in order, each with the `peerId` appended.
        first: Vec<Bytes>,
        /// Streams, and the last place in each that is counted in `first`: what waits up to there is dropped.
        counted: Arc<[(u64, i64)]>,
        /// Not before this long from now; zero: at once.
        delay: Duration,
    },
    /// A session ended; `still` is one that is open, for a `goaway` to name.
    LoggedOut {
        conn: ConnId,
        still: Option<ClientId>,
    },
    /// The connection sent a heartbeat: no log-in time-out.
    Alive {
        conn: ConnId,
    },
    /// Sends what is queued for the connection, then closes it with this code and the code's name.
    Close {
        conn: ConnId,
        code: u16,
        reason: &'static str,
    },
}

/// Dropped when every reactor has handed all of a notice to its connections, or has none to hand it to.
pub type Going = Option<Arc<dyn Any + Send + Sync>>;

impl Mail {
    /// The places that it takes in a mailbox: one for each session that it goes to. A broadcast takes one: it is walked
    /// beside all else, and holds nothing up.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Mail::Deliver { to, .. } => to.len().max(1),
            _ => 1,
        }
    }
}

/// A session that a notice goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub conn: ConnId,
    pub peer: ClientId,
}

/// What happens to a notice when its connection does not read: first `RoomLow`, then `Transient`, `RoomNormal` and
/// `RoomHigh` traffic is dropped, each in favour of what comes later in this list; what does not fit even so closes
/// the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    RoomLow,
    Transient,
    RoomNormal,
    RoomHigh,
    /// Durable messages.
    Normal,
    /// Notices about sessions and conversations.
    Notice,
    /// What a new session missed: counts as an answer to its log-in, so it always fits, and whoever sends it bounds it.
    Missed,
}

impl Class {
    pub(crate) fn may_drop(self) -> bool {
        self < Class::Normal
    }
}

/// Builds the `goaway` for a connection from one of its open sessions, if it has any.
pub type GoAway = Arc<dyn Fn(Option<&ClientId>) -> Bytes + Send + Sync>;
