//! Leaving: clients are told, what was admitted is finished, and the process ends with 0 in time.

mod common;

use std::time::{Duration, Instant};

use common::client::{body, some, texts};
use common::server::signal;
use common::{Client, Server, Via, eventually, http};
use tidegate_protocol::wire::*;

fn server(drain_timeout: &str) -> Server {
    Server::with(format!("[net]\ndrain_timeout = \"{drain_timeout}\""))
}

#[test]
fn clients_are_told_to_go_elsewhere() {
    let mut server = server("1s");
    let mut clients: Vec<_> = Via::ALL.iter().map(|via| Client::login(&server, *via, &format!("{via:?}"))).collect();
    let begun = Instant::now();
    server.term();
    for client in &mut clients {
        let told = client.push("goaway", |c| c.cmd() == CommandType::Goaway);
        assert_eq!((told.i, told.peer_id.as_deref()), (None, Some(&*client.id)), "Java goes by the peerId");
        client.gone();
    }
    let status = server.ended(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{}", server.said());
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(1800), "it left after {took:?}");
}

#[test]
fn it_does_not_wait_for_nobody() {
    for name in ["TERM", "INT"] {
        let mut server = server("30s");
        let mut tom = Client::tcp(&server, "tom");
        tom.send_something();
        tom.wire.close();
        eventually("nobody to be there", || {
            let metrics = http::get(server.admin(), "/metrics").body;
            let count = metrics.lines().find_map(|line| line.strip_prefix("tidegate_connections "))?;
            (count.parse() == Ok(0.0)).then_some(())
        });
        let begun = Instant::now();
        signal(server.pid(), name);
        assert_eq!(server.ended(Duration::from_secs(10)).code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(3), "{name}: {:?}", begun.elapsed());
    }
}

#[test]
fn it_leaves_as_soon_as_all_have_gone() {
    let mut server = server("30s");
    let mut tom = Client::tcp(&server, "tom");
    server.term();
    tom.push("goaway", |c| c.cmd() == CommandType::Goaway);
    drop(tom);
    assert_eq!(server.ended(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn what_was_admitted_is_finished_and_answered() {
    let mut server = server("3s");
    let mut tom = Client::tcp(&server, "tom");
    let cid = tom.start(&["jerry"]);
    let posted: Vec<_> = (0..400)
        .map(|n: u32| {
            let direct = DirectCommand {
                cid: some(&cid),
                msg: body(&n.to_string()),
                dt: some(&n.to_string()),
                ..DirectCommand::default()
            };
            (tom.post(direct), n)
        })
        .collect();
    // It has begun to answer, and much is still to be read.
    tom.answer(posted[0].0).unwrap();
    server.term();
    tom.gone();
    let answered: Vec<_> = posted[1..]
        .iter()
        .filter(|(i, _)| {
            tom.held().any(|c| c.i == Some(*i) && c.ack_message.as_ref().is_some_and(|a| a.code.is_none()))
        })
        .map(|(_, n)| n.to_string())
        .collect();
    assert_eq!(server.ended(Duration::from_secs(5)).code(), Some(0));
    server.restart();
    assert!(!server.said().contains("recovered"), "it closed its store: {}", server.said());
    let kept = texts(&Client::tcp(&server, "tom").history(&cid));
    // A reply was flushed for each one that was kept, and none was kept in silence.
    assert_eq!(kept[1..], answered[..]);
    assert_eq!(kept[0], "0");
}

#[test]
fn it_is_not_ready_while_it_leaves_and_takes_nobody_in() {
    let mut server = server("2s");
    let _stays = Client::tcp(&server, "tom");
    server.term();
    let words = eventually("503", || {
        let answer = http::request(server.admin(), "GET", "/readyz", "").ok()?;
        (answer.status == 503).then(|| answer.json())
    });
    assert!(words["ready"] == false && !words["reasons"].as_array().unwrap().is_empty(), "{words}");
    eventually("the door to be shut", || common::Wire::connect(&server, Via::WebSocket).err());
    assert_eq!(server.ended(Duration::from_secs(6)).code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = server("60s");
    let mut stays = Client::tcp(&server, "tom");
    server.term();
    stays.push("goaway", |c| c.cmd() == CommandType::Goaway);
    let begun = Instant::now();
    server.term();
    server.ended(Duration::from_secs(5));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

impl Client {
    fn send_something(&mut self) {
        let cid = self.start(&["jerry"]);
        self.send(&cid, "something");
    }
}
