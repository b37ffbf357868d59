//! What flows through the pipeline: one enum, small to move, each variant made for one stage.
//!
//! Plain data: ids and shared bytes. The exceptions are guards: `Held` gives a connection its share of commands in flight
//! back when it is dropped, `Busy` does that for a session and `Going` for a conversation of many, a `Ticket` answers an event
//! that waits, and by `First` others wait with it.

use std::any::Any;
use std::net::IpAddr;

use bytes::Bytes;
use tidegate_domain::command::{Command, Delivered, Logs, Query, ReadUpTo, Request, Send as SendCommand, Start};
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::hook::{MessageReceived, Notification, Verdict};
use tidegate_domain::ids::{AppId, ClientId, ConnId, ConvId, MessageId, Millis};
use tidegate_domain::marks::Range;
use tidegate_engine::{Journey, Ticket};
use tidegate_protocol::FailureForm;

use crate::mail::{Class, Mail, Recipient};
use crate::shared::busy::Busy;
use crate::shared::twins::First;
use std::sync::Arc;

/// A message to many is on its way until this is dropped (`shared/crowds.rs`); `None` for a message to few.
pub type Going = Option<Arc<dyn Any + Send + Sync>>;

/// Whatever is to be dropped when a command is done.
pub type Held = Option<Box<dyn Any + Send + Sync>>;

#[derive(Debug)]
pub enum Event {
    /// To decode: something happened on a connection.
    Arrived(Arrived),
    /// To authenticate: what the connection said.
    Asked(Box<Asked>),
    /// To route: a command of an open session.
    Task(Box<Task>),
    /// To read.
    Reading(Box<Reading>),
    /// To hook, before a message is taken.
    Question(Box<Question>),
    /// To persist.
    Write(Box<Write>),
    /// To fan-out.
    Delivery(Box<Delivery>),
    /// To hook, after a message was delivered.
    Told(Box<Told>),
    /// To push.
    Push(Box<Notification>, Option<Journey>),
    /// Stays in hook or push until a call that was made there is over, in place of what it was made for.
    Calling(Option<Journey>),
    /// To the reactors.
    Mail(Mail),
}

#[derive(Debug)]
pub struct Arrived {
    pub conn: ConnId,
    pub what: Arrival,
}

#[derive(Debug)]
pub enum Arrival {
    Opened(Origin),
    Frame {
        bytes: Bytes,
        received_ns: u64,
        held: Held,
        journey: Option<Journey>,
    },
    /// Nothing comes after it. `code`: the WebSocket's close code, 1006 where the socket just went away.
    Closed {
        code: u16,
        held: Held,
    },
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct Origin {
    pub ip: IpAddr,
    /// A browser's `Origin`.
    pub web: Option<Box<str>>,
    /// `.1` subprotocols: offline messages are pushed one by one (wire.md 2.1).
    pub offline_pushed: bool,
}

/// To authenticate.
#[derive(Debug)]
pub struct Asked {
    pub conn: ConnId,
    pub what: Saying,
}

#[derive(Debug)]
pub enum Saying {
    Opened(Origin),
    Request {
        request: Request,
        received_ns: u64,
        held: Held,
        journey: Option<Journey>,
    },
    Closed {
        code: u16,
        held: Held,
    },
    /// A session whose gate is shut: now it may be found.
    Entering(Box<Entrance>),
    /// What sessions of a lost connection have left to be sent.
    Wills {
        app: AppId,
        wills: Vec<(ClientId, Box<Will>)>,
    },
}

/// A log-in that passed its checks.
#[derive(Debug)]
pub struct Entrance {
    pub ask: Ask,
    pub tag: Option<Box<str>>,
    pub device: Option<Box<str>>,
    /// The token by which it came.
    pub shown: Option<[u8; 16]>,
    pub reopen: bool,
    pub last_unread: Option<Millis>,
}

/// Whom to answer, and what is given back when that is done.
#[derive(Debug)]
pub struct Ask {
    pub app: AppId,
    pub conn: ConnId,
    pub client: ClientId,
    pub i: Option<i32>,
    pub received_ns: u64,
    pub held: Held,
    /// The session's share for this command, where its `close` is to wait for it.
    pub busy: Option<Arc<Busy>>,
    pub journey: Option<Journey>,
}

impl Ask {
    pub fn session(&self) -> Recipient {
        Recipient { conn: self.conn, client: self.client.clone() }
    }
}

/// To route.
#[derive(Debug)]
pub struct Task {
    pub ask: Ask,
    pub what: Work,
}

#[derive(Debug)]
pub enum Work {
    Command(Command),
    /// A message whose checks are done, waiting for a hook's verdict.
    Message(Box<Checked>),
    /// The new conversation's id is chosen before, so that it can be the key.
    Start {
        start: Box<Start>,
        cid: ConvId,
    },
    /// A session has opened: what did it miss?
    Snapshot(Snapshot),
    /// A session's connection is lost: now its will is sent.
    Will(Box<Will>),
    /// Remember that a signature's nonce was used, or that a token has ended.
    Remember(Memory),
}

/// A message that may be sent.
#[derive(Debug)]
pub struct Checked {
    pub send: Box<SendCommand>,
    pub conversation: Arc<Conversation>,
    /// The hook has been asked; until then it is only looked up whether the message was sent before.
    pub is_asked: bool,
    /// Others with its `dt` wait for what it hears.
    pub first: Option<First>,
}

/// A message that is sent when its session's connection is lost without a close (wire.md 3.8.4).
#[derive(Debug)]
pub struct Will {
    pub send: Box<SendCommand>,
    /// A hook named the receivers.
    pub to: Option<Vec<ClientId>>,
    /// By which it was acknowledged.
    pub mid: MessageId,
}

#[derive(Debug, Clone)]
pub struct Snapshot {
    pub last_unread: Option<Millis>,
    pub as_of: Millis,
    pub offline_pushed: bool,
}

#[derive(Debug, Clone)]
pub enum Memory {
    Nonce { nonce: Box<str>, until: Millis },
    Revoked { token: [u8; 16], until: Millis },
}

/// To read.
#[derive(Debug)]
pub enum Reading {
    /// A conversation that is not in the cache; the answer goes to whoever holds the ticket's event.
    Load {
        app: AppId,
        cid: ConvId,
        ticket: Ticket<Event>,
        journey: Option<Journey>,
    },
    /// Whether a message was sent before, by its sender's token for it.
    Resent {
        app: AppId,
        cid: ConvId,
        client: ClientId,
        dedupe: Box<str>,
        ticket: Ticket<Event>,
        journey: Option<Journey>,
    },
    History {
        ask: Ask,
        logs: Logs,
        conversation: Arc<Conversation>,
    },
    Query {
        ask: Ask,
        query: Box<Query>,
    },
    Snapshot {
        ask: Ask,
        snapshot: Snapshot,
    },
    MaxRead {
        ask: Ask,
        cid: ConvId,
        all_members: bool,
        conversation: Arc<Conversation>,
    },
    IsMember {
        ask: Ask,
        cids: Vec<Box<str>>,
    },
    /// What a command has marked is committed: those concerned are to hear of it. Nobody waits for an answer.
    Marked {
        ask: Ask,
        marked: Vec<Marked>,
    },
}

/// One conversation in which a client has got or read on.
#[derive(Debug)]
pub struct Marked {
    pub cid: ConvId,
    /// When it said so.
    pub at: Millis,
    pub what: Mark,
}

#[derive(Debug)]
pub enum Mark {
    /// What was sent in these ranges has arrived, for the first time.
    Delivered(Vec<Range>),
    /// What was sent after the one time, up to the other, is read. `up_to` may lie before `after`: then nothing was unread.
    Read { kind: Kind, after: Millis, up_to: Millis },
}

/// To hook: may this message pass?
#[derive(Debug)]
pub struct Question {
    pub ask: MessageReceived,
    pub ticket: Ticket<Event>,
    pub journey: Option<Journey>,
}

/// To persist.
#[derive(Debug)]
pub struct Write {
    pub ask: Ask,
    pub operation: Operation,
}

#[derive(Debug)]
pub enum Operation {
    Start {
        cid: ConvId,
        start: Box<Start>,
    },
    Add {
        cid: ConvId,
        members: Vec<ClientId>,
    },
    Remove {
        cid: ConvId,
        members: Vec<ClientId>,
    },
    /// `is_joined`: the caller is in the room (rooms have no list of members).
    Update {
        cid: ConvId,
        attr: Option<Box<str>>,
        is_joined: bool,
    },
    Mute {
        cid: ConvId,
        on: bool,
    },
    /// `to`: a hook named the receivers.
    Append {
        send: Box<SendCommand>,
        to: Option<Vec<ClientId>>,
        going: Going,
    },
    Read(Vec<ReadUpTo>),
    Delivered(Delivered),
    Remember(Memory),
}

impl Operation {
    /// The one conversation that it is about.
    pub fn conversation(&self) -> Option<ConvId> {
        match self {
            Operation::Start { cid, .. }
            | Operation::Add { cid, .. }
            | Operation::Remove { cid, .. }
            | Operation::Update { cid, .. }
            | Operation::Mute { cid, .. } => Some(*cid),
            Operation::Append { send, .. } => Some(send.cid),
            Operation::Read(_) | Operation::Delivered(_) | Operation::Remember(_) => None,
        }
    }
}

/// To fan-out: frames and whom they are for.
#[derive(Debug)]
pub struct Delivery {
    pub app: AppId,
    pub cid: ConvId,
    pub parts: Vec<Part>,
    /// Whose command caused it: that connection gets it in a later turn than its reply.
    pub cause: Option<ConnId>,
    pub since_ns: u64,
    pub journey: Option<Journey>,
    /// Set for messages: hooks and push are told when it has gone out.
    pub message: Option<Box<Sent>>,
}

/// One frame and its audience.
#[derive(Debug)]
pub struct Part {
    pub frame: Bytes,
    pub to: Audience,
    pub class: Class,
    /// This session does not get it (the sender's own, the updater's own).
    pub except: Option<Recipient>,
    /// A message's time, by which a new session tells what its snapshot counted.
    pub at: Option<Millis>,
}

#[derive(Debug)]
pub enum Audience {
    /// All members of the list under which it was committed.
    Members(Arc<Conversation>),
    Clients(Vec<ClientId>),
    /// Everybody in the room except this client.
    Room {
        except: Option<ClientId>,
    },
}

/// A message that was delivered, as hooks and push hear of it.
#[derive(Debug)]
pub struct Sent {
    pub conversation: Arc<Conversation>,
    pub command: Box<SendCommand>,
    pub mid: MessageId,
    pub from: ClientId,
    pub conn: ConnId,
    pub at: Millis,
    /// A hook named the receivers.
    pub to: Option<Vec<ClientId>>,
    /// Goes on with the mail: hooks and push are not waited for.
    pub going: Going,
}

/// To hook: a message went out.
#[derive(Debug)]
pub struct Told {
    pub app: AppId,
    pub sent: Box<Sent>,
    /// Receivers that had no session.
    pub offline: Vec<ClientId>,
    pub journey: Option<Journey>,
}

/// What an event that waits is answered with.
#[derive(Debug)]
pub enum Answer {
    /// `None`: there is no such conversation.
    Loaded(Option<Arc<Conversation>>),
    /// The message that was sent before, if it was.
    Resent(Option<(MessageId, Millis)>),
    /// The store could not say.
    Unreadable,
    Verdict(Verdict),
    Notification(Option<Box<Notification>>),
    Done,
}

/// What is to be done for an event that a stage lost to a panic.
#[derive(Debug, Clone)]
pub enum Stub {
    /// Nobody waits for it.
    Nothing,
    /// The asker of a command that is still unanswered is told.
    Asker(Whom),
    /// The same of a log-in, which may be half done: its connection is closed too.
    Entering(Whom),
    /// What came on a connection and is not read yet: all that is known is where it came from.
    Arrived(ConnId),
    /// A connection is gone, and nobody will say so again.
    Gone(ConnId),
    /// Deliveries wait for this session's unread.
    Unread(Recipient),
    /// What is committed, and those who are in this conversation were to hear of.
    Committed(AppId, ConvId),
}

/// The asker of a command that is still unanswered.
#[derive(Debug, Clone)]
pub struct Whom {
    pub conn: ConnId,
    pub client: Option<ClientId>,
    pub i: Option<i32>,
    /// How the asker wants to hear of a failure.
    pub form: FailureForm,
}

impl Whom {
    pub fn of(conn: ConnId, request: &Request) -> Self {
        Whom { conn, client: request.peer.clone(), i: request.i, form: FailureForm::of(request) }
    }
}

impl Event {
    /// Whose unread this event is to bring.
    pub fn snapshot(&self) -> Option<&Ask> {
        match self {
            Event::Task(task) if matches!(task.what, Work::Snapshot(_)) => Some(&task.ask),
            Event::Reading(reading) => match &**reading {
                Reading::Snapshot { ask, .. } => Some(ask),
                _ => None,
            },
            _ => None,
        }
    }

    /// Who is waiting for an answer to this event.
    pub fn asker(&self) -> Option<Whom> {
        let (ask, is_send) = match self {
            Event::Asked(asked) => {
                return match &asked.what {
                    Saying::Request { request, .. } => Some(Whom::of(asked.conn, request)),
                    Saying::Entering(entering) => {
                        let Ask { conn, client, i, .. } = &entering.ask;
                        Some(Whom { conn: *conn, client: Some(client.clone()), i: *i, form: FailureForm::Error })
                    }
                    _ => None,
                };
            }
            Event::Task(task) => (&task.ask, matches!(task.what, Work::Command(Command::Send(_)) | Work::Message(_))),
            Event::Write(write) => (&write.ask, matches!(write.operation, Operation::Append { .. })),
            Event::Reading(reading) => match &**reading {
                // What was marked is done, and its command has no answer.
                Reading::Load { .. } | Reading::Resent { .. } | Reading::Marked { .. } => return None,
                Reading::History { ask, .. }
                | Reading::Query { ask, .. }
                | Reading::Snapshot { ask, .. }
                | Reading::MaxRead { ask, .. }
                | Reading::IsMember { ask, .. } => (ask, false),
            },
            _ => return None,
        };
        let form = match (ask.i, is_send) {
            (None, _) => FailureForm::Silent,
            (Some(_), true) => FailureForm::Ack,
            (Some(_), false) => FailureForm::Error,
        };
        Some(Whom { conn: ask.conn, client: Some(ask.client.clone()), i: ask.i, form })
    }
}

impl tidegate_engine::Event for Event {
    type Answer = Answer;
    type Stub = Stub;

    fn stub(&self) -> Stub {
        match self {
            Event::Arrived(arrived) => return Stub::Arrived(arrived.conn),
            Event::Delivery(delivery) if !self.droppable() => return Stub::Committed(delivery.app, delivery.cid),
            _ => {}
        }
        if let Some(ask) = self.snapshot() {
            return Stub::Unread(ask.session());
        }
        match (self, self.asker()) {
            (Event::Asked(asked), _) if let Saying::Closed { .. } = asked.what => Stub::Gone(asked.conn),
            (_, None) => Stub::Nothing,
            (Event::Asked(asked), Some(whom)) if let Saying::Entering(_) = asked.what => Stub::Entering(whom),
            (_, Some(whom)) => Stub::Asker(whom),
        }
    }

    fn journey(&self) -> Option<&Journey> {
        match self {
            Event::Arrived(Arrived { what: Arrival::Frame { journey, .. }, .. }) => journey.as_ref(),
            Event::Asked(asked) => match &asked.what {
                Saying::Request { journey, .. } => journey.as_ref(),
                _ => None,
            },
            Event::Task(task) => task.ask.journey.as_ref(),
            Event::Write(write) => write.ask.journey.as_ref(),
            Event::Delivery(delivery) => delivery.journey.as_ref(),
            Event::Told(told) => told.journey.as_ref(),
            Event::Question(question) => question.journey.as_ref(),
            Event::Reading(reading) => match &**reading {
                Reading::Load { journey, .. } | Reading::Resent { journey, .. } => journey.as_ref(),
                _ => None,
            },
            Event::Push(_, journey) | Event::Calling(journey) => journey.as_ref(),
            _ => None,
        }
    }

    /// Transient messages only: nothing durable is ever dropped.
    fn droppable(&self) -> bool {
        matches!(self, Event::Delivery(delivery) if delivery.message.as_ref().is_some_and(|sent| sent.command.transient))
    }
}
