//! Looking at every stored byte of a store that is not in use, and naming what is damaged. Changes nothing.
//!
//! RocksDB's tables carry a checksum for each block, its logs and manifest one for each fragment; a walk over everything
//! meets them all. What reads well must also be one of our values.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rocksdb::{DB, ReadOptions};

use super::folder::Folder;
use super::noted::Notes;
use super::{RocksOptions, cf, log_file, opened, tables};
use crate::{StoreError, codec, key};

/// What was looked at, and found.
#[derive(Debug)]
pub struct Checked {
    pub tables: usize,
    pub logs: usize,
    /// Entries read, over all tables and logs.
    pub entries: u64,
    pub findings: Vec<Finding>,
}

/// One damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub file: PathBuf,
    /// What was met there.
    pub what: String,
    /// What follows from it, as a sentence.
    pub means: &'static str,
}

impl Finding {
    /// What was acknowledged is missing, or may be, and RocksDB would not say so: a manifest that is not there it misses itself.
    pub(super) fn is_silent(&self) -> bool {
        self.file.is_file() || self.means == LOG
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

const LOG: &str = "What was written last is in it, so the server does not start on it.";
const MANIFEST: &str = "It says which tables belong together, so the server does not start on it.";
const TABLE: &str = "Whoever asks for what is in it is told 4200, and the server's log says where; the rest is served.";
const OTHER: &str = "The server does not start on it.";

/// Looks at the whole store; at its tables only where logs and manifest are good. Refused: there is none, or it is in use.
pub fn check(options: &RocksOptions) -> Result<Checked, StoreError> {
    let folder = Folder::enter_existing(&options.path)?;
    let rocks = folder.rocks();
    let logs = log_file::logs(&rocks).map_or(0, |logs| logs.len());
    let mut checked = Checked { tables: 0, logs, entries: 0, findings: damaged_logs(&folder) };
    // RocksDB is not given a damaged log or manifest: there are some on which it never ends.
    if folder.new || !checked.findings.is_empty() {
        return Ok(checked);
    }
    match open(options, &rocks, true) {
        Ok(db) => look_at_tables(&db, &rocks, &mut checked)?,
        Err(error) => {
            // It may be one table: they are looked at one by one.
            if let Ok(db) = open(options, &rocks, false) {
                look_at_tables(&db, &rocks, &mut checked)?;
            }
            if checked.findings.is_empty() {
                checked.findings.push(from_error(&rocks, &rocks, error.as_ref(), OTHER));
            }
        }
    }
    Ok(checked)
}

/// `strict`: as the server does. Otherwise also where a table cannot be used.
fn open(options: &RocksOptions, rocks: &Path, strict: bool) -> Result<DB, rocksdb::Error> {
    let mut database = tables::database(options, false);
    database.set_paranoid_checks(strict);
    DB::open_cf_descriptors_read_only(&database, rocks, tables::families(options), false)
}

/// Logs and manifests with damage that is not just a cut-off end.
pub(super) fn damaged_logs(folder: &Folder) -> Vec<Finding> {
    let rocks = &folder.rocks();
    let mut findings = Vec::new();
    let noted = Notes::of(folder.path());
    let mut look_at = |file: PathBuf, means| match fs::read(&file) {
        Ok(bytes) => {
            let what = match (log_file::examine(&bytes), noted.written(&file)) {
                (Err(Range { start, end }), _) => {
                    format!("the bytes from {start} to {end} cannot be read, and what follows them can")
                }
                (Ok(readable), Some(written)) if (readable as u64) < written => {
                    format!("it can be read up to byte {readable}, and was written up to {written}")
                }
                _ => return,
            };
            findings.push(Finding { file, what, means });
        }
        Err(error) => findings.push(Finding { file, what: format!("cannot be read: {error}"), means }),
    };
    for log in log_file::logs(rocks).unwrap_or_default() {
        look_at(log, LOG);
    }
    match log_file::manifest(rocks) {
        Ok(manifest) if manifest.is_file() => look_at(manifest, MANIFEST),
        named => {
            let what = named.map_or_else(
                |error| format!("cannot be used: {error}"),
                |manifest| format!("it names {}, which is not there", manifest.display()),
            );
            findings.push(Finding { file: rocks.join("CURRENT"), what, means: MANIFEST });
        }
    }
    findings.extend(noted.lost_log(rocks, LOG));
    findings
}

fn look_at_tables(db: &DB, rocks: &Path, checked: &mut Checked) -> Result<(), StoreError> {
    let files = db.live_files().map_err(opened::failed)?;
    checked.tables = files.len();
    let mut found = BTreeMap::new();
    for file in &files {
        let path = rocks.join(file.name.trim_start_matches('/'));
        let range = (file.start_key.clone(), file.end_key.clone());
        if let Err(error) = walk(db, &file.column_family_name, range, |_, _| Ok(())) {
            let mut finding = from_error(rocks, &path, &error.to_string(), TABLE);
            if finding.file == path && !finding.what.contains(&*file.name) {
                finding.what = format!("it, or a table of {} that overlaps it: {error}", file.column_family_name);
            }
            found.entry(finding.file.clone()).or_insert(finding);
        }
    }
    // Values of logs are among these; a table that is damaged was named above.
    for name in tables::ALL {
        if let Err(error) = walk(db, name, (None, None), |key, value| {
            checked.entries += 1;
            read(name, key, value)
        }) && found.is_empty()
        {
            let place = rocks.join(format!("(table {name})"));
            found.insert(place.clone(), Finding { file: place, what: error.to_string(), means: TABLE });
        }
    }
    checked.findings.extend(found.into_values());
    Ok(())
}

type Ends = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Reads all entries of a family from the first key to the last of these, with their checksums.
fn walk(
    db: &DB,
    family: &str,
    (first, last): Ends,
    mut read: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    // Filters know one prefix at a time.
    options.set_total_order_seek(true);
    if let Some(last) = last {
        options.set_iterate_upper_bound([last, vec![0]].concat());
    }
    let mut entries = db.raw_iterator_cf_opt(cf(db, family)?, options);
    match first {
        Some(first) => entries.seek(first),
        None => entries.seek_to_first(),
    }
    while let Some((key, value)) = entries.item() {
        read(key, value)?;
        entries.next();
    }
    entries.status().map_err(opened::failed)
}

/// Whether a value is one of ours.
fn read(family: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let damaged = |what: String| Err(StoreError::Damaged { place: family.to_owned(), what });
    let outcome = match family {
        tables::MESSAGES => match key::message_place(key) {
            Some((at, mid)) => codec::read_message(at, mid, value).map(drop),
            None => return damaged("a key that is no message's".into()),
        },
        tables::CONVERSATIONS => {
            match key::app_of(key).and_then(|(_, cid)| tidegate_domain::ids::ConvId::from_bytes(cid)) {
                Some(cid) => codec::read_conversation(cid, value).map(drop),
                None => return damaged("a key that is no conversation's".into()),
            }
        }
        tables::MARKS => codec::read_marks(value).map(drop),
        tables::SENT => codec::read_sent(value).map(drop),
        tables::UNIQUE => codec::read_conv_id(value).map(drop),
        tables::NONCES | tables::REVOKED => codec::read_time(value).map(drop),
        _ => Ok(()),
    };
    outcome.or_else(|error| damaged(error.to_string()))
}

/// RocksDB's words mostly name the file.
fn from_error(rocks: &Path, otherwise: &Path, error: &str, means: &'static str) -> Finding {
    let is_file = |word: &&str| rocks.join(word).is_file();
    let named = error
        .split(|c: char| c.is_whitespace() || matches!(c, '/' | ':' | ',' | ';' | '"' | '(' | ')'))
        .filter(|word| !word.is_empty())
        .find(is_file);
    let file = named.map_or_else(|| otherwise.to_owned(), |name| rocks.join(name));
    Finding { file, what: error.to_owned(), means }
}
