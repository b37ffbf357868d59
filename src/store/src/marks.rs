//! How read and delivery marks grow. Both stores apply changes through here, so that they cannot disagree.
//!
//! A read mark only moves forward. Delivered ranges never overlap: what was delivered first keeps its time.

use crate::{Marks, Range, ReadMark};

/// The most delivered ranges kept for one member of one conversation; past it the two oldest become one, which then
/// also covers what lay between them.
pub const MOST_RANGES: usize = 32;

impl Marks {
    /// Moves the read mark forward; a mark that is not later changes nothing.
    pub fn move_read(&mut self, mark: ReadMark) {
        if self.read.is_none_or(|now| mark.message_at > now.message_at) {
            self.read = Some(mark);
        }
    }

    /// Adds what `new` covers and no range here does yet. A range that ends before it begins adds nothing.
    pub fn add_delivered(&mut self, new: Range) {
        let mut added = uncovered(&self.delivered, new);
        if added.is_empty() {
            return;
        }
        self.delivered.append(&mut added);
        self.delivered.sort_by_key(|range| range.from);
        // Neighbours that arrived at the same moment say nothing apart that they do not say together.
        self.delivered.dedup_by(|next, last| {
            let one = last.at == next.at && last.to.checked_add(1) == Some(next.from);
            if one {
                last.to = next.to;
            }
            one
        });
        while self.delivered.len() > MOST_RANGES {
            let oldest = self.delivered.remove(0);
            self.delivered[0].from = oldest.from;
            self.delivered[0].at = self.delivered[0].at.max(oldest.at);
        }
    }

    /// Applies one change after another: `later` holds what a single change says.
    #[cfg(feature = "rocks")]
    pub(crate) fn apply(&mut self, later: &Marks) {
        if let Some(mark) = later.read {
            self.move_read(mark);
        }
        for range in &later.delivered {
            self.add_delivered(*range);
        }
    }
}

/// The parts of `new` that lie in the gaps of `old`, which is sorted and does not overlap.
fn uncovered(old: &[Range], new: Range) -> Vec<Range> {
    let mut parts = Vec::new();
    let mut from = new.from;
    for range in old {
        if from > new.to || range.from > new.to {
            break;
        }
        if range.to < from {
            continue;
        }
        if range.from > from {
            parts.push(Range { from, to: range.from - 1, at: new.at });
        }
        match range.to.checked_add(1) {
            Some(next) => from = next,
            None => return parts,
        }
    }
    if from <= new.to {
        parts.push(Range { from, to: new.to, at: new.at });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(from: i64, to: i64, at: i64) -> Range {
        Range { from, to, at }
    }

    #[test]
    fn the_read_mark_never_goes_back() {
        let mut marks = Marks::default();
        for message_at in [5, 3, 5, 9, 8] {
            marks.move_read(ReadMark { message_at, read_at: 100 + message_at });
        }
        assert_eq!(marks.read, Some(ReadMark { message_at: 9, read_at: 109 }));
    }

    #[test]
    fn what_was_delivered_first_keeps_its_time() {
        let mut marks = Marks::default();
        marks.add_delivered(range(10, 20, 100));
        marks.add_delivered(range(5, 25, 200));
        marks.add_delivered(range(9, 1, 300));
        assert_eq!(marks.delivered, [range(5, 9, 200), range(10, 20, 100), range(21, 25, 200)]);
    }

    #[test]
    fn neighbours_of_one_moment_become_one() {
        let mut marks = Marks::default();
        marks.add_delivered(range(1, 5, 100));
        marks.add_delivered(range(6, 9, 100));
        assert_eq!(marks.delivered, [range(1, 9, 100)]);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let mut marks = Marks::default();
        marks.add_delivered(range(i64::MAX - 1, i64::MAX, 1));
        marks.add_delivered(range(i64::MIN, i64::MAX, 2));
        assert_eq!(marks.delivered, [range(i64::MIN, i64::MAX - 2, 2), range(i64::MAX - 1, i64::MAX, 1)]);
    }

    proptest! {
        /// Against a table of single milliseconds, first delivery wins; the bound is not reached here.
        #[test]
        fn ranges_agree_with_a_table(news in prop::collection::vec((0i64..40, 0i64..12, 0i64..4), 0..12)) {
            let mut marks = Marks::default();
            let mut table = [None; 64];
            for (from, length, at) in news {
                marks.add_delivered(range(from, from + length, at));
                for slot in &mut table[from as usize..=(from + length) as usize] {
                    slot.get_or_insert(at);
                }
            }
            prop_assert!(marks.delivered.windows(2).all(|pair| pair[0].to < pair[1].from));
            for (time, expected) in table.iter().enumerate() {
                let found = marks.delivered.iter().find(|r| r.from <= time as i64 && time as i64 <= r.to).map(|r| r.at);
                prop_assert_eq!(found, *expected, "at {}", time);
            }
        }

        #[test]
        fn ranges_are_bounded_and_cover_what_was_said(news in prop::collection::vec((0i64..100_000, 0i64..50), 0..200)) {
            let mut marks = Marks::default();
            for (from, length) in &news {
                marks.add_delivered(range(*from, from + length, *from));
            }
            prop_assert!(marks.delivered.len() <= MOST_RANGES);
            prop_assert!(marks.delivered.windows(2).all(|pair| pair[0].to < pair[1].from));
            for (from, length) in news {
                for time in [from, from + length] {
                    prop_assert!(marks.delivered.iter().any(|r| r.from <= time && time <= r.to));
                }
            }
        }
    }
}
