//! Where the reactors and the pipeline meet: each speaks its own words, and here they are put into each other's.
//!
//! Owns no rule but the classes of admission at the door.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tidegate_domain::command::Priority;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{ConnId, MessageId};
use tidegate_engine as engine;
use tidegate_http as http;
use tidegate_net as net;
use tidegate_protocol::wire::{CommandType, OpType};
use tidegate_protocol::{FailureForm, Head};
use tidegate_stages::event::{Arrival, Arrived, Event, Held, Origin};
use tidegate_stages::mail::{Class, Deliver, Lift, Mail, Recipient};
use tidegate_stages::shared::World;
use tidegate_stages::shared::traces::Step;
use tidegate_stages::supervisor::Post;

/// The pipeline's entrance, as the reactors see it.
pub struct Entrance {
    world: Arc<World>,
    door: engine::Door<Event>,
    /// One for each reactor, whose thread alone locks it.
    helpers: Vec<Mutex<engine::Helper<Event>>>,
}

impl net::Door for Entrance {
    fn opened(&self, conn: ConnId, meta: net::ConnMeta) {
        let offline_pushed = match meta.transport {
            net::Transport::WebSocket(net::Subprotocol::Binary { offline_pushed }) => offline_pushed,
            _ => false,
        };
        let origin = Origin { ip: meta.ip, web: meta.origin.map(Into::into), offline_pushed };
        self.door.offer_always(Event::Arrived(Arrived { conn, what: Arrival::Opened(origin) }));
    }

    fn frame(&self, conn: ConnId, frame: net::Frame) -> Result<(), net::NotTaken> {
        // Shared bytes: what is refused is still needed to say so.
        let bytes = frame.bytes.clone();
        let head = tidegate_protocol::peek(&bytes);
        if is_log_in(&head) && frame.turn.is_none() {
            return Err(net::NotTaken::Later(frame));
        }
        let class = class_of(&head);
        if !self.door.admit(class, who(conn, &head)) {
            return Err(self.refusal(conn, &head));
        }
        let is_message = head.cmd == Some(CommandType::Direct as i32);
        let what = Arrival::Frame {
            bytes: frame.bytes,
            received_ns: frame.received_ns,
            held: Some(Box::new((frame.credit, frame.turn))),
            journey: if is_message { self.world.journeys.begin() } else { None },
        };
        let event = Event::Arrived(Arrived { conn, what });
        if class == FREES {
            // A full queue must not refuse what would empty it; how many of these there can be, credits bound.
            self.door.offer_always(event);
            return Ok(());
        }
        self.door.offer_at(event, frame.received_ns).map_err(|_| self.refusal(conn, &head))
    }

    fn closed(&self, conn: ConnId, why: net::Closed, turn: Option<net::Turn>) {
        let held: Held = turn.map(|turn| Box::new(turn) as _);
        self.door.offer_always(Event::Arrived(Arrived { conn, what: Arrival::Closed { code: why.code, held } }));
    }

    fn lend(&self, reactor: u8) {
        if let Some(helper) = self.helpers.get(usize::from(reactor)) {
            helper.lock().unwrap_or_else(PoisonError::into_inner).help();
        }
    }
}

impl Entrance {
    pub fn new(world: Arc<World>, door: &engine::Door<Event>, reactors: usize) -> Entrance {
        let helpers = (0..reactors).map(|_| Mutex::new(door.helper())).collect();
        Entrance { world, door: door.for_helpers(), helpers }
    }

    fn refusal(&self, conn: ConnId, head: &Head<'_>) -> net::NotTaken {
        let now = self.world.now();
        self.world.traces.note(|| {
            let step = Step::new(now, "refused", "door").conn(conn).code(Code::Overloaded.number());
            head.peer.into_iter().fold(step, |step, peer| step.client(&peer.into()))
        });
        let failure = Failure::because(Code::Overloaded, "the server is too busy: send again later");
        let answer = FailureForm::of_head(head).answer(failure, MessageId::new(now, 0, 0), now);
        let reply = answer.map(|answer| tidegate_protocol::answer(head.i, head.peer, now, &answer));
        net::NotTaken::Refused(net::Refusal { reply, close: None })
    }
}

/// The class of what frees resources.
const FREES: u8 = 0;

/// Of these only a few come in at a time: a fleet that comes back must not stand before everybody else's messages.
fn is_log_in(head: &Head<'_>) -> bool {
    head.cmd == Some(CommandType::Session as i32) && head.op == Some(OpType::Open as i32)
}

/// Who goes first when there is too much: 3 is refused first, 0 last (design.md, promise 5).
fn class_of(head: &Head<'_>) -> u8 {
    let is = |cmd: CommandType| head.cmd == Some(cmd as i32);
    let closes = is(CommandType::Session) && head.op == Some(OpType::Close as i32);
    if is(CommandType::Echo) || is(CommandType::Ack) || is(CommandType::Read) || closes {
        FREES
    } else if is(CommandType::Direct) && (head.transient || head.priority == Priority::Low) {
        3
    } else if is(CommandType::Direct) || is(CommandType::Session) {
        1
    } else {
        2
    }
}

/// One number for a user, who is wholly in or wholly out.
fn who(conn: ConnId, head: &Head<'_>) -> u64 {
    match head.peer {
        Some(peer) => tidegate_stages::shared::world::key_of(peer),
        None => conn.as_u64(),
    }
}

/// The reactors' mailboxes, as the end of the pipeline. The mailbox comes later than the pipeline: until then there is no
/// room.
#[derive(Default)]
pub struct Reactors {
    mailbox: OnceLock<net::Mailbox>,
    waiting: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

impl Reactors {
    pub fn connect(&self, mailbox: net::Mailbox) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = self.mailbox.set(mailbox.clone());
        for wake in waiting {
            mailbox.on_room(wake.clone());
            wake();
        }
    }
}

impl engine::Sink<Event> for Reactors {
    fn reserve(&self, n: u32) -> bool {
        self.mailbox.get().is_some_and(|mailbox| mailbox.reserve(n))
    }

    fn give_back(&self, n: u32) {
        if let Some(mailbox) = self.mailbox.get() {
            mailbox.give_back(n);
        }
    }

    fn push(&self, events: &mut Vec<Event>) {
        let Some(mailbox) = self.mailbox.get() else { return events.clear() };
        let mut out = Vec::with_capacity(events.len());
        // Their share of a session's commands in flight is given up once the answers are in the mailbox.
        let mut answered = Vec::new();
        for event in events.drain(..) {
            let Event::Mail(mut mail) = event else {
                mailbox.give_back(1);
                continue;
            };
            if let Mail::Reply { busy, .. } = &mut mail {
                answered.extend(busy.take());
            }
            match mail {
                Mail::Several(several) => {
                    // One place was reserved for them; the rest goes past the bound, behind what came before.
                    mailbox.give_back(1);
                    mailbox.push(&mut out);
                    several.into_iter().filter_map(translate).for_each(|mail| mailbox.post(mail));
                }
                mail => match translate(mail) {
                    Some(mail) => out.push(mail),
                    None => mailbox.give_back(1),
                },
            }
        }
        mailbox.push(&mut out);
        drop(answered);
    }

    fn on_room(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        match self.mailbox.get() {
            Some(mailbox) => mailbox.on_room(wake),
            None => self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(wake),
        }
    }
}

impl Post for Reactors {
    fn post(&self, mail: Mail) {
        if let Some(mailbox) = self.mailbox.get() {
            translate(mail).into_iter().for_each(|mail| mailbox.post(mail));
        }
    }
}

/// `None`: nothing is to be done.
fn translate(mail: Mail) -> Option<net::Mail> {
    Some(match mail {
        Mail::Reply { conn, frame, .. } => net::Mail::Reply { conn, frame },
        Mail::Deliver(Deliver { to, frame, class, cause, since_ns, position, going }) => net::Mail::Deliver {
            to: to.into_iter().map(recipient).collect(),
            frame,
            class: class_to_net(class),
            later_for: cause,
            position,
            since_ns,
            going,
        },
        Mail::Broadcast { group, frame, class, except, cause, since_ns, going } => {
            net::Mail::Broadcast { group, frame, class: class_to_net(class), except, later_for: cause, since_ns, going }
        }
        Mail::Join { group, member } => net::Mail::Join { group, conn: member.conn, peer: member.client },
        Mail::Leave { group, member } => net::Mail::Leave { group, conn: member.conn, peer: member.client },
        Mail::LeaveAll { member, but } => net::Mail::LeaveAll { conn: member.conn, peer: member.client, but },
        Mail::Entered(session) => net::Mail::LoggedIn { conn: session.conn, peer: session.client },
        Mail::Lift(Lift { session, first, counted, delay }) => {
            net::Mail::Lift { conn: session.conn, peer: session.client, first, counted, delay }
        }
        Mail::Gone { conn, still } => net::Mail::LoggedOut { conn, still },
        Mail::Alive { conn } => net::Mail::Alive { conn },
        Mail::Close { conn, code } => net::Mail::Close { conn, code: code.number() as u16, reason: code.name() },
        // Taken apart before.
        Mail::Several(_) => return None,
    })
}

fn recipient(session: Recipient) -> net::Recipient {
    net::Recipient { conn: session.conn, peer: session.client }
}

fn class_to_net(class: Class) -> net::Class {
    match class {
        Class::RoomLow => net::Class::RoomLow,
        Class::Transient => net::Class::Transient,
        Class::RoomNormal => net::Class::RoomNormal,
        Class::RoomHigh => net::Class::RoomHigh,
        Class::Normal => net::Class::Normal,
        Class::Notice => net::Class::Notice,
    }
}

/// What is HTTP on the shared port goes to the HTTP side, once that is there.
#[derive(Default)]
pub struct HttpWay(pub OnceLock<http::HttpSide>);

impl net::HttpDoor for HttpWay {
    fn accept(&self, stream: net::HttpStream) {
        let Some(side) = self.0.get() else { return };
        let net::HttpStream { head, from_socket, to_socket, peer, tls } = stream;
        side.accept(http::HttpStream { head, from_socket, to_socket: Box::new(Socket(to_socket)), peer, tls });
    }
}

struct Socket(net::HttpSender);

impl http::ToSocket for Socket {
    fn send(&self, bytes: Bytes) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        let sent = self.0.send(bytes);
        Box::pin(async move { sent.await.map_err(|gone| io::Error::new(io::ErrorKind::BrokenPipe, gone)) })
    }
}
