//! A thread of a stage panics, in each of the stages, in the unmodified program: whose command it was is told so with
//! the documented code, nothing that was acknowledged is lost, and everybody else is served on by the same process.
//!
//! What panics is a look at the wall clock, of which each stage has one somewhere among what it does: the shim
//! (`tests/shim`) lets it fail once, and Rust's standard library answers that with a panic on the spot. Linux only.
//!
//! TIDEGATE_PANICS sets how often in each stage under load (3); TIDEGATE_SEED repeats a run's choices.

#![cfg(target_os = "linux")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::client::{body, code, command, direct_command, some};
use common::load::{self, Sender, StopWhenPanicking, Tally};
use common::server::Shim;
use common::{APP, Client, Receiver, Server, Setup, Via, app, eventually, http, patient, seed};
use fastrand::Rng;
use tidegate_protocol::wire::*;

const STAGES: [&str; 8] = ["decode", "authenticate", "route", "persist", "fan_out", "read", "hook", "push"];
const INTERNAL: i32 = 4200;
/// From a panic until all that a client may want is done.
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

/// An app that is asked about those who are offline, and takes pushes for them.
fn launch(server: &Receiver) -> Server {
    let url = server.url();
    let offline = "events = [\"receiversOffline\"]\nsecret = \"a secret for webhooks\"";
    let app = app(APP, &format!("push_webhook = \"{url}\"\n[[app.webhook]]\nurl = \"{url}\"\n{offline}\n"));
    Server::launch(Setup { tables: patient() + &app, shim: Shim::Faults, ..Setup::default() })
}

/// Does something while the `nth` look at the clock in a stage is to panic, and waits for it to have.
fn panicking<T>(server: &Server, stage: &str, nth: i64, act: impl FnOnce() -> T) -> T {
    let before = server.faults().met();
    server.faults().panic_in(stage, nth);
    let done = act();
    eventually(&format!("a panic in {stage}"), || (server.faults().met() > before).then_some(()));
    done
}

fn direct(cid: &str, words: &str) -> DirectCommand {
    DirectCommand { cid: some(cid), msg: body(words), ..DirectCommand::default() }
}

fn newest(cid: &str) -> LogsCommand {
    LogsCommand { cid: some(cid), limit: Some(1), ..LogsCommand::default() }
}

/// How many panics each stage has counted.
fn panics(server: &Server) -> Vec<(String, u64)> {
    let page = http::get(server.admin(), "/metrics").body;
    let of = |stage: &str| {
        let is_it = |line: &&str| line.contains("stage_panics") && line.contains(&format!("stage=\"{stage}\""));
        let line = page.lines().find(is_it).unwrap_or_else(|| panic!("no panics of {stage}: {page}"));
        (stage.to_owned(), line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
    };
    STAGES.iter().map(|stage| of(stage)).collect()
}

#[test]
fn the_sender_is_told_and_everybody_else_is_served() {
    let hooks = Receiver::agreeing();
    let server = launch(&hooks);
    let (mut tom, mut spike) = (Client::tcp(&server, "tom"), Client::login(&server, Via::WebSocket, "spike"));
    let cid = tom.start(&["jerry", "nobody"]);
    let others = spike.start(&["tyke"]);

    // What cannot be read has nobody who could be named: its connection ends.
    let mut lost = Client::login(&server, Via::WebSocket, "lost");
    panicking(&server, "decode", 1, || lost.put_as("lost", command(CommandType::Echo, None)));
    assert!(lost.gone().to_string().contains("4200"));
    spike.echo();

    // At each of its looks at the clock: nobody is in before, halfway or twice, and everybody gets in afterwards.
    for nth in 1.. {
        let before = server.faults().met();
        server.faults().panic_in("authenticate", nth);
        let mut jerry = Client::connect(&server, Via::Tcp);
        match jerry.try_open("jerry", SessionCommand::default()) {
            Ok(_) if server.faults().met() == before => {
                server.faults().panic_in("", 0);
                break;
            }
            Ok(_) => {}
            Err(refused) => assert_eq!(refused.code, INTERNAL, "at look {nth}"),
        }
        drop(jerry);
        eventually("jerry to be offline", || tom.online(&["jerry"]).is_empty().then_some(()));
    }

    let jerry = Client::tcp(&server, "jerry");
    panicking(&server, "authenticate", 1, || drop(jerry));
    eventually("jerry to be offline", || tom.online(&["jerry"]).is_empty().then_some(()));

    let mut jerry = Client::tcp(&server, "jerry");
    assert_eq!(code(panicking(&server, "route", 1, || tom.try_send(direct(&cid, "routed")))), INTERNAL);

    let again = DirectCommand { dt: some("a token"), ..direct(&cid, "kept") };
    let kept = tom.try_send(again.clone()).unwrap();
    assert_eq!(jerry.text(), "kept");
    assert_eq!(code(panicking(&server, "persist", 2, || tom.try_send(again.clone()))), INTERNAL);
    assert_eq!(tom.try_send(again), Ok(kept));

    assert_eq!(code(panicking(&server, "read", 1, || tom.logs(newest(&cid)))), INTERNAL);
    assert_eq!(tom.logs(newest(&cid)).unwrap().len(), 1);

    // It is acknowledged and in the history; those who should have heard it are made to look there.
    let sent = panicking(&server, "fan_out", 1, || tom.send(&cid, "fanned out"));
    jerry.gone();
    let mut jerry = Client::tcp(&server, "jerry");
    assert_eq!(jerry.unread()[0].mid, some(&sent.id));
    let mut tom = Client::tcp(&server, "tom");

    // Beside the line nobody waits for anything: a push is lost, and the next one is not.
    for stage in ["hook", "push"] {
        panicking(&server, stage, 1, || tom.send(&cid, "to nobody"));
        let sent = tom.send(&cid, "to nobody again");
        hooks.call("a push", |call| call.event.is_empty() && call.params["msgId"] == *sent.id);
    }

    spike.send(&others, "on the same connection all this time");
    for (stage, panics) in panics(&server) {
        assert!(panics > 0, "{stage}");
        assert!(server.said().contains(&format!("stage {stage} panicked")), "{stage}");
    }
    assert!(!server.said().contains("a thread of pool"), "no thread was lost");
}

/// A client that asks the same again and again, over as many connections as it takes.
fn again_and_again(server: &Server, tally: &Tally, id: &str, ask: impl Fn() -> GenericCommand) {
    while !tally.is_over() {
        let mut client = Client::come_in(server, id);
        while let Ok(answer) = client.attempt(ask()) {
            if let Err(refused) = answer {
                assert_eq!(refused.code, INTERNAL, "{id}: {refused:?}");
            }
            if tally.is_over() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn under_load_nothing_acknowledged_is_lost_repeated_or_moved() {
    const GUESTS: usize = 7;
    let times = std::env::var("TIDEGATE_PANICS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut random = Rng::with_seed(seed());
    let hooks = Receiver::agreeing();
    let mut server = launch(&hooks);
    let mut senders: Vec<_> = load::senders(&server, 8, 4, 1).into_iter().map(Sender::one_at_a_time).collect();
    let cids = load::conversations(&senders);
    let mut stages: Vec<_> = STAGES.iter().flat_map(|stage| vec![*stage; times]).collect();
    random.shuffle(&mut stages);

    let (tally, mut slowest) = (Tally::default(), Duration::ZERO);
    thread::scope(|threads| {
        let (server, tally, cid) = (&server, &tally, &cids[0]);
        for sender in &mut senders {
            threads.spawn(move || sender.run_on(server, tally));
        }
        threads.spawn(move || again_and_again(server, tally, "echo", || command(CommandType::Echo, None)));
        threads.spawn(move || {
            let logs =
                || GenericCommand { logs_message: Some(Box::new(newest(cid))), ..command(CommandType::Logs, None) };
            again_and_again(server, tally, "sender-0", logs);
        });
        // Persist looks at the clock for each message that it knows already, in the middle of its batches.
        threads.spawn(move || {
            let own = Client::come_in(server, "again").start(&["nobody"]);
            let send = || direct_command(DirectCommand { dt: some("the same"), ..direct(&own, "again") });
            again_and_again(server, tally, "again", send);
            assert_eq!(Client::come_in(server, "again").history(&own).len(), 1, "it was always the same");
        });
        threads.spawn(move || {
            for n in (0..GUESTS).cycle().take_while(|_| !tally.is_over()) {
                drop(Client::come_in(server, &format!("guest-{n}")));
            }
        });
        let _stop = StopWhenPanicking(tally);
        for (round, stage) in stages.iter().enumerate() {
            let before = tally.acked();
            panicking(server, stage, random.i64(1..=40), || ());
            let ended = Instant::now();
            let mut late = Client::come_in(server, "late");
            let own = eventually("a conversation", || late.try_start(ConvCommand::default()).ok());
            let sent = eventually("a message", || late.try_send(direct(&own, "late")).ok());
            eventually("history", || late.logs(newest(&own)).ok().filter(|page| page[0].msg_id == some(&sent.id)));
            eventually("more to be acknowledged", || (tally.acked() >= before + 50).then_some(()));
            slowest = slowest.max(ended.elapsed());
            println!("{round}: {stage}, all is well after {:?}", ended.elapsed());
        }
        tally.stop();
    });

    let met = stages.len() as u64;
    let (acked, refused) = (tally.acked(), tally.refused());
    println!("{met} panics: {acked} acknowledged, {refused} refused; all was well within {slowest:?}");
    assert!(slowest < RECOVERED_WITHIN, "only after {slowest:?}");
    assert!(senders.iter().all(|sender| sender.refused.keys().all(|code| *code == INTERNAL)));
    assert_eq!(panics(&server).iter().map(|(_, panics)| panics).sum::<u64>(), met);
    assert!(!server.said().contains("a thread of pool"), "no thread was lost");
    // Who has gone is not taken for somebody who is there.
    let guests: Vec<_> = (0..GUESTS).map(|n| format!("guest-{n}")).collect();
    let guests: Vec<_> = guests.iter().map(String::as_str).collect();
    let mut tom = Client::tcp(&server, "tom");
    eventually("the guests to have gone", || tom.online(&guests).is_empty().then_some(()));
    for round in ["as it is", "after a kill"] {
        let mut watcher = Client::tcp(&server, "watcher");
        for cid in &cids {
            load::check(cid, &watcher.history(cid), &senders, true);
        }
        println!("all is there, once, in order, {round}");
        server.restart();
    }
}
