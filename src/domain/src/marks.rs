//! What a member of a conversation has got and read, as marks in time (wire.md 3.9 and 3.12).
//!
//! A message costs no write per member: acknowledged ranges are joined, and a history's `ackAt` is looked up in them.
//! Owns the invariant of a list of ranges: sorted, not overlapping, bounded. Must not know stores.

use crate::command::{Delivered, ReadUpTo};
use crate::ids::Millis;

/// The most ranges kept for one member of one conversation.
pub const MOST_RANGES: usize = 32;

/// Messages of others from..=to have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub from: Millis,
    pub to: Millis,
    /// When the receiver said so.
    pub at: Millis,
}

/// What an acknowledgement covers. `message`: the time of the message that it names, if it names one that exists; `last`: the
/// time of the conversation's newest message, beyond which nothing can have arrived. `None`: nothing.
pub fn said(ack: &Delivered, message: Option<Millis>, last: Millis, now: Millis) -> Option<Range> {
    let (from, to) = match (ack.mid, ack.from, ack.to) {
        (Some(_), ..) => (message?, message?),
        (None, from, Some(to)) => (from.unwrap_or(0), to),
        (None, from, None) => (from?, last),
    };
    let to = to.min(last);
    (from <= to).then_some(Range { from, to, at: now })
}

/// Puts a range into a sorted list; gives the parts of it that were not there: the messages in these arrived for the first
/// time, and senders who asked for it get receipts. None where nothing is new.
///
/// What was there keeps its time. Neighbours of one time are joined. Past `MOST_RANGES` the two ranges with the least
/// between them become one, so that a long absence, whose messages may still be fetched and acknowledged, stays a
/// gap; the newest range stays as it is.
pub fn deliver(ranges: &mut Vec<Range>, new: Range) -> Vec<Range> {
    let fresh = gaps(ranges, new);
    if fresh.is_empty() {
        return fresh;
    }
    ranges.extend(&fresh);
    ranges.sort_unstable_by_key(|range| range.from);
    ranges.dedup_by(|next, before| {
        let joins = before.at == next.at && before.to.checked_add(1) == Some(next.from);
        if joins {
            before.to = next.to;
        }
        joins
    });
    while ranges.len() > MOST_RANGES {
        let older = &ranges[..ranges.len() - 1];
        let gap = |at: &usize| older[*at + 1].from.abs_diff(older[*at].to);
        let Some(nearest) = (0..older.len().saturating_sub(1)).min_by_key(gap) else { break };
        let next = ranges.remove(nearest + 1);
        ranges[nearest].to = next.to;
        // The earlier time: what it is too early for counts as arrived at once (`delivered_at`), now and ever after.
        ranges[nearest].at = ranges[nearest].at.min(next.at);
    }
    fresh
}

/// The parts of `new` that no range covers.
fn gaps(ranges: &[Range], new: Range) -> Vec<Range> {
    let mut parts = Vec::new();
    let mut from = new.from;
    for old in ranges.iter().filter(|old| old.to >= new.from && old.from <= new.to) {
        if from < old.from {
            parts.push(Range { from, to: old.from - 1, at: new.at });
        }
        match old.to.checked_add(1) {
            Some(next) => from = next,
            None => return parts,
        }
    }
    if from <= new.to {
        parts.push(Range { from, ..new });
    }
    parts
}

/// When a message of this time had arrived, never before it was sent; `None`: not yet.
pub fn delivered_at(ranges: &[Range], message: Millis) -> Option<Millis> {
    let begun = ranges.partition_point(|range| range.from <= message);
    ranges[..begun].last().filter(|range| message <= range.to).map(|range| range.at.max(message))
}

/// When anything arrived last: `maxAckTimestamp` (wire.md 3.6.7).
pub fn last_delivery(ranges: &[Range]) -> Option<Millis> {
    ranges.iter().map(|range| range.at.max(range.to)).max()
}

/// How far a member has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadMark {
    /// The time of the last message read.
    pub message_at: Millis,
    /// When that was said.
    pub read_at: Millis,
}

impl ReadMark {
    /// What a client said to have read. `message`: the time of the message that it names, if that exists; `last`: that of the
    /// conversation's newest. A time beyond the newest is cut: what comes next is not read yet.
    pub fn said(read: &ReadUpTo, message: Option<Millis>, last: Millis, now: Millis) -> Self {
        let message_at = match (read.mid, read.timestamp) {
            (None, None) => last,
            // The named message where it is known; C# and Java may send a time of their own beside.
            (_, timestamp) => message.or(timestamp).unwrap_or(0).min(last),
        };
        ReadMark { message_at, read_at: now }
    }

    /// Moves a mark forward; `false` where it was there already, or further.
    pub fn advance(mark: &mut Option<ReadMark>, new: ReadMark) -> bool {
        let moves = mark.is_none_or(|old| old.message_at < new.message_at);
        if moves {
            *mark = Some(new);
        }
        moves
    }

    /// `maxReadTimestamp`: the time of the reading, never below that of the message.
    pub fn shown(&self) -> Millis {
        self.read_at.max(self.message_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{ConvId, MessageId};

    fn range(from: Millis, to: Millis, at: Millis) -> Range {
        Range { from, to, at }
    }

    fn list(ranges: &[Range]) -> Vec<Range> {
        let mut list = Vec::new();
        for range in ranges {
            deliver(&mut list, *range);
        }
        list
    }

    fn well_formed(ranges: &[Range]) -> bool {
        ranges.len() <= MOST_RANGES
            && ranges.iter().all(|range| range.from <= range.to)
            && ranges.windows(2).all(|pair| pair[0].to < pair[1].from)
    }

    #[test]
    fn the_first_time_of_an_arrival_stays() {
        let ranges = list(&[range(10, 20, 100), range(15, 30, 200)]);
        assert_eq!(ranges, [range(10, 20, 100), range(21, 30, 200)]);
        assert_eq!(delivered_at(&ranges, 20), Some(100));
        assert_eq!(delivered_at(&ranges, 21), Some(200));
        for message in [9, 31] {
            assert_eq!(delivered_at(&ranges, message), None);
        }
        assert_eq!((last_delivery(&ranges), last_delivery(&[])), (Some(200), None));
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut ranges = list(&[range(10, 20, 100), range(30, 40, 100)]);
        assert_eq!(deliver(&mut ranges, range(12, 18, 200)), []);
        assert_eq!(deliver(&mut ranges, range(5, 50, 200)), [range(5, 9, 200), range(21, 29, 200), range(41, 50, 200)]);
        assert_eq!(deliver(&mut ranges, range(9, 5, 300)), []);
        assert_eq!(deliver(&mut ranges, range(i64::MIN, i64::MAX, 300)).len(), 2);
        assert_eq!(deliver(&mut ranges, range(i64::MIN, i64::MAX, 400)), []);
        assert!(well_formed(&ranges));
    }

    #[test]
    fn neighbours_of_one_time_are_one_range() {
        assert_eq!(list(&[range(1, 2, 9), range(3, 4, 9), range(5, 6, 10)]), [range(1, 4, 9), range(5, 6, 10)]);
    }

    #[test]
    fn a_long_absence_stays_a_gap_however_many_come_after() {
        let mut ranges = list(&[range(0, 10, 10)]);
        for message in 0..1_000 {
            let at = 1_000_000 + message * 100;
            assert_eq!(deliver(&mut ranges, range(at, at, at + 5)).len(), 1);
        }
        assert!(well_formed(&ranges));
        assert_eq!(delivered_at(&ranges, 500_000), None);
        assert_eq!(deliver(&mut ranges, range(11, 999_999, 2_000_000)).len(), 1);
        // What was joined has arrived at once; the newest is exact.
        assert_eq!(delivered_at(&ranges, 1_000_100), Some(1_000_100));
        assert_eq!(delivered_at(&ranges, 1_099_900), Some(1_099_905));
    }

    #[test]
    fn an_acknowledgement_covers_what_it_says_and_nothing_unsent() {
        let ack = |mid: Option<u8>, from, to| Delivered {
            cid: ConvId::Nowhere,
            mid: mid.map(|id| MessageId([id; 16])),
            from,
            to,
        };
        for (ack, message, expected) in [
            (ack(Some(1), None, None), Some(50), Some((50, 50))),
            (ack(Some(1), None, None), None, None),
            (ack(None, Some(10), Some(20)), None, Some((10, 20))),
            (ack(None, None, Some(20)), None, Some((0, 20))),
            (ack(None, Some(10), None), None, Some((10, 100))),
            (ack(None, Some(10), Some(i64::MAX)), None, Some((10, 100))),
            (ack(None, Some(101), Some(200)), None, None),
            (ack(None, None, None), None, None),
        ] {
            let expected = expected.map(|(from, to)| range(from, to, 7));
            assert_eq!(said(&ack, message, 100, 7), expected, "{ack:?}");
        }
    }

    #[test]
    fn reading_moves_forward_only() {
        let read = |timestamp, mid: Option<u8>| ReadUpTo {
            cid: ConvId::Nowhere,
            timestamp,
            mid: mid.map(|id| MessageId([id; 16])),
        };
        let said = |read: &ReadUpTo, message| ReadMark::said(read, message, 100, 7).message_at;
        assert_eq!(said(&read(None, None), None), 100);
        assert_eq!(said(&read(Some(50), None), None), 50);
        assert_eq!(said(&read(Some(500), None), None), 100);
        assert_eq!(said(&read(Some(50), Some(1)), Some(60)), 60);
        assert_eq!(said(&read(Some(50), Some(1)), None), 50);
        assert_eq!(said(&read(None, Some(1)), None), 0);
        let mut mark = None;
        for (message_at, moves) in [(10, true), (10, false), (9, false), (11, true)] {
            assert_eq!(ReadMark::advance(&mut mark, ReadMark { message_at, read_at: message_at + 1 }), moves);
        }
        assert_eq!(mark, Some(ReadMark { message_at: 11, read_at: 12 }));
        assert_eq!(ReadMark { message_at: 9, read_at: 3 }.shown(), 9);
    }

    proptest! {
        /// Against a table of each millisecond: below the bound, exactly the same.
        #[test]
        fn ranges_are_a_table(steps in prop::collection::vec((0..60i64, 0..20i64, 60..70i64), 0..25)) {
            let mut ranges = Vec::new();
            let mut table = [None; 80];
            for (from, length, at) in steps {
                let fresh = deliver(&mut ranges, range(from, from + length, at));
                for time in from..=from + length {
                    let was_new = table[time as usize].is_none();
                    prop_assert_eq!(fresh.iter().any(|part| part.from <= time && time <= part.to), was_new);
                    table[time as usize].get_or_insert(at.max(time));
                }
                prop_assert!(well_formed(&ranges));
            }
            for (time, at) in table.iter().enumerate() {
                prop_assert_eq!(delivered_at(&ranges, time as i64), *at);
            }
        }

        /// Past the bound, what has arrived has arrived, and not before it was sent.
        #[test]
        fn nothing_delivered_is_forgotten(steps in prop::collection::vec((0..10_000i64, 0..3i64), 0..120)) {
            let mut ranges = Vec::new();
            for (n, (from, length)) in steps.iter().enumerate() {
                deliver(&mut ranges, range(*from, from + length, 10_000 + n as i64));
                prop_assert!(well_formed(&ranges));
            }
            for (from, length) in steps {
                for time in from..=from + length {
                    prop_assert!(delivered_at(&ranges, time).is_some_and(|at| at >= time));
                }
            }
        }
    }
}
