//! The way of one sampled event through the stages.
//!
//! A [`Journey`] travels: in the event, and in all that the event causes. When the last of these is done with, the journey
//! has ended. What it noted, its [`Way`], may be kept for longer.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Travels with an event. Clones are the same journey; it ends when the last of them is dropped.
#[derive(Clone)]
pub struct Journey {
    trip: Arc<Trip>,
}

struct Trip {
    way: Arc<Way>,
    ended: Option<Ended>,
}

/// Is called once for each journey that has ended, on the thread that did so, which has other work to do: it must be quick.
pub type Ended = Arc<dyn Fn(Arc<Way>) + Send + Sync>;

/// Where an event has been and when.
pub struct Way {
    id: u128,
    // Not through the crate's seam: nothing waits for what is noted here.
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    marks: Vec<Mark>,
    notes: Vec<(&'static str, String)>,
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
    /// When that batch ended. For an event that was held, the batch that it was resumed in has a mark of its own, with the
    /// same `queued_at`.
    pub ended_at: u64,
    /// How many events were in the batch.
    pub batch: u32,
}

/// A journey stops taking marks here: an event that goes round in circles must not fill the memory.
const MOST_MARKS: usize = 256;
/// Notes of different names.
const MOST_NOTES: usize = 16;

impl Journey {
    /// An empty journey with the caller's number.
    pub fn new(id: u128) -> Journey {
        Journey { trip: Arc::new(Trip { way: Arc::new(Way::new(id)), ended: None }) }
    }

    /// The same; its end is told.
    pub fn told(id: u128, ended: Ended) -> Journey {
        Journey { trip: Arc::new(Trip { way: Arc::new(Way::new(id)), ended: Some(ended) }) }
    }

    /// What it notes; whoever keeps this does not keep the journey from ending.
    pub fn way(&self) -> Arc<Way> {
        self.trip.way.clone()
    }
}

impl Deref for Journey {
    type Target = Way;

    fn deref(&self) -> &Way {
        &self.trip.way
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            ended(self.way.clone());
        }
    }
}

impl Way {
    /// An empty one, of what was not followed while it was under way.
    pub fn new(id: u128) -> Way {
        Way { id, noted: Mutex::default() }
    }

    /// The number that its journey was made with.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Adds a stop. Beyond 256 it is ignored.
    pub fn mark(&self, mark: Mark) {
        let mut noted = self.noted();
        if noted.marks.len() < MOST_MARKS {
            noted.marks.push(mark);
        }
    }

    /// Notes something about the event, in place of what was noted under this name. Beyond 16 names it is ignored.
    pub fn note(&self, name: &'static str, value: impl Into<String>) {
        let notes = &mut self.noted().notes;
        match notes.iter().position(|(known, _)| *known == name) {
            Some(at) => notes[at].1 = value.into(),
            None if notes.len() < MOST_NOTES => notes.push((name, value.into())),
            None => {}
        }
    }

    /// When the first stop's wait began.
    pub(crate) fn begun(&self) -> Option<u64> {
        self.noted().marks.first().map(|mark| mark.queued_at)
    }

    /// The stops so far, in the order in which they ended.
    pub fn marks(&self) -> Vec<Mark> {
        self.noted().marks.clone()
    }

    /// What was noted so far, in the order in which the names came.
    pub fn notes(&self) -> Vec<(&'static str, String)> {
        self.noted().notes.clone()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Journey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journey").field(&self.trip.way).finish()
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = format_args!("{:032x}", self.id).to_string();
        f.debug_struct("Way").field("id", &id).field("marks", &self.marks()).field("notes", &self.notes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journey_ends_once_with_the_last_that_travels() {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let told = ends.clone();
        let journey = Journey::told(7, Arc::new(move |way| told.lock().expect("not poisoned").push(way.id())));
        let (kept, caused) = (journey.way(), journey.clone());
        drop(journey);
        assert!(ends.lock().expect("not poisoned").is_empty(), "what it caused is still under way");
        caused.note("outcome", "stored");
        drop(caused);
        assert_eq!(*ends.lock().expect("not poisoned"), [7], "whoever keeps the way does not keep it from ending");
        assert_eq!(kept.notes(), [("outcome", "stored".to_owned())]);
    }

    #[test]
    fn a_note_takes_the_place_of_the_one_before() {
        let way = Way::new(1);
        ["stored", "refused"].into_iter().for_each(|outcome| way.note("outcome", outcome));
        assert_eq!(way.notes(), [("outcome", "refused".to_owned())]);
    }
}
