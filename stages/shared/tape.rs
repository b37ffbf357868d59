//! The tape of messages: while somebody records, when each accepted one came, from whom, whereto, how large it is.
//!
//! Who and where are hashes with a secret that is made for the recording and ends with it, and leave here as numbers in
//! the order of their first appearance. Never a body, never an id. Off, it costs one relaxed load a message; on, two
//! hashes and the lock of one shard, which is the conversation's, so that the workers of different lanes rarely meet.
//! Bounded: where more comes than is kept, whole senders are left out, so that those who stay are recorded in full.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::ids::{AppId, ClientId};

use super::rooms::Rooms;
use super::world::key_of;

/// Messages that are kept: 80 MiB.
const MOST: usize = 2_000_000;
const SHARDS: usize = 16;
/// A shard tells the others of its growth in steps, so that a message touches nothing that all share.
const STEP: usize = 256;
/// All senders.
const WHOLE: u64 = 1_000;

/// One accepted message, as it is noted.
#[derive(Debug, Clone, Copy)]
struct Noted {
    received_ns: u64,
    sender: u64,
    conversation: u64,
    size: u32,
    members: u32,
    room: bool,
    transient: bool,
}

/// A part of a recording, while there is one.
struct Shard {
    from_ns: u64,
    secret: RandomState,
    kept: Vec<Noted>,
    seen: u64,
}

/// Where recordings are taken; one at a time.
pub struct Tape {
    is_on: AtomicBool,
    shards: [Mutex<Option<Shard>>; SHARDS],
    /// About as many are kept in all shards, of so many.
    kept: AtomicUsize,
    most: AtomicUsize,
    /// Senders of a thousand that are kept.
    share: AtomicU64,
    /// One at a time begins, ends or leaves senders out.
    control: Mutex<()>,
}

/// What was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// In the order of their times.
    pub messages: Vec<Message>,
    /// By number: members (of a chat room, who was in it beside the sender), and whether it is a chat room.
    pub conversations: Vec<(u32, bool)>,
    /// Of a thousand senders so many are here.
    pub senders_of_1000: u32,
    /// Messages that came and are not here.
    pub left_out: u64,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The engine's clock, as its frame was read.
    pub received_ns: u64,
    /// Numbers in the order of first appearance.
    pub sender: u32,
    pub conversation: u32,
    /// Bytes of the body.
    pub size: u32,
    pub transient: bool,
}

/// What is to be noted of a message.
pub struct Accepted<'a> {
    pub app: AppId,
    pub sender: &'a ClientId,
    pub conversation: &'a Conversation,
    pub received_ns: u64,
    pub size: usize,
    pub transient: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Tape {
    fn default() -> Tape {
        Tape {
            is_on: AtomicBool::new(false),
            shards: std::array::from_fn(|_| Mutex::default()),
            kept: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            share: AtomicU64::new(WHOLE),
            control: Mutex::new(()),
        }
    }
}

impl Tape {
    /// Begins a recording of what is received from `from_ns` on, by the engine's clock; whether none was under way.
    pub fn begin(&self, from_ns: u64) -> bool {
        self.begin_with(from_ns, MOST)
    }

    fn begin_with(&self, from_ns: u64, most: usize) -> bool {
        let _one = lock(&self.control);
        if self.is_on.load(Ordering::Relaxed) {
            return false;
        }
        self.kept.store(0, Ordering::Relaxed);
        self.most.store(most, Ordering::Relaxed);
        self.share.store(WHOLE, Ordering::Relaxed);
        let secret = RandomState::default();
        for shard in &self.shards {
            *lock(shard) = Some(Shard { from_ns, secret: secret.clone(), kept: Vec::new(), seen: 0 });
        }
        self.is_on.store(true, Ordering::Relaxed);
        true
    }

    /// Ends the recording that is under way.
    pub fn end(&self) -> Option<Taken> {
        let (shards, share) = {
            let _one = lock(&self.control);
            (self.stop(), self.share.load(Ordering::Relaxed))
        };
        (!shards.is_empty()).then(|| taken(shards, share))
    }

    /// Ends it, and keeps nothing.
    pub fn give_up(&self) {
        let _one = lock(&self.control);
        self.stop();
    }

    fn stop(&self) -> Vec<Shard> {
        self.is_on.store(false, Ordering::Relaxed);
        self.shards.iter().filter_map(|shard| lock(shard).take()).collect()
    }

    /// Messages noted so far, where a recording is under way.
    pub fn count(&self) -> Option<u64> {
        let seen = |shard: &Mutex<Option<Shard>>| lock(shard).as_ref().map(|shard| shard.seen);
        self.shards.iter().map(seen).sum()
    }

    /// Notes a message, where somebody records.
    pub fn note<'a>(&self, rooms: &Rooms, accepted: impl FnOnce() -> Accepted<'a>) {
        if self.is_on.load(Ordering::Relaxed) {
            self.put(rooms, &accepted());
        }
    }

    fn put(&self, rooms: &Rooms, of: &Accepted<'_>) {
        let (app, cid) = (of.app, of.conversation.id);
        let room = of.conversation.kind == Kind::Room;
        let members = match room {
            true => rooms.count(app, cid).saturating_sub(usize::from(rooms.contains(app, cid, of.sender))),
            false => of.conversation.members.len(),
        };
        let is_more = {
            let mut shard = lock(&self.shards[key_of((app, cid)) as usize % SHARDS]);
            let Some(shard) = shard.as_mut().filter(|shard| shard.from_ns <= of.received_ns) else { return };
            shard.seen += 1;
            let sender = shard.secret.hash_one((app, of.sender));
            if !self.keeps(sender) {
                return;
            }
            let conversation = shard.secret.hash_one((app, cid));
            let (size, members) = (u32_of(of.size), u32_of(members));
            let (received_ns, transient) = (of.received_ns, of.transient);
            shard.kept.push(Noted { received_ns, sender, conversation, size, members, room, transient });
            shard.kept.len().is_multiple_of(STEP)
        };
        let most = self.most.load(Ordering::Relaxed);
        if is_more && self.kept.fetch_add(STEP, Ordering::Relaxed) + STEP > most {
            self.thin(most);
        }
    }

    /// Asked within a shard's lock: whoever was left out there does not come back.
    fn keeps(&self, sender: u64) -> bool {
        sender % WHOLE < self.share.load(Ordering::Relaxed)
    }

    /// Leaves senders out until half of the room is free.
    fn thin(&self, most: usize) {
        let _one = lock(&self.control);
        while self.kept.load(Ordering::Relaxed) > most / 2 && self.share.load(Ordering::Relaxed) > 0 {
            let share = self.share.load(Ordering::Relaxed) / 2;
            self.share.store(share, Ordering::Relaxed);
            let left = self.shards.iter().map(|shard| {
                let mut shard = lock(shard);
                shard.as_mut().map_or(0, |shard| {
                    shard.kept.retain(|noted| noted.sender % WHOLE < share);
                    shard.kept.len()
                })
            });
            self.kept.store(left.sum(), Ordering::Relaxed);
        }
    }
}

fn taken(shards: Vec<Shard>, share: u64) -> Taken {
    let seen: u64 = shards.iter().map(|shard| shard.seen).sum();
    let mut noted: Vec<Noted> = shards.into_iter().flat_map(|shard| shard.kept).collect();
    // Stable: of one conversation those of one moment stay in their order.
    noted.sort_by_key(|noted| noted.received_ns);
    let (mut senders, mut numbers) = (HashMap::<u64, u32>::new(), HashMap::<u64, u32>::new());
    let mut conversations: Vec<(u32, bool)> = Vec::new();
    let messages: Vec<Message> = noted
        .iter()
        .map(|of| {
            let next = u32_of(senders.len());
            let sender = *senders.entry(of.sender).or_insert(next);
            let conversation = *numbers.entry(of.conversation).or_insert_with(|| {
                conversations.push((0, of.room));
                u32_of(conversations.len() - 1)
            });
            let members = &mut conversations[conversation as usize].0;
            *members = of.members.max(*members);
            Message { received_ns: of.received_ns, sender, conversation, size: of.size, transient: of.transient }
        })
        .collect();
    let left_out = seen - messages.len() as u64;
    Taken { messages, conversations, senders_of_1000: u32::try_from(share).unwrap_or(0), left_out }
}

fn u32_of(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use tidegate_domain::command::Start;
    use tidegate_domain::ids::{ConnId, ConvId};

    use super::*;
    use crate::mail::Recipient;

    const APP: AppId = AppId(0);

    fn conversation(n: u8, members: usize, transient: bool) -> Conversation {
        let members = (1..members).map(|n| format!("member-{n}").into()).collect();
        let start = Start { members, transient, ..Start::default() };
        Conversation::start(ConvId::Object([n; 12]), &"ann".into(), &start, 0).unwrap()
    }

    fn note(tape: &Tape, rooms: &Rooms, sender: &str, conversation: &Conversation, at: u64) {
        let sender: ClientId = sender.into();
        tape.note(rooms, || Accepted {
            app: APP,
            sender: &sender,
            conversation,
            received_ns: at,
            size: 5,
            transient: false,
        });
    }

    #[test]
    fn off_it_looks_at_nothing() {
        let tape = Tape::default();
        tape.note(&Rooms::default(), || panic!("nobody records"));
        assert!(tape.end().is_none() && tape.count().is_none());
    }

    #[test]
    fn numbers_are_given_in_the_order_of_appearance_whoever_noted_first() {
        let (tape, rooms) = (Tape::default(), Rooms::default());
        assert!(tape.begin(0) && !tape.begin(0), "one at a time");
        let (group, pair) = (conversation(1, 7, false), conversation(2, 2, false));
        note(&tape, &rooms, "bob", &group, 30);
        note(&tape, &rooms, "ann", &pair, 10);
        note(&tape, &rooms, "ann", &group, 20);
        assert_eq!(tape.count(), Some(3));
        let taken = tape.end().unwrap();
        let who: Vec<_> = taken.messages.iter().map(|of| (of.received_ns, of.sender, of.conversation)).collect();
        assert_eq!(who, [(10, 0, 0), (20, 0, 1), (30, 1, 1)]);
        assert_eq!(taken.conversations, [(2, false), (7, false)]);
        assert_eq!((taken.senders_of_1000, taken.left_out), (1_000, 0));
        assert!(tape.begin(0), "it is over");
    }

    #[test]
    fn of_a_room_who_hears_is_counted() {
        let (tape, rooms) = (Tape::default(), Rooms::default());
        let room = conversation(3, 1, true);
        for (slot, name) in [(1, "ann"), (2, "bob"), (3, "cid")] {
            rooms.join(APP, room.id, &Recipient { conn: ConnId::new(0, 0, slot, 1), client: name.into() });
        }
        tape.begin(0);
        note(&tape, &rooms, "ann", &room, 1);
        assert_eq!(tape.end().unwrap().conversations, [(2, true)], "not the one who said it");
        tape.begin(0);
        note(&tape, &rooms, "eve", &room, 1);
        assert_eq!(tape.end().unwrap().conversations, [(3, true)]);
    }

    #[test]
    fn where_too_many_come_whole_senders_are_left_out() {
        const EACH: usize = 20;
        let (tape, rooms) = (Tape::default(), Rooms::default());
        assert!(tape.begin_with(0, 4_000));
        let talks: Vec<_> = (0..10).map(|n| conversation(n, 2, false)).collect();
        for at in 0..EACH {
            for sender in 0..1_000 {
                note(&tape, &rooms, &format!("c{sender}"), &talks[sender % 10], at as u64);
            }
        }
        let taken = tape.end().unwrap();
        let all = taken.messages.len();
        // Each shard may hold a step that the others do not know of.
        assert!((1_000..=4_000 + SHARDS * STEP).contains(&all), "{all}");
        assert_eq!(taken.left_out, (1_000 * EACH - all) as u64);
        assert!(taken.senders_of_1000 < 500, "{}", taken.senders_of_1000);
        let mut of: HashMap<u32, usize> = HashMap::new();
        taken.messages.iter().for_each(|message| *of.entry(message.sender).or_default() += 1);
        assert!(of.values().all(|count| *count == EACH), "who is there is there in full");
    }
}
