//! What only a disk can get wrong: restarts, crashes, torn and damaged files, full disks, other people's folders.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use common::disk::{open_in, options};
use common::*;
use tidegate_domain::command::{Body, Direction};
use tidegate_domain::ids::{AppId, ConvId, MessageId};
use tidegate_store::rocks::{RocksStore, Sync, open};
use tidegate_store::{Change, Page, Store, StoreError, Stored, Synced};

const EVERYTHING: Page = Page { start: None, end: None, direction: Direction::New, limit: usize::MAX };

fn refusal(result: Result<RocksStore, StoreError>) -> String {
    match result {
        Err(StoreError::Refused(words)) => words,
        Err(other) => panic!("not refused but: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

/// What the disk would hold if the process ended now: a copy of the folder, whose store goes on.
fn image(folder: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let copied = tempfile::tempdir().unwrap();
    copy(folder, copied.path());
    copied
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder.join("store/rocks")).unwrap().map(|entry| entry.unwrap().path());
    let mut wanted: Vec<_> = all.filter(|path| path.extension().is_some_and(|ext| ext == extension)).collect();
    wanted.sort();
    wanted
}

fn the_log(folder: &Path) -> PathBuf {
    let logs = files(folder, "log");
    logs.into_iter().max_by_key(|log| fs::metadata(log).unwrap().len()).unwrap()
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x55;
    fs::write(file, bytes).unwrap();
}

fn ten_messages(store: &RocksStore) {
    for at in 1..=10 {
        store.commit(&[append(cid(1), message(at, 1, "ann"), None)]).unwrap();
    }
}

fn kept(store: &RocksStore) -> Vec<i64> {
    store.page(APP, cid(1), &EVERYTHING).unwrap().iter().map(|message| message.at).collect()
}

#[test]
fn a_restart_keeps_everything_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_in(folder.path()).unwrap();
    ten_messages(&first);
    let key = first.seal_key();
    assert_eq!((first.start(), first.recovered(), first.trouble()), (1, false, None));
    assert_ne!(key, [0; 32]);
    let mode =
        |path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder.path().join(path)).unwrap().permissions());
    assert_eq!([mode("store") & 0o77, mode("store/rocks") & 0o77], [0, 0], "the seal key is nobody else's to read");
    drop(first);
    let second = open_in(folder.path()).unwrap();
    assert_eq!((second.start(), second.recovered(), second.seal_key()), (2, false, key));
    assert_eq!(kept(&second), (1..=10).collect::<Vec<_>>());

    let other = tempfile::tempdir().unwrap();
    assert_ne!(open_in(other.path()).unwrap().seal_key(), key, "two stores must not share a key");
}

#[test]
fn commits_that_wait_for_the_disk_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path()).unwrap();
    assert_eq!(store.synced(), Synced::default());
    store.commit(&[append(cid(1), message(1_000, 1, "ann"), None)]).unwrap();
    let one = store.synced();
    assert!(one.commits == 1 && !one.time.is_zero(), "{one:?}");
    // This rides with the next.
    store.commit(&[Change::Nonce { app: AppId(0), nonce: "n".into(), until: i64::MAX }]).unwrap();
    assert_eq!(store.synced(), one);
}

#[test]
fn every_way_to_sync_keeps_what_was_closed() {
    for sync in [Sync::Off, Sync::Interval(Duration::from_millis(1)), Sync::Commit] {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let mut options = options(folder.path(), Hand::at(1_000).clock());
            options.sync = sync;
            open(options).unwrap()
        };
        ten_messages(&open());
        assert_eq!(kept(&open()).len(), 10, "{sync:?}");
    }
}

#[test]
fn an_end_without_closing_is_noticed_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path()).unwrap();
    ten_messages(&store);
    let image = image(folder.path());
    let recovered = open_in(image.path()).unwrap();
    assert!(recovered.recovered());
    assert_eq!(recovered.start(), 2);
    assert_eq!(kept(&recovered), (1..=10).collect::<Vec<_>>());
    drop(recovered);
    assert!(!open_in(image.path()).unwrap().recovered());
}

#[test]
fn a_torn_end_of_the_log_is_tolerated() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path()).unwrap();
    ten_messages(&store);
    for cut in [1, 20, 60] {
        let image = image(folder.path());
        let log = fs::OpenOptions::new().write(true).open(the_log(image.path())).unwrap();
        let length = log.metadata().unwrap().len();
        log.set_len(length - cut).unwrap();
        let store = open_in(image.path()).unwrap();
        assert_eq!(kept(&store), (1..=9).collect::<Vec<_>>(), "cut by {cut}");
    }
}

#[test]
fn damage_inside_the_log_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path()).unwrap();
    ten_messages(&store);
    let image = image(folder.path());
    let log = the_log(image.path());
    flip(&log, fs::metadata(&log).unwrap().len() as usize / 2);
    let before = fs::read(&log).unwrap();
    let words = refusal(open_in(image.path()));
    assert!(words.contains("is damaged") && words.contains("backup"), "{words}");
    assert_eq!(fs::read(&log).unwrap(), before, "a refused folder is left as it is");
}

#[test]
fn damage_in_a_table_is_an_error_where_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    ten_messages(&open_in(folder.path()).unwrap());
    // The next start moves what is in the log into tables.
    drop(open_in(folder.path()).unwrap());
    for table in files(folder.path(), "sst") {
        flip(&table, 20);
    }
    match open_in(folder.path()) {
        Err(StoreError::Refused(words)) => assert!(words.contains("damaged"), "{words}"),
        Err(StoreError::Damaged { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(store) => {
            let read = store.page(APP, cid(1), &EVERYTHING);
            assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
        }
    }
}

#[test]
fn a_folder_in_use_is_refused_and_free_again_after() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path()).unwrap();
    let words = refusal(open_in(folder.path()));
    assert!(words.contains("in use"), "{words}");
    drop(store);
    open_in(folder.path()).unwrap();
}

#[test]
fn folders_of_others_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("thesis.txt"), "precious").unwrap();
    let words = refusal(open_in(folder.path()));
    assert!(words.contains("not made by Tidegate"), "{words}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing was added");

    fs::remove_file(path.join("thesis.txt")).unwrap();
    fs::write(path.join("tidegate-store"), "something else").unwrap();
    let words = refusal(open_in(folder.path()));
    assert!(words.contains("did not write"), "{words}");

    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    let words = refusal(open_in(folder.path()));
    assert!(words.contains("cannot be"), "{words}");
}

#[test]
fn another_schema_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_in(folder.path()).unwrap());
    let marker = folder.path().join("store/tidegate-store");
    let text = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, text.replace("schema 1", "schema 2")).unwrap();
    let words = refusal(open_in(folder.path()));
    assert!(words.contains("schema 2") && words.contains("schema 1") && words.contains("version"), "{words}");
}

#[test]
fn a_folder_that_lost_its_database_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_in(folder.path()).unwrap());
    fs::remove_dir_all(folder.path().join("store/rocks")).unwrap();
    let words = refusal(open_in(folder.path()));
    assert!(words.contains("not complete"), "{words}");
}

#[test]
fn a_first_start_that_died_early_can_be_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("tidegate-store"), "").unwrap();
    assert_eq!(open_in(folder.path()).unwrap().start(), 1);
}

#[test]
fn apps_keep_their_data_when_the_configuration_is_reordered() {
    let folder = tempfile::tempdir().unwrap();
    let open = |apps: &[&str]| {
        let mut options = options(folder.path(), Hand::at(1_000).clock());
        options.apps = apps.iter().copied().map(Box::from).collect();
        open(options).unwrap()
    };
    let nonce = |app| Change::Nonce { app, nonce: "n".into(), until: 9_000 };
    let store = open(&["one", "two"]);
    store.commit(&[append(cid(1), message(1, 1, "ann"), None), nonce(AppId(0)), nonce(AppId(1))]).unwrap();
    let unknown = store.last(AppId(2), cid(1));
    assert!(matches!(unknown, Err(StoreError::Invalid(_))), "{unknown:?}");
    drop(store);

    let store = open(&["three", "one"]);
    assert!(store.last(AppId(0), cid(1)).unwrap().is_none());
    assert!(store.last(AppId(1), cid(1)).unwrap().is_some());
    assert_eq!(store.nonces().unwrap(), [(AppId(1), "n".into(), 9_000)]);
}

// Crashes: this test binary starts itself again as a process that commits until it is killed, or until its disk is full or fails.

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const FOLDER: &str = "STORE_TEST_FOLDER";
const MODE: &str = "STORE_TEST_MODE";

/// How many messages each commit of the child has, over as many conversations.
const BATCH: u8 = 3;

fn child(folder: &Path, mode: &str, shell: Option<&str>) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut process = match shell {
        Some(script) => {
            let mut process = Process::new("sh");
            process.args(["-c", script]).arg(this);
            process
        }
        None => Process::new(this),
    };
    let test = ["--exact", "the_child", "--nocapture", "--test-threads=1"];
    process.args(test).env(FOLDER, folder).env(MODE, mode).stdout(Stdio::piped()).spawn().unwrap()
}

fn numbered(worker: u64, n: u64) -> MessageId {
    MessageId((u128::from(worker) << 64 | u128::from(n)).to_be_bytes())
}

/// One commit of the child: the same message id in each conversation, with a `dt`, in a body of its own size.
fn commit_of(worker: u64, n: u64, start: u32) -> Vec<Change> {
    let conversation = |part: u8| ConvId::Object([worker as u8 * BATCH + part + 1; 12]);
    let message = |_| Stored {
        mid: numbered(worker, n),
        from: "ann".into(),
        at: i64::from(start) * 1_000_000 + n as i64,
        body: Body::Text("x".repeat(n as usize * 37 % 5_000).into()),
        receipt: false,
        mentions: Default::default(),
        patched_at: None,
    };
    (0..BATCH).map(|part| append(conversation(part), message(part), Some(&format!("{start}/{n}")))).collect()
}

#[test]
fn the_child() {
    let (Ok(folder), Ok(mode)) = (std::env::var(FOLDER), std::env::var(MODE)) else { return };
    let mut options = options(folder.as_ref(), Hand::at(1_000).clock());
    options.retention = Duration::from_secs(1 << 40);
    let store = open(options).unwrap();
    match mode.as_str() {
        "commit" => std::thread::scope(|scope| {
            for worker in 0..3 {
                let store = &store;
                scope.spawn(move || {
                    for n in 1.. {
                        store.commit(&commit_of(worker, n, store.start())).unwrap();
                        println!("ack {worker} {n} {}", store.start());
                    }
                });
            }
        }),
        _ => {
            let failed = (1..).find_map(|n| match store.commit(&commit_of(0, n, store.start())) {
                Ok(()) => {
                    println!("ack 0 {n} {}", store.start());
                    None
                }
                Err(error) => Some((n, error)),
            });
            let (n, error) = failed.unwrap();
            assert!(matches!(error, StoreError::Io(_)), "{error}");
            println!("failed {n}");
            if mode == "die" {
                // Nothing is closed.
                std::process::exit(0);
            }
            // It mends itself. The refused commit never comes back, and then can be done again, and more behind it.
            let is_refused = |change: &Change| !is_there(&store, change);
            let end = Instant::now() + PATIENCE;
            while let Err(error) = store.commit(&[append(cid(200), message(1, 1, "ann"), None)]) {
                assert!(matches!(error, StoreError::Io(_)), "{error}");
                assert!(Instant::now() < end, "it is not mended: {:?}", store.trouble());
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(commit_of(0, n, store.start()).iter().all(is_refused), "what was refused came back");
            println!("mended");
            for n in n..n + 10 {
                let end = Instant::now() + PATIENCE;
                // A disk with so little room may refuse again.
                while store.commit(&commit_of(0, n, store.start())).is_err() {
                    assert!(Instant::now() < end, "it is not mended again: {:?}", store.trouble());
                    std::thread::sleep(Duration::from_millis(5));
                }
                println!("ack 0 {n} {}", store.start());
            }
            assert_eq!(store.trouble().filter(|why| !why.contains("are free")), None);
            assert_eq!(store.page(APP, cid(200), &EVERYTHING).unwrap().len(), 1);
        }
    }
}

/// Whether a message is there with its dedupe entry; half of that is a failure.
fn is_there(store: &RocksStore, change: &Change) -> bool {
    let Change::Message { app, cid, message, dedupe: Some(dt) } = change else { panic!("not one of ours") };
    let history = store.page(*app, *cid, &EVERYTHING).unwrap();
    let found = history.iter().find(|kept| kept.mid == message.mid && kept.at == message.at);
    let sent = store.resent(*app, *cid, &message.from, dt).unwrap();
    assert_eq!(found.is_some(), sent.is_some(), "a message and its dedupe entry are one");
    found.is_some_and(|found| found == message)
}

fn parse(line: &str) -> Option<(u64, u64, u32)> {
    let mut words = line.strip_prefix("ack ")?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn open_grown(folder: &Path) -> RocksStore {
    let mut options = options(folder, Hand::at(1_000).clock());
    options.retention = Duration::from_secs(1 << 40);
    open(options).unwrap()
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_nothing_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    // Of each start and worker: the last commit acknowledged.
    let mut acknowledged: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for round in 0..5u32 {
        let mut child = child(folder.path(), "commit", None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while heard < 40 + 150 * round {
            let line = lines.next().expect("the child goes on until it is killed").unwrap();
            if let Some((worker, n, start)) = parse(&line) {
                acknowledged.insert((start, worker), n);
                heard += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        for line in lines.map_while(Result::ok) {
            if let Some((worker, n, start)) = parse(&line) {
                acknowledged.insert((start, worker), n);
            }
        }
        let store = open_grown(folder.path());
        assert!(store.recovered());
        for (&(start, worker), &last) in &acknowledged {
            let histories: Vec<Vec<_>> = commit_of(worker, 1, start)
                .iter()
                .map(|change| {
                    let Change::Message { app, cid, .. } = change else { panic!("not one of ours") };
                    let history = store.page(*app, *cid, &EVERYTHING).unwrap();
                    let own = history.into_iter().filter(|m| m.at / 1_000_000 == i64::from(start));
                    own.map(|m| m.at % 1_000_000).collect()
                })
                .collect();
            assert!(histories.windows(2).all(|pair| pair[0] == pair[1]), "a commit is whole or not there");
            let count = histories[0].len() as i64;
            assert_eq!(histories[0], (1..=count).collect::<Vec<_>>(), "no gap");
            // One more may be on disk whose acknowledgement was not heard.
            assert!(count == last as i64 || count == last as i64 + 1, "{count} kept, {last} acknowledged");
            assert!(commit_of(worker, last, start).iter().all(|change| is_there(&store, change)));
        }
    }
}

/// A child that commits until a commit fails, and dies; then what was promised about it after a restart.
fn dies_and_is_mended_by_a_restart(folder: &Path, mut child: Child) {
    let said = end_of(&mut child);
    let failed: u64 = said.lines().find_map(|line| line.strip_prefix("failed ")).unwrap().parse().unwrap();
    let store = all_is_kept(folder, &said);
    let refused = commit_of(0, failed, 1);
    assert!(!refused.iter().any(|change| is_there(&store, change)), "what was refused came back");
    store.commit(&refused).unwrap();
    assert!(refused.iter().all(|change| is_there(&store, change)));
}

/// A child that commits until a commit fails, and goes on when it is mended; then what is there after a restart.
fn mends_itself(folder: &Path, mut child: Child) {
    let said = end_of(&mut child);
    assert!(said.contains("\nmended\n"), "{said}");
    all_is_kept(folder, &said);
}

fn end_of(child: &mut Child) -> String {
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said
}

/// Opens what a child left, with all that it acknowledged.
fn all_is_kept(folder: &Path, said: &str) -> RocksStore {
    let acknowledged: Vec<_> = said.lines().filter_map(parse).collect();
    assert!(acknowledged.len() > 10, "{said}");
    let store = open_grown(folder);
    assert_eq!(store.trouble().filter(|why| !why.contains("are free")), None);
    for (worker, n, start) in acknowledged {
        assert!(commit_of(worker, n, start).iter().all(|change| is_there(&store, change)), "{n}");
    }
    store
}

/// A limit on file sizes stands for the full disk: it needs neither root nor a disk.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    for (mode, then) in [("die", dies_and_is_mended_by_a_restart as fn(&Path, Child)), ("mend", mends_itself)] {
        let folder = tempfile::tempdir().unwrap();
        let child = child(folder.path(), mode, Some(r#"trap "" XFSZ; ulimit -f 1000; exec "$0" "$@""#));
        then(folder.path(), child);
    }
}

/// The worst case: the record of the refused commit is whole in the log.
#[test]
fn a_failed_sync_refuses_and_its_commit_does_not_come_back() {
    let tools = tempfile::tempdir().unwrap();
    let library = tools.path().join("fail_sync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fail_sync.c");
    // Where RocksDB was compiled there is a compiler.
    let compiled = Process::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(compiled.unwrap().success());
    for (mode, then) in [("die", dies_and_is_mended_by_a_restart as fn(&Path, Child)), ("mend", mends_itself)] {
        let folder = tempfile::tempdir().unwrap();
        // The second and third fail while it is being opened again.
        let fail = "FAIL_SYNC_AFTER=20 FAIL_SYNC_COUNT=3";
        let script = format!(r#"{fail} LD_PRELOAD='{}' exec "$0" "$@""#, library.display());
        then(folder.path(), child(folder.path(), mode, Some(&script)));
    }
}
