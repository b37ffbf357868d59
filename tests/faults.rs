//! The machine fails under load, and comes back: what cannot be kept is refused with its documented code, the process
//! goes on, and within 5 s of the fault's end all is as it was, by itself. Nothing acknowledged is lost, and what was
//! refused and sent again is there once.
//!
//! The faults come from outside, into the unmodified program: see `tests/shim`. Linux only.

#![cfg(target_os = "linux")]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use common::client::{body, some};
use common::faults::{EIO, EMFILE, ENOSPC, What};
use common::load::{self, Sender, Tally};
use common::server::Shim;
use common::{Client, Server, Setup, Via, eventually, http, patient};
use tidegate_protocol::wire::{DirectCommand, LogsCommand, SessionCommand};

const SENDERS: usize = 8;
const CONVERSATIONS: usize = 4;
/// From the end of a fault until a message is acknowledged and `/readyz` says 200.
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);
/// What a sender may be refused with: the disk, and too much waiting for it.
const CODES: [i32; 2] = [4200, 4116];

struct Failing {
    server: Server,
    senders: Vec<Sender>,
    tally: Tally,
}

impl Failing {
    fn begin() -> Failing {
        let server = Server::launch(Setup { tables: patient(), shim: Shim::Faults, ..Setup::default() });
        let senders = load::senders(&server, SENDERS, CONVERSATIONS, 1);
        let senders = senders.into_iter().map(Sender::one_at_a_time).collect();
        Failing { server, senders, tally: Tally::default() }
    }

    /// Load all the time; `fault` in the middle of it, which returns when the fault has just ended; then all must recover.
    /// So many times; then everything is checked, also over an end without closing.
    fn through(mut self, name: &str, times: usize, fault: impl Fn(&Server, &Tally)) {
        let (server, tally) = (&self.server, &self.tally);
        let cid = self.senders[0].cid.clone();
        let recovered = load::run(server, &mut self.senders, tally, || {
            let mut slowest = Duration::ZERO;
            for _ in 0..times {
                more_acked(tally, 200);
                fault(server, tally);
                let ended = Instant::now();
                more_acked(tally, 1);
                eventually("ready", || is_ready(server).then_some(()));
                let newest = || LogsCommand { cid: some(&cid), limit: Some(1), ..LogsCommand::default() };
                let mut reader = Client::come_in(server, "watcher");
                eventually("history", || reader.logs(newest()).ok());
                let mut late = Client::connect(server, Via::Tcp);
                eventually("a log-in", || late.try_open("late", SessionCommand::default()).ok());
                slowest = slowest.max(ended.elapsed());
            }
            more_acked(tally, 200);
            tally.stop();
            slowest
        });
        let mut codes: BTreeMap<i32, u64> = BTreeMap::new();
        for sender in &self.senders {
            assert!(sender.open.is_empty(), "{} lost its connection", sender.id);
            sender.refused.iter().for_each(|(code, count)| *codes.entry(*code).or_default() += count);
        }
        let acked = tally.acked();
        println!("{name}: recovered within {recovered:?}; {acked} acknowledged, refused by code: {codes:?}");
        assert!(codes.keys().all(|code| CODES.contains(code)), "{codes:?}");
        assert!(recovered < RECOVERED_WITHIN, "recovered only after {recovered:?}");
        assert!(!self.server.said().contains("panicked"), "no thread panicked");
        for round in ["as it is", "after a kill"] {
            let mut watcher = Client::tcp(&self.server, "watcher");
            for cid in load::conversations(&self.senders) {
                load::check(&cid, &watcher.history(&cid), &self.senders, true);
            }
            println!("{name}: all is there, once, in order, {round}");
            self.server.restart();
        }
    }
}

fn more_acked(tally: &Tally, count: u64) {
    let before = tally.acked();
    eventually("more to be acknowledged", || (tally.acked() >= before + count).then_some(()));
}

fn is_ready(server: &Server) -> bool {
    http::request(server.admin(), "GET", "/readyz", "").is_ok_and(|answer| answer.status == 200)
}

/// A disk that refuses: everybody is told, `/readyz` says why, and what needs no disk goes on.
fn refusing(server: &Server, tally: &Tally, whats: &[(What, i64)]) {
    let before = tally.refused();
    whats.iter().for_each(|(what, error)| server.faults().set(*what, *error));
    eventually("refusals", || (tally.refused() >= before + 50).then_some(()));
    let why = eventually("503", || {
        let answer = http::get(server.admin(), "/readyz");
        (answer.status == 503).then(|| answer.json())
    });
    let says = |words: &str| why["reasons"][0].as_str().is_some_and(|why| why.contains(words));
    assert!(says("writes are refused") || says("the store is closed"), "{why}");
    let mut tom = Client::tcp(server, "tom");
    tom.echo();
    let room = tom.online(&["sender-0", "nobody"]);
    assert_eq!(room, ["sender-0"]);
    // It lasts longer than a few attempts to mend the store.
    let refused = tally.refused();
    eventually("more refusals", || (tally.refused() >= refused + 300).then_some(()));
    assert!(server.faults().met() > 0);
    whats.iter().for_each(|(what, _)| server.faults().set(*what, 0));
}

#[test]
fn a_full_disk() {
    Failing::begin().through("full disk", 1, |server, tally| refusing(server, tally, &[(What::Write, ENOSPC)]));
}

#[test]
fn a_disk_that_fails_to_sync() {
    Failing::begin().through("EIO of syncs", 1, |server, tally| refusing(server, tally, &[(What::Sync, EIO)]));
}

#[test]
fn a_disk_that_fails_altogether_and_again() {
    let whats = [(What::Write, EIO), (What::Sync, EIO)];
    Failing::begin().through("EIO, three times", 3, |server, tally| refusing(server, tally, &whats));
}

#[test]
fn syncs_that_take_two_seconds() {
    Failing::begin().through("stalls of 2 s", 1, |server, _| {
        server.faults().set(What::SyncDelayMs, 2_000);
        let before = server.faults().met();
        eventually("a stall", || (server.faults().met() > before).then_some(()));
        // What needs no disk does not wait for it.
        let mut tom = Client::tcp(server, "tom");
        let begun = Instant::now();
        tom.echo();
        assert_eq!(tom.online(&["nobody"]), [""; 0]);
        assert!(begun.elapsed() < Duration::from_millis(1_900), "what needs no disk waited {:?}", begun.elapsed());
        eventually("three stalls", || (server.faults().met() > before + 2).then_some(()));
        server.faults().set(What::SyncDelayMs, 0);
    });
}

#[test]
fn a_clock_that_is_set_an_hour_on_and_back() {
    const HOUR: i64 = 3_600;
    Failing::begin().through("clock set", 1, |server, tally| {
        for seconds in [HOUR, 0, -HOUR, 0] {
            server.faults().set(What::ClockSeconds, seconds);
            more_acked(tally, 200);
            let mut tom = Client::tcp(server, "tom");
            let cid = tom.start(&["jerry"]);
            let wrong_by = tom.send(&cid, "what time is it?").at - common::now_ms();
            assert!((wrong_by - seconds * 1_000).abs() < 60_000, "the clock was not set: {wrong_by} ms");
        }
    });
}

#[test]
fn no_more_file_descriptors() {
    Failing::begin().through("no descriptors", 1, |server, tally| {
        let pid = server.pid() as i32;
        let limits = |new: Option<(u64, u64)>| {
            let mut old = (0, 0);
            let into = Some((&mut old.0, &mut old.1));
            rlimit::prlimit(pid, rlimit::Resource::NOFILE, new, into).unwrap();
            old
        };
        let before = limits(None);
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        limits(Some((open, before.1)));
        // The system takes these connections; the server cannot, until there are descriptors again.
        let waiting: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(server.tcp()).unwrap()).collect();
        more_acked(tally, 300);
        limits(Some(before));
        drop(waiting);
        Client::tcp(server, "tom").echo();
    });
}

/// The store meets it where it needs a new file: not before more has been written than its tables in memory hold. Then its
/// log cannot go on in the next file.
#[test]
fn no_file_descriptors_for_the_store() {
    starved("no descriptors for the store", EMFILE, ".log: Too many open files");
}

/// Its log goes on, and what was written cannot become a table: not then, and not when it is opened again.
#[test]
fn no_file_descriptors_for_the_tables_of_the_store() {
    starved("no descriptors for tables", -EMFILE, ".sst: Too many open files");
}

fn starved(name: &str, error: i64, said: &str) {
    Failing::begin().through(name, 2, |server, tally| {
        thread::scope(|threads| {
            threads.spawn(|| fill(server));
            refusing(server, tally, &[(What::Open, error)]);
        });
        eventually(said, || server.said().contains(said).then_some(()));
    });
}

/// Long messages until one is refused.
fn fill(server: &Server) {
    const WINDOW: usize = 50;
    let mut tom = Client::tcp(server, "filler");
    let cid = tom.start(&["jerry"]);
    let long = body(&"long".repeat(1 << 10));
    let send =
        |tom: &mut Client| tom.post(DirectCommand { cid: some(&cid), msg: long.clone(), ..DirectCommand::default() });
    let mut open: VecDeque<_> = (0..WINDOW).map(|_| send(&mut tom)).collect();
    while let Some(i) = open.pop_front() {
        if tom.answer(i).is_err() {
            return;
        }
        open.push_back(send(&mut tom));
    }
}
