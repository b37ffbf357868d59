//! Persist: what was asked for becomes true, or does not.
//!
//! Applies operations in their conversation's lane against the truth, the uncommitted rest of the batch included; commits
//! a whole batch of senders with one write; then, in this order: publishes to the caches, replies, hands on to fan-out.
//! A failed commit refuses the whole batch, and nothing of it is published.

mod conversation;
mod draft;
mod marks;
mod message;
mod newest;
mod truth;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{AppId, ConnId, ConvId, Millis};
use tidegate_domain::reply::Answer;
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};
use tidegate_store::StoreError;

use self::draft::{Draft, Outcome};
use self::truth::Truth;
use crate::event::{Ask, Event, Operation, Reading, Write};
use crate::mail::Mail;
use crate::route::lane_of_operation;
use crate::shared::journeys::{self, said};
use crate::shared::traces::Step;
use crate::shared::{World, reply};

// First, so that an acknowledgement is with the reactor before its message is with fan-out.
const NET: usize = 0;
const FAN_OUT: usize = 1;
const LOOKUP: usize = 2;
pub(crate) const OUTPUTS: &[Output] = &[
    // An answer, and the creator's place in a new room and none in another.
    Output { name: "net", kind: OutputKind::Sink("net"), most: 3 },
    Output { name: "fan_out", kind: OutputKind::Stage, most: 1 },
    // What was marked, where pages of history say who is to hear of it.
    Output { name: "lookup", kind: OutputKind::Side, most: 1 },
];

pub struct Persist {
    world: Arc<World>,
    truth: Arc<Truth>,
}

impl Persist {
    pub fn new(world: Arc<World>) -> Self {
        Persist { truth: Arc::new(Truth::new(world.store.clone())), world }
    }
}

impl Module<Event> for Persist {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn blocks(&self) -> bool {
        true
    }

    /// RocksDB writes and syncs for all who wait by then at once.
    fn waits_together(&self) -> bool {
        true
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Write(write) => lane_of_operation(write.ask.app, &write.ask, &write.operation),
            _ => 0,
        }
    }

    fn worker(&self) -> Box<dyn Stage<Event>> {
        Box::new(Worker { world: self.world.clone(), truth: self.truth.clone(), complained: 0, unsaid: 0 })
    }
}

struct Worker {
    world: Arc<World>,
    truth: Arc<Truth>,
    complained: Millis,
    unsaid: usize,
}

/// A disk that is full fails every commit: one line in so long says it.
const COMPLAIN_EVERY_MS: Millis = 5_000;

impl Stage<Event> for Worker {
    fn run(&mut self, batch: &mut Batch<'_, Event>) {
        let (world, truth) = (self.world.clone(), self.truth.clone());
        let mut draft = Draft::new(&world, &truth);
        let mut outcomes = Vec::with_capacity(batch.len());
        while let Some(item) = batch.next() {
            if let Item::New(Event::Write(write)) = item {
                let Write { ask, operation } = *write;
                let is_append = operation.is_append();
                let outcome = draft.apply(&ask, operation).unwrap_or_else(|error| {
                    log::error!(journey = said(ask.journey.as_ref()); "an operation could not be read for: {error}");
                    self.unreadable(is_append, &error)
                });
                outcomes.push((ask, outcome));
            }
        }
        // Nothing may fail between the commit and the word of it; so the time is the draft's.
        let now = draft.now;
        let committed = draft.commit();
        if let Err(error) = &committed {
            self.complain(&error.to_string(), outcomes.len(), now);
        }
        for (ask, outcome) in outcomes {
            let mut outcome = match outcome.durable && committed.is_err() {
                true => Outcome::answer(refused(&outcome)),
                false => outcome,
            };
            let marked = std::mem::take(&mut outcome.marked);
            let place = (ask.conn, outcome.delivery.as_ref().map(|delivery| (delivery.app, delivery.cid)));
            // What is committed cannot be refused any more: whoever would have heard of it is closed instead, and learns
            // it by unread.
            let told = panic::catch_unwind(AssertUnwindSafe(|| self.tell(&ask, outcome, now, batch)));
            if told.is_err() {
                log::error!(
                    journey = said(ask.journey.as_ref());
                    "telling of a committed operation panicked; its conversation's sessions are closed"
                );
                batch.emit(NET, Event::Mail(Mail::Several(self.close_all(place))));
            }
            if !marked.is_empty() {
                batch.emit(LOOKUP, Event::Reading(Box::new(Reading::Marked { ask, marked })));
            }
        }
    }
}

impl Worker {
    fn complain(&mut self, error: &str, operations: usize, now: Millis) {
        self.unsaid += operations;
        if now - self.complained >= COMPLAIN_EVERY_MS {
            log::error!("commits fail, {} operations are refused: {error}", self.unsaid);
            (self.complained, self.unsaid) = (now, 0);
        }
    }

    /// Answers, and hands on what others are to hear.
    fn tell(&self, ask: &Ask, outcome: Outcome, now: Millis, batch: &mut Batch<'_, Event>) {
        let Outcome { answer, delivery, join, .. } = outcome;
        self.note(ask, answer.as_ref(), now);
        if let Some(event) = answer.and_then(|answer| reply::answer(ask, now, &answer)) {
            batch.emit(NET, event);
        }
        if let Some(cid) = join {
            let mail = self.world.enter_room(ask.app, cid, &ask.session());
            mail.into_iter().flatten().for_each(|mail| batch.emit(NET, Event::Mail(mail)));
        }
        if let Some(delivery) = delivery {
            batch.emit(FAN_OUT, Event::Delivery(delivery));
        }
    }

    /// An end to the asker's connection and to those of its conversation's members.
    fn close_all(&self, (asker, conversation): (ConnId, Option<(AppId, ConvId)>)) -> Vec<Mail> {
        let members = conversation.map(|(app, cid)| self.world.member_connections(app, cid)).unwrap_or_default();
        members.into_iter().chain([asker]).map(|conn| Mail::Close { conn, code: Code::Internal }).collect()
    }

    /// Names a message's journey, and what became of it.
    fn note(&self, ask: &Ask, answer: Option<&Answer>, now: Millis) {
        let step = |what, mid| Step::new(now, what, "persist").by(ask).message(mid);
        match answer {
            Some(Answer::Sent { mid, .. }) => {
                if let Some(journey) = &ask.journey {
                    self.world.journeys.name(*mid, journey);
                    journey.note(journeys::OUTCOME, "stored");
                }
                self.world.traces.note(|| step("stored", *mid));
            }
            Some(Answer::NotSent { failure, mid, .. }) => {
                if let Some(journey) = &ask.journey {
                    journeys::refused(journey, failure.code);
                }
                self.world.traces.note(|| step("refused", *mid).code(failure.code.number()));
            }
            _ => {}
        }
    }

    fn unreadable(&self, is_append: bool, error: &StoreError) -> Outcome {
        let detail = match error {
            StoreError::Damaged { .. } => "stored data is damaged; the server's log says where",
            _ => "the server could not read its disk",
        };
        let failure = Failure::because(Code::Internal, detail);
        let at = self.world.now();
        match is_append {
            true => Outcome::answer(Answer::NotSent { failure, mid: self.world.message_id(at), at }),
            false => Outcome::failed(failure),
        }
    }
}

/// What the asker of an operation hears whose commit failed.
fn refused(outcome: &Outcome) -> Option<Answer> {
    let failure = Failure::because(Code::Internal, "the server could not write this down; nothing was changed");
    match &outcome.answer {
        Some(Answer::Sent { mid, at, .. } | Answer::NotSent { mid, at, .. }) => {
            Some(Answer::NotSent { failure, mid: *mid, at: *at })
        }
        Some(_) => Some(Answer::Failed(failure)),
        None => None,
    }
}

impl Operation {
    /// Whether its failure is an `ack`.
    fn is_append(&self) -> bool {
        matches!(self, Operation::Append { .. })
    }
}
