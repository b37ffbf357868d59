//! What a client can ask for, as values: one `Request` is one command of one client.
//!
//! Owns no rule and no wire form; `protocol` makes these from bytes, the stages act on them.
//! Fields and their meaning are wire.md section 3, named per item.

use bytes::Bytes;

use crate::error::Code;
use crate::ids::{ClientId, ConvId, MessageId, Millis};

/// One command, with the envelope around it (wire.md 2.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Copied into the reply; absent where the client waits for none.
    pub i: Option<i32>,
    /// The app, where the command names it.
    pub app: Option<Box<str>>,
    /// Whose command it is; absent means the connection's only session.
    pub peer: Option<ClientId>,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Echo,
    /// LiveQuery and Java's first frame (wire.md 3.4): remembers the app.
    Login(Gate),
    Logout(Gate),
    Open(Open),
    Close,
    Refresh {
        token: Option<Box<str>>,
        signature: Option<Signature>,
    },
    /// Which of these are online (at most 20 are looked at).
    Online(Vec<ClientId>),
    /// The legacy watch list: answered with an empty one.
    Watch {
        add: bool,
    },
    /// A device token (wire.md 3.18).
    Report,
    Start(Start),
    Add(Change),
    Remove(Change),
    Query(Query),
    /// `attr`: JSON of changed keys; absent where the client sent none.
    Update {
        cid: ConvId,
        attr: Option<Box<str>>,
    },
    /// Push notices of this conversation off (`on`) or on again for the caller.
    Mute {
        cid: ConvId,
        on: bool,
    },
    Count {
        cid: ConvId,
    },
    Members {
        cid: ConvId,
        limit: Option<i32>,
    },
    MaxRead {
        cid: ConvId,
        all_members: bool,
    },
    IsMember {
        cids: Vec<Box<str>>,
    },
    Send(Send),
    /// The receiver has these (wire.md 3.9); no reply.
    Delivered(Delivered),
    /// The client has read up to there (wire.md 3.12); no reply.
    Read(Vec<ReadUpTo>),
    Logs(Logs),
    /// Something that needs neither effect nor answer (wire.md 3.4 `data`, 3.13 the old clients' acknowledgement).
    Nothing,
    /// Understood, but not offered: answered with this code.
    Unsupported(Code, &'static str),
}

/// What `login` and `logout` carry and get back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gate {
    pub service: Option<i32>,
    pub installation: Option<Box<str>>,
}

/// HMAC-SHA1 by the app's own server (wire.md 3.1.4).
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    pub text: Box<str>,
    /// As sent: milliseconds, or seconds below 10^11.
    pub timestamp: i64,
    pub nonce: Box<str>,
}

/// session/open (wire.md 3.1.1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Open {
    pub reopen: bool,
    pub tag: Option<Box<str>>,
    /// `deviceId`, or `deviceToken` where only that is given.
    pub device: Option<Box<str>>,
    pub signature: Option<Signature>,
    pub token: Option<Box<str>>,
    pub last_unread: Option<Millis>,
    pub last_patch: Option<Millis>,
    pub config_bitmap: Option<i64>,
}

/// conv/start (wire.md 3.6.1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Start {
    pub members: Vec<ClientId>,
    pub attr: Option<Box<str>>,
    pub transient: bool,
    pub unique: bool,
    pub temporary: bool,
    pub temporary_ttl: Option<i32>,
    pub signature: Option<Signature>,
}

/// conv/add and conv/remove (wire.md 3.6.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub cid: ConvId,
    pub members: Vec<ClientId>,
    pub signature: Option<Signature>,
}

/// conv/query (wire.md 3.6.3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// JSON text.
    pub filter: Option<Box<str>>,
    pub sort: Option<Box<str>>,
    pub skip: Option<i32>,
    pub limit: Option<i32>,
    /// Leave `m` out.
    pub compact: bool,
    pub last_message: bool,
    pub temporary_ids: Vec<Box<str>>,
}

/// A message's body: exactly one of text and bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Valid UTF-8.
    Text(Bytes),
    Binary(Bytes),
}

impl Body {
    pub fn bytes(&self) -> &Bytes {
        match self {
            Body::Text(bytes) | Body::Binary(bytes) => bytes,
        }
    }

    /// Lets go of the frame that it came in, of which its bytes are a part.
    pub fn own(&mut self) {
        let (Body::Text(bytes) | Body::Binary(bytes)) = self;
        *bytes = Bytes::copy_from_slice(bytes);
    }

    pub fn is_binary(&self) -> bool {
        matches!(self, Body::Binary(_))
    }
}

/// How a chat room's congested connection chooses what to drop (wire.md 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// direct (wire.md 3.8.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    pub cid: ConvId,
    pub body: Body,
    pub transient: bool,
    pub receipt: bool,
    pub will: bool,
    /// The token by which a resend is known.
    pub dedupe: Option<Box<str>>,
    pub push_data: Option<Box<str>>,
    pub mentions: Mentions,
    pub priority: Priority,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mentions {
    pub all: bool,
    pub clients: Vec<ClientId>,
}

impl Mentions {
    pub fn is_empty(&self) -> bool {
        !self.all && self.clients.is_empty()
    }

    pub fn includes(&self, client: &str) -> bool {
        self.all || self.clients.iter().any(|c| &**c == client)
    }
}

/// A receiver's ack: one message, or all of a time range.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    pub cid: ConvId,
    pub mid: Option<MessageId>,
    /// Absent with `to` given: everything up to it.
    pub from: Option<Millis>,
    pub to: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReadUpTo {
    pub cid: ConvId,
    /// Both absent: everything.
    pub timestamp: Option<Millis>,
    pub mid: Option<MessageId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Old,
    New,
}

/// One end of a page of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub timestamp: Millis,
    /// Breaks ties at `timestamp`.
    pub mid: Option<MessageId>,
    pub included: bool,
}

/// logs (wire.md 3.14). Zero times count as absent and never reach here.
#[derive(Debug, Clone, PartialEq)]
pub struct Logs {
    pub cid: ConvId,
    pub start: Option<Bound>,
    pub end: Option<Bound>,
    /// As sent; default and cap are the domain's.
    pub limit: Option<i32>,
    pub direction: Direction,
    /// Only messages whose JSON has this `_lctype`.
    pub kind: Option<i32>,
}
