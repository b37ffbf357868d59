//! Hooks and pushes against a real HTTP server that changes, drops, stalls, fails and lies: what becomes of the message,
//! of the order of its conversation, and of the apps beside.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::client::{body, code, some, text, texts};
use common::receiver::is_signed;
use common::{Call, Client, Receiver, Refused, Reply, Server, Setup, Wire, app, eventually, patient};
use serde_json::{Value, json};
use tidegate_protocol::wire::*;

const SECRET: &str = "a secret for webhooks";
const BEFORE: &str = r#"["messageReceived"]"#;
const AFTER: &str = r#"["messageSent"]"#;
const OFFLINE: &str = r#"["receiversOffline"]"#;

fn webhook(receiver: &Receiver, events: &str, more: &str) -> String {
    format!("[[app.webhook]]\nurl = \"{}\"\nsecret = \"{SECRET}\"\nevents = {events}\n{more}\n", receiver.url())
}

/// An app "hooked-app" with this webhook, and "other-app" without any.
fn server(receiver: &Receiver, events: &str, more: &str) -> Server {
    let hooked = app("hooked-app", &webhook(receiver, events, more));
    Server::with(format!("{}\n{}\n{hooked}", patient(), app("other-app", "")))
}

fn hooked(server: &Server, id: &str) -> Client {
    Client::login_to(server, "hooked-app", id)
}

/// Two in one conversation.
fn pair(server: &Server) -> (Client, Client, String) {
    let (mut tom, jerry) = (hooked(server, "tom"), hooked(server, "jerry"));
    let cid = tom.start(&["jerry"]);
    (tom, jerry, cid)
}

fn to(cid: &str, words: &str) -> DirectCommand {
    DirectCommand { cid: some(cid), msg: body(words), ..DirectCommand::default() }
}

fn content(call: &Call) -> &str {
    call.params["content"].as_str().unwrap_or_default()
}

#[test]
fn a_message_is_asked_about_before_it_is_kept() {
    let receiver = Receiver::agreeing();
    let server = server(&receiver, BEFORE, "");
    let (mut tom, mut jerry, cid) = pair(&server);
    tom.send(&cid, "may I?");
    assert_eq!(jerry.text(), "may I?");
    let call = receiver.call("messageReceived", |_| true);
    assert_eq!((call.event.as_str(), call.app.as_str()), ("messageReceived", "hooked-app"));
    assert!(!call.id.is_empty() && is_signed(&call, SECRET), "{call:?}");
    let params = &call.params;
    assert_eq!((&params["fromPeer"], &params["convId"]), (&json!("tom"), &json!(cid)));
    assert_eq!((&params["toPeers"], &params["content"]), (&json!(["jerry"]), &json!("may I?")));
    for absent in ["transient", "bin", "receipt"] {
        assert_eq!(params[absent], json!(false), "{absent}");
    }
    assert!(params["timestamp"].as_i64().is_some_and(|t| (t - common::now_ms()).abs() < 60_000));
    assert_eq!(params["sourceIP"], "127.0.0.1");
}

#[test]
fn while_a_hook_thinks_a_group_is_not_crowded() {
    let late = |_: &Call| Reply::After(Duration::from_millis(1_500), Box::new(Reply::Json(json!({}))));
    let receiver = Receiver::start(late);
    let server = server(&receiver, BEFORE, "timeout = \"10s\"");
    let (mut tom, members) = (hooked(&server, "tom"), (0..80).map(|n| format!("member-{n}")).collect::<Vec<_>>());
    let cid = tom.start(&members.iter().map(|member| &**member).collect::<Vec<_>>());
    let first = tom.post(to(&cid, "first"));
    // Longer than a message may be on its way to so many before the next is refused.
    std::thread::sleep(Duration::from_millis(1_200));
    let second = tom.post(to(&cid, "second"));
    tom.answer(first).expect("the hook agrees");
    tom.answer(second).expect("the hook agrees");
}

#[test]
fn a_trusted_proxy_names_the_real_client() {
    let receiver = Receiver::agreeing();
    let tables = patient() + &app("hooked-app", &webhook(&receiver, BEFORE, ""));
    let line = "PROXY TCP4 203.0.113.9 127.0.0.1 40000 7701\r\n";
    let through = |server: &Server| {
        let mut tom = Client::over(Wire::through_proxy(server, line).unwrap());
        tom.app = "hooked-app".into();
        tom
    };
    // Loopback is trusted by default.
    let server = Server::with(tables.clone());
    let mut tom = through(&server);
    tom.open("tom");
    let cid = tom.start(&["jerry"]);
    tom.send(&cid, "from afar");
    assert_eq!(receiver.call("a call", |_| true).params["sourceIP"], "203.0.113.9");
    // Where nobody is trusted, the line is the beginning of a frame, and that frame no command.
    let server = Server::launch(Setup { listen: "trusted_proxies = []", tables, ..Setup::default() });
    let mut tom = through(&server);
    tom.wire.send_raw(&[0; 100]).unwrap();
    tom.gone();
}

#[test]
fn a_hook_may_change_a_message_and_choose_who_gets_it() {
    let receiver = Receiver::start(|call| match content(call) {
        "mild oath" => Reply::Json(json!({ "content": "****" })),
        "for jerry" => Reply::Json(json!({ "toPeers": ["jerry", "a-stranger"] })),
        _ => Reply::Json(json!({})),
    });
    let server = server(&receiver, BEFORE, "");
    let (mut tom, mut jerry, _) = pair(&server);
    let mut spike = hooked(&server, "spike");
    let cid = tom.start(&["jerry", "spike"]);

    tom.send(&cid, "mild oath");
    assert_eq!((jerry.text(), spike.text()), ("****".into(), "****".into()));
    tom.send(&cid, "for jerry");
    tom.send(&cid, "for all");
    assert_eq!((jerry.text(), jerry.text()), ("for jerry".into(), "for all".into()));
    assert_eq!(spike.text(), "for all");
    assert_eq!(texts(&tom.history(&cid)), ["****", "for jerry", "for all"]);
}

#[test]
fn a_hook_may_turn_a_message_into_bytes() {
    let receiver = Receiver::start(|_| Reply::Json(json!({ "content": "AAEC/w==", "bin": true })));
    let server = server(&receiver, BEFORE, "");
    let (mut tom, mut jerry, cid) = pair(&server);
    tom.send(&cid, "words");
    assert_eq!(jerry.message().binary_msg.as_deref(), Some(&[0, 1, 2, 255][..]));
    assert_eq!(tom.history(&cid)[0].bin, Some(true));
}

#[test]
fn a_hook_may_drop_a_message_with_words_of_its_own() {
    let receiver = Receiver::start(|call| match content(call) {
        "spam" => Reply::Json(json!({ "drop": true, "code": 77, "detail": "no spam here" })),
        "silent" => Reply::Json(json!({ "drop": true })),
        _ => Reply::Json(json!({})),
    });
    let server = server(&receiver, BEFORE, "");
    let (mut tom, mut jerry, cid) = pair(&server);
    let refused = tom.try_send(to(&cid, "spam")).unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (4402, "MESSAGE_REJECTED_BY_APP"));
    assert_eq!(refused.app, Some((77, "no spam here".to_owned())));
    let Refused { code, app, .. } = tom.try_send(to(&cid, "silent")).unwrap_err();
    assert_eq!((code, app), (4402, None));
    tom.send(&cid, "welcome");
    assert_eq!(jerry.text(), "welcome");
    assert_eq!(texts(&tom.history(&cid)), ["welcome"]);
}

/// All the ways in which a receiver can be of no use.
fn useless() -> Vec<(&'static str, Reply)> {
    let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
    let huge =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4000000\r\n\r\n{}", "x".repeat(4_000_000));
    vec![
        ("fails", Reply::Status(500)),
        ("hangs up", Reply::HangUp),
        ("stalls", Reply::After(Duration::from_secs(60), Box::new(Reply::Json(json!({}))))),
        ("says no JSON", raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")),
        ("says no HTTP", raw("hello\r\n\r\n")),
        ("says a list", Reply::Json(json!([1]))),
        ("lies about content", Reply::Json(json!({ "content": 42 }))),
        ("lies about receivers", Reply::Json(json!({ "toPeers": "jerry" }))),
        ("lies about bin", Reply::Json(json!({ "bin": "yes", "content": "x" }))),
        ("sends bad base64", Reply::Json(json!({ "bin": true, "content": "***" }))),
        ("makes it too long", Reply::Json(json!({ "content": "x".repeat(9000) }))),
        ("answers without end", raw(&huge)),
        ("breaks off", raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{")),
    ]
}

/// Replies as the message's words name it; a breaker must not open between them, so each has a good call behind.
fn misbehaving() -> Receiver {
    let ways = useless();
    Receiver::start(move |call| {
        let way = ways.iter().find(|(name, _)| *name == content(call));
        way.map_or_else(|| Reply::Json(json!({})), |(_, reply)| reply.clone())
    })
}

#[test]
fn when_a_hook_is_of_no_use_messages_pass_by_default() {
    let receiver = misbehaving();
    let server = server(&receiver, BEFORE, "timeout = \"300ms\"");
    let (mut tom, mut jerry, cid) = pair(&server);
    for (way, _) in useless() {
        tom.send(&cid, way);
        assert_eq!(jerry.text(), way);
        tom.send(&cid, "and on");
        assert_eq!(jerry.text(), "and on");
    }
    assert_eq!(texts(&tom.history(&cid)).len(), 2 * useless().len());
}

#[test]
fn when_a_hook_is_of_no_use_messages_are_refused_where_the_app_wants_it() {
    let receiver = misbehaving();
    let server = server(&receiver, BEFORE, "timeout = \"300ms\"\non_failure = \"refuse\"");
    let (mut tom, mut jerry, cid) = pair(&server);
    for (way, _) in useless() {
        let refused = tom.try_send(to(&cid, way)).expect_err(way);
        assert_eq!((refused.code, refused.app), (4402, None), "{way}");
        tom.send(&cid, "and on");
        assert_eq!(jerry.text(), "and on");
    }
    assert_eq!(texts(&tom.history(&cid)).len(), useless().len());
}

#[test]
fn nobody_at_the_address_is_a_failure_too() {
    let nobody = common::server::free_port();
    for (on_failure, passes) in [("pass", true), ("refuse", false)] {
        let hook = format!(
            "[[app.webhook]]\nurl = \"http://127.0.0.1:{nobody}/\"\nsecret = \"{SECRET}\"\nevents = {BEFORE}\n\
             on_failure = \"{on_failure}\"\n"
        );
        let server = Server::with(patient() + &app("hooked-app", &hook));
        let (mut tom, _jerry, cid) = pair(&server);
        // Past the point where the receiver is left alone for a while.
        for n in 0..12 {
            assert_eq!(tom.try_send(to(&cid, &n.to_string())).is_ok(), passes, "{on_failure} {n}");
        }
    }
}

#[test]
fn a_dead_receiver_is_left_alone_and_tried_again() {
    let well = Arc::new(AtomicUsize::new(0));
    let now = well.clone();
    let receiver = Receiver::start(move |_| match now.load(Ordering::Relaxed) {
        0 => Reply::Status(503),
        _ => Reply::Json(json!({ "content": "it is back" })),
    });
    let server = server(&receiver, BEFORE, "");
    let (mut tom, _jerry, cid) = pair(&server);
    for n in 0..40 {
        tom.send(&cid, &n.to_string());
    }
    let calls = receiver.calls().len();
    assert!(calls < 20, "a receiver that fails each time is asked less and less: {calls} calls of 40");
    well.store(1, Ordering::Relaxed);
    eventually("the hook to be asked again", || {
        tom.send(&cid, "are you back?");
        texts(&tom.history(&cid)).last().is_some_and(|words| words == "it is back").then_some(())
    });
}

#[test]
fn calls_overlap_and_each_conversation_keeps_its_order() {
    let inside = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = inside.clone();
    // The later a message, the sooner its answer; and the answers say what was asked.
    let receiver = Receiver::start(move |call| {
        let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
        seen.1.fetch_max(now, Ordering::SeqCst);
        let n: u64 = content(call).parse().unwrap();
        std::thread::sleep(Duration::from_millis(60 - (n * 7 % 60)));
        seen.0.fetch_sub(1, Ordering::SeqCst);
        match n % 10 {
            9 => Reply::Json(json!({ "drop": true })),
            _ => Reply::Json(json!({ "content": format!("seen {n}") })),
        }
    });
    let server = server(&receiver, BEFORE, "concurrency = 32");
    let (mut tom, mut jerry, cid) = pair(&server);
    let posted: Vec<_> = (0..60).map(|n: u32| tom.post(to(&cid, &n.to_string()))).collect();
    let answers: Vec<_> = posted.into_iter().map(|i| tom.answer(i)).collect();
    let expected: Vec<_> = (0..60).filter(|n| n % 10 != 9).map(|n| format!("seen {n}")).collect();
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.is_err(), n % 10 == 9, "{n}");
    }
    for words in &expected {
        assert_eq!(&jerry.text(), words);
    }
    assert_eq!(texts(&tom.history(&cid)), expected);
    let most = inside.1.load(Ordering::SeqCst);
    assert!((2..=32).contains(&most), "{most} calls overlapped");
}

#[test]
fn at_most_as_many_calls_as_configured_are_on_their_way() {
    let inside = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = inside.clone();
    let receiver = Receiver::start(move |_| {
        let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
        seen.1.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        seen.0.fetch_sub(1, Ordering::SeqCst);
        Reply::Json(json!({}))
    });
    let server = server(&receiver, BEFORE, "concurrency = 3");
    let (mut tom, _jerry, cid) = pair(&server);
    let other = tom.start(&["jerry"]);
    let posted: Vec<_> =
        (0..40).map(|n: u32| tom.post(to(if n < 20 { &cid } else { &other }, &n.to_string()))).collect();
    for i in posted {
        tom.answer(i).unwrap();
    }
    assert_eq!(inside.1.load(Ordering::SeqCst), 3);
}

#[test]
fn one_apps_slow_hook_slows_nobody_else() {
    let receiver = Receiver::start(|_| Reply::After(Duration::from_millis(400), Box::new(Reply::Json(json!({})))));
    let server = server(&receiver, BEFORE, "timeout = \"4s\"\nconcurrency = 4");
    let (mut tom, _jerry, cid) = pair(&server);
    // As many as its connection may have on their way: they wait for their hook for seconds.
    let slow: Vec<_> = (0..60).map(|n: u32| tom.post(to(&cid, &n.to_string()))).collect();
    receiver.call("the slow calls to begin", |_| true);

    let mut other = Client::login_to(&server, "other-app", "tom");
    let mut friend = Client::login_to(&server, "other-app", "jerry");
    let theirs = other.start(&["jerry"]);
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let sent = Instant::now();
        other.send(&theirs, &count.to_string());
        assert_eq!(friend.text(), count.to_string());
        slowest = slowest.max(sent.elapsed());
        count += 1;
    }
    assert!(slowest < Duration::from_millis(300), "one of {count} messages of another app took {slowest:?}");
    // What is no message is not slowed in the app with the hook either.
    let begun = Instant::now();
    let mut spike = hooked(&server, "spike");
    assert_eq!(spike.online(&["tom"]), ["tom"]);
    assert!(begun.elapsed() < Duration::from_millis(300));
    for i in slow {
        tom.answer(i).unwrap();
    }
}

#[test]
fn a_resend_does_not_ask_again() {
    let receiver = Receiver::agreeing();
    let server = server(&receiver, BEFORE, "");
    let (mut tom, _jerry, cid) = pair(&server);
    let direct = DirectCommand { dt: some("token"), ..to(&cid, "once") };
    let first = tom.try_send(direct.clone()).unwrap();
    assert_eq!(tom.try_send(direct).unwrap(), first);
    assert_eq!(receiver.calls().len(), 1);
}

#[test]
fn after_a_message_its_hook_is_told_who_was_there() {
    let receiver = Receiver::start(|_| Reply::After(Duration::from_millis(700), Box::new(Reply::Status(500))));
    let server = server(&receiver, AFTER, "");
    let (mut tom, mut jerry, _) = pair(&server);
    let cid = tom.start(&["jerry", "spike"]);
    let begun = Instant::now();
    let sent = tom.send(&cid, "done");
    assert_eq!(jerry.text(), "done");
    assert!(begun.elapsed() < Duration::from_millis(600), "nobody waits for it");
    let call = receiver.call("messageSent", |_| true);
    assert!(call.event == "messageSent" && is_signed(&call, SECRET), "{call:?}");
    assert_eq!((&call.params["msgId"], &call.params["content"]), (&json!(sent.id), &json!("done")));
    assert_eq!(call.params["offlinePeers"], json!(["spike"]));
    let online = call.params["onlinePeers"].as_array().unwrap();
    assert!(online.contains(&json!("jerry")), "{online:?}");
    assert_eq!(call.params["timestamp"], json!(sent.at));
}

/// An app whose pushes go to `pushes`, and whose offline hook, if any, is `hook`.
fn pushing(pushes: &Receiver, hook: Option<&Receiver>) -> Server {
    let hook = hook.map(|hook| webhook(hook, OFFLINE, "")).unwrap_or_default();
    let app = app("hooked-app", &format!("push_webhook = \"{}\"\n{hook}", pushes.url()));
    Server::with(patient() + &app)
}

fn ids(clients: &Value) -> Vec<&str> {
    let mut ids: Vec<_> =
        clients.as_array().unwrap().iter().map(|client| client["clientId"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_push_goes_to_those_who_are_offline() {
    let pushes = Receiver::agreeing();
    let server = pushing(&pushes, None);
    let (mut tom, mut jerry, _) = pair(&server);
    let cid = tom.start(&["jerry", "spike", "tyke"]);
    let data = r#"{"alert":"Tom says hello","badge":"Increment","mine":[1,2]}"#;
    let sent = tom.try_send(DirectCommand { push_data: some(data), ..to(&cid, "hello") }).unwrap();
    assert_eq!(jerry.text(), "hello");
    let push = pushes.call("a push", |_| true);
    let push = &push.params;
    assert_eq!(ids(&push["to"]), ["spike", "tyke"]);
    assert_eq!(push["data"], serde_json::from_str::<Value>(data).unwrap());
    assert_eq!((&push["appId"], &push["convId"]), (&json!("hooked-app"), &json!(cid)));
    assert_eq!((&push["msgId"], &push["from"]), (&json!(sent.id), &json!("tom")));
    assert_eq!(push["timestamp"], json!(sent.at));
}

#[test]
fn no_push_for_transient_messages_nor_for_the_muted_nor_where_all_are_there() {
    let pushes = Receiver::agreeing();
    let server = pushing(&pushes, None);
    let (mut tom, mut jerry, both) = pair(&server);
    let cid = tom.start(&["jerry", "spike"]);
    let mut spike = hooked(&server, "spike");
    spike.conv(OpType::Mute, ConvCommand { cid: some(&cid), ..ConvCommand::default() }).unwrap();
    spike.close();
    let data = some(r#"{"alert":"x"}"#);
    tom.try_send(DirectCommand { push_data: data.clone(), ..to(&cid, "muted") }).unwrap();
    tom.try_send(DirectCommand { push_data: data.clone(), ..to(&both, "all there") }).unwrap();
    jerry.close();
    eventually("jerry to be away", || tom.online(&["jerry"]).is_empty().then_some(()));
    tom.try_send(DirectCommand { push_data: data.clone(), transient: Some(true), ..to(&both, "typing") }).unwrap();
    // The push of a message behind all of them is the first that comes.
    tom.try_send(DirectCommand { push_data: data, ..to(&both, "the last") }).unwrap();
    let push = pushes.call("a push", |_| true);
    assert_eq!((ids(&push.params["to"]), &push.params["convId"]), (vec!["jerry"], &json!(both)));
    assert_eq!(pushes.calls().len(), 1);
}

#[test]
fn an_offline_hook_may_skip_or_rewrite_a_push() {
    let hook = Receiver::start(|call| match content(call) {
        "skip" => Reply::Json(json!({ "skip": true })),
        "rewrite" => Reply::Json(json!({ "pushMessage": "{\"alert\":\"rewritten\"}", "offlinePeers": ["spike"] })),
        _ => Reply::Json(json!({})),
    });
    let pushes = Receiver::agreeing();
    let server = pushing(&pushes, Some(&hook));
    let (mut tom, _jerry, _) = pair(&server);
    let cid = tom.start(&["spike", "tyke"]);
    let data = some(r#"{"alert":"as sent"}"#);
    tom.try_send(DirectCommand { push_data: data.clone(), ..to(&cid, "skip") }).unwrap();
    tom.try_send(DirectCommand { push_data: data.clone(), mention_all: Some(true), ..to(&cid, "rewrite") }).unwrap();
    let push = pushes.call("the rewritten push", |push| push.params["data"]["alert"] == "rewritten");
    assert_eq!(ids(&push.params["to"]), ["spike"]);
    let asked = hook.call("receiversOffline", |call| content(call) == "rewrite");
    assert_eq!(asked.event, "receiversOffline");
    let mut offline: Vec<_> =
        asked.params["offlinePeers"].as_array().unwrap().iter().map(|peer| peer.as_str().unwrap()).collect();
    offline.sort_unstable();
    assert_eq!((offline, &asked.params["mentionAll"]), (vec!["spike", "tyke"], &json!(true)));
    tom.try_send(DirectCommand { push_data: data, ..to(&cid, "as it is") }).unwrap();
    let push = pushes.call("the unchanged push", |push| push.params["data"]["alert"] == "as sent");
    assert_eq!(ids(&push.params["to"]), ["spike", "tyke"]);
    assert!(pushes.calls().len() == 2, "the skipped one was not pushed: {:?}", pushes.calls());
}

#[test]
fn a_push_is_repeated_until_it_is_taken() {
    let count = Mutex::new(0);
    let pushes = Receiver::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count < 3 { Reply::Status(503) } else { Reply::Json(json!({})) }
    });
    let server = pushing(&pushes, None);
    let (mut tom, _jerry, _) = pair(&server);
    let cid = tom.start(&["spike"]);
    tom.try_send(DirectCommand { push_data: some(r#"{"alert":"x"}"#), ..to(&cid, "hello") }).unwrap();
    eventually("three tries", || (pushes.calls().len() == 3).then_some(()));
    let messages: Vec<_> = pushes.calls().iter().map(|call| call.params["msgId"].clone()).collect();
    assert!(messages.windows(2).all(|pair| pair[0] == pair[1]), "{messages:?}");
}

#[test]
fn a_dead_push_receiver_holds_up_no_message() {
    let pushes = Receiver::start(|_| Reply::After(Duration::from_secs(30), Box::new(Reply::HangUp)));
    let server = pushing(&pushes, None);
    let (mut tom, mut jerry, _) = pair(&server);
    let cid = tom.start(&["jerry", "spike"]);
    let begun = Instant::now();
    for n in 0..200 {
        let direct = DirectCommand { push_data: some(r#"{"alert":"x"}"#), ..to(&cid, &n.to_string()) };
        tom.try_send(direct).unwrap();
        assert_eq!(text(&jerry.message()), n.to_string());
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "200 messages took {took:?}");
}

#[test]
fn who_may_not_send_is_refused_before_any_hook() {
    let receiver = Receiver::agreeing();
    let server = server(&receiver, BEFORE, "");
    let (_tom, _jerry, cid) = pair(&server);
    let mut spike = hooked(&server, "spike");
    assert_eq!(code(spike.try_send(to(&cid, "let me"))), 4401);
    assert!(receiver.calls().is_empty());
}

#[test]
fn what_hooks_did_to_a_message_is_told_afterwards() {
    let receiver = Receiver::start(|call| match (call.event.as_str(), content(call)) {
        ("messageReceived", "mend") => Reply::Json(json!({ "content": "mended", "toPeers": ["jerry"] })),
        ("messageReceived", "no") => Reply::Json(json!({ "drop": true })),
        ("messageReceived", "ill") => Reply::Status(500),
        ("receiversOffline", _) => Reply::Json(json!({ "skip": true })),
        _ => Reply::Json(json!({})),
    });
    let server = server(&receiver, r#"["messageReceived", "messageSent", "receiversOffline"]"#, "");
    let mut tom = hooked(&server, "tom");
    let cid = tom.start(&["jerry", "spike"]);
    // What happened at hook and otherwise, each as "what: detail", once `last` is there.
    let story = |query: String, last: &str| {
        eventually(&format!("{last} of {query}"), || {
            let answer = common::http::get(server.admin(), &format!("/trace?{query}")).json();
            let steps = answer["steps"].as_array().unwrap().clone();
            let said = |step: &Value| {
                let what = step["what"].as_str().unwrap_or_default();
                format!("{what}: {}", step["detail"].as_str().unwrap_or_default())
            };
            let said: Vec<_> = steps.iter().filter(|step| step["what"] != "stage").map(said).collect();
            said.iter().any(|step| step.starts_with(last)).then_some(said)
        })
    };
    let has = |story: &[String], wanted: &[&str]| {
        let mut rest = story.iter();
        for step in wanted {
            assert!(rest.any(|said| said.starts_with(step)), "no {step:?}, or not in order: {story:#?}");
        }
    };

    let mended = story(format!("message={}", tom.send(&cid, "mend").id), "skipped");
    let changed = "changed: content, and toPeers: jerry";
    has(
        &mended,
        &["asked: messageReceived", changed, "admitted", "stored", "delivered", "asked: receiversOffline", "skipped"],
    );
    let mended = story(format!("message={}", tom.send(&cid, "well").id), "told");
    has(&mended, &["asked: messageReceived", "admitted", "stored", "told: messageSent"]);
    assert!(!mended.iter().any(|step| step.starts_with("changed") || step.starts_with("failed")), "{mended:#?}");
    let ill = story(format!("message={}", tom.send(&cid, "ill").id), "stored");
    has(&ill, &["asked: messageReceived", "failed: messageReceived; the message went on", "admitted", "stored"]);
    assert_eq!(code(tom.try_send(to(&cid, "no"))), 4402);
    let all = story("client=tom".to_owned(), "refused");
    has(
        &all,
        &["opened", "changed", "failed: messageReceived", "asked: messageReceived", "refused: by messageReceived"],
    );
}

/// A receiver that answers when it is told to, and counts whom it keeps.
struct Gate {
    receiver: Receiver,
    state: Arc<(Mutex<(usize, usize)>, Condvar)>,
}

impl Gate {
    fn closed() -> Gate {
        let state = Arc::new((Mutex::new((0, 0)), Condvar::new()));
        let kept = state.clone();
        let receiver = Receiver::start(move |_| {
            let (lock, changed) = &*kept;
            let mut state = lock.lock().unwrap();
            state.0 += 1;
            let mut state = changed.wait_while(state, |(_, let_go)| *let_go == 0).unwrap();
            *state = (state.0 - 1, state.1 - 1);
            Reply::Json(json!({}))
        });
        Gate { receiver, state }
    }

    /// Calls that wait for their answer.
    fn inside(&self) -> usize {
        self.state.0.lock().unwrap().0
    }

    fn let_go(&self, calls: usize) {
        self.state.0.lock().unwrap().1 += calls;
        self.state.1.notify_all();
    }

    fn until(&self, what: &str, inside: usize, ever: usize) {
        eventually(&format!("{inside} calls, {ever} ever: {what}"), || {
            ((self.inside(), self.receiver.calls().len()) == (inside, ever)).then_some(())
        });
    }
}

#[test]
fn the_number_of_calls_at_once_changes_while_they_are_made() {
    let gate = Gate::closed();
    let stages = patient().replace("[stages.hook]\n", "[stages.hook]\nin_flight = 2\n");
    let hook = webhook(&gate.receiver, AFTER, "timeout = \"60s\"\nconcurrency = 64\n");
    let server = Server::with(stages + &app("hooked-app", &hook));
    let change = |calls: usize| {
        let answer = common::http::patch(server.admin(), "/stages/hook", &json!({ "in_flight": calls }).to_string());
        assert_eq!((answer.status, &answer.json()["in_flight"]), (200, &json!(calls)));
    };
    // A conversation each: what is told of one is told in order.
    let mut tom = hooked(&server, "tom");
    for n in 0..16 {
        let cid = tom.start(&[&format!("jerry-{n}")]);
        tom.send(&cid, "news");
    }
    // All of them want to be made.
    eventually("16 calls that wait or are made", || {
        let metrics = common::http::get(server.admin(), "/metrics").body;
        metrics.lines().any(|line| line.starts_with("tidegate_hook_pending{") && line.ends_with(" 16.0")).then_some(())
    });
    gate.until("as configured", 2, 2);
    change(5);
    gate.until("more begin at once", 5, 5);
    change(1);
    assert_eq!(gate.inside(), 5, "those that are made go on");
    gate.let_go(4);
    gate.until("and none takes their places", 1, 5);
    gate.let_go(1);
    gate.until("one at a time", 1, 6);
    gate.let_go(1);
    gate.until("still one", 1, 7);
    assert_eq!(common::http::request(server.admin(), "POST", "/undo", "").unwrap().status, 200);
    gate.until("taken back", 5, 11);
    change(64);
    gate.until("all that are left", 10, 16);
    gate.let_go(10);
    gate.until("the end", 0, 16);
}
