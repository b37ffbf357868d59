//! The way of one sampled event through the stages.

use std::fmt;
use std::sync::{Arc, Mutex};

/// Where an event has been and when. Clones share the same marks, so whoever started a journey can read it later.
#[derive(Clone)]
pub struct Journey {
    inner: Arc<Inner>,
}

struct Inner {
    id: u64,
    // Not through the crate's seam: nothing waits for what is noted here.
    marks: Mutex<Vec<Mark>>,
}

/// One stop. Times are nanoseconds of the pipeline's clock ([`crate::Pipeline::now`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The stage's name, or whatever else its author calls the place.
    pub stage: Arc<str>,
    /// When it was put in the queue.
    pub queued_at: u64,
    /// When the batch that it was in started.
    pub started_at: u64,
    /// When that batch ended. For an event that was held, the batch that it was resumed in has a mark of its own.
    pub ended_at: u64,
    /// How many events were in the batch.
    pub batch: u32,
}

/// A journey stops taking marks here: an event that goes round in circles must not fill the memory.
const MOST_MARKS: usize = 256;

impl Journey {
    /// An empty journey with the caller's number.
    pub fn new(id: u64) -> Journey {
        Journey { inner: Arc::new(Inner { id, marks: Mutex::new(Vec::new()) }) }
    }
    /// The number that it was made with.
    pub fn id(&self) -> u64 {
        self.inner.id
    }
    /// Adds a stop. Beyond 256 it is ignored.
    pub fn mark(&self, mark: Mark) {
        let mut marks = self.inner.marks.lock().unwrap_or_else(|e| e.into_inner());
        if marks.len() < MOST_MARKS {
            marks.push(mark);
        }
    }
    /// When the first stop's wait began.
    pub(crate) fn begun(&self) -> Option<u64> {
        self.inner.marks.lock().unwrap_or_else(|e| e.into_inner()).first().map(|mark| mark.queued_at)
    }
    /// The stops so far, in the order in which they ended.
    pub fn marks(&self) -> Vec<Mark> {
        self.inner.marks.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl fmt::Debug for Journey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journey").field("id", &self.inner.id).field("marks", &self.marks()).finish()
    }
}
