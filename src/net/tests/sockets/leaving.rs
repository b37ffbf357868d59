use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_domain::ids::ClientId;
use tidegate_net::{Closed, GoAway, Mail, Options};
use tungstenite::Message;

use crate::support::*;

fn goaway() -> GoAway {
    Arc::new(|peer: Option<&ClientId>| Bytes::from(format!("goaway {}", peer.map_or("nobody", |peer| peer))))
}

#[test]
fn a_drain_finishes_what_was_admitted_and_says_goaway() {
    let server = serve(Options { reactors: 2, ..Options::default() });
    let (mut tcp, conn) = server.tcp_client();
    server.mail(Mail::LoggedIn { conn, peer: name(7) });
    let mut ws = websocket(connect(server.http), BINARY);
    let (ws_conn, _) = server.door.opened(1);
    server.mail(Mail::LoggedIn { conn: ws_conn, peer: name(8) });
    server.mail(Mail::LoggedOut { conn: ws_conn, still: None });
    server.door.silent.store(true, SeqCst);
    tcp.send(b"admitted");
    eventually("it is admitted", || server.door.frames(conn).len() == 2);

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let draining = scope.spawn(|| server.net.drain(Duration::from_secs(10), || done.load(SeqCst), goaway()));
        // While draining commands are not read, but what was admitted is answered.
        let (net, addr) = (&server.net, server.tcp);
        eventually("nothing is accepted", || std::net::TcpStream::connect(addr).is_err());
        assert!(net.stats().connections == 2);
        tcp.send(b"too late");
        server.mail(Mail::Reply { conn, frame: "answer".into() });
        assert_eq!(tcp.receive(), b"answer");
        done.store(true, SeqCst);
        assert_eq!(tcp.receive(), b"goaway client-7");
        assert_eq!(ws.read().unwrap(), binary("goaway nobody"));
        drop(tcp);
        ws.close(None).unwrap();
        while ws.read().is_ok() {}
        assert!(draining.join().unwrap(), "it ends when all have left");
    });
    assert_eq!(server.door.frames(conn).len(), 2, "no command is taken during a drain");
    assert!(server.door.closed(conn).clean && server.door.closed(ws_conn).clean);
    server.net.stop();
}

#[test]
fn a_drain_ends_at_its_timeout_with_those_who_stay() {
    let server = serve(Options::default());
    let mut ws = websocket(connect(server.http), BINARY);
    let (conn, _) = server.door.opened(0);
    let start = Instant::now();
    assert!(!server.net.drain(Duration::from_millis(200), || true, goaway()));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(ws.read().unwrap(), binary("goaway nobody"));
    let Message::Close(Some(close)) = ws.read().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(close.code), 1001);
    assert_eq!(server.door.closed(conn), Closed { code: 1001, clean: false });
}

/// One that was closed and does not answer, nor end: it may have vanished.
#[test]
fn a_drain_does_not_wait_long_for_those_who_were_closed_already() {
    let server = serve(Options::default());
    let (_vanished, conn) = server.tcp_client();
    server.mail(Mail::Close { conn, code: 4111, reason: "SESSION_CONFLICT" });
    server.door.closed(conn);
    let start = Instant::now();
    assert!(server.net.drain(Duration::from_secs(30), || true, goaway()), "all have left");
    assert!(start.elapsed() < Duration::from_millis(1800), "{:?}", start.elapsed());
}

#[test]
fn stopping_tells_the_door_of_everybody_and_frees_the_port() {
    let server = serve(Options::default());
    let (_client, conn) = server.tcp_client();
    let addr = server.tcp;
    server.net.stop();
    assert_eq!(server.door.closed(conn).code, 1001);
    std::net::TcpListener::bind(addr).unwrap();
}

#[test]
fn a_port_that_is_taken_is_said_in_words() {
    let server = serve(Options::default());
    let options = Options { tcp: Some(server.tcp), ..Options::default() };
    let Err(error) = tidegate_net::Listeners::bind(&options) else { panic!("bound twice") };
    let words = error.to_string();
    assert!(words.contains(&server.tcp.to_string()) && words.contains("another program"), "{words}");
}
