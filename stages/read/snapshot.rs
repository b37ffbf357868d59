//! What a new session missed: unread counts, or the messages themselves for `.1` clients (wire.md 3.11).
//!
//! The session is in the directory already, and the reactor holds back what is delivered to it. The snapshot says up to
//! which time of each conversation it counted; the reactor drops what waited up to there, and sends the rest. So each
//! message is either counted or delivered, and never both.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_domain::command::{Bound, Direction};
use tidegate_domain::conversation::Kind;
use tidegate_domain::history;
use tidegate_domain::ids::{ConvId, Millis};
use tidegate_domain::marks;
use tidegate_domain::reply::{Message, Notice};
use tidegate_domain::unread::{self, Counted, MOST_CONVERSATIONS, MOST_COUNTED, Standing};
use tidegate_store::{Page, StoreError, Stored};

use super::Worker;
use crate::event::{Ask, Snapshot};
use crate::mail::Lift;
use crate::shared::history::log_item;
use crate::shared::world::key_of;

/// Conversations of one client that are looked at.
const MOST_LOOKED_AT: usize = 2_000;

/// Messages of one conversation that are looked at for a `.1` client's backlog.
const MOST_MESSAGES: usize = 1_000;

/// C# knows its client only after it has handled `opened` (wire.md 3.1.1).
const AFTER_OPENED: Duration = Duration::from_millis(50);

/// What is sent, and up to which time each conversation is counted in it.
type Missed = (Vec<Bytes>, Vec<(u64, Millis)>);

impl Worker {
    pub(super) fn snapshot(&self, ask: &Ask, snapshot: &Snapshot) -> Lift {
        let (first, counted) = self.missed(ask, snapshot).unwrap_or_else(|error| {
            log::error!("the unread of a client could not be read: {error}");
            (Vec::new(), Vec::new())
        });
        Lift { session: ask.session(), first, counted: Arc::from(counted), delay: AFTER_OPENED }
    }

    fn missed(&self, ask: &Ask, snapshot: &Snapshot) -> Result<Missed, StoreError> {
        let standings = self.standings(ask)?;
        let mut counted: HashMap<ConvId, Millis> =
            standings.iter().map(|standing| (standing.cid, standing.last_at.unwrap_or(0))).collect();
        let now = self.0.now();
        let first = match snapshot.offline_pushed {
            true => self.backlog(ask, standings, &mut counted, now)?,
            false => {
                let told = unread::snapshot(standings, snapshot.last_unread, |standing| {
                    let unread =
                        self.0.store.unread(ask.app, standing.cid, &ask.client, standing.after(), MOST_COUNTED)?;
                    // What was counted just now may be more than what was there a moment ago.
                    if let Some(last) = &unread.last {
                        counted.insert(standing.cid, last.at);
                    }
                    Ok::<_, StoreError>(Counted {
                        count: unread.count,
                        mentioned: unread.mentioned,
                        last: unread.last.map(|last| log_item(last, standing.kind)),
                    })
                })?;
                match told.is_empty() {
                    true => Vec::new(),
                    false => {
                        // A conversation's times may run ahead of the clock: what is counted here is known from here on.
                        let counted = told.iter().filter_map(|unread| unread.last.as_ref()).map(|last| last.at);
                        let as_of = counted.fold(snapshot.as_of, Millis::max);
                        vec![tidegate_protocol::notice(now, &Notice::Unread { convs: told, as_of })]
                    }
                }
            }
        };
        let counted = counted.into_iter().map(|(cid, at)| (key_of((ask.app, cid)), at)).collect();
        Ok((first, counted))
    }

    fn standings(&self, ask: &Ask) -> Result<Vec<Standing>, StoreError> {
        let mut standings = Vec::new();
        for cid in self.0.store.conversations_of(ask.app, &ask.client, MOST_LOOKED_AT)? {
            let Some(conversation) = self.conversation(ask.app, cid)? else { continue };
            let member = conversation.members.iter().find(|member| member.client == ask.client);
            let Some(joined) = member.map(|member| member.joined) else { continue };
            standings.push(Standing {
                cid,
                kind: conversation.kind,
                joined,
                read: self.0.store.marks(ask.app, cid, &ask.client)?.read,
                last_at: self.0.store.last(ask.app, cid)?.map(|last| last.at),
            });
        }
        Ok(standings)
    }

    /// `.1` mode: what was not acknowledged, one by one, the oldest first.
    fn backlog(
        &self,
        ask: &Ask,
        mut standings: Vec<Standing>,
        counted: &mut HashMap<ConvId, Millis>,
        now: Millis,
    ) -> Result<Vec<Bytes>, StoreError> {
        standings.retain(|standing| standing.kind != Kind::Room && standing.last_at > Some(standing.joined));
        standings.sort_unstable_by_key(|standing| std::cmp::Reverse(standing.last_at));
        let mut frames = Vec::new();
        for standing in standings.into_iter().take(MOST_CONVERSATIONS) {
            let (messages, has_more) = self.not_delivered(ask, &standing, counted)?;
            frames.extend(messages.into_iter().map(|message| {
                let message = Message {
                    cid: standing.cid,
                    mid: message.mid,
                    from: message.from,
                    at: message.at,
                    body: message.body,
                    transient: false,
                    mentions: message.mentions,
                    kind: standing.kind,
                    offline: true,
                    has_more,
                    patched_at: message.patched_at,
                };
                tidegate_protocol::notice(now, &Notice::Message(message))
            }));
        }
        Ok(frames)
    }

    /// What others sent after the read mark and the client has not acknowledged, the oldest first; and whether there is
    /// more than fits. Says up to where it looked.
    fn not_delivered(
        &self,
        ask: &Ask,
        standing: &Standing,
        counted: &mut HashMap<ConvId, Millis>,
    ) -> Result<(Vec<Stored>, bool), StoreError> {
        let delivered = self.0.store.marks(ask.app, standing.cid, &ask.client)?.delivered;
        let mut start = Bound { timestamp: standing.after(), mid: None, included: false };
        let (mut missed, mut looked_at) = (Vec::new(), 0);
        while missed.len() <= MOST_COUNTED && looked_at < MOST_MESSAGES {
            let page = Page { start: Some(start), end: None, direction: Direction::New, limit: MOST_COUNTED };
            let messages = self.0.store.page(ask.app, standing.cid, &page)?;
            let at_end = messages.len() < MOST_COUNTED;
            looked_at += messages.len();
            if let Some(last) = messages.last() {
                counted.insert(standing.cid, last.at);
                start = history::beyond(last.at, last.mid);
            }
            let is_missed =
                |message: &Stored| message.from != ask.client && marks::delivered_at(&delivered, message.at).is_none();
            missed.extend(messages.into_iter().filter(is_missed));
            if at_end {
                break;
            }
        }
        let has_more = missed.len() > MOST_COUNTED;
        missed.truncate(MOST_COUNTED);
        Ok((missed, has_more))
    }
}
