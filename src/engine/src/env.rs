//! The clock, real or virtual.
//!
//! Everything in the engine that asks for the time asks here, so that the simulated run decides what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Where a pipeline takes its time from.
#[derive(Debug, Clone)]
pub struct Env {
    clock: Clock,
}

#[derive(Debug, Clone)]
enum Clock {
    Real(Instant),
    Virtual(Virtual),
}

/// A clock that others move, and how long the batch that runs right now says that it takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Virtual {
    pub now: Arc<AtomicU64>,
    pub worked: Arc<AtomicU64>,
}

impl Env {
    /// The machine's monotonic clock.
    #[allow(clippy::disallowed_methods)] // the one place
    pub fn real() -> Env {
        Env { clock: Clock::Real(Instant::now()) }
    }

    /// A clock that stands still until somebody moves it (nanoseconds).
    pub fn simulated(clock: Arc<AtomicU64>) -> Env {
        Env::of(Virtual { now: clock, worked: Arc::default() })
    }

    pub(crate) fn of(clock: Virtual) -> Env {
        Env { clock: Clock::Virtual(clock) }
    }

    /// When the batch that has just been run is over: now, or in a simulated run so much later as it worked.
    pub(crate) fn end_of_batch(&self) -> u64 {
        match &self.clock {
            Clock::Real(_) => self.now(),
            Clock::Virtual(clock) => self.now() + clock.worked.swap(0, Ordering::SeqCst),
        }
    }

    /// Nanoseconds since some moment before the pipeline was built. Never 0, never goes back.
    pub fn now(&self) -> u64 {
        match &self.clock {
            Clock::Real(start) => start.elapsed().as_nanos() as u64 + 1,
            Clock::Virtual(clock) => clock.now.load(Ordering::SeqCst) + 1,
        }
    }
}
