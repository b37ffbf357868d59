//! What the store's tests share: small changes to make, and a clock that stands where it is put.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Map;
use tidegate_domain::command::{Body, Mentions};
use tidegate_domain::conversation::{Conversation, Kind, Member};
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};
use tidegate_store::{Change, Clock, Stored};

pub const APP: AppId = AppId(0);
pub const OTHER_APP: AppId = AppId(1);

pub fn cid(n: u8) -> ConvId {
    // One in three is temporary, with ids that begin alike: they share a filter's prefix.
    match n % 3 {
        2 => ConvId::Temporary([[5; 12].as_slice(), &[n; 4]].concat().try_into().unwrap()),
        _ => ConvId::Object([n; 12]),
    }
}

pub fn client(n: u8) -> ClientId {
    ["ann", "bob", "an", "", "ä"][usize::from(n) % 5].into()
}

pub fn message(at: Millis, tie: u8, from: &str) -> Stored {
    Stored {
        mid: MessageId([tie; 16]),
        from: from.into(),
        at,
        body: Body::Text(format!("{at}/{tie}").into()),
        receipt: tie % 2 == 1,
        mentions: Mentions::default(),
        patched_at: None,
    }
}

pub fn append(cid: ConvId, message: Stored, dt: Option<&str>) -> Change {
    Change::Message { app: APP, cid, message, dedupe: dt.map(Box::from) }
}

pub fn conversation(id: ConvId, members: &[ClientId]) -> Conversation {
    Conversation {
        id,
        kind: if matches!(id, ConvId::Temporary(_)) { Kind::Temporary } else { Kind::Normal },
        creator: "ann".into(),
        members: members.iter().map(|client| Member { client: client.clone(), joined: 1 }).collect(),
        muted: Vec::new(),
        attributes: Map::new(),
        unique_id: None,
        created: 1,
        updated: 1,
        version: 1,
        expires: None,
    }
}

/// A clock to turn by hand.
#[derive(Clone)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn at(now: Millis) -> Self {
        Hand(Arc::new(AtomicI64::new(now)))
    }

    pub fn set(&self, now: Millis) {
        self.0.store(now, Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let hand = self.0.clone();
        Arc::new(move || hand.load(Ordering::SeqCst))
    }
}

#[cfg(feature = "rocks")]
pub mod disk {
    use super::*;
    use std::path::Path;
    use std::time::Duration;
    use tidegate_store::StoreError;
    use tidegate_store::rocks::{RocksOptions, RocksStore, Sync, open};

    pub fn options(path: &Path, clock: Clock) -> RocksOptions {
        RocksOptions {
            path: path.join("store"),
            apps: vec!["one".into(), "two".into()],
            sync: Sync::Commit,
            retention: Duration::from_millis(1_000_000),
            dedupe_window: Duration::from_millis(1_000),
            max_open_files: 200,
            block_cache: 1 << 20,
            clock,
        }
    }

    pub fn open_in(path: &Path) -> Result<RocksStore, StoreError> {
        open(options(path, Hand::at(1_000).clock()))
    }
}
