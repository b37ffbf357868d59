use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_net::{Class, Mail, Options, SLOW_READER};
use tungstenite::Message;

use crate::support::*;

#[test]
fn a_slow_reader_is_closed_and_others_are_served() {
    let server = serve(Options { outbox: 64 << 10, ..Options::default() });
    let (slow, slow_conn) = server.tcp_client();
    let (mut quick, quick_conn) = server.tcp_client();
    let frame = Bytes::from(vec![1; 16 << 10]);
    // More than the kernel's buffers on both sides take.
    for _ in 0..2_000 {
        server.deliver(&[(slow_conn, "slow"), (quick_conn, "quick")], frame.clone(), Class::Normal, None);
        assert_eq!(quick.receive().len(), frame.len() + 7);
    }
    assert_eq!(server.door.closed(slow_conn).code, SLOW_READER.0);
    assert_eq!(server.net.stats().slow_readers, 1);
    quick.send(b"still here");
    assert_eq!(quick.receive(), b"still here");
    drop(slow);
    eventually("it is forgotten", || server.net.stats().connections == 1);
    assert_eq!(server.net.stats().blocked, 0);
}

/// What waits for a client that does not read is bounded in the kernel, too.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_keeps_little_for_a_slow_reader() {
    let server = serve(Options { outbox: 64 << 10, ..Options::default() });
    let (client, conn) = server.tcp_client();
    // What the client's own side takes.
    socket2::SockRef::from(&client.0).set_recv_buffer_size(64 << 10).unwrap();
    let frame = Bytes::from(vec![1; 16 << 10]);
    let mut sent = 0;
    while server.net.stats().slow_readers == 0 {
        sent += frame.len();
        assert!(sent < 2 << 20, "so much is kept for it");
        server.deliver(&[(conn, "slow")], frame.clone(), Class::Normal, None);
        eventually("it is on its way", || server.net.stats().mailbox_depth == 0);
    }
}

#[test]
fn droppable_traffic_goes_first_and_closes_nobody() {
    let server = serve(Options { outbox: 64 << 10, ..Options::default() });
    let (mut client, conn) = server.tcp_client();
    let frame = Bytes::from(vec![1; 16 << 10]);
    for _ in 0..1_000 {
        server.deliver(&[(conn, "r")], frame.clone(), Class::RoomNormal, None);
    }
    server.deliver(&[(conn, "r")], "the last", Class::Normal, None);
    eventually("mail is done", || server.net.stats().mailbox_depth == 0);
    let stats = server.net.stats();
    assert!(stats.dropped > 0 && stats.slow_readers == 0 && stats.blocked == 1, "{stats:?}");
    let mut heard = 0;
    while client.receive() != with_peer(b"the last", "r") {
        heard += 1;
    }
    assert_eq!(heard + stats.dropped, 1_000);
    eventually("its socket takes more again", || server.net.stats().blocked == 0);
}

#[test]
fn a_burst_to_the_many_clients_of_one_connection_is_no_slowness() {
    let server = serve(Options { outbox: 16 << 10, ..Options::default() });
    let (mut client, conn) = server.tcp_client();
    for group in 0..2 {
        for n in 0..1_000 {
            server.mail(Mail::Join { group, conn, peer: name(n) });
        }
    }
    let names: Vec<_> = (0..1_000).map(name).collect();
    let to: Vec<_> = names.iter().map(|name| (conn, &**name)).collect();
    server.deliver(&to, "message", Class::Normal, None);
    let (frame, class) = ("room".into(), Class::RoomLow);
    server.mail(Mail::Broadcast { group: 0, frame, class, except: None, later_for: None, since_ns: 0, going: None });
    for n in 0..1_000 {
        assert_eq!(client.receive(), with_peer(b"message", &name(n)));
    }
    for n in 0..1_000 {
        assert_eq!(client.receive(), with_peer(b"room", &name(n)));
    }
    let stats = server.net.stats();
    assert_eq!((stats.dropped, stats.slow_readers), (0, 0));
    // Those who leave all groups one after the other are out of both.
    for n in 0..999 {
        server.mail(Mail::LeaveAll { conn, peer: name(n), but: None });
    }
    for group in 0..2 {
        let (frame, class) = ("again".into(), Class::RoomLow);
        server.mail(Mail::Broadcast { group, frame, class, except: None, later_for: None, since_ns: 0, going: None });
        assert_eq!(client.receive(), with_peer(b"again", &name(999)));
    }
    // But one.
    server.mail(Mail::Join { group: 0, conn, peer: name(0) });
    server.mail(Mail::Join { group: 1, conn, peer: name(0) });
    server.mail(Mail::LeaveAll { conn, peer: name(0), but: Some(1) });
    for group in 0..2 {
        let (frame, class) = ("last".into(), Class::RoomLow);
        server.mail(Mail::Broadcast {
            group,
            frame,
            class,
            except: Some(name(999)),
            later_for: None,
            since_ns: 0,
            going: None,
        });
    }
    assert_eq!(client.receive(), with_peer(b"last", &name(0)));
    server.deliver(&[(conn, "end")], "end", Class::Normal, None);
    assert_eq!(client.receive(), with_peer(b"end", "end"));
}

#[test]
fn replies_are_not_bounded_by_the_outbox() {
    let server = serve(Options { outbox: 1 << 10, ..Options::default() });
    let (mut client, conn) = server.tcp_client();
    let page = Bytes::from(vec![5; 8 << 20]);
    server.mail(Mail::Reply { conn, frame: page.clone() });
    server.mail(Mail::Reply { conn, frame: "after".into() });
    assert_eq!(client.receive(), page);
    assert_eq!(client.receive(), b"after");
}

#[test]
fn out_of_credits_a_connection_is_not_read_until_some_come_back() {
    let server = serve(Options { credits: 4, ..Options::default() });
    let (mut client, conn) = server.tcp_client();
    server.door.holds.store(true, SeqCst);
    let words: Vec<String> = (0..40).map(|n| format!("word {n}")).collect();
    let all: Vec<u8> = words.iter().flat_map(|word| framed(word.as_bytes())).collect();
    client.0.write_all(&all).unwrap();
    let taken = || server.door.frames(conn).len() - 1;
    eventually("the credits are used up", || taken() == 4);
    // Another connection is served meanwhile, which also gives the reactor time to read too much.
    server.door.holds.store(false, SeqCst);
    let (mut other, _) = server.tcp_client();
    other.send(b"me too");
    assert_eq!(other.receive(), b"me too");
    assert_eq!(taken(), 4);

    server.door.holds.store(true, SeqCst);
    server.door.held.lock().unwrap().drain(..2).for_each(drop);
    eventually("two more are taken", || taken() == 6);
    server.door.holds.store(false, SeqCst);
    server.door.held.lock().unwrap().clear();
    for word in &words[6..] {
        assert_eq!(client.receive(), word.as_bytes());
    }
    let frames: Vec<_> = server.door.frames(conn).split_off(1);
    assert_eq!(frames, words);
}

#[test]
fn credits_are_bounded_in_bytes_and_one_command_always_fits() {
    let server = serve(Options { credit_bytes: 1000, ..Options::default() });
    let (mut client, conn) = server.tcp_client();
    server.log_in(conn);
    assert_eq!(client.receive(), b"welcome");
    server.door.holds.store(true, SeqCst);
    for _ in 0..3 {
        client.send(&[1; 5_000]);
    }
    let taken = || server.door.frames(conn).len() - 1;
    for n in 1..=3 {
        eventually("one is taken", || taken() == n);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(taken(), n);
        server.door.held.lock().unwrap().clear();
    }
}

fn member(server: &Server) -> Framed<TcpStream> {
    let (mut client, conn) = server.tcp_client();
    server.log_in(conn);
    assert_eq!(client.receive(), b"welcome");
    client
}

/// So many members that have said something for which a turn is needed, and what follows it.
fn take_turns(server: &Server, clients: usize) -> Vec<Framed<TcpStream>> {
    let mut all: Vec<_> = (0..clients).map(|_| member(server)).collect();
    server.door.holds.store(true, SeqCst);
    for (n, client) in all.iter_mut().enumerate() {
        client.send(format!("turn {n}").as_bytes());
        client.send(format!("after {n}").as_bytes());
    }
    all
}

fn said(server: &Server, what: &str) -> usize {
    let said = server.door.said.lock().unwrap();
    said.iter().filter(|said| matches!(said, Said::Frame(_, bytes) if bytes.starts_with(what.as_bytes()))).count()
}

#[test]
fn commands_that_take_turns_come_in_a_few_at_a_time_and_hold_up_nobody_else() {
    let server = serve(Options { turns: 2, turn_patience: PATIENCE * 10, ..Options::default() });
    let mut other = member(&server);
    let mut clients = take_turns(&server, 5);
    eventually("two are in, and what follows them", || (said(&server, "turn"), said(&server, "after")) == (2, 2));
    server.door.holds.store(false, SeqCst);
    other.send(b"me too");
    assert_eq!(other.receive(), b"me too");
    assert_eq!((said(&server, "turn"), said(&server, "after")), (2, 2));
    // One who waits goes away.
    drop(clients.pop());
    server.door.held.lock().unwrap().clear();
    for (n, client) in clients.iter_mut().enumerate().skip(2) {
        assert_eq!(client.receive(), format!("turn {n}").as_bytes());
        assert_eq!(client.receive(), format!("after {n}").as_bytes());
    }
}

/// Whatever a guest says takes a turn.
#[test]
fn commands_of_guests_come_in_a_few_at_a_time_and_hold_up_no_member() {
    let server = serve(Options { turns: 2, turn_patience: PATIENCE * 10, ..Options::default() });
    let mut member = member(&server);
    let mut guests: Vec<_> = (0..5).map(|_| server.tcp_client().0).collect();
    server.door.holds.store(true, SeqCst);
    for guest in &mut guests {
        guest.send(b"guest");
    }
    eventually("two are in", || said(&server, "guest") == 2);
    server.door.holds.store(false, SeqCst);
    member.send(b"me first");
    assert_eq!(member.receive(), b"me first");
    assert_eq!(said(&server, "guest"), 2);
    server.door.held.lock().unwrap().clear();
    for guest in guests.iter_mut().skip(2) {
        assert_eq!(guest.receive(), b"guest");
    }
}

/// Who says its last before it has read anything gets all answers that there are by then, and is let go when it has them,
/// logged in or not.
#[test]
fn who_ends_its_side_first_gets_its_answers() {
    const COMMANDS: usize = 400;
    let server = serve(Options::default());
    for is_member in [false, true] {
        let mut client = if is_member { member(&server) } else { server.tcp_client().0 };
        socket2::SockRef::from(&client.0).set_recv_buffer_size(32 << 10).unwrap();
        let writer = client.0.try_clone().unwrap();
        let writes = std::thread::spawn(move || {
            let mut writer = Framed(writer);
            for n in 0..COMMANDS {
                writer.send(&[n as u8; 1 << 10]);
            }
            writer.0.shutdown(std::net::Shutdown::Write).unwrap();
        });
        std::thread::sleep(Duration::from_millis(200));
        let mut answers = 0;
        while let Some(answer) = client.try_receive() {
            assert_eq!(answer, [answers as u8; 1 << 10], "answer {answers}, member: {is_member}");
            answers += 1;
        }
        writes.join().unwrap();
        assert!(answers >= COMMANDS - Options::default().credits as usize, "{answers}, member: {is_member}");
    }
    eventually("both are let go", || server.net.stats().connections == 0);
}

/// Also where a turn of the reactor was not long enough for all of them, there are places enough, and nothing else happens
/// that would wake it.
#[test]
fn when_all_go_at_once_all_are_let_go() {
    const CLIENTS: usize = 400;
    let server = serve(Options { turns: 2 * CLIENTS, reactors: 1, ..Options::default() });
    for _ in 0..5 {
        let clients: Vec<_> = (0..CLIENTS).map(|_| server.tcp_client().0).collect();
        eventually("they are there", || server.net.stats().connections == CLIENTS as u64);
        drop(clients);
        let begun = Instant::now();
        eventually("all have gone", || server.net.stats().connections == 0);
        // A reactor that sleeps on them is woken by its clock, a second later.
        assert!(begun.elapsed() < Duration::from_millis(900), "they were let go only after {:?}", begun.elapsed());
    }
}

#[test]
fn when_all_go_at_once_the_door_hears_of_a_few_at_a_time() {
    let server = serve(Options { turns: 2, ..Options::default() });
    let mut other = member(&server);
    let clients: Vec<_> = (0..5).map(|_| server.tcp_client().0).collect();
    server.door.holds.store(true, SeqCst);
    drop(clients);
    let gone = || {
        let said = server.door.said.lock().unwrap();
        said.iter().filter(|said| matches!(said, Said::Closed(..))).count()
    };
    eventually("the door has heard of two", || gone() == 2);
    server.door.holds.store(false, SeqCst);
    other.send(b"me too");
    assert_eq!(other.receive(), b"me too");
    assert_eq!(gone(), 2);
    server.door.partings.lock().unwrap().clear();
    eventually("it has heard of all", || gone() == 5);
}

#[test]
fn nobody_waits_longer_for_a_turn_than_clients_do() {
    let server = serve(Options { turns: 1, turn_patience: Duration::from_millis(100), ..Options::default() });
    let _clients = take_turns(&server, 3);
    eventually("all are in, though nobody is done", || (said(&server, "turn"), said(&server, "after")) == (3, 3));
}

#[test]
fn a_client_that_reads_no_replies_is_not_read_either() {
    let server = serve(Options { outbox: 16 << 10, ..Options::default() });
    let (mut client, conn) = server.tcp_client();
    server.log_in(conn);
    assert_eq!(client.receive(), b"welcome");
    let writer = std::thread::spawn({
        let mut stream = client.0.try_clone().unwrap();
        move || (0..3_000).for_each(|_| stream.write_all(&framed(&[3; 16 << 10])).unwrap())
    });
    let taken = || server.door.frames(conn).len();
    let mut last = 0;
    eventually("it stands still", || {
        std::thread::sleep(Duration::from_millis(150));
        std::mem::replace(&mut last, taken()) == taken()
    });
    assert!(last < 3_000, "all were read");
    for _ in 0..3_000 {
        assert_eq!(client.receive().len(), 16 << 10);
    }
    writer.join().unwrap();
}

#[test]
fn mailboxes_are_bounded_and_tell_of_room() {
    let server = serve(Options { mailbox: 8, reactors: 2, ..Options::default() });
    let told = Arc::new(AtomicUsize::new(0));
    server.mailbox.on_room(Arc::new({
        let told = told.clone();
        move || {
            told.fetch_add(1, SeqCst);
        }
    }));
    assert!(!server.mailbox.reserve(9));
    assert!(server.mailbox.reserve(5));
    assert!(!server.mailbox.reserve(4));
    assert!(server.mailbox.reserve(3));
    assert!(!server.mailbox.reserve(1));
    server.mailbox.give_back(7);
    assert!(told.load(SeqCst) >= 1);
    let (_client, conn) = server.tcp_client();
    server.mailbox.push(&mut vec![Mail::Reply { conn, frame: "x".into() }]);
    eventually("all room is back", || server.net.stats().mailbox_depth == 0);
}

#[test]
fn connections_past_the_bound_are_turned_away() {
    let server = serve(Options { max_connections: 2, ..Options::default() });
    let (first, _) = server.tcp_client();
    let (_second, _) = server.tcp_client();
    assert_eq!(Framed(connect(server.tcp)).try_receive(), None);
    assert_eq!(server.net.stats().turned_away, 1);
    drop(first);
    eventually("there is room again", || server.net.stats().connections == 1);
    server.tcp_client();
}

#[test]
fn silence_and_a_missing_login_have_their_codes() {
    let (idle, login) = (Duration::from_millis(300), Duration::from_millis(150));
    let server = serve(Options { idle_timeout: idle, login_timeout: login, ..Options::default() });
    let code = |mut client: tungstenite::WebSocket<std::net::TcpStream>| loop {
        match client.read().unwrap() {
            Message::Close(Some(close)) => return (u16::from(close.code), close.reason.to_string()),
            _ => continue,
        }
    };
    let without_session = websocket(connect(server.http), BINARY);
    assert_eq!(code(without_session), (4108, "LOGIN_TIMEOUT".into()));

    let with_session = websocket(connect(server.http), BINARY);
    let (conn, _) = server.door.opened(1);
    server.mail(Mail::LoggedIn { conn, peer: name(1) });
    assert_eq!(code(with_session), (4107, "READ_TIMEOUT".into()));
    assert_eq!(server.door.closed(conn).code, 4107);

    let mut with_heartbeats = websocket(connect(server.http), BINARY);
    let (conn, _) = server.door.opened(2);
    server.mail(Mail::Alive { conn });
    for _ in 0..6 {
        with_heartbeats.send(Message::Ping("".into())).unwrap();
        assert_eq!(with_heartbeats.read().unwrap(), Message::Pong("".into()));
        std::thread::sleep(idle / 3);
    }
    with_heartbeats.send(binary("still here")).unwrap();
    assert_eq!(with_heartbeats.read().unwrap(), binary("still here"));
}

#[test]
fn a_handshake_that_never_ends_is_dropped() {
    let server = serve(Options { handshake_timeout: Duration::from_millis(100), ..Options::default() });
    let mut slow = connect(server.http);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    assert_eq!(Framed(slow).try_receive(), None);
    eventually("it is forgotten", || server.net.stats().connections == 0);
}
