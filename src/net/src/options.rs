//! What a deployment may choose about its connections, and the addresses it trusts.
//!
//! Owns defaults and their units. Must not know how the values are read from a file.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that [`crate::Listeners::bind`] and [`crate::start`] need to know. `Default` gives the documented defaults and listens nowhere.
#[derive(Clone)]
pub struct Options {
    /// HTTP and WebSocket. Port 0 takes a free one, see [`crate::Net::local_addrs`].
    pub http: Option<SocketAddr>,
    /// Length-prefixed commands.
    pub tcp: Option<SocketAddr>,
    /// Threads that own sockets, 1 to 255.
    pub reactors: usize,
    /// Places for the mail of one reactor: a delivery takes one for each session that it goes to, all else one.
    pub mailbox: usize,
    /// Bytes waiting for one connection that it did not ask for.
    pub outbox: usize,
    /// One connection's commands in flight; out of them its socket is not read.
    pub credits: u32,
    /// The same in bytes. One command always fits.
    pub credit_bytes: usize,
    /// Commands with a [`Turn`](crate::Turn) that are inside at once, for each reactor: as many as keep every stage busy, and
    /// delay nobody.
    pub turns: usize,
    /// The longest that a command waits for its turn. SDKs give a log-in up after ten seconds or later.
    pub turn_patience: Duration,
    /// The longest command, in bytes of protobuf.
    pub max_frame: usize,
    /// Spoken beside plain on both ports, told apart by the first bytes.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether connections without TLS are served.
    pub plain: bool,
    /// Whose PROXY header or `X-Forwarded-For` names the real client.
    pub trusted_proxies: Vec<Cidr>,
    /// Silence after which a connection is closed with 4107.
    pub idle_timeout: Duration,
    /// Time to a session or an `echo`, else 4108. Net is told of either by [`crate::Mail::LoggedIn`] and
    /// [`crate::Mail::Alive`].
    pub login_timeout: Duration,
    /// Time for TLS, PROXY header and request head together.
    pub handshake_timeout: Duration,
    /// Open connections over all reactors; what comes past it is closed at once.
    pub max_connections: usize,
    /// This process's number in every [`ConnId`](tidegate_domain::ids::ConnId).
    pub node: u8,
    /// Nanoseconds of a clock that never steps back; give the engine's, so that times can be compared.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        let start = Instant::now();
        Options {
            http: None,
            tcp: None,
            reactors: 1,
            mailbox: 4096,
            outbox: 256 << 10,
            credits: 64,
            credit_bytes: 256 << 10,
            turns: 64,
            turn_patience: Duration::from_secs(5),
            max_frame: 64 << 10,
            tls: None,
            plain: true,
            trusted_proxies: Vec::new(),
            idle_timeout: Duration::from_secs(360),
            login_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            max_connections: usize::MAX,
            node: 0,
            clock: Arc::new(move || start.elapsed().as_nanos() as u64),
        }
    }
}

impl Options {
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|cidr| cidr.contains(ip))
    }
}

/// A block of addresses, `10.0.0.0/8` or `::1`; an address alone is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    ip: IpAddr,
    bits: u8,
}

impl Cidr {
    /// IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(ip)) => prefix(block.to_bits().into(), ip.to_bits().into(), 32 - self.bits),
            (IpAddr::V6(block), IpAddr::V6(ip)) => prefix(block.to_bits(), ip.to_bits(), 128 - self.bits),
            _ => false,
        }
    }
}

/// Whether two addresses agree above their lowest `rest` bits.
fn prefix(a: u128, b: u128, rest: u8) -> bool {
    (a ^ b).checked_shr(rest.into()).unwrap_or(0) == 0
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.parse().map_err(|_| format!("{ip:?} is not an IP address"))?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(text) => text
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(|| format!("/{text} is not a prefix length from 0 to {most}"))?,
        };
        Ok(Cidr { ip, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_addresses_and_no_others() {
        for (block, inside, outside) in [
            ("127.0.0.0/8", "127.3.2.1", "128.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("0.0.0.0/0", "::ffff:9.9.9.9", "::1"),
            ("::/0", "::1", "1.2.3.4"),
        ] {
            let cidr: Cidr = block.parse().unwrap();
            assert!(cidr.contains(inside.parse().unwrap()), "{inside} in {block}");
            assert!(!cidr.contains(outside.parse().unwrap()), "{outside} not in {block}");
        }
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for text in ["", "local", "10.0.0.0/33", "::1/129", "10.0.0.0/-1", "10.0.0.0/"] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert!(error.contains("is not"), "{error}");
        }
    }
}
