//! Wills: each is sent once, when the connection of its session is lost, under the id by which it was acknowledged; never
//! after a close, and never before.

use std::collections::BTreeMap;

use tidegate_domain::conversation::Kind;

use super::app::SEEN;
use super::rig::{Rig, Wanted};
use super::say;

/// More than leave authenticate in one turn.
const CLIENTS: [&str; 7] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6"];
/// Who closes its session, who is no member any more, and who has come back elsewhere when the connection is lost.
const CLOSES: usize = 1;
const REMOVED: usize = 2;
const COMES_BACK: usize = 3;

pub fn sent_when_lost(seed: u64) {
    let hooks = seed.is_multiple_of(2);
    let mut rig = Rig::new(seed, Wanted { hooks, ..Wanted::default() });
    let cids = [1, 2].map(|number| rig.given(number, Kind::Normal, &[&CLIENTS[..], &["rob", "off"]].concat()));
    let rob = rig.connect();
    rig.log_in(rob, "rob");
    let conn = rig.connect();
    let mut kept = BTreeMap::new();
    let mut token = None;
    for (n, client) in CLIENTS.into_iter().enumerate() {
        let i = rig.ask(conn, client, say::open());
        let opened = rig.answer(conn, i).session_message.and_then(|session| session.st);
        if n == COMES_BACK {
            token = opened;
        }
        // The last one wins.
        for round in 0..2 {
            let i = rig.ask(conn, client, say::will(cids[(n + round) % 2], &format!("will {round} of {client}")));
            let answer = rig.answer(conn, i);
            let (mid, _) = say::sent(&answer).unwrap_or_else(|| panic!("seed {seed}: {answer:?}"));
            kept.insert(client, mid);
        }
    }
    rig.ask(conn, CLIENTS[CLOSES], say::close());
    for cid in cids {
        rig.ask(rob, "rob", say::remove(cid, &[CLIENTS[REMOVED]]));
    }
    rig.settle();
    let again = rig.connect();
    rig.ask(again, CLIENTS[COMES_BACK], say::reopen(&token.expect("a token came")));
    rig.settle();
    assert!(wills(&rig, rob).is_empty(), "seed {seed}: sent though nothing was lost");

    rig.disconnect(conn);
    rig.settle();
    let end = if hooks { SEEN } else { "" };
    let expected = |left: &[usize]| {
        let mut expected: Vec<_> = (0..CLIENTS.len())
            .filter(|n| !left.contains(n))
            .map(|n| (format!("will 1 of {}{end}", CLIENTS[n]), kept[CLIENTS[n]].clone()))
            .collect();
        expected.sort();
        expected
    };
    assert_eq!(wills(&rig, rob), expected(&[CLOSES, REMOVED, COMES_BACK]), "seed {seed}");
    rig.disconnect(again);
    rig.settle();
    assert_eq!(wills(&rig, rob), expected(&[CLOSES, REMOVED]), "seed {seed}");
    for cid in cids {
        assert!(rig.history(cid).is_empty(), "seed {seed}: a will is in no history");
    }
    assert!(rig.app.pushed.lock().unwrap().is_empty(), "seed {seed}: nobody is woken for what is not kept");
}

fn wills(rig: &Rig, conn: tidegate_domain::ids::ConnId) -> Vec<(String, String)> {
    let heard = rig.conns[&conn].got.iter().filter_map(say::heard);
    let mut wills: Vec<_> = heard.map(|heard| (heard.text, heard.mid)).collect();
    wills.sort();
    wills
}
