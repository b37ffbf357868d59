//! Hook: the app's own server is asked or told.
//!
//! Stands beside the line. A before-question's answer goes to route, which waits; who was offline comes back here and goes
//! on to push. Calls run elsewhere: this stage starts them and is called back, so that a slow server holds up no thread.
//! Each call's event stays in the stage until it is over, so that the queue's bound counts calls too.

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::ids::AppId;
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};

use crate::event::{Answer, Event, Question, Told};
use crate::shared::World;
use crate::shared::world::key_of;

const PUSH: usize = 0;
pub(crate) const OUTPUTS: &[Output] = &[Output { name: "push", kind: OutputKind::OptionalSide, most: 1 }];

/// Above any call's own time-out and retry.
const CALL_TIME: Duration = Duration::from_secs(120);

pub struct Hook(pub Arc<World>);

impl Module<Event> for Hook {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Question(question) => key_of((question.ask.app, question.ask.cid)),
            Event::Told(told) => {
                let (app, cid): (AppId, _) = match &**told {
                    Told::Sent(sent) => (sent.app, sent.cid),
                    Told::Offline(offline) => (offline.app, offline.cid),
                };
                key_of((app, cid))
            }
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
                    let Question { ask, ticket } = *question;
                    self.0.hooks.message_received(ask, Box::new(move |v| ticket.resume(Answer::Verdict(v))));
                }
                Item::New(Event::Told(told)) => self.tell(*told, batch),
                Item::Resumed(_, Ok(Answer::Notification(Some(notification)))) => {
                    batch.emit(PUSH, Event::Push(notification));
                }
                _ => {}
            }
        }
    }
}

impl Worker {
    fn tell(&self, told: Told, batch: &mut Batch<'_, Event>) {
        match told {
            Told::Sent(sent) => {
                let place = Event::Told(Box::new(Told::Sent(sent.clone())));
                let ticket = batch.overlap(place, CALL_TIME);
                self.0.hooks.message_sent(sent, Box::new(move || ticket.resume(Answer::Done)));
            }
            Told::Offline(offline) => {
                let place = Event::Told(Box::new(Told::Offline(offline.clone())));
                let ticket = batch.overlap(place, CALL_TIME);
                let done = move |notification: Option<_>| {
                    ticket.resume(Answer::Notification(notification.map(Box::new)));
                };
                self.0.hooks.receivers_offline(offline, Box::new(done));
            }
        }
    }
}
