//! Who is online where: the sessions of each client, each on one connection.
//!
//! A change of one client's sessions is atomic, so that a tag conflict is decided once. One node keeps local maps; a
//! cluster will stand behind the same trait. Must not know sockets: a connection is a name.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::ids::{AppId, ClientId, ConnId};

/// One session of a client, as others need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    pub conn: ConnId,
    /// The single-device tag; `None` where it never conflicts.
    pub tag: Option<Box<str>>,
    pub device: Option<Box<str>>,
    /// The id in its session token.
    pub token: [u8; 16],
}

/// Who is online where. Used as `&dyn Directory`; `change` and `with` below are its comfortable forms.
pub trait Directory: Send + Sync {
    /// Calls `change` exactly once with the client's sessions, nobody else seeing them meanwhile; what is left in the list
    /// is what holds from then on. `change` must be short and must not ask the directory again.
    fn change_sessions(&self, app: AppId, client: &ClientId, change: &mut dyn FnMut(&mut Vec<SessionEntry>));

    /// Calls `look` exactly once with the client's sessions, none where it is offline. Must not ask the directory again.
    fn look_at_sessions(&self, app: AppId, client: &str, look: &mut dyn FnMut(&[SessionEntry]));

    fn is_online(&self, app: AppId, client: &str) -> bool;

    /// Sessions of all clients of all apps, as of about now.
    fn count(&self) -> usize;
}

impl dyn Directory + '_ {
    /// `change_sessions`, giving back what the closure says.
    pub fn change<R>(&self, app: AppId, client: &ClientId, change: impl FnOnce(&mut Vec<SessionEntry>) -> R) -> R {
        let (mut change, mut result) = (Some(change), None);
        self.change_sessions(app, client, &mut |sessions| result = change.take().map(|change| change(sessions)));
        result.expect("a directory calls the closure exactly once")
    }

    /// `look_at_sessions`, giving back what the closure says.
    pub fn with<R>(&self, app: AppId, client: &str, look: impl FnOnce(&[SessionEntry]) -> R) -> R {
        let (mut look, mut result) = (Some(look), None);
        self.look_at_sessions(app, client, &mut |sessions| result = look.take().map(|look| look(sessions)));
        result.expect("a directory calls the closure exactly once")
    }
}

/// Enough that two threads rarely want the same one.
const SHARDS: usize = 256;

/// A client's sessions, exactly as long as needed: idle clients are many, and most have one.
type Sessions = Box<[SessionEntry]>;

/// Apps are few, so that a map of each costs less than an app in every key.
type Shard = RwLock<HashMap<AppId, HashMap<ClientId, Sessions, RandomState>, RandomState>>;

/// The directory of a single node.
pub struct LocalDirectory {
    shards: Box<[Shard]>,
    choose: RandomState,
    sessions: AtomicUsize,
}

impl LocalDirectory {
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        LocalDirectory { shards, choose: RandomState::default(), sessions: AtomicUsize::new(0) }
    }

    fn shard(&self, app: AppId, client: &str) -> &Shard {
        &self.shards[self.choose.hash_one((app, client)) as usize % SHARDS]
    }
}

impl Default for LocalDirectory {
    fn default() -> Self {
        LocalDirectory::new()
    }
}

impl Directory for LocalDirectory {
    fn change_sessions(&self, app: AppId, client: &ClientId, change: &mut dyn FnMut(&mut Vec<SessionEntry>)) {
        // A closure that panics leaves the client as it was: poison says nothing more.
        let mut shard = self.shard(app, client).write().unwrap_or_else(PoisonError::into_inner);
        let clients = shard.entry(app).or_default();
        let mut sessions = clients.get(client).map_or_else(|| Vec::with_capacity(1), |sessions| sessions.to_vec());
        let before = sessions.len();
        change(&mut sessions);
        let after = sessions.len();
        match after {
            0 => {
                clients.remove(client);
            }
            _ => match clients.get_mut(client) {
                Some(kept) => *kept = sessions.into_boxed_slice(),
                None => {
                    clients.insert(client.clone(), sessions.into_boxed_slice());
                }
            },
        }
        // Under the lock each client's steps are in order, and so the sum never goes below zero.
        self.sessions.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    fn look_at_sessions(&self, app: AppId, client: &str, look: &mut dyn FnMut(&[SessionEntry])) {
        let shard = self.shard(app, client).read().unwrap_or_else(PoisonError::into_inner);
        look(shard.get(&app).and_then(|clients| clients.get(client)).map_or(&[], |sessions| sessions));
    }

    fn is_online(&self, app: AppId, client: &str) -> bool {
        let shard = self.shard(app, client).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&app).is_some_and(|clients| clients.contains_key(client))
    }

    fn count(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const APP: AppId = AppId(1);

    fn entry(slot: u32) -> SessionEntry {
        SessionEntry { conn: ConnId::new(0, 0, slot, 1), tag: None, device: None, token: [0; 16] }
    }

    #[test]
    fn clients_of_different_apps_are_different() {
        let directory: Box<dyn Directory> = Box::new(LocalDirectory::new());
        directory.change(APP, &"ann".into(), |sessions| sessions.push(entry(1)));
        assert!(directory.is_online(APP, "ann"));
        assert!(!directory.is_online(AppId(2), "ann"));
        assert!(!directory.is_online(APP, "bob"));
        assert_eq!(directory.with(AppId(2), "ann", <[_]>::len), 0);
        assert_eq!(directory.with(APP, "ann", |sessions| sessions.to_vec()), [entry(1)]);
    }

    #[test]
    fn changes_of_one_client_from_many_threads_all_count() {
        let directory = LocalDirectory::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let directory: &dyn Directory = &directory;
                scope.spawn(move || {
                    for slot in 0..100 {
                        directory.change(APP, &"ann".into(), |sessions| sessions.push(entry(thread * 100 + slot)));
                    }
                });
            }
        });
        assert_eq!(directory.count(), 400);
        let directory: &dyn Directory = &directory;
        directory.change(APP, &"ann".into(), Vec::clear);
        assert_eq!((directory.count(), directory.is_online(APP, "ann")), (0, false));
    }

    #[test]
    fn a_session_entry_stays_small() {
        assert!(size_of::<SessionEntry>() <= 56);
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_lists(steps in prop::collection::vec((0..3u16, 0..4usize, any::<bool>(), 0..3u32), 0..60)) {
            let ids: Vec<ClientId> = ["a", "b", "c", "d"].map(ClientId::from).to_vec();
            let local = LocalDirectory::new();
            let directory: &dyn Directory = &local;
            let mut model: BTreeMap<(u16, usize), Vec<SessionEntry>> = BTreeMap::new();
            for (app, client, add, slot) in steps {
                let change = |sessions: &mut Vec<SessionEntry>| {
                    if add { sessions.push(entry(slot)) } else { sessions.retain(|s| *s != entry(slot)) }
                    sessions.len()
                };
                let expected = change(model.entry((app, client)).or_default());
                prop_assert_eq!(directory.change(AppId(app), &ids[client], change), expected);
            }
            for (&(app, client), sessions) in &model {
                prop_assert_eq!(&directory.with(AppId(app), &ids[client], |s| s.to_vec()), sessions);
                prop_assert_eq!(directory.is_online(AppId(app), &ids[client]), !sessions.is_empty());
            }
            prop_assert_eq!(directory.count(), model.values().map(Vec::len).sum::<usize>());
        }
    }
}
