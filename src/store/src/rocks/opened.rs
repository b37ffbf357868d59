//! A database that is open: the `Store` over it, as long as no write has failed.
//!
//! A commit is one write batch; concurrent ones share RocksDB's group commit and so an fsync. The first write that fails
//! is the last that is tried: what RocksDB's log holds then is known again only when it was closed, cut and opened again,
//! which is `mender`'s. Knows nothing of that.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rocksdb::{ColumnFamily, DB, DBPinnableSlice, ErrorKind, WriteOptions};
use tidegate_domain::command::Direction;
use tidegate_domain::conversation::Conversation;
use tidegate_domain::day::{Day, Figures};
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};

use super::check::{self, Finding};
use super::folder::{self, Folder};
use super::meta::Meta;
use super::noted::{self, LogNote};
use super::read::{History, Range};
use super::refused::{self, Mark, Refused};
use super::syncer::Syncer;
use super::{RocksOptions, Sync, tables, write};
use crate::{Change, Clock, Marks, Page, Store, StoreError, Stored, Synced, UnreadCount, codec, key, unread, valid};

/// Free space, in bytes, below which there is a warning.
const LOW_SPACE: u64 = 256 << 20;

pub(super) struct Opened {
    // Fields are dropped in this order: the syncer before the database.
    syncer: Option<Syncer>,
    pub db: Arc<DB>,
    pub meta: Meta,
    pub refused: Refused,
    /// Absent where it cannot be written: then a log that is cut later is not found.
    log_note: Option<LogNote>,
    /// Set by the first write that failed.
    pub broken: Arc<OnceLock<String>>,
    /// Commits that synced, and what they took, in nanoseconds.
    synced: [AtomicU64; 2],
    sync: Sync,
    retention: Duration,
    dedupe_window: Duration,
    clock: Clock,
    folder: PathBuf,
    rocks: PathBuf,
}

impl Opened {
    /// Opens the database of a folder, where need be making it. What was refused since it was last opened, by its file
    /// and by `refused`, is cut from its logs first: to be given again until this has succeeded.
    pub fn open(options: &RocksOptions, folder: &mut Folder, refused: &[Mark]) -> Result<Self, StoreError> {
        let io = |error: std::io::Error| folder::refused(&options.path, &format!("cannot be used: {error}"));
        let cuts = refused::cut(&folder.refused_commits(), refused, &folder.rocks(), || {
            // What is cut on purpose is no damage.
            noted::forget_log(folder.path())
        })
        .map_err(io)?;
        if cuts > 0 {
            log::warn!("a write had failed when the store was last open; what it refused was cut from {cuts} log(s)");
        }
        if !folder.new {
            refuse_damaged_logs(folder)?;
        }
        let (database, families) = (tables::database(options, folder.new), tables::families(options));
        let db =
            DB::open_cf_descriptors(&database, folder.rocks(), families).map_err(|error| cannot_open(folder, error))?;
        let refused = Refused::begin(&folder.refused_commits()).map_err(io)?;
        let meta = Meta::begin(&db, &options.apps)?;
        folder.ready()?;
        let (db, broken) = (Arc::new(db), Arc::new(OnceLock::new()));
        let syncer = match options.sync {
            Sync::Interval(every) => Some(Syncer::begin(db.clone(), broken.clone(), every).map_err(io)?),
            Sync::Commit | Sync::Off => None,
        };
        let log_note = LogNote::begin(folder.path(), &folder.rocks());
        let log_note = log_note.inspect_err(|error| log::warn!("how far the log goes cannot be noted: {error}")).ok();
        let opened = Opened {
            syncer,
            db,
            meta,
            refused,
            log_note,
            broken,
            synced: [const { AtomicU64::new(0) }; 2],
            sync: options.sync,
            retention: options.retention,
            dedupe_window: options.dedupe_window,
            clock: options.clock.clone(),
            folder: folder.path().to_owned(),
            rocks: folder.rocks(),
        };
        opened.note_manifest();
        Ok(opened)
    }

    /// To be called now and then: the manifest grows with every table that is made.
    pub fn note_manifest(&self) {
        if let Err(error) = noted::note_manifest(&self.folder, &self.rocks) {
            log::debug!("how far the manifest goes could not be noted: {error}");
        }
    }

    /// Notices a failure that no commit met: of a flush or a compaction.
    pub fn look_behind(&self) {
        if let Some(why) = self.background_trouble() {
            refuse_writes(&self.broken, &why);
        }
    }

    fn background_trouble(&self) -> Option<String> {
        match self.db.property_int_value("rocksdb.background-errors") {
            Ok(Some(errors @ 1..)) => {
                Some(format!("RocksDB failed {errors} time(s) in the background; its LOG file says why"))
            }
            _ => None,
        }
    }

    fn now(&self) -> Millis {
        (self.clock)()
    }

    fn fail(&self, error: rocksdb::Error, mark: Mark) -> StoreError {
        // Only a failed write of the log can leave a record there that nobody was told to rely on.
        if error.kind() == ErrorKind::IOError
            && let Err(error) = self.refused.note(mark)
        {
            log::error!("a refused commit could not be noted and may come back with a restart: {error}");
        }
        refuse_writes(&self.broken, &error);
        failed(error)
    }

    fn get(&self, table: &str, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        self.db.get_pinned_cf(cf(&self.db, table)?, key).map_err(failed)
    }

    pub fn range(
        &self,
        table: &str,
        low: Vec<u8>,
        high: Option<Vec<u8>>,
        backward: bool,
    ) -> Result<Range<'_>, StoreError> {
        Ok(Range::new(&self.db, cf(&self.db, table)?, low, high, backward))
    }

    fn history(&self, app: AppId, cid: ConvId, page: &Page) -> Result<Option<History<'_>>, StoreError> {
        let app = self.meta.number(app)?;
        let oldest = crate::before(self.now(), self.retention);
        let (true, Some(places)) = (cid != ConvId::Nowhere, page.places(oldest)) else { return Ok(None) };
        let (low, high) = key::messages(app, cid, places);
        let backward = page.direction == Direction::Old;
        Ok(Some(History(self.range(tables::MESSAGES, low, Some(high), backward)?)))
    }
}

/// A conversation's whole history, newest first.
pub(super) const NEWEST_FIRST: Page = Page { start: None, end: None, direction: Direction::Old, limit: usize::MAX };

impl Store for Opened {
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        valid::check(changes)?;
        if let Some(why) = self.broken.get() {
            return Err(StoreError::Io(why.clone()));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = write::batch(&self.db, &self.meta, changes)?;
        let mark = self.refused.next_mark();
        batch.put_log_data(mark);
        let mut options = WriteOptions::default();
        let syncs = self.sync == Sync::Commit && write::must_sync(changes);
        options.set_sync(syncs);
        let before = self.log_note.as_ref().filter(|_| syncs).map(|note| (note, note.before()));
        let begun = syncs.then(Instant::now);
        let written = self.db.write_opt(batch, &options);
        if let Some(begun) = begun {
            let [commits, time] = &self.synced;
            commits.fetch_add(1, Relaxed);
            time.fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
        }
        written.map_err(|error| self.fail(error, mark))?;
        if let Some((note, before)) = before
            && let Err(error) = before.and_then(|before| note.synced(before))
        {
            log::debug!("how far the log goes could not be noted: {error}");
        }
        Ok(())
    }

    fn conversation(&self, app: AppId, cid: ConvId) -> Result<Option<Conversation>, StoreError> {
        let key = key::conversation(self.meta.number(app)?, cid);
        let value = self.get(tables::CONVERSATIONS, &key)?;
        value.map(|value| readable(codec::read_conversation(cid, &value), || format!("conversation {cid}"))).transpose()
    }

    fn unique(&self, app: AppId, unique_id: [u8; 16]) -> Result<Option<ConvId>, StoreError> {
        let key = key::unique(self.meta.number(app)?, unique_id);
        let value = self.get(tables::UNIQUE, &key)?;
        value.map(|value| readable(codec::read_conv_id(&value), || "a unique id".into())).transpose()
    }

    fn conversations_of(&self, app: AppId, client: &str, limit: usize) -> Result<Vec<ConvId>, StoreError> {
        let low = key::memberships(self.meta.number(app)?, client);
        let mut range = self.range(tables::MEMBERS, low.clone(), key::behind(&low), false)?;
        let next = || {
            range.next_with(|key, _| {
                let cid = key.strip_prefix(&low[..]).and_then(ConvId::from_bytes);
                cid.ok_or_else(|| damaged("members", "a key without a conversation"))
            })
        };
        std::iter::from_fn(next).take(limit).collect()
    }

    fn scan(&self, app: AppId, after: Option<ConvId>, limit: usize) -> Result<Vec<Conversation>, StoreError> {
        let app = self.meta.number(app)?;
        let all = app.to_be_bytes();
        let low = match after {
            // Nowhere sorts behind every conversation.
            Some(ConvId::Nowhere) => return Ok(Vec::new()),
            Some(cid) => [&key::conversation(app, cid)[..], &[0]].concat(),
            None => all.to_vec(),
        };
        let mut range = self.range(tables::CONVERSATIONS, low, key::behind(&all), false)?;
        let next = || {
            range.next_with(|key, value| {
                let cid = key::app_of(key).and_then(|(_, cid)| ConvId::from_bytes(cid));
                let cid = cid.ok_or_else(|| damaged("conversations", "a key that is no conversation's"))?;
                readable(codec::read_conversation(cid, value), || format!("conversation {cid}"))
            })
        };
        std::iter::from_fn(next).take(limit).collect()
    }

    fn page(&self, app: AppId, cid: ConvId, page: &Page) -> Result<Vec<Stored>, StoreError> {
        let Some(history) = self.history(app, cid, page)? else { return Ok(Vec::new()) };
        let mut messages = history.take(page.limit).collect::<Result<Vec<_>, _>>()?;
        if page.direction == Direction::Old {
            messages.reverse();
        }
        Ok(messages)
    }

    fn last(&self, app: AppId, cid: ConvId) -> Result<Option<Stored>, StoreError> {
        self.history(app, cid, &NEWEST_FIRST)?.and_then(|mut history| history.next()).transpose()
    }

    fn resent(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        dedupe: &str,
    ) -> Result<Option<(MessageId, Millis)>, StoreError> {
        let key = key::dedupe(self.meta.number(app)?, cid, client, dedupe);
        let Some(value) = self.get(tables::SENT, &key)? else { return Ok(None) };
        let sent = readable(codec::read_sent(&value), || format!("a sent message of conversation {cid}"))?;
        Ok(Some(sent).filter(|(_, at)| *at >= crate::before(self.now(), self.dedupe_window)))
    }

    fn marks(&self, app: AppId, cid: ConvId, client: &str) -> Result<Marks, StoreError> {
        let key = key::marks(self.meta.number(app)?, cid, client);
        match self.get(tables::MARKS, &key)? {
            Some(value) => readable(codec::read_marks(&value), || format!("marks of conversation {cid}")),
            None => Ok(Marks::default()),
        }
    }

    fn all_marks(&self, app: AppId, cid: ConvId) -> Result<Vec<(ClientId, Marks)>, StoreError> {
        let low = key::conversation(self.meta.number(app)?, cid);
        if cid == ConvId::Nowhere {
            return Ok(Vec::new());
        }
        let mut range = self.range(tables::MARKS, low.clone(), key::behind(&low), false)?;
        let next = || {
            range.next_with(|key, value| {
                let client = key.strip_prefix(&low[..]).and_then(|client| std::str::from_utf8(client).ok());
                let client = client.ok_or_else(|| damaged("marks", "a key without a client"))?;
                let marks = readable(codec::read_marks(value), || format!("marks of conversation {cid}"))?;
                Ok((ClientId::from(client), marks))
            })
        };
        std::iter::from_fn(next).collect()
    }

    fn unread(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        after: Millis,
        cap: usize,
    ) -> Result<UnreadCount, StoreError> {
        match self.history(app, cid, &NEWEST_FIRST)? {
            Some(history) => unread::count(history, client, after, cap),
            None => Ok(UnreadCount::default()),
        }
    }

    fn nonces(&self) -> Result<Vec<(AppId, Box<str>, Millis)>, StoreError> {
        let now = self.now();
        let mut range = self.range(tables::NONCES, Vec::new(), None, false)?;
        let next = || {
            range.next_with(|key, value| {
                let (app, nonce) = key::app_of(key).ok_or_else(|| damaged("nonces", "a key without an app"))?;
                let nonce = std::str::from_utf8(nonce).map_err(|_| damaged("nonces", "a nonce that is no text"))?;
                let until = readable(codec::read_time(value), || "nonces".into())?;
                Ok(self.meta.app(app).filter(|_| until > now).map(|app| (app, nonce.into(), until)))
            })
        };
        std::iter::from_fn(next).filter_map(Result::transpose).collect()
    }

    fn revoked(&self) -> Result<Vec<([u8; 16], Millis)>, StoreError> {
        let now = self.now();
        let mut range = self.range(tables::REVOKED, Vec::new(), None, false)?;
        let next = || {
            range.next_with(|key, value| {
                let token = <[u8; 16]>::try_from(key).map_err(|_| damaged("revoked", "a key that is no token's"))?;
                let until = readable(codec::read_time(value), || "revoked".into())?;
                Ok((until > now).then_some((token, until)))
            })
        };
        std::iter::from_fn(next).filter_map(Result::transpose).collect()
    }

    fn days(&self, oldest: Day) -> Result<Vec<(AppId, Day, Figures)>, StoreError> {
        let mut days = Vec::new();
        for entry in self.db.prefix_iterator(key::DAY) {
            let (key, value) = entry.map_err(failed)?;
            if !key.starts_with(key::DAY) {
                break;
            }
            let (number, day) = key::day_of(&key).ok_or_else(|| damaged("days", "a key that is no day's"))?;
            if let Some(app) = self.meta.app(number).filter(|_| day >= oldest) {
                let figures = Figures::from_bytes(&value).ok_or_else(|| damaged("days", "figures that are none"))?;
                days.push((app, day, figures));
            }
        }
        Ok(days)
    }

    fn start(&self) -> u32 {
        self.meta.start
    }

    fn seal_key(&self) -> [u8; 32] {
        self.meta.seal_key
    }

    fn synced(&self) -> Synced {
        let [commits, time] = &self.synced;
        Synced { commits: commits.load(Relaxed), time: Duration::from_nanos(time.load(Relaxed)) }
    }

    fn trouble(&self) -> Option<String> {
        if let Some(why) = self.broken.get() {
            return Some(format!("writes are refused until the disk takes them again: {why}"));
        }
        None
    }

    fn warning(&self) -> Option<String> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        (free < LOW_SPACE).then(|| format!("only {} MiB are free on the data folder's disk", free >> 20))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.syncer = None;
        self.note_manifest();
        // A store that failed is left as it is: whoever opens it next looks at its log.
        if self.broken.get().is_none()
            && let Err(error) = Meta::end(&self.db)
        {
            log::error!("the store could not be closed in order; the next start recovers it: {error}");
        }
    }
}

/// RocksDB would take some of it for the end of a log, and silently lose what follows.
fn refuse_damaged_logs(folder: &Folder) -> Result<(), StoreError> {
    match check::damaged_logs(folder).into_iter().find(Finding::is_silent) {
        Some(finding) => Err(folder::refused(
            folder.path(),
            &format!(
                "is damaged, in a place that no crash explains: {finding}. Nothing of it was used. {RESTORE}; `tidegate \
                 check --data DIR` names all that is damaged"
            ),
        )),
        None => Ok(()),
    }
}

/// What to do about damage.
const RESTORE: &str = "Restore the folder from a backup, or move it away to begin with an empty one";

pub(super) fn cannot_open(folder: &Folder, error: rocksdb::Error) -> StoreError {
    let why = match error.kind() {
        ErrorKind::Corruption => {
            format!("is damaged, in a place that no crash explains: {error}. Nothing of it was used. {RESTORE}")
        }
        ErrorKind::InvalidArgument => {
            format!("is not complete, or was written by another version: {error}. Restore it from a backup")
        }
        _ => format!("cannot be opened: {error}"),
    };
    folder::refused(folder.path(), &why)
}

pub(super) fn refuse_writes(broken: &OnceLock<String>, error: &dyn std::fmt::Display) {
    if broken.set(error.to_string()).is_ok() {
        log::error!("a write failed, and no more are taken until the disk takes them again: {error}");
    }
}

pub(super) fn cf<'a>(db: &'a DB, table: &str) -> Result<&'a ColumnFamily, StoreError> {
    db.cf_handle(table).ok_or_else(|| damaged(table, "the table is gone"))
}

pub(super) fn failed(error: rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => damaged("RocksDB's files", error.as_ref()),
        _ => StoreError::Io(error.to_string()),
    }
}

fn damaged(place: &str, what: &str) -> StoreError {
    StoreError::Damaged { place: place.into(), what: what.into() }
}

fn readable<T>(read: Result<T, codec::Malformed>, place: impl FnOnce() -> String) -> Result<T, StoreError> {
    read.map_err(|error| StoreError::Damaged { place: place(), what: error.to_string() })
}
