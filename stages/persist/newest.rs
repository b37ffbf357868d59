//! What persist remembers of a conversation's newest messages: the time of the last, and who wants receipts for which.
//!
//! Most acknowledgements are of what has just been sent. Answered from here, they cost no page of history between two
//! commits. Bounded: what asked for a receipt longer ago is looked up by read. Must not know stores.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_domain::ids::{ClientId, MessageId, Millis};
use tidegate_domain::marks::Range;

/// Messages remembered of one conversation; only those that ask for a receipt count. Members who are further behind
/// than this wait for read.
const MOST: usize = 16;

/// Cheap to clone: every look at a conversation is one.
#[derive(Debug, Clone)]
pub struct Newest {
    /// The time of the newest message; 0: none yet.
    pub last_at: Millis,
    /// From here on, who wants receipts is known.
    since: Millis,
    /// Those who do, oldest first. `None`: nobody; few conversations ask for receipts at all.
    asked: Option<Arc<VecDeque<(MessageId, ClientId)>>>,
}

impl Newest {
    /// Of a conversation that begins here.
    pub fn none() -> Self {
        Newest { last_at: 0, since: Millis::MIN, asked: None }
    }

    /// Of a conversation whose messages up to this time are not known.
    pub fn after(last_at: Millis) -> Self {
        Newest { last_at, since: last_at.saturating_add(1), asked: None }
    }

    /// A message has come; its time is that of its id.
    pub fn follow(&mut self, mid: MessageId, from: &ClientId, receipt: bool) {
        self.last_at = mid.at();
        if !receipt {
            return;
        }
        let asked = Arc::make_mut(self.asked.get_or_insert_default());
        if asked.len() >= MOST
            && let Some((oldest, _)) = asked.pop_front()
        {
            self.since = oldest.at() + 1;
        }
        asked.push_back((mid, from.clone()));
    }

    /// The messages in these ranges, which ascend, that ask for a receipt, and their senders. `None`: not all of the ranges is known.
    pub fn asked(&self, ranges: &[Range]) -> Option<Vec<(MessageId, ClientId)>> {
        if ranges.first().is_some_and(|first| first.from < self.since) {
            return None;
        }
        let asked = self.asked.iter().flat_map(|asked| asked.iter());
        let covered = |mid: &MessageId| ranges.iter().any(|range| (range.from..=range.to).contains(&mid.at()));
        Some(asked.filter(|(mid, _)| covered(mid)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mid(at: Millis) -> MessageId {
        MessageId::new(at, 1, 0)
    }

    fn times(newest: &Newest, from: Millis, to: Millis) -> Option<Vec<Millis>> {
        let asked = newest.asked(&[Range { from, to, at: 0 }])?;
        Some(asked.iter().map(|(mid, _)| mid.at()).collect())
    }

    #[test]
    fn what_came_before_is_not_known() {
        let mut newest = Newest::after(10);
        newest.follow(mid(12), &"Tom".into(), true);
        assert_eq!(times(&newest, 10, 12), None);
        assert_eq!(times(&newest, 11, 12), Some(vec![12]));
        assert_eq!(times(&Newest::none(), 0, 100), Some(vec![]));
    }

    proptest! {
        /// Against the whole history: what is known is right, and the newest that ask are always known.
        #[test]
        fn what_is_known_is_true(
            asks in prop::collection::vec(any::<bool>(), 0..60),
            (from, length) in (0..70i64, 0..70i64),
        ) {
            let mut newest = Newest::none();
            for (at, asks) in asks.iter().enumerate() {
                newest.follow(mid(at as Millis), &"Tom".into(), *asks);
            }
            let all: Vec<Millis> = (0..).zip(&asks).filter(|(_, asks)| **asks).map(|(at, _)| at).collect();
            let wanted: Vec<Millis> = all.iter().copied().filter(|at| (from..=from + length).contains(at)).collect();
            match times(&newest, from, from + length) {
                Some(known) => prop_assert_eq!(known, wanted),
                None => prop_assert!(all.len() > MOST && from <= all[all.len() - MOST - 1]),
            }
        }
    }
}
