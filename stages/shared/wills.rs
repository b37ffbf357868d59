//! Messages that sessions leave for when their connection is lost (wire.md 3.8.4): one a session, the last one wins.
//!
//! Apart from the sessions themselves, for hardly any has one. Bounded by connection. Whoever keeps or takes one holds the
//! lock of its connection, so that no will outlives its session here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tidegate_domain::command::Send as SendCommand;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{ClientId, ConnId};
use tidegate_domain::message;

use crate::event::Will;

/// What the wills of one connection's sessions may have, in bytes.
const MOST_BYTES: usize = 1 << 20;
const SHARDS: usize = 64;

#[derive(Default)]
struct OfConnection {
    wills: HashMap<ClientId, Box<Will>, RandomState>,
    bytes: usize,
}

type Shard = HashMap<ConnId, OfConnection, RandomState>;

pub struct Wills {
    shards: Vec<Mutex<Shard>>,
}

impl Default for Wills {
    fn default() -> Self {
        Wills { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Wills {
    fn shard(&self, conn: ConnId) -> MutexGuard<'_, Shard> {
        self.shards[conn.slot() as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In place of the one before. Fails with 4116 where the connection's have no room for it.
    pub(super) fn keep(&self, conn: ConnId, client: &ClientId, will: Box<Will>) -> Result<(), Failure> {
        let mut shard = self.shard(conn);
        let own = shard.entry(conn).or_default();
        let bytes = own.bytes - own.wills.get(client).map_or(0, |will| weight(will)) + weight(&will);
        if bytes > MOST_BYTES {
            let detail = format!("the wills of this connection's sessions have at most {MOST_BYTES} bytes together");
            return Err(Failure::because(Code::Overloaded, detail));
        }
        own.bytes = bytes;
        own.wills.insert(client.clone(), will);
        Ok(())
    }

    pub(super) fn has(&self, conn: ConnId, client: &ClientId) -> bool {
        self.shard(conn).get(&conn).is_some_and(|own| own.wills.contains_key(client))
    }

    pub(super) fn take(&self, conn: ConnId, client: &ClientId) -> Option<Box<Will>> {
        let mut shard = self.shard(conn);
        let own = shard.get_mut(&conn)?;
        let will = own.wills.remove(client)?;
        own.bytes -= weight(&will);
        if own.wills.is_empty() {
            shard.remove(&conn);
        }
        Some(will)
    }

    /// All of a connection that is gone.
    pub fn take_all(&self, conn: ConnId) -> Vec<(ClientId, Box<Will>)> {
        let own = self.shard(conn).remove(&conn);
        own.map_or_else(Vec::new, |own| own.wills.into_iter().collect())
    }
}

/// What a will takes of memory, about.
fn weight(will: &Will) -> usize {
    let receivers = will.to.iter().flatten().map(|client| client.len());
    size_of::<SendCommand>() + message::size(&will.send) + receivers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_domain::command::{Body, Mentions, Priority};
    use tidegate_domain::ids::{ConvId, MessageId};

    use super::*;

    fn will(bytes: usize) -> Box<Will> {
        let send = SendCommand {
            cid: ConvId::Nowhere,
            body: Body::Binary(Bytes::from(vec![0; bytes])),
            transient: false,
            receipt: false,
            will: true,
            dedupe: None,
            push_data: None,
            mentions: Mentions::default(),
            priority: Priority::Normal,
        };
        Box::new(Will { send: Box::new(send), to: None, mid: MessageId::new(1, 0, 0) })
    }

    #[test]
    fn a_connection_has_room_for_so_many_and_what_goes_makes_room() {
        let (wills, conn) = (Wills::default(), ConnId::new(0, 0, 1, 1));
        let ids = ["a", "b", "c"].map(ClientId::from);
        let half = MOST_BYTES / 2 - size_of::<SendCommand>();
        wills.keep(conn, &ids[0], will(half)).unwrap();
        wills.keep(conn, &ids[0], will(half)).unwrap();
        wills.keep(conn, &ids[1], will(half)).unwrap();
        assert_eq!(wills.keep(conn, &ids[2], will(1)).unwrap_err().code, Code::Overloaded);
        wills.keep(ConnId::new(0, 0, 2, 1), &ids[2], will(1)).unwrap();
        assert!(wills.take(conn, &ids[0]).is_some() && wills.take(conn, &ids[0]).is_none());
        wills.keep(conn, &ids[2], will(half)).unwrap();
        assert_eq!(wills.take_all(conn).len(), 2);
        assert!(wills.take_all(conn).is_empty());
    }
}
