//! What a power cut would leave: of each file what was synced, of each folder the names that were.
//!
//! A folder holds it, by inode: `N.data`, what of file N was there when its last successful sync began; `N.names`, the
//! entries of folder N then, a line each: inode and name; `N.kept`, a link to a file that was removed or replaced, which
//! also keeps its number from being given to another. `tests/common/power.rs` lays it out and makes the folder of it
//! that the next start finds.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files up to this long may be written over anywhere and are kept whole; longer ones only grow.
const SMALL: u64 = 64 << 10;

pub struct Durable {
    folder: PathBuf,
    account: Mutex<Account>,
}

#[derive(Default)]
struct Account {
    /// Files of which a link is kept.
    kept: HashSet<u64>,
    /// Counts what was noted.
    count: u64,
    /// The last of each that was written down: syncs may end in another order than they began.
    written: HashMap<u64, u64>,
}

/// What a sync makes durable if it succeeds.
pub struct Noted {
    inode: u64,
    count: u64,
    what: What,
}

enum What {
    Small(Vec<u8>),
    Grown(File, u64),
    Names(Vec<u8>),
}

impl Durable {
    pub fn new(folder: PathBuf) -> Self {
        Durable { folder, account: Mutex::default() }
    }

    /// To be called before a sync: what is written while it goes on need not be covered by it.
    pub fn before(&self, fd: RawFd, path: &Path) -> Option<Noted> {
        let mut account = self.account();
        account.count += 1;
        // Opened anew, for it may be open for writing only.
        let file = File::open(format!("/proc/self/fd/{fd}")).ok()?;
        let about = file.metadata().ok()?;
        let what = if about.is_dir() {
            What::Names(names(path).ok()?)
        } else if about.len() <= SMALL {
            What::Small(read(&file, 0, about.len()).ok()?)
        } else {
            What::Grown(file, about.len())
        };
        Some(Noted { inode: about.ino(), count: account.count, what })
    }

    /// To be called after it, before anybody learns that it succeeded.
    pub fn after(&self, noted: Noted) {
        let mut account = self.account();
        let Noted { inode, count, what } = noted;
        let written = account.written.entry(inode).or_default();
        if *written > count {
            return;
        }
        *written = count;
        let done = match what {
            What::Small(bytes) => self.replace(inode, "data", &bytes),
            What::Names(lines) => self.replace(inode, "names", &lines),
            What::Grown(file, length) => self.grow(&file, inode, length),
        };
        if let Err(error) = done {
            // Without its account the test would prove nothing.
            eprintln!("the shim cannot keep account: {error}");
            std::process::abort();
        }
    }

    /// To be called before a name is taken away from a file.
    pub fn keep(&self, path: &Path) {
        let Ok(about) = fs::symlink_metadata(path) else { return };
        if about.is_file() && self.account().kept.insert(about.ino()) {
            let _ = fs::hard_link(path, self.path(about.ino(), "kept"));
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, inode: u64, what: &str) -> PathBuf {
        self.folder.join(format!("{inode}.{what}"))
    }

    fn replace(&self, inode: u64, what: &str, bytes: &[u8]) -> io::Result<()> {
        let next = self.path(inode, "next");
        fs::write(&next, bytes)?;
        fs::rename(&next, self.path(inode, what))
    }

    /// Copies what came since the last time.
    fn grow(&self, from: &File, inode: u64, length: u64) -> io::Result<()> {
        let to = File::options().create(true).append(true).open(self.path(inode, "data"))?;
        let have = to.metadata()?.len();
        let Some(more) = length.checked_sub(have) else { return Ok(()) };
        io::Write::write_all(&mut &to, &read(from, have, more)?)
    }
}

fn names(folder: &Path) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        lines.extend_from_slice(format!("{} ", entry.ino()).as_bytes());
        lines.extend_from_slice(entry.file_name().as_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
}

fn read(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
