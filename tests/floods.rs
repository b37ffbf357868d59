//! Floods of every kind, one at a time and as fast as a core can make them: what those notice who are logged in, and who
//! wants to log in meanwhile. Server and clients have a core each, and the flood has what the clients leave of theirs.
//!
//! Prints the table of docs/security.md:
//!
//!     cargo test --release --test floods -- --nocapture
//!
//! `TIDEGATE_FLOOD` names one kind, or several by parts of their names, with commas between.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::client::{body, command, direct_command, some, text};
use common::flood::{Ends, Flood, Poured, Says, To, can_stand_back, pin, stand_back};
use common::{APP, Client, Refused, Server, Setup, Via, crowd, eventually, raw};
use prost::Message as _;
use tidegate_protocol::wire::*;

/// The core of everybody but the server, which has core 0.
const CLIENTS: usize = 1;

/// What those who are logged in wait at most, whatever the flood and however slow this build, at the median where guests
/// make the flood, and at p99: a server that reads floods together with everybody else comes near neither.
const MEDIAN_MS: f64 = 8.0;
const P99_MS: f64 = 100.0;
/// A neighbour of this machine can spoil a time as well; then it is taken again.
const TIMES: usize = 3;

/// Between two messages of those who are logged in, and between two who want to be.
const MESSAGE: Duration = Duration::from_millis(2);
const LOGIN: Duration = Duration::from_millis(50);

/// Flooders who are logged in.
const MEMBERS: usize = 20;

/// The name that a flood has, and who it is.
type Kind = (&'static str, fn(&Server) -> Flood);

const KINDS: &[Kind] = &[
    ("connections that hang up at once", |_| flood(To::Both, 200, vec![], vec![], usize::MAX, false, Ends::AtOnce)),
    ("garbage on new connections", |_| flood(To::Both, 200, vec![0xff; 600], vec![], usize::MAX, false, Ends::Closed)),
    ("greetings of TLS", |_| flood(To::Both, 200, raw::hello(), vec![], usize::MAX, false, Ends::Answered)),
    ("frames announced at 2^63 bytes", |_| {
        let huge = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
        flood(To::Http, 200, upgraded(&huge), vec![], usize::MAX, false, Ends::Closed)
    }),
    ("heads, a byte at a time", |_| {
        let head = b"GET / HTTP/1.1\r\nCookie: ".to_vec();
        flood(To::Http, 500, head, vec![b'x'; 1_000], 1, false, Ends::Closed)
    }),
    ("heads of short lines", |_| {
        let lines = b"a: b\r\n".repeat(60);
        flood(To::Http, 500, [b"GET / HTTP/1.1\r\n", &lines[..]].concat(), b"c".to_vec(), 1, false, Ends::Closed)
    }),
    ("fragments of one byte", |_| {
        let asked = echo();
        let mut fragments = raw::frame(2, &asked[..1]);
        for (n, byte) in asked.iter().enumerate().skip(1) {
            let last = if n + 1 == asked.len() { 0x80 } else { 0 };
            fragments.extend(raw::frame(last, &[*byte]));
        }
        flood(To::Http, 100, upgraded(&[]), fragments.repeat(20), usize::MAX, true, Ends::Closed)
    }),
    ("pings", |_| {
        flood(To::Http, 100, upgraded(&[]), raw::frame(0x89, b"").repeat(300), usize::MAX, true, Ends::Closed)
    }),
    ("commands before a log-in", |_| {
        flood(To::Http, 100, upgraded(&[]), raw::frame(0x82, &echo()).repeat(50), usize::MAX, true, Ends::Closed)
    }),
    ("commands before a log-in, answers unread", |_| {
        flood(To::Http, 100, upgraded(&[]), raw::frame(0x82, &echo()).repeat(50), usize::MAX, false, Ends::Closed)
    }),
    ("HTTP requests", |_| {
        let asked = format!("GET /v1/route?appId={APP}&secure=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        flood(To::Http, 100, vec![], asked.into_bytes().repeat(8), usize::MAX, true, Ends::Closed)
    }),
    ("members: heartbeats", |_| members(|id| said(id, command(CommandType::Echo, None)), true)),
    ("members: transient messages", |server| {
        members(|id| said(id, direct(&Client::tcp(server, id).start(&[]), 100, true)), true)
    }),
    ("members: messages", |server| {
        members(|id| said(id, direct(&Client::tcp(server, id).start(&[]), 100, false)), true)
    }),
    ("members: queries", |_| members(|id| said(id, query()), true)),
    ("members: messages to one another, unread", |server| {
        let all: Vec<_> = (0..MEMBERS).map(name).collect();
        let cid = Client::tcp(server, &all[0]).start(&all.iter().map(String::as_str).collect::<Vec<_>>());
        members(|id| said(id, direct(&cid, 1_000, true)), false)
    }),
];

fn flood(to: To, count: usize, first: Vec<u8>, then: Vec<u8>, piece: usize, reads: bool, ends: Ends) -> Flood {
    Flood { to, count, says: vec![Says { first, then }], piece, reads, ends }
}

/// Who log in and then say the same without pause.
fn members(says: impl Fn(&str) -> Vec<u8>, reads: bool) -> Flood {
    let one = |n| {
        let id = name(n);
        let mut open = command(CommandType::Session, Some(OpType::Open));
        open.app_id = some(APP);
        open.session_message = Some(Box::new(SessionCommand { ua: some("flood"), ..SessionCommand::default() }));
        Says { first: said(&id, open), then: says(&id).repeat(50) }
    };
    let says = (0..MEMBERS).map(one).collect();
    Flood { to: To::Tcp, count: MEMBERS, says, piece: usize::MAX, reads, ends: Ends::Closed }
}

fn name(n: usize) -> String {
    format!("flooder-{n}")
}

/// As TCP has it.
fn said(id: &str, mut command: GenericCommand) -> Vec<u8> {
    command.i = Some(1);
    command.peer_id = some(id);
    command.encode_length_delimited_to_vec()
}

fn direct(cid: &str, bytes: usize, transient: bool) -> GenericCommand {
    let (msg, transient) = (body(&"x".repeat(bytes)), transient.then_some(true));
    direct_command(DirectCommand { cid: some(cid), msg, transient, ..DirectCommand::default() })
}

fn query() -> GenericCommand {
    let filter = Some(JsonObjectMessage { data: "{\"m\":\"flooder-1\"}".into() });
    let conv = ConvCommand { r#where: filter, limit: Some(10), ..ConvCommand::default() };
    GenericCommand { conv_message: Some(Box::new(conv)), ..command(CommandType::Conv, Some(OpType::Query)) }
}

fn echo() -> Vec<u8> {
    let mut echo = command(CommandType::Echo, None);
    echo.i = Some(1);
    echo.encode_to_vec()
}

fn upgraded(rest: &[u8]) -> Vec<u8> {
    [raw::handshake("lc.protobuf2.3").as_bytes(), rest].concat()
}

/// Two who talk.
struct Pair {
    tom: Client,
    jerry: Client,
    cid: String,
    /// Messages sent and taken.
    sent: usize,
}

/// What was noticed for some time. In milliseconds, sorted.
#[derive(Default)]
struct Noticed {
    messages: Vec<f64>,
    logins: Vec<f64>,
    refused: usize,
}

impl Noticed {
    fn at(all: &[f64], share: f64) -> f64 {
        all.get((all.len() as f64 * share) as usize).or(all.last()).copied().unwrap_or(f64::NAN)
    }

    fn messages(&self, share: f64) -> f64 {
        Noticed::at(&self.messages, share)
    }

    fn logins(&self, share: f64) -> f64 {
        Noticed::at(&self.logins, share)
    }
}

impl Pair {
    fn of(server: &Server) -> Pair {
        let jerry = Client::login(server, Via::WebSocket, "jerry");
        let mut tom = Client::tcp(server, "tom");
        let cid = tom.start(&["jerry"]);
        Pair { tom, jerry, cid, sent: 0 }
    }

    /// Tom's messages, until both have what they wait for; each is counted from when it should have been sent.
    fn talk(&mut self, end: Instant, noticed: &mut Noticed) {
        let mut next = Instant::now();
        while next < end {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let words = format!("message {}", self.sent);
            let direct = DirectCommand { cid: some(&self.cid), msg: body(&words), ..DirectCommand::default() };
            match self.tom.try_send(DirectCommand { transient: Some(true), ..direct }) {
                Ok(_) => {
                    self.sent += 1;
                    assert_eq!(text(&self.jerry.message()), words, "lost, or out of order");
                    noticed.messages.push(next.elapsed().as_secs_f64() * 1e3);
                }
                Err(Refused { code: 4116, .. }) => noticed.refused += 1,
                Err(refused) => panic!("{refused:?}"),
            }
            next = (next + MESSAGE).max(Instant::now() - MESSAGE * 5);
        }
    }
}

/// Who come, log in and leave.
fn come_and_go(server: &Server, end: Instant) -> (Vec<f64>, usize) {
    let (mut took, mut refused) = (Vec::new(), 0);
    while Instant::now() < end {
        let begun = Instant::now();
        let mut client = Client::connect(server, Via::Tcp);
        match client.try_open("newcomer", SessionCommand::default()) {
            Ok(_) => took.push(begun.elapsed().as_secs_f64() * 1e3),
            Err(busy) if busy.code == 4116 => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
        thread::sleep(LOGIN.saturating_sub(begun.elapsed()));
    }
    (took, refused)
}

/// What those notice who talk, and those who come and go.
fn notice(server: &Server, pair: &mut Pair, time: Duration) -> Noticed {
    let end = Instant::now() + time;
    let mut noticed = Noticed::default();
    thread::scope(|threads| {
        let newcomers = threads.spawn(move || come_and_go(server, end));
        pair.talk(end, &mut noticed);
        let (took, refused) = newcomers.join().unwrap();
        noticed.logins = took;
        noticed.refused += refused;
    });
    noticed.messages.sort_by(f64::total_cmp);
    noticed.logins.sort_by(f64::total_cmp);
    noticed
}

/// The same while others do theirs until it is over.
fn beside<T: Send>(others: impl FnOnce(&AtomicBool) -> T + Send, notice: impl FnOnce() -> Noticed) -> (T, Noticed) {
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let others = threads.spawn(|| others(&stop));
        let noticed = catch_unwind(AssertUnwindSafe(notice));
        // A test that fails must end too: the scope waits for its threads.
        stop.store(true, Ordering::Relaxed);
        let others = others.join().unwrap();
        (others, noticed.unwrap_or_else(|failed| resume_unwind(failed)))
    })
}

fn pour(flood: &Flood, server: &Server, stop: &AtomicBool) -> Poured {
    stand_back();
    flood.pour(server.http(), server.tcp(), stop)
}

/// Of the kinds, those that are asked for.
fn kinds() -> impl Iterator<Item = &'static Kind> {
    let wanted = std::env::var("TIDEGATE_FLOOD").unwrap_or_default();
    KINDS.iter().filter(move |(what, _)| wanted.split(',').any(|wanted| what.contains(wanted)))
}

#[test]
fn others_are_served_in_any_flood() {
    pin(CLIENTS);
    let seconds = std::env::var("TIDEGATE_FLOOD_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(0.5);
    let time = Duration::from_secs_f64(seconds);
    let server = Server::launch(Setup { first: "taskset -cp 0 $$ >/dev/null 2>&1 || true", ..Setup::default() });
    let mut pair = Pair::of(&server);
    notice(&server, &mut pair, time);
    println!(
        "| flood | connections | MiB | p50 before | during | p99 before | during | times | log-in before | during | 4116 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let times = if can_stand_back() { TIMES } else { 1 };
    let mut first = Vec::new();
    for (what, flood) in kinds() {
        let flood = flood(&server);
        let of_members = what.starts_with("members");
        let mut is_behind_others = || {
            let during = throw(what, &flood, &server, &mut pair, time);
            during.messages(0.99) < P99_MS && (of_members || during.messages(0.5) < MEDIAN_MS)
        };
        if !(0..times).any(|_| is_behind_others()) {
            first.push(what);
        }
    }
    assert!(first.is_empty() || !can_stand_back(), "those who are logged in wait behind {first:?}");
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

/// One flood for some time, and what was noticed meanwhile.
fn throw(what: &str, flood: &Flood, server: &Server, pair: &mut Pair, time: Duration) -> Noticed {
    let before = notice(server, pair, time);
    let (poured, during) = beside(|stop| pour(flood, server, stop), || notice(server, pair, time));
    println!(
        "| {what} | {} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {} |",
        poured.connections,
        poured.bytes as f64 / 1024.0 / 1024.0,
        before.messages(0.5),
        during.messages(0.5),
        before.messages(0.99),
        during.messages(0.99),
        during.messages(0.99) / before.messages(0.99),
        before.logins(0.99),
        during.logins(0.99),
        during.refused,
    );
    assert!(!during.messages.is_empty() && !during.logins.is_empty(), "{what}: nobody was served");
    let says_no_more = flood.says.iter().all(|says| says.then.is_empty());
    if flood.ends == Ends::Closed && says_no_more {
        assert!(poured.connections > flood.count as u64, "{what}: nobody was closed for it");
    }
    if flood.reads {
        assert!(poured.answered > 0, "{what}: nobody was answered");
    }
    // Only the two who talk stay. What is over has left nothing behind.
    eventually("the flood to be gone", || (crowd::figure(server, "connections") <= 2).then_some(()));
    pair.tom.wait_for_calm();
    let words = format!("after {what}");
    pair.tom.send(&pair.cid, &words);
    assert_eq!(pair.jerry.text(), words);
    during
}
