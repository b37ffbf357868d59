//! What is on its way to large audiences, so that what a message to many costs is the cost of those who are many.
//!
//! A message to thousands is thousands of writes: the reactors may be busy with one for longer than with all else that
//! comes meanwhile. They take turns, so this delays nobody else much, as long as not everything that waits is such. So a
//! message to a room or a large conversation is counted from when route lets it go until the last reactor is done with
//! it; and while the oldest of one conversation has been on its way for too long, or too many are, route refuses more of
//! it. Conversations of few, which are nearly all, cost nothing here.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::ids::{AppId, ConvId};

use crate::event::Going;

/// Members of a large conversation.
const LARGE: usize = 64;
/// For how long the oldest may be on its way.
const LONGEST: Duration = Duration::from_secs(1);
/// The same when what comes may be dropped: it goes first.
const LONGEST_DROPPABLE: Duration = Duration::from_millis(250);

const SHARDS: usize = 64;

type Key = (AppId, ConvId);

pub struct Crowds {
    /// Messages of one conversation on their way at once.
    most: usize,
    shards: [Mutex<HashMap<Key, Underway, RandomState>>; SHARDS],
    choose: RandomState,
}

/// One conversation's messages on their way: at least one, or it is not kept.
struct Underway {
    count: usize,
    /// When the oldest set out, or about then: they arrive nearly in the order in which they set out, so it is when the last
    /// one did that has arrived.
    since_ns: u64,
}

/// One message on its way, until it is dropped.
struct OnItsWay {
    crowds: Arc<Crowds>,
    key: Key,
    began_ns: u64,
}

impl Crowds {
    pub fn new(most: usize) -> Arc<Self> {
        let shards = std::array::from_fn(|_| Mutex::default());
        Arc::new(Crowds { most: most.max(1), shards, choose: RandomState::default() })
    }

    /// Whether so much is on its way to a conversation that it shall be sent no more now. `is_droppable`: transient or of low
    /// priority. `now_ns` is the engine's clock.
    pub fn is_crowded(&self, app: AppId, conversation: &Conversation, is_droppable: bool, now_ns: u64) -> bool {
        if !is_large(conversation) {
            return false;
        }
        let key = (app, conversation.id);
        let longest = if is_droppable { LONGEST_DROPPABLE } else { LONGEST };
        self.shard(&key).get(&key).is_some_and(|underway| {
            underway.count >= self.most || now_ns.saturating_sub(underway.since_ns) > longest.as_nanos() as u64
        })
    }

    /// A message sets out. `None`: its conversation is not large.
    pub fn set_out(self: &Arc<Self>, app: AppId, conversation: &Conversation, now_ns: u64) -> Going {
        if !is_large(conversation) {
            return None;
        }
        let key = (app, conversation.id);
        self.shard(&key).entry(key).or_insert(Underway { count: 0, since_ns: now_ns }).count += 1;
        Some(Arc::new(OnItsWay { crowds: self.clone(), key, began_ns: now_ns }))
    }

    /// Nothing is on its way.
    pub fn are_quiet(&self) -> bool {
        self.shards.iter().all(|shard| lock(shard).is_empty())
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Underway, RandomState>> {
        lock(&self.shards[self.choose.hash_one(key) as usize % SHARDS])
    }
}

fn is_large(conversation: &Conversation) -> bool {
    conversation.kind == Kind::Room || conversation.members.len() >= LARGE
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut shard = self.crowds.shard(&self.key);
        let Some(underway) = shard.get_mut(&self.key) else { return };
        underway.count -= 1;
        if underway.count == 0 {
            shard.remove(&self.key);
        } else {
            underway.since_ns = underway.since_ns.max(self.began_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

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
    fn few_are_not_counted() {
        let (crowds, few) = (Crowds::new(1), conversation(1, LARGE - 1, false));
        assert!((0..10).all(|n| crowds.set_out(APP, &few, n).is_none()));
        assert!(crowds.are_quiet() && !crowds.is_crowded(APP, &few, true, u64::MAX));
    }

    #[test]
    fn many_are_counted_up_to_the_bound_and_each_conversation_by_itself() {
        let crowds = Crowds::new(3);
        let (group, room, other) = (conversation(1, LARGE, false), conversation(2, 1, true), conversation(3, 1, true));
        for crowd in [&group, &room] {
            let mut going: Vec<_> = (0..3).map(|n| crowds.set_out(APP, crowd, n)).collect();
            assert!(crowds.is_crowded(APP, crowd, false, 3));
            assert!(!crowds.is_crowded(APP, &other, false, 3) && !crowds.is_crowded(AppId(1), crowd, false, 3));
            going.pop();
            assert!(!crowds.is_crowded(APP, crowd, false, 3));
            assert!(!crowds.are_quiet());
            drop(going);
            assert!(crowds.are_quiet(), "what has arrived is forgotten");
        }
    }

    #[test]
    fn a_message_is_on_its_way_until_the_last_reactor_is_done_with_it() {
        let (crowds, room) = (Crowds::new(1), conversation(1, 1, true));
        let first = crowds.set_out(APP, &room, 0);
        let second = first.clone();
        drop(first);
        assert!(crowds.is_crowded(APP, &room, false, 0));
        drop(second);
        assert!(crowds.are_quiet() && !crowds.is_crowded(APP, &room, false, 0));
    }

    #[test]
    fn while_the_oldest_is_long_on_its_way_no_more_set_out_and_droppable_ones_stop_first() {
        let (crowds, room) = (Crowds::new(100), conversation(1, 1, true));
        let is_crowded = |droppable, ms| crowds.is_crowded(APP, &room, droppable, ms * MS);
        let [first, second, third] = [1_000, 1_200, 1_300].map(|ms| crowds.set_out(APP, &room, ms * MS));
        assert!(!is_crowded(true, 1_250) && is_crowded(true, 1_251));
        assert!(!is_crowded(false, 2_000) && is_crowded(false, 2_001));
        // Of what is left the oldest set out after the first did: that much is known.
        drop(first);
        assert!(is_crowded(false, 2_001));
        drop(second);
        assert!(!is_crowded(false, 2_200) && is_crowded(false, 2_201));
        drop(third);
        assert!(crowds.are_quiet() && !is_crowded(true, 9_000), "when all have arrived it begins anew");
    }

    #[test]
    fn what_overtakes_makes_the_rest_look_as_young_as_it_is() {
        let (crowds, room) = (Crowds::new(100), conversation(1, 1, true));
        let [_slow, quick, _next] = [0, 800, 900].map(|ms| crowds.set_out(APP, &room, ms * MS));
        drop(quick);
        assert!(!crowds.is_crowded(APP, &room, false, 1_800 * MS));
        assert!(crowds.is_crowded(APP, &room, false, 1_801 * MS));
    }

    #[test]
    fn counts_return_to_zero_however_many_threads_let_go() {
        let crowds = Crowds::new(100);
        let rooms: Vec<_> = (0..8).map(|n| conversation(n, 1, true)).collect();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    let mut going = VecDeque::new();
                    for n in 0..2_000 {
                        going.push_back(crowds.set_out(APP, &rooms[n * 3 % rooms.len()], n as u64));
                        going.truncate(20 - n % 20);
                    }
                });
            }
        });
        assert!(crowds.are_quiet());
    }
}
