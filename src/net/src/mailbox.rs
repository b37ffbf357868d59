//! The way to the reactors: one bounded mailbox each, filled by reservation.
//!
//! States of a reactor's `sleeping` flag: *false* while it works (a push only queues), *true* from just before it
//! parks (the first push swaps it to false and wakes it; later ones do nothing). The reactor looks into its mailbox
//! once more between setting it and parking, so that nothing is missed and a busy reactor is never woken.
//!
//! `used` counts what is reserved, waiting or being worked on, so that a broadcast that is walked in slices holds its
//! place until it is done. A delivery to many takes as many places: what stands before it must not cost more than the
//! mailbox's bound says. It was reserved as one, so the rest goes past the bound, until there is room again.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use tidegate_domain::ids::ConnId;

use crate::mail::{Mail, Recipient};
use crate::stats::Counters;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use crate::sync::{Mutex, lock};

type Wake = Arc<dyn Fn() + Send + Sync>;

/// Posts mail to the reactors, from any thread, without waiting.
#[derive(Clone)]
pub struct Mailbox {
    posts: Arc<[Arc<Post>]>,
    room: Arc<Room>,
}

impl Mailbox {
    pub(crate) fn new(posts: Vec<Arc<Post>>, room: Arc<Room>) -> Self {
        Mailbox { posts: posts.into(), room }
    }

    /// Room for `n` pieces of mail in every reactor's mailbox, or in none. After a failure the callbacks of
    /// [`on_room`](Self::on_room) are called once there is room again. More than the mailbox's bound is never granted.
    pub fn reserve(&self, n: u32) -> bool {
        if self.try_reserve(n as usize) {
            return true;
        }
        self.room.wanted.store(true, SeqCst);
        // What was freed between the try and the mark has called nobody.
        self.try_reserve(n as usize)
    }

    fn try_reserve(&self, n: usize) -> bool {
        for (at, post) in self.posts.iter().enumerate() {
            let granted =
                post.used.fetch_update(SeqCst, SeqCst, |used| used.checked_add(n).filter(|sum| *sum <= post.bound));
            if granted.is_err() {
                // Without a word to those who wait: the callers of `reserve` may hold locks that the callbacks take, and
                // the mailbox that was full will tell them anyway.
                self.posts[..at].iter().for_each(|post| {
                    post.used.fetch_sub(n, SeqCst);
                });
                return false;
            }
        }
        true
    }

    /// Returns a reservation that was not used.
    pub fn give_back(&self, n: u32) {
        self.posts.iter().for_each(|post| post.free(n as usize));
    }

    /// Posts all of `mail`, in order, against one reservation each. Deliveries are split by reactor here.
    pub fn push(&self, mail: &mut Vec<Mail>) {
        if let [post] = &self.posts[..] {
            if !mail.is_empty() {
                post.put(mail);
            }
            return;
        }
        let total = mail.len();
        let mut batches: Vec<Vec<Mail>> = self.posts.iter().map(|_| Vec::new()).collect();
        for one in mail.drain(..) {
            split(one, &mut batches);
        }
        for (post, mut batch) in self.posts.iter().zip(batches) {
            if batch.len() < total {
                post.free(total - batch.len());
            }
            if !batch.is_empty() {
                post.put(&mut batch);
            }
        }
    }

    /// Posts without a reservation, past the bound if need be: for the rare mail of those who cannot wait, each piece
    /// of which some other bound already covers (a refusal is covered by its command's credit).
    pub fn post(&self, mail: Mail) {
        self.posts.iter().for_each(|post| {
            post.used.fetch_add(1, SeqCst);
        });
        self.push(&mut vec![mail]);
    }

    /// Adds a callback for when room was made after a failed [`reserve`](Self::reserve). It is called by whoever makes
    /// the room, a reactor or a caller of `push` and `give_back`, and must not wait.
    pub fn on_room(&self, wake: Wake) {
        self.room.wakes.write().unwrap_or_else(PoisonError::into_inner).push(wake);
    }

    /// Places reserved, or taken by mail that waits or is worked on, over all reactors.
    pub fn depth(&self) -> usize {
        self.posts.iter().map(|post| post.used.load(SeqCst)).sum()
    }

    pub(crate) fn posts(&self) -> &[Arc<Post>] {
        &self.posts
    }
}

/// Hands `mail` to the batches of the reactors that it concerns; at most one piece to each.
fn split(mail: Mail, batches: &mut [Vec<Mail>]) {
    let conn = match &mail {
        Mail::Broadcast { group, frame, class, except, later_for, since_ns, going } => {
            for batch in batches {
                batch.push(Mail::Broadcast {
                    group: *group,
                    frame: frame.clone(),
                    class: *class,
                    except: except.clone(),
                    later_for: *later_for,
                    since_ns: *since_ns,
                    going: going.clone(),
                });
            }
            return;
        }
        Mail::Deliver { to, .. } => match to.first() {
            None => return,
            Some(first) if to.iter().all(|r| r.conn.reactor() == first.conn.reactor()) => first.conn,
            Some(_) => return split_list(mail, batches),
        },
        Mail::Reply { conn, .. }
        | Mail::Join { conn, .. }
        | Mail::Leave { conn, .. }
        | Mail::LeaveAll { conn, .. }
        | Mail::LoggedIn { conn, .. }
        | Mail::Lift { conn, .. }
        | Mail::LoggedOut { conn, .. }
        | Mail::Alive { conn }
        | Mail::Close { conn, .. } => *conn,
    };
    // A connection of a reactor that does not exist is as gone as any other.
    if let Some(batch) = batches.get_mut(usize::from(conn.reactor())) {
        batch.push(mail);
    }
}

fn split_list(mail: Mail, batches: &mut [Vec<Mail>]) {
    let Mail::Deliver { to, frame, class, later_for, position, since_ns, going } = mail else { return };
    let mut lists: Vec<Vec<Recipient>> = batches.iter().map(|_| Vec::new()).collect();
    for recipient in to {
        if let Some(list) = lists.get_mut(usize::from(recipient.conn.reactor())) {
            list.push(recipient);
        }
    }
    for (to, batch) in lists.into_iter().zip(batches) {
        if !to.is_empty() {
            let (frame, going) = (frame.clone(), going.clone());
            batch.push(Mail::Deliver { to, frame, class, later_for, position, since_ns, going });
        }
    }
}

/// Who wants to know of room, over all reactors.
#[derive(Default)]
pub(crate) struct Room {
    wanted: AtomicBool,
    wakes: RwLock<Vec<Wake>>,
}

/// One reactor as the other threads see it.
pub(crate) struct Post {
    queue: Mutex<VecDeque<Mail>>,
    used: AtomicUsize,
    bound: usize,
    /// Connections to look at again: credits came back, or the HTTP side has something to send.
    attention: Mutex<Vec<ConnId>>,
    sleeping: AtomicBool,
    /// Ends the reactor's wait, even one that has not begun yet.
    waker: Box<dyn Fn() + Send + Sync>,
    room: Arc<Room>,
    pub(crate) counters: Counters,
}

impl Post {
    pub(crate) fn new(bound: usize, waker: Box<dyn Fn() + Send + Sync>, room: Arc<Room>) -> Self {
        Post {
            queue: Mutex::new(VecDeque::new()),
            used: AtomicUsize::new(0),
            bound,
            attention: Mutex::new(Vec::new()),
            sleeping: AtomicBool::new(false),
            waker,
            room,
            counters: Counters::default(),
        }
    }

    /// Queues mail of which each piece has one place reserved.
    fn put(&self, mail: &mut Vec<Mail>) {
        let rest: usize = mail.iter().map(|mail| mail.weight() - 1).sum();
        if rest > 0 {
            // Before the reactor can have freed it.
            self.used.fetch_add(rest, SeqCst);
        }
        lock(&self.queue).extend(mail.drain(..));
        self.wake();
    }

    /// Asks the reactor to look at a connection again.
    pub(crate) fn attend(&self, conn: ConnId) {
        lock(&self.attention).push(conn);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        if self.sleeping.swap(false, SeqCst) {
            (self.waker)();
        }
    }

    /// Wakes the reactor whatever it does, so that it looks at the phase.
    pub(crate) fn nudge(&self) {
        self.sleeping.store(false, SeqCst);
        (self.waker)();
    }

    /// Before parking; `false`: there is work, do not park.
    pub(crate) fn may_sleep(&self) -> bool {
        self.sleeping.store(true, SeqCst);
        let quiet = lock(&self.queue).is_empty() && lock(&self.attention).is_empty();
        if !quiet {
            self.sleeping.store(false, SeqCst);
        }
        quiet
    }

    pub(crate) fn awake(&self) {
        self.sleeping.store(false, SeqCst);
    }

    /// Moves everything that waits to the end of `into`.
    pub(crate) fn take(&self, into: &mut VecDeque<Mail>) {
        let mut queue = lock(&self.queue);
        if into.is_empty() { std::mem::swap(&mut *queue, into) } else { into.append(&mut queue) }
    }

    /// Swaps the list of connections to look at with `into`, which is empty.
    pub(crate) fn take_attention(&self, into: &mut Vec<ConnId>) {
        std::mem::swap(&mut *lock(&self.attention), into);
    }

    /// `n` pieces of mail are done with, or were never sent.
    pub(crate) fn free(&self, n: usize) {
        if n == 0 {
            return;
        }
        self.used.fetch_sub(n, SeqCst);
        if self.room.wanted.load(SeqCst) && self.room.wanted.swap(false, SeqCst) {
            self.room.wakes.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|wake| wake());
        }
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::*;
    use crate::mail::Class;

    fn mailbox(reactors: usize, bound: usize) -> (Mailbox, Vec<mio::Poll>) {
        let room = Arc::new(Room::default());
        let mut polls = Vec::new();
        let posts = (0..reactors).map(|_| {
            let poll = mio::Poll::new().unwrap();
            let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
            polls.push(poll);
            Arc::new(Post::new(bound, Box::new(move || waker.wake().unwrap()), room.clone()))
        });
        (Mailbox::new(posts.collect(), room.clone()), polls)
    }

    fn conn(reactor: u8) -> ConnId {
        ConnId::new(0, reactor, 1, 1)
    }

    fn take(mailbox: &Mailbox, reactor: usize) -> VecDeque<Mail> {
        let mut into = VecDeque::new();
        mailbox.posts[reactor].take(&mut into);
        into
    }

    #[test]
    fn a_delivery_is_split_and_takes_a_place_for_each_of_a_reactors_sessions() {
        let (mailbox, _polls) = mailbox(3, 8);
        assert!(mailbox.reserve(2));
        let to = [0, 2, 0, 9].map(|reactor| Recipient { conn: conn(reactor), peer: "a".into() }).into();
        let (frame, class) = (Bytes::new(), Class::Normal);
        let delivery = Mail::Deliver { to, frame, class, later_for: None, position: None, since_ns: 0, going: None };
        mailbox.push(&mut vec![delivery, Mail::Alive { conn: conn(2) }]);
        let lengths: Vec<usize> = take(&mailbox, 0)
            .into_iter()
            .chain(take(&mailbox, 1))
            .chain(take(&mailbox, 2))
            .map(|mail| if let Mail::Deliver { to, .. } = mail { to.len() } else { 0 })
            .collect();
        assert_eq!(lengths, [2, 1, 0]);
        assert_eq!(mailbox.depth(), 4);
    }

    #[test]
    fn a_failed_reservation_leaves_nothing_behind() {
        let (mailbox, _polls) = mailbox(2, 4);
        mailbox.posts[1].used.fetch_add(3, SeqCst);
        assert!(!mailbox.reserve(2));
        assert_eq!(mailbox.posts[0].used.load(SeqCst), 0);
    }

    /// Two producers that sleep until they are told of room, and two reactors that sleep until they are woken: all mail
    /// arrives, and nobody sleeps for ever.
    #[test]
    fn no_wake_up_is_missed() {
        const EACH: usize = 20_000;
        let (mailbox, mut polls) = mailbox(2, 4);
        let told = Arc::new((Mutex::new(0u64), std::sync::Condvar::new()));
        mailbox.on_room({
            let told = told.clone();
            Arc::new(move || {
                *lock(&told.0) += 1;
                told.1.notify_all();
            })
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            for (reactor, mut poll) in polls.drain(..).enumerate() {
                let post = mailbox.posts[reactor].clone();
                scope.spawn(move || {
                    let (mut got, mut inbox) = (0, VecDeque::new());
                    let mut events = mio::Events::with_capacity(4);
                    while got < EACH {
                        if post.may_sleep() {
                            poll.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
                            assert!(!events.is_empty(), "a reactor was not woken");
                        }
                        post.awake();
                        post.take(&mut inbox);
                        got += inbox.len();
                        post.free(inbox.drain(..).count());
                    }
                });
            }
            for reactor in 0..2 {
                let (mailbox, told) = (mailbox.clone(), told.clone());
                scope.spawn(move || {
                    for _ in 0..EACH {
                        loop {
                            let before = *lock(&told.0);
                            if mailbox.reserve(1) {
                                break;
                            }
                            let mut now = lock(&told.0);
                            while *now == before {
                                assert!(Instant::now() < deadline, "nobody told of room");
                                now = told.1.wait_timeout(now, Duration::from_secs(30)).unwrap().0;
                            }
                        }
                        mailbox.push(&mut vec![Mail::Alive { conn: conn(reactor) }]);
                    }
                });
            }
        });
        assert_eq!(mailbox.depth(), 0);
    }
}
