use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering::SeqCst;

use tidegate_net::Options;

use crate::support::*;

/// A small generator, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn five_thousand_connections_of_garbage_harm_nobody() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let server = serve(Options { tls: Some(tls.into()), trusted_proxies, max_frame: 2_000, ..Options::default() });
    let handshake: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n";
    let beginnings: [&[u8]; 8] = [
        b"",
        &[0x16, 3, 1],
        &[0x16, 3, 3, 0, 40, 1, 0, 0, 36, 3, 3],
        b"PROXY ",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11",
        b"GET / HTTP/1.1\r\n",
        handshake,
        &[0x82, 0x85],
    ];
    let mut random = Random(0x5eed);
    let (mut good, _) = server.tcp_client();
    for n in 0..5_000 {
        let addr = if random.below(3) == 0 { server.tcp } else { server.http };
        let mut client = connect(addr);
        let garbage: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
        let mut sent = beginnings[random.below(beginnings.len())].to_vec();
        sent.extend_from_slice(&garbage);
        // Whether it takes all of it is the server's choice.
        let _ = client.write_all(&sent);
        if random.below(4) == 0 {
            let _ = client.shutdown(Shutdown::Write);
            let _ = client.set_read_timeout(Some(std::time::Duration::from_millis(5)));
            let _ = client.read(&mut [0; 100]);
        }
        if n % 500 == 0 {
            good.send(b"still here");
            assert_eq!(good.receive(), b"still here");
        }
    }
    eventually("all are forgotten", || server.net.stats().connections == 1);
    good.send(b"still here");
    assert_eq!(good.receive(), b"still here");
}

#[test]
fn a_panic_at_the_door_costs_one_connection() {
    let server = serve(Options::default());
    let (mut other, _) = server.tcp_client();
    let (mut unlucky, conn) = server.tcp_client();
    unlucky.send(b"panic");
    assert_eq!(unlucky.try_receive(), None);
    assert_eq!(server.door.closed(conn).code, 1006);
    other.send(b"still here");
    assert_eq!(other.receive(), b"still here");
    server.tcp_client();
}

/// The longest frame before a log-in, and one byte more.
const GUEST_FRAME: usize = 4 << 10;

#[test]
fn a_guest_may_say_little_at_a_time_until_it_has_logged_in() {
    let server = serve(Options::default());
    let mut tcp = Framed(connect(server.tcp));
    tcp.send(&[7; GUEST_FRAME]);
    assert_eq!(tcp.receive(), [7; GUEST_FRAME]);
    server.log_in(server.door.opened(0).0);
    assert_eq!(tcp.receive(), b"welcome");
    tcp.send(&[7; 64 << 10]);
    assert_eq!(tcp.receive(), [7; 64 << 10]);

    let mut guest = Framed(connect(server.tcp));
    guest.send(&[7; GUEST_FRAME + 1]);
    assert_eq!(guest.try_receive(), None);
    assert_eq!(server.door.closed(server.door.opened(1).0).code, 4109);

    for (n, subprotocol) in [BINARY, BASE64].into_iter().enumerate() {
        let mut guest = websocket(connect(server.http), subprotocol);
        let (conn, _) = server.door.opened(2 + n);
        _ = guest.send(binary([7; GUEST_FRAME + 1]));
        assert_eq!(server.door.closed(conn).code, 4109);
    }
    let mut known = websocket(connect(server.http), BASE64);
    server.log_in(server.door.opened(4).0);
    known.read().unwrap();
    let text = "AAAA".repeat((64 << 10) / 3);
    known.send(tungstenite::Message::text(text.clone())).unwrap();
    assert_eq!(known.read().unwrap().into_text().unwrap().as_str(), text);
}

/// A guest that asks and asks and reads nothing: a few answers wait for it, and it is read no further.
#[test]
fn a_guest_that_does_not_read_is_soon_not_read() {
    let server = serve(Options::default());
    let (client, conn) = server.tcp_client();
    let mut stream = client.0.try_clone().unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    // Once the sockets between are full, nobody takes more.
    let frame = framed(&[3; GUEST_FRAME]);
    let mut sent = 0;
    while stream.write_all(&frame).is_ok() {
        sent += 1;
        assert!(sent < 100_000, "all was read");
    }
    assert!(server.door.frames(conn).len() < sent);
    assert_eq!(server.net.stats().slow_readers, 0);
}

/// Guests that ask without pause, and a pipeline that never gets through: everybody is heard all the same, who is logged
/// in before the others.
#[test]
fn nobody_is_forgotten_while_much_waits() {
    let server = serve(Options::default());
    let (mut member, conn) = server.tcp_client();
    server.log_in(conn);
    assert_eq!(member.receive(), b"welcome");
    server.door.is_behind.store(true, SeqCst);
    let mut guests: Vec<_> = (0..50).map(|_| Framed(connect(server.tcp))).collect();
    let asked = framed(b"and").repeat(100);
    for guest in &mut guests {
        guest.0.write_all(&asked).unwrap();
    }
    for _ in 0..20 {
        member.send(b"me first");
        assert_eq!(member.receive(), b"me first");
    }
    // More than its share, whose end is heard too.
    let many = framed(&[7; 1_000]).repeat(200);
    let mut writer = member.0.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&many).unwrap());
    for _ in 0..200 {
        assert_eq!(member.receive(), [7; 1_000]);
    }
    writing.join().unwrap();
    for guest in &mut guests {
        for _ in 0..100 {
            assert_eq!(guest.receive(), b"and");
        }
    }
    let mut late = websocket(connect(server.http), BINARY);
    late.send(binary("me too")).unwrap();
    assert_eq!(late.read().unwrap(), binary("me too"));
}
