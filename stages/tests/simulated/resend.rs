//! A message sent again by its `dt`, beside its first and after commits that failed: it is in history once, and whoever
//! was told that it is there was told the same.

use std::collections::HashMap;

use tidegate_domain::conversation::Kind;

use super::app::{self, SEEN};
use super::rig::{Rig, Wanted};
use super::say;

const MESSAGES: usize = 6;

pub fn one_message_whatever_was_resent(seed: u64) {
    let mut rig = Rig::new(seed, Wanted { hooks: seed % 3 == 2, tight: false, ..Wanted::default() });
    let cid = rig.given(1, Kind::Normal, &["ann", "rob"]);
    let receiver = rig.connect();
    rig.log_in(receiver, "rob");
    let mut conns = [rig.connect(), rig.connect()];
    for conn in conns {
        rig.log_in(conn, "ann");
    }
    // What was asked for, by message.
    let mut asked = Vec::new();
    let breaks = rig.chance(2);
    let mut left: Vec<(usize, usize)> = (0..MESSAGES).map(|n| (n, 2)).collect();
    while !left.is_empty() {
        let at = rig.below(left.len().min(2));
        let n = left[at].0;
        left[at].1 -= 1;
        if left[at].1 == 0 {
            left.remove(at);
        }
        let conn = rig.pick(&conns);
        let i = rig.ask(conn, "ann", message(cid, n));
        asked.push((n, conn, i));
        rig.pass(25);
        if breaks && rig.chance(4) {
            let after = rig.below(2) as u64;
            rig.store.fail_after(after);
        } else if rig.chance(2) {
            rig.store.mend();
        }
        if rig.chance(8) {
            // The connection is lost, and with it what was on its way.
            let lost = rig.below(2);
            rig.disconnect(conns[lost]);
            conns[lost] = rig.connect();
            rig.log_in(conns[lost], "ann");
        }
    }
    rig.store.mend();
    // Whatever became of the others, the last one arrives.
    for n in 0..MESSAGES {
        let i = rig.ask(conns[0], "ann", message(cid, n));
        asked.push((n, conns[0], i));
        rig.pass(10);
    }
    rig.settle();

    // And after that, nobody's hook is asked about what is kept.
    let before = rig.app.asked.lock().unwrap().len();
    for n in (0..MESSAGES).filter(|n| !app::refuses(&text(*n))) {
        asked.push((n, conns[1], rig.ask(conns[1], "ann", message(cid, n))));
    }
    rig.settle();
    if rig.calm && !breaks && seed % 3 == 2 {
        for n in (0..MESSAGES).filter(|n| !app::refuses(&text(*n))) {
            let asked = rig.app.asked.lock().unwrap().iter().filter(|asked| **asked == text(n)).count();
            assert_eq!(asked, 1, "seed {seed}: how often the hook was asked about message {n}");
        }
    }
    let again = rig.app.asked.lock().unwrap().len() - before;
    assert!(again == 0 || !rig.calm, "seed {seed}: the hook was asked again about {again} kept messages");

    let history = rig.history(cid);
    let mut known: HashMap<usize, (String, i64)> = HashMap::new();
    for (n, conn, i) in &asked {
        let Some(answer) = rig.conns[conn].answers.get(i) else { continue };
        let Some(sent) = say::sent(answer) else {
            assert!(say::code(answer).is_some(), "seed {seed}: {answer:?}");
            continue;
        };
        let before = known.entry(*n).or_insert_with(|| sent.clone());
        assert_eq!(*before, sent, "seed {seed}: message {n} was acknowledged as two");
    }
    for n in 0..MESSAGES {
        let text = text(n);
        let refused = app::refuses(&text) && seed % 3 == 2;
        if refused && !rig.calm {
            continue; // the hook may have been too slow to refuse it
        }
        let kept: Vec<_> = history.iter().filter(|m| app::text_of(&m.body).trim_end_matches(SEEN) == text).collect();
        assert_eq!(kept.len(), usize::from(!refused), "seed {seed}: message {n} is in history {} times", kept.len());
        let first = kept.first().map(|message| (message.mid.to_string(), message.at));
        assert_eq!(known.get(&n), first.as_ref(), "seed {seed}: what was acknowledged of {n} is not what is kept");
    }
    if rig.calm && seed % 3 == 2 {
        let seen = history.iter().all(|message| app::text_of(&message.body).ends_with(SEEN));
        assert!(seen, "seed {seed}: a message went by the hook: {history:?}");
    }
    let heard: Vec<String> = rig.conns[&receiver].got.iter().filter_map(say::heard).map(|heard| heard.mid).collect();
    let kept: Vec<String> = history.iter().map(|message| message.mid.to_string()).collect();
    assert_eq!(heard, kept, "seed {seed}: the receiver heard something else than the history");
}

fn text(n: usize) -> String {
    format!("m{}", 4 + n)
}

fn message(cid: tidegate_domain::ids::ConvId, n: usize) -> tidegate_protocol::wire::GenericCommand {
    say::message(cid, &text(n), Some(&format!("dt{n}")), false)
}
