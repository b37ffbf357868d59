//! What a log-in shows: a session token and a signature's fields. Nothing that was not sealed or signed gets in; and
//! behind a right seal, any body is read or refused.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use tidegate_domain::app::{App, Need, SignaturePolicy};
use tidegate_domain::command::Signature;
use tidegate_domain::ids::{AppId, ClientId, ConvId};
use tidegate_domain::signature::{self, Action};
use tidegate_domain::token::{self, Refused};

const KEY: [u8; 32] = [3; 32];

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(token::open(text, &KEY, 1_000), Err(Refused::Forged));
        signed(text);
    }
    let seal = Hmac::<sha2::Sha256>::new_from_slice(&KEY).expect("any key will do").chain_update(data).finalize();
    let sealed = URL_SAFE_NO_PAD.encode([data, &seal.into_bytes()].concat());
    if let Ok(token) | Err(Refused::Expired(token)) = token::open(&sealed, &KEY, 1_000) {
        assert_eq!(token::seal(&token, &KEY), sealed, "one token has one text");
    }
});

/// Lines: the signature, its time, its nonce, the client, and members.
fn signed(text: &str) {
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let signature = Signature {
        text: line().into(),
        timestamp: line().parse().unwrap_or(1_700_000_000_000),
        nonce: line().into(),
    };
    let client = line();
    let members: Vec<ClientId> = lines.map(ClientId::from).collect();
    let every = Need::Required;
    let app = App {
        index: AppId(0),
        id: "app".into(),
        key: "key".into(),
        master_key: "a key that the fuzzer does not know".into(),
        origins: Vec::new(),
        signature: SignaturePolicy { login: every, start: every, add: every, remove: every },
        push_webhook: None,
        webhooks: Vec::new(),
    };
    let cid = ConvId::parse(client);
    let actions = [Action::Login, Action::Start { members: &members }, Action::Add { cid, members: &members }];
    for action in actions {
        assert!(signature::check(&app, client, action, Some(&signature), 1_700_000_000_000).is_err());
    }
}
