//! The seam to the machine for what threads share without a lock between them: credits and mailboxes.
//!
//! Under the feature `shuttle` it is the model checker's, so that `model` explores interleavings of the very code that
//! runs in production. Counters for people need no order and stay outside.

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

use std::sync::PoisonError;

/// A panic elsewhere leaves a queue whole: nothing is done under these locks but moving values.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
