//! Fan-out: one message, all who are to have it.
//!
//! Looks up who is online where and leaves one piece of mail for all of them: shared bytes and the list of sessions, or
//! a room's group number. Behind the commit, so nothing is refused here. Tells hook when a message has gone out and who
//! was not there. Keyed by conversation. It never asks the cache: the list of members came with the event.

use std::sync::Arc;

use tidegate_domain::conversation::Kind;
use tidegate_domain::hook::{HookEvent, MessageSent, ReceiversOffline};
use tidegate_domain::ids::{AppId, ClientId, ConnId, ConvId, MessageId};
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};

use crate::event::{Audience, Delivery, Event, Part, Sent, Told};
use crate::mail::{Deliver, Mail, Recipient};
use crate::shared::World;
use crate::shared::traces::Step;
use crate::shared::world::key_of;

const NET: usize = 0;
const OFFLINE: usize = 1;
pub(crate) const OUTPUTS: &[Output] = &[
    // The parts of one delivery leave as one list where they are many.
    Output { name: "net", kind: OutputKind::Sink("net"), most: 2 },
    // One word on the message, one on those who were offline.
    Output { name: "offline", kind: OutputKind::OptionalSide, most: 2 },
];

pub struct FanOut(pub Arc<World>);

impl Module<Event> for FanOut {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
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
        while let Some(item) = batch.next() {
            if let Item::New(Event::Delivery(delivery)) = item {
                self.deliver(*delivery, batch);
            }
        }
    }
}

impl Worker {
    fn deliver(&self, delivery: Delivery, batch: &mut Batch<'_, Event>) {
        let Delivery { app, cid, parts, cause, since_ns, message, .. } = delivery;
        let about = message.as_ref().map(|sent| (sent.mid, sent.from.clone()));
        let mut mail: Vec<Mail> =
            parts.into_iter().filter_map(|part| self.address(app, cid, part, cause, since_ns)).collect();
        if let Some((mid, from)) = about {
            self.note(mid, &from, &mail);
        }
        match mail.len() {
            0 => {}
            1 | 2 => mail.drain(..).for_each(|mail| batch.emit(NET, Event::Mail(mail))),
            _ => batch.emit(NET, Event::Mail(Mail::Several(mail))),
        }
        if let Some(sent) = message
            && batch.is_bound(OFFLINE)
        {
            self.tell(app, *sent, batch);
        }
    }

    /// A message has one part: who gets it is noted.
    fn note(&self, mid: MessageId, from: &ClientId, mail: &[Mail]) {
        self.0.traces.note(|| {
            let step = Step::new(self.0.now(), "delivered", "fan_out").client(from).message(mid);
            match mail.first() {
                Some(Mail::Deliver(deliver)) => step.to(deliver.to.iter().map(|session| &session.client)),
                _ => step,
            }
        });
    }

    fn address(&self, app: AppId, cid: ConvId, part: Part, cause: Option<ConnId>, since_ns: u64) -> Option<Mail> {
        let Part { frame, to, class, except, at } = part;
        let to = match to {
            Audience::Room { except } => {
                let group = self.0.rooms.group(app, cid)?;
                return Some(Mail::Broadcast { group, frame, class, except, cause, since_ns });
            }
            Audience::Sessions(sessions) => sessions,
            Audience::Clients(clients) => self.sessions_of(app, clients.iter(), except.as_ref()),
            Audience::Members(conversation) => {
                self.sessions_of(app, conversation.members.iter().map(|member| &member.client), except.as_ref())
            }
        };
        if to.is_empty() {
            return None;
        }
        let position = at.map(|at| (key_of((app, cid)), at));
        Some(Mail::Deliver(Deliver { to, frame, class, cause, since_ns, position }))
    }

    fn sessions_of<'a>(
        &self,
        app: AppId,
        clients: impl Iterator<Item = &'a ClientId>,
        except: Option<&Recipient>,
    ) -> Vec<Recipient> {
        let mut to = Vec::new();
        for client in clients {
            self.0.directory.with(app, client, |sessions| {
                let session = |conn| Recipient { conn, client: client.clone() };
                to.extend(sessions.iter().map(|entry| session(entry.conn)).filter(|one| Some(one) != except));
            });
        }
        to
    }

    /// Word to the app's server of a message that went out, and of those who were offline.
    fn tell(&self, app: AppId, sent: Sent, batch: &mut Batch<'_, Event>) {
        let wants_sent = self.0.hooks.wants(app, HookEvent::MessageSent);
        let pushes = !sent.command.transient
            && sent.conversation.kind != Kind::Room
            && (self.0.hooks.wants(app, HookEvent::ReceiversOffline) || self.0.notifier.serves(app));
        if !wants_sent && !pushes {
            return;
        }
        let Sent { conversation, command, mid, from, at, to } = sent;
        let receivers = conversation.members.iter().map(|member| &member.client).filter(|client| **client != from);
        let receivers = receivers.filter(|client| to.as_ref().is_none_or(|to| to.contains(client))).cloned();
        let (online, offline): (Vec<ClientId>, Vec<ClientId>) =
            receivers.partition(|client| self.0.directory.is_online(app, client));
        if !offline.is_empty() {
            self.0
                .traces
                .note(|| Step::new(self.0.now(), "offline", "fan_out").client(&from).message(mid).to(offline.iter()));
        }
        if pushes && !offline.is_empty() {
            let mentions = &command.mentions;
            let mentioned = |client: &&ClientId| !mentions.all && mentions.includes(client);
            let told = Told::Offline(ReceiversOffline {
                app,
                cid: conversation.id,
                mid,
                from: from.clone(),
                body: command.body.clone(),
                at,
                muted: offline.iter().filter(|client| conversation.muted.contains(client)).cloned().collect(),
                mention_all: mentions.all,
                mentioned_offline: offline.iter().filter(mentioned).cloned().collect(),
                push_data: command.push_data.clone(),
                offline: offline.clone(),
            });
            batch.emit(OFFLINE, Event::Told(Box::new(told)));
        }
        if wants_sent {
            let told = Told::Sent(MessageSent {
                app,
                cid: conversation.id,
                mid,
                from,
                online,
                offline,
                transient: command.transient,
                body: command.body,
                receipt: command.receipt,
                at,
                ip: None,
            });
            batch.emit(OFFLINE, Event::Told(Box::new(told)));
        }
    }
}
