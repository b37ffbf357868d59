use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, version};
use tidegate_net::{Class, Mail, Options};

use crate::support::*;

struct Pki {
    server: Arc<ServerConfig>,
    roots: RootCertStore,
}

fn pki() -> Pki {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let cert = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    Pki { server: Arc::new(server), roots }
}

fn client(
    pki: &Pki,
    stream: TcpStream,
    version: &'static rustls::SupportedProtocolVersion,
) -> StreamOwned<ClientConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(pki.roots.clone())
        .with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    StreamOwned::new(session, stream)
}

#[test]
fn both_ports_speak_both_versions_beside_plain() {
    let pki = pki();
    let server = serve(Options { tls: Some(pki.server.clone()), ..Options::default() });
    for (n, version) in [&version::TLS12, &version::TLS13].into_iter().enumerate() {
        let mut tcp = Framed(client(&pki, connect(server.tcp), version));
        tcp.send(b"hello");
        assert_eq!(tcp.receive(), b"hello");
        server.log_in(server.door.opened(2 * n).0);
        assert_eq!(tcp.receive(), b"welcome");
        for word in [&b"hello"[..], &[3; 50_000], b""] {
            tcp.send(word);
            assert_eq!(tcp.receive(), word);
        }
        let mut ws = websocket(client(&pki, connect(server.http), version), BINARY);
        server.log_in(server.door.opened(2 * n + 1).0);
        assert_eq!(ws.read().unwrap(), binary(*b"welcome"));
        for word in [&b"hello"[..], &[3; 50_000], b""] {
            ws.send(binary(word)).unwrap();
            assert_eq!(ws.read().unwrap(), binary(word));
        }
        ws.close(None).unwrap();
        while ws.read().is_ok() {}
    }
    server.tcp_client();
    websocket(connect(server.http), BINARY);
    let (_, meta) = server.door.opened(0);
    assert!(meta.tls);
    assert!(!server.door.opened(5).1.tls);
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let pki = pki();
    let server = serve(Options { tls: Some(pki.server.clone()), ..Options::default() });
    /// Writes one byte at a time, the first few so slowly that each is read by itself.
    struct Dripping(TcpStream, usize);
    impl Read for Dripping {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Dripping {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1 += 1;
            if self.1 < 10 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            self.0.write(&bytes[..bytes.len().min(1)])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    for version in [&version::TLS12, &version::TLS13] {
        let StreamOwned { conn, sock, .. } = client(&pki, connect(server.tcp), version);
        let mut client = Framed(StreamOwned::new(conn, Dripping(sock, 0)));
        client.send(b"slowly");
        assert_eq!(client.receive(), b"slowly");
    }
}

#[test]
fn large_replies_and_many_deliveries_arrive_whole() {
    let pki = pki();
    let server = serve(Options { tls: Some(pki.server.clone()), outbox: 8 << 20, ..Options::default() });
    let mut client = Framed(client(&pki, connect(server.tcp), &version::TLS13));
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
    let (conn, _) = server.door.opened(0);
    let page = Bytes::from((0..4_000_000u32).map(|n| n as u8).collect::<Vec<_>>());
    server.mail(Mail::Reply { conn, frame: page.clone() });
    for n in 0..1_000 {
        server.deliver(&[(conn, "me")], format!("message {n}"), Class::Normal, None);
    }
    assert!(client.receive() == page);
    for n in 0..1_000 {
        assert_eq!(client.receive(), with_peer(format!("message {n}").as_bytes(), "me"));
    }
    client.0.conn.send_close_notify();
    client.0.flush().unwrap();
    assert_eq!(client.try_receive(), None);
    assert!(server.door.closed(conn).clean);
}

#[test]
fn without_tls_it_is_refused_and_without_plain_that_is() {
    let pki = pki();
    let plain_only = serve(Options::default());
    let mut refused = client(&pki, connect(plain_only.tcp), &version::TLS13);
    assert!(refused.write_all(b"x").and_then(|_| refused.flush()).and_then(|_| refused.read(&mut [0])).is_err());

    let tls_only = serve(Options { tls: Some(pki.server.clone()), plain: false, ..Options::default() });
    let mut tcp = Framed(connect(tls_only.tcp));
    tcp.send(b"hello");
    assert_eq!(tcp.try_receive(), None);
    let mut http = connect(tls_only.http);
    http.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");
    let mut good = Framed(client(&pki, connect(tls_only.tcp), &version::TLS13));
    good.send(b"hello");
    assert_eq!(good.receive(), b"hello");
}

#[test]
fn broken_records_get_an_alert() {
    let pki = pki();
    let server = serve(Options { tls: Some(pki.server.clone()), ..Options::default() });
    let mut client = connect(server.tcp);
    client.write_all(&[0x16, 3, 1, 0, 6, 1, 0, 0, 2, 9, 9]).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
}
