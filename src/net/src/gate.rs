//! New sessions: what is delivered to them waits until they know what they missed.
//!
//! A gate is shut when a session enters and lifted with the snapshot of what it missed, which says up to where each
//! stream was counted: what waited and lies within is dropped, the rest follows the snapshot in order. For a while the
//! lifted gate drops what still comes late. Streams and positions are numbers; what they mean is not known here.
//!
//! States of a gate: *shut* (deliveries are held, up to a bound) -> *lifted* (what was counted is dropped) -> gone. A
//! gate that nobody lifts in time lifts itself, with nothing counted.

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::HashMap;
use tidegate_domain::ids::{ClientId, ConnId};

use crate::mail::Class;
use crate::table::Notice;

/// How long a gate stays shut if nobody lifts it.
const SHUT_NS: u64 = 10_000_000_000;
/// How long a lifted gate drops what comes late.
const LIFTED_NS: u64 = 60_000_000_000;

/// A delivery on hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) frame: Bytes,
    pub(crate) class: Class,
    pub(crate) since_ns: u64,
    /// Its stream, and its place in it.
    pub(crate) position: Option<(u64, i64)>,
}

impl Held {
    pub(crate) fn notice(&self, until_ns: u64) -> Notice<'_> {
        Notice { frame: &self.frame, class: self.class, since_ns: self.since_ns, until_ns }
    }
}

/// What is to be done with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    Through,
    /// It waits, or was counted already.
    Kept,
    /// More waits than may.
    Full,
}

type Session = (ConnId, ClientId);

enum Gate {
    Shut {
        until: u64,
        held: Vec<Held>,
        bytes: usize,
        /// Snapshots still to come that were made for sessions before this one.
        stale: u32,
    },
    /// `counted` is sorted by stream.
    Lifted { until: u64, counted: Vec<(u64, i64)> },
}

#[derive(Default)]
pub(crate) struct Gates {
    gates: HashMap<Session, Gate>,
    /// When each gate is looked at next, in order of time: all of one state wait equally long.
    shut: VecDeque<(u64, Session)>,
    lifted: VecDeque<(u64, Session)>,
}

impl Gates {
    /// A session enters. One that enters again starts anew, and what is still on its way for the one before is not for it:
    /// said before its log-in is answered, it would be lost.
    pub(crate) fn shut(&mut self, conn: ConnId, peer: ClientId, now_ns: u64) {
        let until = now_ns + SHUT_NS;
        let stale = match self.gates.get(&(conn, peer.clone())) {
            Some(Gate::Shut { stale, .. }) => stale + 1,
            _ => 0,
        };
        self.shut.push_back((until, (conn, peer.clone())));
        self.gates.insert((conn, peer), Gate::Shut { until, held: Vec::new(), bytes: 0, stale });
    }

    /// Looks at a delivery; `bound`: the most bytes that may wait for one session.
    pub(crate) fn pass(&mut self, conn: ConnId, peer: &ClientId, delivery: &Held, bound: usize) -> Passage {
        if self.gates.is_empty() {
            return Passage::Through;
        }
        match self.gates.get_mut(&(conn, peer.clone())) {
            None => Passage::Through,
            Some(Gate::Shut { held, bytes, .. }) => {
                *bytes += delivery.frame.len();
                if *bytes > bound {
                    return Passage::Full;
                }
                held.push(delivery.clone());
                Passage::Kept
            }
            Some(Gate::Lifted { counted, .. }) if is_counted(counted, delivery.position) => Passage::Kept,
            Some(Gate::Lifted { .. }) => Passage::Through,
        }
    }

    /// The snapshot is there: gives what waited and is not counted in it, in order. `None`: it is not to be said. The gate is
    /// not shut (any more), and what it counts was let through; or it is of a session that was there before.
    pub(crate) fn lift(
        &mut self,
        conn: ConnId,
        peer: &ClientId,
        counted: &[(u64, i64)],
        now_ns: u64,
    ) -> Option<Vec<Held>> {
        let session = (conn, peer.clone());
        match self.gates.get_mut(&session) {
            Some(Gate::Shut { stale, .. }) if *stale > 0 => {
                *stale -= 1;
                None
            }
            Some(Gate::Shut { .. }) => self.open(session, counted, now_ns),
            _ => None,
        }
    }

    fn open(&mut self, session: Session, counted: &[(u64, i64)], now_ns: u64) -> Option<Vec<Held>> {
        let Some(Gate::Shut { mut held, .. }) = self.gates.remove(&session) else { return None };
        self.forget_lifted();
        let mut counted = counted.to_vec();
        counted.sort_unstable();
        held.retain(|delivery| !is_counted(&counted, delivery.position));
        if !counted.is_empty() {
            let until = now_ns + LIFTED_NS;
            self.lifted.push_back((until, session.clone()));
            self.gates.insert(session, Gate::Lifted { until, counted });
        }
        Some(held)
    }

    /// Most gates are lifted in the order in which they were shut, and at once: they need not be remembered for longer.
    fn forget_lifted(&mut self) {
        while let Some((due, session)) = self.shut.front()
            && !matches!(self.gates.get(session), Some(Gate::Shut { until, .. }) if until == due)
        {
            self.shut.pop_front();
        }
    }

    /// When the next gate is looked at.
    pub(crate) fn next(&self) -> Option<u64> {
        self.shut.front().into_iter().chain(self.lifted.front()).map(|(at, _)| *at).min()
    }

    /// Forgets gates whose time is over; gives the sessions that nobody lifted, and what waited for them.
    pub(crate) fn expire(&mut self, now_ns: u64) -> Vec<(Session, Vec<Held>)> {
        let mut late = Vec::new();
        // A session that has entered again has a newer gate, which is none of the older one's.
        while let Some((due, session)) = pop_due(&mut self.shut, now_ns) {
            if matches!(self.gates.get(&session), Some(Gate::Shut { until, .. }) if *until == due)
                && let Some(held) = self.open(session.clone(), &[], now_ns)
            {
                late.push((session, held));
            }
        }
        while let Some((due, session)) = pop_due(&mut self.lifted, now_ns) {
            if matches!(self.gates.get(&session), Some(Gate::Lifted { until, .. }) if *until == due) {
                self.gates.remove(&session);
            }
        }
        late
    }
}

fn pop_due(queue: &mut VecDeque<(u64, Session)>, now_ns: u64) -> Option<(u64, Session)> {
    if queue.front()?.0 <= now_ns { queue.pop_front() } else { None }
}

fn is_counted(counted: &[(u64, i64)], position: Option<(u64, i64)>) -> bool {
    let Some((stream, place)) = position else { return false };
    counted.binary_search_by_key(&stream, |(stream, _)| *stream).is_ok_and(|at| place <= counted[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: usize = 100;

    fn conn() -> ConnId {
        ConnId::new(0, 0, 1, 1)
    }

    fn ann() -> ClientId {
        "ann".into()
    }

    fn delivery(stream: u64, place: i64) -> Held {
        let frame = Bytes::from(format!("{stream}:{place}"));
        Held { frame, class: Class::Normal, since_ns: 0, position: Some((stream, place)) }
    }

    #[test]
    fn what_was_counted_is_dropped_and_the_rest_follows_in_order() {
        let mut gates = Gates::default();
        gates.shut(conn(), ann(), 0);
        for (stream, place) in [(1, 5), (2, 1), (1, 6), (3, 9)] {
            assert_eq!(gates.pass(conn(), &ann(), &delivery(stream, place), BOUND), Passage::Kept);
        }
        let rest = gates.lift(conn(), &ann(), &[(2, 4), (1, 5)], 1).unwrap();
        assert_eq!(rest, [delivery(1, 6), delivery(3, 9)]);
        assert_eq!(gates.pass(conn(), &ann(), &delivery(2, 4), BOUND), Passage::Kept, "late, but counted");
        assert_eq!(gates.pass(conn(), &ann(), &delivery(2, 5), BOUND), Passage::Through);
        gates.expire(LIFTED_NS + 1);
        assert!(gates.gates.is_empty());
    }

    #[test]
    fn notices_wait_too_and_are_never_counted() {
        let mut gates = Gates::default();
        gates.shut(conn(), ann(), 0);
        let notice = Held { position: None, ..delivery(1, 1) };
        assert_eq!(gates.pass(conn(), &ann(), &notice, BOUND), Passage::Kept);
        assert_eq!(gates.lift(conn(), &ann(), &[(1, 9)], 1), Some(vec![notice]));
    }

    #[test]
    fn a_gate_that_nobody_lifts_lifts_itself() {
        let mut gates = Gates::default();
        gates.shut(conn(), ann(), 0);
        gates.pass(conn(), &ann(), &delivery(1, 1), BOUND);
        assert!(gates.expire(SHUT_NS - 1).is_empty());
        assert_eq!(gates.expire(SHUT_NS), [((conn(), ann()), vec![delivery(1, 1)])]);
        assert_eq!(gates.pass(conn(), &ann(), &delivery(1, 2), BOUND), Passage::Through);
    }

    #[test]
    fn an_old_gate_s_end_leaves_the_new_one_alone() {
        let mut gates = Gates::default();
        gates.shut(conn(), ann(), 0);
        gates.shut(conn(), ann(), 5);
        gates.pass(conn(), &ann(), &delivery(1, 1), BOUND);
        assert!(gates.expire(SHUT_NS).is_empty());
        assert_eq!(gates.expire(SHUT_NS + 5).len(), 1);
        assert_eq!(gates.lift(conn(), &ann(), &[(1, 1)], SHUT_NS + 6), None, "too late to be said");
    }

    #[test]
    fn a_snapshot_of_the_session_before_is_not_said() {
        let mut gates = Gates::default();
        gates.shut(conn(), ann(), 0);
        gates.shut(conn(), ann(), 1);
        gates.pass(conn(), &ann(), &delivery(1, 7), BOUND);
        assert_eq!(gates.lift(conn(), &ann(), &[(1, 5)], 2), None, "this one's is still to come");
        gates.pass(conn(), &ann(), &delivery(1, 8), BOUND);
        assert_eq!(gates.lift(conn(), &ann(), &[(1, 7)], 3), Some(vec![delivery(1, 8)]));
    }

    #[test]
    fn nothing_is_kept_of_lifted_gates_that_counted_nothing() {
        let mut gates = Gates::default();
        gates.shut(conn(), ann(), 0);
        gates.shut(conn(), "bob".into(), 1);
        gates.lift(conn(), &"bob".into(), &[], 2);
        assert_eq!(gates.next(), Some(SHUT_NS), "of ann's");
        gates.lift(conn(), &ann(), &[], 2);
        assert_eq!((gates.next(), gates.shut.len()), (None, 0));
    }

    #[test]
    fn others_pass_and_too_much_is_said() {
        let mut gates = Gates::default();
        gates.shut(conn(), ann(), 0);
        assert_eq!(gates.pass(conn(), &"bob".into(), &delivery(1, 1), BOUND), Passage::Through);
        let large = Held { frame: vec![0; BOUND + 1].into(), ..delivery(1, 1) };
        assert_eq!(gates.pass(conn(), &ann(), &large, BOUND), Passage::Full);
    }
}
