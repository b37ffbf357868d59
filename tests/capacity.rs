//! A crowd that sends more than the server can take, whatever answers it gets: what is let in does not wait, the rest is
//! told so at once, and when it is over all is as before.
//!
//! Each sync of the store's log is made to take long, so that the disk is the limit and never the generator. The table
//! and the plots of docs/overload.md, with server and generator on a core each:
//!
//!     cargo test --release --test capacity -- --ignored --nocapture

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::client::command;
use common::faults::What;
use common::open_loop::{Crowd, Load, Sent, jain, quantile};
use common::plot::Plot;
use common::server::Shim;
use common::{Client, Server, Setup, Via, http};
use tidegate_protocol::wire::*;

/// What a sync takes longer, and how many messages one carries at most.
const SYNC_MS: u32 = 25;
const BATCH: u32 = 32;

/// Messages a second, at most; what else a commit takes comes off that.
const NOMINAL: f64 = BATCH as f64 * 1000.0 / SYNC_MS as f64;
const USERS: usize = 100;
const TRANSIENT: f64 = 0.1;

struct Rig {
    server: Server,
}

impl Rig {
    /// With the door, or with one that refuses nobody for waiting; on a core where that is asked for.
    fn start(admission: bool, pinned: bool) -> Rig {
        let first = if pinned { "taskset -cp 0 $$ >/dev/null" } else { "" };
        // Where the processor is shared with other tests, a wait for it is no overload of this server.
        let others = match (admission, pinned) {
            (false, _) => "delay_target = \"1m\"\n",
            (true, true) => "",
            (true, false) => "delay_target = \"500ms\"\n",
        };
        let stages = ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"];
        let table = |stage: &&str| match *stage {
            "persist" if admission => format!("[stages.persist]\nbatch = {BATCH}\n"),
            "persist" => format!("[stages.persist]\nbatch = {BATCH}\n{others}"),
            _ => format!("[stages.{stage}]\n{others}"),
        };
        let tables = stages.iter().map(table).collect();
        let server = Server::launch(Setup { first, tables, shim: Shim::Faults, ..Setup::default() });
        server.faults().set(What::SyncDelayMs, SYNC_MS.into());
        Rig { server }
    }

    fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// From the read of a message to the write of each delivery, as the server counts: how many took at most so many
    /// seconds.
    fn deliveries(&self) -> Vec<(f64, f64)> {
        let metrics = http::get(self.server.admin(), "/metrics");
        let text = metrics.body;
        let buckets = text.lines().filter_map(|line| {
            let (bound, count) = line.strip_prefix("tidegate_delivery_seconds_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
        });
        buckets.collect()
    }
}

/// The quantile of what was counted between the two, in milliseconds, as exact as the buckets.
fn between(before: &[(f64, f64)], after: &[(f64, f64)], quantile: f64) -> f64 {
    let earlier = |bound| before.iter().find(|b| b.0 == bound).map_or(0.0, |b| b.1);
    let wanted = after.last().map_or(0.0, |all| all.1 - earlier(all.0)) * quantile;
    let mut last = (0.0, 0.0);
    for (bound, count) in after.iter().map(|(bound, count)| (*bound, count - earlier(*bound))) {
        if count >= wanted && count > last.1 && bound.is_finite() {
            return (last.0 + (bound - last.0) * (wanted - last.1) / (count - last.1)) * 1e3;
        }
        last = (bound, count);
    }
    f64::INFINITY
}

/// Somebody who is no part of the crowd: asks for an echo, and ends the session, again and again, and must never be
/// refused that.
struct Guest<'a> {
    stop: &'a AtomicBool,
}

impl Guest<'_> {
    /// What the 99th of a hundred took of each, in milliseconds.
    fn come_and_go(&self, server: &Server) -> (f64, f64) {
        let (mut echo, mut close) = (Vec::new(), Vec::new());
        while !self.stop.load(Ordering::Relaxed) {
            let mut client = Client::connect(server, Via::Tcp);
            client.id = "guest".into();
            let begun = Instant::now();
            client.echo();
            echo.push(begun.elapsed().as_secs_f64() * 1e3);
            if client.try_open("guest", SessionCommand::default()).is_ok() {
                let begun = Instant::now();
                let closed = client.ask(command(CommandType::Session, Some(OpType::Close)));
                assert!(closed.is_ok(), "a session's end was refused: {closed:?}");
                close.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            thread::sleep(Duration::from_millis(20));
        }
        (quantile(echo, 0.99), quantile(close, 0.99))
    }
}

/// Messages that were taken, a second, counted when they were answered.
fn goodput(sent: &[Sent], from: f64, to: f64) -> f64 {
    let taken = sent.iter().filter(|s| s.is_in() && !s.transient && (from..to).contains(&s.answered));
    taken.count() as f64 / (to - from)
}

fn waits(sent: &[Sent], is_one: impl Fn(&Sent) -> bool) -> Vec<f64> {
    sent.iter().filter(|s| s.is_in() && !s.transient && is_one(s)).map(Sent::ms).collect()
}

fn codes(sent: &[Sent]) -> BTreeMap<i32, usize> {
    let mut codes = BTreeMap::new();
    sent.iter().for_each(|s| *codes.entry(if s.answered == 0.0 { -1 } else { s.code }).or_default() += 1);
    codes
}

/// Seconds from `end` until fewer than a fifth of the messages of each 50 ms are refused or take longer than `normal`.
fn recovery(sent: &[Sent], end: f64, normal: f64) -> f64 {
    let mut bins: Vec<(usize, usize)> = Vec::new();
    for s in sent.iter().filter(|s| s.at >= end && !s.transient) {
        let bin = ((s.at - end) / 0.05) as usize;
        bins.resize(bins.len().max(bin + 1), (0, 0));
        bins[bin].0 += 1;
        bins[bin].1 += (!s.is_in() || s.ms() > normal) as usize;
    }
    bins.iter().rposition(|(all, bad)| bad * 5 > *all).map_or(0.0, |bin| (bin + 1) as f64 * 0.05)
}

fn load(times: f64, seconds: f64) -> Load {
    Load { rate: times * NOMINAL / (1.0 - TRANSIENT), seconds, transient: TRANSIENT, hot: 0.0 }
}

#[test]
fn past_capacity_what_is_let_in_does_not_wait_and_the_rest_is_told_so() {
    let rig = Rig::start(true, false);
    let mut crowd = Crowd::enter(&rig.server, 40, common::seed());
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let _ends = StopAtEnd(&stop);
        threads.spawn(|| Guest { stop: &stop }.come_and_go(&rig.server));
        let calm = crowd.send(load(0.6, 3.0));
        let normal = quantile(waits(&calm, |_| true), 0.99);
        let begun = crowd.now();
        let rush = crowd.send(load(4.0, 5.0));
        let (from, to) = (begun + 1.0, begun + 5.0);
        let all = codes(&rush);
        assert!(all.keys().all(|code| [0, 4116].contains(code)), "answered otherwise, or never: {all:?}");
        assert!(all.get(&4116).is_some_and(|refused| *refused > rush.len() / 4), "it was no rush: {all:?}");
        // A busy machine makes the disk no slower than it is made here: a part of what it can do must come out.
        assert!(goodput(&rush, from, to) > NOMINAL / 4.0, "{:.0}/s of {NOMINAL}", goodput(&rush, from, to));
        let typical = quantile(waits(&rush, |s| s.at >= from), 0.5);
        assert!(typical < 10.0 * normal.max(60.0), "{typical:.0} ms, {normal:.0} before: they wait");
        let refused = rush.iter().filter(|s| s.code == 4116).map(Sent::ms).collect();
        let refused = quantile(refused, 0.5);
        assert!(refused < typical, "a refusal takes {refused:.1} ms, being let in {typical:.1}");
        let share = |transient| {
            let of = || rush.iter().filter(move |s| s.transient == transient && s.at >= from);
            of().filter(|s| s.is_in()).count() as f64 / of().count() as f64
        };
        assert!(share(true) < share(false), "transient ones go first: {} of them, {}", share(true), share(false));
        // Other tests may have the processor: it is as before when nearly all of a light load is taken again.
        common::eventually("all to be as before", || {
            let after = crowd.send(load(0.25, 1.0));
            let refused = after.iter().filter(|s| !s.is_in()).count();
            (refused * 20 < after.len()).then_some(())
        });
    });
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One line of the table.
struct Row {
    times: f64,
    goodput: f64,
    p50: f64,
    p99: f64,
    p99_read: f64,
}

fn rows(rig: &Rig, crowd: &mut Crowd, loads: &[(f64, f64)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (times, seconds) in loads {
        let (before, begun) = (rig.deliveries(), crowd.now());
        let sent = crowd.send(load(*times, *seconds));
        let (from, to) = (begun + 1.0, begun + seconds);
        let ms = waits(&sent, |s| s.at >= from);
        let row = Row {
            times: *times,
            goodput: goodput(&sent, from, to),
            p50: quantile(ms.clone(), 0.5),
            p99: quantile(ms, 0.99),
            p99_read: between(&before, &rig.deliveries(), 0.99),
        };
        let of = |transient| {
            let of = || sent.iter().filter(move |s| s.transient == transient);
            of().filter(|s| s.is_in()).count() as f64 / of().count() as f64
        };
        let mut each = vec![0.0; USERS];
        sent.iter().filter(|s| s.is_in() && !s.transient).for_each(|s| each[s.user] += 1.0);
        let refused: Vec<f64> = sent.iter().filter(|s| s.code != 0).map(Sent::ms).collect();
        println!(
            "| {times} | {:.0} | {:.1} | {:.1} | {:.1} | {:.0}% | {:.0}% | {:.2} | {:.3} | {} | {:?} |",
            row.goodput,
            row.p50,
            row.p99,
            row.p99_read,
            of(false) * 100.0,
            of(true) * 100.0,
            quantile(refused, 0.5),
            jain(&each),
            rig.rss_kib() / 1024,
            codes(&sent),
        );
        rows.push(row);
        thread::sleep(Duration::from_millis(500));
    }
    rows
}

#[test]
#[ignore = "measures: two minutes on a machine with nothing else to do"]
fn table() {
    // The generator has the other core, wherever the machine has one.
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("taskset").args(["-acp", "1", &pid]).output();
    println!(
        "| offered | goodput/s | p50 ms | p99 ms, sent | p99 ms, read | let in | transient | refused in ms | Jain | RSS MiB | codes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let stop = AtomicBool::new(false);
    let rig = Rig::start(true, true);
    let mut crowd = Crowd::enter(&rig.server, USERS, 1);
    let with = thread::scope(|threads| {
        let _ends = StopAtEnd(&stop);
        let guest = threads.spawn(|| Guest { stop: &stop }.come_and_go(&rig.server));
        let loads = [(0.5, 4.0), (0.8, 5.0), (1.0, 5.0), (1.4, 11.0), (2.0, 11.0), (4.0, 11.0), (10.0, 21.0)];
        let rows = rows(&rig, &mut crowd, &loads);
        for times in [2.0, 10.0] {
            let calm = crowd.send(load(0.7, 2.0));
            crowd.send(load(times, 2.0));
            let end = crowd.now();
            let after = crowd.send(load(0.7, 2.0));
            let normal = 2.0 * quantile(waits(&calm, |_| true), 0.99);
            println!("spike of {times}: over {:.2} s after its end", recovery(&after, end, normal));
        }
        let cold = crowd.send(load(0.8, 4.0));
        let hot = Load { hot: 0.2, ..load(0.8 * 1.25, 4.0) };
        let hot = crowd.send(hot);
        let p99 = |sent: &[Sent]| quantile(waits(sent, |s| s.user != 0), 0.99);
        println!(
            "one conversation with a fifth of all: the others' p99 {:.1} ms, {:.1} without",
            p99(&hot),
            p99(&cold)
        );
        stop.store(true, Ordering::Relaxed);
        let (echo, close) = guest.join().unwrap();
        println!("never refused, p99: echo {echo:.1} ms, close {close:.1} ms");
        rows
    });
    println!("without admission:");
    let rig = Rig::start(false, true);
    let mut crowd = Crowd::enter(&rig.server, USERS, 1);
    let without = rows(&rig, &mut crowd, &[(0.5, 3.0), (0.8, 3.0), (1.0, 3.0), (1.4, 4.0), (2.0, 4.0), (4.0, 3.0)]);
    let line = |rows: &[Row], of: fn(&Row) -> f64| rows.iter().map(|row| (row.times, of(row))).collect::<Vec<_>>();
    let plots = [
        ("goodput", "Messages acknowledged a second", false, (|row| row.goodput) as fn(&Row) -> f64),
        ("wait", "p99 from when it should have been sent, in ms", true, |row| row.p99),
    ];
    for (name, title, log_y, of) in plots {
        let lines = vec![("admission", line(&with, of)), ("without", line(&without, of))];
        let plot = Plot { title, x: "offered, as a multiple of what the disk can do", log_y, lines };
        let path = format!("{}/docs/overload-{name}.svg", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(&path, plot.svg()).unwrap();
        println!("{path}");
    }
}
