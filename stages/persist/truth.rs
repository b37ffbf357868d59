//! Conversations as persist knows them: exact, because nothing else changes them.
//!
//! Bounded; what is not here is read from the store. Only committed state is put in, by the worker that owns the
//! conversation's lane.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::{FixedState, RandomState};
use lru::LruCache;
use tidegate_domain::conversation::Conversation;
use tidegate_domain::ids::{AppId, ConvId};
use tidegate_store::{Store, StoreError};

use super::newest::Newest;

const SHARDS: usize = 64;
const MOST: usize = 64 * 1024;

/// One conversation and what is known of its newest messages.
#[derive(Debug, Clone)]
pub struct Hot {
    pub conversation: Arc<Conversation>,
    pub newest: Newest,
}

type Key = (AppId, ConvId);
type Shard = LruCache<Key, Hot, RandomState>;

pub struct Truth {
    store: Arc<dyn Store>,
    shards: Vec<Mutex<Shard>>,
}

impl Truth {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let each = NonZeroUsize::new(MOST / SHARDS).unwrap_or(NonZeroUsize::MIN);
        let shard = || Mutex::new(LruCache::with_hasher(each, RandomState::default()));
        Truth { store, shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let at = std::hash::BuildHasher::hash_one(&FixedState::with_seed(5), key) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: there is no such conversation.
    pub fn get(&self, app: AppId, cid: ConvId) -> Result<Option<Hot>, StoreError> {
        if let Some(hot) = self.shard(&(app, cid)).get(&(app, cid)) {
            return Ok(Some(hot.clone()));
        }
        let Some(conversation) = self.store.conversation(app, cid)? else { return Ok(None) };
        let newest = self.store.last(app, cid)?.map_or_else(Newest::none, |last| Newest::after(last.at));
        // Not put in: the caller may be another client's lane (marks), and only the conversation's own may write here.
        Ok(Some(Hot { conversation: Arc::new(conversation), newest }))
    }

    /// Never goes back: a unique conversation is made in another lane than its own, which may be further already.
    pub fn put(&self, app: AppId, cid: ConvId, mut hot: Hot) {
        let mut shard = self.shard(&(app, cid));
        if let Some(kept) = shard.get(&(app, cid)) {
            if kept.newest.last_at > hot.newest.last_at {
                hot.newest = kept.newest.clone();
            }
            if kept.conversation.version > hot.conversation.version {
                hot.conversation = kept.conversation.clone();
            }
        }
        shard.put((app, cid), hot);
    }
}
