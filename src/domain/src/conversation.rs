//! A conversation as the store keeps it, and the rules of changing one.
//!
//! Owns what may be done to a conversation by whom, and what comes of it. Must not know sessions, frames or stores.
//! Rules: wire.md 3.6 and section 4.

use serde_json::{Map, Value};

use crate::ids::{ClientId, ConvId, Millis};

/// The most members of a normal conversation (wire.md 7).
pub const MOST_MEMBERS: usize = 500;

/// wire.md section 4; the numbers are `conv_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Normal = 1,
    /// A chat room: no list of members, anyone may send.
    Room = 2,
    System = 3,
    Temporary = 4,
}

impl Kind {
    pub fn number(self) -> i32 {
        self as i32
    }

    pub fn from_number(number: i32) -> Option<Self> {
        [Kind::Normal, Kind::Room, Kind::System, Kind::Temporary].into_iter().find(|k| k.number() == number)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub client: ClientId,
    /// History before it is never unread for this member (wire.md 5).
    pub joined: Millis,
}

/// The truth about one conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    pub id: ConvId,
    pub kind: Kind,
    pub creator: ClientId,
    /// In order of joining; empty in rooms.
    pub members: Vec<Member>,
    /// Who gets no push of it.
    pub muted: Vec<ClientId>,
    /// `name`, `attr` and the app's own top-level keys, as stored.
    pub attributes: Map<String, Value>,
    /// Set when it was started as unique: a function of its first members.
    pub unique_id: Option<[u8; 16]>,
    pub created: Millis,
    /// Never goes back, so that clients take every update (wire.md 3.6.4).
    pub updated: Millis,
    /// Grows with every change; a cache never replaces a higher one.
    pub version: u64,
    /// Temporary ones only.
    pub expires: Option<Millis>,
}

impl Conversation {
    pub fn has_member(&self, client: &str) -> bool {
        self.members.iter().any(|m| &*m.client == client)
    }
}
