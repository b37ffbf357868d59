//! Reading RocksDB: ranges of keys as iterators of values.
//!
//! Every range lies within one prefix of its family, where the prefix filter is exact; both its ends are given to
//! RocksDB, so that it never looks at what the caller would throw away.

use rocksdb::{ColumnFamily, DB, DBRawIterator, ReadOptions};

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

impl Iterator for History<'_> {
    type Item = Result<Stored, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_with(|key, value| {
            let Some((at, mid)) = key::message_place(key) else {
                return Err(StoreError::Damaged {
                    place: "messages".into(),
                    what: "a key that is no message's".into(),
                });
            };
            codec::read_message(at, mid, value)
                .map_err(|error| StoreError::Damaged { place: format!("message {mid}"), what: error.to_string() })
        })
    }
}
