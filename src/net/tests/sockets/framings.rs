use std::io::Write;

use tidegate_net::{Closed, Mail, Options, Subprotocol, Transport};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};

use crate::support::*;

#[test]
fn a_tcp_client_is_answered_and_its_end_is_clean() {
    let server = serve(Options::default());
    let mut client = Framed(connect(server.tcp));
    for word in ["one", "", "three"] {
        client.send(word.as_bytes());
        assert_eq!(client.receive(), word.as_bytes());
    }
    let (conn, meta) = server.door.opened(0);
    server.log_in(conn);
    assert_eq!(client.receive(), b"welcome");
    client.send(&[7; 60_000]);
    assert_eq!(client.receive(), [7; 60_000]);
    assert!(is_tcp(&meta) && !meta.tls && meta.ip.is_loopback());
    drop(client);
    assert_eq!(server.door.closed(conn), Closed { code: 1000, clean: true });
    eventually("it is forgotten", || server.net.stats().connections == 0);
    assert_eq!(server.net.stats().closed[&1000], 1);
}

#[test]
fn commands_may_come_byte_by_byte_or_many_at_once() {
    let server = serve(Options::default());
    let mut client = Framed(connect(server.tcp));
    for byte in framed(b"slowly") {
        client.0.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.receive(), b"slowly");
    let words: Vec<String> = (0..500).map(|n| format!("word {n}")).collect();
    let all: Vec<u8> = words.iter().flat_map(|word| framed(word.as_bytes())).collect();
    client.0.write_all(&all).unwrap();
    for word in words {
        assert_eq!(client.receive(), word.as_bytes());
    }
}

#[test]
fn a_stream_that_ends_within_a_command_is_not_clean() {
    let server = serve(Options::default());
    let mut client = Framed(connect(server.tcp));
    client.0.write_all(&[10, 1, 2, 3]).unwrap();
    let (conn, _) = server.door.opened(0);
    drop(client);
    assert_eq!(server.door.closed(conn), Closed { code: 1006, clean: false });
}

#[test]
fn too_long_a_command_closes_before_it_has_come() {
    let server = serve(Options { max_frame: 100, ..Options::default() });
    let mut client = Framed(connect(server.tcp));
    client.0.write_all(&framed(&[0; 101])[..5]).unwrap();
    assert_eq!(client.try_receive(), None);
    let (conn, _) = server.door.opened(0);
    assert_eq!(server.door.closed(conn), Closed { code: 4109, clean: false });

    let mut client = websocket(connect(server.http), BINARY);
    client.send(binary([1; 101])).unwrap();
    let Message::Close(Some(CloseFrame { code, .. })) = client.read().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(code), 4109);
}

#[test]
fn websocket_clients_talk_ping_and_leave() {
    let server = serve(Options::default());
    let mut client = websocket(connect(server.http), BINARY);
    let (conn, meta) = server.door.opened(0);
    assert_eq!(meta.transport, Transport::WebSocket(Subprotocol::Binary { offline_pushed: false }));
    assert_eq!(meta.origin.as_deref(), Some("https://app.example"));
    assert_eq!(meta.app_hint.as_deref(), Some("the-app"));
    client.send(binary("hello")).unwrap();
    assert_eq!(client.read().unwrap(), binary("hello"));
    client.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("are you there".into()));

    let frame = |data, opcode, fin| Message::Frame(Frame::message(data, OpCode::Data(opcode), fin));
    client.send(frame("in ", Data::Binary, false)).unwrap();
    client.send(Message::Ping("between".into())).unwrap();
    client.send(frame("two ", Data::Continue, false)).unwrap();
    client.send(frame("parts", Data::Continue, true)).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("between".into()));
    assert_eq!(client.read().unwrap(), binary("in two parts"));

    client.close(Some(CloseFrame { code: 1000.into(), reason: "enough".into() })).unwrap();
    while client.read().is_ok() {}
    assert_eq!(server.door.closed(conn), Closed { code: 1000, clean: true });
    eventually("it is forgotten", || server.net.stats().connections == 0);
}

#[test]
fn base64_clients_speak_text() {
    let server = serve(Options::default());
    let mut client = websocket(connect(server.http), BASE64);
    client.send(Message::text("aGVsbG8=")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("aGVsbG8="));
    let (conn, _) = server.door.opened(0);
    assert_eq!(server.door.frames(conn), ["hello"]);
    server.deliver(&[(conn, "leeyeh")], "news", tidegate_net::Class::Normal, None);
    let expected = Message::text("bmV3cyIGbGVleWVo");
    assert_eq!(client.read().unwrap(), expected);
    client.send(Message::text("not base64!")).unwrap();
    let Message::Close(Some(close)) = client.read().unwrap() else { panic!("not closed") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4114, "UNPARSEABLE_RAW_MESSAGE"));
    assert_eq!(server.door.closed(conn).code, 4114);
}

#[test]
fn a_text_frame_where_binary_was_agreed_is_unparseable() {
    let server = serve(Options::default());
    let mut client = websocket(connect(server.http), BINARY);
    client.send(Message::text("{}")).unwrap();
    let Message::Close(Some(close)) = client.read().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(close.code), 4114);
}

#[test]
fn the_doors_refusals_are_written_and_closed_with() {
    let server = serve(Options::default());
    let mut client = websocket(connect(server.http), BINARY);
    client.send(binary("no")).unwrap();
    assert_eq!(client.read().unwrap(), binary("refused"));
    client.send(binary("bye")).unwrap();
    client.send(binary("too late")).unwrap();
    assert_eq!(client.read().unwrap(), binary("refused"));
    let Message::Close(Some(close)) = client.read().unwrap() else { panic!("not closed") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4114, "UNPARSEABLE_RAW_MESSAGE"));
    while client.read().is_ok() {}
    let (conn, _) = server.door.opened(0);
    assert_eq!(server.door.frames(conn), ["no", "bye"]);
}

#[test]
fn mail_closes_a_connection_after_what_was_queued() {
    let server = serve(Options::default());
    let mut client = websocket(connect(server.http), BINARY);
    let (conn, _) = server.door.opened(0);
    server.deliver(&[(conn, "a")], "kept back", tidegate_net::Class::Normal, Some(conn));
    server.mail(Mail::Reply { conn, frame: "answer".into() });
    server.mail(Mail::Close { conn, code: 4115, reason: "KICKED_BY_APP" });
    server.mail(Mail::Reply { conn, frame: "too late".into() });
    assert_eq!(client.read().unwrap(), binary("answer"));
    assert_eq!(client.read().unwrap(), binary(with_peer(b"kept back", "a")));
    let Message::Close(Some(close)) = client.read().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(close.code), 4115);
    assert_eq!(server.door.closed(conn), Closed { code: 4115, clean: false });
}
