use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_domain::ids::{ClientId, ConnId};
use tidegate_net::{Class, Mail, Options, Recipient};

use crate::support::*;

#[test]
fn a_delivery_reaches_each_recipient_with_its_own_name() {
    let server = serve(Options { reactors: 3, ..Options::default() });
    let mut clients: Vec<_> = (0..30).map(|_| server.tcp_client()).collect();
    let to = clients.iter().enumerate().map(|(n, (_, conn))| Recipient { conn: *conn, peer: name(n) }).collect();
    let frame = Bytes::from(vec![9; 5_000]);
    server.mail(Mail::Deliver {
        to,
        frame: frame.clone(),
        class: Class::Normal,
        later_for: None,
        position: None,
        since_ns: 1,
        going: None,
    });
    for (n, (client, _)) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive(), with_peer(&frame, &name(n)));
    }
    eventually("all is counted", || {
        let stats = server.net.stats();
        stats.mailbox_depth == 0 && stats.delivery_ns.iter().map(|(_, n)| n).sum::<u64>() == 30
    });
}

#[test]
fn what_goes_with_a_notice_is_let_go_when_the_last_reactor_is_done_with_it() {
    const GROUP: u64 = 5;
    let server = serve(Options { reactors: 3, mailbox: 64, ..Options::default() });
    let mut clients: Vec<_> = (0..30).map(|_| server.tcp_client()).collect();
    clients.iter().for_each(|(_, conn)| server.mail(Mail::Join { group: GROUP, conn: *conn, peer: name(0) }));
    // Some of those whom it is for are not there any more.
    let gone = clients.split_off(20);
    let everybody: Vec<_> = clients.iter().chain(&gone).map(|(_, conn)| (*conn, name(0))).collect();
    drop(gone);
    let going = Arc::new(());
    let deliver = |to: &[(ConnId, ClientId)], n: usize| {
        let to = to.iter().map(|(conn, peer)| Recipient { conn: *conn, peer: peer.clone() }).collect();
        let (frame, class, going) = (format!("message {n}").into(), Class::Normal, Some(going.clone() as _));
        server.mail(Mail::Deliver { to, frame, class, later_for: None, position: None, since_ns: 0, going });
    };
    let broadcast = |group| {
        let (frame, class, going) = ("to all".into(), Class::RoomNormal, Some(going.clone() as _));
        server.mail(Mail::Broadcast { group, frame, class, except: None, later_for: None, since_ns: 0, going });
    };
    deliver(&[], 0);
    (1..=10).for_each(|n| deliver(&everybody, n));
    broadcast(GROUP);
    broadcast(GROUP + 1);
    for (client, _) in &mut clients {
        (1..=10).for_each(|n| assert_eq!(client.receive(), with_peer(format!("message {n}").as_bytes(), &name(0))));
        assert_eq!(client.receive(), with_peer(b"to all", &name(0)));
    }
    eventually("all is let go", || Arc::strong_count(&going) == 1);
    eventually("no place is taken", || server.net.stats().mailbox_depth == 0);
}

#[test]
fn what_a_command_caused_leaves_after_its_reply_and_keeps_its_place() {
    let server = serve(Options::default());
    let (mut own, conn) = server.tcp_client();
    let (mut other, other_conn) = server.tcp_client();
    server.deliver(&[(conn, "a"), (other_conn, "b")], "caused", Class::Normal, Some(conn));
    server.deliver(&[(conn, "a")], "next", Class::Normal, None);
    let sent = Instant::now();
    server.mail(Mail::Reply { conn, frame: "reply".into() });
    assert_eq!(other.receive(), with_peer(b"caused", "b"));
    assert_eq!(own.receive(), b"reply");
    assert_eq!(own.receive(), with_peer(b"caused", "a"));
    assert!(sent.elapsed() >= tidegate_net::AFTER_REPLY / 2, "it came with the reply");
    assert_eq!(own.receive(), with_peer(b"next", "a"));
}

#[test]
fn a_new_session_hears_what_it_missed_before_what_comes() {
    let server = serve(Options::default());
    let (mut client, conn) = server.tcp_client();
    let peer = name(1);
    server.mail(Mail::LoggedIn { conn, peer: peer.clone() });
    let deliver = |place: i64| {
        let (to, frame) = (vec![Recipient { conn, peer: name(1) }], format!("message {place}").into());
        let position = Some((7, place));
        server.mail(Mail::Deliver {
            to,
            frame,
            class: Class::Normal,
            later_for: None,
            position,
            since_ns: 0,
            going: None,
        });
    };
    (1..=4).for_each(deliver);
    let delay = Duration::from_millis(60);
    let start = Instant::now();
    let first = vec!["missed".into(), "more".into()];
    server.mail(Mail::Lift { conn, peer: peer.clone(), first, counted: [(7, 2)].into(), delay });
    // Late, and counted.
    deliver(2);
    deliver(5);
    for expected in ["missed", "more", "message 3", "message 4", "message 5"] {
        assert_eq!(client.receive(), with_peer(expected.as_bytes(), &peer), "{expected}");
    }
    assert!(start.elapsed() >= delay - Duration::from_millis(2), "{:?}", start.elapsed());
}

#[test]
fn broadcasts_reach_every_member_in_order() {
    let server = serve(Options { reactors: 2, mailbox: 64, ..Options::default() });
    let mut clients: Vec<_> = (0..100).map(|_| server.tcp_client()).collect();
    // Two sessions on each connection.
    for (n, (_, conn)) in clients.iter().enumerate() {
        server.mail(Mail::Join { group: 5, conn: *conn, peer: name(n) });
        server.mail(Mail::Join { group: 5, conn: *conn, peer: name(n + 1000) });
    }
    let broadcast = |text: String, except, later_for| {
        let frame = text.into();
        server.mail(Mail::Broadcast {
            group: 5,
            frame,
            class: Class::RoomNormal,
            except,
            later_for,
            since_ns: 0,
            going: None,
        });
    };
    for n in 0..200 {
        broadcast(format!("message {n}"), None, None);
    }
    for (n, (client, _)) in clients.iter_mut().enumerate() {
        let mut heard = [Vec::new(), Vec::new()];
        for _ in 0..400 {
            let frame = client.receive();
            let of_second = frame.ends_with(name(n + 1000).as_bytes());
            heard[usize::from(of_second)].push(frame);
        }
        for (which, heard) in heard.into_iter().enumerate() {
            let peer = name(n + 1000 * which);
            let expected: Vec<_> = (0..200).map(|m| with_peer(format!("message {m}").as_bytes(), &peer)).collect();
            assert_eq!(heard, expected);
        }
    }

    server.mail(Mail::Leave { group: 5, conn: clients[0].1, peer: name(0) });
    server.mail(Mail::LeaveAll { conn: clients[1].1, peer: name(1), but: None });
    drop(clients.remove(2));
    broadcast("last".into(), Some(name(3)), None);
    assert_eq!(clients[0].0.receive(), with_peer(b"last", "client-1000"));
    assert_eq!(clients[1].0.receive(), with_peer(b"last", "client-1001"));
    assert_eq!(clients[2].0.receive(), with_peer(b"last", "client-1003"));
    broadcast("for nobody here".into(), None, None);
    eventually("all is done", || server.net.stats().mailbox_depth == 0);
}

#[test]
fn mail_for_those_who_left_goes_nowhere() {
    let server = serve(Options::default());
    let (client, conn) = server.tcp_client();
    drop(client);
    server.door.closed(conn);
    server.deliver(&[(conn, "a")], "news", Class::Normal, None);
    server.mail(Mail::Reply { conn, frame: "reply".into() });
    server.mail(Mail::Join { group: 1, conn, peer: name(1) });
    // Another one in its place hears nothing of it.
    let (mut next, next_conn) = server.tcp_client();
    server.deliver(&[(next_conn, "b")], "own news", Class::Normal, None);
    assert_eq!(next.receive(), with_peer(b"own news", "b"));
}
