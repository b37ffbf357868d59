//! The store on this machine's disk: RocksDB behind the `Store` trait.
//!
//! A store is open; or open with writes refused, because one failed; or closed for a moment to be opened again, which it
//! does by itself as soon as the disk takes writes (`mender`). A commit that was refused stays refused over that and over
//! a restart (`refused`), short of a process that dies on a disk that takes no write at all; there it may come back whole,
//! with its dedupe entry, so that a resend still finds it and does not become a second message.
//! Owns its folder. Must not know sessions, frames or stages; no key, token or body of a message is ever logged.

mod check;
mod folder;
mod log_file;
mod mender;
mod meta;
mod noted;
mod opened;
mod read;
mod refused;
mod syncer;
mod tables;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::conversation::Conversation;
use tidegate_domain::day::{Day, Figures};
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};

use crate::{Change, Clock, Marks, Page, Store, StoreError, Stored, Synced, UnreadCount};
pub use check::{Checked, Finding, check};
use folder::Folder;
use mender::{Mender, Slot};
use opened::{Opened, cf, failed, refuse_writes};

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// On disk when a commit returns.
    Commit,
    /// On disk at most this much later.
    Interval(Duration),
    /// Whenever the system writes it: safe when the process ends, not when the machine does.
    Off,
}

/// How a store is opened.
#[derive(Clone)]
pub struct RocksOptions {
    /// A folder of the store's own; made where there is none.
    pub path: PathBuf,
    /// The textual id of every configured app, in the order of `AppId`. The store numbers them for itself, so that
    /// the configuration's order may change from one start to the next.
    pub apps: Vec<Box<str>>,
    pub sync: Sync,
    /// Messages older than this are not there any more.
    pub retention: Duration,
    /// For how long a resend is known.
    pub dedupe_window: Duration,
    /// File descriptors that RocksDB may hold open; -1: all it likes.
    pub max_open_files: i32,
    /// Bytes of blocks kept in memory.
    pub block_cache: usize,
    pub clock: Clock,
}

pub struct RocksStore {
    // Dropped in this order: nobody opens again what is being closed; the folder's lock, in the slot, goes last.
    _mender: Mender,
    slot: Arc<Slot>,
    start: u32,
    seal_key: [u8; 32],
    recovered: bool,
}

/// Opens the store, or makes it in an empty folder. Every refusal says what is wrong with the folder and what to do.
pub fn open(options: RocksOptions) -> Result<RocksStore, StoreError> {
    let mut folder = Folder::enter(&options.path)?;
    let opened = Opened::open(&options, &mut folder, &[])?;
    let (start, seal_key, recovered) = (opened.meta.start, opened.meta.seal_key, opened.meta.unclean);
    let slot = Arc::new(Slot::new(options, folder, opened));
    let mender = Mender::begin(slot.clone()).map_err(|error| StoreError::Io(error.to_string()))?;
    Ok(RocksStore { _mender: mender, slot, start, seal_key, recovered })
}

impl RocksStore {
    /// Whether the process before this one ended without closing the store.
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

impl Store for RocksStore {
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.slot.with(|store| store.commit(changes))
    }

    fn conversation(&self, app: AppId, cid: ConvId) -> Result<Option<Conversation>, StoreError> {
        self.slot.with(|store| store.conversation(app, cid))
    }

    fn unique(&self, app: AppId, unique_id: [u8; 16]) -> Result<Option<ConvId>, StoreError> {
        self.slot.with(|store| store.unique(app, unique_id))
    }

    fn conversations_of(&self, app: AppId, client: &str, limit: usize) -> Result<Vec<ConvId>, StoreError> {
        self.slot.with(|store| store.conversations_of(app, client, limit))
    }

    fn scan(&self, app: AppId, after: Option<ConvId>, limit: usize) -> Result<Vec<Conversation>, StoreError> {
        self.slot.with(|store| store.scan(app, after, limit))
    }

    fn page(&self, app: AppId, cid: ConvId, page: &Page) -> Result<Vec<Stored>, StoreError> {
        self.slot.with(|store| store.page(app, cid, page))
    }

    fn last(&self, app: AppId, cid: ConvId) -> Result<Option<Stored>, StoreError> {
        self.slot.with(|store| store.last(app, cid))
    }

    fn resent(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        dedupe: &str,
    ) -> Result<Option<(MessageId, Millis)>, StoreError> {
        self.slot.with(|store| store.resent(app, cid, client, dedupe))
    }

    fn marks(&self, app: AppId, cid: ConvId, client: &str) -> Result<Marks, StoreError> {
        self.slot.with(|store| store.marks(app, cid, client))
    }

    fn all_marks(&self, app: AppId, cid: ConvId) -> Result<Vec<(ClientId, Marks)>, StoreError> {
        self.slot.with(|store| store.all_marks(app, cid))
    }

    fn unread(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        after: Millis,
        cap: usize,
    ) -> Result<UnreadCount, StoreError> {
        self.slot.with(|store| store.unread(app, cid, client, after, cap))
    }

    fn nonces(&self) -> Result<Vec<(AppId, Box<str>, Millis)>, StoreError> {
        self.slot.with(Store::nonces)
    }

    fn revoked(&self) -> Result<Vec<([u8; 16], Millis)>, StoreError> {
        self.slot.with(Store::revoked)
    }

    fn days(&self, oldest: Day) -> Result<Vec<(AppId, Day, Figures)>, StoreError> {
        self.slot.with(|store| store.days(oldest))
    }

    // What message ids and tokens of this process are made with stays, however often the database is opened again.
    fn start(&self) -> u32 {
        self.start
    }

    fn seal_key(&self) -> [u8; 32] {
        self.seal_key
    }

    fn trouble(&self) -> Option<String> {
        self.slot.trouble()
    }

    fn synced(&self) -> Synced {
        self.slot.synced()
    }

    fn warning(&self) -> Option<String> {
        self.slot.warning()
    }
}
