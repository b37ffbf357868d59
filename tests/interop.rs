//! Every transport in one conversation: what one says all hear, in the same order, and it is what history has.

mod common;

use common::client::{body, some, strings, text, texts};
use common::{Client, PATIENCE, Server, Via, Wire, eventually, http};
use tidegate_protocol::wire::*;

/// One client for each transport, named after it.
fn everyone(server: &Server) -> Vec<Client> {
    Via::ALL.iter().map(|via| Client::login(server, *via, &format!("{via:?}"))).collect()
}

#[test]
fn all_transports_meet_in_one_conversation() {
    let server = Server::start();
    let mut clients = everyone(&server);
    let names: Vec<String> = clients.iter().map(|client| client.id.clone()).collect();
    let cid = clients[0].start(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for client in &mut clients {
        let joined = client.notice(OpType::Joined);
        assert_eq!((joined.cid.as_deref(), joined.init_by.as_deref()), (Some(&*cid), Some(&*names[0])));
    }

    // Each speaks once, and again.
    let mut sent = Vec::new();
    for round in 0..2 {
        for client in &mut clients {
            let words = format!("{} says {round}", client.id);
            sent.push((client.send(&cid, &words).id, words));
        }
    }

    for client in &mut clients {
        let others: Vec<_> = sent.iter().filter(|(_, words)| !words.starts_with(&format!("{} ", client.id))).collect();
        let heard: Vec<_> = others.iter().map(|_| client.message()).collect();
        for (message, (id, words)) in heard.iter().zip(&others) {
            assert_eq!((message.id.as_deref(), text(message)), (Some(&**id), words.clone()), "{}", client.id);
            assert_eq!(message.cid.as_deref(), Some(&*cid));
            assert!(words.starts_with(message.from_peer_id.as_deref().unwrap()));
            assert!(message.binary_msg.is_none() && message.transient.is_none() && message.dt.is_none());
        }
        let kept: Vec<_> = client.history(&cid).into_iter().map(|item| item.msg_id.unwrap()).collect();
        assert_eq!(kept, sent.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
    }
}

#[test]
fn bytes_mentions_and_empty_words_survive_each_transport() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let bytes: Vec<u8> = (0..=255).collect();
    for via in Via::ALL {
        let mut other = Client::login(&server, via, &format!("other-{via:?}"));
        let name = other.id.clone();
        let cid = tom.start(&[&name]);
        let binary = DirectCommand { cid: some(&cid), binary_msg: Some(bytes.clone().into()), ..Default::default() };
        other.try_send(binary).unwrap();
        assert_eq!(tom.message().binary_msg.as_deref(), Some(&bytes[..]));

        let mention = DirectCommand {
            cid: some(&cid),
            msg: body(""),
            mention_pids: strings(&[&name]),
            mention_all: Some(true),
            ..Default::default()
        };
        tom.try_send(mention).unwrap();
        let heard = other.message();
        assert_eq!((text(&heard).as_str(), heard.mention_all), ("", Some(true)));
        assert_eq!(heard.mention_pids, [name]);
    }
}

#[test]
fn a_client_hears_on_all_its_devices_but_not_its_own_words() {
    let server = Server::start();
    let mut phone = Client::login(&server, Via::WebSocketTls, "tom");
    let mut desk = Client::login(&server, Via::Tcp, "tom");
    let mut jerry = Client::tcp(&server, "jerry");
    let cid = phone.start(&["jerry"]);
    phone.send(&cid, "from the phone");
    assert_eq!((desk.text(), jerry.text()), ("from the phone".into(), "from the phone".into()));
    jerry.send(&cid, "to both");
    // The phone did not get its own: the first that it gets is jerry's.
    assert_eq!((phone.text(), desk.text()), ("to both".into(), "to both".into()));
}

#[test]
fn receipts_and_marks_cross_transports() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let mut jerry = Client::login(&server, Via::Base64, "jerry");
    let cid = tom.start(&["jerry"]);
    let direct = DirectCommand { cid: some(&cid), msg: body("there?"), r: Some(true), ..Default::default() };
    let sent = tom.try_send(direct).unwrap();
    let heard = jerry.message();
    let at = heard.timestamp.unwrap();
    jerry.delivered(&cid, at, at);
    let receipt = tom.receipt();
    assert_eq!((receipt.id.as_deref(), receipt.cid.as_deref()), (Some(&*sent.id), Some(&*cid)));
    assert_eq!((receipt.from.as_deref(), receipt.read), (Some("jerry"), None));
    jerry.read(&cid, &sent);
    let receipt = tom.receipt();
    assert_eq!((receipt.id.as_deref(), receipt.read), (Some(&*sent.id), Some(true)));

    let marks = tom.conv(OpType::MaxRead, ConvCommand { cid: some(&cid), ..Default::default() }).unwrap();
    assert!(marks.max_read_timestamp >= Some(at) && marks.max_ack_timestamp >= Some(at), "{marks:?}");
    let all = ConvCommand { cid: some(&cid), query_all_members: Some(true), ..Default::default() };
    let all = tom.conv(OpType::MaxRead, all).unwrap().max_read_tuples;
    assert_eq!(all.iter().map(|tuple| tuple.pid.as_deref()).collect::<Vec<_>>(), [Some("jerry")]);
    assert!(tom.history(&cid)[0].ack_at >= Some(at));
}

#[test]
fn who_was_away_gets_counts() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let sent: Vec<_> = (0..3).map(|n| tom.send(&cid, &format!("missed {n}"))).collect();

    let mut jerry = Client::login(&server, Via::WebSocket, "jerry");
    let unread = jerry.unread();
    assert_eq!((unread.len(), unread[0].unread), (1, 3));
    assert_eq!((&*unread[0].cid, unread[0].mid.as_deref()), (&*cid, Some(&*sent[2].id)));
    assert_eq!(unread[0].data.as_deref(), Some(&b"missed 2"[..]));

    jerry.read(&cid, &sent[1]);
    assert_eq!(jerry.unread()[0].unread, 1);
    jerry.read(&cid, &sent[2]);
    assert_eq!(jerry.unread()[0].unread, 0);
}

#[test]
fn older_clients_get_what_they_missed_one_by_one() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let sent: Vec<_> = (0..3).map(|n| tom.send(&cid, &format!("missed {n}"))).collect();
    let mut jerry = Client::login(&server, Via::Pushed, "jerry");
    for (n, sent) in sent.iter().enumerate() {
        let missed = jerry.message();
        assert_eq!((text(&missed), missed.offline), (format!("missed {n}"), Some(true)));
        assert_eq!(missed.id.as_deref(), Some(&*sent.id));
    }
    // What was acknowledged does not come again.
    jerry.delivered(&cid, sent[0].at, sent[1].at);
    jerry.echo();
    jerry.wire.close();
    eventually("jerry to be away", || tom.online(&["jerry"]).is_empty().then_some(()));
    let mut again = Client::login(&server, Via::Pushed, "jerry");
    assert_eq!(again.text(), "missed 2");
}

#[test]
fn a_transient_message_is_heard_and_not_kept() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let mut jerry = Client::login(&server, Via::WebSocket, "jerry");
    let cid = tom.start(&["jerry"]);
    let direct = DirectCommand { cid: some(&cid), msg: body("typing"), transient: Some(true), ..Default::default() };
    tom.try_send(direct).unwrap();
    let heard = jerry.message();
    assert_eq!((text(&heard).as_str(), heard.transient), ("typing", Some(true)));
    tom.send(&cid, "kept");
    assert_eq!(texts(&tom.history(&cid)), ["kept"]);
}

#[test]
fn history_keeps_its_bounds() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let sent: Vec<_> = (0..10).map(|n| tom.send(&cid, &n.to_string())).collect();
    let mut page = |logs: LogsCommand| texts(&tom.logs(LogsCommand { cid: some(&cid), ..logs }).unwrap()).concat();
    let new = Some(logs_command::QueryDirection::New as i32);
    let (t, mid) = (Some(sent[3].at), some(&sent[3].id));
    let (tt, tmid) = (Some(sent[6].at), some(&sent[6].id));

    assert_eq!(page(LogsCommand::default()), "0123456789");
    assert_eq!(page(LogsCommand { limit: Some(3), ..Default::default() }), "789");
    assert_eq!(page(LogsCommand { l: Some(3), direction: new, ..Default::default() }), "012");
    assert_eq!(page(LogsCommand { l: Some(0), ..Default::default() }), "");
    assert_eq!(page(LogsCommand { t, mid: mid.clone(), limit: Some(2), ..Default::default() }), "12");
    assert_eq!(page(LogsCommand { t, t_included: Some(true), limit: Some(2), ..Default::default() }), "23");
    for (starts, ends, expected) in
        [(false, false, "45"), (true, false, "345"), (false, true, "456"), (true, true, "3456")]
    {
        let logs = LogsCommand {
            t,
            mid: mid.clone(),
            t_included: Some(starts),
            tt,
            tmid: tmid.clone(),
            tt_included: Some(ends),
            direction: new,
            ..Default::default()
        };
        assert_eq!(page(logs), expected);
    }
    // No start, direction old: from now back to the end point.
    assert_eq!(page(LogsCommand { tt, tmid: tmid.clone(), ..Default::default() }), "789");
}

#[test]
fn what_cannot_be_done_is_said_with_its_code() {
    let server = Server::start();
    let mut nobody = Client::connect(&server, Via::Tcp);
    let conv = ConvCommand { m: strings(&["x"]), ..Default::default() };
    assert_eq!(common::client::code(nobody.try_start(conv)), 4105);
    nobody.echo();
    assert_eq!(common::client::code(nobody.try_open(&"x".repeat(65), SessionCommand::default())), 4103);

    let mut tom = Client::tcp(&server, "tom");
    let mut spike = Client::tcp(&server, "spike");
    let cid = tom.start(&["jerry"]);
    let to = |cid: &str| DirectCommand { cid: some(cid), msg: body("?"), ..Default::default() };
    let strange = "5".repeat(24);
    let refused = spike.try_send(to(&cid)).unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (4401, "INVALID_MESSAGING_TARGET"));
    assert_eq!(common::client::code(spike.try_send(to(&strange))), 4401);
    let long = DirectCommand { msg: Some(vec![b'x'; 6 * 1024].into()), ..to(&cid) };
    assert_eq!(common::client::code(tom.try_send(long)), 4109);
    assert_eq!(common::client::code(spike.logs(LogsCommand { cid: some(&cid), ..Default::default() })), 4312);
    assert_eq!(common::client::code(spike.add(&cid, &["friend"])), 4317);
    let unknown = ConvCommand { cid: some(&strange), ..Default::default() };
    let refused = tom.conv(OpType::Update, unknown).unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (4303, "CONVERSATION_NOT_FOUND"));
    let members = ConvCommand { cid: some(&cid), ..Default::default() };
    assert_eq!(common::client::code(tom.conv(OpType::Members, members)), 4316);
    let filter =
        |data: &str| ConvCommand { r#where: Some(JsonObjectMessage { data: data.into() }), ..Default::default() };
    assert_eq!(common::client::code(tom.conv(OpType::Query, filter(r#"{"a":{"$near":1}}"#))), 4310);
    // Commands of other products are answered too, and the connection lives on.
    for cmd in [CommandType::Room, CommandType::Presence, CommandType::Pubsub, CommandType::Blacklist] {
        assert!(tom.ask(common::client::command(cmd, None)).is_err());
    }
    tom.send(&cid, "still here");
}

#[test]
fn a_frame_that_is_no_command_ends_its_connection_with_its_code() {
    let server = Server::start();
    let mut wire = Wire::connect(&server, Via::WebSocket).unwrap();
    wire.send_raw(&[0xff; 40]).unwrap();
    let gone = Client::over(wire).gone().to_string();
    assert!(gone.contains("4114"), "{gone}");
    Client::tcp(&server, "somebody-else").echo();
}

#[test]
fn an_unknown_app_is_refused_and_closed() {
    let server = Server::start();
    let mut client = Client::connect(&server, Via::WebSocket);
    client.app = "no-such-app".into();
    assert_eq!(common::client::code(client.try_open("tom", SessionCommand::default())), 4100);
    let gone = client.gone().to_string();
    assert!(gone.contains("4100"), "{gone}");
}

#[test]
fn a_page_from_elsewhere_is_refused_where_an_app_names_its_origins() {
    let server = Server::with(common::app("shop", r#"origins = ["https://shop.example"]"#));
    let mut ours = Client::over(Wire::from_page(&server, "https://shop.example").unwrap());
    ours.app = "shop".into();
    ours.open("tom");
    let mut theirs = Client::over(Wire::from_page(&server, "https://evil.example").unwrap());
    theirs.app = "shop".into();
    _ = theirs.try_open("tom", SessionCommand::default()).unwrap_err();
    let gone = theirs.gone().to_string();
    assert!(gone.contains("4110"), "{gone}");
    // Programs say no origin.
    Client::login_to(&server, "shop", "jerry");
}

#[test]
fn plain_connections_are_refused_where_only_tls_is_wanted() {
    let server = common::Server::launch(common::Setup { listen: "plain = false", ..Default::default() });
    Client::login(&server, Via::TcpTls, "tom");
    Client::login(&server, Via::WebSocketTls, "jerry");
    assert!(Wire::connect(&server, Via::WebSocket).is_err());
    let mut plain = Wire::connect(&server, Via::Tcp).unwrap();
    _ = plain.send_raw(&[]);
    assert!(plain.next(std::time::Instant::now() + PATIENCE).is_err());
}

#[test]
fn the_router_tells_where_to_connect() {
    let server = Server::start();
    let answer = http::get(server.http(), "/v1/route?appId=tidegate-dev&secure=true&_t=1");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let told = answer.json();
    let expected = format!("ws://{}", server.http());
    for field in ["server", "secondary"] {
        assert!(told[field].as_str().unwrap().starts_with(&expected), "{told}");
    }
    assert!(told["ttl"].as_u64().unwrap() > 0);
    let unknown = http::get(server.http(), "/v1/route?appId=nobody");
    assert_eq!((unknown.status, unknown.json()["code"].as_i64()), (404, Some(404)));
    assert_eq!(http::get(server.http(), "/1.1/nothing/here").status, 404);
}

#[test]
fn development_has_a_page_and_journeys_and_nothing_else_has() {
    let development = Server::start();
    let mut tom = Client::tcp(&development, "tom");
    let cid = tom.start(&["jerry"]);
    let sent = tom.send(&cid, "look at my way");
    assert_eq!(http::get(development.http(), "/").status, 200);
    let journey = eventually("the journey of a message", || {
        let answer = http::get(development.http(), &format!("/dev/journeys/{}", sent.id));
        (answer.status == 200).then(|| answer.json().to_string())
    });
    for stage in ["decode", "authenticate", "route", "persist", "fan_out"] {
        assert!(journey.contains(stage), "{stage} is not in {journey}");
    }
    let server = Server::with(common::app("own-app-1", ""));
    for path in ["/", "/dev/journeys/x"] {
        assert_eq!(http::get(server.http(), path).status, 404, "{path}");
    }
}

#[test]
fn heartbeats_are_answered() {
    let server = Server::start();
    let mut ws = Wire::connect(&server, Via::WebSocket).unwrap();
    ws.ping().unwrap();
    let mut client = Client::over(ws);
    client.echo();
    // C# sends one without `i`, in the name of nobody, and knows the answer by that.
    let mut echo = common::client::command(CommandType::Echo, None);
    echo.peer_id = some("some-connection");
    client.wire.send(&echo).unwrap();
    let answer = client.push("an echo without i", |c| c.cmd() == CommandType::Echo);
    assert_eq!(answer.i, None);
}

#[test]
fn a_tag_is_held_by_one_device() {
    let server = Server::start();
    let on = |device: &str, r: bool| SessionCommand {
        tag: some("mobile"),
        device_id: some(device),
        r: Some(r),
        ..SessionCommand::default()
    };
    let mut first = Client::connect(&server, Via::Tcp);
    first.try_open("tom", on("one", false)).unwrap();
    let token = first.token.clone();
    let mut second = Client::connect(&server, Via::WebSocket);
    second.try_open("tom", on("two", false)).unwrap();
    let closed = first.push("session/closed", |c| c.cmd() == CommandType::Session && c.op() == OpType::Closed);
    let session = closed.session_message.unwrap();
    assert_eq!((session.code, session.reason.as_deref()), (Some(4111), Some("SESSION_CONFLICT")));
    // Its socket stays; its token meets the conflict; so does an automatic re-open by a third device.
    first.echo();
    assert_eq!(common::client::code(first.reopen("tom", &token)), 4111);
    let mut third = Client::connect(&server, Via::Tcp);
    assert_eq!(common::client::code(third.try_open("tom", on("three", true))), 4111);
    second.echo();
    assert_eq!(second.online(&["tom", "nobody"]), ["tom"]);
}

#[test]
fn a_token_lets_in_its_own_client_only_and_outlives_a_restart() {
    let mut server = Server::start();
    let token = Client::tcp(&server, "tom").token;
    server.restart();
    Client::connect(&server, Via::Tcp).reopen("tom", &token).unwrap();
    for (id, token) in [("jerry", token.as_str()), ("tom", "bogus"), ("tom", &token[..token.len() - 2])] {
        assert_eq!(common::client::code(Client::connect(&server, Via::Tcp).reopen(id, token)), 4112, "{id}");
    }
}

#[test]
fn a_room_hears_those_who_joined() {
    let server = Server::start();
    let mut clients: Vec<_> = Via::ALL.iter().map(|via| Client::login(&server, *via, &format!("{via:?}"))).collect();
    let cid = clients[0].room();
    for client in &mut clients[1..] {
        let me = client.id.clone();
        client.add(&cid, &[&me]).unwrap();
    }
    let count = |client: &mut Client| {
        client.conv(OpType::Count, ConvCommand { cid: some(&cid), ..Default::default() }).unwrap().count
    };
    assert_eq!(count(&mut clients[0]), Some(6));
    let mut stranger = Client::tcp(&server, "stranger");
    stranger.send(&cid, "hello, room");
    for client in &mut clients {
        assert_eq!(client.text(), "hello, room");
    }
    // Who leaves hears nothing more; a connection that ends is a leave.
    let me = clients[1].id.clone();
    clients[1].remove(&cid, &[&me]).unwrap();
    clients.pop().unwrap().wire.close();
    eventually("two to be out of the room", || (count(&mut clients[0]) == Some(4)).then_some(()));
    stranger.send(&cid, "again");
    for at in [0, 2, 3, 4] {
        assert_eq!(clients[at].text(), "again");
    }
    clients[1].echo();
    assert!(clients[1].held().all(|c| c.direct_message.is_none()));
}
