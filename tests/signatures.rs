//! Signatures of the app's own server (wire.md 3.1.4): who comes without one, with a forged, a stale or a used one
//! stays out, with the documented code; who has a right one gets in.

mod common;

use common::client::{code, some, strings};
use common::{Client, Server, Via, app, master_key, now_ms, sign};
use tidegate_protocol::wire::*;

const APP: &str = "signed-app";
const HOUR_MS: i64 = 3_600_000;

/// A signature as it is sent.
#[derive(Clone)]
struct Signed {
    s: String,
    t: i64,
    n: String,
}

/// Signs `middle`, between the app's id and the time, with this time, a nonce of its own, and what goes behind.
fn signed_at(t: i64, key: &str, middle: &str, ending: &str) -> Signed {
    let n = format!("{:x}", fastrand::u128(..));
    Signed { s: sign(key, &format!("{APP}:{middle}:{t}:{n}{ending}")), t, n }
}

fn signed(middle: &str, ending: &str) -> Signed {
    signed_at(now_ms(), &master_key(APP), middle, ending)
}

fn session(with: &Signed) -> SessionCommand {
    SessionCommand { s: some(&with.s), t: Some(with.t), n: some(&with.n), ..SessionCommand::default() }
}

fn conv(cid: Option<&str>, members: &[&str], with: Option<&Signed>) -> ConvCommand {
    ConvCommand {
        cid: cid.map(str::to_owned),
        m: strings(members),
        s: with.map(|with| with.s.clone()),
        t: with.map(|with| with.t),
        n: with.map(|with| with.n.clone()),
        ..ConvCommand::default()
    }
}

fn server(need: &str) -> Server {
    let all =
        format!("signature = {{ login = \"{need}\", start = \"{need}\", add = \"{need}\", remove = \"{need}\" }}");
    Server::with(app(APP, &all))
}

fn connect(server: &Server) -> Client {
    let mut client = Client::connect(server, Via::Tcp);
    client.app = APP.into();
    client
}

fn login(server: &Server, id: &str) -> Client {
    let mut client = connect(server);
    client.try_open(id, session(&signed(&format!("{id}:"), ""))).expect("a right signature lets in");
    client
}

#[test]
fn a_login_needs_a_right_fresh_unused_signature() {
    let server = server("required");
    let mut client = connect(&server);
    let mut refused = |what: &str, with: SessionCommand| {
        let refused = client.try_open("tom", with).expect_err(what);
        assert_eq!((refused.code, refused.reason.as_str()), (4102, "SIGNATURE_FAILED"), "{what}");
    };
    let right = signed("tom:", "");
    refused("unsigned", SessionCommand::default());
    refused("forged: another key", session(&signed_at(now_ms(), "another-key-altogether", "tom:", "")));
    refused("forged: for another client", session(&signed("jerry:", "")));
    refused("forged: another time", session(&Signed { t: right.t + 1, ..right.clone() }));
    refused("forged: another nonce", session(&Signed { n: "x".into(), ..right.clone() }));
    refused("forged: cut short", session(&Signed { s: right.s[..38].into(), ..right.clone() }));
    refused("forged: the word signature", session(&Signed { s: "signature".into(), ..right.clone() }));
    let key = master_key(APP);
    refused("stale", session(&signed_at(now_ms() - 6 * HOUR_MS - 60_000, &key, "tom:", "")));
    refused("from the future", session(&signed_at(now_ms() + 6 * HOUR_MS + 60_000, &key, "tom:", "")));

    client.try_open("tom", session(&right)).expect("a right signature lets in");
    let replayed = connect(&server).try_open("tom", session(&right));
    assert_eq!(code(replayed), 4102);
    // Five hours are within the window; upper case and seconds are C#'s.
    connect(&server).try_open("tom", session(&signed_at(now_ms() - 5 * HOUR_MS, &key, "tom:", ""))).unwrap();
    let upper = signed_at(now_ms() / 1000, &key, "tom:", "");
    connect(&server).try_open("tom", session(&Signed { s: upper.s.to_uppercase(), ..upper })).unwrap();
}

#[test]
fn a_used_nonce_stays_used_over_a_restart() {
    let mut server = server("required");
    let right = signed("tom:", "");
    let mut tom = connect(&server);
    tom.try_open("tom", session(&right)).unwrap();
    // Log-ins wait for no disk: what comes to the disk after it takes the nonce along.
    tom.try_start(conv(None, &["jerry"], Some(&signed("tom:jerry", "")))).unwrap();
    server.restart();
    assert_eq!(code(connect(&server).try_open("tom", session(&right))), 4102);
    connect(&server).try_open("tom", session(&signed("tom:", ""))).unwrap();
}

#[test]
fn a_token_needs_no_signature() {
    let server = server("required");
    let token = login(&server, "tom").token;
    connect(&server).reopen("tom", &token).unwrap();
    // A bad token, and no signature beside it: JS opens again without both, and that is refused for the signature.
    assert_eq!(code(connect(&server).reopen("tom", "bogus")), 4112);
    let again = SessionCommand { r: Some(true), ..SessionCommand::default() };
    assert_eq!(code(connect(&server).try_open("tom", again)), 4102);
}

#[test]
fn conversations_need_signatures_of_their_own() {
    let server = server("required");
    let mut tom = login(&server, "tom");
    let start = |with: Option<&Signed>| ConvCommand { unique: Some(false), ..conv(None, &["jerry", "tom"], with) };
    let mut refused = |what: &str, op: OpType, with: ConvCommand| {
        let refused = tom.conv(op, with).expect_err(what);
        assert_eq!((refused.code, refused.reason.as_str()), (4302, "CONVERSATION_SIGNATURE_FAILED"), "{what}");
    };

    refused("an unsigned start", OpType::Start, start(None));
    refused("a start for others", OpType::Start, start(Some(&signed("tom:jerry:spike:tom", ""))));
    let old = signed_at(now_ms() - 7 * HOUR_MS, &master_key(APP), "tom:jerry:tom", "");
    refused("a stale start", OpType::Start, start(Some(&old)));
    refused("a log-in's signature", OpType::Start, start(Some(&signed("tom:", ""))));
    let right = signed("tom:jerry:tom", "");
    let cid = tom.try_start(start(Some(&right))).unwrap();
    let mut refused = |what: &str, op: OpType, with: ConvCommand| {
        let refused = tom.conv(op, with).expect_err(what);
        assert_eq!(refused.code, 4302, "{what}");
    };
    refused("a replayed start", OpType::Start, start(Some(&right)));

    let (invite, kick) = (format!("tom:{cid}:spike"), format!("tom:{cid}:spike"));
    refused("an unsigned add", OpType::Add, conv(Some(&cid), &["spike"], None));
    refused("an add with a kick's", OpType::Add, conv(Some(&cid), &["spike"], Some(&signed(&invite, ":kick"))));
    let elsewhere = format!("tom:{}:spike", "5".repeat(24));
    refused("an add of elsewhere", OpType::Add, conv(Some(&cid), &["spike"], Some(&signed(&elsewhere, ":invite"))));
    let right = signed(&invite, ":invite");
    let added = tom.conv(OpType::Add, conv(Some(&cid), &["spike"], Some(&right))).unwrap();
    assert_eq!(added.allowed_pids, ["spike"]);
    assert_eq!(code(tom.conv(OpType::Add, conv(Some(&cid), &["spike"], Some(&right)))), 4302, "replayed");

    assert_eq!(code(tom.conv(OpType::Remove, conv(Some(&cid), &["spike"], None))), 4302);
    assert_eq!(code(tom.conv(OpType::Remove, conv(Some(&cid), &["spike"], Some(&signed(&kick, ":invite"))))), 4302);
    let right = signed(&kick, ":kick");
    let removed = tom.conv(OpType::Remove, conv(Some(&cid), &["spike"], Some(&right))).unwrap();
    assert_eq!(removed.allowed_pids, ["spike"]);
    // Nothing of what was refused came to pass.
    let members = &tom.query(serde_json::json!({ "objectId": cid }))[0]["m"];
    assert_eq!(members.as_array().unwrap().len(), 2, "{members}");
}

#[test]
fn members_may_be_signed_with_or_without_the_caller() {
    let server = server("required");
    let mut tom = login(&server, "tom");
    let start = |members: &[&str], middle: &str| ConvCommand {
        unique: Some(false),
        ..conv(None, members, Some(&signed(middle, "")))
    };
    // JS sends and signs all; C# sends the others, and either may be signed.
    for (members, middle) in [
        (&["tom", "jerry"][..], "tom:jerry:tom"),
        (&["jerry"][..], "tom:jerry"),
        (&["jerry"][..], "tom:jerry:tom"),
        (&["tom", "jerry"][..], "tom:jerry"),
    ] {
        tom.try_start(start(members, middle)).unwrap_or_else(|no| panic!("{members:?} as {middle}: {no:?}"));
    }
}

#[test]
fn optional_checks_what_is_there_and_off_checks_nothing() {
    let optional = server("optional");
    connect(&optional).open("tom");
    connect(&optional).try_open("tom", session(&signed("tom:", ""))).unwrap();
    let bogus = Signed { s: "signature".into(), t: now_ms(), n: "n".into() };
    assert_eq!(code(connect(&optional).try_open("tom", session(&bogus))), 4102);

    let off = server("off");
    let mut tom = connect(&off);
    tom.try_open("tom", session(&bogus)).expect("where signatures are off, bogus ones are ignored");
    let cid = tom.try_start(conv(None, &["jerry"], Some(&bogus))).unwrap();
    tom.conv(OpType::Add, conv(Some(&cid), &["spike"], Some(&bogus))).unwrap();
    tom.conv(OpType::Remove, conv(Some(&cid), &["spike"], Some(&bogus))).unwrap();
}
