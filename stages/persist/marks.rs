//! What clients have got and read (wire.md 3.9, 3.12): the marks.
//!
//! Who is to hear of them is told after the commit, by read where that takes pages of history: a cold one must not hold
//! up the commits of others. Only the receipts for what was sent lately are known here.

use tidegate_domain::command::{Delivered, ReadUpTo};
use tidegate_domain::conversation::Kind;
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId};
use tidegate_domain::marks::{self, ReadMark};
use tidegate_domain::reply::Notice;
use tidegate_domain::unread;
use tidegate_store::{Change, Marks, StoreError};

use super::draft::{Draft, Outcome};
use crate::event::{Ask, Audience, Mark, Marked};

/// Conversations in one `read`; SDKs name one. What is beyond is not marked: each is looked up between two commits.
const MOST_READ: usize = 20;

impl Draft<'_> {
    /// A receiver's `ack`.
    pub fn delivered(&mut self, ask: &Ask, delivered: &Delivered) -> Result<Outcome, StoreError> {
        let cid = delivered.cid;
        let nothing = Ok(Outcome::answer(None));
        let Some(hot) = self.hot(ask.app, cid)? else { return nothing };
        // Of rooms nobody keeps marks; a stranger's are none of ours.
        if hot.conversation.kind == Kind::Room || !hot.conversation.has_member(&ask.client) {
            return nothing;
        }
        let message = delivered.mid.map(MessageId::at);
        let Some(range) = marks::said(delivered, message, hot.newest.last_at, self.now) else { return nothing };
        let mut marks = self.marks_of(ask.app, cid, &ask.client)?;
        let fresh = marks::deliver(&mut marks.delivered, range);
        if fresh.is_empty() {
            return nothing;
        }
        self.marks.insert((ask.app, cid, ask.client.clone()), marks);
        self.changes.push(Change::Delivered { app: ask.app, cid, client: ask.client.clone(), range });
        let Some(asked) = hot.newest.asked(&fresh) else {
            let marked = vec![Marked { cid, at: self.now, what: Mark::Delivered(fresh) }];
            return Ok(Outcome { marked, ..Outcome::durable(None, None) });
        };
        let parts: Vec<_> = asked
            .into_iter()
            .filter(|(_, from)| *from != ask.client)
            .map(|(mid, from)| {
                let receipt = Notice::Receipt { cid, mid, at: self.now, by: ask.client.clone(), read: false };
                self.part(receipt, Audience::Clients(vec![from]))
            })
            .collect();
        let delivery = (!parts.is_empty()).then(|| self.delivery(ask, cid, parts));
        Ok(Outcome::durable(None, delivery))
    }

    /// A client's `read`, for several conversations.
    pub fn read(&mut self, ask: &Ask, marks: Vec<ReadUpTo>) -> Result<Outcome, StoreError> {
        let mut marked = Vec::new();
        for up_to in marks.iter().take(MOST_READ) {
            let cid = up_to.cid;
            let Some(hot) = self.hot(ask.app, cid)? else { continue };
            let member = hot.conversation.members.iter().find(|member| member.client == ask.client);
            let Some(joined) = member.map(|member| member.joined) else { continue };
            let mark = ReadMark::said(up_to, up_to.mid.map(MessageId::at), hot.newest.last_at, self.now);
            let mut kept = self.marks_of(ask.app, cid, &ask.client)?;
            let after = unread::unread_after(joined, kept.read);
            if !ReadMark::advance(&mut kept.read, mark) {
                continue;
            }
            self.marks.insert((ask.app, cid, ask.client.clone()), kept);
            self.changes.push(Change::Read { app: ask.app, cid, client: ask.client.clone(), mark });
            let what = Mark::Read { kind: hot.conversation.kind, after, up_to: mark.message_at };
            marked.push(Marked { cid, at: self.now, what });
        }
        Ok(match marked.is_empty() {
            true => Outcome::answer(None),
            false => Outcome { marked, ..Outcome::durable(None, None) },
        })
    }

    fn marks_of(&self, app: AppId, cid: ConvId, client: &ClientId) -> Result<Marks, StoreError> {
        match self.marks.get(&(app, cid, client.clone())) {
            Some(marks) => Ok(marks.clone()),
            None => self.world.store.marks(app, cid, client),
        }
    }
}
