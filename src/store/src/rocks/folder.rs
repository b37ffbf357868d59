//! The store's folder: whose it is, which schema is in it, and that only one process uses it.
//!
//! One small file, the marker, says that a folder is ours; its lock says that it is in use (and goes with the process,
//! however that ends). RocksDB's own files lie in a folder below. Knows nothing of what they hold.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::StoreError;

/// Changes when this program could misread what another wrote, or the other way round.
pub(super) const SCHEMA: u32 = 1;

const MARKER: &str = "tidegate-store";
const ROCKS: &str = "rocks";
const FIRST_LINE: &str = "This folder belongs to a Tidegate server; do not change it by hand.";
const NEW: &str = "new  ";
const READY: &str = "ready";

pub(super) struct Folder {
    path: PathBuf,
    /// Held open for its lock.
    marker: File,
    /// Whether the database in it was never completely made: then it may be made now, and never otherwise.
    pub new: bool,
}

impl Folder {
    /// Takes the folder, making it where there is none. Refuses any that is not ours to use.
    pub fn enter(path: &Path) -> Result<Self, StoreError> {
        make(path).map_err(|error| refused(path, &format!("cannot be made: {error}")))?;
        let marker_path = path.join(MARKER);
        if !marker_path.exists()
            && !is_empty(path).map_err(|error| refused(path, &format!("cannot be read: {error}")))?
        {
            return Err(refused(
                path,
                "is not empty and was not made by Tidegate. Name an empty folder, or one that Tidegate has used before",
            ));
        }
        let io = |error| refused(path, &format!("cannot be used: {error}"));
        let marker = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(marker_path);
        let mut marker = marker.map_err(io)?;
        if let Err(error) = flock(&marker, FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                rustix::io::Errno::WOULDBLOCK => refused(
                    path,
                    "is in use by another Tidegate process. Stop that one first, or give this one a folder of its own",
                ),
                other => io(other.into()),
            });
        }
        let mut text = String::new();
        marker.read_to_string(&mut text).map_err(io)?;
        let new = if text.is_empty() {
            let text = format!("{FIRST_LINE}\nschema {SCHEMA}\n{NEW}");
            marker.rewind().and_then(|()| marker.write_all(text.as_bytes())).map_err(io)?;
            marker.sync_all().map_err(io)?;
            true
        } else {
            read_marker(&text).map_err(|why| refused(path, &why))?
        };
        if new {
            make(&path.join(ROCKS)).map_err(io)?;
        }
        Ok(Folder { path: path.to_owned(), marker, new })
    }

    /// Takes a folder that is there, for looking at it.
    pub fn enter_existing(path: &Path) -> Result<Self, StoreError> {
        if !path.join(MARKER).is_file() {
            return Err(refused(path, "holds no store of Tidegate's"));
        }
        Folder::enter(path)
    }

    /// From now on a missing database is damage, not a first start.
    pub fn ready(&mut self) -> Result<(), StoreError> {
        if self.new {
            let io = |error| refused(&self.path, &format!("cannot be used: {error}"));
            // What is acknowledged from here on must not hang on a name that a power cut takes away.
            File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(io)?;
            // The folder's own name is in its parent, which need not be ours to open.
            if let Some(parent) = self.path.parent().and_then(|parent| File::open(parent).ok()) {
                parent.sync_all().map_err(io)?;
            }
            let end = self.marker.metadata().map_err(io)?.len();
            self.marker.write_all_at(READY.as_bytes(), end.saturating_sub(READY.len() as u64)).map_err(io)?;
            self.marker.sync_all().map_err(io)?;
            self.new = false;
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn rocks(&self) -> PathBuf {
        self.path.join(ROCKS)
    }

    pub fn refused_commits(&self) -> PathBuf {
        self.path.join("refused-commits")
    }

    /// A file that is written to see whether the disk takes writes.
    pub fn trial(&self) -> PathBuf {
        self.path.join("trial")
    }
}

pub(super) fn refused(path: &Path, why: &str) -> StoreError {
    StoreError::Refused(format!("the data folder {} {why}.", path.display()))
}

/// Only the server's own user may look into what is made here: the key that seals session tokens is in it.
fn make(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A fresh disk's own `lost+found` does not count.
fn is_empty(path: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the marker is that of a folder still to be filled; the error completes "the data folder ... ".
fn read_marker(text: &str) -> Result<bool, String> {
    let mut lines = text.lines();
    let schema = match (lines.next(), lines.next().and_then(|line| line.strip_prefix("schema "))) {
        (Some(FIRST_LINE), Some(schema)) => schema.parse::<u32>().ok(),
        _ => None,
    };
    match schema {
        None => Err(format!("holds a file {MARKER} that Tidegate did not write. Name an empty folder")),
        Some(SCHEMA) => Ok(lines.next() == Some(NEW)),
        Some(other) => Err(format!(
            "was written with schema {other}; this version reads schema {SCHEMA}. Start it with the version of \
             Tidegate that wrote it, or name another folder. Nothing in it was changed"
        )),
    }
}
