//! What is known of each open connection: its app, where it came from, and the sessions on it.
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
    pub sessions: Sessions,
}

/// The sessions of one connection, each with its commands in flight. Nothing here takes longer where there are many,
/// but finding the oldest after the one before it has ended.
#[derive(Debug, Default)]
pub struct Sessions {
    open: IndexMap<ClientId, Open, RandomState>,
    opened: u64,
    /// The oldest, while it is known.
    first: Option<ClientId>,
}

#[derive(Debug)]
struct Open {
    busy: Arc<Busy>,
    /// How many were opened before it.
    nth: u64,
}

impl Sessions {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn contains(&self, client: &ClientId) -> bool {
        self.open.contains_key(client)
    }

    /// Opens a client's session; one that is open already stays as it is. Says whether it is new.
    pub fn open(&mut self, client: &ClientId) -> (bool, Arc<Busy>) {
        if let Some(open) = self.open.get(client) {
            return (false, open.busy.clone());
        }
        if self.open.is_empty() {
            self.first = Some(client.clone());
        }
        let busy = Arc::<Busy>::default();
        self.open.insert(client.clone(), Open { busy: busy.clone(), nth: self.opened });
        self.opened += 1;
        (true, busy)
    }

    pub fn end(&mut self, client: &ClientId) -> Option<Arc<Busy>> {
        let ended = self.open.swap_remove(client)?;
        self.first.take_if(|first| first == client);
        Some(ended.busy)
    }

    /// A client's session.
    pub fn get(&self, client: &ClientId) -> Option<(ClientId, Arc<Busy>)> {
        self.open.get_key_value(client).map(|(client, open)| (client.clone(), open.busy.clone()))
    }

    /// The oldest session.
    pub fn first(&mut self) -> Option<(ClientId, Arc<Busy>)> {
        if self.first.is_none() {
            self.first = self.open.iter().min_by_key(|(_, open)| open.nth).map(|(client, _)| client.clone());
        }
        self.get(self.first.as_ref()?)
    }

    pub fn into_clients(self) -> impl Iterator<Item = ClientId> {
        self.open.into_keys()
    }
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
        self.shard(conn).insert(conn, Connection { origin, app: None, sessions: Sessions::default() });
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
        self.with(conn, |connection| connection.sessions.contains(client)).unwrap_or(false)
    }

    /// One of the sessions that are open there.
    pub fn any_session(&self, conn: ConnId) -> Option<ClientId> {
        self.with(conn, |connection| connection.sessions.open.keys().next().cloned())?
    }

    /// Takes a session off; gives its commands in flight.
    pub fn end_session(&self, conn: ConnId, client: &ClientId) -> Option<Arc<Busy>> {
        self.with(conn, |connection| connection.sessions.end(client))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(sessions: &mut Sessions) -> Option<String> {
        sessions.first().map(|(client, _)| client.to_string())
    }

    #[test]
    fn the_first_is_the_oldest_that_is_still_open() {
        let mut sessions = Sessions::default();
        assert_eq!(first(&mut sessions), None);
        let clients = ["a", "b", "c", "d"].map(ClientId::from);
        for client in &clients {
            assert!(sessions.open(client).0);
        }
        assert_eq!(first(&mut sessions).as_deref(), Some("a"));
        assert!(sessions.end(&clients[2]).is_some() && sessions.end(&clients[2]).is_none());
        assert_eq!(first(&mut sessions).as_deref(), Some("a"));
        // Two at once, and one that comes back is the youngest.
        sessions.end(&clients[0]);
        sessions.end(&clients[1]);
        assert!(sessions.open(&clients[0]).0);
        assert_eq!(first(&mut sessions).as_deref(), Some("d"));
        sessions.end(&clients[3]);
        assert_eq!(first(&mut sessions).as_deref(), Some("a"));
    }

    #[test]
    fn one_that_opens_twice_is_one() {
        let mut sessions = Sessions::default();
        let (_, busy) = sessions.open(&"a".into());
        let (is_new, again) = sessions.open(&"a".into());
        assert!(!is_new && Arc::ptr_eq(&busy, &again));
        assert_eq!(sessions.len(), 1);
    }
}
