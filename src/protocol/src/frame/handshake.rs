//! The HTTP upgrade to WebSocket (RFC 6455, 4.2): who is let in, and what is said to those who are not.
//!
//! Takes a head that was parsed already, gives back the bytes of the answer. Origins and app ids are judged later, by
//! those who know the apps. Extensions are never agreed to, so a client that offers permessage-deflate goes without.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::Subprotocol;

/// A request head as the caller's parser found it.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a, H> {
    pub method: &'a str,
    /// Path and query; any path will do (wire.md 2.1).
    pub target: &'a str,
    /// The minor version: 1 for HTTP/1.1.
    pub minor_version: u8,
    /// Names and values in the order they came.
    pub headers: H,
}

/// A client that is let in: send `response`, then speak frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub subprotocol: Subprotocol,
    pub response: Vec<u8>,
}

/// Why there is no upgrade; the words are the body of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("A WebSocket handshake is a GET request.")]
    NotGet,
    #[error("A WebSocket handshake needs HTTP/1.1.")]
    OldHttp,
    #[error("The headers \"Upgrade: websocket\" and \"Connection: Upgrade\" are missing.")]
    NoUpgrade,
    #[error("The header Sec-WebSocket-Version must be 13.")]
    WrongVersion,
    #[error("The header Sec-WebSocket-Key must be given once: 16 bytes in base64.")]
    BadKey,
    #[error(
        "No known subprotocol was offered in Sec-WebSocket-Protocol. Known are lc.protobuf2.3, lc.protobuf2.1 and \
         lc.proto2base64.3."
    )]
    UnknownSubprotocol,
}

impl Refused {
    pub fn status(self) -> u16 {
        match self {
            Refused::NotGet => 405,
            Refused::WrongVersion => 426,
            _ => 400,
        }
    }

    /// The whole response; close the connection after it.
    pub fn response(self) -> Vec<u8> {
        let line = match self {
            Refused::NotGet => "405 Method Not Allowed\r\nAllow: GET",
            Refused::WrongVersion => "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
            _ => "400 Bad Request",
        };
        let words = self.to_string();
        format!(
            "HTTP/1.1 {line}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{words}\n",
            words.len() + 1
        )
        .into_bytes()
    }
}

/// Whether a head asks for WebSocket at all; the rest of HTTP is not ours.
pub fn is_upgrade<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> bool {
    has_token(headers, "upgrade", "websocket")
}

/// Judges a handshake.
pub fn accept<'a, H>(head: &Head<'a, H>) -> Result<Accepted, Refused>
where
    H: IntoIterator<Item = (&'a str, &'a [u8])> + Clone,
{
    if head.method != "GET" {
        return Err(Refused::NotGet);
    }
    if head.minor_version < 1 {
        return Err(Refused::OldHttp);
    }
    let headers = || head.headers.clone();
    if !is_upgrade(headers()) || !has_token(headers(), "connection", "upgrade") {
        return Err(Refused::NoUpgrade);
    }
    if only(headers(), "sec-websocket-version") != Some(b"13") {
        return Err(Refused::WrongVersion);
    }
    let key = only(headers(), "sec-websocket-key").filter(|key| is_key(key)).ok_or(Refused::BadKey)?;
    let (subprotocol, offered) = choose(headers(), head.target)?;
    Ok(Accepted { subprotocol, response: response(key, offered.then_some(subprotocol)) })
}

/// The first known one of those offered, and whether it was offered in the header, where alone it may be answered.
///
/// JS 4.3.1 in mini-programs offers none there and names it in the query (wire.md 1.5).
fn choose<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    target: &str,
) -> Result<(Subprotocol, bool), Refused> {
    let mut offers =
        values(headers, "sec-websocket-protocol").flat_map(tokens).filter(|offer| !offer.is_empty()).peekable();
    if offers.peek().is_some() {
        let known = offers.find_map(|offer| Subprotocol::from_name(std::str::from_utf8(offer).ok()?));
        return known.map(|known| (known, true)).ok_or(Refused::UnknownSubprotocol);
    }
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let named = query.split('&').find_map(|pair| pair.strip_prefix("subprotocol="));
    named
        .and_then(|name| Subprotocol::from_name(&percent_decoded(name)?))
        .map(|known| (known, false))
        .ok_or(Refused::UnknownSubprotocol)
}

fn response(key: &[u8], subprotocol: Option<Subprotocol>) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        accept_key(key)
    );
    if let Some(subprotocol) = subprotocol {
        response += "Sec-WebSocket-Protocol: ";
        response += subprotocol.name();
        response += "\r\n";
    }
    response += "\r\n";
    response.into_bytes()
}

/// RFC 6455, 1.3: proof that the key was read.
fn accept_key(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// 16 bytes in base64: 22 characters and their padding. What the last character's unused bits say is the client's affair.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key.strip_suffix(b"=="), Some(digits) if digits.len() == 22 && digits.iter().all(digit))
}

fn values<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.into_iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_ascii())
}

/// The value of a header that may be given once.
fn only<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>, name: &str) -> Option<&'a [u8]> {
    let mut values = values(headers, name);
    values.next().filter(|_| values.next().is_none())
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>, name: &str, token: &str) -> bool {
    values(headers, name).flat_map(tokens).any(|other| other.eq_ignore_ascii_case(token.as_bytes()))
}

/// `None` where the text is not percent-encoded UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(high)? << 4 | digit(low)?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
