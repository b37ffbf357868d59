//! Messages a second through durable commits, beside the floor that the disk sets: appending as many bytes to a file
//! and `fdatasync`, in turns with them so that both see the same disk.
//!
//! `cargo bench -p tidegate-store --bench commit [-- FOLDER]`; the folder decides which disk is measured.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_domain::command::{Body, Mentions};
use tidegate_domain::ids::{AppId, ConvId, MessageId};
use tidegate_store::rocks::{RocksOptions, RocksStore, Sync, open};
use tidegate_store::{Change, Store, Stored};

const ROUND: Duration = Duration::from_secs(2);
/// A message's body, as in the tables of the design.
const BODY: usize = 120;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = match wanted {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder to measure in");
    let store = open(RocksOptions {
        path: folder.path().join("store"),
        apps: vec!["bench".into()],
        sync: Sync::Commit,
        retention: Duration::from_secs(1 << 32),
        dedupe_window: Duration::from_secs(1 << 32),
        max_open_files: 200,
        block_cache: 32 << 20,
        clock: Arc::new(|| 1 << 40),
    })
    .expect("the store opens");

    println!("threads  batch   commits/s  messages/s   p50 ms   p99 ms | floor/s   p50 ms   commits/floor");
    for (threads, batch) in [(1, 1), (1, 16), (1, 64), (2, 1), (2, 16), (2, 64), (8, 1)] {
        let floor = floor(folder.path(), batch * (BODY + 150));
        let (rate, mut took) = commits(&store, threads, batch);
        took.sort();
        let ms = |at: f64| took[((took.len() - 1) as f64 * at) as usize].as_secs_f64() * 1e3;
        println!(
            "{threads:>7} {batch:>6} {rate:>11.0} {:>11.0} {:>8.3} {:>8.3} | {:>7.0} {:>8.3} {:>10.2}",
            rate * batch as f64,
            ms(0.5),
            ms(0.99),
            floor.0,
            floor.1 * 1e3,
            rate / floor.0,
        );
    }
}

/// Commits a second by `threads`, and how long each took.
fn commits(store: &RocksStore, threads: usize, batch: usize) -> (f64, Vec<Duration>) {
    static NEXT: AtomicI64 = AtomicI64::new(1 << 39);
    let (began, count) = (Instant::now(), AtomicU64::new(0));
    let took = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut took = Vec::new();
                    while began.elapsed() < ROUND {
                        let changes: Vec<_> =
                            (0..batch).map(|_| message(NEXT.fetch_add(1, Ordering::Relaxed))).collect();
                        let before = Instant::now();
                        store.commit(&changes).expect("a commit");
                        took.push(before.elapsed());
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    took
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    (count.into_inner() as f64 / began.elapsed().as_secs_f64(), took)
}

fn message(at: i64) -> Change {
    let message = Stored {
        mid: MessageId::new(at, 1, at as u64),
        from: "ann".into(),
        at,
        body: Body::Text("x".repeat(BODY).into()),
        receipt: false,
        mentions: Mentions::default(),
        patched_at: None,
    };
    let cid = ConvId::Object([(at % 100) as u8; 12]);
    Change::Message { app: AppId(0), cid, message, dedupe: Some(format!("dt-{at}").into()) }
}

/// Appends of `bytes` with `fdatasync` a second, and their median in seconds.
fn floor(folder: &Path, bytes: usize) -> (f64, f64) {
    let mut file = File::create(folder.join("floor")).expect("a file");
    let (block, began, mut took) = (vec![b'x'; bytes], Instant::now(), Vec::new());
    while began.elapsed() < ROUND / 2 {
        let before = Instant::now();
        file.write_all(&block).and_then(|()| file.sync_data()).expect("a write");
        took.push(before.elapsed());
    }
    took.sort();
    (took.len() as f64 / began.elapsed().as_secs_f64(), took[took.len() / 2].as_secs_f64())
}
