//! A session's commands in flight, so that its `close` can be answered after them.
//!
//! Every command of a session holds a share of its `Busy`; the session holds one too and lets go of it at the end. When
//! the last share is gone, whoever waits is told, from the thread that dropped it.

use std::sync::{Arc, Mutex, PoisonError};

/// One session's commands in flight.
#[derive(Default)]
pub struct Busy {
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Busy {
    /// Calls `then` when a session that has ended is done, at once where there is none.
    pub fn after(session: Option<Arc<Self>>, then: impl FnOnce() + Send + 'static) {
        match session {
            Some(busy) => busy.when_done(then),
            None => then(),
        }
    }

    /// Gives this share up; `then` is called when all others are gone, at once if they are.
    fn when_done(self: Arc<Self>, then: impl FnOnce() + Send + 'static) {
        *self.then.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(then));
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let then = self.then.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(then) = then {
            then();
        }
    }
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Busy")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;

    #[test]
    fn who_waits_is_told_when_the_last_share_is_gone() {
        let busy = Arc::new(Busy::default());
        let (first, second) = (busy.clone(), busy.clone());
        let told = Arc::new(AtomicBool::new(false));
        let tell = told.clone();
        busy.when_done(move || tell.store(true, SeqCst));
        drop(first);
        assert!(!told.load(SeqCst));
        drop(second);
        assert!(told.load(SeqCst));
    }

    #[test]
    fn with_nothing_in_flight_it_is_at_once() {
        let told = Arc::new(AtomicBool::new(false));
        let tell = told.clone();
        Arc::new(Busy::default()).when_done(move || tell.store(true, SeqCst));
        assert!(told.load(SeqCst));
    }

    /// Each session has one.
    #[test]
    fn it_is_small() {
        assert!(size_of::<Busy>() <= 24, "{}", size_of::<Busy>());
    }
}
