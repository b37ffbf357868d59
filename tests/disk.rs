//! A disk that takes no more: senders are told, nothing that was acknowledged is lost, `/readyz` says why, and on a
//! mended disk all goes on.
//!
//! The limit on the size of files stands for the full disk: every write past it fails, and no other program is disturbed.

mod common;

use std::collections::HashSet;

use common::client::{body, some, texts};
use common::{Client, Server, Setup, eventually, http};
use tidegate_protocol::wire::*;

/// 2 MiB, in blocks of 512 bytes; a write past it fails rather than ending the process.
const SMALL: &str = "trap '' XFSZ; ulimit -f 4096";

fn direct(cid: &str, n: usize) -> DirectCommand {
    let words = format!("{n} {}", "x".repeat(4000));
    DirectCommand { cid: some(cid), msg: body(&words), dt: some(&n.to_string()), ..DirectCommand::default() }
}

fn number(words: &str) -> usize {
    words.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let mut server = Server::launch(Setup { first: SMALL, ..Setup::default() });
    let mut tom = Client::tcp(&server, "tom");
    let mut jerry = Client::tcp(&server, "jerry");
    let cid = tom.start(&["jerry"]);
    let mut acked = Vec::new();
    let refused = loop {
        let n = acked.len();
        assert!(n < 5_000, "the limit was never met");
        match tom.try_send(direct(&cid, n)) {
            Ok(sent) => acked.push(sent),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.code, refused.reason.as_str()), (4200, "INTERNAL_ERROR"));
    let full = acked.len();

    // It goes on refusing; what needs no disk goes on working.
    for n in full + 1..full + 20 {
        assert_eq!(common::client::code(tom.try_send(direct(&cid, n))), 4200);
    }
    assert_eq!(tom.online(&["jerry"]), ["jerry"]);
    let unkept = DirectCommand { transient: Some(true), ..direct(&cid, 999_999) };
    tom.try_send(unkept).unwrap();
    let heard: Vec<_> = (0..=full).map(|_| number(&jerry.text())).collect();
    assert_eq!(heard, (0..full).chain([999_999]).collect::<Vec<_>>(), "a refused message reaches nobody");
    let ready = eventually("503", || {
        let answer = http::get(server.admin(), "/readyz");
        (answer.status == 503).then(|| answer.json())
    });
    assert!(!ready["reasons"].as_array().unwrap().is_empty(), "{ready}");

    server.restart();
    let mut tom = Client::tcp(&server, "tom");
    let kept = tom.history(&cid);
    let ids: Vec<_> = kept.iter().map(|item| item.msg_id.as_deref().unwrap()).collect();
    assert_eq!(ids[..full], acked.iter().map(|sent| sent.id.as_str()).collect::<Vec<_>>()[..]);
    // What was refused may be sent again, and is there once, whether or not it had got to the disk.
    for n in full..full + 20 {
        tom.try_send(direct(&cid, n)).unwrap();
    }
    let numbers: Vec<_> = texts(&tom.history(&cid)).iter().map(|words| number(words)).collect();
    assert_eq!(numbers.len(), full + 20);
    assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), full + 20);
    assert_eq!(http::get(server.admin(), "/readyz").status, 200);
}
