//! Who may send to a conversation, read it and change it.

use super::{Conversation, Kind};
use crate::error::{Code, Failure};

impl Conversation {
    /// Members may; in a chat room, anyone (wire.md section 4). 4401 for strangers, 4308 for system conversations, which
    /// this server gives no way up.
    pub fn may_send(&self, client: &str) -> Result<(), Failure> {
        match self.kind {
            Kind::Room => Ok(()),
            Kind::System => Err(Code::ConversationNotAllowed.into()),
            Kind::Normal | Kind::Temporary if self.has_member(client) => Ok(()),
            Kind::Normal | Kind::Temporary => Err(Code::InvalidTarget.into()),
        }
    }

    /// Members may read what was said; a chat room's history is everybody's (wire.md 3.14). 4312 otherwise.
    pub fn may_read_history(&self, client: &str) -> Result<(), Failure> {
        match self.kind {
            Kind::Room => Ok(()),
            _ if self.has_member(client) => Ok(()),
            _ => Err(Code::ConversationLogRejected.into()),
        }
    }

    /// Members may change attributes; of a chat room, who has joined it (`is_joined`) and its creator. 4309 for
    /// strangers, 4307 where nobody may from here (wire.md 3.6.4).
    pub fn may_update(&self, client: &str, is_joined: bool) -> Result<(), Failure> {
        let belongs = match self.kind {
            Kind::Room => is_joined || &*self.creator == client,
            Kind::System => true,
            Kind::Normal | Kind::Temporary => self.has_member(client),
        };
        match self.kind {
            _ if !belongs => Err(Code::ConversationUpdateRejected.into()),
            Kind::Temporary | Kind::System => Err(Code::ConversationReadOnly.into()),
            Kind::Normal | Kind::Room => Ok(()),
        }
    }
}
