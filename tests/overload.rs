//! More than the server can take: each command is answered, with 4116 where it is refused, what frees resources is
//! let in, and when the rush is over all is as before. And what is no protocol at all.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::client::{body, code, some, texts};
use common::{Client, Server, Via, eventually, http, patient, seed};
use fastrand::Rng;
use tidegate_protocol::wire::*;

/// Queues so short that a rush fills them.
const SHORT: &str = r#"
[stages.decode]
batch = 16
bound = 128
[stages.authenticate]
batch = 16
bound = 128
[stages.route]
batch = 16
bound = 128
[stages.read]
[stages.persist]
batch = 16
bound = 128
[stages.fan_out]
batch = 16
bound = 128
[stages.hook]
[stages.push]
"#;

#[test]
fn in_a_rush_each_command_is_answered_once_and_then_all_is_as_before() {
    let server = Server::with(SHORT);
    let mut quiet = Client::login(&server, Via::WebSocket, "quiet");
    let hot = quiet.start(&["somebody"]);
    let stop = AtomicBool::new(false);
    let (mut sent, mut refused) = (0, 0);
    thread::scope(|threads| {
        // A test that fails must end too: the scope waits for its threads.
        let _ends = StopAtEnd(&stop);
        let senders: Vec<_> = (0..24)
            .map(|n| {
                let (server, stop) = (&server, &stop);
                threads.spawn(move || rush(server, &format!("sender-{n}"), stop))
            })
            .collect();
        thread::sleep(Duration::from_secs(1));
        // A heartbeat and the end of a session are no part of what is refused.
        let mut leaving: Vec<_> = (0..5).map(|n| login_in_a_rush(&server, &format!("leaving-{n}"))).collect();
        for client in &mut leaving {
            let begun = Instant::now();
            client.echo();
            client.close();
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        }
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            let (taken, not) = sender.join().unwrap();
            sent += taken;
            refused += not;
        }
    });
    assert!(refused > 0, "it was no rush: {sent} sent, none refused");
    println!("{sent} sent, {refused} refused");
    eventually("all to be as before", || {
        let direct = DirectCommand { cid: some(&hot), msg: body("calm"), ..DirectCommand::default() };
        quiet.try_send(direct).ok()
    });
    let refusals = http::get(server.admin(), "/stages").json();
    let refusals: u64 = refusals.as_array().unwrap().iter().map(|stage| stage["refused"].as_u64().unwrap()).sum();
    assert!(refusals > 0, "the figures say so too");
}

#[test]
fn who_is_alone_is_not_refused_however_little_the_machine_runs_us() {
    let server = Server::start();
    let mut alone = Client::login(&server, Via::Tcp, "alone");
    let cid = alone.start(&["somebody"]);
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let _ends = StopAtEnd(&stop);
        let processors = thread::available_parallelism().map_or(2, |n| n.get());
        for _ in 0..processors * 4 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            let direct = DirectCommand { cid: some(&cid), msg: body("anybody?"), ..DirectCommand::default() };
            alone.try_send(direct).expect("nobody else asks for anything");
            thread::sleep(Duration::from_millis(20));
        }
    });
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends without waiting until it is told to stop; how many were taken, and how many refused.
fn rush(server: &Server, id: &str, stop: &AtomicBool) -> (u64, u64) {
    let mut client = login_in_a_rush(server, id);
    let own = loop {
        match client.try_start(ConvCommand { m: vec!["other".into()], ..ConvCommand::default() }) {
            Ok(cid) => break cid,
            Err(refused) => assert_eq!(refused.code, 4116),
        }
    };
    let (mut taken, mut refused) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let posted: Vec<_> = (0..60)
            .map(|n| {
                let transient = (n % 3 == 0).then_some(true);
                client.post(DirectCommand { cid: some(&own), msg: body("rush"), transient, ..DirectCommand::default() })
            })
            .collect();
        for i in posted {
            match client.answer(i) {
                Ok(_) => taken += 1,
                Err(no) => {
                    assert_eq!(no.code, 4116, "{no:?}");
                    refused += 1;
                }
            }
        }
    }
    (taken, refused)
}

/// A log-in may be refused in a rush, and is tried again.
fn login_in_a_rush(server: &Server, id: &str) -> Client {
    let mut client = Client::connect(server, Via::Tcp);
    eventually("a log-in", || client.try_open(id, SessionCommand::default()).ok());
    client
}

#[test]
fn transient_messages_come_in_one_order_to_all() {
    let server = Server::with(patient());
    for stage in ["decode", "authenticate", "route", "fan_out"] {
        assert_eq!(http::patch(server.admin(), &format!("/stages/{stage}"), r#"{"workers":3,"batch":4}"#).status, 200);
    }
    let mut senders = [Client::tcp(&server, "tom"), Client::tcp(&server, "jerry")];
    let mut hearers = [Client::tcp(&server, "spike"), Client::login(&server, Via::WebSocket, "tyke")];
    let cid = senders[0].start(&["jerry", "spike", "tyke"]);
    for round in 0..40 {
        for sender in &mut senders {
            for n in 0..25 {
                let words = format!("{} {}", sender.id, round * 25 + n);
                let direct = DirectCommand { cid: some(&cid), msg: body(&words), ..DirectCommand::default() };
                sender.post(DirectCommand { transient: Some(true), ..direct });
            }
        }
        let heard = hearers.each_mut().map(|hearer| (0..50).map(|_| hearer.text()).collect::<Vec<_>>());
        assert_eq!(heard[0], heard[1]);
        for sender in &senders {
            let mine = heard[0].iter().filter(|words| words.starts_with(&format!("{} ", sender.id)));
            let expected: Vec<_> = (0..25).map(|n| format!("{} {}", sender.id, round * 25 + n)).collect();
            assert_eq!(mine.collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        }
    }
    assert!(texts(&senders[0].history(&cid)).is_empty());
}

#[test]
fn what_is_no_protocol_ends_its_own_connection_only() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let mut random = Rng::with_seed(seed());
    for n in 0..400 {
        let to = if n % 2 == 0 { server.tcp() } else { server.http() };
        let mut stream = TcpStream::connect(to).unwrap();
        let mut garbage = vec![0; random.usize(1..2_000)];
        garbage.fill_with(|| random.u8(..));
        // Some begin as something that is known.
        let beginning: &[u8] = match n % 5 {
            0 => b"GET /v1/route HTTP/1.1\r\n",
            1 => b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            2 => &[0x16, 3, 1],
            3 => b"PROXY TCP4 ",
            _ => &[],
        };
        _ = stream.write_all(&[beginning, &garbage].concat());
        if n % 3 == 0 {
            _ = stream.shutdown(std::net::Shutdown::Write);
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            _ = stream.read_to_end(&mut Vec::new());
        }
    }
    tom.send(&cid, "still here");
    assert_eq!(http::get(server.admin(), "/readyz").status, 200);

    // Well-formed frames with nonsense in them, after a log-in.
    for n in 0..200 {
        let mut client = Client::tcp(&server, "fuzz");
        let mut command = common::client::command(CommandType::Conv, None);
        command.cmd = Some(random.i32(0..25));
        command.op = Some(random.i32(0..200));
        (command.i, command.peer_id) = (Some(7), some("fuzz"));
        let word = || Some("x".repeat(n));
        command.conv_message = Some(Box::new(ConvCommand { cid: word(), m: vec!["".into(); 3], ..Default::default() }));
        command.session_message = Some(Box::new(SessionCommand { st: word(), tag: word(), ..Default::default() }));
        command.direct_message = Some(DirectCommand { cid: word(), dt: word(), ..Default::default() });
        command.logs_message =
            Some(Box::new(LogsCommand { cid: word(), limit: Some(-1), t: Some(-1), ..Default::default() }));
        command.read_message = Some(ReadCommand { cid: word(), ..Default::default() });
        if client.wire.send(&command).is_ok() {
            // Answered or closed: never silence. What has no answer by the documents is followed by one that has.
            let mut echo = common::client::command(CommandType::Echo, None);
            echo.i = Some(8);
            _ = client.wire.send(&echo);
            let until = Instant::now() + common::PATIENCE;
            loop {
                match client.wire.next(until) {
                    Ok(Some(came)) if came.i == Some(8) => break,
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("no answer to an echo after {command:?}"),
                    Err(_closed) => break,
                }
            }
        }
    }
    assert_eq!(http::get(server.admin(), "/readyz").status, 200, "and no panic inside");
    assert!(!server.said().contains("panicked"), "{}", server.said());
    assert_eq!(code(tom.try_send(DirectCommand { cid: some("nonsense"), msg: body("x"), ..Default::default() })), 4401);
    tom.send(&cid, "and still");
}
