//! Push: a notification goes to a provider.
//!
//! The last stage. As in hook, the call runs elsewhere and its event stays until it is over; a slow provider fills this
//! queue, and what comes then is dropped and counted, never waited for.

use std::sync::Arc;
use std::time::Duration;

use tidegate_engine::{Batch, Item, Module, Output, Stage};

use crate::event::{Answer, Event};
use crate::shared::World;
use crate::shared::traces::Step;
use crate::shared::world::key_of;

pub(crate) const OUTPUTS: &[Output] = &[];

/// Above any provider's time-outs and retries together.
const CALL_TIME: Duration = Duration::from_secs(300);

pub struct Push(pub Arc<World>);

impl Module<Event> for Push {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn one_by_one(&self) -> bool {
        true
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            // By message: notifications have no order among themselves.
            Event::Push(notification, _) => key_of(notification.mid),
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
            if let Item::New(Event::Push(notification, journey)) = item {
                if !self.0.notifier.serves(notification.app) {
                    continue;
                }
                let ticket = batch.overlap(Event::Calling(journey), CALL_TIME);
                let (mid, id) = (notification.mid, notification.journey);
                let now = self.0.now();
                self.0.traces.note(|| Step::new(now, "pushed", "push").message(mid).to(notification.to.iter()));
                let done = move |result: Result<(), String>| {
                    if let Err(error) = result {
                        log::debug!(journey = id.map(|id| id.to_string()); "the push for message {mid} was not taken: {error}");
                    }
                    ticket.resume(Answer::Done);
                };
                self.0.notifier.notify(*notification, Box::new(done));
            }
        }
    }
}
