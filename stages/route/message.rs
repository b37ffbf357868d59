//! A message's checks, and the question to a before-hook (wire.md 3.8; http.md 3.2).

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::app::OnFailure;
use tidegate_domain::command::{Priority, Send as SendCommand};
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::hook::{HookEvent, MessageReceived, Verdict};
use tidegate_domain::ids::{AppId, ClientId};
use tidegate_domain::message;
use tidegate_domain::reply::Answer;
use tidegate_engine::{Batch, Late};

use super::{BEFORE, LOOKUP, TRANSIENT, Worker};
use crate::event::{self, Ask, Checked, Event, Operation, Question, Reading, Task, Work};
use crate::shared::delivery::{self, Accepted};
use crate::shared::traces::Step;
use crate::shared::twins::{Outcome, Place};
use crate::shared::{journeys, tape};

/// Above any webhook's own time-out: the hook stage answers in time, this is for when it cannot.
const VERDICT_TIME: Duration = Duration::from_secs(60);

const PASSED: &str = "messageReceived; the message went on";

/// How long a message waits for whether it was sent before.
const LOOKUP_TIME: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) fn send(
        &self,
        ask: Ask,
        send: Box<SendCommand>,
        conversation: Arc<Conversation>,
        batch: &mut Batch<'_, Event>,
    ) {
        if let Some(journey) = &ask.journey {
            journeys::describe(journey, &send, conversation.kind);
        }
        let allowed = message::check_size(&send).and_then(|()| conversation.may_send(&ask.client));
        if let Err(failure) = allowed {
            return self.not_sent(&ask, failure, batch);
        }
        if self.is_crowded(&ask, &send, &conversation, batch.now()) {
            return self.not_sent(&ask, Code::Overloaded.into(), batch);
        }
        let checked = Checked { send, conversation, is_asked: false, first: None };
        if !batch.is_bound(BEFORE) || !self.world.hooks.wants(ask.app, HookEvent::MessageReceived) {
            return self.accept(ask, checked, batch);
        }
        match checked.send.dedupe.clone() {
            Some(dedupe) if !checked.send.transient && !checked.send.will => self.look_up(ask, checked, dedupe, batch),
            _ => self.ask_hook(ask, checked, batch),
        }
    }

    /// It is asked before a hook is, and counted after: what the app's server has judged is not refused any more, and for
    /// how long that thinks is nobody's burden. A will is only kept.
    fn is_crowded(&self, ask: &Ask, send: &SendCommand, conversation: &Conversation, now_ns: u64) -> bool {
        let is_droppable = send.transient || send.priority == Priority::Low;
        !send.will && self.world.crowds.is_crowded(ask.app, conversation, is_droppable, now_ns)
    }

    /// Before the hook is asked: a resend shall not ask it again, nor while its first is still there.
    fn look_up(&self, ask: Ask, mut checked: Checked, dedupe: Box<str>, batch: &mut Batch<'_, Event>) {
        let (app, cid, client, journey) = (ask.app, checked.conversation.id, ask.client.clone(), ask.journey.clone());
        let token = (app, cid, client.clone(), dedupe.clone());
        let (is_later, time) = match self.twins.place(&token) {
            Place::Known(verdict) => return self.conclude(ask, checked, Outcome::Judged(verdict), batch),
            Place::Later => (true, VERDICT_TIME),
            Place::First(first) => {
                checked.first = Some(first);
                (false, LOOKUP_TIME)
            }
        };
        let task = Event::Task(Box::new(Task { ask, what: Work::Message(Box::new(checked)) }));
        let ticket = batch.overlap(task, time);
        if is_later {
            return self.twins.wait(&token, ticket);
        }
        batch.emit(LOOKUP, Event::Reading(Box::new(Reading::Resent { app, cid, client, dedupe, ticket, journey })));
    }

    fn ask_hook(&self, ask: Ask, mut checked: Checked, batch: &mut Batch<'_, Event>) {
        checked.is_asked = true;
        self.note("asked", &ask, "messageReceived");
        let (question, journey) = (self.question(&ask, &checked), ask.journey.clone());
        let task = Event::Task(Box::new(Task { ask, what: Work::Message(Box::new(checked)) }));
        let ticket = batch.overlap(task, VERDICT_TIME);
        batch.emit(BEFORE, Event::Question(Box::new(Question { ask: question, ticket, journey })));
    }

    fn question(&self, ask: &Ask, checked: &Checked) -> MessageReceived {
        let ip = self.world.connections.with(ask.conn, |connection| connection.origin.ip.to_string().into());
        MessageReceived {
            app: ask.app,
            cid: checked.conversation.id,
            from: ask.client.clone(),
            to: others(&checked.conversation, &ask.client),
            transient: checked.send.transient,
            body: checked.send.body.clone(),
            receipt: checked.send.receipt,
            at: self.world.now(),
            ip,
            journey: journeys::id(ask.journey.as_ref()),
        }
    }

    /// The hook has spoken, or will not.
    pub(super) fn judged(
        &self,
        mut ask: Ask,
        mut checked: Checked,
        answer: Result<event::Answer, Late>,
        batch: &mut Batch<'_, Event>,
    ) {
        let outcome = match answer {
            Ok(event::Answer::Verdict(verdict)) => Outcome::Judged(verdict),
            Ok(event::Answer::Resent(Some((mid, at)))) => Outcome::Sent(mid, at),
            // Where it cannot be said, the hook is rather asked once too often: persist looks again.
            _ if !checked.is_asked => return self.ask_hook(ask, checked, batch),
            Ok(_) | Err(_) if self.refuses_on_failure(ask.app) => {
                let cause = match answer {
                    Err(Late::Deadline) => "no answer in time",
                    Err(Late::Refused) => "too many calls are waiting",
                    _ => "the call was lost",
                };
                let detail = format!("hook messageReceived failed: {cause}");
                Outcome::Judged(Verdict::Drop(Failure::because(Code::MessageRejectedByApp, detail)))
            }
            Ok(_) | Err(_) => Outcome::Judged(Verdict::Pass { body: None, to: None, failed: true }),
        };
        if let Some(first) = checked.first.take() {
            first.share(&outcome);
            ask.held = Some(Box::new((ask.held.take(), first)));
        }
        self.conclude(ask, checked, outcome, batch);
    }

    fn conclude(&self, ask: Ask, mut checked: Checked, outcome: Outcome, batch: &mut Batch<'_, Event>) {
        match outcome {
            Outcome::Sent(mid, at) => {
                if let Some(journey) = &ask.journey {
                    journey.note(journeys::OUTCOME, "sent before");
                }
                self.answer(&ask, &Answer::Sent { mid, at, cid: checked.conversation.id }, batch);
            }
            Outcome::Judged(Verdict::Drop(failure)) => {
                let (code, note) = (failure.code.number(), "by messageReceived, or for its failure");
                let step = || Step::new(self.world.now(), "refused", "hook").by(&ask).code(code).note(note);
                self.world.traces.note(step);
                self.not_sent(&ask, failure, batch);
            }
            Outcome::Judged(Verdict::Pass { body, to, failed }) => {
                if failed {
                    self.note("failed", &ask, PASSED);
                }
                self.note_changes(&ask, body.is_some(), to.as_deref());
                if let Some(body) = body {
                    checked.send.body = body;
                }
                self.pass(ask, checked, to, batch);
            }
        }
    }

    fn note(&self, what: &'static str, ask: &Ask, note: &'static str) {
        self.world.traces.note(|| Step::new(self.world.now(), what, "hook").by(ask).note(note));
    }

    fn note_changes(&self, ask: &Ask, body: bool, to: Option<&[ClientId]>) {
        let note = match (body, to) {
            (false, None) => return,
            (true, None) => "content",
            (false, Some(_)) => "toPeers",
            (true, Some(_)) => "content, and toPeers",
        };
        let to = to.unwrap_or_default();
        self.world.traces.note(|| Step::new(self.world.now(), "changed", "hook").by(ask).note(note).to(to.iter()));
    }

    fn refuses_on_failure(&self, app: AppId) -> bool {
        let asks = |hook: &&tidegate_domain::app::Webhook| hook.events.contains(&HookEvent::MessageReceived);
        self.world.apps.get(app).webhooks.iter().filter(asks).any(|hook| hook.on_failure == OnFailure::Refuse)
    }

    pub(super) fn accept(&self, ask: Ask, checked: Checked, batch: &mut Batch<'_, Event>) {
        self.pass(ask, checked, None, batch);
    }

    fn pass(&self, ask: Ask, checked: Checked, to: Option<Vec<ClientId>>, batch: &mut Batch<'_, Event>) {
        let Checked { send, conversation, .. } = checked;
        let now = self.world.now();
        self.world.traces.note(|| Step::new(now, "admitted", "route").by(&ask));
        if send.will {
            return self.keep_will(&ask, send, to, batch);
        }
        self.world.tape.note(&self.world.rooms, || tape::Accepted {
            app: ask.app,
            sender: &ask.client,
            conversation: &conversation,
            received_ns: ask.received_ns,
            size: send.body.bytes().len(),
            transient: send.transient,
        });
        let going = self.world.crowds.set_out(ask.app, &conversation, batch.now());
        if !send.transient {
            return self.write(ask, Operation::Append { send, to, going }, batch);
        }
        let at = self.world.now();
        let mid = self.world.message_id(at);
        if let Some(journey) = &ask.journey {
            self.world.journeys.name(mid, journey);
            journey.note(journeys::OUTCOME, "sent");
        }
        self.answer(&ask, &Answer::Sent { mid, at, cid: conversation.id }, batch);
        let delivery = delivery::of_message(&ask, Accepted { conversation, send, mid, at, to, going }, at);
        batch.emit(TRANSIENT, Event::Delivery(Box::new(delivery)));
    }
}

/// The members but the sender; in rooms nobody can say (http.md 3.2).
fn others(conversation: &Conversation, sender: &ClientId) -> Vec<ClientId> {
    match conversation.kind {
        Kind::Room => Vec::new(),
        _ => conversation.members.iter().map(|m| &m.client).filter(|c| *c != sender).cloned().collect(),
    }
}
