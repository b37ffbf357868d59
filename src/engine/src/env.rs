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
    Virtual(Arc<AtomicU64>),
}

impl Env {
    /// The machine's monotonic clock.
    #[allow(clippy::disallowed_methods)] // the one place
    pub fn real() -> Env {
        Env { clock: Clock::Real(Instant::now()) }
    }

    /// A clock that stands still until somebody moves it (nanoseconds).
    pub fn simulated(clock: Arc<AtomicU64>) -> Env {
        Env { clock: Clock::Virtual(clock) }
    }

    /// Nanoseconds since some moment before the pipeline was built. Never 0, never goes back.
    pub fn now(&self) -> u64 {
        match &self.clock {
            Clock::Real(start) => start.elapsed().as_nanos() as u64 + 1,
            Clock::Virtual(now) => now.load(Ordering::SeqCst) + 1,
        }
    }
}
