//! How far the manifest and the newest log were written: notes beside the database, so that a file which was cut short is
//! told from one that never had more.
//!
//! RocksDB takes a file that ends early for one whose last writes were cut off. Of a manifest it then does without the tables
//! that these named: it even deletes them, and a piece of history is gone without a word. Of a log, without what was
//! acknowledged last. Noted is only what is on disk, so a power cut leaves no note of more than there is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::check::Finding;
use super::log_file;

fn manifest_note(folder: &Path) -> PathBuf {
    folder.join("manifest-length")
}

fn log_note(folder: &Path) -> PathBuf {
    folder.join("log-length")
}

/// Notes how long the manifest is, where it has grown. `folder`: the store's; `rocks`: the database's in it.
pub(super) fn note_manifest(folder: &Path, rocks: &Path) -> io::Result<()> {
    let manifest = log_file::manifest(rocks)?;
    let file = File::open(&manifest)?;
    let length = file.metadata()?.len();
    let text = written(&manifest, length);
    if fs::read_to_string(manifest_note(folder)).is_ok_and(|noted| noted == text) {
        return Ok(());
    }
    file.sync_all()?;
    let next = manifest_note(folder).with_extension("new");
    let mut to = File::create(&next)?;
    to.write_all(text.as_bytes())?;
    to.sync_all()?;
    fs::rename(next, manifest_note(folder))
}

/// Notes how far the newest log is on disk, with each commit that was synced. The note itself is not synced: it outlives
/// the process, and after a power cut it may tell of less, or of nothing.
pub(super) struct LogNote {
    to: File,
    rocks: PathBuf,
    newest: Mutex<Newest>,
}

struct Newest {
    path: PathBuf,
    log: File,
    noted: u64,
}

/// A log, and how far it was written at some time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    log: PathBuf,
    length: u64,
}

impl LogNote {
    /// For a database that is open.
    pub fn begin(folder: &Path, rocks: &Path) -> io::Result<Self> {
        let to = OpenOptions::new().write(true).create(true).truncate(false).open(log_note(folder))?;
        Ok(LogNote { to, rocks: rocks.to_owned(), newest: Mutex::new(Newest::of(rocks)?) })
    }

    /// How far the log is written now: to be asked before a commit, whose sync then covers it.
    pub fn before(&self) -> io::Result<Written> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Written { log: newest.path.clone(), length: newest.log.metadata()?.len() })
    }

    /// That much is on disk: a commit was synced after it was looked at.
    pub fn synced(&self, before: Written) -> io::Result<()> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.path != before.log {
            return Ok(());
        }
        if before.length > newest.noted {
            self.to.write_all_at(written(&before.log, before.length).as_bytes(), 0)?;
            newest.noted = before.length;
        }
        if newest.log.metadata()?.len() == before.length {
            // The commit is in another log by now.
            *newest = Newest::of(&self.rocks)?;
        }
        Ok(())
    }
}

impl Newest {
    fn of(rocks: &Path) -> io::Result<Self> {
        let path = log_file::logs(rocks)?.pop().ok_or(io::ErrorKind::NotFound)?;
        Ok(Newest { log: File::open(&path)?, path, noted: 0 })
    }
}

/// Says nothing of the log any more; on disk before anything else is done.
pub(super) fn forget_log(folder: &Path) -> io::Result<()> {
    match fs::remove_file(log_note(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

/// What was noted, as it stands in a folder.
pub(super) struct Notes {
    manifest: Option<(String, u64)>,
    log: Option<(String, u64)>,
}

impl Notes {
    pub fn of(folder: &Path) -> Notes {
        Notes { manifest: read(&manifest_note(folder)), log: read(&log_note(folder)) }
    }

    /// How far this manifest or log was written; `None`: nothing was noted of it.
    pub fn written(&self, file: &Path) -> Option<u64> {
        let mut notes = [&self.manifest, &self.log].into_iter().flatten();
        notes.find(|(name, _)| file.file_name().is_some_and(|file| file == &**name)).map(|(_, length)| *length)
    }

    /// The log that was the newest, where it and all later ones are gone.
    pub fn lost_log(&self, rocks: &Path, means: &'static str) -> Option<Finding> {
        let (name, noted) = self.log.as_ref()?;
        let file = rocks.join(name);
        // One that was not needed any more was deleted, and then there is a later one.
        let newest = log_file::logs(rocks).ok()?.pop();
        let what = format!("it is not there, and was written up to byte {noted}");
        newest.is_none_or(|newest| newest < file).then_some(Finding { file, what, means })
    }
}

/// Name, length, and a checksum of both: all of one file's notes are equally long, as they are written over one another.
fn written(file: &Path, length: u64) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let said = format!("{name} {length:020}");
    format!("{said} {:08x}\n", crc32c::crc32c(said.as_bytes()))
}

/// A file's name and length. A note that is damaged itself says nothing.
fn read(note: &Path) -> Option<(String, u64)> {
    let text = fs::read_to_string(note).ok()?;
    let (name, rest) = text.split_once(' ')?;
    let length = rest.split(' ').next()?.parse().ok()?;
    text.starts_with(&written(Path::new(name), length)).then(|| (name.to_owned(), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_noted_up_to_where_it_was_before_a_synced_commit() {
        let folder = tempfile::tempdir().unwrap();
        let (rocks, first, second) =
            (folder.path(), folder.path().join("000009.log"), folder.path().join("000010.log"));
        fs::write(&first, [1; 100]).unwrap();
        let note = LogNote::begin(folder.path(), rocks).unwrap();
        let (early, late) = (note.before().unwrap(), note.before().unwrap());
        fs::write(&first, [1; 150]).unwrap();
        note.synced(early).unwrap();
        assert_eq!(read(&log_note(folder.path())), Some(("000009.log".into(), 100)));
        let next = note.before().unwrap();
        fs::write(&first, [1; 180]).unwrap();
        note.synced(next).unwrap();
        note.synced(late).unwrap();
        assert_eq!(read(&log_note(folder.path())).unwrap().1, 150, "it never tells of less");

        // A commit goes to a new log: noted with the next one.
        let before = note.before().unwrap();
        fs::write(&second, [1; 30]).unwrap();
        note.synced(before).unwrap();
        assert_eq!(read(&log_note(folder.path())), Some(("000009.log".into(), 180)));
        let before = note.before().unwrap();
        fs::write(&second, [1; 60]).unwrap();
        note.synced(before).unwrap();
        assert_eq!(read(&log_note(folder.path())), Some(("000010.log".into(), 30)));
    }

    #[test]
    fn a_log_that_is_gone_is_damage_unless_there_is_a_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let (noted, later) = (folder.path().join("000009.log"), folder.path().join("000010.log"));
        let lost = || Notes::of(folder.path()).lost_log(folder.path(), "");
        assert_eq!(lost(), None, "nothing was noted");
        fs::write(log_note(folder.path()), written(&noted, 5)).unwrap();
        let found = lost().unwrap();
        assert!(found.file == noted && found.what.contains("not there"), "{found}");
        fs::write(later, "").unwrap();
        assert_eq!(lost(), None);
    }

    #[test]
    fn a_damaged_note_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let note = log_note(folder.path());
        let good = written(Path::new("000009.log"), 5);
        fs::write(&note, &good).unwrap();
        assert_eq!(read(&note), Some(("000009.log".into(), 5)));
        for at in 0..good.len() - 1 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            fs::write(&note, bytes).unwrap();
            assert_eq!(read(&note), None, "byte {at}");
            fs::write(&note, &good[..at]).unwrap();
            assert_eq!(read(&note), None, "cut at {at}");
        }
    }
}
