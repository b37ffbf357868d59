//! A connection's share of commands in flight, in number and bytes.
//!
//! The reactor takes a credit for each command, whoever finishes the command drops it, from any thread. A connection
//! that has run out is *paused*: the reactor reads it no further, TCP pushes back, and the credit that brings it to
//! half of its limits wakes the reactor. Credits that are returned to a connection which is not paused cost two atomics.
//!
//! Pausing and returning race; each side writes its own word and then reads the other's, in one order for all threads.

use std::fmt;
use std::sync::Arc;

use tidegate_domain::ids::ConnId;

use crate::mailbox::Post;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// More bytes than this are counted as so many.
const MOST_BYTES: u32 = u32::MAX / 2;

/// Returns a command's share when dropped.
pub struct Credit(Option<(Arc<Share>, u32)>);

impl Credit {
    /// Belongs to no connection: for commands that came another way.
    pub fn none() -> Self {
        Credit(None)
    }
}

impl fmt::Debug for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((share, bytes)) => write!(f, "Credit({}, {bytes} bytes)", share.conn),
            None => f.write_str("Credit(none)"),
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some((share, bytes)) = self.0.take() {
            share.give_back(bytes);
        }
    }
}

/// What one connection has in flight.
pub(crate) struct Share {
    conn: ConnId,
    post: Arc<Post>,
    most: u32,
    most_bytes: u32,
    count: AtomicU32,
    bytes: AtomicU32,
    paused: AtomicBool,
}

impl Share {
    pub(crate) fn new(conn: ConnId, post: Arc<Post>, most: u32, most_bytes: usize) -> Arc<Self> {
        let (count, bytes, paused) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
        // One command may come on top of what was left, so half of the range is never passed.
        let most_bytes = most_bytes.min(MOST_BYTES as usize) as u32;
        Arc::new(Share { conn, post, most, most_bytes, count, bytes, paused })
    }

    /// `false`: out of credits, and paused until some come back. Only the connection's reactor asks.
    pub(crate) fn has_some(&self) -> bool {
        if self.count.load(SeqCst) < self.most && self.bytes.load(SeqCst) < self.most_bytes {
            return true;
        }
        self.paused.store(true, SeqCst);
        // What came back between the look and the mark woke nobody.
        if self.is_low() && self.paused.swap(false, SeqCst) {
            return true;
        }
        false
    }

    /// Takes a credit after `has_some`; a command may be larger than what was left.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Credit {
        self.count.fetch_add(1, SeqCst);
        let bytes = bytes.min(MOST_BYTES as usize) as u32;
        self.bytes.fetch_add(bytes, SeqCst);
        Credit(Some((self.clone(), bytes)))
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(SeqCst)
    }

    /// Half of its credits are in use.
    pub(crate) fn is_short(&self) -> bool {
        !self.is_low()
    }

    fn is_low(&self) -> bool {
        self.count.load(SeqCst) <= self.most / 2 && self.bytes.load(SeqCst) <= self.most_bytes / 2
    }

    fn give_back(&self, bytes: u32) {
        self.bytes.fetch_sub(bytes, SeqCst);
        self.count.fetch_sub(1, SeqCst);
        if self.paused.load(SeqCst) && self.is_low() && self.paused.swap(false, SeqCst) {
            self.post.attend(self.conn);
        }
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::mailbox::Room;

    /// Of a reactor that never sleeps.
    fn post() -> Arc<Post> {
        Arc::new(Post::new(1, Box::new(|| {}), Arc::new(Room::default())))
    }

    /// Each idle client costs one of these, and the two words of its `Arc`: 64 bytes with the allocator's own.
    #[test]
    fn a_share_is_small() {
        assert!(size_of::<Share>() <= 40, "{}", size_of::<Share>());
    }

    fn share(post: &Arc<Post>, most: u32, most_bytes: usize) -> Arc<Share> {
        Share::new(ConnId::new(0, 0, 1, 1), post.clone(), most, most_bytes)
    }

    fn asked(post: &Post) -> usize {
        let mut asked = Vec::new();
        post.take_attention(&mut asked);
        asked.len()
    }

    #[test]
    fn a_paused_connection_goes_on_at_half_of_its_credits() {
        let post = post();
        let share = share(&post, 4, 1000);
        let mut held: Vec<_> = (0..4).map(|_| share.take(10)).collect();
        assert!(!share.has_some());
        held.pop();
        assert_eq!(asked(&post), 0);
        held.pop();
        assert_eq!(asked(&post), 1);
        held.clear();
        assert_eq!((asked(&post), share.is_paused()), (0, false));
    }

    #[test]
    fn bytes_run_out_too_but_never_for_one_command() {
        let post = post();
        let share = share(&post, 4, 1000);
        let large = share.take(5000);
        assert!(!share.has_some());
        drop(large);
        assert_eq!(asked(&post), 1);
        assert!(share.has_some());
    }

    /// Whoever finds no credit must be asked to look again, however the other thread's return falls.
    #[test]
    fn no_return_is_missed() {
        let post = post();
        let share = share(&post, 2, 1000);
        let (to_finisher, finisher) = mpsc::channel::<Credit>();
        let finishing = thread::spawn(move || finisher.into_iter().for_each(drop));
        let mut spins = 0;
        for _ in 0..100_000 {
            while !share.has_some() {
                while asked(&post) == 0 {
                    spins += 1;
                    assert!(spins < 2_000_000_000, "paused for ever");
                    std::hint::spin_loop();
                }
            }
            to_finisher.send(share.take(1)).unwrap();
        }
        drop(to_finisher);
        finishing.join().unwrap();
    }
}
