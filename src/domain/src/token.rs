//! Session tokens (`st`): what a client shows to come back without a signature.
//!
//! A token carries its session and is sealed with the store's key, so that nothing is kept for it and it outlives a
//! restart; only tokens ended early are remembered, by their id, elsewhere. Sealed means that nobody can make or change
//! one, not that its holder cannot read it: it tells the holder about itself only. Must not know a clock or randomness.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::ids::{ClientId, Millis};

/// How long a token holds, in seconds; the protocol has no figure (wire.md 3.1.1).
pub const TOKEN_TTL_S: i32 = 48 * 3_600;

const SEAL: usize = 32;
/// The first byte, so that another layout is told from this one.
const LAYOUT: u8 = 1;
/// Far above what we make; longer text is not worth a hash.
const MOST_CHARS: usize = 4_096;

/// The session that a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The app by its text: its place in the configuration may change while the token is out.
    pub app: Box<str>,
    pub client: ClientId,
    pub device: Option<Box<str>>,
    pub tag: Option<Box<str>>,
    pub expires: Millis,
    /// By which it is revoked; random.
    pub id: [u8; 16],
}

/// Why a text does not open a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Not made by this store's server, or changed since.
    Forged,
    /// Genuine, but too old; good enough for a refresh (wire.md 3.1.3).
    Expired(Token),
}

/// URL-safe text of a token.
pub fn seal(token: &Token, key: &[u8; 32]) -> String {
    let mut bytes = vec![LAYOUT];
    bytes.extend(token.id);
    bytes.extend(token.expires.to_be_bytes());
    put(&mut bytes, Some(&token.app));
    put(&mut bytes, Some(&token.client));
    put(&mut bytes, token.device.as_deref());
    put(&mut bytes, token.tag.as_deref());
    let seal = mac(key, &bytes).finalize().into_bytes();
    bytes.extend(seal);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The token in a text, if it is genuine and holds at `now`. Whether it was revoked, and whether it is of the app and
/// client that show it, is for the caller to see.
pub fn open(text: &str, key: &[u8; 32], now: Millis) -> Result<Token, Refused> {
    let token = read(text, key).ok_or(Refused::Forged)?;
    if now < token.expires { Ok(token) } else { Err(Refused::Expired(token)) }
}

fn read(text: &str, key: &[u8; 32]) -> Option<Token> {
    if text.len() > MOST_CHARS {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (body, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
    // In constant time, and before a single byte of the body is believed.
    mac(key, body).verify_slice(seal).ok()?;
    let rest = body.strip_prefix(&[LAYOUT])?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (expires, mut rest) = rest.split_first_chunk::<8>()?;
    let token = Token {
        id: *id,
        expires: Millis::from_be_bytes(*expires),
        app: take(&mut rest)??.into(),
        client: take(&mut rest)??.into(),
        device: take(&mut rest)?.map(Into::into),
        tag: take(&mut rest)?.map(Into::into),
    };
    rest.is_empty().then_some(token)
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length").chain_update(bytes)
}

/// Length plus one, then the text; zero for none.
fn put(bytes: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(0, |text| text.len() as u32 + 1);
    bytes.extend(length.to_be_bytes());
    bytes.extend(text.unwrap_or("").as_bytes());
}

/// Reads what `put` wrote. The outer `None`: it is not of that form.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a str>> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let Some(length) = u32::from_be_bytes(*length).checked_sub(1) else {
        *rest = after;
        return Some(None);
    };
    let (text, after) = after.split_at_checked(length as usize)?;
    *rest = after;
    Some(Some(std::str::from_utf8(text).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn token() -> Token {
        Token {
            app: "app".into(),
            client: "ann".into(),
            device: Some("phone".into()),
            tag: None,
            expires: 1_000,
            id: [5; 16],
        }
    }

    #[test]
    fn a_token_opens_until_it_expires() {
        let text = seal(&token(), &KEY);
        assert_eq!(open(&text, &KEY, 999), Ok(token()));
        assert_eq!(open(&text, &KEY, 1_000), Err(Refused::Expired(token())));
        assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'), "{text}");
    }

    #[test]
    fn another_key_does_not_open_it() {
        assert_eq!(open(&seal(&token(), &KEY), &[8; 32], 0), Err(Refused::Forged));
    }

    #[test]
    fn no_other_text_opens() {
        let text = seal(&token(), &KEY);
        for at in 0..text.len() {
            for with in ["A", "B", "_", ""] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, with);
                if changed != text {
                    assert_eq!(open(&changed, &KEY, 0), Err(Refused::Forged), "{changed}");
                }
            }
        }
        for text in ["", "A", "bogus", &"A".repeat(43), &"A".repeat(100_000), "é"] {
            assert_eq!(open(text, &KEY, 0), Err(Refused::Forged));
        }
    }

    proptest! {
        #[test]
        fn any_token_reads_back(
            app in ".{0,20}", client in ".{0,64}", device in prop::option::of(".{0,40}"),
            tag in prop::option::of(".{0,10}"), expires: i64, id: [u8; 16],
        ) {
            let token = Token {
                app: app.into(), client: client.as_str().into(), device: device.map(Into::into),
                tag: tag.map(Into::into), expires, id,
            };
            match open(&seal(&token, &KEY), &KEY, 5) {
                Ok(read) | Err(Refused::Expired(read)) => prop_assert_eq!(read, token),
                Err(Refused::Forged) => prop_assert!(false),
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert_eq!(open(&URL_SAFE_NO_PAD.encode(bytes), &KEY, 0), Err(Refused::Forged));
        }
    }
}
