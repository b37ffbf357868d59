//! The words by which a test says what is to fail, in a file that both sides have mapped or open.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI64, Ordering};

use libc::c_int;

/// Each is a signed 64-bit number, in the machine's order; the test's side is `tests/common/faults.rs`.
#[derive(Clone, Copy)]
pub enum Word {
    /// Writes and new names fail with this error; 0: they do not.
    Write,
    /// Syncs fail with this error.
    Sync,
    /// Syncs take this much longer.
    SyncDelayMs,
    /// The wall clock is wrong by this.
    ClockSeconds,
    /// Files cannot be opened, nor made, for this reason; below zero, turned round: RocksDB's tables alone.
    Open,
    /// The wall clock fails, once, in threads whose names begin with these up to eight bytes: to a Rust program, which
    /// takes for granted that it never does, that is a panic wherever it looked at the clock.
    ClockFailsIn,
    /// At which look of theirs it does, counted down.
    ClockFailsAt,
    /// How often one of the above was met: the shim counts.
    Met,
    /// Threads whose names begin with these up to eight bytes sleep at each look at the wall clock.
    ClockSlowIn,
    /// For how long.
    ClockSlowUs,
}

const WORDS: usize = 10;

pub struct Control(&'static [AtomicI64; WORDS]);

impl Control {
    pub fn map(path: &Path) -> Option<Control> {
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let length = WORDS * size_of::<AtomicI64>();
        if file.metadata().ok()?.len() < length as u64 {
            return None;
        }
        let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // Safety: a mapping of our own choice, of a file that is long enough and is never made shorter.
        let words = unsafe { libc::mmap(ptr::null_mut(), length, access, shared, file.as_raw_fd(), 0) };
        if words == libc::MAP_FAILED {
            return None;
        }
        // Safety: pages are aligned for this and never unmapped; atomics may be changed by others.
        Some(Control(unsafe { &*words.cast() }))
    }

    pub fn get(&self, word: Word) -> i64 {
        self.0[word as usize].load(Ordering::Relaxed)
    }

    pub fn error(&self, word: Word) -> Option<c_int> {
        c_int::try_from(self.get(word)).ok().filter(|error| *error != 0)
    }

    /// Whether this is the one that a count-down was for.
    pub fn is_last(&self, word: Word) -> bool {
        self.0[word as usize].fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Counts, and hands the error back.
    pub fn met(&self, error: c_int) -> c_int {
        self.0[Word::Met as usize].fetch_add(1, Ordering::Relaxed);
        error
    }
}
