//! A reactor's connections by id, and what mail does to one of them.

use mio::Token;
use slab::Slab;
use tidegate_domain::ids::{ClientId, ConnId};

use crate::conn::{Conn, Context};
use crate::groups::Groups;
use crate::mail::Class;

/// Tokens below this are the reactor's own.
pub(crate) const FIRST: usize = 8;
/// A slot's number has 24 bits.
const SLOTS: usize = 1 << 24;

pub(crate) struct Table {
    conns: Slab<Conn>,
    node: u8,
    reactor: u8,
    /// Counts connections, so that the next one in a slot is another.
    generation: u32,
}

impl Table {
    pub(crate) fn new(node: u8, reactor: u8) -> Self {
        Table { conns: Slab::new(), node, reactor, generation: 0 }
    }

    /// Makes a place; `None` when there are as many as ids can name. The token is for the socket's registration.
    pub(crate) fn insert(&mut self, make: impl FnOnce(ConnId) -> Conn) -> Option<(ConnId, &mut Conn, Token)> {
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        if slot >= SLOTS {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let id = ConnId::new(self.node, self.reactor, slot as u32, self.generation);
        Some((id, entry.insert(make(id)), Token(slot + FIRST)))
    }

    /// `None`: it is gone, though another may have its slot.
    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot() as usize).filter(|conn| conn.id == id)
    }

    pub(crate) fn by_token(&mut self, token: Token) -> Option<&mut Conn> {
        self.conns.get_mut(token.0.checked_sub(FIRST)?)
    }

    /// Drops a dead connection, and its sessions from their groups.
    pub(crate) fn bury(&mut self, id: ConnId, groups: &mut Groups) -> Option<Conn> {
        if !self.get(id).is_some_and(|conn| conn.dead) {
            return None;
        }
        let mut conn = self.conns.try_remove(id.slot() as usize)?;
        for (peer, group) in conn.groups.take().into_iter().flat_map(|groups| *groups) {
            groups.leave(group, id, &peer);
        }
        // Many slots were used once and few are now: the table gives memory back when it has become empty.
        if self.conns.is_empty() {
            self.conns.shrink_to_fit();
        }
        Some(conn)
    }

    /// Takes back an insertion.
    pub(crate) fn remove(&mut self, id: ConnId) {
        if self.get(id).is_some() {
            self.conns.try_remove(id.slot() as usize);
        }
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.conns.iter().map(|(_, conn)| conn.id).collect()
    }

    pub(crate) fn join(&mut self, group: u64, id: ConnId, peer: ClientId, groups: &mut Groups) {
        if let Some(conn) = self.get(id).filter(|conn| conn.is_open())
            && groups.join(group, id, &peer)
        {
            conn.groups.get_or_insert_default().insert((peer, group));
        }
    }

    /// The session leaves those of its groups that are `meant`.
    pub(crate) fn leave(&mut self, id: ConnId, peer: &ClientId, meant: impl Fn(u64) -> bool, groups: &mut Groups) {
        let Some(conn) = self.get(id) else { return };
        let Some(of_conn) = &mut conn.groups else { return };
        let own = of_conn.range((peer.clone(), 0)..=(peer.clone(), u64::MAX));
        let numbers: Vec<u64> = own.map(|(_, number)| *number).filter(|number| meant(*number)).collect();
        for number in numbers {
            of_conn.remove(&(peer.clone(), number));
            groups.leave(number, id, peer);
        }
        if of_conn.is_empty() {
            conn.groups = None;
        }
    }
}

/// A notice on its way to one recipient.
pub(crate) struct Notice<'a> {
    pub(crate) frame: &'a bytes::Bytes,
    pub(crate) class: Class,
    pub(crate) since_ns: u64,
    /// Held back until then, 0: not.
    pub(crate) until_ns: u64,
}

impl Table {
    /// Queues a notice if the recipient is still there.
    pub(crate) fn notify(&mut self, id: ConnId, peer: &ClientId, notice: &Notice<'_>, cx: &mut Context) {
        if let Some(conn) = self.get(id).filter(|conn| conn.is_open()) {
            conn.notify(notice.frame, peer, notice.class, notice.since_ns, notice.until_ns, cx);
        }
    }
}
