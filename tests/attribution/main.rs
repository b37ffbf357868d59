//! Whether `/bottleneck` finds what is wrong: faults of every cause injected into the real server, and who was blamed.
//!
//! One of each cause runs always. All of them, one after the other, with the table of what was taken for what:
//!
//!     TIDEGATE_ATTRIBUTION=all cargo test --release --test attribution -- --nocapture
//!
//! and those whose names hold a text, which says of each what the server said:
//!
//!     TIDEGATE_ATTRIBUTION=fsync-25ms cargo test --release --test attribution -- --nocapture
//!
//! The processors are judged too: a machine that is busy with other things is short of them, and that is then the truth.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod load;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cases::{Case, Fault, Load};
use common::{Receiver, Reply, Server, Setup, app, http};
use load::{Act, Fleet, Listeners, Pace};
use serde_json::{Value, json};

/// A verdict is of the last four seconds; before these the load gets going.
const LOADED: Duration = Duration::from_millis(5_500);
const APP: &str = "attribution";

#[test]
fn the_bottleneck_is_found() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let wanted = std::env::var("TIDEGATE_ATTRIBUTION").unwrap_or_default();
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .filter(|case| match &*wanted {
            "" => case.quick,
            "all" => true,
            part => case.name.contains(part),
        })
        .collect();
    assert!(!cases.is_empty(), "no case is called {wanted:?}");
    let mut table: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let (mut right, mut wrong) = (0, Vec::new());
    for case in &cases {
        let mut found = look(case);
        // Other programs may have had the processors for a while.
        for _ in 0..2 {
            if !found.is_right && (found.others > DISTURBED || wanted.is_empty()) {
                println!("again: {}, others had {:.1} processors; {:#}", case.name, found.others, found.verdict);
                found = look(case);
            }
        }
        let Found { verdict, is_right, others } = &found;
        let disturbed =
            if *others > DISTURBED { format!(" (others had {others:.1} processors)") } else { String::new() };
        let said = verdict["cause"].as_str().unwrap_or_default().to_owned();
        let mark = if *is_right { "right" } else { "WRONG" };
        println!("{mark} {} -> {said} {}{disturbed}", case.name, verdict["stage"]);
        if !is_right || !matches!(&*wanted, "" | "all") {
            println!("{verdict:#}");
        }
        *table.entry(case.cause).or_default().entry(said).or_default() += 1;
        right += usize::from(*is_right);
        // Where a few run on whatever machine, one that had no processors for them proves nothing.
        if !is_right && (disturbed.is_empty() || !wanted.is_empty()) {
            wrong.push(case.name.clone());
        }
    }
    println!("\n{}", confusion(&table));
    println!("{right} of {} right", cases.len());
    // One in twenty may be wrong; of the few that always run, none.
    let allowed = if wanted == "all" { cases.len() / 20 } else { 0 };
    assert!(wrong.len() <= allowed, "{right} of {} right; wrong: {wrong:?}", cases.len());
}

/// What came of a case.
struct Found {
    verdict: Value,
    is_right: bool,
    /// Processors that programs beside server and test had meanwhile.
    others: f64,
}

/// So many, and what was injected may not be what was narrow.
const DISTURBED: f64 = 0.3;

fn look(case: &Case) -> Found {
    let (verdict, others) = verdict(case);
    Found { is_right: is_right(case, &verdict), verdict, others }
}

fn is_right(case: &Case, verdict: &Value) -> bool {
    let is_there = case.stage.is_none_or(|stage| verdict["stage"] == stage);
    verdict["cause"] == case.cause && is_there && verdict["evidence"].as_array().is_some_and(|said| !said.is_empty())
}

/// What was injected, and what it was taken for.
fn confusion(table: &BTreeMap<&str, BTreeMap<String, usize>>) -> String {
    let said = |counts: &BTreeMap<String, usize>| {
        counts.iter().map(|(cause, n)| format!("{cause} {n}")).collect::<Vec<_>>().join(", ")
    };
    let row = |(cause, counts): (&&str, &BTreeMap<String, usize>)| {
        format!("| {cause} | {} | {} |\n", counts.values().sum::<usize>(), said(counts))
    };
    let rows: String = table.iter().map(row).collect();
    format!("| injected | cases | said |\n|---|---|---|\n{rows}")
}

/// Runs a case, and asks while its load is on; with the processors that others had.
fn verdict(case: &Case) -> (Value, f64) {
    let stop = AtomicBool::new(false);
    let (server, _receivers) = server(case);
    thread::scope(|threads| {
        let _ends = StopAtEnd(&stop);
        begin(case, &server, &stop, threads);
        for fault in &case.fault {
            match fault {
                Fault::SlowSync(ms) => server.faults().set(common::faults::What::SyncDelayMs, (*ms).into()),
                Fault::Slow(thread, us) => server.faults().slow_down(thread, *us),
                Fault::Burners(count) => (0..*count).for_each(|_| {
                    threads.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            std::hint::black_box((0..10_000u64).fold(0, |a, b| a ^ b.wrapping_mul(b)));
                        }
                    });
                }),
                _ => {}
            }
        }
        let (before, begun) = (others(&server), Instant::now());
        thread::sleep(LOADED);
        let others = (others(&server) - before) / begun.elapsed().as_secs_f64();
        (http::get(server.admin(), "/bottleneck").json(), others)
    })
}

/// Seconds of processors that neither this process nor the server had, since the machine's start.
fn others(server: &Server) -> f64 {
    let numbers = |path: &str, from: usize, count: usize| -> Vec<f64> {
        let text = std::fs::read_to_string(path).unwrap();
        // A process's name may hold spaces.
        let text = text.lines().next().unwrap().rsplit(") ").next().unwrap().to_owned();
        text.split_whitespace().skip(from).take(count).map(|ticks| ticks.parse().unwrap()).collect()
    };
    // cpu user nice system idle iowait irq softirq steal
    let all = numbers("/proc/stat", 1, 8);
    let idle = all[3] + all[4];
    // … utime stime, the 14th and 15th of all; the name and what is before it are cut off.
    let of = |process: &str| numbers(&format!("/proc/{process}/stat"), 11, 2).iter().sum::<f64>();
    let ours = of("self") + of(&server.pid().to_string());
    // Ticks of a hundredth.
    (all.iter().sum::<f64>() - idle - ours) / 100.0
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The server of a case, and the apps' own servers.
fn server(case: &Case) -> (Server, Vec<Receiver>) {
    let mut receivers = Vec::new();
    let (mut before, mut behind) = (String::new(), String::new());
    let mut answering = |ms: u64, reply: Reply| {
        let receiver = Receiver::start(move |_| match ms {
            0 => reply.clone(),
            ms => Reply::After(Duration::from_millis(ms), Box::new(reply.clone())),
        });
        let url = receiver.url();
        receivers.push(receiver);
        url
    };
    let agrees = || Reply::Json(json!({}));
    let webhook = |url: String, event: &str, concurrency: usize| {
        format!(
            "[[app.webhook]]\nurl = \"{url}\"\nsecret = \"a secret of some length\"\nevents = [\"{event}\"]\n\
             concurrency = {concurrency}\n"
        )
    };
    for fault in &case.fault {
        match fault {
            Fault::Hook { event, ms, concurrency } => behind += &webhook(answering(*ms, agrees()), event, *concurrency),
            Fault::DeadHook => behind += &webhook(answering(60_000, agrees()), "messageReceived", 64),
            Fault::Push(ms) => before += &format!("push_webhook = \"{}\"\n", answering(*ms, agrees())),
            Fault::FailingPush(ms) => {
                before += &format!("push_webhook = \"{}\"\n", answering(*ms, Reply::Status(503)));
            }
            _ => {}
        }
    }
    let app = app(APP, &(before + &behind));
    let tables = format!("{}\n{}\n{app}", stages(case), case.tables);
    let shim = match case.fault.iter().any(|fault| matches!(fault, Fault::SlowSync(_) | Fault::Slow(..))) {
        true => common::server::Shim::Faults,
        false => common::server::Shim::None,
    };
    (Server::launch(Setup { tables, shim, ..Setup::default() }), receivers)
}

fn stages(case: &Case) -> String {
    let names = ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"];
    let patience = if case.refuses { "" } else { "delay_target = \"30s\"\nkey_share = 1.0\n" };
    let lines = |name: &str| {
        let of = case.stages.iter().filter(|(stage, _)| *stage == name);
        of.map(|(_, lines)| format!("{lines}\n")).collect::<String>()
    };
    names.map(|name| format!("[stages.{name}]\n{patience}{}", lines(name))).concat()
}

/// Lets the load come in, and go on until it is told to stop.
fn begin<'a>(case: &Case, server: &Server, stop: &'a AtomicBool, threads: &'a thread::Scope<'a, '_>) {
    /// How often those who listen read.
    const SWEEP: Duration = Duration::from_millis(50);
    /// What the system keeps for one that does not: little, so that it shows soon.
    const SMALL: usize = 4 << 10;
    match case.load {
        Load::None => {}
        Load::Idle(count) => {
            let listeners = Listeners::enter(server, APP, count, None);
            threads.spawn(move || listeners.run(SWEEP, 0, 0, stop));
        }
        Load::Talk { users, act, pace, hot, absent } => {
            let mut fleet = Fleet::enter(server, APP, users, "user-");
            fleet.start_each(&[], absent);
            if hot > 0.0 {
                fleet.share_one(hot);
            }
            if act == Act::History {
                fleet.talk(20);
            }
            threads.spawn(move || fleet.run(act, pace, stop));
        }
        Load::Room { members, slow, per_sweep, bytes, per_second } => {
            let mut speakers = Fleet::enter(server, APP, 4, "speaker-");
            let room = speakers.room();
            let mut listeners = Listeners::enter(server, APP, members, (slow > 0).then_some(SMALL));
            listeners.join(&room);
            // Where the reactors are to be busy, the disk is not.
            let act = Act::Say { bytes, transient: slow == 0 };
            threads.spawn(move || listeners.run(SWEEP, slow, per_sweep, stop));
            threads.spawn(move || speakers.run(act, Pace::PerSecond(per_second), stop));
        }
        Load::Group { members, slow, bytes, per_second } => {
            let listeners = Listeners::enter(server, APP, members, Some(SMALL));
            let ids = listeners.ids();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let mut speakers = Fleet::enter(server, APP, 2, "speaker-");
            speakers.start_each(&ids, 0);
            threads.spawn(move || listeners.run(SWEEP, slow, 0, stop));
            let act = Act::Say { bytes, transient: false };
            threads.spawn(move || speakers.run(act, Pace::PerSecond(per_second), stop));
        }
        Load::Search { users, conversations, pace } => {
            let mut fleet = Fleet::enter(server, APP, users, "user-");
            fleet.start_each(&[], 0);
            fleet.conversations(conversations);
            threads.spawn(move || fleet.run(Act::Query, pace, stop));
        }
    }
}
