//! Guests that mean no good: who never log in, speak slowly, announce much, ask what explodes, or want in elsewhere.
//! Each costs little, is closed as documented, and nobody else notices.
//!
//! `TIDEGATE_GUESTS` is how many there are (1,500); docs/security.md has the figures of 10,000.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::client::{body, code, command, some, texts};
use common::crowd::{self, is_closed, say};
use common::raw::{self, Raw};
use common::{APP, Client, PATIENCE, Server, Via, app, eventually, http, patient, seed};
use fastrand::Rng;
use prost::Message as _;
use serde_json::json;
use tidegate_protocol::wire::*;

/// What a guest may cost in memory, and one within a TLS handshake.
const PLAIN: u64 = 8 << 10;
const TLS: u64 = 24 << 10;

fn guests() -> usize {
    std::env::var("TIDEGATE_GUESTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_500)
}

/// A way to be a guest and to stay one: where it connects, what it says.
struct Guest {
    what: &'static str,
    http: bool,
    says: Vec<u8>,
    most: u64,
}

fn all_guests() -> Vec<Guest> {
    let guest = |what, http, says: &[u8]| Guest { what, http, says: says.to_vec(), most: PLAIN };
    let upgraded = |rest: &[u8]| [raw::handshake("lc.protobuf2.3").as_bytes(), rest].concat();
    let head = [b"GET / HTTP/1.1\r\nCookie: ", &vec![b'x'; 7_000][..]].concat();
    // The longest that a guest may say, but for its last byte.
    let mut frame = raw::frame(0x82, &[0; 4 << 10]);
    frame.pop();
    let fragments = [raw::frame(2, b"x"), raw::frame(0, b"x").repeat(1_000)].concat();
    let mut length = Vec::new();
    prost::encoding::encode_varint(4 << 10, &mut length);
    let part = [length, vec![0; (4 << 10) - 1]].concat();
    let hello = raw::hello();
    let endless = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 8_000]].concat();
    let mut guests = vec![
        guest("tcp, silent", false, b""),
        guest("tcp, a command without its last byte", false, &part),
        guest("http, silent", true, b""),
        guest("http, a head without its end", true, &head),
        guest("websocket, silent", true, &upgraded(b"")),
        guest("websocket, a frame without its last byte", true, &upgraded(&frame)),
        guest("websocket, fragments of one byte", true, &upgraded(&fragments)),
        guest("tls, two bytes", false, &hello[..2]),
        guest("tls, half a greeting", false, &hello[..hello.len() / 2]),
        guest("tls, a greeting and no more", true, &hello),
        guest("tls, a greeting without end", true, &endless),
    ];
    guests.iter_mut().filter(|guest| guest.what.starts_with("tls")).for_each(|guest| guest.most = TLS);
    guests
}

/// In their time nothing is closed for being slow.
const NO_HURRY: &str = "[net]\nhandshake_timeout = \"10m\"\nlogin_timeout = \"10m\"\n";

#[test]
fn a_guest_costs_little_memory_whatever_it_does() {
    for guest in all_guests() {
        let server = Server::with([NO_HURRY, &patient()].concat());
        let to = if guest.http { server.http() } else { server.tcp() };
        let each = crowd::cost(&server, to, guests(), &guest.says, 499);
        println!("{each:6} bytes: {}", guest.what);
        assert!(each <= guest.most, "{}: {each} bytes each", guest.what);
    }
}

/// Answers that nobody reads: a guest is read no further when a few wait for it.
#[test]
fn a_guest_that_asks_and_never_reads_costs_little_too() {
    let server = Server::with([NO_HURRY, &patient()].concat());
    let mut tom = Client::tcp(&server, "tom");
    let mut echo = command(CommandType::Echo, None);
    echo.i = Some(1);
    let frames = raw::frame(0x82, &echo.encode_to_vec()).repeat(200);
    let ask = |first, count| {
        let mut crowd = crowd::connect(server.http(), count, first);
        say(&mut crowd, raw::handshake("lc.protobuf2.3").as_bytes(), 1_000);
        crowd.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
        // Until the sockets between are full, and stay so.
        let mut taken = Instant::now();
        while taken.elapsed() < Duration::from_millis(500) {
            let any = crowd.iter_mut().filter_map(|stream| stream.write(&frames).ok()).sum::<usize>();
            if any > 0 {
                taken = Instant::now();
            }
        }
        crowd
    };
    let many = guests() / 2;
    // What the pipeline itself takes for so much work is there from then on.
    let some = ask(2, many / 2);
    let before = crowd::resident(&server);
    let crowd = ask(3, many);
    let each = crowd::resident(&server).saturating_sub(before) / many as u64;
    println!("{each:6} bytes: websocket, asks and reads no answers");
    assert!(each <= PLAIN, "{each} bytes each");
    assert_eq!(crowd::figure(&server, "connections") as usize, some.len() + crowd.len() + 1);
    tom.echo();
}

#[test]
fn who_does_not_come_to_the_point_is_closed() {
    let times = "[net]\nhandshake_timeout = \"1s\"\nlogin_timeout = \"2s\"\n";
    let server = Server::with([times, &patient()].concat());
    let mut tom = Client::login(&server, Via::WebSocket, "tom");
    let many = guests() / 10;
    let mut crowds: Vec<_> = all_guests()
        .into_iter()
        .enumerate()
        .map(|(n, guest)| {
            let to = if guest.http { server.http() } else { server.tcp() };
            let mut crowd = crowd::connect(to, many, 2 + n as u8);
            say(&mut crowd, &guest.says, usize::MAX);
            (guest.what, crowd)
        })
        .collect();
    for (what, crowd) in &mut crowds {
        for stream in crowd {
            eventually(what, || is_closed(stream).then_some(()));
        }
        tom.echo();
    }
    // A head of which a byte comes now and then is no exception.
    let begun = Instant::now();
    let mut slow = TcpStream::connect(server.http()).unwrap();
    eventually("a slow head's end", || {
        _ = slow.write_all(b"x");
        is_closed(&mut slow).then_some(())
    });
    assert!(begun.elapsed() >= Duration::from_millis(900));
    // Who got as far as frames is told why.
    let mut late = Raw::connect(&server, "lc.protobuf2.3").unwrap();
    assert_eq!(late.close_code().unwrap(), Some(4108));
    drop(late);
    eventually("all but one to be gone", || (crowd::figure(&server, "connections") == 1).then_some(()));
    tom.echo();
}

/// Connections of plain HTTP that are served at once.
const HTTP_PLACES: usize = 1_024;

#[test]
fn who_holds_all_places_of_http_keeps_nobody_from_the_router() {
    let server = Server::with(patient());
    let path = format!("/v1/route?appId={APP}");
    let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut crowd = crowd::connect(server.http(), HTTP_PLACES + 100, 2);
    say(&mut crowd, ask.as_bytes(), usize::MAX);
    for stream in &mut crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200", "they come at once, and all of them are answered");
    }
    assert_eq!(http::get(server.http(), &path).status, 200);
    // Those who had asked last have their places still.
    let last = crowd.last_mut().unwrap();
    last.write_all(ask.as_bytes()).unwrap();
    assert_eq!(http::get(server.http(), &path).status, 200);
    assert!(!is_closed(last));
    let gone = crowd.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
    assert!((100..200).contains(&gone), "{gone} had to make room");
}

#[test]
fn what_is_too_long_is_refused_by_its_announcement() {
    let server = Server::with(patient());
    let ends = |bytes: &[u8]| {
        let mut socket = Raw::connect(&server, "lc.protobuf2.3").unwrap();
        socket.write(bytes, usize::MAX).unwrap();
        socket.close_code().unwrap()
    };
    assert_eq!(ends(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Some(4109), "2^63 bytes");
    assert_eq!(ends(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some(4109), "2^63 - 1");
    assert_eq!(ends(&[0x82, 0xfe, 0x10, 0x01]), Some(4109), "4 KiB and a byte, of a guest");
    let fragments = [raw::frame(2, &[0; 4_000]), raw::frame(0, b"x").repeat(97)].concat();
    assert_eq!(ends(&fragments), Some(4109), "the same in fragments");
    for length in [&[0x81, 0x20][..], &[0xff; 4], &[0xff; 10]] {
        let mut tcp = TcpStream::connect(server.tcp()).unwrap();
        tcp.write_all(length).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(tcp.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    }
    let mut head = TcpStream::connect(server.http()).unwrap();
    _ = head.write_all(&[b"GET / HTTP/1.1\r\nCookie: ", &[b'x'; 9_000][..]].concat());
    let mut answer = Vec::new();
    _ = head.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));

    // Who has logged in may say more, and no more than `max_frame`.
    let mut tom = Client::login(&server, Via::WebSocket, "tom");
    let mut echo = command(CommandType::Echo, None);
    echo.installation_id = some(&"x".repeat(60_000));
    tom.ask(echo.clone()).unwrap();
    echo.installation_id = some(&"x".repeat(66_000));
    tom.put_as("tom", echo);
    assert!(tom.gone().to_string().contains("4109"));
}

#[test]
fn garbage_on_any_port_ends_its_own_connection_only() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let mut random = Rng::with_seed(seed());
    let mut garbage = |most: usize| {
        let mut bytes = vec![0; random.usize(1..most)];
        bytes.fill_with(|| random.u8(..));
        bytes
    };
    let hello = raw::hello();
    let fin = |mut stream: TcpStream| {
        _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        _ = stream.read_to_end(&mut Vec::new());
    };
    for n in 0..150 {
        for to in [server.http(), server.tcp(), server.admin()] {
            let mut stream = TcpStream::connect(to).unwrap();
            let begins: &[u8] = match n % 6 {
                0 => b"",
                1 => b"GET /metrics HTTP/1.1\r\nHost: ",
                2 => b"PATCH /stages/route HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
                3 => &[0x16, 3, 1, 2, 0, 1],
                4 => &hello,
                _ => &hello[..100],
            };
            _ = stream.write_all(&[begins, &garbage(2_000)].concat());
            fin(stream);
        }
    }
    // Behind a TLS handshake that was right.
    for via in [Via::TcpTls, Via::WebSocketTls] {
        for _ in 0..20 {
            let mut client = Client::connect(&server, via);
            let bytes = garbage(4_000);
            _ = client.wire.send_raw(&bytes);
            let stream = client.wire.writer();
            _ = (&stream).write_all(&garbage(300));
            fin(stream);
        }
    }
    tom.send(&cid, "still here");
    assert_eq!(http::get(server.admin(), "/readyz").status, 200);
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

#[test]
fn queries_that_would_explode_are_refused_or_cheap() {
    let server = Server::with(patient());
    let mut tom = Client::login(&server, Via::WebSocket, "tom");
    let mut conv = ConvCommand { m: vec!["jerry".into()], ..ConvCommand::default() };
    conv.attr = Some(JsonObjectMessage { data: json!({"name": "a".repeat(3_000)}).to_string() });
    tom.try_start(conv).unwrap();
    let deep = |open: &str, close: &str, n: usize| [open.repeat(n), close.repeat(n)].concat();
    let mut ask = |filter: String| {
        let begun = Instant::now();
        let conv = ConvCommand { r#where: Some(JsonObjectMessage { data: filter }), ..ConvCommand::default() };
        let outcome = tom.conv(OpType::Query, conv);
        (outcome, begun.elapsed())
    };
    let refused = [
        deep("[", "]", 20_000),
        deep("{\"a\":", "}", 10_000),
        deep("{\"$and\":[", "]}", 5_000),
        format!("{{\"m\":{{\"$in\":[{}1]}}}}", "1,".repeat(20_000)),
        json!({"name": {"$regex": "(a{1000}){1000}"}}).to_string(),
        json!({"name": {"$regex": "a".repeat(5_000)}}).to_string(),
        json!({"name": {"$regex": deep("(", ")", 300)}}).to_string(),
        json!({"$or": vec![json!({"name": {"$regex": "x"}}); 11]}).to_string(),
        "{\"name\":".to_owned(),
    ];
    for filter in refused {
        let start = filter[..filter.len().min(60)].to_owned();
        let (outcome, took) = ask(filter);
        assert_eq!(code(outcome), 4310, "{start}");
        assert!(took < Duration::from_secs(5), "{took:?}: {start}");
    }
    // What costs a backtracking engine years is linear here.
    for pattern in ["(a+)+$b", "(a|a)*b", "(a*)*(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let (outcome, took) = ask(json!({"name": {"$regex": pattern}}).to_string());
        outcome.unwrap();
        assert!(took < Duration::from_secs(5), "{took:?}: {pattern}");
    }
    // The same texts where attributes stand.
    let deep = ConvCommand {
        m: vec!["jerry".into()],
        attr: Some(JsonObjectMessage { data: deep("{\"a\":", "}", 10_000) }),
        ..ConvCommand::default()
    };
    assert_eq!(code(tom.try_start(deep)), 4306);
    tom.echo();
}

#[test]
fn an_app_does_not_reach_into_another() {
    let server = Server::with([app("first-app", ""), app("other-app", ""), patient()].concat());
    let mut tom = Client::login_to(&server, "first-app", "tom");
    let cid = tom.start(&["jerry"]);
    let kept = tom.send(&cid, "of the first app");

    // The same name is another client there, and the same conversation is none.
    let mut eve = Client::login_to(&server, "other-app", "tom");
    let direct = |cid: &str| DirectCommand { cid: some(cid), msg: body("hello?"), ..DirectCommand::default() };
    assert_eq!(code(eve.try_send(direct(&cid))), 4401);
    assert!(eve.logs(LogsCommand { cid: some(&cid), ..LogsCommand::default() }).is_err());
    assert!(eve.query(json!({"objectId": cid})).is_empty());
    assert!(eve.query(json!({"m": "jerry"})).is_empty());
    assert!(eve.add(&cid, &["tom"]).is_err());
    assert!(eve.remove(&cid, &["tom"]).is_err());
    let update = ConvCommand {
        cid: some(&cid),
        attr: Some(JsonObjectMessage { data: "{\"name\":\"mine\"}".into() }),
        ..ConvCommand::default()
    };
    assert!(eve.conv(OpType::Update, update).is_err());
    assert!(eve.online(&["jerry"]).is_empty());
    // Naming the other app in a command changes nothing, or ends the connection.
    let mut ask = common::client::direct_command(direct(&cid));
    ask.app_id = some("first-app");
    eve.put_as("tom", ask);
    let mut eve = Client::login_to(&server, "other-app", "tom");
    // A token of the one app opens nothing in the other.
    eve.close();
    assert_eq!(code(eve.reopen("tom", &tom.token)), 4112);

    tom.send(&cid, "and only of it");
    assert_eq!(texts(&tom.history(&cid)), ["of the first app", "and only of it"]);
    assert_eq!(tom.history(&cid)[0].msg_id.as_deref(), Some(&*kept.id));
    let of_eve = tom.drain(Duration::from_millis(200));
    assert!(of_eve.iter().all(|came| came.direct_message.is_none()), "{of_eve:?}");
}

/// Half-open ones of every kind: those who have logged in are served. Prints what they notice; see docs/security.md, and
/// `floods.rs` for guests that are not so quiet.
#[test]
fn others_are_served_meanwhile() {
    let server = Server::with([NO_HURRY, &patient()].concat());
    let mut jerry = Client::login(&server, Via::WebSocket, "jerry");
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let seconds = if guests() > 5_000 { 10 } else { 2 };
    let mut talk = |seconds: u64| {
        let (mut waits, end) = (Vec::new(), Instant::now() + Duration::from_secs(seconds));
        while Instant::now() < end {
            let begun = Instant::now();
            let direct = DirectCommand { cid: some(&cid), msg: body("hi"), ..DirectCommand::default() };
            tom.try_send(DirectCommand { transient: Some(true), ..direct }).unwrap();
            jerry.message();
            waits.push(begun.elapsed());
            thread::sleep(Duration::from_millis(2));
        }
        waits.sort_unstable();
        (waits[waits.len() / 2], waits[waits.len() * 99 / 100])
    };
    let before = talk(seconds);
    let kinds = all_guests();
    let each = guests() / kinds.len();
    let mut crowds = Vec::new();
    for (n, guest) in kinds.iter().enumerate() {
        let mut crowd = crowd::connect(if guest.http { server.http() } else { server.tcp() }, each, 10 + n as u8);
        say(&mut crowd, &guest.says, usize::MAX);
        crowds.push(crowd);
    }
    let half_open = talk(seconds);
    println!(
        "p50 and p99 of a message there and its acknowledgement, before and beside {} half open",
        each * kinds.len()
    );
    for (what, (p50, p99)) in [("before", before), ("half open", half_open)] {
        println!("{what:10} {p50:>12.1?} {p99:>12.1?}");
        assert!(p99 < Duration::from_secs(5), "{what}");
    }
    println!("p99 times {:.1}", half_open.1.as_secs_f64() / before.1.as_secs_f64());
    let there = (each * kinds.len() + 2) as u64;
    assert_eq!(crowd::figure(&server, "connections"), there);
}
