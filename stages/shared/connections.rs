//! What is known of each open connection: its app, where it came from, and the sessions on it.
//!
//! Written by authenticate: in the lane of the connection, or in that of another one whose log-in ends a session here; and
//! by route, which puts a session's will there. Others read. A command without a `peerId` is of the
//! first session that is still open (wire.md 2.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{AppId, ClientId, ConnId};

use super::busy::Busy;
use super::sessions::Sessions;
use super::wills::Wills;
use crate::event::{Ask, Origin, Will};
use crate::mail::Recipient;

const SHARDS: usize = 64;

#[derive(Debug)]
pub struct Connection {
    pub origin: Origin,
    /// Named by the first `login` or `open`; a connection speaks for one app.
    pub app: Option<AppId>,
    pub sessions: Sessions,
}

/// Boxed, as up to half of a map's places are empty.
type Shard = HashMap<ConnId, Box<Connection>, RandomState>;

pub struct Connections {
    shards: Vec<Mutex<Shard>>,
    pub wills: Wills,
}

/// What a session leaves behind.
#[derive(Debug)]
pub struct Ended {
    /// Its commands in flight.
    pub busy: Arc<Busy>,
    pub will: Option<Box<Will>>,
}

impl Default for Connections {
    fn default() -> Self {
        Connections { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), wills: Wills::default() }
    }
}

impl Connections {
    fn shard(&self, conn: ConnId) -> MutexGuard<'_, Shard> {
        let at = conn.slot() as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn opened(&self, conn: ConnId, origin: Origin) {
        let connection = Connection { origin, app: None, sessions: Sessions::default() };
        self.shard(conn).insert(conn, Box::new(connection));
    }

    /// Forgets it, and says what it was.
    pub fn closed(&self, conn: ConnId) -> Option<Connection> {
        self.shard(conn).remove(&conn).map(|connection| *connection)
    }

    /// `None`: the connection is gone, and nobody waits for what its commands would bring.
    pub fn with<R>(&self, conn: ConnId, look: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        self.shard(conn).get_mut(&conn).map(|connection| look(connection))
    }

    /// Whether this client's session is open there.
    pub fn is_open(&self, conn: ConnId, client: &ClientId) -> bool {
        self.with(conn, |connection| connection.sessions.contains(client)).unwrap_or(false)
    }

    /// One of the sessions that are open there.
    pub fn any_session(&self, conn: ConnId) -> Option<ClientId> {
        self.with(conn, |connection| connection.sessions.any().cloned())?
    }

    /// Keeps the will of the asker's session, if that is still open.
    pub fn keep_will(&self, ask: &Ask, will: Box<Will>) -> Result<(), Failure> {
        let kept = self.with(ask.conn, |connection| {
            let (_, busy) = connection.sessions.get(&ask.client)?;
            // The client may have closed it and opened another.
            let is_it = ask.busy.as_ref().is_some_and(|own| Arc::ptr_eq(own, &busy));
            is_it.then(|| self.wills.keep(ask.conn, &ask.client, will))
        });
        kept.flatten().unwrap_or(Err(Code::SessionRequired.into()))
    }

    /// A session that has come back on another connection has its will still, unless it made another. Without room it is
    /// as if it had never been; nobody waits to hear that.
    pub fn inherit_will(&self, session: &Recipient, will: Box<Will>) {
        self.with(session.conn, |connection| {
            let (conn, client) = (session.conn, &session.client);
            if connection.sessions.contains(client) && !self.wills.has(conn, client) {
                let _ = self.wills.keep(conn, client, will);
            }
        });
    }

    /// Looks at every session that is open, one shard after the other.
    pub fn each_session(&self, mut look: impl FnMut(AppId, &ClientId)) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for connection in shard.values() {
                let Some(app) = connection.app else { continue };
                connection.sessions.each(|client| look(app, client));
            }
        }
    }

    /// Takes a session off.
    pub fn end_session(&self, conn: ConnId, client: &ClientId) -> Option<Ended> {
        self.with(conn, |connection| {
            let busy = connection.sessions.end(client)?;
            Some(Ended { busy, will: self.wills.take(conn, client) })
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each idle client costs one of these.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 80, "{}", size_of::<Connection>());
    }
}
