//! Flipped bits and cut files, anywhere in the folder: found at the start or where it is read, and said in words; `check`
//! names the file. Never is something else served than what was stored, and never silently less of it.
//!
//! TIDEGATE_DAMAGES sets how many (100); TIDEGATE_SEED repeats a run's choices.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::disk::options;
use common::*;
use tidegate_domain::command::{Body, Direction};
use tidegate_domain::ids::ConvId;
use tidegate_store::rocks::{RocksOptions, check, open};
use tidegate_store::{Change, Page, Store, StoreError, Stored};

const EVERYTHING: Page = Page { start: None, end: None, direction: Direction::New, limit: usize::MAX };
const CONVERSATIONS: u8 = 12;

/// All that was acknowledged, by conversation.
type All = BTreeMap<ConvId, Vec<Stored>>;

fn given(folder: &Path) -> RocksOptions {
    RocksOptions { retention: std::time::Duration::from_secs(1 << 40), ..options(folder, Hand::at(1_000).clock()) }
}

/// A store of several tables, with a log that holds what was written last, as a kill leaves it.
fn fill(folder: &Path, image: &Path) -> All {
    let mut all = All::new();
    let mut at = 0;
    for round in 0..4 {
        // Each start moves the log into tables.
        let store = open(given(folder)).unwrap();
        for n in 0..CONVERSATIONS {
            let members = [client(0), client(1)];
            let record = conversation(cid(n), &members);
            store.commit(&[Change::Conversation { app: APP, record, came: members.into(), went: vec![] }]).unwrap();
        }
        for _ in 0..200 {
            at += 1;
            let mut message = message(at, 1, "ann");
            // Text that does not compress to nothing.
            let noise = |i: i64| ((at * 7919 + i * 104_729) % 95 + 32) as u8 as char;
            message.body = Body::Text((0..100 + at % 400).map(noise).collect::<String>().into());
            let cid = cid((at % i64::from(CONVERSATIONS)) as u8);
            store.commit(&[append(cid, message.clone(), Some(&at.to_string()))]).unwrap();
            all.entry(cid).or_default().push(message);
        }
        if round == 3 {
            copy(folder, image);
        }
    }
    all
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// Files that hold what is stored, or say where it is. RocksDB's `LOG`, `IDENTITY`, `LOCK` and `OPTIONS` are for people;
/// our marker is refused in words or means the same.
fn matters(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.ends_with(".sst") || name.ends_with(".log") || name.starts_with("MANIFEST") || name == "CURRENT"
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Flip,
    Cut,
}

#[test]
fn damage_is_found_and_never_served() {
    let rounds = std::env::var("TIDEGATE_DAMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("TIDEGATE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (grown, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let all = fill(grown.path(), image.path());
    let whole = check(&given(image.path())).unwrap();
    assert!(whole.findings.is_empty() && whole.tables > 3 && whole.entries > 800, "{whole:?}");

    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for n in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        copy(image.path(), folder.path());
        let choices: Vec<_> =
            files(folder.path()).into_iter().filter(|file| matters(file) && !is_empty(file)).collect();
        let file = choices[random.usize(..choices.len())].clone();
        let mut bytes = fs::read(&file).unwrap();
        let at = random.usize(..bytes.len());
        let harm = if random.u8(0..4) == 0 { Harm::Cut } else { Harm::Flip };
        match harm {
            Harm::Flip => bytes[at] ^= 1 << random.u8(0..8),
            Harm::Cut => bytes.truncate(at),
        }
        fs::write(&file, bytes).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let what = format!("{n}: {harm:?} of {name} at {at}");

        let checked = check(&given(folder.path())).unwrap();
        let found = served(folder.path(), &all, &format!("{what}; {checked:?}"));
        // The last record of a log cannot be told from a write that was cut off.
        let is_end = name.ends_with(".log") && found == Found::Less(1);
        let outcome = match found {
            Found::Refused => "refused at the start",
            Found::Damaged => "told where it was read",
            Found::All => "nothing stored was touched",
            Found::Less(_) if is_end => "the log's last record",
            Found::Less(count) => panic!("{what}: {count} messages less are served, and nobody is told: {checked:?}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
        if matches!(found, Found::Refused | Found::Damaged) {
            assert!(checked.findings.iter().any(|finding| finding.file == file), "{what}: {outcome}, but {checked:?}");
        }
    }
    println!("{rounds} damages: {outcomes:?}");
}

fn is_empty(file: &Path) -> bool {
    fs::metadata(file).unwrap().len() == 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Refused,
    Damaged,
    All,
    /// The last so many messages are not there.
    Less(usize),
}

/// Starts on the folder and reads everything; panics where something else is served than what was stored.
fn served(folder: &Path, all: &All, what: &str) -> Found {
    let store = match open(given(folder)) {
        Ok(store) => store,
        Err(StoreError::Refused(words)) => {
            assert!(words.contains("damaged") || words.contains("not complete"), "{words}");
            return Found::Refused;
        }
        Err(StoreError::Damaged { .. }) => return Found::Refused,
        Err(other) => panic!("{other}"),
    };
    let (mut damaged, mut missing, mut last) = (false, Vec::new(), 0);
    for (cid, stored) in all {
        match store.page(APP, *cid, &EVERYTHING) {
            Ok(page) => {
                let (page_at, stored_at) = (times(&page), times(stored));
                assert!(stored.starts_with(&page), "{what}: {page_at:?} is served of {stored_at:?}");
                missing.extend(stored[page.len()..].iter().map(|message| message.at));
                last = page.last().map_or(last, |message| last.max(message.at));
            }
            Err(StoreError::Damaged { .. }) => damaged = true,
            Err(other) => panic!("{other}"),
        }
        match store.conversation(APP, *cid) {
            Ok(found) => assert_eq!(found, Some(conversation(*cid, &[client(0), client(1)]))),
            Err(StoreError::Damaged { .. }) => damaged = true,
            Err(other) => panic!("{other}"),
        }
    }
    match (damaged, missing.len()) {
        (true, _) => Found::Damaged,
        (false, 0) => Found::All,
        (false, count) => {
            assert!(missing.iter().all(|at| *at > last), "what is missing is the end: {missing:?}, {last} is there");
            Found::Less(count)
        }
    }
}

fn times(messages: &[Stored]) -> Vec<i64> {
    messages.iter().map(|message| message.at).collect()
}

/// RocksDB's own reader never ends on a record that says it is of a kind for logs that are used again, which ours are not.
#[test]
fn a_record_of_another_kind_is_damage() {
    let (grown, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(grown.path(), image.path());
    let manifest = files(image.path()).into_iter().find(|file| file.to_str().unwrap().contains("MANIFEST")).unwrap();
    let whole = fs::read(&manifest).unwrap();
    let mut at = 0;
    while let Some(header) = whole.get(at..at + 7) {
        let mut bytes = whole.clone();
        bytes[at + 6] = 5;
        fs::write(&manifest, bytes).unwrap();
        let checked = check(&given(image.path())).unwrap();
        assert!(checked.findings.iter().any(|finding| finding.file == manifest), "{at}: {checked:?}");
        let refused = open(given(image.path())).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|words| words.contains("damaged")), "{at}");
        at += 7 + usize::from(u16::from_le_bytes([header[4], header[5]]));
    }
    assert!(at > 0);
}

#[test]
fn a_store_in_use_and_none_at_all_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let words = check(&given(folder.path())).unwrap_err().to_string();
    assert!(words.contains("holds no store"), "{words}");
    let store = open(given(folder.path())).unwrap();
    let words = check(&given(folder.path())).unwrap_err().to_string();
    assert!(words.contains("in use"), "{words}");
    drop(store);
    let before: Vec<_> = files(folder.path()).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect();
    assert_eq!(check(&given(folder.path())).unwrap().findings, []);
    let after: Vec<_> = files(folder.path()).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect();
    assert!(before == after, "looking changes nothing");
}
