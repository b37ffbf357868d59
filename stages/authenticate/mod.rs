//! Authenticate: whose command is it, and may they be here at all.
//!
//! Owns sessions: open, close, refresh and query are decided here, in the lane of their connection. (The design keys
//! this stage by session; by connection, a client that names its `peerId` in one command and leaves it out in the next
//! keeps its order too.) Signatures are checked here, before any effect. Everything else goes on to route.

mod open;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::command::{Change, Command, Request};
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{AppId, ClientId, ConnId};
use tidegate_domain::reply::Answer;
use tidegate_domain::signature::{self, Action};
use tidegate_engine::{Batch, Item, Journey, Module, Output, OutputKind, Stage};

use crate::event::{Ask, Asked, Event, Held, Memory, Saying, Task, Whom, Work};
use crate::mail::Mail;
use crate::shared::World;
use crate::shared::busy::Busy;
use crate::shared::reply;
use crate::shared::world::key_of;

const NET: usize = 0;
const NEXT: usize = 1;
pub(crate) const OUTPUTS: &[Output] = &[
    // An answer, `Entered`, a room joined again, and word to those whom the log-in replaced.
    Output { name: "net", kind: OutputKind::Sink("net"), most: 8 },
    // A snapshot and a nonce or a revoked token to remember.
    Output { name: "next", kind: OutputKind::Stage, most: MOST_NEXT },
];
const MOST_NEXT: u32 = 4;

/// Only in case that the next turn of what waits for no more than that never comes.
const NEXT_TURN_TIME: Duration = Duration::from_secs(10);

pub struct Authenticate(pub Arc<World>);

impl Module<Event> for Authenticate {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn one_by_one(&self) -> bool {
        true
    }

    /// The news that a connection has ended comes through here too, and must not be lost.
    fn sheddable(&self) -> bool {
        false
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Asked(asked) => key_of(asked.conn),
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
            let (Item::New(Event::Asked(asked)) | Item::Resumed(Event::Asked(asked), _)) = item else { continue };
            let Asked { conn, what } = *asked;
            match what {
                Saying::Opened(origin) => self.0.connections.opened(conn, origin),
                Saying::Closed { code, held } => {
                    self.closed(conn, code, batch);
                    drop(held);
                }
                Saying::Wills { app, wills } => self.send_wills(conn, app, wills, batch),
                Saying::Entering(entering) => self.enter(*entering, batch),
                Saying::Request { request, received_ns, held, journey } => {
                    self.request(Incoming { conn, request, received_ns, held, journey }, batch);
                }
            }
        }
    }
}

/// A request before it is known whose it is.
struct Incoming {
    conn: ConnId,
    request: Request,
    received_ns: u64,
    held: Held,
    journey: Option<Journey>,
}

impl Worker {
    fn request(&self, incoming: Incoming, batch: &mut Batch<'_, Event>) {
        let conn = incoming.conn;
        match &incoming.request.command {
            Command::Login(gate) => {
                let answer = Answer::LoggedIn(gate.clone());
                self.remember_app(conn, incoming.request.app.as_deref());
                self.answer_gate(&incoming, answer, batch);
            }
            Command::Logout(gate) => self.answer_gate(&incoming, Answer::LoggedOut(gate.clone()), batch),
            Command::Open(_) => self.open(incoming, batch),
            Command::Nothing => {}
            _ => match self.session(&incoming) {
                Some((app, client, busy)) => self.of_session((app, client, busy), incoming, batch),
                None => self.refuse(&incoming, Code::SessionRequired.into(), batch),
            },
        }
    }

    /// LiveQuery's and Java's first frame names an app, maybe the only time on this connection (wire.md 1.6).
    fn remember_app(&self, conn: ConnId, id: Option<&str>) {
        if let Some(app) = id.and_then(|id| self.0.apps.find(id)) {
            self.0.connections.with(conn, |connection| {
                if connection.app.is_none() {
                    connection.app = Some(app);
                    self.0.days.connected(app);
                }
            });
        }
    }

    fn answer_gate(&self, incoming: &Incoming, answer: Answer, batch: &mut Batch<'_, Event>) {
        let Request { i, peer, .. } = &incoming.request;
        let frame = tidegate_protocol::answer(*i, peer.as_deref(), self.0.now(), &answer);
        batch.emit(NET, Event::Mail(Mail::Reply { conn: incoming.conn, frame, busy: None }));
        batch.emit(NET, Event::Mail(Mail::Alive { conn: incoming.conn }));
    }

    /// The session that a command is of: the one it names, or the connection's first.
    fn session(&self, incoming: &Incoming) -> Option<(AppId, ClientId, Arc<Busy>)> {
        self.0.connections.with(incoming.conn, |connection| {
            let (client, busy) = match &incoming.request.peer {
                Some(peer) => connection.sessions.get(peer)?,
                None => connection.sessions.first()?,
            };
            Some((connection.app?, client, busy))
        })?
    }

    fn of_session(
        &self,
        (app, client, busy): (AppId, ClientId, Arc<Busy>),
        incoming: Incoming,
        batch: &mut Batch<'_, Event>,
    ) {
        let Incoming { conn, request, received_ns, held, journey } = incoming;
        let i = match request.command {
            // Nobody waits for an answer to these, and Java drops its socket at one (wire.md 1.6).
            Command::Read(_) | Command::Delivered(_) => None,
            _ => request.i,
        };
        let ask = Ask { app, conn, client, i, received_ns, held, busy: Some(busy), journey };
        let work = match request.command {
            Command::Close => return self.close(ask, batch),
            Command::Refresh { token, signature } => {
                return self.refresh(ask, token.as_deref(), signature.as_ref(), batch);
            }
            Command::Online(clients) => {
                let online = clients.into_iter().take(MOST_ONLINE).filter(|c| self.0.directory.is_online(app, c));
                return self.answer(&ask, &Answer::Online(online.collect()), batch);
            }
            Command::Watch { add } => return self.answer(&ask, &Answer::Watched { add }, batch),
            Command::Report => return self.answer(&ask, &Answer::Reported, batch),
            Command::Unsupported(code, detail) => {
                return self.answer(&ask, &Answer::Failed(Failure::because(code, detail)), batch);
            }
            Command::Start(start) => {
                let action = Action::Start { members: &start.members };
                if let Err(failure) = self.signed(&ask, action, start.signature.as_ref(), batch) {
                    return self.answer(&ask, &Answer::Failed(failure), batch);
                }
                Work::Start { start: Box::new(start), cid: self.0.conversation_id() }
            }
            Command::Add(change) => match self.signed_change(&ask, change, true, batch) {
                Ok(change) => Work::Command(Command::Add(change)),
                Err(failure) => return self.answer(&ask, &Answer::Failed(failure), batch),
            },
            Command::Remove(change) => match self.signed_change(&ask, change, false, batch) {
                Ok(change) => Work::Command(Command::Remove(change)),
                Err(failure) => return self.answer(&ask, &Answer::Failed(failure), batch),
            },
            command => Work::Command(command),
        };
        batch.emit(NEXT, Event::Task(Box::new(Task { ask, what: work })));
    }

    fn signed_change(
        &self,
        ask: &Ask,
        change: Change,
        adds: bool,
        batch: &mut Batch<'_, Event>,
    ) -> Result<Change, Failure> {
        let (cid, members) = (change.cid, &change.members[..]);
        let action = if adds { Action::Add { cid, members } } else { Action::Remove { cid, members } };
        self.signed(ask, action, change.signature.as_ref(), batch)?;
        Ok(change)
    }

    /// Checks a signature as the app wants it, and uses up its nonce. `false`: none was needed.
    fn signed(
        &self,
        ask: &Ask,
        action: Action<'_>,
        given: Option<&tidegate_domain::command::Signature>,
        batch: &mut Batch<'_, Event>,
    ) -> Result<bool, Failure> {
        let now = self.0.now();
        let Some(used) = signature::check(self.0.apps.get(ask.app), &ask.client, action, given, now)? else {
            return Ok(false);
        };
        // Java opens twice on each new connection, maybe by one signature (wire.md 1.6): who is in already stays in.
        if action == Action::Login && self.0.connections.is_open(ask.conn, &ask.client) {
            return Ok(true);
        }
        if self.0.tokens.use_nonce(ask.app, &used.nonce, used.until, now).is_err() {
            return Err(Failure::because(
                action.code(),
                "this signature's nonce was used before: sign each command anew",
            ));
        }
        self.remember(ask, Memory::Nonce { nonce: used.nonce, until: used.until }, batch);
        Ok(true)
    }

    /// Has route hand something to persist that nobody waits for.
    fn remember(&self, ask: &Ask, memory: Memory, batch: &mut Batch<'_, Event>) {
        let ask = Ask {
            app: ask.app,
            conn: ask.conn,
            client: ask.client.clone(),
            i: None,
            received_ns: ask.received_ns,
            held: None,
            busy: None,
            journey: None,
        };
        batch.emit(NEXT, Event::Task(Box::new(Task { ask, what: Work::Remember(memory) })));
    }

    fn answer(&self, ask: &Ask, answer: &Answer, batch: &mut Batch<'_, Event>) {
        if let Some(event) = reply::answer(ask, self.0.now(), answer) {
            batch.emit(NET, event);
        }
    }

    fn refuse(&self, incoming: &Incoming, failure: Failure, batch: &mut Batch<'_, Event>) {
        let whom = Whom::of(incoming.conn, &incoming.request);
        if let Some(mail) = reply::refusal(&whom, self.0.now(), failure) {
            batch.emit(NET, Event::Mail(mail));
        }
    }
}

/// wire.md 3.1.3: more are not looked at.
const MOST_ONLINE: usize = 20;
