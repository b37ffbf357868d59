//! The first bytes of a connection: PROXY headers, TLS or plain, request heads and WebSocket handshakes. The first byte
//! says whether the peer is a trusted proxy.
#![no_main]

#[allow(dead_code)]
#[path = "../../../src/net/src/opening.rs"]
mod opening;
#[allow(dead_code)]
#[path = "../../../src/net/src/options.rs"]
mod options;

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use opening::{Preface, Request};
use options::Options;

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let proxied = first & 1 == 1;
    let mut rest = bytes;
    match opening::preface(bytes, proxied) {
        Preface::Proxied { used, .. } => {
            assert!(proxied && used <= bytes.len());
            // Byte for byte, the header is found at its last one and not before.
            assert_eq!(opening::preface(&bytes[..used - 1], true), Preface::More);
            rest = &bytes[used..];
        }
        Preface::Tls | Preface::Plain => {}
        Preface::More | Preface::Bad => return,
    }
    let mut options = Options::default();
    if proxied {
        options.trusted_proxies.extend("127.0.0.0/8".parse::<options::Cidr>());
    }
    let request = |bytes| opening::request(bytes, IpAddr::V4(Ipv4Addr::LOCALHOST), &options);
    if let Request::WebSocket { accepted, used, .. } = request(rest) {
        assert!(used <= rest.len() && used <= 8 << 10);
        // One answer, one head: nothing that the client sent ends it early.
        let answer = String::from_utf8(accepted.response).expect("the answer is text");
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.find("\r\n\r\n") == Some(answer.len() - 4));
        assert!(matches!(request(&rest[..used - 1]), Request::More));
    }
});
