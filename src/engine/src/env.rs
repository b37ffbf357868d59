//! The clock, real or virtual.
//!
//! Everything in the engine that asks for the time asks here, so that the simulated run decides what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::processor::{ThreadTimes, of_process};

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
    /// The part of the batch for which it needs no processor; only a machine tells it from the rest.
    pub waited: Arc<AtomicU64>,
    /// Whose wait that is, where those of several batches are one; 0: its own.
    pub together: Arc<AtomicU64>,
    /// A batch is over when the machine says so, not when it says itself.
    pub is_machine: bool,
}

impl Env {
    /// The machine's monotonic clock.
    #[allow(clippy::disallowed_methods)] // the one place
    pub fn real() -> Env {
        Env { clock: Clock::Real(Instant::now()) }
    }

    /// A clock that stands still until somebody moves it (nanoseconds).
    pub fn simulated(clock: Arc<AtomicU64>) -> Env {
        Env::of(Virtual { now: clock, ..Virtual::default() })
    }

    pub(crate) fn of(clock: Virtual) -> Env {
        Env { clock: Clock::Virtual(clock) }
    }

    /// When the batch that has just been run is over: now, or in a simulated run so much later as it worked.
    pub(crate) fn end_of_batch(&self) -> u64 {
        match &self.clock {
            Clock::Real(_) => self.now(),
            Clock::Virtual(clock) if clock.is_machine => self.now(),
            Clock::Virtual(clock) => {
                self.now() + clock.worked.swap(0, Ordering::SeqCst) + clock.waited.swap(0, Ordering::SeqCst)
            }
        }
    }

    /// When a batch ended whose results are about to leave: as [`Env::end_of_batch`] said, except on a machine, where that
    /// is known only now.
    pub(crate) fn ended(&self, said: u64) -> u64 {
        match &self.clock {
            Clock::Virtual(clock) if clock.is_machine => self.now(),
            _ => said,
        }
    }

    /// What the calling thread has had so far, asked before something. Nothing where threads are not real.
    pub(crate) fn thread_begin(&self) -> ThreadTimes {
        match &self.clock {
            Clock::Real(_) => ThreadTimes::begin(),
            Clock::Virtual(_) => ThreadTimes::default(),
        }
    }

    /// The same, asked after it.
    pub(crate) fn thread_end(&self) -> ThreadTimes {
        match &self.clock {
            Clock::Real(_) => ThreadTimes::end(),
            Clock::Virtual(_) => ThreadTimes::default(),
        }
    }

    /// What all threads of the process have had of processors so far. Nothing where threads are not real.
    pub(crate) fn process_cpu(&self) -> u64 {
        match &self.clock {
            Clock::Real(_) => of_process(),
            Clock::Virtual(_) => 0,
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
