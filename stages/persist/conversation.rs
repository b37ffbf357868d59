//! Conversations begun and changed, and who is told (wire.md 3.6 and 3.19).

use tidegate_domain::command::Start;
use tidegate_domain::conversation::{Conversation, Kind, Moved, unique_hex, unique_id_of};
use tidegate_domain::ids::{ClientId, ConvId};
use tidegate_domain::reply::{Answer, Changed, Notice};
use tidegate_store::{Change, StoreError};

use super::draft::{Draft, Outcome, not_found};
use super::newest::Newest;
use crate::event::{Ask, Audience, Delivery, Part};
use crate::mail::{Class, Recipient};

impl Draft<'_> {
    pub fn start(&mut self, ask: &Ask, cid: ConvId, start: &Start) -> Result<Outcome, StoreError> {
        let unique = unique_id_of(start, &ask.client);
        if let Some(id) = unique {
            let existing = match self.unique.get(&(ask.app, id)) {
                Some(cid) => Some(*cid),
                None => self.world.store.unique(ask.app, id)?,
            };
            if let Some(cid) = existing
                && let Some(hot) = self.hot(ask.app, cid)?
            {
                // Made in this very batch, it is only as true as the batch.
                let made_now = self.unique.contains_key(&(ask.app, id));
                let answer = started(&hot.conversation, true);
                return Ok(if made_now { Outcome::durable(answer, None) } else { Outcome::answer(answer) });
            }
        }
        let record = match Conversation::start(cid, &ask.client, start, self.now) {
            Ok(record) => record,
            Err(failure) => return Ok(Outcome::failed(failure)),
        };
        if let Some(id) = unique {
            self.unique.insert((ask.app, id), cid);
            self.changes.push(Change::Unique { app: ask.app, unique_id: id, cid });
        }
        let members: Vec<ClientId> = record.members.iter().map(|member| member.client.clone()).collect();
        let conversation = self.change(ask, record, Newest::none(), members.clone(), Vec::new());
        let answer = started(&conversation, false);
        if conversation.kind == Kind::Room {
            return Ok(Outcome { join: Some(cid), ..Outcome::durable(answer, None) });
        }
        let (by, updated) = (ask.client.clone(), conversation.updated);
        let everybody = || Audience::Members(conversation.clone());
        let delivery = self.delivery(
            ask,
            cid,
            vec![
                self.part(Notice::Joined { cid, by: by.clone(), updated }, everybody()),
                self.part(Notice::MembersJoined { cid, members, by, updated }, everybody()),
            ],
        );
        Ok(Outcome::durable(answer, Some(delivery)))
    }

    pub fn add(&mut self, ask: &Ask, cid: ConvId, members: &[ClientId]) -> Result<Outcome, StoreError> {
        let Some(hot) = self.hot(ask.app, cid)? else { return Ok(not_found()) };
        let mut record = (*hot.conversation).clone();
        let moved = match record.add(&ask.client, members, self.now.max(hot.newest.last_at)) {
            Ok(moved) => moved,
            Err(failure) => return Ok(Outcome::failed(failure)),
        };
        let came = moved.moved.clone();
        let answer = Answer::Added(changed(cid, moved));
        if came.is_empty() {
            return Ok(Outcome::answer(answer));
        }
        let conversation = self.change(ask, record, hot.newest, came.clone(), Vec::new());
        let (by, updated) = (ask.client.clone(), conversation.updated);
        let parts = vec![
            self.part(Notice::Joined { cid, by: by.clone(), updated }, Audience::Clients(came.clone())),
            self.part(Notice::MembersJoined { cid, members: came, by, updated }, Audience::Members(conversation)),
        ];
        Ok(Outcome::durable(answer, Some(self.delivery(ask, cid, parts))))
    }

    pub fn remove(&mut self, ask: &Ask, cid: ConvId, members: &[ClientId]) -> Result<Outcome, StoreError> {
        let Some(hot) = self.hot(ask.app, cid)? else { return Ok(not_found()) };
        let mut record = (*hot.conversation).clone();
        // After the last message, as a join is: who goes has all up to there, and nothing later, whatever the clock does.
        let moved = match record.remove(&ask.client, members, self.now.max(hot.newest.last_at)) {
            Ok(moved) => moved,
            Err(failure) => return Ok(Outcome::failed(failure)),
        };
        let went = moved.moved.clone();
        let answer = Answer::Removed(changed(cid, moved));
        if went.is_empty() {
            return Ok(Outcome::answer(answer));
        }
        let conversation = self.change(ask, record, hot.newest, Vec::new(), went.clone());
        let (by, updated) = (ask.client.clone(), conversation.updated);
        let parts = vec![
            self.part(Notice::Left { cid, by: by.clone(), updated }, Audience::Clients(went.clone())),
            self.part(Notice::MembersLeft { cid, members: went, by, updated }, Audience::Members(conversation)),
        ];
        Ok(Outcome::durable(answer, Some(self.delivery(ask, cid, parts))))
    }

    pub fn update(
        &mut self,
        ask: &Ask,
        cid: ConvId,
        attr: Option<&str>,
        is_joined: bool,
    ) -> Result<Outcome, StoreError> {
        let Some(hot) = self.hot(ask.app, cid)? else { return Ok(not_found()) };
        let mut record = (*hot.conversation).clone();
        let update = match record.update(&ask.client, attr, is_joined, self.now) {
            Ok(update) => update,
            Err(failure) => return Ok(Outcome::failed(failure)),
        };
        let conversation = self.change(ask, record, hot.newest, Vec::new(), Vec::new());
        let notice = Notice::Updated {
            cid,
            by: ask.client.clone(),
            updated: update.updated,
            attr: update.attr.clone(),
            modified: update.modified.clone(),
        };
        let audience = match conversation.kind {
            Kind::Room => Audience::Room { except: Some(ask.client.clone()) },
            _ => Audience::Members(conversation),
        };
        let mut part = self.part(notice, audience);
        // Not to the session that made it: Swift counts these.
        part.except = Some(Recipient { conn: ask.conn, client: ask.client.clone() });
        let answer = Answer::Updated { cid, updated: update.updated, attr: update.attr, modified: update.modified };
        Ok(Outcome::durable(answer, Some(self.delivery(ask, cid, vec![part]))))
    }

    pub fn mute(&mut self, ask: &Ask, cid: ConvId, on: bool) -> Result<Outcome, StoreError> {
        let Some(hot) = self.hot(ask.app, cid)? else { return Ok(not_found()) };
        let mut record = (*hot.conversation).clone();
        match record.mute(&ask.client, on, self.now) {
            Err(failure) => Ok(Outcome::failed(failure)),
            Ok(false) => Ok(Outcome::answer(Answer::Muted { cid, updated: record.updated })),
            Ok(true) => {
                let conversation = self.change(ask, record, hot.newest, Vec::new(), Vec::new());
                Ok(Outcome::durable(Answer::Muted { cid, updated: conversation.updated }, None))
            }
        }
    }

    pub(super) fn part(&self, notice: Notice, to: Audience) -> Part {
        let frame = tidegate_protocol::notice(self.now, &notice);
        Part { frame, to, class: Class::Notice, except: None, at: None }
    }

    pub(super) fn delivery(&self, ask: &Ask, cid: ConvId, parts: Vec<Part>) -> Delivery {
        Delivery {
            app: ask.app,
            cid,
            parts,
            cause: Some(ask.conn),
            since_ns: 0,
            journey: None,
            going: None,
            message: None,
        }
    }
}

fn started(conversation: &Conversation, existing: bool) -> Answer {
    Answer::Started {
        cid: conversation.id,
        created: conversation.created,
        updated: existing.then_some(conversation.updated),
        unique_id: conversation.unique_id.map(|id| unique_hex(id).into()),
        existing,
    }
}

fn changed(cid: ConvId, moved: Moved) -> Changed {
    Changed { cid, allowed: moved.allowed, failed: moved.failed, updated: moved.updated }
}
