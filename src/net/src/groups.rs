//! Groups of sessions under opaque numbers, and broadcasts that are walked through them in slices.
//!
//! A group's broadcasts are walked in passes: all that wait when a pass begins go to each member in turn, in order, so
//! that what piles up behind a large group leaves in fewer, fuller writes. A session that joins gets what was broadcast
//! after its join; one that leaves gets nothing more. During a pass members keep their places: a leaver's is emptied
//! and closed up after it.

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use tidegate_domain::ids::{ClientId, ConnId};

use crate::mail::{Class, Going};

/// One notice to a whole group.
pub(crate) struct Broadcast {
    pub(crate) frame: Bytes,
    pub(crate) class: Class,
    pub(crate) except: Option<ClientId>,
    pub(crate) later_for: Option<ConnId>,
    pub(crate) since_ns: u64,
    #[expect(dead_code, reason = "dropped with it, when it is done")]
    pub(crate) going: Going,
}

/// One reactor's part of all groups.
pub(crate) struct Groups {
    groups: HashMap<u64, Group>,
    /// Groups with something to send, each once, in turns.
    busy: VecDeque<u64>,
}

#[derive(Default)]
struct Group {
    members: Vec<Option<Member>>,
    places: HashMap<(ConnId, ClientId), usize>,
    /// Broadcasts that wait for the next pass, with their numbers.
    waiting: Vec<(u64, Broadcast)>,
    pass: Vec<(u64, Broadcast)>,
    /// The place that the pass goes on with.
    at: usize,
    /// The number of the last broadcast.
    last: u64,
}

struct Member {
    conn: ConnId,
    peer: ClientId,
    /// The group's last broadcast when it joined.
    joined: u64,
}

impl Groups {
    pub(crate) fn new() -> Self {
        Groups { groups: HashMap::new(), busy: VecDeque::new() }
    }

    /// False if it was a member already.
    pub(crate) fn join(&mut self, group: u64, conn: ConnId, peer: &ClientId) -> bool {
        let group = self.groups.entry(group).or_default();
        let place = group.members.len();
        match group.places.entry((conn, peer.clone())) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(place);
                group.members.push(Some(Member { conn, peer: peer.clone(), joined: group.last }));
                true
            }
        }
    }

    pub(crate) fn leave(&mut self, number: u64, conn: ConnId, peer: &ClientId) {
        let Some(group) = self.groups.get_mut(&number) else { return };
        let Some(place) = group.places.remove(&(conn, peer.clone())) else { return };
        if !group.pass.is_empty() {
            group.members[place] = None;
            return;
        }
        group.members.swap_remove(place);
        if let Some(Some(moved)) = group.members.get(place)
            && let Some(entry) = group.places.get_mut(&(moved.conn, moved.peer.clone()))
        {
            *entry = place;
        }
        if group.members.is_empty() && group.waiting.is_empty() {
            self.groups.remove(&number);
        }
    }

    /// False if the group has no member here: then nothing waits.
    pub(crate) fn broadcast(&mut self, number: u64, broadcast: Broadcast) -> bool {
        let Some(group) = self.groups.get_mut(&number) else { return false };
        if group.waiting.is_empty() && group.pass.is_empty() {
            self.busy.push_back(number);
        }
        group.last += 1;
        group.waiting.push((group.last, broadcast));
        true
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Goes on for up to `members` members and `sends` sends, whichever ends first, a little over at most. Returns how
    /// many broadcasts are done with.
    pub(crate) fn walk(
        &mut self,
        mut members: usize,
        mut sends: usize,
        mut send: impl FnMut(ConnId, &ClientId, &Broadcast),
    ) -> usize {
        let mut done = 0;
        while members > 0 && sends > 0 {
            let Some(number) = self.busy.pop_front() else { break };
            let Some(group) = self.groups.get_mut(&number) else { continue };
            if group.pass.is_empty() {
                std::mem::swap(&mut group.pass, &mut group.waiting);
                group.at = 0;
            }
            while members > 0 && sends > 0 && group.at < group.members.len() {
                if let Some(member) = &group.members[group.at] {
                    for (sequence, broadcast) in &group.pass {
                        if *sequence > member.joined && broadcast.except.as_ref() != Some(&member.peer) {
                            send(member.conn, &member.peer, broadcast);
                            sends = sends.saturating_sub(1);
                        }
                    }
                    members -= 1;
                }
                group.at += 1;
            }
            if group.at == group.members.len() {
                done += group.pass.len();
                group.pass.clear();
                group.close_up();
            }
            if !group.pass.is_empty() || !group.waiting.is_empty() {
                self.busy.push_back(number);
            } else if group.members.is_empty() {
                self.groups.remove(&number);
            }
        }
        done
    }
}

impl Group {
    /// Fills the places of those who left during the pass.
    fn close_up(&mut self) {
        if self.members.len() == self.places.len() {
            return;
        }
        self.members.retain(Option::is_some);
        for (place, member) in self.members.iter().flatten().enumerate() {
            self.places.insert((member.conn, member.peer.clone()), place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(n: usize) -> ConnId {
        ConnId::new(0, 0, n as u32, 1)
    }

    fn name(n: usize) -> ClientId {
        format!("c{n}").into()
    }

    fn say(groups: &mut Groups, text: &'static str) {
        let frame = Bytes::from_static(text.as_bytes());
        groups.broadcast(
            7,
            Broadcast { frame, class: Class::Normal, except: None, later_for: None, since_ns: 0, going: None },
        );
    }

    fn walk(groups: &mut Groups, members: usize, heard: &mut Vec<(usize, Bytes)>) -> usize {
        groups.walk(members, usize::MAX, |conn, _, b| heard.push((conn.slot() as usize, b.frame.clone())))
    }

    #[test]
    fn a_slice_goes_on_where_the_last_ended() {
        let mut groups = Groups::new();
        (0..10).for_each(|n| assert!(groups.join(7, conn(n), &name(n))));
        assert!(!groups.join(7, conn(3), &name(3)));
        say(&mut groups, "a");
        say(&mut groups, "b");
        let mut heard = Vec::new();
        assert_eq!(walk(&mut groups, 4, &mut heard), 0);
        say(&mut groups, "c");
        assert_eq!(heard.len(), 8);
        assert_eq!(walk(&mut groups, 6, &mut heard), 2);
        assert_eq!(walk(&mut groups, 100, &mut heard), 1);
        assert!(!groups.is_busy());
        for n in 0..10 {
            let own: Vec<_> = heard.iter().filter(|(m, _)| *m == n).map(|(_, frame)| &frame[..]).collect();
            assert_eq!(own, [b"a", b"b", b"c"], "member {n}");
        }
    }

    #[test]
    fn joins_and_leaves_during_a_pass_count_from_their_moment() {
        let mut groups = Groups::new();
        (0..4).for_each(|n| assert!(groups.join(7, conn(n), &name(n))));
        say(&mut groups, "a");
        let mut heard = Vec::new();
        walk(&mut groups, 1, &mut heard);
        groups.join(7, conn(9), &name(9));
        groups.leave(7, conn(2), &name(2));
        groups.leave(7, conn(2), &name(2));
        say(&mut groups, "b");
        while groups.is_busy() {
            walk(&mut groups, 1, &mut heard);
        }
        let heard_by = |n| heard.iter().filter(|(m, _)| *m == n).map(|(_, f)| f[0]).collect::<Vec<_>>();
        assert_eq!([heard_by(0), heard_by(2), heard_by(9)], [b"ab".to_vec(), vec![], b"b".to_vec()]);
        for n in [0, 1, 3, 9] {
            groups.leave(7, conn(n), &name(n));
        }
        assert!(groups.groups.is_empty());
        assert!(!groups.broadcast(
            7,
            Broadcast {
                frame: Bytes::new(),
                class: Class::Normal,
                except: None,
                later_for: None,
                since_ns: 0,
                going: None
            }
        ));
    }

    #[test]
    fn the_excepted_client_hears_nothing_on_any_connection() {
        let mut groups = Groups::new();
        groups.join(7, conn(1), &name(1));
        groups.join(7, conn(2), &name(1));
        groups.join(7, conn(3), &name(3));
        let except = Some(name(1));
        groups.broadcast(
            7,
            Broadcast { frame: Bytes::new(), class: Class::Normal, except, later_for: None, since_ns: 0, going: None },
        );
        let mut heard = Vec::new();
        walk(&mut groups, 9, &mut heard);
        assert_eq!(heard, [(3, Bytes::new())]);
    }
}
