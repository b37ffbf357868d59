//! A page of history through the store, beside what RocksDB itself needs to read the same rows.
//!
//! `cargo bench -p tidegate-store --bench page -- DATA/store [PAGES]`: of the folder's largest conversation, pages of 100
//! from anywhere in it. Each is read once with nothing in any cache (neither RocksDB's nor, as far as it forgets files
//! when it is told to, the system's) and then once more; `reads` are blocks a page that came from files. No server may use
//! the folder meanwhile. Three ways:
//!
//! - store: `Store::page`, as the server reads;
//! - bare: the iterator of a RocksDB that was opened without any setting of ours but the size of the cache, over the same
//!   rows in the same order, newest first; key and value are looked at and thrown away;
//! - forward: the same, oldest first, which is RocksDB's quicker way.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
use rocksdb::{BlockBasedOptions, Cache, DB, Options, ReadOptions};
use tidegate_domain::command::{Bound, Direction};
use tidegate_domain::ids::{AppId, ConvId, MessageId, Millis};
use tidegate_store::rocks::{RocksOptions, RocksStore, Sync, open};
use tidegate_store::{Page, Store, key};

const LIMIT: usize = 100;
/// As the server has it.
const CACHE: usize = 64 << 20;
/// The app that `tidegate bench` logs in to.
const APP: &str = "tidegate-dev";
/// Rounds, all three ways in each.
const ROUNDS: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        println!("which folder? cargo bench -p tidegate-store --bench page -- DATA/store [PAGES]");
        return;
    };
    let pages = arguments.next().and_then(|pages| pages.parse().ok()).unwrap_or(1000);
    let rocks = folder.join("rocks");
    let largest = largest(&bare(&rocks));
    println!("{} messages in the largest conversation, {pages} pages of {LIMIT}; times in ms", largest.messages);
    println!("            first p50       p99    reads     again p50       p99    reads");
    set_perf_stats(PerfStatsLevel::EnableCount);
    for round in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(round as u64);
        let span = (largest.first + 1).max(1)..=largest.last.max(largest.first + 1);
        let starts: Vec<Millis> = (0..pages).map(|_| random.i64(span.clone())).collect();
        forget(&rocks);
        {
            let store = store(&folder);
            twice("store", &starts, |start| read(&store, largest.cid, start));
        }
        for (name, backward) in [("bare", true), ("forward", false)] {
            forget(&rocks);
            let db = bare(&rocks);
            twice(name, &starts, |start| walk(&db, &largest, start, backward));
        }
    }
}

struct Largest {
    /// What all its keys begin with.
    prefix: Vec<u8>,
    cid: ConvId,
    messages: u64,
    first: Millis,
    last: Millis,
}

/// Walks over all messages once.
fn largest(db: &DB) -> Largest {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    let mut rows = db.raw_iterator_cf_opt(db.cf_handle("messages").expect("the table of messages"), options);
    rows.seek_to_first();
    let mut all: BTreeMap<Vec<u8>, (u64, Millis, Millis)> = BTreeMap::new();
    while let Some(row) = rows.key() {
        let (at, _) = key::message_place(row).expect("a message's key");
        let prefix = &row[..row.len() - 24];
        match all.get_mut(prefix) {
            Some((messages, _, last)) => (*messages, *last) = (*messages + 1, at),
            None => drop(all.insert(prefix.to_vec(), (1, at, at))),
        }
        rows.next();
    }
    let (prefix, (messages, first, last)) = all.into_iter().max_by_key(|(_, of)| of.0).expect("a message");
    let cid = key::app_of(&prefix).and_then(|(_, cid)| ConvId::from_bytes(cid)).expect("a conversation's id");
    Largest { prefix, cid, messages, first, last }
}

/// Reads all pages and then all of them again, and prints how long they took.
fn twice(name: &str, starts: &[Millis], mut page: impl FnMut(Millis)) {
    print!("{name:>8}");
    for _ in 0..2 {
        let mut took: Vec<Duration> = Vec::with_capacity(starts.len());
        let mut counts = PerfContext::default();
        counts.reset();
        for start in starts {
            let begin = Instant::now();
            page(*start);
            took.push(begin.elapsed());
        }
        took.sort();
        let ms = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let reads = counts.metric(PerfMetric::BlockReadCount) as f64 / starts.len() as f64;
        print!("    {:>9.3} {:>9.3} {reads:>8.1}", ms(0.5), ms(0.99));
    }
    println!();
}

fn store(folder: &Path) -> RocksStore {
    let store = open(RocksOptions {
        path: folder.to_owned(),
        apps: vec![APP.into()],
        sync: Sync::Commit,
        retention: Duration::from_secs(1 << 32),
        dedupe_window: Duration::from_secs(1 << 32),
        max_open_files: 1000,
        block_cache: CACHE,
        clock: Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)),
    })
    .expect("the store opens");
    // What it has to do in the background after an end that was not in order would be in the times.
    std::thread::sleep(Duration::from_secs(2));
    store
}

fn read(store: &RocksStore, cid: ConvId, start: Millis) {
    let start = Some(Bound { timestamp: start, mid: None, included: false });
    let page = Page { start, end: None, direction: Direction::Old, limit: LIMIT };
    assert!(!store.page(AppId(0), cid, &page).expect("a page").is_empty());
}

/// What is not ours, and the log's rows in memory, as a database that is only read has them.
fn bare(rocks: &Path) -> DB {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(CACHE));
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    let families = ["default", "messages"].map(|name| (name, options.clone()));
    DB::open_cf_with_opts_for_read_only(&options, rocks, families, false).expect("the database opens")
}

fn walk(db: &DB, largest: &Largest, start: Millis, backward: bool) {
    let Largest { prefix, .. } = largest;
    let edge = |at: Millis| {
        let (_, cid) = key::app_of(prefix).expect("a key");
        let app = u16::from_be_bytes([prefix[0], prefix[1]]);
        key::message(app, ConvId::from_bytes(cid).expect("a conversation's id"), at, MessageId([0; 16]))
    };
    let mut options = ReadOptions::default();
    // Places are a millisecond apart at least, mostly not more: as many rows lie behind as before.
    let (low, high) = if backward { (Millis::MIN, start) } else { (start - 2 * LIMIT as i64, Millis::MAX) };
    options.set_iterate_lower_bound(edge(low));
    options.set_iterate_upper_bound(edge(high));
    let mut rows = db.raw_iterator_cf_opt(db.cf_handle("messages").expect("the table of messages"), options);
    if backward {
        rows.seek_to_last()
    } else {
        rows.seek_to_first()
    }
    let (mut count, mut bytes) = (0, 0);
    while let Some((key, value)) = rows.item() {
        (count, bytes) = (count + 1, bytes + key.len() + value.len());
        if count == LIMIT {
            break;
        }
        if backward { rows.prev() } else { rows.next() }
    }
    assert!(count > 0 && std::hint::black_box(bytes) > 0);
}

/// The system forgets what it has of these files; what is not on disk yet it cannot forget.
fn forget(rocks: &Path) {
    for entry in std::fs::read_dir(rocks).expect("a folder").flatten() {
        let file = File::open(entry.path()).expect("a file");
        file.sync_all().expect("a sync");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice");
    }
}
