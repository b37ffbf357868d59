//! What can only be seen from inside: that what expired leaves the disk, and what the other tests here need.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidegate_domain::command::{Body, Direction, Mentions};
use tidegate_domain::conversation::{Conversation, Kind, Member};

use super::opened::NEWEST_FIRST;
use super::*;

const APP: AppId = AppId(0);
const CID: ConvId = ConvId::Object([1; 12]);

fn options(path: &Path, now: Arc<AtomicI64>) -> RocksOptions {
    RocksOptions {
        path: path.into(),
        apps: vec!["one".into()],
        sync: Sync::Commit,
        retention: Duration::from_millis(1_000),
        dedupe_window: Duration::from_millis(100),
        max_open_files: 100,
        block_cache: 1 << 20,
        clock: Arc::new(move || now.load(Ordering::SeqCst)),
    }
}

/// An open database that nobody mends.
pub(super) struct Alone(Opened, #[expect(dead_code, reason = "its lock goes after the database")] Folder);

impl std::ops::Deref for Alone {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        &self.0
    }
}

fn open_with(options: RocksOptions) -> Alone {
    let mut folder = Folder::enter(&options.path).unwrap();
    Alone(Opened::open(&options, &mut folder, &[]).unwrap(), folder)
}

pub(super) fn open(path: &Path) -> Alone {
    open_with(options(path, Arc::default()))
}

pub(super) fn append(store: &Opened, at: Millis, size: usize) {
    let message = Stored {
        mid: MessageId([1; 16]),
        from: "ann".into(),
        at,
        body: Body::Text("x".repeat(size).into()),
        receipt: false,
        mentions: Mentions::default(),
        patched_at: None,
    };
    let dedupe = Some(at.to_string().into());
    store.commit(&[Change::Message { app: APP, cid: CID, message, dedupe }]).unwrap();
}

pub(super) fn times(store: &Opened) -> Vec<Millis> {
    let everything = Page { direction: Direction::New, ..NEWEST_FIRST };
    store.page(APP, CID, &everything).unwrap().iter().map(|message| message.at).collect()
}

impl Alone {
    /// As a store that failed: no word of a clean end.
    pub(super) fn leave_unclean(self) {
        self.broken.set("left by a test".into()).unwrap();
    }

    fn entries(&self, table: &str) -> usize {
        let mut range = self.range(table, Vec::new(), None, false).unwrap();
        // All prefixes in one walk: only tests do that.
        let mut count = 0;
        while let Some(entry) = range.next_with(|_, _| Ok(())) {
            entry.unwrap();
            count += 1;
        }
        count
    }

    fn compact(&self) {
        for table in [tables::MESSAGES, tables::SENT, tables::CONVERSATIONS, tables::MEMBERS, tables::NONCES] {
            let family = cf(&self.db, table).unwrap();
            self.db.flush_cf(family).unwrap();
            let mut all = rocksdb::CompactOptions::default();
            all.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
            self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &all);
        }
    }
}

#[test]
fn what_expired_leaves_the_disk() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(0)));
    let store = open_with(options(folder.path(), now.clone()));
    append(&store, 10, 10);
    append(&store, 2_000, 10);
    let temporary = |n: u8, expires| {
        let record = Conversation {
            id: ConvId::Temporary([n; 16]),
            kind: Kind::Temporary,
            creator: "ann".into(),
            members: vec![Member { client: "ann".into(), joined: 0 }],
            muted: vec![],
            attributes: Default::default(),
            unique_id: None,
            created: 0,
            updated: 0,
            version: 1,
            expires,
        };
        Change::Conversation { app: APP, record, came: vec!["ann".into()], went: vec![] }
    };
    let day = 24 * 60 * 60 * 1_000;
    let nonce = |nonce: &str, until| Change::Nonce { app: APP, nonce: nonce.into(), until };
    store.commit(&[temporary(1, Some(5)), temporary(2, Some(3 * day)), nonce("a", 5), nonce("b", 3 * day)]).unwrap();
    let counts = |store: &Alone| {
        [tables::MESSAGES, tables::SENT, tables::CONVERSATIONS, tables::MEMBERS, tables::NONCES]
            .map(|table| store.entries(table))
    };
    store.compact();
    assert_eq!(counts(&store), [2, 2, 2, 2, 2]);
    now.store(1_500, Ordering::SeqCst);
    store.compact();
    assert_eq!(counts(&store), [1, 1, 2, 2, 1]);
    // An expired conversation is known as such for a day.
    now.store(day + 1_500, Ordering::SeqCst);
    store.compact();
    assert_eq!(counts(&store), [0, 0, 1, 1, 1]);
    assert_eq!(store.conversations_of(APP, "ann", 10).unwrap(), [ConvId::Temporary([2; 16])]);
}

/// Many changes of one member's marks between two flushes, and over them: one value comes of it, the right one.
#[test]
fn marks_merge_in_memory_in_tables_and_across() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for at in 1..=100 {
        let mark = crate::ReadMark { message_at: at, read_at: at };
        let range = crate::Range { from: at, to: at, at: 7 };
        store
            .commit(&[
                Change::Read { app: APP, cid: CID, client: "ann".into(), mark },
                Change::Delivered { app: APP, cid: CID, client: "ann".into(), range },
            ])
            .unwrap();
        if at % 30 == 0 {
            store.db.flush_cf(cf(&store.db, tables::MARKS).unwrap()).unwrap();
        }
    }
    let expected = Marks {
        read: Some(crate::ReadMark { message_at: 100, read_at: 100 }),
        delivered: vec![crate::Range { from: 1, to: 100, at: 7 }],
    };
    assert_eq!(store.marks(APP, CID, "ann").unwrap(), expected);
    store.db.compact_range_cf(cf(&store.db, tables::MARKS).unwrap(), None::<&[u8]>, None::<&[u8]>);
    assert_eq!(store.marks(APP, CID, "ann").unwrap(), expected);
    assert_eq!(store.all_marks(APP, CID).unwrap(), [("ann".into(), expected)]);
}

/// Reads across many tables, with filters in play: a conversation is found wherever its messages lie.
#[test]
fn a_history_over_many_tables_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for at in 1..=40 {
        append(&store, at, 50);
        if at % 7 == 0 {
            store.db.flush_cf(cf(&store.db, tables::MESSAGES).unwrap()).unwrap();
        }
    }
    assert_eq!(times(&store), (1..=40).collect::<Vec<_>>());
    assert_eq!(store.last(APP, CID).unwrap().unwrap().at, 40);
    let newest = store.page(APP, CID, &Page { limit: 3, ..NEWEST_FIRST }).unwrap();
    assert_eq!(newest.iter().map(|message| message.at).collect::<Vec<_>>(), [38, 39, 40]);
    assert_eq!(store.last(APP, ConvId::Object([2; 12])).unwrap(), None);
}
