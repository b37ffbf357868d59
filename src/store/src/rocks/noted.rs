//! How far the manifest was written: a note beside the database, so that one which was cut short is told from one that
//! never had more.
//!
//! RocksDB takes a manifest that ends early for one whose last writes were cut off, and then does without the tables that
//! these named: it even deletes them, and a piece of history is gone without a word. Noted is only what is on disk, so a
//! power cut leaves no note of more than there is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::check::Finding;
use super::log_file;

fn note_of(folder: &Path) -> PathBuf {
    folder.join("manifest-length")
}

/// Notes how long the manifest is, where it has grown. `folder`: the store's; `rocks`: the database's in it.
pub(super) fn note(folder: &Path, rocks: &Path) -> io::Result<()> {
    let manifest = log_file::manifest(rocks)?;
    let file = File::open(&manifest)?;
    let length = file.metadata()?.len();
    let text = written(&manifest, length);
    if fs::read_to_string(note_of(folder)).is_ok_and(|noted| noted == text) {
        return Ok(());
    }
    file.sync_all()?;
    let next = note_of(folder).with_extension("new");
    let mut to = File::create(&next)?;
    to.write_all(text.as_bytes())?;
    to.sync_all()?;
    fs::rename(next, note_of(folder))
}

/// The manifest, where less of it can be read than was noted. A note of another manifest, or one that is damaged itself,
/// says nothing.
pub(super) fn shortened(folder: &Path, rocks: &Path, means: &'static str) -> Option<Finding> {
    let manifest = log_file::manifest(rocks).ok()?;
    let text = fs::read_to_string(note_of(folder)).ok()?;
    let noted: u64 = text.split(' ').nth(1)?.parse().ok()?;
    if text != written(&manifest, noted) {
        return None;
    }
    let readable = log_file::readable(&fs::read(&manifest).ok()?) as u64;
    let what = format!("it can be read up to byte {readable}, and was written up to {noted}");
    (readable < noted).then_some(Finding { file: manifest, what, means })
}

/// Name, length, and a checksum of both.
fn written(manifest: &Path, length: u64) -> String {
    let name = manifest.file_name().unwrap_or_default().to_string_lossy();
    let said = format!("{name} {length}");
    format!("{said} {:08x}\n", crc32c::crc32c(said.as_bytes()))
}
