//! One who logs in and out while messages arrive: each message is counted in what was missed, or delivered, never both
//! and never neither; and each conversation's arrive in the order of its history.

use std::collections::HashMap;

use tidegate_domain::conversation::Kind;
use tidegate_domain::ids::{ConnId, ConvId};

use super::rig::{Rig, Wanted};
use super::say;

/// Under the bound of what a snapshot counts.
const MESSAGES: usize = 24;

pub fn counted_or_delivered(seed: u64) {
    let mut rig = Rig::new(seed, Wanted { hooks: seed % 4 == 3, tight: false, ..Wanted::default() });
    let senders = ["sue", "sam", "sid"];
    let cids = [1, 2, 3].map(|number| rig.given(number, Kind::Normal, &["rob", "sue", "sam", "sid"]));
    let mut conns = Vec::new();
    for peer in senders {
        let conn = rig.connect();
        rig.log_in(conn, peer);
        conns.push((conn, peer));
    }
    let mut receiving: Vec<ConnId> = Vec::new();
    let mut sessions: Vec<ConnId> = Vec::new();
    for n in 0..MESSAGES {
        let (conn, peer) = rig.pick(&conns);
        let cid = rig.pick(&cids);
        rig.ask(conn, peer, say::message(cid, &format!("{n}"), None, false));
        rig.pass(30);
        match rig.below(6) {
            0 | 1 => {
                let pushed = rig.chance(4);
                let conn = rig.connect_as(pushed);
                rig.ask(conn, "rob", say::open());
                sessions.push(conn);
                receiving.push(conn);
            }
            2 if !receiving.is_empty() => {
                let at = rig.below(receiving.len());
                let conn = receiving.swap_remove(at);
                if rig.chance(2) {
                    rig.disconnect(conn);
                } else {
                    rig.ask(conn, "rob", say::close());
                }
            }
            _ => {}
        }
        rig.pass(30);
    }
    rig.settle();
    for conn in sessions {
        let stays = receiving.contains(&conn);
        for cid in cids {
            one_session(&rig, conn, cid, stays);
        }
    }
}

/// What one session heard of one conversation. `stays`: it was there until the end, and so heard all.
fn one_session(rig: &Rig, conn: ConnId, cid: ConvId, stays: bool) {
    let seed = rig.seed;
    let history = rig.history(cid);
    let place: HashMap<String, usize> = history.iter().enumerate().map(|(n, m)| (m.mid.to_string(), n)).collect();
    // How much of the history this session knows of, from its beginning on.
    let mut known = 0;
    for command in &rig.conns[&conn].got {
        for tuple in command.unread_message.iter().flat_map(|unread| &unread.convs) {
            if tuple.cid != cid.to_string() {
                continue;
            }
            assert_eq!(known, 0, "seed {seed}: {conn} is told twice, or late, what it missed in {cid}");
            let last = place[tuple.mid.as_ref().expect("it says which was the last")];
            known = last + 1;
            assert_eq!(tuple.unread as usize, known, "seed {seed}: {conn} is told a wrong count of {cid}");
        }
        if let Some(heard) = say::heard(command).filter(|heard| heard.cid == cid.to_string()) {
            let at = place[&heard.mid];
            assert_eq!(at, known, "seed {seed}: {conn} knew {known} messages of {cid}, then came {heard:?}");
            known += 1;
        }
    }
    if stays {
        assert_eq!(known, history.len(), "seed {seed}: {conn} stayed, and does not know all of {cid}");
    }
}
