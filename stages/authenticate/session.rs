//! The end of sessions, and their refresh (wire.md 3.1.3).

use tidegate_domain::command::Signature;
use tidegate_domain::error::Code;
use tidegate_domain::ids::{AppId, ClientId, ConnId, Millis};
use tidegate_domain::reply::Answer;
use tidegate_domain::signature::Action;
use tidegate_domain::token::{self, Refused, TOKEN_TTL_S, Token};
use tidegate_engine::Batch;

use super::{MOST_NEXT, NEXT, NEXT_TURN_TIME, Worker};
use crate::event::{self, Ask, Asked, Event, Memory, Saying, Task, Will, Work};
use crate::shared::busy::Busy;
use crate::shared::reply;
use crate::shared::traces::Step;

/// Wills sent in one turn.
const MOST_WILLS: usize = MOST_NEXT as usize;

impl Worker {
    /// session/close: the token ends with it.
    pub(super) fn close(&self, ask: Ask, batch: &mut Batch<'_, Event>) {
        let now = self.0.now();
        let ended = self.0.directory.change(ask.app, &ask.client, |sessions| {
            let at = sessions.iter().position(|entry| entry.conn == ask.conn)?;
            Some(sessions.remove(at))
        });
        let busy = self.0.connections.end_session(ask.conn, &ask.client).map(|ended| ended.busy);
        // After the session's end, so that a join on its way finds it ended.
        self.0.rooms.gone(ask.app, &ask.session(), None);
        if let Some(entry) = ended {
            let until = now + Millis::from(TOKEN_TTL_S) * 1000;
            self.0.tokens.revoke(entry.token, until);
            self.remember(&ask, Memory::Revoked { token: entry.token, until }, batch);
        }
        // Its own share would keep the session busy for ever.
        let ask = Ask { busy: None, ..ask };
        let world = self.0.clone();
        let answer = move || {
            if let Some(Event::Mail(answer)) = reply::answer(&ask, world.now(), &Answer::Closed) {
                world.post.post(answer);
            }
            world.tell_end(ask.session());
        };
        // All that it had asked for is answered first; others on this connection go on meanwhile.
        Busy::after(busy, answer);
    }

    /// session/refresh: a genuine token, even an expired one, or a good signature brings a new one.
    pub(super) fn refresh(
        &self,
        ask: Ask,
        text: Option<&str>,
        signature: Option<&Signature>,
        batch: &mut Batch<'_, Event>,
    ) {
        let now = self.0.now();
        let app = self.0.apps.get(ask.app).id.clone();
        let shown = text.and_then(|text| match token::open(text, &self.0.tokens.key, now) {
            Ok(token) | Err(Refused::Expired(token)) => Some(token),
            Err(Refused::Forged) => None,
        });
        let shown = shown
            .filter(|token| token.client == ask.client && token.app == app && !self.0.tokens.is_revoked(&token.id));
        if shown.is_none() {
            // Without a token, being logged in already is proof enough where log-ins need no signature.
            let failure = match self.signed(&ask, Action::Login, signature, batch) {
                Ok(checked) if checked || text.is_none() => None,
                Err(failure) if text.is_none() => Some(failure),
                _ => Some(Code::SessionTokenExpired.into()),
            };
            if let Some(failure) = failure {
                return self.answer(&ask, &Answer::Failed(failure), batch);
            }
        }
        let entry = self
            .0
            .directory
            .change(ask.app, &ask.client, |sessions| sessions.iter().find(|entry| entry.conn == ask.conn).cloned());
        let Some(entry) = entry else {
            return self.answer(&ask, &Answer::Failed(Code::SessionRequired.into()), batch);
        };
        let token = Token {
            app,
            client: ask.client.clone(),
            device: entry.device,
            tag: entry.tag,
            expires: now + Millis::from(TOKEN_TTL_S) * 1000,
            id: entry.token,
        };
        let sealed = token::seal(&token, &self.0.tokens.key).into();
        self.answer(&ask, &Answer::Refreshed { token: sealed, ttl_s: TOKEN_TTL_S }, batch);
    }

    /// The connection is gone, and all its sessions with it. Their tokens stay good, and their wills are sent.
    pub(super) fn closed(&self, conn: ConnId, code: u16, batch: &mut Batch<'_, Event>) {
        let now = self.0.now();
        let step =
            |client: &ClientId| Step::new(now, "closed", "authenticate").conn(conn).client(client).code(code.into());
        let ended = |client: &ClientId| self.0.traces.note(|| step(client));
        let Some(app) = self.0.forget(conn, Some(now), ended) else { return };
        log::debug!("connection {conn} closed with {code}");
        self.send_wills(conn, app, self.0.connections.wills.take_all(conn), batch);
    }

    /// A few in each turn, for the output's room is reserved for so many.
    pub(super) fn send_wills(
        &self,
        conn: ConnId,
        app: AppId,
        mut wills: Vec<(ClientId, Box<Will>)>,
        batch: &mut Batch<'_, Event>,
    ) {
        for (client, will) in wills.split_off(wills.len().saturating_sub(MOST_WILLS)) {
            let ask =
                Ask { app, conn, client, i: None, received_ns: 0, held: None, busy: None, journey: None, going: None };
            batch.emit(NEXT, Event::Task(Box::new(Task { ask, what: Work::Will(will) })));
        }
        if !wills.is_empty() {
            let rest = Event::Asked(Box::new(Asked { conn, what: Saying::Wills { app, wills } }));
            batch.hold(rest, NEXT_TURN_TIME).resume(event::Answer::Done);
        }
    }
}
