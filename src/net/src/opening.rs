//! A connection before it speaks: PROXY header, TLS or plain, and on the HTTP port the request head.
//!
//! Works on bytes read so far and never on sockets; what it decides, `conn` does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidegate_protocol::frame::handshake::{self, Accepted, Head, Refused};

use crate::options::Options;

/// The longest request head, and the longest PROXY header. Whoever sends a head in part makes us keep it, and shall cost
/// no more than 8 KiB altogether.
const LONGEST_HEAD: usize = 7 << 10;
const LONGEST_PROXY: usize = 536;
const HEADERS: usize = 64;

const PROXY_1: &[u8] = b"PROXY ";
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is answered to a request that cannot be served.
pub(crate) const TOO_LONG: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 29\r\n\r\nThe request head is too long.";
pub(crate) const MALFORMED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 20\r\n\r\nThis is no HTTP/1.1.";
pub(crate) const TLS_ONLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 55\r\n\r\nThis port speaks TLS only: use https:// and wss:// URLs";
pub(crate) const LEAVING: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nRetry-After: 1\r\nContent-Length: 27\r\n\r\nThis server is about to end";
pub(crate) const NO_HTTP: &[u8] = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 29\r\n\r\nOnly WebSocket is served here";

/// What the first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    More,
    /// Who the client really is; this many bytes are done with. Absent: the proxy speaks for itself.
    Proxied {
        client: Option<IpAddr>,
        used: usize,
    },
    Tls,
    Plain,
    Bad,
}

/// Reads a PROXY header (versions 1 and 2) where `proxy` may send one, else tells TLS from plain. TLS begins with a
/// handshake record of version 3; a length-prefixed command of 22 bytes begins with the same byte, but not with both.
pub(crate) fn preface(bytes: &[u8], proxy: bool) -> Preface {
    if proxy {
        if bytes.starts_with(PROXY_1) {
            return proxy_1(bytes);
        }
        if bytes.starts_with(PROXY_2) {
            return proxy_2(bytes);
        }
        if PROXY_1.starts_with(bytes) || PROXY_2.starts_with(bytes) {
            return Preface::More;
        }
    }
    match bytes {
        [] | [0x16] => Preface::More,
        [0x16, 3, ..] => Preface::Tls,
        _ => Preface::Plain,
    }
}

fn proxy_1(bytes: &[u8]) -> Preface {
    let Some(end) = bytes.iter().take(107).position(|b| *b == b'\n') else {
        return if bytes.len() < 107 { Preface::More } else { Preface::Bad };
    };
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else { return Preface::Bad };
    let mut words = line.trim_end_matches('\r').split(' ').skip(1);
    let client = match words.next() {
        Some("UNKNOWN") => None,
        Some("TCP4" | "TCP6") => match words.next().and_then(|ip| ip.parse().ok()) {
            Some(ip) => Some(ip),
            None => return Preface::Bad,
        },
        _ => return Preface::Bad,
    };
    Preface::Proxied { client, used: end + 1 }
}

fn proxy_2(bytes: &[u8]) -> Preface {
    let [version, family, high, low] = match bytes.get(12..16) {
        Some(head) => [head[0], head[1], head[2], head[3]],
        None => return Preface::More,
    };
    let used = 16 + usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 || used > LONGEST_PROXY {
        return Preface::Bad;
    }
    let Some(addresses) = bytes.get(16..used) else { return Preface::More };
    let client = match (version & 0xf, family >> 4) {
        // LOCAL: the proxy's own check of our health.
        (0, _) => None,
        (1, 1) => addresses.first_chunk::<4>().map(|ip| IpAddr::V4(Ipv4Addr::from(*ip))),
        (1, 2) => addresses.first_chunk::<16>().map(|ip| IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical()),
        (1, _) => None,
        _ => return Preface::Bad,
    };
    Preface::Proxied { client, used }
}

/// What a request head asks for.
pub(crate) enum Request {
    More,
    WebSocket {
        accepted: Accepted,
        origin: Option<String>,
        app_hint: Option<String>,
        forwarded: Option<IpAddr>,
        used: usize,
    },
    Refused(Refused),
    Http {
        forwarded: Option<IpAddr>,
    },
    TooLong,
    Malformed,
}

/// How far a request head that comes in pieces was looked at. One that comes a byte at a time is not read anew with each:
/// that would be work by the square of its length.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Its length when its end was last looked for, and when it was last read.
    seen: u16,
    read: u16,
}

impl Looked {
    /// Whether it has come to its end, or at least to twice its length, which tells nonsense soon enough.
    pub(crate) fn is_worth_reading(&mut self, head: &[u8]) -> bool {
        let new = &head[usize::from(self.seen).saturating_sub(2).min(head.len())..];
        let ends = new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
        let length = head.len().min(LONGEST_HEAD) as u16;
        self.seen = length;
        let is = ends || length >= self.read.saturating_mul(2).min(LONGEST_HEAD as u16);
        if is {
            self.read = length;
        }
        is
    }
}

/// Reads a request head; `from` is who sent it, as far as we know.
pub(crate) fn request(bytes: &[u8], from: IpAddr, options: &Options) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let used = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used <= LONGEST_HEAD => used,
        Ok(httparse::Status::Complete(_)) => return Request::TooLong,
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => return Request::More,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Request::TooLong,
        Err(_) => return Request::Malformed,
    };
    let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version) else {
        return Request::Malformed;
    };
    let headers = parsed.headers.iter().map(|header| (header.name, header.value));
    let forwarded = if options.trusts(from) { forwarded(headers.clone(), options) } else { None };
    if !handshake::is_upgrade(headers.clone()) {
        return Request::Http { forwarded };
    }
    match handshake::accept(&Head { method, target, minor_version, headers: headers.clone() }) {
        Err(refused) => Request::Refused(refused),
        Ok(accepted) => {
            let origin = headers
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("origin"))
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned());
            let query = target.split_once('?').map_or("", |(_, query)| query);
            let app_hint = query.split('&').find_map(|pair| pair.strip_prefix("appId=")).map(str::to_owned);
            Request::WebSocket { accepted, origin, app_hint, forwarded, used }
        }
    }
}

/// The last address of `X-Forwarded-For` that is not a trusted proxy's own: what stands before it, the client may have
/// made up.
fn forwarded<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, options: &Options) -> Option<IpAddr> {
    let lists: Vec<&str> = headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
        .collect();
    let mut nearest = None;
    for text in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
        let Ok(ip) = text.trim().parse::<IpAddr>() else { break };
        nearest = Some(ip.to_canonical());
        if !options.trusts(ip) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_and_plain_are_told_apart() {
        assert_eq!(preface(b"", false), Preface::More);
        assert_eq!(preface(&[0x16], false), Preface::More);
        assert_eq!(preface(&[0x16, 3, 1], false), Preface::Tls);
        assert_eq!(preface(&[0x16, 8, 14], false), Preface::Plain);
        assert_eq!(preface(b"GET / HTTP/1.1\r\n", false), Preface::Plain);
        assert_eq!(preface(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", false), Preface::Plain);
    }

    #[test]
    fn proxy_headers_name_the_client() {
        let line = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nrest";
        for cut in 0..32 {
            assert_eq!(preface(&line[..cut], true), Preface::More, "{cut}");
        }
        let client = Some("1.2.3.4".parse().unwrap());
        assert_eq!(preface(line, true), Preface::Proxied { client, used: 32 });
        assert_eq!(preface(b"PROXY UNKNOWN\r\n", true), Preface::Proxied { client: None, used: 15 });
        assert_eq!(preface(b"PROXY TCP4 me you\r\n", true), Preface::Bad);
        assert_eq!(preface(&[b"PROXY ", &[b'x'; 120][..]].concat(), true), Preface::Bad);

        let binary = [PROXY_2, &[0x21, 0x11, 0, 12, 9, 8, 7, 6, 1, 1, 1, 1, 0, 1, 0, 2]].concat();
        for cut in 0..binary.len() {
            assert_eq!(preface(&binary[..cut], true), Preface::More, "{cut}");
        }
        let client = Some("9.8.7.6".parse().unwrap());
        assert_eq!(preface(&binary, true), Preface::Proxied { client, used: 28 });
        let local = [PROXY_2, &[0x20, 0, 0, 0]].concat();
        assert_eq!(preface(&local, true), Preface::Proxied { client: None, used: 16 });
        let other = [PROXY_2, &[0x31, 0x11, 0, 12]].concat();
        assert_eq!(preface(&other, true), Preface::Bad);
    }

    /// However it is cut, its end is seen at once; and what it costs to read does not grow by the square.
    #[test]
    fn a_head_in_pieces_is_read_at_its_end_and_seldom_before() {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
            let head = ["GET / HTTP/1.1\r\nCookie: ", &"x".repeat(3_000), end].concat().into_bytes();
            for piece in 1..40 {
                let mut looked = Looked::default();
                let mut bytes = 0;
                for at in (piece..head.len() + piece).step_by(piece) {
                    let part = &head[..at.min(head.len())];
                    let reads = looked.is_worth_reading(part);
                    bytes += if reads { part.len() } else { 0 };
                    assert!(reads || at < head.len(), "{end:?} in pieces of {piece}");
                }
                assert!(bytes <= 4 * head.len(), "{bytes} for {}", head.len());
            }
        }
        let mut looked = Looked::default();
        assert!(looked.is_worth_reading(&[0xff]), "nonsense is known by its beginning");
        let long = vec![b'x'; LONGEST_HEAD];
        looked.is_worth_reading(&long[1..]);
        assert!(looked.is_worth_reading(&long), "and what is too long, by its length");
    }

    #[test]
    fn fixed_answers_say_their_length() {
        for answer in [TOO_LONG, MALFORMED, TLS_ONLY, NO_HTTP] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text} {}", body.len());
        }
    }

    #[test]
    fn forwarded_addresses_are_read_from_the_right() {
        let options = Options { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Options::default() };
        for (lists, client) in [
            (&["6.6.6.6, 1.2.3.4, 10.0.0.9"][..], Some("1.2.3.4")),
            (&["1.2.3.4", "10.0.0.9"], Some("1.2.3.4")),
            (&["10.0.0.1"], Some("10.0.0.1")),
            (&["unknown"], None),
            (&[], None),
        ] {
            let headers = lists.iter().map(|list| ("X-Forwarded-For", list.as_bytes()));
            assert_eq!(forwarded(headers, &options), client.map(|ip| ip.parse().unwrap()), "{lists:?}");
        }
    }
}
