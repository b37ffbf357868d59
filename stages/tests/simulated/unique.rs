//! Both members start the conversation that is unique to them, at once and again: there is one.

use std::collections::HashSet;

use tidegate_domain::ids::ConvId;

use super::rig::{APP, Rig, Wanted};
use super::say;
use tidegate_store::Store;

pub fn one_conversation_for_both(seed: u64) {
    let mut rig = Rig::new(seed, Wanted::default());
    let mut conns = Vec::new();
    for peer in ["ann", "bob", "ann"] {
        let conn = rig.connect();
        rig.log_in(conn, peer);
        conns.push((conn, peer));
    }
    let breaks = rig.chance(3);
    let mut asked = Vec::new();
    for _ in 0..3 {
        for (conn, peer) in conns.clone() {
            let other = if peer == "ann" { "bob" } else { "ann" };
            // With or without oneself among the members: the same conversation.
            let members = if rig.chance(2) { vec![other] } else { vec!["bob", "ann"] };
            asked.push((conn, peer, rig.ask(conn, peer, say::start(&members, true))));
            if breaks && rig.chance(3) {
                rig.store.fail_after(0);
            }
            rig.pass(15);
            rig.store.mend();
        }
    }
    // The first who knows it speaks in it at once.
    let (conn, peer, i) = asked[0];
    let answer = rig.answer(conn, i);
    let mut spoken = None;
    if let Some(cid) = answer.conv_message.as_ref().and_then(|conv| conv.cid.clone()) {
        spoken = Some(rig.ask(conn, peer, say::message(ConvId::parse(&cid), "hello", None, false)));
    }
    rig.settle();

    let all = rig.store.scan(APP, None, 100).unwrap();
    let (mut cids, mut made) = (HashSet::new(), 0);
    for (conn, _, i) in &asked {
        let answer = &rig.conns[conn].answers[i];
        let Some(conv) = &answer.conv_message else {
            assert!(breaks && say::code(answer).is_some(), "seed {seed}: {answer:?}");
            continue;
        };
        cids.insert(conv.cid.clone().expect("it says which"));
        made += usize::from(conv.existing != Some(true));
    }
    assert_eq!((all.len(), cids.len()), (usize::from(made > 0), usize::from(made > 0)), "seed {seed}: {cids:?}");
    if !breaks {
        assert_eq!(made, 1, "seed {seed}: it was made {made} times");
    }
    for conversation in &all {
        assert_eq!(rig.members(conversation.id), ["ann", "bob"], "seed {seed}");
        assert_eq!(cids.iter().next(), Some(&conversation.id.to_string()), "seed {seed}");
        let spoke = spoken.filter(|i| say::sent(&rig.conns[&conn].answers[i]).is_some());
        assert_eq!(rig.history(conversation.id).len(), usize::from(spoke.is_some()), "seed {seed}");
    }
}
