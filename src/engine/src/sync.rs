//! The seam to the machine: locks, atomics and threads come from here and nowhere else in the crate.
//!
//! Under the feature `shuttle` they are the model checker's, so that its tests explore interleavings of the very code
//! that runs in production. `clippy.toml` keeps the crate from reaching past this file.

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, atomic},
    thread,
};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, atomic},
    thread,
};

/// Locks, whatever happened to an earlier holder: the crate never leaves a lock's contents half changed by a panic,
/// because no code of a user runs under a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
