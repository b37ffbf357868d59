//! A reactor's turnstile: log-ins, what guests say, and ends of connections pass through the pipeline a few at a time.
//!
//! Thousands of them may come in one moment, when a fleet is cut and comes back or somebody makes a flood, and
//! everybody else's messages would stand behind them all. A command that is to take turns, and that finds no place,
//! waits here. Its connection is not read meanwhile: TCP pushes back, what follows keeps its order, and nobody holds
//! more than he may keep anyway. The first who came is the next to go, at the latest after a time that clients
//! certainly wait: then the door decides as about any other command. An ended connection that finds no place is just
//! not read to its end yet.
//!
//! `count` is of turns that were given and not dropped. Whoever drops one and sees `awaited` wakes the reactor, which
//! sets `awaited` before it looks at `count` and sleeps.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::ids::ConnId;

use crate::door::Frame;
use crate::mailbox::Post;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::atomic::Ordering::Relaxed;

/// A place inside, or the leave to go without one. Given back when it is dropped.
pub struct Turn(Option<Arc<Inside>>);

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(inside) = self.0.take() {
            inside.count.fetch_sub(1, SeqCst);
            if inside.awaited.load(SeqCst) {
                inside.post.wake();
            }
        }
    }
}

struct Inside {
    post: Arc<Post>,
    count: AtomicUsize,
    awaited: AtomicBool,
}

/// Who is inside, and who waits.
pub(crate) struct Turnstile {
    inside: Arc<Inside>,
    places: usize,
    patience_ns: u64,
    waiting: VecDeque<(ConnId, Frame)>,
    /// The reactor has ended connections that found no place.
    leaving: bool,
}

impl Turnstile {
    pub(crate) fn new(places: usize, patience: Duration, post: Arc<Post>) -> Self {
        let (count, awaited) = (AtomicUsize::new(0), AtomicBool::new(false));
        let inside = Arc::new(Inside { post, count, awaited });
        let patience_ns = patience.as_nanos() as u64;
        Turnstile { inside, places: places.max(1), patience_ns, waiting: VecDeque::new(), leaving: false }
    }

    /// A turn for a command that comes just now, unless others wait already or all places are taken.
    pub(crate) fn enter(&self) -> Option<Turn> {
        if self.waiting.is_empty() { self.place() } else { None }
    }

    /// A turn for an ended connection, which goes before all commands: it frees what they may need.
    pub(crate) fn leave(&self) -> Option<Turn> {
        self.place()
    }

    /// Whether ended connections are left that still need a turn. Said at the end of each of the reactor's turns, whatever
    /// ended it: with one left and nobody to wait for, the reactor would sleep on it.
    pub(crate) fn leaving(&mut self, some: bool) {
        self.leaving = some;
        self.await_places();
    }

    pub(crate) fn wait(&mut self, conn: ConnId, frame: Frame) {
        self.waiting.push_back((conn, frame));
        self.await_places();
    }

    /// The next command whose turn it is.
    pub(crate) fn next(&mut self, now_ns: u64) -> Option<(ConnId, Frame)> {
        let late = now_ns >= self.deadline()?;
        let turn = self.place().or(late.then_some(Turn(None)))?;
        let (conn, frame) = self.waiting.pop_front()?;
        if self.waiting.is_empty() {
            self.waiting.shrink_to(self.places);
        }
        self.await_places();
        Some((conn, Frame { turn: Some(turn), ..frame }))
    }

    /// Whether somebody may go now. Asked after the reactor has said that it sleeps.
    pub(crate) fn has_next(&self) -> bool {
        self.is_awaited() && self.inside.count.load(SeqCst) < self.places
    }

    /// When the patience of the command that has waited longest ends.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.waiting.front().map(|(_, frame)| frame.received_ns.saturating_add(self.patience_ns))
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.leaving || !self.waiting.is_empty()
    }

    fn await_places(&self) {
        self.inside.awaited.store(self.is_awaited(), SeqCst);
        self.inside.post.counters.waiting.store(self.waiting.len() as u64, Relaxed);
    }

    fn place(&self) -> Option<Turn> {
        if self.inside.count.load(SeqCst) >= self.places {
            return None;
        }
        self.inside.count.fetch_add(1, SeqCst);
        Some(Turn(Some(self.inside.clone())))
    }
}
