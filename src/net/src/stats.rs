//! What the reactors count, and how it is read from outside.
//!
//! Each reactor writes its own words, so counting never contends; a snapshot adds them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::mailbox::Mailbox;

/// Totals since the start, and what is now, over all reactors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open sockets, handshakes and HTTP included.
    pub connections: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// Closed at once because of `max_connections`.
    pub turned_away: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Commands handed to the door.
    pub frames_in: u64,
    /// Frames written out whole, replies and notices.
    pub frames_out: u64,
    /// Mail reserved, waiting or being worked on.
    pub mailbox_depth: u64,
    /// Notices dropped because their connection did not read.
    pub dropped: u64,
    /// Connections closed because they did not read.
    pub slow_readers: u64,
    /// Connections whose socket takes no more at present.
    pub blocked: u64,
    /// Commands that wait for their turn.
    pub waiting: u64,
    /// By close code, 1006 for those that just went away.
    pub closed: BTreeMap<u16, u64>,
    /// From the read of a message's command to the write of each delivery: (upper bound in ns, how many), in order.
    pub delivery_ns: Vec<(u64, u64)>,
}

/// One reactor's.
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) frames_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) slow_readers: AtomicU64,
    pub(crate) blocked: AtomicU64,
    pub(crate) waiting: AtomicU64,
    closed: Mutex<BTreeMap<u16, u64>>,
    delivery: [AtomicU64; BUCKETS],
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            frames_in: AtomicU64::new(0),
            frames_out: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            slow_readers: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            closed: Mutex::default(),
            delivery: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

/// Four buckets to a power of two, from 1 us to about 68 s: within 25 % of the true value.
const BUCKETS: usize = 4 * 27;
const FIRST_BIT: u32 = 10;

fn bucket(ns: u64) -> usize {
    let ns = ns.max(1 << FIRST_BIT);
    let bit = ns.ilog2();
    let quarter = (ns >> (bit - 2)) & 3;
    (((bit - FIRST_BIT) as usize) * 4 + quarter as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn bound(bucket: usize) -> u64 {
    let (bit, quarter) = (bucket as u32 / 4 + FIRST_BIT, bucket as u64 % 4);
    ((5 + quarter) << (bit - 2)) - 1
}

impl Counters {
    pub(crate) fn closed(&self, code: u16) {
        *self.by_code().entry(code).or_default() += 1;
    }

    fn by_code(&self) -> MutexGuard<'_, BTreeMap<u16, u64>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn delivered(&self, ns: u64) {
        add(&self.delivery[bucket(ns)], 1);
    }
}

/// Counters have one writer each, so adding needs no locked instruction. Wraps: `u64::MAX` takes one off.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

pub(crate) fn read(mailbox: &Mailbox) -> Stats {
    let mut sum = Stats { mailbox_depth: mailbox.depth() as u64, ..Stats::default() };
    let mut delivery = [0; BUCKETS];
    for post in mailbox.posts() {
        let from = &post.counters;
        sum.connections += from.connections.load(Relaxed);
        sum.accepted += from.accepted.load(Relaxed);
        sum.turned_away += from.turned_away.load(Relaxed);
        sum.bytes_in += from.bytes_in.load(Relaxed);
        sum.bytes_out += from.bytes_out.load(Relaxed);
        sum.frames_in += from.frames_in.load(Relaxed);
        sum.frames_out += from.frames_out.load(Relaxed);
        sum.dropped += from.dropped.load(Relaxed);
        sum.slow_readers += from.slow_readers.load(Relaxed);
        sum.blocked += from.blocked.load(Relaxed);
        sum.waiting += from.waiting.load(Relaxed);
        for (code, n) in from.by_code().iter() {
            *sum.closed.entry(*code).or_default() += n;
        }
        for (total, n) in delivery.iter_mut().zip(&from.delivery) {
            *total += n.load(Relaxed);
        }
    }
    sum.delivery_ns = delivery.iter().enumerate().filter(|(_, n)| **n > 0).map(|(at, n)| (bound(at), *n)).collect();
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket() {
        for ns in [0u64, 1024, 1279, 1280, 5_000, 1 << 20, (1 << 20) - 1, 999_999_999] {
            let at = bucket(ns);
            assert!(ns <= bound(at), "{ns}");
            assert!(at == 0 || ns > bound(at - 1), "{ns}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
