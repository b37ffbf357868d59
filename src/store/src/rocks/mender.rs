//! Closing and opening the database again when a write has failed, by itself.
//!
//! Resuming in place is not enough: RocksDB may be left with a log that holds what was refused. So as soon as the disk
//! takes a trial write, the database is closed, its logs are cut, and it is opened again. Reads in flight are waited for;
//! those that come meanwhile wait. Owns who may use the database when; knows nothing of what is in it.
//!
//! The states, and what changes them:
//!
//! - open: everything works. A failed write, or a failure in the background, ends it;
//! - open and broken: reads work, writes are refused. A trial write that succeeds ends it;
//! - locked: being closed and opened. Ends as open, or as
//! - closed: it could not be opened. Everything is refused; opening is tried again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::RocksOptions;
use super::folder::Folder;
use super::log_file;
use super::opened::Opened;
use super::refused::Mark;
use crate::{Store, StoreError, Synced};

/// How often it is looked whether there is something to mend; a trial write on a disk that fails is made as often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A disk on which trial writes succeed and others do not is not tried more often than that.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// A failure so soon after a mending is the same one.
const SOON: Duration = Duration::from_secs(10);
/// Bytes of the trial write.
const TRIAL: usize = 64 << 10;
/// Bytes that opening needs beside what the logs hold.
const SOME_ROOM: u64 = 4 << 20;

enum State {
    Open(Box<Opened>),
    /// Why it could not be opened, and what is still to be cut from its logs.
    Closed {
        why: String,
        refused: Vec<Mark>,
    },
}

/// The database, to be used by whoever reads or commits.
pub(super) struct Slot {
    state: RwLock<State>,
    options: RocksOptions,
    // After the database: its lock goes last.
    folder: Mutex<Folder>,
}

impl Slot {
    pub fn new(options: RocksOptions, folder: Folder, opened: Opened) -> Self {
        Slot { state: RwLock::new(State::Open(Box::new(opened))), options, folder: Mutex::new(folder) }
    }

    /// Does something with the open database; waits while it is being closed and opened.
    pub fn with<T>(&self, work: impl FnOnce(&Opened) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.read() {
            State::Open(opened) => work(opened),
            State::Closed { why, .. } => Err(StoreError::Io(format!("the store is closed: {why}"))),
        }
    }

    /// Never waits.
    pub fn trouble(&self) -> Option<String> {
        let state = match self.state.try_read() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Some("the store is being closed and opened again after a failed write".into());
            }
        };
        match &*state {
            State::Open(opened) => opened.trouble(),
            State::Closed { why, .. } => {
                Some(format!("the store is closed, and could not be opened again, which is tried on: {why}"))
            }
        }
    }

    /// As [`Slot::trouble`], of what is no trouble yet. Never waits.
    pub fn warning(&self) -> Option<String> {
        match &*self.state.try_read().ok()? {
            State::Open(opened) => opened.warning(),
            State::Closed { .. } => None,
        }
    }

    /// Never waits; nothing while there is no database.
    pub fn synced(&self) -> Synced {
        match self.state.try_read().as_deref() {
            Ok(State::Open(opened)) => opened.synced(),
            _ => Synced::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self) -> MutexGuard<'_, Folder> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_failed(&self, look_behind: bool) -> bool {
        match &*self.read() {
            State::Open(opened) => {
                if look_behind {
                    opened.look_behind();
                    opened.note_manifest();
                }
                opened.broken.get().is_some()
            }
            State::Closed { .. } => true,
        }
    }

    /// Closes the database and opens it again, where the disk takes a trial write. The error is what stands in the way.
    fn mend(&self) -> Result<(), String> {
        self.try_disk().map_err(|error| error.to_string())?;
        // Whoever reads or commits now is waited for; whoever comes waits.
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let closing = State::Closed { why: "it is being opened again".into(), refused: Vec::new() };
        let refused = match std::mem::replace(&mut *state, closing) {
            State::Open(opened) => {
                let refused = opened.refused.noted();
                drop(opened);
                refused
            }
            State::Closed { refused, .. } => refused,
        };
        match Opened::open(&self.options, &mut self.folder(), &refused) {
            Ok(opened) => {
                *state = State::Open(Box::new(opened));
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                *state = State::Closed { why: why.clone(), refused };
                Err(why)
            }
        }
    }

    /// Reads go on as long as the database is open, so it is closed only where opening it will probably succeed.
    fn try_disk(&self) -> io::Result<()> {
        let (rocks, trial) = {
            let folder = self.folder();
            (folder.rocks(), folder.trial())
        };
        let mut needed = SOME_ROOM;
        for log in log_file::logs(&rocks)? {
            needed += fs::metadata(log)?.len();
        }
        let disk = rustix::fs::statvfs(&rocks)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < needed {
            let words = format!("{} MiB must be free for the store to be opened again", needed.div_ceil(1 << 20));
            return Err(io::Error::new(io::ErrorKind::StorageFull, words));
        }
        let written = File::create(&trial).and_then(|mut file| {
            file.write_all(&[0x55; TRIAL])?;
            file.sync_all()
        });
        let removed = fs::remove_file(&trial);
        written.and(removed)
    }
}

/// The thread that mends. Ends when dropped.
pub(super) struct Mender {
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mender {
    pub fn begin(slot: Arc<Slot>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = Builder::new().name("store-mender".into()).spawn(move || {
            let (mut rest, mut mended): (Duration, Option<Instant>) = (LOOK_EVERY, None);
            let mut said = String::new();
            let mut round = 0u32;
            while stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
                round = round.wrapping_add(1);
                // What RocksDB does in the background is asked for under its own lock: less often.
                if !slot.is_failed(round.is_multiple_of(4)) {
                    rest = LOOK_EVERY;
                    continue;
                }
                match slot.mend() {
                    Ok(()) => {
                        log::warn!("the store was closed and opened again; it takes writes");
                        let again = mended.is_some_and(|at| at.elapsed() < SOON);
                        rest = if again { (rest * 2).min(LONGEST_REST) } else { LOOK_EVERY };
                        mended = Some(Instant::now());
                        said.clear();
                    }
                    Err(why) => {
                        // Once for each reason: this is tried often.
                        if why != said {
                            log::error!("the store cannot be opened again yet: {why}");
                            said = why;
                        }
                    }
                }
            }
        })?;
        Ok(Mender { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Mender {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that mends the store panicked");
        }
    }
}
