//! Nonces of signatures that were used, so that nobody uses one twice: a bounded set per app.
//!
//! When an app's set is full, its oldest nonce is forgotten, and from then on a signature as old as that one is refused:
//! it may have been used. A flood of signatures thus narrows the window instead of opening it. Must not know a clock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::ids::{AppId, Millis};

/// Why a nonce cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceRefused {
    Replayed,
    /// As old as one that was forgotten for want of room.
    TooOld,
}

/// The nonces still in their window.
pub struct Nonces {
    /// The most that are kept for one app; at least 1.
    bound: usize,
    apps: HashMap<AppId, Kept>,
}

#[derive(Default)]
struct Kept {
    nonces: HashSet<Arc<str>>,
    by_end: BTreeSet<(Millis, Arc<str>)>,
    /// Signatures whose window ends here or before are refused.
    floor: Option<Millis>,
}

impl Nonces {
    /// `bound`: the most nonces kept for one app, 0 counting as 1.
    pub fn new(bound: usize) -> Self {
        Nonces { bound: bound.max(1), apps: HashMap::new() }
    }

    /// Uses a nonce up. `until`: the end of its signature's window. Those whose window has ended are forgotten on the way.
    pub fn use_up(&mut self, app: AppId, nonce: &str, until: Millis, now: Millis) -> Result<(), NonceRefused> {
        let kept = self.apps.entry(app).or_default();
        while kept.by_end.first().is_some_and(|(end, _)| *end < now) {
            kept.forget_oldest();
        }
        if kept.nonces.contains(nonce) {
            return Err(NonceRefused::Replayed);
        }
        if kept.floor.is_some_and(|floor| until <= floor) {
            return Err(NonceRefused::TooOld);
        }
        if kept.nonces.len() >= self.bound {
            let oldest = kept.by_end.first().map(|(end, _)| *end);
            if oldest.is_some_and(|oldest| until <= oldest) {
                return Err(NonceRefused::TooOld);
            }
            kept.forget_oldest();
        }
        let nonce: Arc<str> = nonce.into();
        kept.nonces.insert(nonce.clone());
        kept.by_end.insert((until, nonce));
        Ok(())
    }

    /// Puts back what the store kept, after a restart. The order does not matter; a full set forgets the oldest.
    pub fn restore(&mut self, app: AppId, nonce: &str, until: Millis) {
        // Refused ones are there already, or older than what fits: either way nothing is lost.
        let _ = self.use_up(app, nonce, until, Millis::MIN);
    }

    /// How many are kept, over all apps.
    pub fn len(&self) -> usize {
        self.apps.values().map(|kept| kept.nonces.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        if let Some((end, nonce)) = self.by_end.pop_first() {
            self.nonces.remove(&nonce);
            // Also where its window has ended: a clock that steps back must not open it again.
            self.floor = self.floor.max(Some(end));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const APP: AppId = AppId(0);

    #[test]
    fn a_nonce_is_used_once_per_app() {
        let mut nonces = Nonces::new(10);
        assert_eq!(nonces.use_up(APP, "n", 100, 0), Ok(()));
        assert_eq!(nonces.use_up(APP, "n", 100, 0), Err(NonceRefused::Replayed));
        assert_eq!(nonces.use_up(APP, "n", 200, 0), Err(NonceRefused::Replayed));
        assert_eq!(nonces.use_up(AppId(1), "n", 100, 0), Ok(()));
    }

    #[test]
    fn when_full_the_oldest_goes_and_takes_the_past_with_it() {
        let mut nonces = Nonces::new(2);
        assert_eq!(nonces.use_up(APP, "a", 100, 0), Ok(()));
        assert_eq!(nonces.use_up(APP, "b", 102, 0), Ok(()));
        assert_eq!(nonces.use_up(APP, "old", 100, 0), Err(NonceRefused::TooOld));
        assert_eq!(nonces.use_up(APP, "c", 101, 0), Ok(()));
        assert_eq!(nonces.use_up(APP, "a", 100, 0), Err(NonceRefused::TooOld));
        assert_eq!(nonces.len(), 2);
        // Another app is not touched by it.
        assert_eq!(nonces.use_up(AppId(1), "x", 1, 0), Ok(()));
    }

    #[test]
    fn what_has_ended_makes_room() {
        let mut nonces = Nonces::new(1);
        assert_eq!(nonces.use_up(APP, "a", 100, 0), Ok(()));
        assert_eq!(nonces.use_up(APP, "b", 101, 101), Ok(()));
        assert_eq!(nonces.len(), 1);
    }

    #[test]
    fn a_restart_knows_what_was_used() {
        let mut nonces = Nonces::new(2);
        for (nonce, until) in [("c", 3), ("a", 1), ("b", 2)] {
            nonces.restore(APP, nonce, until);
        }
        for (nonce, until) in [("a", 1), ("b", 2), ("c", 3)] {
            assert!(nonces.use_up(APP, nonce, until, 0).is_err(), "{nonce}");
        }
        assert_eq!(nonces.use_up(APP, "d", 4, 0), Ok(()));
    }

    proptest! {
        /// Against a set that forgets nothing: no nonce passes twice, whatever the clock does, and the bound holds.
        #[test]
        fn nothing_passes_twice(
            bound in 1..6usize,
            steps in prop::collection::vec((0..20u8, 0..40i64, 0..40i64), 0..200),
        ) {
            let mut nonces = Nonces::new(bound);
            let mut used = HashSet::new();
            for (nonce, until, now) in steps {
                if until < now {
                    continue; // Its signature is out of the window: `signature::check` refuses it before.
                }
                // A nonce belongs to a signature and so to one time.
                let name = format!("{nonce} {until}");
                let result = nonces.use_up(APP, &name, until, now);
                prop_assert!(result.is_err() || used.insert(name.clone()), "{} passed twice", name);
                prop_assert!(result != Err(NonceRefused::Replayed) || used.contains(&name));
                prop_assert!(nonces.len() <= bound);
            }
        }
    }
}
