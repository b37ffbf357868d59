//! Who comes and goes (wire.md 3.6.2), and whose push is off (3.6.5).

use std::collections::HashSet;

use super::{Conversation, Kind, MOST_MEMBERS, Member};
use crate::error::{Code, Failure};
use crate::ids::{ClientId, Millis, check_client};

/// What add or remove did.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// Who is now as asked for, those included who already were.
    pub allowed: Vec<ClientId>,
    pub failed: Vec<(Failure, Vec<ClientId>)>,
    /// Who really came, or went: these get notices and index entries. Empty: nothing to store.
    pub moved: Vec<ClientId>,
    /// One time for reply and notices.
    pub updated: Millis,
}

impl Conversation {
    /// Adds `asked` on behalf of `by`; joining is adding oneself. In a chat room only that is allowed, and leaves the
    /// record as it is: who is in a room is not kept here. Fails with 4314 (others into a room), 4307 (fixed members),
    /// 4317 (a stranger adds others) and 4304 (it would be too many, and nobody is added).
    pub fn add(&mut self, by: &ClientId, asked: &[ClientId], now: Millis) -> Result<Moved, Failure> {
        let asked = self.may_change_members(by, asked)?;
        if self.kind == Kind::Room {
            return Ok(Moved { allowed: asked, failed: Vec::new(), moved: Vec::new(), updated: self.updated });
        }
        let there = self.member_set();
        let (mut allowed, mut moved, mut impossible) = (Vec::new(), Vec::new(), Vec::new());
        for client in asked {
            if there.contains(&*client) {
                allowed.push(client);
            } else if check_client(&client).is_ok() {
                moved.push(client.clone());
                allowed.push(client);
            } else {
                impossible.push(client);
            }
        }
        if !moved.is_empty() && self.members.len() + moved.len() > MOST_MEMBERS {
            let detail = format!("{} members and {} more: the most is {MOST_MEMBERS}", self.members.len(), moved.len());
            return Err(Failure::because(Code::ConversationFull, detail));
        }
        if !moved.is_empty() {
            self.touch(now);
            let joined = self.updated;
            self.members.extend(moved.iter().map(|client| Member { client: client.clone(), joined }));
        }
        let failed = match impossible.is_empty() {
            true => Vec::new(),
            false => vec![(Code::InvalidLogin.into(), impossible)],
        };
        Ok(Moved { allowed, failed, moved, updated: self.updated })
    }

    /// Removes `asked` on behalf of `by`; leaving is removing oneself. Removing who is no member succeeds without effect.
    /// Fails as `add` does. Who goes is no longer muted either.
    pub fn remove(&mut self, by: &ClientId, asked: &[ClientId], now: Millis) -> Result<Moved, Failure> {
        let allowed = self.may_change_members(by, asked)?;
        let there = self.member_set();
        let moved: Vec<ClientId> = allowed.iter().filter(|client| there.contains(&***client)).cloned().collect();
        if !moved.is_empty() {
            let gone: HashSet<&str> = moved.iter().map(|client| &**client).collect();
            self.members.retain(|member| !gone.contains(&*member.client));
            self.muted.retain(|client| !gone.contains(&**client));
            self.touch(now);
        }
        Ok(Moved { allowed, failed: Vec::new(), moved, updated: self.updated })
    }

    /// Push notices off (`on`) or on again for `by`. `Ok(true)`: the record changed and is to be stored. Fails with 4317
    /// (not a member), 4307 (temporary, system) and 4304 (a room's list of these is full).
    pub fn mute(&mut self, by: &ClientId, on: bool, now: Millis) -> Result<bool, Failure> {
        match self.kind {
            Kind::Temporary | Kind::System => return Err(Code::ConversationReadOnly.into()),
            Kind::Normal if !self.has_member(by) => return Err(Code::MembershipRequired.into()),
            Kind::Normal | Kind::Room => {}
        }
        let place = self.muted.iter().position(|client| client == by);
        match (place, on) {
            (None, true) if self.muted.len() >= MOST_MEMBERS => {
                return Err(Failure::because(Code::ConversationFull, "no more clients can mute this conversation"));
            }
            (None, true) => self.muted.push(by.clone()),
            (Some(place), false) => {
                self.muted.remove(place);
            }
            _ => return Ok(false),
        }
        self.touch(now);
        Ok(true)
    }

    /// For commands that name many clients. Empty in a chat room, from which thus nobody goes.
    fn member_set(&self) -> HashSet<&str> {
        self.members.iter().map(|member| &*member.client).collect()
    }

    /// The rules that add and remove share; gives the ids asked for, each once.
    fn may_change_members(&self, by: &ClientId, asked: &[ClientId]) -> Result<Vec<ClientId>, Failure> {
        let mut seen = HashSet::with_capacity(asked.len());
        let asked: Vec<ClientId> = asked.iter().filter(|client| seen.insert(&***client)).cloned().collect();
        let only_self = asked.iter().all(|client| client == by);
        match self.kind {
            Kind::Temporary | Kind::System => {
                Err(Failure::because(Code::ConversationReadOnly, "the members of this conversation are fixed"))
            }
            Kind::Room if !only_self => Err(Failure::because(
                Code::NormalConversationRequired,
                "a chat room is joined and left by oneself only",
            )),
            Kind::Normal if !only_self && !self.has_member(by) => Err(Code::MembershipRequired.into()),
            Kind::Normal | Kind::Room => Ok(asked),
        }
    }
}
