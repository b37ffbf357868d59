//! What clients sent, one by one: when, who to whom as numbers that mean nothing elsewhere, how large, how many heard it.

use serde::{Deserialize, Serialize};

/// Messages in the order of their times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// Of a thousand senders so many are here, the same ones all the time; fewer than 1,000 where more came than were
    /// kept.
    pub senders_of_1000: u32,
    /// Messages that came and are not here.
    pub left_out: u64,
    /// By number: an index into it is what a message names.
    pub conversations: Vec<Conversation>,
    /// The messages.
    pub all: Vec<Message>,
}

/// Where messages went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Members, whether they were there or not; of a chat room, who was in it beside the sender. The most that there were.
    pub members: u32,
    /// A chat room.
    pub room: bool,
}

/// One message; in the file a list of its fields, as there are millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
pub struct Message {
    /// Microseconds since the recording began.
    pub at: u64,
    /// Numbers given in the order of their first appearance.
    pub sender: u32,
    /// An index into [`Messages::conversations`].
    pub conversation: u32,
    /// Bytes of its body.
    pub size: u32,
    /// Acknowledged without the disk, and in no history.
    pub transient: bool,
}

type Fields = (u64, u32, u32, u32, bool);

impl From<Fields> for Message {
    fn from((at, sender, conversation, size, transient): Fields) -> Message {
        Message { at, sender, conversation, size, transient }
    }
}

impl From<Message> for Fields {
    fn from(of: Message) -> Fields {
        (of.at, of.sender, of.conversation, of.size, of.transient)
    }
}

impl Messages {
    /// How many different clients sent them.
    pub fn senders(&self) -> usize {
        self.all.iter().map(|message| message.sender as usize + 1).max().unwrap_or(0)
    }

    /// What cannot be so, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut before = 0;
        for (at, message) in (1..).zip(&self.all) {
            if message.conversation as usize >= self.conversations.len() {
                return Err(format!(
                    "message {at} is of conversation {}, and there are {}",
                    message.conversation,
                    self.conversations.len()
                ));
            }
            if message.sender as usize >= self.all.len() {
                return Err(format!("message {at} is of sender {}, which is more than there are", message.sender));
            }
            if message.at < before {
                return Err(format!("message {at} is earlier than the one before it"));
            }
            before = message.at;
        }
        Ok(())
    }
}

impl Default for Messages {
    fn default() -> Messages {
        Messages { senders_of_1000: 1_000, left_out: 0, conversations: Vec::new(), all: Vec::new() }
    }
}
