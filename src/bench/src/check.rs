//! Whether what was received is what was sent: nothing lost, nothing twice, nothing out of order.
//!
//! A stream is what one sender says to one receiver in one conversation, numbered from 0. Refused messages never come
//! and are no loss; the sender's side says which ones these were.

/// What was found wrong.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// Acknowledged, and never received.
    pub lost: u64,
    /// Received again.
    pub repeated: u64,
    /// Received after a later one.
    pub reordered: u64,
}

impl Wrong {
    /// Whether anything is.
    pub fn any(&self) -> bool {
        self.lost + self.repeated + self.reordered > 0
    }

    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: Wrong) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
    }
}

/// One receiver's view of one sender. Small, as a room has thousands.
#[derive(Debug, Default, Clone)]
pub struct Stream {
    next: u32,
    /// Runs of numbers that were passed over, first and behind the last, ascending. Almost always none.
    #[expect(clippy::box_collection, reason = "two words less in each of a room's thousands")]
    holes: Option<Box<Vec<(u32, u32)>>>,
}

impl Stream {
    /// Takes a received number in; what is wrong with it goes to `wrong`. Whether it is new.
    pub fn see(&mut self, number: u32, wrong: &mut Wrong) -> bool {
        if number >= self.next {
            if number > self.next {
                self.holes.get_or_insert_default().push((self.next, number));
            }
            self.next = number + 1;
            return true;
        }
        let found = self.holes.as_mut().and_then(|holes| fill(holes, number));
        match found {
            Some(()) => wrong.reordered += 1,
            None => wrong.repeated += 1,
        }
        found.is_some()
    }

    /// The numbers below `sent` that never came.
    pub fn missing(&self, sent: u32) -> impl Iterator<Item = u32> + '_ {
        let holes = self.holes.iter().flat_map(|holes| holes.iter().copied());
        holes.chain([(self.next, sent.max(self.next))]).flat_map(|(from, to)| from..to)
    }
}

/// Takes `number` out of the run that holds it, if one does.
fn fill(holes: &mut Vec<(u32, u32)>, number: u32) -> Option<()> {
    let at = holes.iter().position(|(from, to)| (*from..*to).contains(&number))?;
    let (from, to) = holes.remove(at);
    for run in [(number + 1, to), (from, number)] {
        if run.0 < run.1 {
            holes.insert(at, run);
        }
    }
    Some(())
}

/// What one sender sent into one conversation.
#[derive(Debug, Default, Clone)]
pub struct Sent {
    /// Numbers given out.
    pub count: u32,
    /// Those that need not arrive: refused, or without an answer. Ascending.
    excused: Vec<u32>,
}

impl Sent {
    /// `number` was refused, or will not be answered.
    pub fn excuse(&mut self, number: u32) {
        if let Err(at) = self.excused.binary_search(&number) {
            self.excused.insert(at, number);
        }
    }

    /// How many must arrive.
    pub fn promised(&self) -> u64 {
        u64::from(self.count) - self.excused.len() as u64
    }

    /// How many of those that must arrive `stream` lacks.
    pub fn lost(&self, stream: &Stream) -> u64 {
        stream.missing(self.count).filter(|number| self.excused.binary_search(number).is_err()).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn judge(received: &[u32], sent: &Sent) -> Wrong {
        let (mut stream, mut wrong) = (Stream::default(), Wrong::default());
        for number in received {
            stream.see(*number, &mut wrong);
        }
        wrong.lost = sent.lost(&stream);
        wrong
    }

    fn sent(count: u32, excused: &[u32]) -> Sent {
        let mut sent = Sent { count, ..Sent::default() };
        excused.iter().for_each(|number| sent.excuse(*number));
        sent
    }

    #[test]
    fn all_in_order_is_good() {
        assert!(!judge(&[0, 1, 2, 3], &sent(4, &[])).any());
        assert!(!judge(&[], &sent(0, &[])).any());
    }

    #[test]
    fn a_server_that_loses_is_found() {
        assert_eq!(judge(&[0, 1, 3], &sent(4, &[])).lost, 1, "in the middle");
        assert_eq!(judge(&[0, 1], &sent(4, &[])).lost, 2, "at the end");
        assert_eq!(judge(&[], &sent(3, &[])).lost, 3, "all of it");
    }

    #[test]
    fn a_server_that_repeats_is_found() {
        assert_eq!(judge(&[0, 1, 1, 2, 0], &sent(3, &[])), Wrong { repeated: 2, ..Wrong::default() });
    }

    #[test]
    fn a_server_that_reorders_is_found_and_has_lost_nothing() {
        assert_eq!(judge(&[0, 3, 2, 1], &sent(4, &[])), Wrong { reordered: 2, ..Wrong::default() });
        assert_eq!(judge(&[0, 3, 2, 2], &sent(4, &[])), Wrong { lost: 1, repeated: 1, reordered: 1 });
    }

    #[test]
    fn what_was_refused_is_no_loss() {
        assert!(!judge(&[0, 3], &sent(5, &[4, 1, 2])).any());
        assert_eq!(judge(&[], &sent(5, &[4, 1, 2, 1])).lost, 2, "excused twice is excused once");
    }

    proptest! {
        #[test]
        fn any_arrivals_are_judged_as_a_slow_judge_would(
            received in prop::collection::vec(0u32..30, 0..60),
            excused in prop::collection::btree_set(0u32..30, 0..10),
        ) {
            let (mut seen, mut highest, mut slow) = (BTreeSet::new(), None, Wrong::default());
            for number in &received {
                if !seen.insert(*number) {
                    slow.repeated += 1;
                } else if highest.is_some_and(|highest| *number < highest) {
                    slow.reordered += 1;
                }
                highest = highest.max(Some(*number));
            }
            slow.lost = (0..30).filter(|number| !seen.contains(number) && !excused.contains(number)).count() as u64;
            let excused: Vec<u32> = excused.into_iter().collect();
            prop_assert_eq!(judge(&received, &sent(30, &excused)), slow);
        }
    }
}
