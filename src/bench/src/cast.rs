//! Who plays a recording: a client for each sender, others who hear, and who is in which conversation.
//!
//! A recording says how many hear each conversation and not who, so listeners are made up: each conversation has its
//! own for as long as there are clients; then conversations share them, and what cannot be kept is cut and said. A client
//! is in one chat room at a time, so rooms have theirs first. Knows no connection.

use std::collections::{BTreeSet, HashSet};

use tidegate_recording::Messages;

use crate::Failure;

/// Who hears what of whom is remembered for each: so many are half a gigabyte.
const MOST_STREAMS: u64 = 30_000_000;

#[derive(Debug)]
pub struct Cast {
    /// Senders, then listeners.
    pub clients: u32,
    /// Clients that send.
    speakers: u32,
    /// Who is in each conversation, ascending; of a room, who hears it. By the recording's numbers.
    pub members: Vec<Vec<u32>>,
    /// What is not as it was recorded, in words.
    pub cuts: Vec<String>,
}

impl Cast {
    /// At most `most` clients, at least 1.
    pub fn of(messages: &Messages, most: u32) -> Result<Cast, Failure> {
        let senders = u32::try_from(messages.senders()).unwrap_or(u32::MAX).max(1);
        let (hearers, scaled) = hearers(messages);
        let sum = |rooms: bool| -> u64 {
            let of = messages.conversations.iter().zip(&hearers).filter(|(of, _)| of.room == rooms);
            of.map(|(_, hearers)| u64::from(*hearers)).sum()
        };
        let (in_rooms, in_others) = (sum(true), sum(false));
        let mut cuts = Vec::new();
        if let Some(share) = scaled {
            cuts.push(format!("conversations have {:.0}% of their members: more could not be checked", share * 100.0));
        }
        let listeners = in_rooms + in_others;
        let left = most - least(listeners, most / 2);
        let speakers = senders.min(left.max(1));
        if speakers < senders {
            cuts.push(format!("{speakers} clients send what {senders} sent"));
        }
        let rest = most - speakers;
        let for_rooms = least(in_rooms, rest - least(in_others, rest / 2));
        let mut next = speakers;
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); messages.conversations.len()];
        for (at, _) in messages.conversations.iter().enumerate().filter(|(_, of)| of.room) {
            let share = u64::from(hearers[at]) * u64::from(for_rooms) / in_rooms.max(1);
            let share = least(share.max(1), u32::MAX);
            let end = next.checked_add(share).filter(|end| *end <= most).ok_or_else(|| no_room(messages, most))?;
            members[at] = (next..end).collect();
            next = end;
        }
        if u64::from(for_rooms) < in_rooms {
            cuts.push(format!("{} clients are in chat rooms that {in_rooms} were in", next - speakers));
        }
        let pool = next..next + least(in_others, most - next);
        let (shared, cut) = share_out(messages, &hearers, &pool, &mut members);
        if shared {
            let some = pool.len();
            cuts.push(format!("{some} clients hear what {in_others} could hear: conversations share them"));
        }
        if cut > 0 {
            cuts.push(format!("{cut} conversations have fewer members than they had"));
        }
        if !cuts.is_empty() {
            cuts.push("more clients: --per-connection 10, or a higher limit of open files (ulimit -n)".to_owned());
        }
        let mut cast = Cast { clients: pool.end, speakers, members, cuts };
        cast.let_senders_in(messages);
        Ok(cast)
    }

    /// The client that plays a sender.
    pub fn speaker(&self, sender: u32) -> u32 {
        sender % self.speakers
    }

    /// Who sends in a conversation is a member; in a room nobody needs to be.
    fn let_senders_in(&mut self, messages: &Messages) {
        let spoken: BTreeSet<(u32, u32)> =
            messages.all.iter().map(|of| (of.conversation, self.speaker(of.sender))).collect();
        for (conversation, client) in spoken {
            let at = conversation as usize;
            if !messages.conversations[at].room {
                self.members[at].push(client);
            }
        }
        self.members.iter_mut().for_each(|members| members.sort_unstable());
    }
}

fn least(some: u64, most: u32) -> u32 {
    u32::try_from(some).unwrap_or(u32::MAX).min(most)
}

fn no_room(messages: &Messages, most: u32) -> Failure {
    let rooms = messages.conversations.iter().filter(|of| of.room).count();
    Failure::because(format!(
        "the recording has {rooms} chat rooms, and a client is in one at a time: {most} clients are too few. Let clients share \
         connections (--per-connection), or raise the limit of open files (ulimit -n)"
    ))
}

/// How many hear each conversation beside its senders, and the share that is left where it was too much to check.
fn hearers(messages: &Messages) -> (Vec<u32>, Option<f64>) {
    let lines: HashSet<(u32, u32, bool)> =
        messages.all.iter().map(|of| (of.conversation, of.sender, of.transient)).collect();
    let (mut lines_in, mut senders_in) =
        (vec![0u64; messages.conversations.len()], vec![0u32; messages.conversations.len()]);
    for (conversation, sender, transient) in &lines {
        lines_in[*conversation as usize] += 1;
        // Once, where a sender has lines of both kinds.
        let is_first = !transient || !lines.contains(&(*conversation, *sender, false));
        senders_in[*conversation as usize] += u32::from(is_first);
    }
    let of = || messages.conversations.iter().zip(&lines_in);
    let streams: u64 = of().map(|(of, lines)| u64::from(of.members) * lines).sum();
    let share = (streams > MOST_STREAMS).then(|| MOST_STREAMS as f64 / streams as f64);
    let hearers = messages.conversations.iter().zip(&senders_in).map(|(of, senders)| {
        let members = (f64::from(of.members) * share.unwrap_or(1.0)).round() as u32;
        if of.room { members.max(1) } else { members.saturating_sub(*senders) }
    });
    (hearers.collect(), share)
}

/// Gives conversations that are no rooms their listeners, one after the other of `pool` and then again from its beginning.
/// Whether any has two, and how many conversations have fewer than they should.
fn share_out(
    messages: &Messages,
    hearers: &[u32],
    pool: &std::ops::Range<u32>,
    members: &mut [Vec<u32>],
) -> (bool, usize) {
    let size = pool.end - pool.start;
    let (mut given, mut cut) = (0u64, 0);
    for (at, of) in messages.conversations.iter().enumerate() {
        if of.room {
            continue;
        }
        let some = hearers[at].min(size);
        cut += usize::from(some < hearers[at]);
        members[at] = (given..given + u64::from(some)).map(|n| pool.start + (n % u64::from(size)) as u32).collect();
        given += u64::from(some);
    }
    (given > u64::from(size), cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_recording::{Conversation, Message};

    /// Conversations as members and whether they are rooms; messages as sender and conversation.
    fn messages(conversations: &[(u32, bool)], all: &[(u32, u32)]) -> Messages {
        let conversations = conversations.iter().map(|(members, room)| Conversation { members: *members, room: *room });
        let message = |&(sender, conversation)| Message { at: 0, sender, conversation, size: 5, transient: false };
        Messages {
            conversations: conversations.collect(),
            all: all.iter().map(message).collect(),
            ..Messages::default()
        }
    }

    #[test]
    fn everybody_has_a_client_where_there_is_room() {
        let of = messages(&[(2, false), (3, false), (4, true)], &[(0, 0), (1, 1), (0, 1), (1, 2)]);
        let cast = Cast::of(&of, 1_000).unwrap();
        assert!(cast.cuts.is_empty(), "{:?}", cast.cuts);
        assert_eq!(cast.clients, 2 + 4 + 1 + 1);
        assert_eq!(cast.members, [vec![0, 6], vec![0, 1, 7], vec![2, 3, 4, 5]]);
        assert_eq!((cast.speaker(0), cast.speaker(1)), (0, 1));
    }

    #[test]
    fn listeners_are_shared_before_anything_is_cut() {
        let of = messages(&[(3, false); 10], &[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]);
        let cast = Cast::of(&of, 5).unwrap();
        assert_eq!(cast.clients, 5);
        for members in &cast.members {
            assert_eq!(members.len(), 3, "{cast:?}");
            assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), members.len(), "nobody twice");
        }
        assert!(cast.cuts[0].contains("share"), "{:?}", cast.cuts);
    }

    #[test]
    fn what_does_not_fit_is_cut_and_said() {
        let of = messages(&[(100, false), (100, true)], &[(0, 0), (1, 0), (2, 1), (3, 1)]);
        let cast = Cast::of(&of, 20).unwrap();
        assert!(cast.clients <= 20, "{cast:?}");
        let words = cast.cuts.join("; ");
        for part in ["chat rooms that 100 were in", "1 conversations have fewer", "--per-connection"] {
            assert!(words.contains(part), "{words}");
        }
        let rooms = messages(&[(1, true); 30], &[(0, 0)]);
        assert!(Cast::of(&rooms, 20).unwrap_err().to_string().contains("30 chat rooms"));
    }

    #[test]
    fn few_clients_speak_for_many() {
        let all: Vec<(u32, u32)> = (0..100).map(|sender| (sender, sender)).collect();
        let cast = Cast::of(&messages(&[(2, false); 100], &all), 10).unwrap();
        assert!(cast.clients <= 10 && cast.members.iter().all(|members| members.len() == 2), "{cast:?}");
        assert!(all.iter().all(|(sender, of)| cast.members[*of as usize].contains(&cast.speaker(*sender))));
        assert!(cast.cuts[0].contains("send what 100 sent"), "{:?}", cast.cuts);
    }
}
