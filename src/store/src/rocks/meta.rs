//! What the store knows about itself, in RocksDB's default family: how often it was opened, whether it was closed, the
//! key that seals session tokens, and a number for each app.
//!
//! Apps are numbered here, not by their place in the configuration: a table that moves, comes or goes there must never
//! hand one app's data to another.

use rocksdb::{DB, WriteBatch, WriteOptions};
use tidegate_domain::ids::AppId;

use super::folder::SCHEMA;
use crate::StoreError;

const SCHEMA_KEY: &[u8] = b"schema";
const START: &[u8] = b"start";
const SEAL: &[u8] = b"seal";
const CLEAN: &[u8] = b"clean";
const APP: &[u8] = b"app/";

pub(super) struct Meta {
    pub start: u32,
    pub seal_key: [u8; 32],
    /// The last process did not close it.
    pub unclean: bool,
    /// Each configured app's number, in the order of the configuration.
    numbers: Vec<u16>,
}

impl Meta {
    /// Counts this start and makes what is not there yet, in one synced write.
    pub fn begin(db: &DB, apps: &[Box<str>]) -> Result<Self, StoreError> {
        let mut batch = WriteBatch::default();
        let starts = read::<4>(db, START)?.map(u32::from_be_bytes);
        match (read::<4>(db, SCHEMA_KEY)?.map(u32::from_be_bytes), starts) {
            (Some(SCHEMA), _) | (None, None) => batch.put(SCHEMA_KEY, SCHEMA.to_be_bytes()),
            (other, _) => return damaged("schema", format!("{other:?}, and the folder says {SCHEMA}")),
        }
        let Some(start) = starts.unwrap_or(0).checked_add(1) else {
            return damaged("start", "opened too often: message ids would repeat".into());
        };
        batch.put(START, start.to_be_bytes());
        let seal_key = match read::<32>(db, SEAL)? {
            Some(key) => key,
            // Where there was a start there was a key: a new one would silently void every session token.
            None if starts.is_some() => return damaged("seal", "it is gone".into()),
            None => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|error| StoreError::Io(format!("no random bytes: {error}")))?;
                batch.put(SEAL, key);
                key
            }
        };
        let unclean = starts.is_some() && db.get(CLEAN).map_err(super::failed)?.is_none();
        batch.delete(CLEAN);
        let numbers = number(db, apps, &mut batch)?;
        write_synced(db, batch)?;
        Ok(Meta { start, seal_key, unclean, numbers })
    }

    /// The last write of a process that closes the store in order.
    pub fn end(db: &DB) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put(CLEAN, [1]);
        write_synced(db, batch)
    }

    pub fn number(&self, app: AppId) -> Result<u16, StoreError> {
        let number = self.numbers.get(usize::from(app.0)).copied();
        number.ok_or_else(|| StoreError::Invalid(format!("app {} is not among those the store was opened with", app.0)))
    }

    /// `None`: its app is not in the configuration any more.
    pub fn app(&self, number: u16) -> Option<AppId> {
        let place = self.numbers.iter().position(|n| *n == number)?;
        u16::try_from(place).ok().map(AppId)
    }
}

/// Numbers that apps have, and new ones for those that have none, noted in `batch`.
fn number(db: &DB, apps: &[Box<str>], batch: &mut WriteBatch) -> Result<Vec<u16>, StoreError> {
    // 0 is no app's: a key that begins with it is a mistake.
    let mut last = 0u16;
    let mut entries = db.prefix_iterator(APP);
    while let Some((key, value)) = entries.next().transpose().map_err(super::failed)? {
        if !key.starts_with(APP) {
            break;
        }
        match value.first_chunk::<2>() {
            Some(number) => last = last.max(u16::from_be_bytes(*number)),
            None => return damaged("app", format!("a number in {} bytes", value.len())),
        }
    }
    let mut numbers: Vec<u16> = Vec::with_capacity(apps.len());
    for (at, app) in apps.iter().enumerate() {
        if apps[..at].contains(app) {
            return Err(StoreError::Refused(format!("app {app} is configured twice")));
        }
        let key = [APP, app.as_bytes()].concat();
        let number = match read::<2>(db, &key)? {
            Some(number) => u16::from_be_bytes(number),
            None => {
                let Some(next) = last.checked_add(1) else {
                    return Err(StoreError::Refused(format!("the store has seen {last} apps and takes no more")));
                };
                last = next;
                batch.put(key, next.to_be_bytes());
                next
            }
        };
        numbers.push(number);
    }
    Ok(numbers)
}

fn read<const N: usize>(db: &DB, key: &[u8]) -> Result<Option<[u8; N]>, StoreError> {
    let Some(value) = db.get(key).map_err(super::failed)? else { return Ok(None) };
    match <[u8; N]>::try_from(value) {
        Ok(value) => Ok(Some(value)),
        Err(value) => damaged(&String::from_utf8_lossy(key), format!("{} bytes in place of {N}", value.len())),
    }
}

fn write_synced(db: &DB, batch: WriteBatch) -> Result<(), StoreError> {
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    db.write_opt(batch, &synced).map_err(super::failed)
}

fn damaged<T>(key: &str, what: String) -> Result<T, StoreError> {
    Err(StoreError::Damaged { place: format!("the store's own {key}"), what })
}
