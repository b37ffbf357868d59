//! What became of a refused commit: it must not come back with a restart.
//!
//! When writing or syncing RocksDB's log fails, the caller is told so, but the record may lie whole in the page cache
//! and in the file, and the next start would replay it. So each commit carries a number that nobody can guess (log data:
//! it is in the log and nowhere else). The numbers of failed ones are written over a file that was laid out at the
//! start, which works on a full disk too; whoever opens the database next cuts the log before the record that holds one. Nothing that was
//! acknowledged lies behind it: after the first failure the store takes no more, and a record of several senders fails
//! as a whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::log_file;

const MARK: usize = 24;
/// More commits than this cannot be in flight at the moment of the first failure.
const MOST: usize = 256;

/// A commit's number in the log.
pub(super) type Mark = [u8; MARK];

pub(super) struct Refused {
    file: File,
    random: [u8; 16],
    count: AtomicU64,
    noted: Mutex<Vec<Mark>>,
}

impl Refused {
    /// Lays out the file, empty. To be called when the database is open: what was noted before has been cut then.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all_at(&[0; MARK * MOST], 0)?;
        file.sync_all()?;
        Ok(Refused { file, random, count: AtomicU64::new(0), noted: Mutex::default() })
    }

    pub fn next_mark(&self) -> Mark {
        let mut mark = [0; MARK];
        mark[..16].copy_from_slice(&self.random);
        mark[16..].copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        mark
    }

    /// Best effort for the file: on a disk that takes not even this, a restart may bring the commit back, dedupe entry
    /// and all. In memory it is noted in any case.
    pub fn note(&self, mark: Mark) -> io::Result<()> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let place = noted.len();
        noted.push(mark);
        if place >= MOST {
            return Err(io::Error::other("too many commits failed at once"));
        }
        self.file.write_all_at(&mark, (place * MARK) as u64)?;
        self.file.sync_data()
    }

    /// What was noted since `begin`.
    pub fn noted(&self) -> Vec<Mark> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Cuts what was noted, in the file `noted` and `also`, from the logs of a database that is not open; `before` is called
/// before each cut. How many logs were cut.
pub(super) fn cut(noted: &Path, also: &[Mark], rocks: &Path, before: impl Fn() -> io::Result<()>) -> io::Result<usize> {
    let noted = match fs::read(noted) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let in_file = noted.chunks_exact(MARK).filter(|mark| mark.iter().any(|byte| *byte != 0));
    let marks: Vec<&[u8]> = in_file.chain(also.iter().map(|mark| &mark[..])).collect();
    if marks.is_empty() || !rocks.is_dir() {
        return Ok(0);
    }
    let mut cuts = 0;
    for log in log_file::logs(rocks)? {
        let bytes = fs::read(&log)?;
        if let Some(start) = first_with(&bytes, &marks) {
            before()?;
            let file = OpenOptions::new().write(true).open(&log)?;
            file.set_len(start as u64)?;
            file.sync_all()?;
            cuts += 1;
        }
    }
    Ok(cuts)
}

/// Where the first record begins that holds one of `marks`.
fn first_with(log: &[u8], marks: &[&[u8]]) -> Option<usize> {
    let mut records = log_file::records(log);
    let with = records.find(|(_, record)| record.windows(MARK).any(|window| marks.contains(&window)));
    with.map(|(start, _)| start)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, open, times};
    use super::*;

    /// Given a failed sync: the record is whole in the log, and only its number says that it was refused.
    #[test]
    fn a_refused_commit_is_cut_from_the_log_and_all_before_it_stays() {
        for large in [10, 200_000] {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            let mut marks = Vec::new();
            for at in 1..=4 {
                let size = if at == 3 { large } else { 100 };
                marks.push(store.refused.count.load(Ordering::Relaxed));
                append(&store, at, size);
            }
            let mut refused = [0; MARK];
            refused[..16].copy_from_slice(&store.refused.random);
            refused[16..].copy_from_slice(&marks[2].to_be_bytes());
            store.refused.note(refused).unwrap();
            store.leave_unclean();

            let store = open(folder.path());
            assert!(store.meta.unclean);
            assert_eq!(times(&store), [1, 2]);
            append(&store, 5, 10);
            store.leave_unclean();
            // What was noted is forgotten when it is done.
            assert_eq!(times(&open(folder.path())), [1, 2, 5]);
        }
    }

    #[test]
    fn bytes_that_are_no_log_are_left_alone() {
        let mark = [7u8; MARK];
        for log in [vec![], vec![0; 100_000], vec![7; 100_000], [vec![0, 0, 0, 0, 0xff, 0xff, 1], vec![7; 90]].concat()]
        {
            assert_eq!(first_with(&log, &[&mark]), None);
        }
        let record = [vec![0, 0, 0, 0, 24, 0, 1], mark.to_vec()].concat();
        let log = [vec![1, 2, 3, 4, 2, 0, 1, 9, 9], record].concat();
        assert_eq!(first_with(&log, &[&mark]), Some(9));
    }
}
