//! What is known of each open connection: its app, where it came from, and the sessions on it, oldest first.
//!
//! Written by authenticate only: in the lane of the connection, or in that of another one whose log-in ends a session here.
//! Others read. A command without a `peerId` is of the
//! first session that is still open (wire.md 2.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use tidegate_domain::ids::{AppId, ClientId, ConnId};

use super::busy::Busy;
use crate::event::Origin;

const SHARDS: usize = 64;

#[derive(Debug)]
pub struct Connection {
    pub origin: Origin,
    /// Named by the first `login` or `open`; a connection speaks for one app.
    pub app: Option<AppId>,
    /// Oldest first, each with its commands in flight.
    pub sessions: IndexMap<ClientId, Arc<Busy>, RandomState>,
}

pub struct Connections {
    shards: Vec<Mutex<HashMap<ConnId, Connection, RandomState>>>,
}

impl Default for Connections {
    fn default() -> Self {
        Connections { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Connections {
    fn shard(&self, conn: ConnId) -> MutexGuard<'_, HashMap<ConnId, Connection, RandomState>> {
        let at = conn.slot() as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn opened(&self, conn: ConnId, origin: Origin) {
        self.shard(conn).insert(conn, Connection { origin, app: None, sessions: IndexMap::default() });
    }

    /// Forgets it, and says what it was.
    pub fn closed(&self, conn: ConnId) -> Option<Connection> {
        self.shard(conn).remove(&conn)
    }

    /// `None`: the connection is gone, and nobody waits for what its commands would bring.
    pub fn with<R>(&self, conn: ConnId, look: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        self.shard(conn).get_mut(&conn).map(look)
    }

    /// Whether this client's session is open there.
    pub fn is_open(&self, conn: ConnId, client: &ClientId) -> bool {
        self.with(conn, |connection| connection.sessions.contains_key(client)).unwrap_or(false)
    }

    /// The oldest session that is still open there.
    pub fn first_session(&self, conn: ConnId) -> Option<ClientId> {
        self.with(conn, |connection| connection.sessions.keys().next().cloned()).flatten()
    }

    /// Takes a session off; gives its commands in flight.
    pub fn end_session(&self, conn: ConnId, client: &ClientId) -> Option<Arc<Busy>> {
        self.with(conn, |connection| connection.sessions.shift_remove(client))?
    }
}
