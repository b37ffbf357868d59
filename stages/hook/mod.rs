//! Hook: the app's own server is asked or told.
//!
//! Stands beside the line. A before-question's answer goes to route, which waits; who was offline comes back here and goes
//! on to push. Calls run elsewhere: this stage starts them and is called back, so that a slow server holds up no thread.
//! Each call's event stays in the stage until it is over, so that the queue's bound counts calls too.

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::conversation::Kind;
use tidegate_domain::hook::{HookEvent, MessageSent, Offline, ReceiversOffline};
use tidegate_domain::ids::ClientId;
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};

use crate::event::{Answer, Event, Question, Told};
use crate::shared::delivery::among;
use crate::shared::traces::Step;
use crate::shared::world::key_of;
use crate::shared::{World, journeys};

const PUSH: usize = 0;
pub(crate) const OUTPUTS: &[Output] = &[Output { name: "push", kind: OutputKind::OptionalSide, most: 1 }];

/// Above any call's own time-out and retry.
const CALL_TIME: Duration = Duration::from_secs(120);

pub struct Hook(pub Arc<World>);

impl Module<Event> for Hook {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn one_by_one(&self) -> bool {
        true
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Question(question) => key_of((question.ask.app, question.ask.cid)),
            Event::Told(told) => key_of((told.app, told.sent.conversation.id)),
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
            match item {
                Item::New(Event::Question(question)) => {
                    let Question { ask, ticket, .. } = *question;
                    self.0.hooks.message_received(ask, Box::new(move |v| ticket.resume(Answer::Verdict(v))));
                }
                Item::New(Event::Told(told)) => self.tell(*told, batch),
                Item::Resumed(Event::Calling(journey), Ok(Answer::Notification(Some(notification)))) => {
                    batch.emit(PUSH, Event::Push(notification, journey));
                }
                _ => {}
            }
        }
    }
}

impl Worker {
    /// A message went out: word to the app's server, if it wants any, and a push for those who were offline.
    fn tell(&self, told: Told, batch: &mut Batch<'_, Event>) {
        if self.0.hooks.wants(told.app, HookEvent::MessageSent) {
            // Nothing comes of it, so nothing waits for it; the calls are bounded where they are made.
            let ip = self.0.connections.with(told.sent.conn, |connection| connection.origin.ip.to_string().into());
            let (world, mid, from) = (self.0.clone(), told.sent.mid, told.sent.from.clone());
            let done = move |taken| {
                let what = if taken { "told" } else { "failed" };
                let step = || Step::new(world.now(), what, "hook").client(&from).message(mid).note("messageSent");
                world.traces.note(step);
            };
            self.0.hooks.message_sent(message_sent(&told, ip), Box::new(done));
        }
        let is_kept = !told.sent.command.transient && !told.sent.command.will;
        let pushes = is_kept && told.sent.conversation.kind != Kind::Room;
        if pushes && !told.offline.is_empty() && batch.is_bound(PUSH) {
            let asks = self.0.hooks.wants(told.app, HookEvent::ReceiversOffline);
            let ticket = batch.overlap(Event::Calling(told.journey.clone()), CALL_TIME);
            let ask = receivers_offline(told);
            let (world, mid, from) = (self.0.clone(), ask.mid, ask.from.clone());
            let step = move |what, note: &'static str| {
                world.traces.note(|| Step::new(world.now(), what, "hook").client(&from).message(mid).note(note));
            };
            if asks {
                step("asked", "receiversOffline");
            }
            let done = move |Offline { push, failed }: Offline| {
                if failed {
                    step("failed", "receiversOffline");
                }
                if push.is_none() {
                    step("skipped", "no push: asked not to, nobody left to tell, or nothing to say");
                }
                ticket.resume(Answer::Notification(push.map(Box::new)));
            };
            self.0.hooks.receivers_offline(ask, Box::new(done));
        }
    }
}

fn message_sent(told: &Told, ip: Option<Box<str>>) -> MessageSent {
    let sent = &told.sent;
    let (to, offline) = (sent.to.as_deref().map(among), among(&told.offline));
    let receivers = sent.conversation.members.iter().map(|member| &member.client).filter(|c| **c != sent.from);
    let chosen = receivers.filter(|client| to.as_ref().is_none_or(|to| to.contains(client)));
    MessageSent {
        app: told.app,
        cid: sent.conversation.id,
        mid: sent.mid,
        from: sent.from.clone(),
        online: chosen.filter(|client| !offline.contains(client)).cloned().collect(),
        offline: told.offline.clone(),
        transient: sent.command.transient,
        body: sent.command.body.clone(),
        receipt: sent.command.receipt,
        at: sent.at,
        ip,
        journey: journeys::id(told.journey.as_ref()),
    }
}

fn receivers_offline(told: Told) -> ReceiversOffline {
    let Told { app, sent, offline, journey } = told;
    let mentions = &sent.command.mentions;
    let of_offline = |clients: &[ClientId]| {
        let clients = among(clients);
        offline.iter().filter(|client| clients.contains(client)).cloned().collect()
    };
    ReceiversOffline {
        app,
        cid: sent.conversation.id,
        mid: sent.mid,
        from: sent.from.clone(),
        body: sent.command.body.clone(),
        at: sent.at,
        muted: of_offline(&sent.conversation.muted),
        mention_all: mentions.all,
        mentioned_offline: if mentions.all { Vec::new() } else { of_offline(&mentions.clients) },
        push_data: sent.command.push_data.clone(),
        journey: journeys::id(journey.as_ref()),
        offline,
    }
}
