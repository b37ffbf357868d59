//! What the server says: answers to requests, and notices that nobody asked for.
//!
//! Owns no wire form: `protocol` turns these into bytes. Which notice reaches whom is wire.md 3.19.

use crate::command::{Body, Gate, Mentions};
use crate::conversation::Kind;
use crate::error::Failure;
use crate::ids::{ClientId, ConvId, MessageId, Millis};

/// The answer to one request; `protocol` adds the request's `i`, the session's `peerId` and the time.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Echo,
    LoggedIn(Gate),
    LoggedOut(Gate),
    Opened {
        token: Box<str>,
        ttl_s: i32,
    },
    Closed,
    Refreshed {
        token: Box<str>,
        ttl_s: i32,
    },
    Online(Vec<ClientId>),
    Watched {
        add: bool,
    },
    Reported,
    Started {
        cid: ConvId,
        created: Millis,
        updated: Option<Millis>,
        unique_id: Option<Box<str>>,
        existing: bool,
    },
    Added(Changed),
    Removed(Changed),
    /// `json`: the array of conversations as text.
    Results {
        json: String,
    },
    Updated {
        cid: ConvId,
        updated: Millis,
        attr: Box<str>,
        modified: Box<str>,
    },
    /// mute and unmute answer with op `updated` too.
    Muted {
        cid: ConvId,
        updated: Millis,
    },
    Count {
        cid: ConvId,
        count: i32,
    },
    Members {
        cid: ConvId,
        members: Vec<ClientId>,
    },
    MaxRead {
        cid: ConvId,
        read: Option<Millis>,
        delivered: Option<Millis>,
    },
    MaxReadOfAll {
        cid: ConvId,
        members: Vec<MemberMarks>,
    },
    /// `json`: the object cid -> bool as text.
    IsMember {
        json: String,
    },
    Sent {
        mid: MessageId,
        at: Millis,
        cid: ConvId,
    },
    /// The message was refused; `mid` and `at` go with it all the same (wire.md 3.8.2).
    NotSent {
        failure: Failure,
        mid: MessageId,
        at: Millis,
    },
    Logs {
        cid: ConvId,
        items: Vec<LogItem>,
    },
    Failed(Failure),
}

/// What add and remove did: one `updated` for reply and notices (wire.md 3.6.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    pub cid: ConvId,
    pub allowed: Vec<ClientId>,
    pub failed: Vec<(Failure, Vec<ClientId>)>,
    pub updated: Millis,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MemberMarks {
    pub client: ClientId,
    pub read: Option<Millis>,
    pub delivered: Option<Millis>,
}

/// One message of a page of history.
#[derive(Debug, Clone, PartialEq)]
pub struct LogItem {
    pub mid: MessageId,
    pub from: ClientId,
    pub at: Millis,
    pub body: Body,
    pub delivered_at: Option<Millis>,
    pub read_at: Option<Millis>,
    pub patched_at: Option<Millis>,
    pub mentions: Mentions,
    pub kind: Kind,
}

/// What is pushed. Encoded once; each recipient's `peerId` is appended.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    Message(Message),
    Joined {
        cid: ConvId,
        by: ClientId,
        updated: Millis,
    },
    MembersJoined {
        cid: ConvId,
        members: Vec<ClientId>,
        by: ClientId,
        updated: Millis,
    },
    Left {
        cid: ConvId,
        by: ClientId,
        updated: Millis,
    },
    MembersLeft {
        cid: ConvId,
        members: Vec<ClientId>,
        by: ClientId,
        updated: Millis,
    },
    Updated {
        cid: ConvId,
        by: ClientId,
        updated: Millis,
        attr: Box<str>,
        modified: Box<str>,
    },
    /// Delivered, or read: `at` is the time of it, `by` the receiver (wire.md 3.10).
    Receipt {
        cid: ConvId,
        mid: MessageId,
        at: Millis,
        by: ClientId,
        read: bool,
    },
    Unread {
        convs: Vec<Unread>,
        as_of: Millis,
    },
    SessionClosed(Failure),
    GoAway,
}

/// A message as its receivers see it (wire.md 3.8.3).
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub cid: ConvId,
    pub mid: MessageId,
    pub from: ClientId,
    pub at: Millis,
    pub body: Body,
    pub transient: bool,
    pub mentions: Mentions,
    pub kind: Kind,
    /// `.1` mode's backlog only.
    pub offline: bool,
    pub has_more: bool,
    pub patched_at: Option<Millis>,
}

/// One conversation's unread state (wire.md 3.11).
#[derive(Debug, Clone, PartialEq)]
pub struct Unread {
    pub cid: ConvId,
    pub count: i32,
    pub mentioned: bool,
    pub kind: Kind,
    /// The last message.
    pub last: Option<LogItem>,
}
