//! Which session tokens have ended before their time, and which signatures' nonces are used up.
//!
//! Both sets are bounded, kept in the store through persist, and read back at start.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use tidegate_domain::ids::{AppId, Millis};
use tidegate_domain::nonces::{NonceRefused, Nonces};

/// How many of each are kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// For each app; full, older signatures are refused.
    pub nonces: usize,
    /// Full, the soonest to expire goes.
    pub revoked: usize,
}

pub struct Tokens {
    /// Seals what this server gives out.
    pub key: [u8; 32],
    most_revoked: usize,
    revoked: Mutex<Revoked>,
    nonces: Mutex<Nonces>,
}

#[derive(Default)]
struct Revoked {
    until: HashMap<[u8; 16], Millis>,
    by_end: BTreeSet<(Millis, [u8; 16])>,
}

impl Tokens {
    pub fn new(
        key: [u8; 32],
        most: Kept,
        revoked: Vec<([u8; 16], Millis)>,
        nonces: Vec<(AppId, Box<str>, Millis)>,
    ) -> Self {
        let mut kept = Nonces::new(most.nonces);
        nonces.iter().for_each(|(app, nonce, until)| kept.restore(*app, nonce, *until));
        let tokens = Tokens { key, most_revoked: most.revoked, revoked: Mutex::default(), nonces: Mutex::new(kept) };
        revoked.into_iter().for_each(|(token, until)| tokens.revoke(token, until));
        tokens
    }

    pub fn revoke(&self, token: [u8; 16], until: Millis) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = revoked.until.insert(token, until) {
            revoked.by_end.remove(&(before, token));
        }
        revoked.by_end.insert((until, token));
        while revoked.by_end.len() > self.most_revoked {
            if let Some((_, oldest)) = revoked.by_end.pop_first() {
                revoked.until.remove(&oldest);
            }
        }
    }

    pub fn is_revoked(&self, token: &[u8; 16]) -> bool {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).until.contains_key(token)
    }

    pub fn use_nonce(&self, app: AppId, nonce: &str, until: Millis, now: Millis) -> Result<(), NonceRefused> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner).use_up(app, nonce, until, now)
    }
}
