//! The cache of conversations: what route checks against.
//!
//! Persist publishes after each commit, read fills on a miss. A version never gives way to an older one, so that a
//! slow fill cannot undo a change. Bounded; the store is the truth.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tidegate_domain::conversation::Conversation;
use tidegate_domain::ids::{AppId, ConvId};

const SHARDS: usize = 64;

type Key = (AppId, ConvId);

pub struct Views {
    shards: Vec<Mutex<LruCache<Key, Arc<Conversation>, foldhash::fast::RandomState>>>,
    choose: foldhash::fast::FixedState,
}

impl Views {
    /// `most`: conversations kept, over all.
    pub fn new(most: usize) -> Self {
        let each = NonZeroUsize::new(most / SHARDS).unwrap_or(NonZeroUsize::MIN);
        let shard = || Mutex::new(LruCache::with_hasher(each, foldhash::fast::RandomState::default()));
        Views { shards: (0..SHARDS).map(|_| shard()).collect(), choose: foldhash::fast::FixedState::with_seed(7) }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, LruCache<Key, Arc<Conversation>, foldhash::fast::RandomState>> {
        let at = std::hash::BuildHasher::hash_one(&self.choose, key) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, app: AppId, cid: ConvId) -> Option<Arc<Conversation>> {
        self.shard(&(app, cid)).get(&(app, cid)).cloned()
    }

    /// Keeps it unless a newer version is there; gives what is there now.
    pub fn put(&self, app: AppId, conversation: Arc<Conversation>) -> Arc<Conversation> {
        let key = (app, conversation.id);
        let mut shard = self.shard(&key);
        if let Some(kept) = shard.get(&key)
            && kept.version >= conversation.version
        {
            return kept.clone();
        }
        shard.put(key, conversation.clone());
        conversation
    }

    /// Conversations kept now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::conversation::Kind;

    fn conversation(version: u64) -> Arc<Conversation> {
        Arc::new(Conversation {
            id: ConvId::parse("559d08a1e4b0a35bc5062ba1"),
            kind: Kind::Normal,
            creator: "a".into(),
            members: Vec::new(),
            muted: Vec::new(),
            attributes: Default::default(),
            unique_id: None,
            created: 0,
            updated: 0,
            version,
            expires: None,
        })
    }

    #[test]
    fn a_late_fill_never_replaces_a_newer_version() {
        let views = Views::new(1000);
        views.put(AppId(0), conversation(2));
        let kept = views.put(AppId(0), conversation(1));
        assert_eq!(kept.version, 2);
        views.put(AppId(0), conversation(3));
        assert_eq!(views.get(AppId(0), kept.id).map(|c| c.version), Some(3));
        assert!(views.get(AppId(1), kept.id).is_none(), "apps are apart");
    }
}
