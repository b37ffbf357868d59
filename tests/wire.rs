//! What the wire's documents promise and the JavaScript SDK does not ask for: the habits of the other SDKs, who is told
//! of what and how often, unread counts at their edges, and a client that does not read.

mod common;

use std::collections::BTreeMap;

use common::client::{body, code, command, some, strings, text};
use common::{APP, Client, Server, Via, eventually, http, now_ms, patient};
use serde_json::json;
use tidegate_protocol::wire::*;

/// What came to a client about a conversation, in words, sorted; the client goes to the server and back for it, and a
/// message of `fence` marks the end.
fn told(client: &mut Client, cid: &str, fence: &str) -> Vec<String> {
    let end = client.push("the fence", |c| c.direct_message.as_ref().is_some_and(|m| text(m) == fence));
    assert_eq!(end.service, Some(2));
    let mut told: Vec<_> = client
        .held()
        .filter(|c| c.i.is_none())
        .filter_map(|c| {
            let conv = c.conv_message.as_ref().filter(|conv| conv.cid.as_deref() == Some(cid))?;
            assert_eq!((c.service, c.peer_id.as_deref()), (Some(2), Some(&*client.id)), "{c:?}");
            assert!(c.server_ts.is_some() && conv.udate.is_some(), "{c:?}");
            Some(format!("{:?} {} by {}", c.op(), conv.m.join(","), conv.init_by.as_deref().unwrap_or("nobody")))
        })
        .collect();
    told.sort();
    client.forget();
    told
}

#[test]
fn each_change_is_told_to_those_whom_it_concerns_and_once() {
    let server = Server::with(patient());
    let mut clients: BTreeMap<&str, Client> = ["tom", "jerry", "spike"].map(|id| (id, Client::tcp(&server, id))).into();
    let mut desk = Client::login(&server, Via::WebSocket, "tom");
    let mut at = |who: &str, fence: &str, cid: &str| told(clients.get_mut(who).unwrap(), cid, fence);

    let mut watcher = Client::tcp(&server, "butch");
    let mut act = Client::tcp(&server, "actor");
    let cid = act.start(&["tom", "jerry", "butch"]);
    act.send(&cid, "fence 1");
    let all = "actor,butch,jerry,tom";
    for who in ["tom", "jerry"] {
        let told = at(who, "fence 1", &cid);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], "Joined  by actor");
        let mut members: Vec<_> = told[1].split([' ', ',']).collect();
        members.sort_unstable();
        assert!(all.split(',').all(|member| members.contains(&member)), "{told:?}");
    }
    assert_eq!(told(&mut desk, &cid, "fence 1").len(), 2);
    told(&mut watcher, &cid, "fence 1");

    act.add(&cid, &["spike"]).unwrap();
    act.send(&cid, "fence 2");
    assert_eq!(at("spike", "fence 2", &cid), ["Joined  by actor", "MembersJoined spike by actor"]);
    assert_eq!(at("jerry", "fence 2", &cid), ["MembersJoined spike by actor"]);
    assert_eq!(at("tom", "fence 2", &cid), ["MembersJoined spike by actor"]);

    // Again: nothing to tell.
    assert_eq!(act.add(&cid, &["spike"]).unwrap().allowed_pids, ["spike"]);
    act.send(&cid, "fence 3");
    assert!(at("jerry", "fence 3", &cid).is_empty() && at("spike", "fence 3", &cid).is_empty());

    let attr = Some(JsonObjectMessage { data: r#"{"name":"new"}"#.into() });
    act.conv(OpType::Update, ConvCommand { cid: some(&cid), attr, ..ConvCommand::default() }).unwrap();
    act.conv(OpType::Mute, ConvCommand { cid: some(&cid), ..ConvCommand::default() }).unwrap();
    act.send(&cid, "fence 4");
    assert_eq!(at("jerry", "fence 4", &cid), ["Updated  by actor"]);
    assert_eq!(told(&mut desk, &cid, "fence 4").last().map(String::as_str), Some("Updated  by actor"));

    act.remove(&cid, &["spike"]).unwrap();
    act.send(&cid, "fence 5");
    assert_eq!(at("jerry", "fence 5", &cid), ["MembersLeft spike by actor"]);
    let left = clients.get_mut("spike").unwrap().notice(OpType::Left);
    assert_eq!(left.init_by.as_deref(), Some("actor"));
    // Spike goes to the server and back: neither the last fence nor word of its own leaving as a member's came.
    let spike = clients.get_mut("spike").unwrap();
    spike.echo();
    assert!(
        spike
            .held()
            .all(|c| c.op() != OpType::MembersLeft && c.direct_message.as_ref().is_none_or(|m| text(m) != "fence 5"))
    );
    // The actor itself heard of the start and of joins and leaves, never of its own update.
    clients.get_mut("jerry").unwrap().send(&cid, "fence 6");
    let mine = told(&mut act, &cid, "fence 6");
    let mine: Vec<_> = mine.iter().map(|told| told.split(' ').next().unwrap()).collect();
    assert_eq!(mine, ["Joined", "MembersJoined", "MembersJoined", "MembersLeft"]);
}

#[test]
fn an_answer_comes_before_what_it_caused() {
    let server = Server::with(patient());
    let mut tom = Client::tcp(&server, "tom");
    tom.open("jerry");
    tom.id = "tom".into();
    for n in 0..50 {
        // Both live on one connection: the order of what comes is the order of one stream.
        let mut ask = command(CommandType::Conv, Some(OpType::Start));
        ask.conv_message = Some(Box::new(ConvCommand { m: strings(&["jerry"]), ..ConvCommand::default() }));
        let i = tom.put_as("tom", ask);
        let first = tom.push("anything", |_| true);
        assert_eq!(first.i, Some(i), "{n}: {first:?}");
        let cid = first.conv_message.unwrap().cid.unwrap();
        for _ in 0..4 {
            tom.push("a notice of the start", |c| c.conv_message.is_some());
        }
        let i = tom.post(DirectCommand { cid: some(&cid), msg: body("x"), ..DirectCommand::default() });
        let first = tom.push("anything", |_| true);
        assert_eq!(first.i, Some(i), "{n}: {first:?}");
        let heard = tom.push("the message", |_| true);
        assert_eq!((heard.cmd(), heard.peer_id.as_deref()), (CommandType::Direct, Some("jerry")));
    }
}

#[test]
fn java_opens_in_its_own_way() {
    let server = Server::start();
    let mut java = Client::connect(&server, Via::WebSocket);
    // The app is named once, in a login without `i`; opens name it no more.
    let mut login = command(CommandType::Login, None);
    login.app_id = some(APP);
    login.installation_id = some("device-1");
    java.wire.send(&login).unwrap();
    let mut open = command(CommandType::Session, Some(OpType::Open));
    open.session_message = Some(Box::new(SessionCommand { device_id: some("device-1"), ..SessionCommand::default() }));
    let mut again = open.clone();
    again.session_message.as_mut().unwrap().r = Some(true);
    // Twice, back to back.
    let (i, j) = (java.put_as("tom", open), java.put_as("tom", again));
    let token = java.answer(i).unwrap().session_message.unwrap().st.unwrap();
    assert_eq!(java.answer(j).unwrap().op(), OpType::Opened);
    java.id = "tom".into();

    // `i` may be 0 or negative, and comes back as it was.
    for i in [0, -1, -65_535] {
        let mut echo = command(CommandType::Session, Some(OpType::Query));
        echo.session_message =
            Some(Box::new(SessionCommand { session_peer_ids: strings(&["tom"]), ..SessionCommand::default() }));
        (echo.i, echo.peer_id) = (Some(i), some("tom"));
        java.wire.send(&echo).unwrap();
        let answer = java.push("an answer", |c| c.i == Some(i));
        assert_eq!(answer.session_message.unwrap().online_session_peer_ids, ["tom"]);
    }

    // A re-open by token has neither `i` nor, at times, an app; its answer has no `i` either.
    let reopen = |token: &str| {
        let mut reopen = command(CommandType::Session, Some(OpType::Open));
        reopen.peer_id = some("tom");
        let session = SessionCommand { r: Some(true), st: some(token), ..SessionCommand::default() };
        reopen.session_message = Some(Box::new(session));
        reopen
    };
    let mut next = Client::connect(&server, Via::WebSocket);
    next.wire.send(&reopen(&token)).unwrap();
    let opened = next.push("opened", |c| c.op() == OpType::Opened);
    assert_eq!((opened.i, opened.peer_id.as_deref()), (None, Some("tom")));
    let mut bad = reopen("bogus");
    bad.app_id = some(APP);
    next.wire.send(&bad).unwrap();
    let error = next.push("an error", |c| c.error_message.is_some());
    assert_eq!((error.i, error.peer_id.as_deref()), (None, Some("tom")));
    assert_eq!(error.error_message.unwrap().code, 4112);
}

#[test]
fn a_command_without_a_name_is_the_only_clients() {
    let server = Server::start();
    let mut client = Client::connect(&server, Via::Tcp);
    let ask = || {
        let mut ask = command(CommandType::Conv, Some(OpType::Start));
        ask.conv_message = Some(Box::new(ConvCommand { m: strings(&["jerry"]), ..ConvCommand::default() }));
        ask
    };
    assert_eq!(code(client.ask_as("", ask())), 4105);
    client.open("tom");
    let started = client.ask_as("", ask()).unwrap();
    assert_eq!(started.peer_id.as_deref(), Some("tom"));
    assert_eq!(code(client.ask_as("somebody-else", ask())), 4105);
    client.close();
    assert_eq!(code(client.ask_as("", ask())), 4105);
    // The socket may carry the next one.
    client.open("jerry");
    assert!(client.ask_as("jerry", ask()).is_ok());
}

#[test]
fn an_ended_token_is_met_quietly_and_a_fresh_one_replaces_it() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let old = tom.token.clone();
    let mut refresh = command(CommandType::Session, Some(OpType::Refresh));
    refresh.session_message = Some(Box::new(SessionCommand { st: some(&old), ..SessionCommand::default() }));
    let refreshed = tom.ask(refresh).unwrap();
    assert_eq!(refreshed.op(), OpType::Refreshed);
    let fresh = refreshed.session_message.unwrap().st.unwrap();
    let mut next = Client::connect(&server, Via::Tcp);
    next.reopen("tom", &fresh).unwrap();
    let last = next.token.clone();
    next.close();
    // JS re-opens all that its connection ever had: 4111 it takes quietly, 4112 would let it in again.
    assert_eq!(code(Client::connect(&server, Via::Tcp).reopen("tom", &last)), 4111);
}

#[test]
fn unread_counts_begin_with_the_join_and_leave_out_ones_own() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["spike"]);
    for n in 0..3 {
        tom.send(&cid, &n.to_string());
    }
    tom.add(&cid, &["jerry"]).unwrap();
    let direct = DirectCommand {
        cid: some(&cid),
        msg: body("@jerry"),
        mention_pids: strings(&["jerry"]),
        ..DirectCommand::default()
    };
    let mention = tom.try_send(direct).unwrap();
    let unkept = DirectCommand { transient: Some(true), cid: some(&cid), msg: body("x"), ..DirectCommand::default() };
    tom.try_send(unkept).unwrap();

    // Messages that follow each other quickly have times ahead of the clock.
    eventually("the clock to pass the message", || (now_ms() > mention.at).then_some(()));
    let mut jerry = Client::connect(&server, Via::WebSocket);
    jerry.open("jerry");
    let push = jerry.push("unread", |c| c.unread_message.is_some());
    assert_eq!((push.service, push.i), (Some(2), None));
    let unread = push.unread_message.unwrap();
    let at = unread.notif_time.unwrap();
    assert_eq!((unread.convs.len(), unread.convs[0].unread), (1, 1), "{unread:?}");
    assert_eq!((unread.convs[0].mentioned, unread.convs[0].mid.as_deref()), (Some(true), Some(&*mention.id)));

    // Nothing new since: the next log-in that says so hears nothing; one that does not hears it again.
    let knows = SessionCommand { last_unread_notif_time: Some(at), ..SessionCommand::default() };
    let mut informed = Client::connect(&server, Via::Tcp);
    informed.try_open("jerry", knows).unwrap();
    let mut ignorant = Client::connect(&server, Via::Tcp);
    ignorant.open("jerry");
    assert_eq!(ignorant.unread()[0].unread, 1);

    // Reading clears it on all devices, and the mark never goes back.
    ignorant.read(&cid, &mention);
    for device in [&mut jerry, &mut ignorant, &mut informed] {
        let unread = device.unread();
        assert_eq!((unread[0].unread, unread[0].mentioned.unwrap_or(false)), (0, false), "{unread:?}");
        assert_eq!(unread[0].mid.as_deref(), Some(&*mention.id));
    }
    let newer = tom.send(&cid, "newer");
    jerry.text();
    jerry.read(&cid, &newer);
    jerry.unread();
    jerry.read(&cid, &mention);
    jerry.echo();
    let marks = tom.conv(OpType::MaxRead, ConvCommand { cid: some(&cid), ..ConvCommand::default() }).unwrap();
    assert!(marks.max_read_timestamp >= Some(newer.at), "{marks:?}");
}

#[test]
fn queries_show_what_the_wire_promises() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let attr = Some(JsonObjectMessage { data: r#"{"name":"n","attr":{"a":1},"colour":"red"}"#.into() });
    let cid = tom
        .try_start(ConvCommand { m: strings(&["jerry", "jerry"]), unique: Some(true), attr, ..ConvCommand::default() })
        .unwrap();
    let sent = tom.send(&cid, "last words");
    let ask = |flag: i32| ConvCommand {
        r#where: Some(JsonObjectMessage { data: json!({ "objectId": cid }).to_string() }),
        flag: Some(flag),
        ..ConvCommand::default()
    };
    let results =
        |answer: ConvCommand| -> serde_json::Value { serde_json::from_str(&answer.results.unwrap().data).unwrap() };
    let row = &results(tom.conv(OpType::Query, ask(2)).unwrap())[0];
    assert_eq!((&row["objectId"], &row["name"], &row["c"]), (&json!(cid), &json!("n"), &json!("tom")));
    assert_eq!((&row["attr"], &row["colour"]), (&json!({ "a": 1 }), &json!("red")));
    assert_eq!((&row["conv_type"], &row["unique"]), (&json!(1), &json!(true)));
    assert_eq!(row["uniqueId"].as_str().map(str::len), Some(32));
    assert_eq!(row["m"].as_array().unwrap().len(), 2);
    for date in ["createdAt", "updatedAt"] {
        let date = row[date].as_str().unwrap();
        assert!(date.len() == 24 && date.ends_with('Z'), "{date}");
    }
    assert_eq!(row["lm"]["__type"], "Date");
    assert_eq!((&row["msg"], &row["msg_mid"], &row["bin"]), (&json!("last words"), &json!(sent.id), &json!(false)));
    assert_eq!((&row["msg_from"], &row["msg_timestamp"]), (&json!("tom"), &json!(sent.at)));
    let compact = &results(tom.conv(OpType::Query, ask(1)).unwrap())[0];
    assert!(compact.get("m").is_none() && compact.get("msg").is_none(), "{compact}");

    // With no condition at all: those of the caller, the newest message first.
    let mut spike = Client::tcp(&server, "spike");
    assert_eq!(results(spike.conv(OpType::Query, ConvCommand::default()).unwrap()), json!([]));
    let other = tom.start(&["spike"]);
    let mine = results(tom.conv(OpType::Query, ConvCommand::default()).unwrap());
    let mine: Vec<_> = mine.as_array().unwrap().iter().map(|row| row["objectId"].as_str().unwrap()).collect();
    assert_eq!(mine.len(), 2);
    assert!(mine.contains(&&*cid) && mine.contains(&&*other));
    let is_member = ConvCommand { cids: vec![cid.clone(), other.clone()], ..ConvCommand::default() };
    let answer = results(spike.conv(OpType::IsMember, is_member).unwrap());
    assert_eq!(answer, json!({ cid: false, other: true }));
}

#[test]
fn who_does_not_read_costs_only_itself() {
    let server = Server::with(format!("[net]\noutbox = \"16 KiB\"\n{}", patient()));
    let mut tom = Client::tcp(&server, "tom");
    let mut deaf = Client::tcp(&server, "deaf");
    let mut jerry = Client::tcp(&server, "jerry");
    let cid = tom.start(&["deaf", "jerry"]);
    let words = "x".repeat(4_000);
    let closed = || {
        let metrics = http::get(server.admin(), "/metrics").body;
        metrics.lines().find_map(|line| line.strip_prefix("tidegate_connections ")?.parse::<f64>().ok())
    };
    // Past its outbox and what the system's sockets hold; the others get all of it.
    let mut sent = 0;
    while closed() > Some(2.0) {
        assert!(sent < 20_000, "a connection that takes nothing is still open after {sent} messages");
        for _ in 0..50 {
            tom.send(&cid, &words);
            jerry.message();
            sent += 1;
        }
    }
    // What had left for it before is still there to be read, and then the end.
    let gone = deaf.gone();
    drop(gone);
    let last = tom.send(&cid, "the last");
    let mut back = Client::tcp(&server, "deaf");
    let unread = back.unread();
    assert_eq!((unread[0].unread, unread[0].mid.as_deref()), (100, Some(&*last.id)));
    assert_eq!(jerry.text(), "the last");
}

#[test]
fn a_room_takes_back_who_was_away_for_a_moment() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let mut jerry = Client::tcp(&server, "jerry");
    let mut spike = Client::tcp(&server, "spike");
    let cid = tom.room();
    for client in [&mut jerry, &mut spike] {
        let me = client.id.clone();
        client.add(&cid, &[&me]).unwrap();
    }
    // Spike leaves; jerry's line breaks.
    spike.remove(&cid, &["spike"]).unwrap();
    let token = jerry.token.clone();
    drop(jerry);
    let count = |tom: &mut Client| {
        tom.conv(OpType::Count, ConvCommand { cid: some(&cid), ..ConvCommand::default() }).unwrap().count
    };
    eventually("the room to be tom's alone", || (count(&mut tom) == Some(1)).then_some(()));
    let mut jerry = Client::connect(&server, Via::WebSocket);
    jerry.reopen("jerry", &token).unwrap();
    eventually("jerry to be back", || (count(&mut tom) == Some(2)).then_some(()));
    tom.send(&cid, "welcome back");
    assert_eq!(jerry.text(), "welcome back");

    // A room has members who are there, and no notices.
    let members = ConvCommand { cid: some(&cid), limit: Some(50), ..ConvCommand::default() };
    let mut members = tom.conv(OpType::Members, members).unwrap().m;
    members.sort();
    assert_eq!(members, ["jerry", "tom"]);
    assert_eq!(code(tom.add(&cid, &["somebody-else"])), 4314);
    assert!(tom.held().all(|c| c.cmd() != CommandType::Conv), "{:?}", tom.held().collect::<Vec<_>>());
}
