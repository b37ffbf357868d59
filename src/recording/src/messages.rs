//! What clients sent, one by one: when, who to whom as numbers that mean nothing elsewhere, how large, how many heard it.

use serde::{Deserialize, Serialize};

/// Messages in the order of their times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// More came than were kept: only so many of a thousand senders are here.
    pub senders_of_1000: u32,
    /// Members of each conversation, by its number; rooms: who was in it.
    pub conversations: Vec<u32>,
    /// The messages.
    pub all: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Microseconds since the recording began.
    pub at: u64,
    /// Numbers given in the order of their first appearance.
    pub sender: u32,
    /// An index into [`Messages::conversations`].
    pub conversation: u32,
    /// Bytes of its body.
    pub size: u32,
    /// How it was sent.
    pub kind: Kind,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Kept, and acknowledged after the disk has it.
    Durable,
    /// Not kept.
    Transient,
    /// To a chat room.
    Room,
}
