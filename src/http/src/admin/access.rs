//! Tokens: who may look at the admin side, and who may change something.
//!
//! Owns what is sent to be let in, its comparison, and the answers to those who are not. What is kept of a token is its
//! SHA-256. Whether a page in a browser may ask at all is `asker`'s business; this must not know routes, but that a
//! method other than GET changes something and that `/readyz` is for everybody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::asker::AdminPeer;
use crate::json::wrong;
use crate::sparing::Sparing;

/// What lets in; none of both: everybody may do everything. `Debug` shows no token.
#[derive(Clone, Default)]
pub struct Tokens {
    /// May look.
    pub read: Option<Box<str>>,
    /// May look and change.
    pub write: Option<Box<str>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("read", &self.read.is_some()).field("write", &self.write.is_some()).finish()
    }
}

type Sum = [u8; 32];

/// The tokens as they are compared.
pub(super) struct Access {
    read: Option<Sum>,
    write: Option<Sum>,
    /// Of attempts that failed.
    words: Sparing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Look,
    Change,
}

impl Access {
    pub(super) fn new(tokens: &Tokens) -> Access {
        let kept = |token: &Option<Box<str>>| token.as_deref().map(|token| sum(token.as_bytes()));
        Access { read: kept(&tokens.read), write: kept(&tokens.write), words: Sparing::every(Duration::from_secs(1)) }
    }

    /// Whether a token is wanted.
    pub(super) fn asks(&self) -> bool {
        self.read.is_some() || self.write.is_some()
    }

    /// In a time that tells nothing of the tokens, not even their lengths.
    fn right(&self, token: &[u8]) -> Option<Right> {
        let given = sum(token);
        let is = |kept: &Option<Sum>| kept.map_or(Choice::from(0), |kept| kept.ct_eq(&given));
        let (look, change) = (is(&self.read), is(&self.write));
        match (bool::from(look), bool::from(change)) {
            (_, true) => Some(Right::Change),
            (true, false) => Some(Right::Look),
            (false, false) => None,
        }
    }

    /// At most once a second, however many come: with how many were passed over since the last word.
    fn warn(&self, request: &Request, what: &str) {
        let Some(passed_over) = self.words.say(Instant::now()) else { return };
        let peer = request.extensions().get::<AdminPeer>().map(|peer: &AdminPeer| peer.0);
        let peer = peer.map_or_else(|| "somebody".to_owned(), |peer: SocketAddr| peer.to_string());
        let more = if passed_over == 0 { String::new() } else { format!(" ({passed_over} more since the last word)") };
        log::warn!("admin: {peer} was refused: {what}{more}");
    }
}

fn sum(token: &[u8]) -> Sum {
    Sha256::digest(token).into()
}

/// What came to be let in.
struct Given {
    token: Vec<u8>,
    /// Said with Basic, and believed: it names who changed something, and lets nobody in.
    name: Option<String>,
}

/// The user's name that came with a token, where one did.
#[derive(Clone)]
pub(super) struct User(pub(super) String);

/// `Authorization: Bearer TOKEN`, or Basic with the token as the password: that is what a browser asks a person for.
/// `None`: nothing came. What cannot be read has no token in it, and so a wrong one.
fn given(headers: &HeaderMap) -> Option<Given> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?;
    let read = || {
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        let rest = rest.trim_start();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Given { token: rest.as_bytes().to_vec(), name: None });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(rest).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&decoded[..colon]).ok().map(str::to_owned);
        Some(Given { token: decoded[colon + 1..].to_vec(), name })
    };
    // Of two, a proxy may have looked at the other one.
    let read = if values.next().is_none() { read() } else { None };
    Some(read.unwrap_or(Given { token: Vec::new(), name: None }))
}

/// Lets in whoever has the token for what is asked.
pub(super) async fn with_a_token(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    if !access.asks() || request.uri().path() == "/readyz" {
        return next.run(request).await;
    }
    let Some(given) = given(request.headers()) else {
        return unknown("The admin side of this server wants a token.");
    };
    let Some(right) = access.right(&given.token) else {
        access.warn(&request, "a wrong token");
        return unknown("This token is none of this server's.");
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && right == Right::Look {
        access.warn(&request, "a change with the token that may only look");
        let words = match access.write {
            Some(_) => {
                "This token may look and change nothing. A change takes the write_token of [admin] in the server's pipeline.toml."
            }
            None => {
                "Nothing can be changed here: the server has no write_token. Write one into [admin] of its pipeline.toml, and restart it."
            }
        };
        return wrong(StatusCode::FORBIDDEN, words).into_response();
    }
    if let Some(name) = given.name {
        request.extensions_mut().insert(User(name));
    }
    next.run(request).await
}

/// 401, with what a browser and a program need to know to come again.
fn unknown(what: &str) -> Response {
    const HOW: &str = "Send it as Authorization: Bearer TOKEN, or as the password of Basic with any name; it is the read_token or \
                       the write_token of [admin] in the server's pipeline.toml.";
    let mut answer = wrong(StatusCode::UNAUTHORIZED, format!("{what} {HOW}")).into_response();
    for scheme in [r#"Basic realm="Tidegate admin", charset="UTF-8""#, r#"Bearer realm="Tidegate admin""#] {
        answer.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&str]) -> Option<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        given(&headers).map(|given| (String::from_utf8(given.token).unwrap(), given.name))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_a_password() {
        let plain = |token: &str| Some((token.to_owned(), None));
        assert_eq!(sent(&[]), None);
        assert_eq!(sent(&["Bearer abc"]), plain("abc"));
        assert_eq!(sent(&["bearer  abc=="]), plain("abc=="));
        assert_eq!(sent(&[&basic("ann:a:b")]), Some(("a:b".into(), Some("ann".into()))));
        assert_eq!(sent(&[&basic(":abc")]), Some(("abc".into(), Some(String::new()))));
        for wrong in ["abc", "Bearer", "Basic", "Basic ***", "Digest abc", &basic("abc")] {
            assert_eq!(sent(&[wrong]), plain(""), "{wrong}");
        }
        assert_eq!(sent(&["Bearer abc", "Bearer abc"]), plain(""));
    }

    #[test]
    fn each_token_has_its_right_and_nothing_else_has_any() {
        let (read, write) = (|| Some("may-look".into()), || Some("may-change".into()));
        let of = |read, write, token: &str| Access::new(&Tokens { read, write }).right(token.as_bytes());
        assert_eq!(of(read(), write(), "may-look"), Some(Right::Look));
        assert_eq!(of(read(), write(), "may-change"), Some(Right::Change));
        assert_eq!(of(read(), None, "may-look"), Some(Right::Look));
        assert_eq!(of(None, write(), "may-change"), Some(Right::Change));
        for wrong in ["", "may-loo", "may-look ", "MAY-LOOK", "may-lookmay-change"] {
            assert_eq!(of(read(), write(), wrong), None, "{wrong}");
            assert_eq!(of(read(), None, wrong), None, "{wrong}");
            assert_eq!(of(None, write(), wrong), None, "{wrong}");
        }
        assert!(!Access::new(&Tokens::default()).asks());
    }

    #[test]
    fn no_token_is_printed() {
        let tokens = Tokens { read: Some("may-look".into()), write: None };
        assert_eq!(format!("{tokens:?}"), "Tokens { read: true, write: false }");
    }
}
