//! Sampled messages and what each stage took of them.
//!
//! A journey starts at the door; persist names it by its message once that has an id. A bounded number is kept, the
//! newest. Off (`sample = 0`), it costs one comparison a message.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use tidegate_domain::ids::MessageId;
use tidegate_engine::Journey;

pub struct Journeys {
    /// Every how many frames one is sampled; 0 never, 1 always.
    every: AtomicU64,
    seen: AtomicU64,
    kept: Mutex<LruCache<MessageId, Journey>>,
}

impl Journeys {
    /// `share` of messages that are sampled, 0 to 1; `keep`: the most that are kept, at least 1.
    pub fn new(share: f64, keep: usize) -> Self {
        let every = if share <= 0.0 { 0 } else { (1.0 / share).round().max(1.0) as u64 };
        let most = NonZeroUsize::new(keep).unwrap_or(NonZeroUsize::MIN);
        Journeys { every: AtomicU64::new(every), seen: AtomicU64::new(0), kept: Mutex::new(LruCache::new(most)) }
    }

    /// From now on all messages, as the development page wants it.
    pub fn sample_all(&self) {
        self.every.store(1, Ordering::Relaxed);
    }

    /// A new journey, where it is this frame's turn.
    pub fn begin(&self) -> Option<Journey> {
        match self.every.load(Ordering::Relaxed) {
            0 => None,
            every => {
                let n = self.seen.fetch_add(1, Ordering::Relaxed);
                n.is_multiple_of(every).then(|| Journey::new(n))
            }
        }
    }

    pub fn name(&self, mid: MessageId, journey: &Journey) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(mid, journey.clone());
    }

    /// All that are kept, the newest first.
    pub fn all(&self) -> Vec<(MessageId, Journey)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(mid, journey)| (*mid, journey.clone())).collect()
    }

    pub fn find(&self, mid: MessageId) -> Option<Journey> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&mid).cloned()
    }
}
