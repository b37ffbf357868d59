//! What is on its way to large audiences, so that what a message to many costs is the cost of those who are many.
//!
//! A message to thousands is thousands of writes: the reactors may be busy with one for longer than with all else that
//! comes meanwhile. They take turns, so this delays nobody else much, as long as not everything that waits is such. So a
//! message to a room or a large conversation is counted from when route lets it in until the last reactor is done with
//! it; and while the oldest of one conversation has been on its way for too long, or too many are, route refuses more of
//! it. Small audiences, the many, cost nothing here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::ids::{AppId, ConvId};

/// Members of a large conversation.
const LARGE: usize = 64;
/// For how long the oldest may be on its way.
const LONGEST: Duration = Duration::from_secs(1);
/// The same when what comes may be dropped: it goes first.
const LONGEST_DROPPABLE: Duration = Duration::from_millis(250);

type Key = (AppId, ConvId);

pub struct Crowds {
    /// Messages of one conversation on their way at once.
    most: usize,
    underway: Mutex<HashMap<Key, Underway, RandomState>>,
}

struct Underway {
    count: usize,
    /// When the oldest set out, or a little earlier: when the one before it did.
    since_ns: u64,
}

/// One message's part of it, given back when it is dropped.
pub struct OnItsWay {
    crowds: Arc<Crowds>,
    key: Key,
    began_ns: u64,
}

impl Crowds {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Crowds { most: most.max(1), underway: Mutex::default() })
    }

    /// A message sets out. The error: this conversation has too much on its way. `None`: it is not large.
    pub fn set_out(
        self: &Arc<Self>,
        app: AppId,
        conversation: &Conversation,
        droppable: bool,
        now_ns: u64,
    ) -> Result<Option<Arc<OnItsWay>>, Crowded> {
        if conversation.kind != Kind::Room && conversation.members.len() < LARGE {
            return Ok(None);
        }
        let key = (app, conversation.id);
        let longest = if droppable { LONGEST_DROPPABLE } else { LONGEST };
        let mut all = self.underway();
        let underway = all.entry(key).or_insert(Underway { count: 0, since_ns: now_ns });
        if underway.count >= self.most || now_ns.saturating_sub(underway.since_ns) > longest.as_nanos() as u64 {
            return Err(Crowded);
        }
        underway.count += 1;
        Ok(Some(Arc::new(OnItsWay { crowds: self.clone(), key, began_ns: now_ns })))
    }

    fn underway(&self) -> MutexGuard<'_, HashMap<Key, Underway, RandomState>> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A conversation has too much on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut all = self.crowds.underway();
        let Some(underway) = all.get_mut(&self.key) else { return };
        underway.count -= 1;
        if underway.count == 0 {
            all.remove(&self.key);
        } else {
            underway.since_ns = underway.since_ns.max(self.began_ns);
        }
    }
}

impl fmt::Debug for OnItsWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnItsWay({:?}, {})", self.key, self.began_ns)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_domain::command::Start;

    use super::*;

    const APP: AppId = AppId(0);
    const MS: u64 = 1_000_000;

    fn conversation(n: u8, members: usize, transient: bool) -> Conversation {
        let members = (1..members).map(|n| format!("member-{n}").into()).collect();
        let start = Start { members, transient, ..Start::default() };
        Conversation::start(ConvId::Object([n; 12]), &"ann".into(), &start, 0).unwrap()
    }

    #[test]
    fn few_are_not_counted_and_many_are_up_to_the_bound() {
        let crowds = Crowds::new(3);
        let (few, many, room) = (conversation(1, 63, false), conversation(2, 64, false), conversation(3, 1, true));
        for _ in 0..10 {
            assert!(crowds.set_out(APP, &few, false, 0).unwrap().is_none());
        }
        for of in [&many, &room] {
            let going: Vec<_> = (0..3).map(|n| crowds.set_out(APP, of, false, n).unwrap().unwrap()).collect();
            assert_eq!(crowds.set_out(APP, of, false, 3).unwrap_err(), Crowded);
            drop(going);
            assert!(crowds.set_out(APP, of, false, 4).is_ok());
        }
        assert!(crowds.underway().is_empty(), "what has arrived is forgotten");
    }

    #[test]
    fn while_the_oldest_is_long_on_its_way_no_more_set_out_and_droppable_ones_stop_first() {
        let (crowds, room) = (Crowds::new(100), conversation(1, 1, true));
        let first = crowds.set_out(APP, &room, false, 1_000 * MS).unwrap();
        let second = crowds.set_out(APP, &room, true, 1_200 * MS).unwrap();
        assert!(crowds.set_out(APP, &room, true, 1_300 * MS).is_err());
        let third = crowds.set_out(APP, &room, false, 1_300 * MS).unwrap();
        assert!(crowds.set_out(APP, &room, false, 2_001 * MS).is_err());
        // The second is the oldest now, and not younger than the first was.
        drop(first);
        assert!(crowds.set_out(APP, &room, false, 2_001 * MS).is_err());
        drop(second);
        assert!(crowds.set_out(APP, &room, false, 2_001 * MS).is_ok());
        drop(third);
        assert!(crowds.set_out(APP, &room, true, 9_000 * MS).is_ok(), "when all have arrived it begins anew");
    }
}
