//! Who is in which chat room: joined and online, in memory only (wire.md section 4).
//!
//! One room a session; joining another leaves the first. A dropped connection counts as leaving, but a client that is
//! back within 30 minutes is in its room again, unless it had left by itself. Each room has a number under which the
//! reactors know it as a group.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use lru::LruCache;
use tidegate_domain::ids::{AppId, ClientId, ConnId, ConvId, Millis};

use crate::mail::Recipient;

const REMEMBERED_MS: Millis = 30 * 60 * 1000;
const SHARDS: usize = 64;
/// Clients whose dropped room is remembered; the longest gone is forgotten first.
const MOST_REMEMBERED: usize = 1_000_000;

type RoomKey = (AppId, ConvId);

/// Which room each session is in.
type Places = HashMap<(ConnId, ClientId), RoomKey, RandomState>;
/// The rooms of clients whose connection dropped, and until when they are kept.
type Dropped = LruCache<(AppId, ClientId), (ConvId, Millis), RandomState>;

#[derive(Debug)]
struct Room {
    group: u64,
    /// Sessions in it, by client.
    clients: HashMap<ClientId, Vec<ConnId>, RandomState>,
}

/// A room that a session was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub cid: ConvId,
    pub group: u64,
}

pub struct Rooms {
    rooms: Vec<Mutex<HashMap<RoomKey, Room, RandomState>>>,
    /// Which room a session is in.
    of: Vec<Mutex<Places>>,
    dropped: Mutex<Dropped>,
    next_group: AtomicU64,
    choose: RandomState,
}

impl Default for Rooms {
    fn default() -> Self {
        let most = NonZeroUsize::new(MOST_REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        // Bounded afterwards: made with its bound, it would allocate all of it at once.
        let mut dropped = LruCache::unbounded_with_hasher(RandomState::default());
        dropped.resize(most);
        Rooms {
            rooms: (0..SHARDS).map(|_| Mutex::default()).collect(),
            of: (0..SHARDS).map(|_| Mutex::default()).collect(),
            dropped: Mutex::new(dropped),
            next_group: AtomicU64::new(1),
            choose: RandomState::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rooms {
    fn room(&self, key: &RoomKey) -> MutexGuard<'_, HashMap<RoomKey, Room, RandomState>> {
        lock(&self.rooms[std::hash::BuildHasher::hash_one(&self.choose, key) as usize % SHARDS])
    }

    fn of(&self, conn: ConnId) -> MutexGuard<'_, Places> {
        lock(&self.of[conn.slot() as usize % SHARDS])
    }

    /// Puts a session into a room: its group, and the room that it left for it.
    pub fn join(&self, app: AppId, cid: ConvId, session: &Recipient) -> (u64, Option<Place>) {
        lock(&self.dropped).pop(&(app, session.client.clone()));
        // The room first: a session that ends meanwhile is found in it by whoever looks where the session is.
        let group = self.enter((app, cid), session);
        let before = self.of(session.conn).insert((session.conn, session.client.clone()), (app, cid));
        let left = before.filter(|room| *room != (app, cid)).and_then(|room| self.take(room, session));
        (group, left)
    }

    fn enter(&self, key: RoomKey, session: &Recipient) -> u64 {
        let mut rooms = self.room(&key);
        let room = rooms.entry(key).or_insert_with(|| Room {
            group: self.next_group.fetch_add(1, Ordering::Relaxed),
            clients: HashMap::default(),
        });
        let sessions = room.clients.entry(session.client.clone()).or_default();
        if !sessions.contains(&session.conn) {
            sessions.push(session.conn);
        }
        room.group
    }

    /// Takes a session out of this room, where it is in it.
    pub fn leave(&self, app: AppId, cid: ConvId, session: &Recipient) -> Option<Place> {
        {
            let mut of = self.of(session.conn);
            let key = (session.conn, session.client.clone());
            if of.get(&key) != Some(&(app, cid)) {
                return None;
            }
            of.remove(&key);
        }
        self.take((app, cid), session)
    }

    /// The session is over. `comes_back`: its connection dropped, so that the room is kept for a while.
    pub fn gone(&self, app: AppId, session: &Recipient, comes_back: Option<Millis>) {
        let room = self.of(session.conn).remove(&(session.conn, session.client.clone()));
        let Some(room) = room else { return };
        self.take(room, session);
        if let Some(now) = comes_back {
            lock(&self.dropped).put((app, session.client.clone()), (room.1, now + REMEMBERED_MS));
        }
    }

    /// The room that a client dropped out of a short while ago.
    pub fn remembered(&self, app: AppId, client: &ClientId, now: Millis) -> Option<ConvId> {
        let (cid, until) = lock(&self.dropped).pop(&(app, client.clone()))?;
        (now < until).then_some(cid)
    }

    /// Does something with the group of the room that a session is in; none enters another meanwhile.
    pub fn with_group_of<R>(&self, session: &Recipient, act: impl FnOnce(Option<u64>) -> R) -> R {
        let of = self.of(session.conn);
        let room = of.get(&(session.conn, session.client.clone()));
        act(room.and_then(|(app, cid)| self.group(*app, *cid)))
    }

    fn take(&self, key: RoomKey, session: &Recipient) -> Option<Place> {
        let mut rooms = self.room(&key);
        let room = rooms.get_mut(&key)?;
        let place = Place { cid: key.1, group: room.group };
        if let Some(sessions) = room.clients.get_mut(&session.client) {
            sessions.retain(|conn| *conn != session.conn);
            if sessions.is_empty() {
                room.clients.remove(&session.client);
            }
        }
        if room.clients.is_empty() {
            rooms.remove(&key);
        }
        Some(place)
    }

    /// The room's group; `None` while nobody is in it.
    pub fn group(&self, app: AppId, cid: ConvId) -> Option<u64> {
        self.room(&(app, cid)).get(&(app, cid)).map(|room| room.group)
    }

    pub fn contains(&self, app: AppId, cid: ConvId, client: &ClientId) -> bool {
        self.room(&(app, cid)).get(&(app, cid)).is_some_and(|room| room.clients.contains_key(client))
    }

    /// Clients in it.
    pub fn count(&self, app: AppId, cid: ConvId) -> usize {
        self.room(&(app, cid)).get(&(app, cid)).map_or(0, |room| room.clients.len())
    }

    /// Some of the clients in it.
    pub fn some(&self, app: AppId, cid: ConvId, most: usize) -> Vec<ClientId> {
        let rooms = self.room(&(app, cid));
        rooms.get(&(app, cid)).map_or_else(Vec::new, |room| room.clients.keys().take(most).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: AppId = AppId(0);

    fn session(slot: u32, client: &str) -> Recipient {
        Recipient { conn: ConnId::new(0, 0, slot, 1), client: client.into() }
    }

    fn room(n: u8) -> ConvId {
        ConvId::Object([n; 12])
    }

    #[test]
    fn joining_another_room_leaves_the_first() {
        let rooms = Rooms::default();
        let ann = session(1, "ann");
        let (first, left) = rooms.join(APP, room(1), &ann);
        assert_eq!(left, None);
        let (second, left) = rooms.join(APP, room(2), &ann);
        assert_eq!(left, Some(Place { cid: room(1), group: first }));
        assert_ne!(first, second);
        assert_eq!((rooms.count(APP, room(1)), rooms.count(APP, room(2))), (0, 1));
        assert_eq!(rooms.leave(APP, room(1), &ann), None, "it is not there any more");
    }

    #[test]
    fn two_sessions_of_a_client_count_once_and_leave_apart() {
        let rooms = Rooms::default();
        rooms.join(APP, room(1), &session(1, "ann"));
        rooms.join(APP, room(1), &session(2, "ann"));
        assert_eq!(rooms.count(APP, room(1)), 1);
        rooms.gone(APP, &session(1, "ann"), None);
        assert!(rooms.contains(APP, room(1), &"ann".into()));
        rooms.gone(APP, &session(2, "ann"), None);
        assert_eq!(rooms.group(APP, room(1)), None);
    }

    #[test]
    fn a_dropped_client_is_remembered_for_half_an_hour_and_one_that_left_is_not() {
        let rooms = Rooms::default();
        let (ann, bob) = (session(1, "ann"), session(2, "bob"));
        rooms.join(APP, room(1), &ann);
        rooms.join(APP, room(1), &bob);
        rooms.gone(APP, &ann, Some(1_000));
        rooms.leave(APP, room(1), &bob);
        rooms.gone(APP, &bob, Some(1_000));
        assert_eq!(rooms.remembered(APP, &ann.client, 1_000 + REMEMBERED_MS - 1), Some(room(1)));
        assert_eq!(rooms.remembered(APP, &ann.client, 1_000), None, "once");
        assert_eq!(rooms.remembered(APP, &bob.client, 1_000), None);
    }
}
