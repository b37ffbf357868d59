//! Numbers that nobody foresees, where nothing secret hangs on them.

use std::hash::{BuildHasher, RandomState};

/// A number that another start of the process has hardly ever.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
