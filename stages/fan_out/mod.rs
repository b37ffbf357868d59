//! Fan-out: one message, all who are to have it.
//!
//! Looks up who is online where and leaves one piece of mail for all of them: shared bytes and the list of sessions, or
//! a room's group number. Behind the commit, so nothing is refused here. Tells hook when a message has gone out and who
//! was not there. Keyed by conversation. It never asks the cache: the list of members came with the event.

use std::sync::Arc;

use tidegate_domain::ids::{AppId, ClientId, ConnId, ConvId};
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};

use crate::event::{Audience, Delivery, Event, Going, Part, Sent, Told};
use crate::mail::{Deliver, Mail};
use crate::shared::World;
use crate::shared::traces::Step;
use crate::shared::world::key_of;

const NET: usize = 0;
const OFFLINE: usize = 1;
pub(crate) const OUTPUTS: &[Output] = &[
    // The parts of one delivery leave as one list where they are many.
    Output { name: "net", kind: OutputKind::Sink("net"), most: 2 },
    // One word on each message that went out.
    Output { name: "offline", kind: OutputKind::OptionalSide, most: 1 },
];

/// Sessions that one turn addresses, or a few more. What a mailbox holds is counted in sessions, of which nothing is known
/// when room is reserved: so it is passed by no more than this.
const ENOUGH: usize = 1_024;

pub struct FanOut(pub Arc<World>);

impl Module<Event> for FanOut {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn one_by_one(&self) -> bool {
        true
    }

    fn sheddable(&self) -> bool {
        false
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Delivery(delivery) => key_of((delivery.app, delivery.cid)),
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
        let mut addressed = 0;
        while addressed < ENOUGH
            && let Some(item) = batch.next()
        {
            if let Item::New(Event::Delivery(delivery)) = item {
                addressed += self.deliver(*delivery, batch);
            }
        }
    }
}

impl Worker {
    /// Returns how many sessions were addressed.
    fn deliver(&self, delivery: Delivery, batch: &mut Batch<'_, Event>) -> usize {
        let Delivery { app, cid, parts, cause, since_ns, mut message, journey } = delivery;
        // A message has one part, and so one piece of mail.
        let mut going = message.as_mut().and_then(|sent| sent.going.take());
        let mut offline = Vec::new();
        let mut mail: Vec<Mail> = parts
            .into_iter()
            .filter_map(|part| self.address(app, cid, part, (cause, since_ns, going.take()), &mut offline))
            .collect();
        let addressed =
            mail.iter().map(|mail| if let Mail::Deliver(deliver) = mail { deliver.to.len() } else { 1 }).sum();
        if let Some(sent) = &message {
            offline.retain(|client| *client != sent.from);
            self.note(sent, &mail, &offline);
            self.0.journeys.went_out(sent.mid, journey.as_ref(), since_ns, batch.now());
        }
        match mail.len() {
            0 => {}
            1 | 2 => mail.drain(..).for_each(|mail| batch.emit(NET, Event::Mail(mail))),
            _ => batch.emit(NET, Event::Mail(Mail::Several(mail))),
        }
        if let Some(sent) = message {
            self.0.days.message(app);
            let told = Told { app, sent, offline, journey };
            batch.emit(OFFLINE, Event::Told(Box::new(told)));
        }
        addressed
    }

    /// Who gets a message, and who would have, is noted.
    fn note(&self, sent: &Sent, mail: &[Mail], offline: &[ClientId]) {
        let step = |what| Step::new(self.0.now(), what, "fan_out").client(&sent.from).message(sent.mid);
        self.0.traces.note(|| match mail.first() {
            Some(Mail::Deliver(deliver)) => step("delivered").to(deliver.to.iter().map(|session| &session.client)),
            _ => step("delivered"),
        });
        if !offline.is_empty() {
            self.0.traces.note(|| step("offline").to(offline.iter()));
        }
    }

    /// Mail for a part's audience, if anybody of it is there; who is not goes into `offline`.
    fn address(
        &self,
        app: AppId,
        cid: ConvId,
        part: Part,
        (cause, since_ns, going): (Option<ConnId>, u64, Going),
        offline: &mut Vec<ClientId>,
    ) -> Option<Mail> {
        let Part { frame, to, class, except, at } = part;
        let to = match to {
            Audience::Room { except } => {
                let group = self.0.rooms.group(app, cid)?;
                return Some(Mail::Broadcast { group, frame, class, except, cause, since_ns, going });
            }
            Audience::Clients(clients) => self.0.sessions_of(app, &clients, except.as_ref(), offline),
            Audience::Members(conversation) => {
                let clients = conversation.members.iter().map(|member| &member.client);
                self.0.sessions_of(app, clients, except.as_ref(), offline)
            }
        };
        if to.is_empty() {
            return None;
        }
        let position = at.map(|at| (key_of((app, cid)), at));
        Some(Mail::Deliver(Deliver { to, frame, class, cause, since_ns, position, going }))
    }
}
