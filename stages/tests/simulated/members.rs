//! Two clients change the members of one conversation at once: every change counts, and all hear of it in one order.

use std::collections::BTreeSet;

use tidegate_domain::conversation::Kind;
use tidegate_protocol::wire::{CommandType as Cmd, OpType as Op};

use super::rig::{Rig, Wanted};
use super::say;

pub fn changes_at_once_all_count(seed: u64) {
    let mut rig = Rig::new(seed, Wanted::default());
    let old = ["ann", "bob", "out0", "out1", "out2"];
    let cid = rig.given(1, Kind::Normal, &old);
    let (ann, bob) = (rig.connect(), rig.connect());
    rig.log_in(ann, "ann");
    rig.log_in(bob, "bob");
    // Some of those who come and go are there to hear it.
    let mut there = Vec::new();
    for who in ["in0", "in1", "in2", "in3", "out0", "out1"] {
        if rig.chance(2) {
            let conn = rig.connect();
            rig.log_in(conn, who);
            there.push((who, conn));
        }
    }
    let mut asked = Vec::new();
    let changes = [("in0", true), ("out0", false), ("in1", true), ("in2", true), ("out1", false), ("in3", true)];
    for (who, comes) in changes {
        let command = if comes { say::add(cid, &[who]) } else { say::remove(cid, &[who]) };
        let (conn, peer) = if rig.chance(2) { (ann, "ann") } else { (bob, "bob") };
        asked.push((conn, rig.ask(conn, peer, command.clone())));
        // The other one asks for the same.
        if rig.chance(3) {
            let (conn, peer) = if conn == ann { (bob, "bob") } else { (ann, "ann") };
            asked.push((conn, rig.ask(conn, peer, command)));
        }
        if rig.chance(3) {
            rig.pass(20);
        }
    }
    rig.settle();

    let mut refused = 0;
    for (conn, i) in asked {
        let answer = &rig.conns[&conn].answers[&i];
        let body = answer.conv_message.as_ref().map_or(0, |conv| conv.allowed_pids.len());
        // A cold conversation may not have come in time.
        refused += usize::from(body != 1);
        assert!(body == 1 || (!rig.calm && say::code(answer).is_some()), "seed {seed}: {answer:?}");
    }
    let expected: BTreeSet<String> =
        ["ann", "bob", "in0", "in1", "in2", "in3", "out2"].iter().map(|who| (*who).to_owned()).collect();
    let members: BTreeSet<String> = rig.members(cid).into_iter().collect();
    if refused == 0 {
        assert_eq!(members, expected, "seed {seed}");
    }
    for conn in [ann, bob] {
        let mut known: BTreeSet<String> = old.iter().map(|who| (*who).to_owned()).collect();
        let mut last = String::new();
        for command in &rig.conns[&conn].got {
            let Some(conv) = &command.conv_message else { continue };
            if say::is(command, Cmd::Conv, Op::MembersJoined) {
                for who in &conv.m {
                    assert!(known.insert(who.clone()), "seed {seed}: {who} came twice");
                }
            } else if say::is(command, Cmd::Conv, Op::MembersLeft) {
                for who in &conv.m {
                    assert!(known.remove(who), "seed {seed}: {who} left twice");
                }
            } else {
                continue;
            }
            let when = conv.udate.clone().expect("a change has its time");
            assert!(when > last, "seed {seed}: {when} was told after {last}");
            last = when;
        }
        assert_eq!(known, members, "seed {seed}: what was told is not what is");
    }
    for (who, conn) in there {
        let heard = |op| rig.conns[&conn].got.iter().filter(|command| say::is(command, Cmd::Conv, op)).count();
        let (joined, left) = (heard(Op::Joined), heard(Op::Left));
        let changed = members.contains(who) != old.contains(&who);
        let expected = if who.starts_with("in") { (usize::from(changed), 0) } else { (0, usize::from(changed)) };
        assert_eq!((joined, left), expected, "seed {seed}: {who}");
    }
}
