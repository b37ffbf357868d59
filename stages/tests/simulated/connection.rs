//! One connection of many clients: what it may carry, and that one client's mistake is not the others' end.

use prost::Message as _;
use tidegate_domain::conversation::Kind;

use super::rig::{Rig, Wanted};
use super::say;

/// As many sessions as may be, and no more; each that ends makes room for another.
pub fn sessions_are_bounded(seed: u64) {
    let mut rig = Rig::new(seed, Wanted { sessions_per_connection: Some(3), ..Wanted::default() });
    let conn = rig.connect();
    for client in ["a", "b", "c"] {
        rig.log_in(conn, client);
    }
    let full = rig.ask(conn, "d", say::open());
    let again = rig.ask(conn, "c", say::open());
    rig.settle();
    let refused = &rig.conns[&conn].answers[&full];
    assert_eq!(say::code(refused), Some(4116), "seed {seed}: {refused:?}");
    let detail = refused.error_message.as_ref().and_then(|error| error.detail.as_deref()).unwrap_or_default();
    assert!(detail.contains("this connection has 3 sessions"), "seed {seed}: {detail}");
    assert!(say::is_opened(&rig.conns[&conn].answers[&again]), "seed {seed}: who is in opens again");
    assert!(rig.conns[&conn].open, "seed {seed}");

    let other = rig.connect();
    rig.log_in(other, "d");
    rig.ask(conn, "b", say::close());
    rig.settle();
    rig.log_in(conn, "d");
    rig.settle();
}

/// Text that is none, in a message or another field, is refused to whoever sent it; what comes before and after is
/// answered, and only bytes of which nobody knows what they are close the connection.
pub fn what_is_broken_is_refused(seed: u64) {
    let mut rig = Rig::new(seed, Wanted::default());
    let cid = rig.given(1, Kind::Normal, &["ann", "rob"]);
    let conn = rig.connect();
    for client in ["ann", "rob"] {
        rig.log_in(conn, client);
    }
    let before = rig.ask(conn, "ann", say::message(cid, "before", None, false));
    // The same frames as an honest client's, each with one letter spoiled.
    let message = say::message(cid, "SPOIL", None, false);
    let token = say::message(cid, "good", Some("SPOIL"), false);
    let broken = [(message, true), (token, true), (say::add(cid, &["SPOIL"]), false), (say::reopen("SPOIL"), false)];
    let broken = broken.map(|(command, by_ack)| (rig.ask_spoiled(conn, "ann", command), by_ack));
    rig.say_spoiled(conn, "ann", say::ack("SPOIL", "none"));
    let after = rig.ask(conn, "rob", say::message(cid, "after", None, false));
    rig.settle();

    let own = &rig.conns[&conn];
    assert!(own.open, "seed {seed}: it was closed with {:?}", own.closed_with);
    for (i, by_ack) in broken {
        let answer = &own.answers[&i];
        assert_eq!(say::code(answer), Some(4114), "seed {seed}: {answer:?}");
        assert_eq!((answer.ack_message.is_some(), answer.peer_id.as_deref()), (by_ack, Some("ann")), "seed {seed}");
    }
    for i in [before, after] {
        assert!(say::sent(&own.answers[&i]).is_some(), "seed {seed}: {:?}", own.answers[&i]);
    }
    assert_eq!(rig.history(cid).len(), 2, "seed {seed}");

    let mut cut = say::count(cid).encode_to_vec();
    cut.pop();
    rig.put(conn, cut);
    rig.settle();
    assert_eq!(rig.conns[&conn].closed_with, Some(4114), "seed {seed}");
}
