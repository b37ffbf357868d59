//! A conversation as the store keeps it, and the rules of changing one.
//!
//! Owns what may be done to a conversation by whom, and what comes of it. Must not know sessions, frames or stores.
//! Rules: wire.md 3.6 and section 4.

mod members;
mod rights;
mod row;
mod start;
mod update;

use serde_json::{Map, Value};

pub use members::Moved;
pub use start::{unique_hex, unique_id, unique_id_of};
pub use update::Update;

use crate::error::{Code, Failure};
use crate::ids::{ClientId, ConvId, Millis};

/// The most members of a normal conversation (wire.md 7).
pub const MOST_MEMBERS: usize = 500;

/// The most bytes of attributes, as JSON: a conversation travels whole in every query and cache.
pub const MOST_ATTRIBUTE_BYTES: usize = 128 * 1024;

/// How deep attributes may nest. Far below what a JSON reader takes, so that what was stored always reads back.
const MOST_ATTRIBUTE_DEPTH: usize = 32;

/// Top-level names that a query's row uses itself (wire.md 3.6.3): no attribute may have them.
const RESERVED: &[&str] = &[
    "objectId",
    "createdAt",
    "updatedAt",
    "m",
    "c",
    "lm",
    "mu",
    "unique",
    "uniqueId",
    "tr",
    "sys",
    "temp",
    // Beyond the documented list: an attribute of these names would pass for what the server says.
    "conv_type",
    "tempConv",
    "tempConvTTL",
    "ttl",
    "joined",
    "muted",
    "joinedAt",
    "msg",
    "bin",
    "msg_mid",
    "msg_from",
    "msg_timestamp",
    "patch_timestamp",
    "mention_all",
    "mention_pids",
];

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

    /// Notes a change: `updated` and `version` grow strictly, whatever the clock does.
    fn touch(&mut self, now: Millis) {
        self.updated = now.max(self.updated.saturating_add(1));
        self.version += 1;
    }
}

/// What every change of attributes must leave behind: no reserved name, bounded depth and size.
fn check_attributes(attributes: &Map<String, Value>) -> Result<(), Failure> {
    if let Some(key) = attributes.keys().find(|key| RESERVED.contains(&key.as_str())) {
        return Err(Failure::because(Code::ConversationUpdateFailed, format!("the key {key} is reserved")));
    }
    if attributes.values().any(|value| deeper_than(value, MOST_ATTRIBUTE_DEPTH)) {
        let detail = format!("attributes nest deeper than {MOST_ATTRIBUTE_DEPTH} levels");
        return Err(Failure::because(Code::ConversationUpdateFailed, detail));
    }
    let size = serde_json::to_string(attributes).map_or(usize::MAX, |text| text.len());
    if size > MOST_ATTRIBUTE_BYTES {
        let detail = format!("attributes would take {size} bytes; at most {MOST_ATTRIBUTE_BYTES} are kept");
        return Err(Failure::because(Code::ConversationUpdateFailed, detail));
    }
    Ok(())
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(items), Some(left)) => items.iter().any(|item| deeper_than(item, left)),
        (Value::Object(fields), Some(left)) => fields.values().any(|field| deeper_than(field, left)),
        (Value::Array(_) | Value::Object(_), None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
