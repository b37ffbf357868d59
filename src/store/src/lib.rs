//! The `Store` trait: what must survive, in the domain's words; `rocks`, the store on this machine's disk; and `model`,
//! the same in memory for simulated runs and property tests.
//!
//! Nothing above knows which store it talks to. A `commit` is all or nothing, and durable when it returns as far as
//! `[store] sync` promises. Must not know sessions, frames or stages. Everything but `rocks` builds without RocksDB.

pub mod codec;
pub mod key;
mod marks;
pub mod model;
mod page;
#[cfg(feature = "rocks")]
pub mod rocks;
mod unread;
mod valid;

use std::sync::Arc;

use tidegate_domain::command::{Body, Bound, Direction, Mentions};
use tidegate_domain::conversation::Conversation;
use tidegate_domain::day::{Day, Figures};
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};

pub use tidegate_domain::marks::{Range, ReadMark};
pub use unread::MOST_LOOKED_AT;

/// Where a store takes the time from: retention, the dedupe window and expiry are its business.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// A message as kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub mid: MessageId,
    pub from: ClientId,
    /// Strictly increasing within a conversation.
    pub at: Millis,
    pub body: Body,
    pub receipt: bool,
    pub mentions: Mentions,
    pub patched_at: Option<Millis>,
}

/// One durable change. A commit is a list of them, applied in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The whole record, and the index entries of members who came (with the time of joining) or went.
    Conversation { app: AppId, record: Conversation, came: Vec<ClientId>, went: Vec<ClientId> },
    /// Binds a unique id to the conversation it made.
    Unique { app: AppId, unique_id: [u8; 16], cid: ConvId },
    /// Appends to history. `dedupe`: the sender's `dt`, remembered with the message's id and time.
    Message { app: AppId, cid: ConvId, message: Stored, dedupe: Option<Box<str>> },
    /// Read marks only move forward; a lower one changes nothing.
    Read { app: AppId, cid: ConvId, client: ClientId, mark: ReadMark },
    /// Messages of others from..=to have arrived at this client; coalesced with the ranges already there.
    Delivered { app: AppId, cid: ConvId, client: ClientId, range: Range },
    /// A signature's nonce was used; forgotten after its window.
    Nonce { app: AppId, nonce: Box<str>, until: Millis },
    /// A session token is void, though not expired.
    Revoked { token: [u8; 16], until: Millis },
    /// What a day came to for an app; in place of what was said of it before. Days before `oldest` are forgotten.
    Day { app: AppId, day: Day, figures: Box<Figures>, oldest: Day },
}

/// What one member has got and read of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    pub read: Option<ReadMark>,
    /// Sorted, not overlapping; bounded (the oldest are merged).
    pub delivered: Vec<Range>,
}

/// One page of history, from `start` in `direction` to `end`; at most `limit`. The answer ascends in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub start: Option<Bound>,
    pub end: Option<Bound>,
    pub direction: Direction,
    pub limit: usize,
}

/// What is unread in one conversation, after a mark.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UnreadCount {
    /// Messages of others; stops counting at the cap given.
    pub count: usize,
    pub mentioned: bool,
    /// The newest message, whoever sent it.
    pub last: Option<Stored>,
}

/// Commits that returned only when they were on disk, since the store was last opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synced {
    pub commits: u64,
    /// Of all of them together: written, and waited for the disk. Commits of several threads at once count each.
    pub time: std::time::Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder cannot be used, in words for the person who starts the server.
    #[error("{0}")]
    Refused(String),
    /// A change that cannot be kept as it is: the caller's mistake. Nothing was written, and the store goes on.
    #[error("cannot be stored: {0}")]
    Invalid(String),
    /// A write or read failed: the disk is full, or broken.
    #[error("the store failed: {0}")]
    Io(String),
    /// A stored value does not read back.
    #[error("damaged data at {place}: {what}")]
    Damaged { place: String, what: String },
}

/// What must survive. Reads may run beside commits, and see only what was committed.
pub trait Store: Send + Sync {
    /// All or nothing, also where the process ends in the middle. After an error nothing of it can be read; whether a
    /// restart may bring it back (then all of it, its dedupe entry included) is the store's to say.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    fn conversation(&self, app: AppId, cid: ConvId) -> Result<Option<Conversation>, StoreError>;
    fn unique(&self, app: AppId, unique_id: [u8; 16]) -> Result<Option<ConvId>, StoreError>;
    /// The normal and temporary conversations that a client is a member of, in no order; at most `limit`.
    fn conversations_of(&self, app: AppId, client: &str, limit: usize) -> Result<Vec<ConvId>, StoreError>;
    /// Conversations of an app in the order of their ids, after one; for queries without a member condition.
    fn scan(&self, app: AppId, after: Option<ConvId>, limit: usize) -> Result<Vec<Conversation>, StoreError>;

    fn page(&self, app: AppId, cid: ConvId, page: &Page) -> Result<Vec<Stored>, StoreError>;
    fn last(&self, app: AppId, cid: ConvId) -> Result<Option<Stored>, StoreError>;
    /// A message of this sender to this conversation with this `dt`, younger than the dedupe window.
    fn resent(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        dedupe: &str,
    ) -> Result<Option<(MessageId, Millis)>, StoreError>;

    fn marks(&self, app: AppId, cid: ConvId, client: &str) -> Result<Marks, StoreError>;
    /// All members' marks of one conversation.
    fn all_marks(&self, app: AppId, cid: ConvId) -> Result<Vec<(ClientId, Marks)>, StoreError>;
    /// Messages of others after `after`, counted up to `cap`.
    fn unread(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        after: Millis,
        cap: usize,
    ) -> Result<UnreadCount, StoreError>;

    /// Nonces still in their window, and revocations still needed; read once at start.
    fn nonces(&self) -> Result<Vec<(AppId, Box<str>, Millis)>, StoreError>;
    fn revoked(&self) -> Result<Vec<([u8; 16], Millis)>, StoreError>;
    /// What each day from `oldest` on came to, by app and day.
    fn days(&self, oldest: Day) -> Result<Vec<(AppId, Day, Figures)>, StoreError>;

    /// How many times this store was opened: part of every message id.
    fn start(&self) -> u32;
    /// The key that seals session tokens; made at the first start.
    fn seal_key(&self) -> [u8; 32];
    /// `None` when all is well; otherwise why writes are refused, or may be lost.
    fn trouble(&self) -> Option<String>;
    /// What commits have waited for the disk so far.
    fn synced(&self) -> Synced {
        Synced::default()
    }
    /// What needs a look soon, while all still works.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// The moment `age` before `now`; what is older has expired.
pub(crate) fn before(now: Millis, age: std::time::Duration) -> Millis {
    now.saturating_sub(Millis::try_from(age.as_millis()).unwrap_or(Millis::MAX))
}
