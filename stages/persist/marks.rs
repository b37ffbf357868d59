//! What clients have got and read, and the receipts that senders asked for (wire.md 3.9, 3.10, 3.12).

use std::collections::HashMap;

use tidegate_domain::command::{Bound, Delivered, Direction, ReadUpTo};
use tidegate_domain::conversation::Kind;
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};
use tidegate_domain::marks::{self, Range, ReadMark};
use tidegate_domain::reply::Notice;
use tidegate_domain::unread::{self, Counted, MOST_COUNTED};
use tidegate_store::{Change, Marks, Page, StoreError, Stored};

use super::draft::{Draft, Outcome};
use crate::event::{Ask, Audience, Part};
use crate::shared::history::log_item;

/// Receipts for one acknowledgement; what is older is in `max_read`.
const MOST_RECEIPTS: usize = 100;

/// Conversations in one `read`; SDKs name one. Each is counted anew between two commits.
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
        let Some(range) = marks::said(delivered, message, hot.last_at, self.now) else { return nothing };
        let mut marks = self.marks_of(ask.app, cid, &ask.client)?;
        let fresh = marks::deliver(&mut marks.delivered, range);
        if fresh.is_empty() {
            return nothing;
        }
        self.marks.insert((ask.app, cid, ask.client.clone()), marks);
        self.changes.push(Change::Delivered { app: ask.app, cid, client: ask.client.clone(), range });
        let mut parts = Vec::new();
        for part in fresh {
            let room = MOST_RECEIPTS - parts.len();
            for message in self.receipted(ask, cid, part)?.into_iter().take(room) {
                let notice =
                    Notice::Receipt { cid, mid: message.mid, at: self.now, by: ask.client.clone(), read: false };
                parts.push(self.part(notice, Audience::Clients(vec![message.from])));
            }
        }
        Ok(self.told(ask, cid, parts))
    }

    /// A client's `read`, for several conversations.
    pub fn read(&mut self, ask: &Ask, marks: Vec<ReadUpTo>) -> Result<Outcome, StoreError> {
        let mut parts = Vec::new();
        for up_to in marks.iter().take(MOST_READ) {
            let cid = up_to.cid;
            let Some(hot) = self.hot(ask.app, cid)? else { continue };
            let member = hot.conversation.members.iter().find(|member| member.client == ask.client);
            let Some(joined) = member.map(|member| member.joined) else { continue };
            let mark = ReadMark::said(up_to, up_to.mid.map(MessageId::at), hot.last_at, self.now);
            let mut kept = self.marks_of(ask.app, cid, &ask.client)?;
            let before = unread::unread_after(joined, kept.read);
            if !ReadMark::advance(&mut kept.read, mark) {
                continue;
            }
            self.marks.insert((ask.app, cid, ask.client.clone()), kept.clone());
            self.changes.push(Change::Read { app: ask.app, cid, client: ask.client.clone(), mark });
            parts.push(self.unread_now(ask, cid, hot.conversation.kind, unread::unread_after(joined, kept.read))?);
            let read = Range { from: before + 1, to: mark.message_at, at: self.now };
            parts.extend(self.read_receipts(ask, cid, read)?);
        }
        let Some(cid) = marks.first().map(|mark| mark.cid) else { return Ok(Outcome::answer(None)) };
        Ok(self.told(ask, cid, parts))
    }

    fn told(&self, ask: &Ask, cid: ConvId, parts: Vec<Part>) -> Outcome {
        let delivery = (!parts.is_empty()).then(|| self.delivery(ask, cid, parts));
        Outcome::durable(None, delivery)
    }

    fn marks_of(&self, app: AppId, cid: ConvId, client: &ClientId) -> Result<Marks, StoreError> {
        match self.marks.get(&(app, cid, client.clone())) {
            Some(marks) => Ok(marks.clone()),
            None => self.world.store.marks(app, cid, client),
        }
    }

    /// All sessions of the reader hear the new count, the one that read among them.
    fn unread_now(&self, ask: &Ask, cid: ConvId, kind: Kind, after: Millis) -> Result<Part, StoreError> {
        let count = self.world.store.unread(ask.app, cid, &ask.client, after, MOST_COUNTED)?;
        let last = count.last.map(|last| log_item(last, kind));
        let counted = Counted { count: count.count, mentioned: count.mentioned, last };
        let notice = Notice::Unread { convs: vec![unread::told_of(cid, kind, counted)], as_of: self.now };
        Ok(self.part(notice, Audience::Clients(vec![ask.client.clone()])))
    }

    /// For each sender, the latest of the messages read that wants a receipt.
    fn read_receipts(&self, ask: &Ask, cid: ConvId, read: Range) -> Result<Vec<Part>, StoreError> {
        let mut latest: HashMap<ClientId, MessageId> = HashMap::new();
        for message in self.receipted(ask, cid, read)? {
            latest.insert(message.from, message.mid);
        }
        let receipt = |(from, mid)| {
            let notice = Notice::Receipt { cid, mid, at: self.now, by: ask.client.clone(), read: true };
            self.part(notice, Audience::Clients(vec![from]))
        };
        Ok(latest.into_iter().map(receipt).collect())
    }

    /// Messages of others in a range that were sent with `r`, oldest first.
    fn receipted(&self, ask: &Ask, cid: ConvId, range: Range) -> Result<Vec<Stored>, StoreError> {
        let bound = |timestamp| Some(Bound { timestamp, mid: None, included: true });
        let page =
            Page { start: bound(range.to), end: bound(range.from), direction: Direction::Old, limit: MOST_RECEIPTS };
        let mut messages = self.world.store.page(ask.app, cid, &page)?;
        messages.retain(|message| message.receipt && message.from != ask.client);
        Ok(messages)
    }
}
