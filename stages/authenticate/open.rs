//! session/open: who comes in, in whose place, and what they get (wire.md 3.1.1, 3.1.2).

use std::sync::Arc;

use tidegate_domain::command::{Command, Open};
use tidegate_domain::directory::SessionEntry;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{AppId, ClientId, ConnId, Millis};
use tidegate_domain::login::{self, Entering};
use tidegate_domain::reply::{Answer, Notice};
use tidegate_domain::signature::Action;
use tidegate_domain::token::{self, Refused, TOKEN_TTL_S, Token};
use tidegate_engine::Batch;

use super::{Incoming, NET, NEXT, NEXT_TURN_TIME, Worker};
use crate::event::{self, Ask, Asked, Entrance, Event, Memory, Saying, Snapshot, Task, Will, Work};
use crate::mail::{Class, Deliver, Lift, Mail, Recipient};
use crate::shared::busy::Busy;
use crate::shared::sessions::Sessions;
use crate::shared::traces::Step;

/// Ended tokens that one log-in has written down; the output's room is reserved for so many. (More than one session of a
/// client and tag there can hardly be.)
const MOST_REMEMBERED: usize = 2;

impl Worker {
    pub(super) fn open(&self, mut incoming: Incoming, batch: &mut Batch<'_, Event>) {
        // Until it knows what it missed, it is not done: the next one's turn comes then.
        let held = incoming.held.take();
        let Command::Open(open) = &incoming.request.command else { return };
        let conn = incoming.conn;
        let now = self.0.now();
        let admitted = self.admit(&incoming, open, now, batch);
        match admitted {
            Ok(mut entering) => {
                entering.ask.held = held;
                self.begin(entering, batch);
            }
            Err(failure) => {
                self.0.traces.note(|| {
                    let step = Step::new(now, "refused", "authenticate").conn(conn).code(failure.code.number());
                    incoming.request.peer.iter().fold(step, Step::client)
                });
                let close = failure.code.closes().then_some(failure.code);
                // A re-open without `i` is Java's: it wants its error all the same, with `peerId` (wire.md 3.1.1).
                let frame = tidegate_protocol::answer(
                    incoming.request.i,
                    incoming.request.peer.as_deref(),
                    now,
                    &Answer::Failed(failure),
                );
                batch.emit(NET, Event::Mail(Mail::Reply { conn, frame, busy: None }));
                if let Some(code) = close {
                    batch.emit(NET, Event::Mail(Mail::Close { conn, code }));
                }
            }
        }
    }

    /// Everything that is checked before a session may be; no effect but a used nonce.
    fn admit(
        &self,
        incoming: &Incoming,
        open: &Open,
        now: Millis,
        batch: &mut Batch<'_, Event>,
    ) -> Result<Entrance, Failure> {
        let shown = open.token.as_deref().map(|text| token::open(text, &self.0.tokens.key, now));
        let app = self.app_of(incoming, shown.as_ref())?;
        let client = login::client_of(incoming.request.peer.as_ref(), self.0.random())?;
        self.has_place(incoming.conn, &client)?;
        let mut entered = Entrance {
            ask: self.ask_of(incoming, app, client),
            tag: login::tag_of(open.tag.as_deref())?,
            device: login::device_of(open.device.as_deref())?,
            shown: None,
            reopen: open.reopen,
            last_unread: open.last_unread,
        };
        match shown {
            Some(shown) => {
                let id = &self.0.apps.get(app).id;
                let token = match shown {
                    Ok(token) if token.client == entered.ask.client && token.app == *id => token,
                    _ => return Err(Code::SessionTokenExpired.into()),
                };
                if self.0.tokens.is_revoked(&token.id) {
                    // Ended by a close or a kick: JavaScript takes 4111 quietly, and would come again after 4112.
                    return Err(Code::SessionConflict.into());
                }
                entered.shown = Some(token.id);
                entered.tag = token.tag;
                entered.device = token.device.or(entered.device);
            }
            None => {
                self.signed(&entered.ask, Action::Login, open.signature.as_ref(), batch)?;
            }
        }
        Ok(entered)
    }

    /// 4116 where the connection has as many sessions as it may.
    fn has_place(&self, conn: ConnId, client: &ClientId) -> Result<(), Failure> {
        let most = self.0.sessions_per_connection;
        let has_place = |sessions: &Sessions| sessions.len() < most || sessions.contains(client);
        match self.0.connections.with(conn, |connection| has_place(&connection.sessions)) {
            Some(false) => {
                let detail = format!("this connection has {most} sessions, the most that are allowed: open another");
                Err(Failure::because(Code::Overloaded, detail))
            }
            _ => Ok(()),
        }
    }

    /// The app that the command, its token or an earlier frame names; its origins are checked here.
    fn app_of(&self, incoming: &Incoming, shown: Option<&Result<Token, Refused>>) -> Result<AppId, Failure> {
        let named = incoming.request.app.as_deref().or(match shown {
            Some(Ok(token) | Err(Refused::Expired(token))) => Some(&token.app),
            _ => None,
        });
        let unavailable = || Failure::because(Code::AppNotAvailable, "no such app is configured here");
        let named = match named {
            Some(id) => Some(self.0.apps.find(id).ok_or_else(unavailable)?),
            None => None,
        };
        let (bound, web) = self
            .0
            .connections
            .with(incoming.conn, |connection| (connection.app, connection.origin.web.clone()))
            .ok_or_else(unavailable)?;
        let app = match (named, bound) {
            (Some(named), Some(bound)) if named != bound => {
                return Err(Failure::because(Code::AppNotAvailable, "this connection belongs to another app"));
            }
            (Some(app), _) | (None, Some(app)) => app,
            (None, None) => return Err(unavailable()),
        };
        let origins = &self.0.apps.get(app).origins;
        match web {
            Some(web) if !origins.is_empty() && !origins.contains(&web) => Err(Code::InvalidOrigin.into()),
            _ => Ok(app),
        }
    }

    fn ask_of(&self, incoming: &Incoming, app: AppId, client: ClientId) -> Ask {
        Ask {
            app,
            conn: incoming.conn,
            client,
            i: incoming.request.i,
            received_ns: incoming.received_ns,
            held: None,
            busy: None,
            journey: None,
        }
    }

    /// The session's gate is shut before anybody can find the session, so that nothing is delivered past it: what this
    /// turn emits is with the reactor when the next one begins.
    fn begin(&self, entering: Entrance, batch: &mut Batch<'_, Event>) {
        let session = entering.ask.session();
        if self.0.connections.is_open(session.conn, &session.client) {
            return self.enter(entering, batch);
        }
        let conn = session.conn;
        let what = Saying::Entering(Box::new(entering));
        let ticket = batch.hold(Event::Asked(Box::new(Asked { conn, what })), NEXT_TURN_TIME);
        batch.emit(NET, Event::Mail(Mail::Entered(session)));
        ticket.resume(event::Answer::Done);
    }

    pub(super) fn enter(&self, entering: Entrance, batch: &mut Batch<'_, Event>) {
        let Entrance { mut ask, tag, device, shown, reopen, last_unread } = entering;
        let (app, conn, session, now) = (ask.app, ask.conn, ask.session(), self.0.now());
        // Coming back by a token keeps it: JavaScript shows the same one each time.
        let id = shown.unwrap_or_else(|| self.0.random());
        let expires = now + Millis::from(TOKEN_TTL_S) * 1000;
        let sealed = token::seal(
            &Token {
                app: self.0.apps.get(app).id.clone(),
                client: session.client.clone(),
                device: device.clone(),
                tag: tag.clone(),
                expires,
                id,
            },
            &self.0.tokens.key,
        );
        let new = Entering { entry: SessionEntry { conn, tag, device, token: id }, reopen, shown };
        let most = self.0.sessions_per_client;
        // Among the connection's sessions before it is in the directory: whoever kicks it finds it there too.
        let (is_new, offline_pushed, busy) = self.take_place(app, &session);
        ask.busy = Some(busy);
        let admission = self.0.directory.change(app, &session.client, |sessions| login::enter(sessions, new, most));
        let admission = match admission {
            Ok(admission) => admission,
            Err(failure) => {
                if is_new {
                    self.0.connections.end_session(conn, &session.client);
                }
                return self.stays_out(&ask, now, failure, batch);
            }
        };
        self.0.days.active(app, &session.client);
        self.0.traces.note(|| Step::new(now, "opened", "authenticate").conn(conn).client(&session.client));
        let again = admission.replaced.iter().any(|old| old.conn == conn);
        self.answer_or_error(&ask, now, Answer::Opened { token: sealed.into(), ttl_s: TOKEN_TTL_S }, batch);
        for old in admission.replaced.iter().filter(|old| old.conn != conn) {
            let will = self.take_off(app, &session.client, old.conn, Some(now));
            will.into_iter().for_each(|will| self.0.connections.inherit_will(&session, will));
        }
        let kicked = admission.kicked.iter().map(|old| self.kick(app, &session.client, old.conn, now));
        let words: Vec<Mail> = kicked.collect();
        if !words.is_empty() {
            batch.emit(NET, Event::Mail(Mail::Several(words)));
        }
        for (nth, old) in admission.kicked.iter().enumerate() {
            self.0.tokens.revoke(old.token, expires);
            if nth < MOST_REMEMBERED {
                self.remember(&ask, Memory::Revoked { token: old.token, until: expires }, batch);
            }
        }
        self.rejoin(app, &session, now, batch);
        if !again {
            // `opened` was the answer; nobody waits for one to this.
            let ask = Ask { i: None, busy: None, ..ask };
            let snapshot = Snapshot { last_unread, as_of: now, offline_pushed };
            batch.emit(NEXT, Event::Task(Box::new(Task { ask, what: Work::Snapshot(snapshot) })));
        }
    }

    /// Another device is in: the gate was shut in vain.
    fn stays_out(&self, ask: &Ask, now: Millis, failure: Failure, batch: &mut Batch<'_, Event>) {
        let session = ask.session();
        self.0.traces.note(|| {
            let step = Step::new(now, "refused", "authenticate").conn(ask.conn).client(&ask.client);
            step.code(failure.code.number())
        });
        self.answer_or_error(ask, now, Answer::Failed(failure), batch);
        let still = self.0.connections.any_session(ask.conn);
        batch.emit(NET, Event::Mail(Mail::Gone { conn: ask.conn, still }));
        batch.emit(NET, Event::Mail(Mail::Lift(Lift::of_nothing(session))));
    }

    /// Java's re-open has no `i`, and is answered without.
    fn answer_or_error(&self, ask: &Ask, now: Millis, answer: Answer, batch: &mut Batch<'_, Event>) {
        let frame = tidegate_protocol::answer(ask.i, Some(&ask.client), now, &answer);
        batch.emit(NET, Event::Mail(Mail::Reply { conn: ask.conn, frame, busy: ask.busy.clone() }));
    }

    /// Puts the session among its connection's, and says whether it is new there and whether the connection's clients
    /// are pushed what they missed.
    fn take_place(&self, app: AppId, session: &Recipient) -> (bool, bool, Arc<Busy>) {
        let placed = self.0.connections.with(session.conn, |connection| {
            if let Some(before) = connection.app.replace(app) {
                self.0.days.disconnected(before);
            }
            self.0.days.connected(app);
            let (is_new, busy) = connection.sessions.open(&session.client);
            (is_new, connection.origin.offline_pushed, busy)
        });
        placed.unwrap_or_default()
    }

    /// An older session of the client, on another connection, is over. Its reactor hears of it after what is under way,
    /// which may still put it into a room's group. Gives its will.
    fn take_off(&self, app: AppId, client: &ClientId, conn: ConnId, comes_back: Option<Millis>) -> Option<Box<Will>> {
        let old = Recipient { conn, client: client.clone() };
        let (busy, will) = self.0.connections.end_session(conn, client).map(|ended| (ended.busy, ended.will)).unzip();
        self.0.rooms.gone(app, &old, comes_back);
        let world = self.0.clone();
        Busy::after(busy, move || world.tell_end(old));
        will?
    }

    fn kick(&self, app: AppId, client: &ClientId, conn: ConnId, now: Millis) -> Mail {
        let notice = Notice::SessionClosed(Code::SessionConflict.into());
        self.take_off(app, client, conn, None);
        Mail::Deliver(Deliver {
            to: vec![Recipient { conn, client: client.clone() }],
            frame: tidegate_protocol::notice(now, &notice),
            class: Class::Notice,
            cause: None,
            since_ns: 0,
            position: None,
            going: None,
        })
    }

    /// A client that dropped out of its room a short while ago is in it again (wire.md 4).
    fn rejoin(&self, app: AppId, session: &Recipient, now: Millis, batch: &mut Batch<'_, Event>) {
        if let Some(cid) = self.0.rooms.remembered(app, &session.client, now) {
            let mail = self.0.enter_room(app, cid, session);
            mail.into_iter().flatten().for_each(|mail| batch.emit(NET, Event::Mail(mail)));
        }
    }
}
