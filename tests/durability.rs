//! What was acknowledged is there after the process was killed, once, in its order; what is sent again with its `dt`
//! is one message.
//!
//! TIDEGATE_KILLS sets the rounds (12); TIDEGATE_SEED repeats a run's choices.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::client::{body, some, texts};
use common::load::{self, Histories, Tally};
use common::{Client, Server, Via, eventually, patient, seed};
use fastrand::Rng;
use tidegate_protocol::wire::*;

const SENDERS: usize = 12;
const CONVERSATIONS: usize = 4;
const WINDOW: usize = 24;
/// From the start of the process until `/readyz` says so.
const READY_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost_repeated_or_moved() {
    let rounds = std::env::var("TIDEGATE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let mut random = Rng::with_seed(seed());
    let mut server = Server::with(patient());
    let mut senders = load::senders(&server, SENDERS, CONVERSATIONS, WINDOW);

    let mut histories = Histories::default();
    let mut open_at_kills = 0;
    let mut slowest = Duration::ZERO;
    for round in 0..=rounds {
        let last = round == rounds;
        let tally = Tally::default();
        let kill = server.killer();
        load::run(&server, &mut senders, &tally, || match last {
            true => tally.stop(),
            false => {
                thread::sleep(Duration::from_millis(random.u64(20..400)));
                kill();
            }
        });
        if !last {
            open_at_kills += senders.iter().map(|sender| sender.open.len()).sum::<usize>();
            server.restart();
            slowest = slowest.max(server.ready_after());
            assert!(server.said().contains("recovered"), "an unclean end is said: {}", server.said());
        }
        histories.check(&server, &senders, last, round);
    }
    let sent: usize = senders.iter().map(|sender| sender.acked.len()).sum();
    println!("{sent} messages acknowledged over {rounds} kills, {open_at_kills} unanswered at the kills: 0 lost");
    println!("ready again after at most {slowest:?}");
    assert!(sent > 1_000 && open_at_kills > rounds, "the load was none: {sent} sent, {open_at_kills} open");
    assert!(slowest < READY_WITHIN, "ready again only after {slowest:?}");
}

#[test]
fn a_resend_is_one_message_also_beside_its_first() {
    let server = Server::with(patient());
    let mut one = Client::tcp(&server, "tom");
    let mut two = Client::login(&server, Via::WebSocket, "tom");
    let mut jerry = Client::tcp(&server, "jerry");
    let cid = one.start(&["jerry"]);
    let direct = |n: u32| DirectCommand {
        cid: some(&cid),
        msg: body(&n.to_string()),
        dt: some(&format!("token-{n}")),
        ..DirectCommand::default()
    };
    for n in 0..300 {
        // Both under way at once; who is first changes.
        let (first, second) = if n % 2 == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        let (i, j) = (first.post(direct(n)), second.post(direct(n)));
        let answer = |client: &mut Client, i| {
            let ack = client.answer(i).unwrap().ack_message.unwrap();
            (ack.uid, ack.t)
        };
        assert_eq!(answer(first, i), answer(second, j));
    }
    let expected: Vec<_> = (0..300).map(|n: u32| n.to_string()).collect();
    assert_eq!(texts(&one.history(&cid)), expected);
    for words in &expected {
        assert_eq!(&jerry.text(), words);
    }
}

#[test]
fn a_resend_after_a_restart_is_the_same_message() {
    let mut server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let direct =
        DirectCommand { cid: some(&cid), msg: body("once"), dt: some("the-token"), ..DirectCommand::default() };
    let first = tom.try_send(direct.clone()).unwrap();
    server.restart();
    let mut tom = Client::tcp(&server, "tom");
    assert_eq!(tom.try_send(direct.clone()).unwrap(), first);
    // Another client's token is another; so is another conversation's; and none is never the same.
    let mut jerry = Client::tcp(&server, "jerry");
    assert_ne!(jerry.try_send(direct.clone()).unwrap(), first);
    let other = tom.start(&["jerry"]);
    assert_ne!(tom.try_send(DirectCommand { cid: some(&other), ..direct.clone() }).unwrap(), first);
    let bare = DirectCommand { dt: None, ..direct };
    assert_ne!(tom.try_send(bare.clone()).unwrap(), tom.try_send(bare).unwrap());
    assert_eq!(texts(&tom.history(&cid)).len(), 4);
}

#[test]
fn all_that_was_answered_is_there_after_a_kill() {
    let mut server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let unique = ConvCommand { m: vec!["jerry".into()], unique: Some(true), ..ConvCommand::default() };
    let cid = tom.try_start(unique.clone()).unwrap();
    let sent = tom.send(&cid, "kept");
    tom.add(&cid, &["spike"]).unwrap();
    let attr = r#"{"name":"new","attr.color":"red"}"#;
    let update =
        ConvCommand { cid: some(&cid), attr: Some(JsonObjectMessage { data: attr.into() }), ..ConvCommand::default() };
    tom.conv(OpType::Update, update).unwrap();
    tom.conv(OpType::Mute, ConvCommand { cid: some(&cid), ..ConvCommand::default() }).unwrap();
    server.kill9();
    server.restart();

    let mut tom = Client::tcp(&server, "tom");
    let found = &tom.query(serde_json::json!({ "objectId": cid }))[0];
    assert_eq!((&found["name"], &found["attr"]["color"]), (&"new".into(), &"red".into()));
    let mut members: Vec<_> = found["m"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    members.sort_unstable();
    assert_eq!((members, &found["mu"]), (vec!["jerry", "spike", "tom"], &serde_json::json!(["tom"])));
    assert_eq!(tom.try_start(unique).unwrap(), cid, "the unique conversation is still the one");
    let mut jerry = Client::tcp(&server, "jerry");
    let unread = jerry.unread();
    assert_eq!((&*unread[0].cid, unread[0].unread, unread[0].mid.as_deref()), (&*cid, 1, Some(&*sent.id)));
    let next = tom.send(&cid, "after");
    assert!(next.at > sent.at);
    assert_eq!(texts(&tom.history(&cid)), ["kept", "after"]);
}

#[test]
fn two_who_add_at_once_both_count() {
    let server = Server::start();
    let mut tom = Client::tcp(&server, "tom");
    let mut jerry = Client::login(&server, Via::WebSocket, "jerry");
    for n in 0..50 {
        let cid = tom.start(&["jerry"]);
        let add = |client: &mut Client, who: String| {
            let mut ask = common::client::command(CommandType::Conv, Some(OpType::Add));
            ask.conv_message = Some(Box::new(ConvCommand { cid: some(&cid), m: vec![who], ..ConvCommand::default() }));
            let id = client.id.clone();
            client.put_as(&id, ask)
        };
        let (i, j) = (add(&mut tom, format!("left-{n}")), add(&mut jerry, format!("right-{n}")));
        tom.answer(i).unwrap();
        jerry.answer(j).unwrap();
        assert_eq!(tom.query(serde_json::json!({ "objectId": cid }))[0]["m"].as_array().unwrap().len(), 4);
    }
}

#[test]
fn a_login_among_arrivals_counts_or_hears_each_message_once() {
    let server = Server::with(patient());
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    tom.send(&cid, "the first, long before");
    for n in 0..40 {
        // One goes on sending while the other logs in.
        let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut jerry = thread::scope(|threads| {
            let (tom, cid, sent, stop) = (&mut tom, &cid, &sent, &stop);
            threads.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let count = sent.load(Ordering::Relaxed);
                    tom.send(cid, &format!("{n} {count}"));
                    sent.store(count + 1, Ordering::Relaxed);
                }
            });
            eventually("something to be unread", || (sent.load(Ordering::Relaxed) > n % 5).then_some(()));
            let mut jerry = Client::tcp(&server, "jerry");
            // Long enough for what was missed to come among what is sent.
            let seen = sent.load(Ordering::Relaxed);
            eventually("some more to be sent", || (sent.load(Ordering::Relaxed) > seen + 20).then_some(()));
            jerry.echo();
            stop.store(true, Ordering::Relaxed);
            jerry
        });
        let sent = sent.into_inner();
        let last = tom.send(&cid, "the last");
        // Every message is heard or counted: together they are what history has behind the read mark.
        let mut heard = Vec::new();
        loop {
            let message = jerry.message();
            let is_last = message.id.as_ref() == Some(&last.id);
            heard.push(message.id.unwrap());
            if is_last {
                break;
            }
        }
        let counted = jerry.unread();
        assert_eq!(counted.len(), 1);
        let history = tom.history(&cid);
        let unread = &counted[0];
        let at = history.iter().position(|item| item.msg_id == unread.mid).expect("what was counted last is kept");
        let behind: Vec<_> = history[at + 1..].iter().map(|item| item.msg_id.clone().unwrap()).collect();
        assert_eq!(heard, behind, "{sent} sent; what was counted is not heard, and the rest is");
        jerry.read(&cid, &last);
        assert_eq!(jerry.unread()[0].unread, 0);
    }
}
