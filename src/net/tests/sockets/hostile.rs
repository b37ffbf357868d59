use std::io::{Read, Write};
use std::net::Shutdown;

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
