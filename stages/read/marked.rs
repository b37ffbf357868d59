//! What a client has got or read, told once it is committed: its own sessions hear what is unread now, senders get the
//! receipts that they asked for (wire.md 3.10, 3.12).
//!
//! Goes by client, as its log-in's snapshot does, so that the later count is the one that stays. Where this stage was
//! full nothing is told: the client learns what is unread at its next log-in.

use std::collections::BTreeMap;

use tidegate_domain::command::{Bound, Direction};
use tidegate_domain::conversation::Kind;
use tidegate_domain::ids::{ClientId, ConvId, MessageId, Millis};
use tidegate_domain::reply::{Notice, Unread};
use tidegate_domain::unread::{self, Counted, MOST_COUNTED};
use tidegate_store::{Page, StoreError, Stored};

use super::Worker;
use crate::event::{Ask, Mark, Marked};
use crate::mail::{Class, Deliver, Mail};
use crate::shared::history::log_item;

/// Receipts for one command, and messages that are looked at for those of one conversation, the newest first; what is
/// older is in `max_read`.
const MOST_RECEIPTS: usize = 100;

impl Worker {
    pub(super) fn marked(&self, ask: &Ask, marked: &[Marked]) -> Vec<Mail> {
        let (mut convs, mut as_of, mut receipts) = (Vec::new(), 0, Vec::new());
        for Marked { cid, at, what } in marked {
            let told = match what {
                Mark::Delivered(ranges) => ranges.iter().try_for_each(|range| {
                    let asked = self.asked(ask, *cid, range.from, range.to)?;
                    receipts.extend(asked.into_iter().map(|message| (message.from, *cid, message.mid, *at, false)));
                    Ok(())
                }),
                Mark::Read { kind, after, up_to } => {
                    self.unread_now(ask, *cid, *kind, *after.max(up_to)).and_then(|now| {
                        convs.push(now);
                        as_of = *at;
                        let latest = self.latest(ask, *cid, after.saturating_add(1), *up_to)?;
                        receipts.extend(latest.into_iter().map(|(from, mid)| (from, *cid, mid, *at, true)));
                        Ok(())
                    })
                }
            };
            if let Err(error) = told {
                log::error!("what a client has read of {cid} could not be counted: {error}");
            }
        }
        let unread = (!convs.is_empty()).then(|| (ask.client.clone(), Notice::Unread { convs, as_of }));
        let receipts = receipts
            .into_iter()
            .take(MOST_RECEIPTS)
            .map(|(from, cid, mid, at, read)| (from, Notice::Receipt { cid, mid, at, by: ask.client.clone(), read }));
        unread.into_iter().chain(receipts).filter_map(|(to, notice)| self.tell(ask, &to, &notice)).collect()
    }

    /// A notice for all sessions of a client, if it has any.
    fn tell(&self, ask: &Ask, client: &ClientId, notice: &Notice) -> Option<Mail> {
        let to = self.0.sessions_of(ask.app, [client], None, &mut Vec::new());
        (!to.is_empty()).then(|| {
            Mail::Deliver(Deliver {
                to,
                frame: tidegate_protocol::notice(self.0.now(), notice),
                class: Class::Notice,
                cause: Some(ask.conn),
                since_ns: 0,
                position: None,
                going: None,
            })
        })
    }

    fn unread_now(&self, ask: &Ask, cid: ConvId, kind: Kind, after: Millis) -> Result<Unread, StoreError> {
        let count = self.0.store.unread(ask.app, cid, &ask.client, after, MOST_COUNTED)?;
        let last = count.last.map(|last| log_item(last, kind));
        Ok(unread::told_of(cid, kind, Counted { count: count.count, mentioned: count.mentioned, last }))
    }

    /// For each sender, the latest of the messages read that wants a receipt.
    fn latest(
        &self,
        ask: &Ask,
        cid: ConvId,
        from: Millis,
        to: Millis,
    ) -> Result<BTreeMap<ClientId, MessageId>, StoreError> {
        Ok(self.asked(ask, cid, from, to)?.into_iter().map(|message| (message.from, message.mid)).collect())
    }

    /// Messages of others from..=to that were sent with `r`, oldest first.
    fn asked(&self, ask: &Ask, cid: ConvId, from: Millis, to: Millis) -> Result<Vec<Stored>, StoreError> {
        if from > to {
            return Ok(Vec::new());
        }
        let bound = |timestamp| Some(Bound { timestamp, mid: None, included: true });
        let page = Page { start: bound(to), end: bound(from), direction: Direction::Old, limit: MOST_RECEIPTS };
        let mut messages = self.0.store.page(ask.app, cid, &page)?;
        messages.retain(|message| message.receipt && message.from != ask.client);
        Ok(messages)
    }
}
