//! Signatures by the app's own server: HMAC-SHA1 over a text per action, with the master key (wire.md 3.1.4).
//!
//! Owns the texts, the window and the comparison. Must not know a clock, nor which nonces were used: it names the nonce
//! that the caller has to use up (`nonces`).

use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::app::{App, Need};
use crate::command::Signature;
use crate::error::{Code, Failure};
use crate::ids::{ClientId, ConvId, Millis};

/// How far a signature's time may be from ours, either way.
pub const WINDOW: Millis = 6 * 3_600_000;

/// Times below this are seconds: C# sends them so.
const SECONDS_BELOW: i64 = 100_000_000_000;
const MOST_NONCE_BYTES: usize = 128;

/// What is signed for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action<'a> {
    /// Open and refresh.
    Login,
    Start {
        members: &'a [ClientId],
    },
    Add {
        cid: ConvId,
        members: &'a [ClientId],
    },
    Remove {
        cid: ConvId,
        members: &'a [ClientId],
    },
}

impl Action<'_> {
    /// What this app wants of the action.
    pub fn need(&self, app: &App) -> Need {
        match self {
            Action::Login => app.signature.login,
            Action::Start { .. } => app.signature.start,
            Action::Add { .. } => app.signature.add,
            Action::Remove { .. } => app.signature.remove,
        }
    }

    /// What a command hears whose signature is refused.
    pub fn code(&self) -> Code {
        match self {
            Action::Login => Code::SignatureFailed,
            _ => Code::ConversationSignatureFailed,
        }
    }

    /// The texts that a right signature may be of, without app and client in front and time and nonce behind: SDKs differ
    /// in whether the caller stands among the members that were signed.
    fn middles(&self, caller: &str) -> Vec<String> {
        match self {
            Action::Login => vec![String::new()],
            Action::Start { members } => lists(members, caller),
            Action::Add { cid, members } | Action::Remove { cid, members } => {
                lists(members, caller).into_iter().map(|list| format!("{cid}:{list}")).collect()
            }
        }
    }

    fn ending(&self) -> &'static str {
        match self {
            Action::Login | Action::Start { .. } => "",
            Action::Add { .. } => ":invite",
            Action::Remove { .. } => ":kick",
        }
    }
}

/// A nonce that a good signature used up: refuse the command where it was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub nonce: Box<str>,
    /// The end of the signature's window; the nonce need not be known after it.
    pub until: Millis,
}

/// Judges a command's signature by what the app asks (`Action::need`). `Ok(None)`: none was needed, or none given where
/// that is allowed. Fails with 4102 for log-ins and 4302 for conversations.
pub fn check(
    app: &App,
    client: &str,
    action: Action<'_>,
    signature: Option<&Signature>,
    now: Millis,
) -> Result<Option<Used>, Failure> {
    let refuse = |detail: &str| Err(Failure::because(action.code(), detail));
    let signature = match (action.need(app), signature) {
        (Need::Off, _) | (Need::Optional, None) => return Ok(None),
        (Need::Required, None) => return refuse("this needs a signature"),
        (Need::Optional | Need::Required, Some(signature)) => signature,
    };
    let at = match signature.timestamp {
        seconds if (0..SECONDS_BELOW).contains(&seconds) => seconds * 1_000,
        ms => ms,
    };
    if at.abs_diff(now) > WINDOW.unsigned_abs() {
        return refuse("the signature's timestamp is more than six hours away");
    }
    if signature.nonce.len() > MOST_NONCE_BYTES {
        return refuse("the signature's nonce is longer than 128 bytes");
    }
    let given = read_hex(&signature.text);
    let mut right = subtle::Choice::from(0);
    for middle in action.middles(client) {
        let Signature { timestamp, nonce, .. } = signature;
        let text = format!("{}:{client}:{middle}:{timestamp}:{nonce}{}", app.id, action.ending());
        right |= given.ct_eq(&sign(&app.master_key, &text));
    }
    // Looked at last, so that a malformed signature takes as long as a wrong one.
    if !bool::from(right) {
        return refuse("the signature is wrong");
    }
    Ok(Some(Used { nonce: signature.nonce.clone(), until: at + WINDOW }))
}

/// HMAC-SHA1 of a text with the app's master key; its hex is what the app's server sends.
pub fn sign(master_key: &str, text: &str) -> [u8; 20] {
    let mac = Hmac::<Sha1>::new_from_slice(master_key.as_bytes()).expect("HMAC takes a key of any length");
    mac.chain_update(text).finalize().into_bytes().into()
}

/// 40 hex digits of either case; what is none reads as no bytes, which equals no signature.
fn read_hex(text: &str) -> Vec<u8> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect();
    match digits {
        Some(digits) if digits.len() == 40 => digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect(),
        _ => Vec::new(),
    }
}

/// The members sorted and joined: as sent, with the caller, and without.
fn lists(members: &[ClientId], caller: &str) -> Vec<String> {
    let mut sorted: Vec<&str> = members.iter().map(|client| &**client).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let sent = sorted.join(":");
    let other = match sorted.binary_search(&caller) {
        Ok(place) => {
            sorted.remove(place);
            // Nobody left would make a start's text that of a log-in.
            (!sorted.is_empty()).then(|| sorted.join(":"))
        }
        Err(place) => {
            sorted.insert(place, caller);
            Some(sorted.join(":"))
        }
    };
    [sent].into_iter().chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::SignaturePolicy;
    use crate::ids::AppId;

    const NOW: Millis = 1_790_000_000_000;

    fn app(need: Need) -> App {
        App {
            index: AppId(0),
            id: "app".into(),
            key: "key".into(),
            master_key: "master".into(),
            origins: Vec::new(),
            signature: SignaturePolicy { login: need, start: need, add: need, remove: need },
            push_webhook: None,
            webhooks: Vec::new(),
        }
    }

    fn hex(bytes: [u8; 20]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn signed(text: &str, timestamp: i64) -> Signature {
        Signature { text: hex(sign("master", text)).into(), timestamp, nonce: "n".into() }
    }

    fn clients(ids: &[&str]) -> Vec<ClientId> {
        ids.iter().map(|id| ClientId::from(*id)).collect()
    }

    /// Of the client `cat`, with everything required.
    fn judge(action: Action<'_>, signature: &Signature) -> Result<Option<Used>, i32> {
        check(&app(Need::Required), "cat", action, Some(signature), NOW).map_err(|failure| failure.code.number())
    }

    fn good() -> Result<Option<Used>, i32> {
        Ok(Some(Used { nonce: "n".into(), until: NOW + WINDOW }))
    }

    #[test]
    fn the_hash_is_hmac_sha1() {
        // RFC 2202, second test case.
        let hash = hex(sign("Jefe", "what do ya want for nothing?"));
        assert_eq!(hash, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn each_action_has_its_text() {
        let cid = ConvId::parse("559d08a1e4b0a35bc5062ba1");
        let members = clients(&["dog", "ant", "cat", "dog"]);
        let sorted = "ant:cat:dog";
        for (action, text) in [
            (Action::Login, format!("app:cat::{NOW}:n")),
            (Action::Start { members: &members }, format!("app:cat:{sorted}:{NOW}:n")),
            (Action::Add { cid, members: &members }, format!("app:cat:{cid}:{sorted}:{NOW}:n:invite")),
            (Action::Remove { cid, members: &members }, format!("app:cat:{cid}:{sorted}:{NOW}:n:kick")),
        ] {
            assert_eq!(judge(action, &signed(&text, NOW)), good(), "{text}");
            let wrong = if action == Action::Login { 4102 } else { 4302 };
            assert_eq!(judge(action, &signed(&format!("{text}x"), NOW)), Err(wrong));
            let none = check(&app(Need::Required), "cat", action, None, NOW);
            assert_eq!(none.map_err(|failure| failure.code.number()), Err(wrong));
        }
    }

    #[test]
    fn the_caller_may_stand_among_the_members_or_not() {
        let (with, without) = (clients(&["ant", "cat"]), clients(&["ant"]));
        let of = |list: &str| signed(&format!("app:cat:{list}:{NOW}:n"), NOW);
        for members in [&with, &without] {
            assert_eq!(judge(Action::Start { members }, &of("ant:cat")), good());
            assert_eq!(judge(Action::Start { members }, &of("ant")), good());
            assert_eq!(judge(Action::Start { members }, &of("cat:ant")), Err(4302));
            assert_eq!(judge(Action::Start { members }, &of("ant:cat:eve")), Err(4302));
        }
        assert_eq!(judge(Action::Start { members: &clients(&["cat"]) }, &of("")), Err(4302));
        assert_eq!(judge(Action::Start { members: &[] }, &of("")), good());
    }

    #[test]
    fn hex_of_either_case_is_read_and_nothing_else() {
        let mut signature = signed(&format!("app:cat::{NOW}:n"), NOW);
        signature.text = signature.text.to_uppercase().into();
        assert_eq!(judge(Action::Login, &signature), good());
        for text in ["", "signature", &signature.text[..38], &format!("{}00", signature.text), &"é".repeat(20)] {
            assert_eq!(judge(Action::Login, &Signature { text: text.into(), ..signature.clone() }), Err(4102));
        }
    }

    #[test]
    fn six_hours_either_way_and_seconds_too() {
        let login = |timestamp: i64| judge(Action::Login, &signed(&format!("app:cat::{timestamp}:n"), timestamp));
        assert!(login(NOW - WINDOW).is_ok());
        assert!(login(NOW + WINDOW).is_ok());
        assert_eq!(login(NOW - WINDOW - 1), Err(4102));
        assert_eq!(login(NOW + WINDOW + 1), Err(4102));
        assert_eq!(login(NOW / 1_000), good());
        for timestamp in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(login(timestamp), Err(4102), "{timestamp}");
        }
    }

    #[test]
    fn off_ignores_what_optional_checks() {
        let bogus = Signature { text: "signature".into(), timestamp: 1, nonce: "nonce".into() };
        let judge = |need, signature| check(&app(need), "cat", Action::Login, signature, NOW).map_err(|f| f.code);
        assert_eq!(judge(Need::Off, Some(&bogus)), Ok(None));
        assert_eq!(judge(Need::Off, None), Ok(None));
        assert_eq!(judge(Need::Optional, None), Ok(None));
        assert_eq!(judge(Need::Optional, Some(&bogus)), Err(Code::SignatureFailed));
        let right = signed(&format!("app:cat::{NOW}:n"), NOW);
        assert_eq!(judge(Need::Optional, Some(&right)).map_err(|c| c.number()), good());
    }

    #[test]
    fn a_huge_nonce_is_not_kept() {
        let nonce = "n".repeat(129);
        let text = format!("app:cat::{NOW}:{nonce}");
        let signature = Signature { nonce: nonce.into(), ..signed(&text, NOW) };
        assert_eq!(judge(Action::Login, &signature), Err(4102));
    }
}
