//! Read: everything that is answered from the disk and changes nothing.
//!
//! Stands beside the line: history pages, counts, queries and cold conversations never delay an acknowledgement. Full, it
//! refuses. It fills the cache of conversations on the way. Reads have no order among themselves.

mod history;
mod marked;
mod query;
mod snapshot;

use std::sync::Arc;

use tidegate_domain::conversation::Conversation;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{AppId, ConvId};
use tidegate_domain::marks;
use tidegate_domain::reply::{Answer, MemberMarks};
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};
use tidegate_store::StoreError;

use crate::event::{self, Ask, Event, Reading};
use crate::mail::Mail;
use crate::shared::journeys::said;
use crate::shared::world::key_of;
use crate::shared::{World, reply};

const NET: usize = 0;
pub(crate) const OUTPUTS: &[Output] = &[
    // An answer; or the word on what is unread and a receipt, one list where there are more.
    Output { name: "net", kind: OutputKind::Sink("net"), most: 2 },
];

pub struct Read(pub Arc<World>);

impl Module<Event> for Read {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn one_by_one(&self) -> bool {
        true
    }

    fn blocks(&self) -> bool {
        true
    }

    fn answers(&self) -> bool {
        true
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Reading(reading) => match &**reading {
                Reading::Load { app, cid, .. } | Reading::Resent { app, cid, .. } => key_of((app, cid)),
                Reading::History { ask, .. }
                | Reading::Query { ask, .. }
                | Reading::Snapshot { ask, .. }
                | Reading::MaxRead { ask, .. }
                | Reading::IsMember { ask, .. }
                | Reading::Marked { ask, .. } => key_of((ask.app, &ask.client)),
            },
            _ => 0,
        }
    }

    fn worker(&self) -> Box<dyn Stage<Event>> {
        Box::new(Worker(self.0.clone()))
    }
}

struct Worker(Arc<World>);

impl Stage<Event> for Worker {
    fn run(&mut self, batch: &mut Batch<'_, Event>) {
        while let Some(item) = batch.next() {
            let Item::New(Event::Reading(reading)) = item else { continue };
            match *reading {
                Reading::Load { app, cid, ticket, journey } => match self.conversation(app, cid) {
                    Ok(found) => ticket.resume(event::Answer::Loaded(found)),
                    Err(error) => {
                        log::error!(journey = said(journey.as_ref()); "conversation {cid} could not be read: {error}");
                        ticket.resume(event::Answer::Unreadable);
                    }
                },
                Reading::Resent { app, cid, client, dedupe, ticket, journey } => {
                    match self.0.store.resent(app, cid, &client, &dedupe) {
                        Ok(found) => ticket.resume(event::Answer::Resent(found)),
                        Err(error) => {
                            let journey = said(journey.as_ref());
                            log::error!(journey = journey; "a resend in {cid} could not be looked up: {error}");
                            ticket.resume(event::Answer::Unreadable);
                        }
                    }
                }
                Reading::Snapshot { ask, snapshot } => {
                    let lift = self.snapshot(&ask, &snapshot);
                    batch.emit(NET, Event::Mail(Mail::Lift(lift)));
                }
                Reading::History { ask, logs, conversation } => {
                    let page = self.history(&ask, &logs, &conversation);
                    self.answer(&ask, page, Code::ConversationLogFailed, batch);
                }
                Reading::Query { ask, query } => {
                    let rows = self.query(&ask, &query);
                    self.answer(&ask, rows, Code::ConversationQueryFailed, batch);
                }
                Reading::MaxRead { ask, cid, all_members, conversation } => {
                    let marks = self.max_read(&ask, cid, all_members, &conversation);
                    self.answer(&ask, marks, Code::ConversationInternal, batch);
                }
                Reading::IsMember { ask, cids } => {
                    let members = self.is_member(&ask, &cids);
                    self.answer(&ask, members, Code::ConversationInternal, batch);
                }
                Reading::Marked { ask, marked } => {
                    let mut mail = self.marked(&ask, &marked);
                    match mail.len() {
                        0 => {}
                        1 | 2 => mail.drain(..).for_each(|mail| batch.emit(NET, Event::Mail(mail))),
                        _ => batch.emit(NET, Event::Mail(Mail::Several(mail))),
                    }
                }
            }
        }
    }
}

impl Worker {
    fn answer(&self, ask: &Ask, answer: Result<Answer, StoreError>, code: Code, batch: &mut Batch<'_, Event>) {
        let answer = answer.unwrap_or_else(|error| {
            log::error!("a read for a client failed: {error}");
            Answer::Failed(Failure::because(code, "the server could not read its disk"))
        });
        if let Some(event) = reply::answer(ask, self.0.now(), &answer) {
            batch.emit(NET, event);
        }
    }

    /// From the cache, or the store and then the cache.
    fn conversation(&self, app: AppId, cid: ConvId) -> Result<Option<Arc<Conversation>>, StoreError> {
        if let Some(conversation) = self.0.views.get(app, cid) {
            return Ok(Some(conversation));
        }
        let found = self.0.store.conversation(app, cid)?;
        Ok(found.map(|conversation| self.0.views.put(app, Arc::new(conversation))))
    }

    /// How far the others have got and read (wire.md 3.6.7).
    fn max_read(
        &self,
        ask: &Ask,
        cid: ConvId,
        all_members: bool,
        conversation: &Conversation,
    ) -> Result<Answer, StoreError> {
        let marks = self.0.store.all_marks(ask.app, cid)?;
        let others = marks.into_iter().filter(|(client, _)| *client != ask.client && conversation.has_member(client));
        let members: Vec<MemberMarks> = others
            .map(|(client, marks)| MemberMarks {
                client,
                read: marks.read.map(|read| read.shown()),
                delivered: marks::last_delivery(&marks.delivered).max(marks.read.map(|read| read.shown())),
            })
            .collect();
        Ok(match all_members {
            true => Answer::MaxReadOfAll { cid, members },
            false => Answer::MaxRead {
                cid,
                read: members.iter().filter_map(|member| member.read).max(),
                delivered: members.iter().filter_map(|member| member.delivered).max(),
            },
        })
    }

    fn is_member(&self, ask: &Ask, cids: &[Box<str>]) -> Result<Answer, StoreError> {
        let mut results = serde_json::Map::new();
        for text in cids.iter().take(MOST_ASKED) {
            let conversation = match ConvId::parse(text) {
                ConvId::Nowhere => None,
                cid => self.conversation(ask.app, cid)?,
            };
            let is_member = conversation.is_some_and(|conversation| {
                conversation.has_member(&ask.client) || self.0.rooms.contains(ask.app, conversation.id, &ask.client)
            });
            results.insert(text.to_string(), is_member.into());
        }
        Ok(Answer::IsMember { json: serde_json::Value::Object(results).to_string() })
    }
}

/// Conversations in one `is_member`.
const MOST_ASKED: usize = 100;
