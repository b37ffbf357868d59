//! Which conversations a log-in is told about, and with what count (wire.md 3.11 and section 5).
//!
//! Counting is the store's, asked for one conversation at a time; here are the rules around it. Must not know stores or
//! sessions.

use std::cmp::Reverse;

use crate::conversation::Kind;
use crate::ids::{ConvId, Millis};
use crate::marks::ReadMark;
use crate::reply::{LogItem, Unread};

/// The most conversations in one snapshot.
pub const MOST_CONVERSATIONS: usize = 50;

/// Where counting stops.
pub const MOST_COUNTED: usize = 100;

/// The most conversations that are counted for one snapshot: those that turn out to have nothing to tell cost as well.
pub const MOST_ASKED: usize = 200;

/// How one conversation stands for one client, before anything is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub cid: ConvId,
    pub kind: Kind,
    /// When the client became a member: what is older is never unread.
    pub joined: Millis,
    pub read: Option<ReadMark>,
    /// The time of the newest message, whoever sent it.
    pub last_at: Option<Millis>,
}

impl Standing {
    /// Messages of others after this are unread.
    pub fn after(&self) -> Millis {
        unread_after(self.joined, self.read)
    }

    /// Whether there can be anything to tell to a client that knows all up to `since`; cheap, and may say yes in vain.
    fn may_tell(&self, since: Option<Millis>) -> bool {
        let Some(last_at) = self.last_at else { return false };
        self.kind != Kind::Room
            && (last_at > self.after().max(since.unwrap_or(Millis::MIN)) || self.was_read_since(since))
    }

    /// Another of the client's devices read on: this one must hear of it, down to a count of 0.
    fn was_read_since(&self, since: Option<Millis>) -> bool {
        since.zip(self.read).is_some_and(|(since, read)| read.read_at > since)
    }
}

/// Where the unread begin: after the read mark, and never before the join.
pub fn unread_after(joined: Millis, read: Option<ReadMark>) -> Millis {
    read.map_or(joined, |read| read.message_at.max(joined))
}

/// What counting one conversation gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    /// Messages of others after `Standing::after`.
    pub count: usize,
    /// Whether one of these mentions the client.
    pub mentioned: bool,
    /// The newest message, whoever sent it.
    pub last: Option<LogItem>,
}

/// The snapshot for a log-in that knows all up to `since` (`lastUnreadNotifTime`): the conversations with news, newest first.
/// Asks `count` for one after the other, which need not count past `MOST_COUNTED`; its first error ends it.
pub fn snapshot<E>(
    standings: impl IntoIterator<Item = Standing>,
    since: Option<Millis>,
    mut count: impl FnMut(&Standing) -> Result<Counted, E>,
) -> Result<Vec<Unread>, E> {
    let mut news: Vec<Standing> = standings.into_iter().filter(|standing| standing.may_tell(since)).collect();
    news.sort_unstable_by_key(|standing| (Reverse(standing.last_at), standing.cid));
    let mut told = Vec::new();
    for standing in news.iter().take(MOST_ASKED) {
        if told.len() == MOST_CONVERSATIONS {
            break;
        }
        let counted = count(standing)?;
        // A count of 0 is news only to a client that may show another one.
        if counted.count > 0 || standing.was_read_since(since) {
            told.push(told_of(standing.cid, standing.kind, counted));
        }
    }
    Ok(told)
}

/// One conversation's unread state, as clients are told it: after a log-in, and when it was read (wire.md 3.12).
pub fn told_of(cid: ConvId, kind: Kind, counted: Counted) -> Unread {
    let count = counted.count.min(MOST_COUNTED);
    Unread { cid, count: count as i32, mentioned: counted.mentioned && count > 0, kind, last: counted.last }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn cid(n: usize) -> ConvId {
        let mut id = [0; 12];
        id[4..].copy_from_slice(&(n as u64).to_be_bytes());
        ConvId::Object(id)
    }

    fn standing(n: usize, joined: Millis, read: Option<(Millis, Millis)>, last_at: Option<Millis>) -> Standing {
        let read = read.map(|(message_at, read_at)| ReadMark { message_at, read_at });
        Standing { cid: cid(n), kind: Kind::Normal, joined, read, last_at }
    }

    /// Every conversation counts `count`.
    fn told(standings: Vec<Standing>, since: Option<Millis>, count: usize) -> Vec<(ConvId, i32)> {
        let counted = Counted { count, mentioned: true, last: None };
        let snapshot = snapshot(standings, since, |_| Ok::<_, Infallible>(counted.clone())).unwrap();
        snapshot.into_iter().map(|unread| (unread.cid, unread.count)).collect()
    }

    #[test]
    fn unread_begin_after_the_mark_and_the_join() {
        assert_eq!(standing(1, 10, None, None).after(), 10);
        assert_eq!(standing(1, 10, Some((5, 99)), None).after(), 10);
        assert_eq!(standing(1, 10, Some((15, 99)), None).after(), 15);
    }

    #[test]
    fn only_what_has_news_is_told() {
        for (conversation, since, count, expected) in [
            (standing(1, 0, None, Some(50)), None, 3, Some(3)),
            (standing(1, 0, None, None), None, 0, None),
            (standing(1, 50, None, Some(50)), None, 0, None),
            (standing(1, 0, Some((50, 60)), Some(50)), None, 0, None),
            // Only own messages came after the mark.
            (standing(1, 0, Some((40, 60)), Some(50)), None, 0, None),
            (standing(1, 0, None, Some(50)), Some(50), 3, None),
            (standing(1, 0, None, Some(50)), Some(49), 3, Some(3)),
            // Read by another device since: told even at 0.
            (standing(1, 0, Some((50, 60)), Some(50)), Some(55), 0, Some(0)),
            (standing(1, 0, Some((50, 60)), Some(50)), Some(60), 0, None),
            (standing(1, 0, None, Some(50)), None, 250, Some(100)),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|count| (cid(1), count)).collect();
            assert_eq!(told(vec![conversation.clone()], since, count), expected, "{conversation:?} {since:?}");
        }
        let room = Standing { kind: Kind::Room, ..standing(1, 0, None, Some(50)) };
        assert_eq!(told(vec![room], None, 3), []);
    }

    #[test]
    fn a_mention_needs_something_unread() {
        let counted = |count| Counted { count, mentioned: true, last: None };
        assert!(told_of(cid(1), Kind::Normal, counted(1)).mentioned);
        assert!(!told_of(cid(1), Kind::Normal, counted(0)).mentioned);
    }

    #[test]
    fn an_error_of_the_count_ends_it() {
        let result = snapshot([standing(1, 0, None, Some(1))], None, |_| Err("broken"));
        assert_eq!(result, Err("broken"));
    }

    proptest! {
        #[test]
        fn the_newest_fifty_are_told(times in prop::collection::vec(1..1_000i64, 0..300), silent in 1..8usize) {
            let standings: Vec<_> =
                times.iter().enumerate().map(|(n, at)| standing(n, 0, None, Some(*at))).collect();
            // Every `silent`-th has nothing unread after all.
            let has_news = |cid: ConvId| (0..times.len()).any(|n| n % silent != 0 && cid == self::cid(n));
            let mut asked = 0;
            let result = snapshot(standings.clone(), None, |standing| {
                asked += 1;
                Ok::<_, Infallible>(Counted { count: usize::from(has_news(standing.cid)), ..Counted::default() })
            }).unwrap();
            let mut expected: Vec<_> = times.iter().enumerate().map(|(n, at)| (Reverse(*at), cid(n))).collect();
            expected.sort_unstable();
            let expected: Vec<_> = expected.into_iter().take(MOST_ASKED).map(|(_, cid)| cid)
                .filter(|cid| has_news(*cid)).take(MOST_CONVERSATIONS).collect();
            prop_assert_eq!(result.iter().map(|unread| unread.cid).collect::<Vec<_>>(), expected);
            prop_assert!(asked <= MOST_ASKED);
        }
    }
}
