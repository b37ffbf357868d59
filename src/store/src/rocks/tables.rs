//! RocksDB's column families: one for each kind of thing kept, with what its way of being read asks for.
//!
//! Owns names, filters, compression, expiry and the merge of marks. Keys and values are `key`'s and `codec`'s.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    MergeOperands, Options, SliceTransform,
};
use tidegate_domain::ids::{ConvId, Millis};

use super::RocksOptions;
use crate::{Clock, Marks, codec, key};

pub(super) const CONVERSATIONS: &str = "conversations";
pub(super) const UNIQUE: &str = "unique";
pub(super) const MEMBERS: &str = "members";
pub(super) const MESSAGES: &str = "messages";
pub(super) const SENT: &str = "sent";
pub(super) const MARKS: &str = "marks";
pub(super) const NONCES: &str = "nonces";
pub(super) const REVOKED: &str = "revoked";

pub(super) const ALL: [&str; 8] = [CONVERSATIONS, UNIQUE, MEMBERS, MESSAGES, SENT, MARKS, NONCES, REVOKED];

const MIB: usize = 1 << 20;
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The log is read back at the next start after an unclean end: this bounds how long that takes.
const MOST_LOG: u64 = 64 * MIB as u64;

/// A temporary conversation that has expired still answers so for a while, and not that it never was.
const TEMPORARY_KEPT: Duration = DAY;

/// Bytes of a block of messages: a page of a hundred of a chat's usual size lies in two, and is read with as few reads.
const MESSAGES_BLOCK: usize = 16 << 10;
/// Bytes of a block of any other family, whose entries are read one at a time.
const BLOCK: usize = 4 << 10;

/// Marks of one key that were said since the last flush and are not yet one value.
const MOST_MERGES: usize = 16;

/// What holds for the whole database. `new`: it may be made now; otherwise a missing part is damage.
pub(super) fn database(options: &RocksOptions, new: bool) -> Options {
    let mut db = Options::default();
    db.create_if_missing(new);
    db.create_missing_column_families(new);
    db.set_max_open_files(options.max_open_files);
    // A torn last record was never acknowledged. Damage anywhere else must stop the start.
    db.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);
    db.set_max_total_wal_size(MOST_LOG);
    db.set_max_background_jobs(2);
    db.set_bytes_per_sync(MIB as u64);
    db.set_keep_log_file_num(4);
    db.set_max_log_file_size(8 * MIB);
    db
}

/// All families but RocksDB's `default`, which is `meta`'s.
pub(super) fn families(options: &RocksOptions) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.block_cache);
    let clock = &options.clock;
    let expire = |name: &str, age, of| Expiry { name: c_name(name), clock: clock.clone(), age, of };

    let mut conversations = family(&cache, 16 * MIB, BLOCK, true);
    conversations.set_compaction_filter_factory(expire("conversations", TEMPORARY_KEPT, |key, value| {
        // Looked into only where it can be a temporary one.
        let (_, id) = key::app_of(key)?;
        let cid @ ConvId::Temporary(_) = ConvId::from_bytes(id)? else { return None };
        codec::read_conversation(cid, value).ok()?.expires
    }));
    conversations.set_periodic_compaction_seconds((7 * DAY).as_secs());

    let mut members = family(&cache, 8 * MIB, BLOCK, false);
    members.set_prefix_extractor(SliceTransform::create(
        "tidegate.client",
        key::memberships_prefix,
        Some(key::has_memberships_prefix),
    ));
    members.set_compaction_filter_factory(expire("members", TEMPORARY_KEPT, |_, value| time(value)));
    members.set_periodic_compaction_seconds((7 * DAY).as_secs());

    let mut messages = family(&cache, 32 * MIB, MESSAGES_BLOCK, false);
    messages.set_prefix_extractor(SliceTransform::create_fixed_prefix(key::CONVERSATION_PREFIX));
    messages.set_memtable_prefix_bloom_ratio(0.05);
    messages.set_compaction_filter_factory(expire("messages", options.retention, |key, _| {
        key::message_place(key).map(|(at, _)| at)
    }));
    messages.set_periodic_compaction_seconds((options.retention / 8).max(HOUR).as_secs());

    let mut sent = family(&cache, 16 * MIB, BLOCK, true);
    sent.set_compaction_filter_factory(expire("sent", options.dedupe_window, |_, value| time(value)));
    sent.set_periodic_compaction_seconds(options.dedupe_window.max(HOUR).as_secs());

    let mut marks = family(&cache, 16 * MIB, BLOCK, true);
    marks.set_prefix_extractor(SliceTransform::create_fixed_prefix(key::CONVERSATION_PREFIX));
    marks.set_merge_operator("tidegate.marks", |_, old, operands| merge(old, operands), |_, _, _| None);
    marks.set_max_successive_merges(MOST_MERGES);

    let mut nonces = family(&cache, 4 * MIB, BLOCK, false);
    nonces.set_compaction_filter_factory(expire("nonces", Duration::ZERO, |_, value| time(value)));
    nonces.set_periodic_compaction_seconds(DAY.as_secs());

    let mut revoked = family(&cache, MIB, BLOCK, false);
    revoked.set_compaction_filter_factory(expire("revoked", Duration::ZERO, |_, value| time(value)));
    revoked.set_periodic_compaction_seconds(DAY.as_secs());

    let unique = family(&cache, 4 * MIB, BLOCK, true);
    [
        (CONVERSATIONS, conversations),
        (UNIQUE, unique),
        (MEMBERS, members),
        (MESSAGES, messages),
        (SENT, sent),
        (MARKS, marks),
        (NONCES, nonces),
        (REVOKED, revoked),
    ]
    .map(|(name, options)| ColumnFamilyDescriptor::new(name, options))
    .into()
}

/// `points`: read by whole key, so that the filter should know whole keys.
fn family(cache: &Cache, write_buffer: usize, block: usize, points: bool) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(block);
    // Memory is bounded by the cache, whatever the store grows to, so indexes and filters are kept in it too, but in parts:
    // a large table's index is longer than one of the cache's shards, and would be read anew for each page.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_whole_key_filtering(points);
    let mut family = Options::default();
    family.set_block_based_table_factory(&blocks);
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_write_buffer_size(write_buffer);
    family
}

/// Drops what has expired whenever RocksDB rewrites a file anyway. Reads never show it in the meantime.
struct Expiry {
    name: CString,
    clock: Clock,
    age: Duration,
    of: fn(&[u8], &[u8]) -> Option<Millis>,
}

struct Expired {
    name: CString,
    oldest: Millis,
    of: fn(&[u8], &[u8]) -> Option<Millis>,
}

impl CompactionFilterFactory for Expiry {
    type Filter = Expired;

    fn create(&mut self, _: CompactionFilterContext) -> Expired {
        Expired { name: self.name.clone(), oldest: crate::before((self.clock)(), self.age), of: self.of }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

impl CompactionFilter for Expired {
    fn filter(&mut self, _: u32, key: &[u8], value: &[u8]) -> Decision {
        match (self.of)(key, value) {
            Some(at) if at < self.oldest => Decision::Remove,
            // What cannot be read is kept: throwing it away would hide that something is wrong.
            _ => Decision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

fn time(value: &[u8]) -> Option<Millis> {
    codec::read_time(value).ok()
}

/// `None` makes RocksDB report damage where somebody reads the key.
fn merge(old: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut marks = old.map_or(Ok(Marks::default()), codec::read_marks).ok()?;
    for operand in operands {
        marks.apply(&codec::read_marks(operand).ok()?);
    }
    Some(codec::write_marks(&marks))
}

fn c_name(name: &str) -> CString {
    CString::new(format!("tidegate.{name}")).unwrap_or_default()
}
