//! Reading RocksDB: ranges of keys as iterators of values.
//!
//! Every range lies within one prefix of its family, where the prefix filter is exact; both its ends are given to
//! RocksDB, so that it never looks at what the caller would throw away.

use bytes::Bytes;
use rocksdb::{ColumnFamily, DB, DBRawIterator, ReadOptions};
use tidegate_domain::history::MOST_ITEMS;
use tidegate_domain::ids::MessageId;

use crate::key::Place;
use crate::{StoreError, Stored, codec, key};

/// Keys and values from `low` up to, not with, `high` (`None`: no end), one way or the other.
pub(super) struct Range<'a> {
    iterator: DBRawIterator<'a>,
    backward: bool,
    begun: bool,
}

impl<'a> Range<'a> {
    pub fn new(db: &'a DB, family: &ColumnFamily, low: Vec<u8>, high: Option<Vec<u8>>, backward: bool) -> Self {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(low);
        if let Some(high) = high {
            options.set_iterate_upper_bound(high);
        }
        Range { iterator: db.raw_iterator_cf_opt(family, options), backward, begun: false }
    }

    /// The next entry as `read` makes it of key and value.
    pub fn next_with<T>(
        &mut self,
        read: impl FnOnce(&[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        match (self.begun, self.backward) {
            (false, false) => self.iterator.seek_to_first(),
            (false, true) => self.iterator.seek_to_last(),
            (true, false) => self.iterator.next(),
            (true, true) => self.iterator.prev(),
        }
        self.begun = true;
        match self.iterator.item() {
            Some((key, value)) => Some(read(key, value)),
            None => self.iterator.status().err().map(|error| Err(super::failed(error))),
        }
    }
}

/// A conversation's messages, one way or the other.
pub(super) struct History<'a>(pub Range<'a>);

/// Bytes of a usual message as stored, for how much room a page is given at first.
const USUAL: usize = 192;

impl History<'_> {
    /// Up to `limit` messages, in one piece of memory of which their bodies are parts.
    pub fn page(mut self, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let first = limit.min(MOST_ITEMS);
        let (mut rows, mut values) = (Vec::with_capacity(first), Vec::with_capacity(first * USUAL));
        while rows.len() < limit {
            let row = self.0.next_with(|key, value| {
                let begin = values.len();
                values.extend_from_slice(value);
                Ok((place(key)?, begin..values.len()))
            });
            let Some(row) = row else { break };
            rows.push(row?);
        }
        let (values, mut messages) = (Bytes::from(values), codec::Messages::default());
        let read = |((at, mid), range)| readable(mid, messages.read(at, mid, values.slice(range)));
        rows.into_iter().map(read).collect()
    }
}

impl Iterator for History<'_> {
    type Item = Result<Stored, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_with(|key, value| {
            let (at, mid) = place(key)?;
            readable(mid, codec::read_message(at, mid, value))
        })
    }
}

fn place(key: &[u8]) -> Result<Place, StoreError> {
    let damaged = || StoreError::Damaged { place: "messages".into(), what: "a key that is no message's".into() };
    key::message_place(key).ok_or_else(damaged)
}

fn readable(mid: MessageId, read: Result<Stored, codec::Malformed>) -> Result<Stored, StoreError> {
    read.map_err(|error| StoreError::Damaged { place: format!("message {mid}"), what: error.to_string() })
}
