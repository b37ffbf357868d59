//! What waits to be written to one connection, in order, within its bound.
//!
//! Entries are shared bytes and a recipient; their framing is made when they are gathered for a write, so that a slow
//! connection costs references, not copies. Replies always fit; of what nobody asked for, droppable traffic makes room
//! first. What is *held* waits for a moment of its own, and later deliveries queue behind it; replies pass it.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;
use tidegate_domain::ids::ClientId;
use tidegate_protocol::encode::{append_peer, peer_len};
use tidegate_protocol::frame::websocket::{Opcode, write};
use tidegate_protocol::frame::{base64, tcp};

use crate::mail::Class;

/// How a connection's commands are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Tcp,
    Binary,
    Base64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes as they go out: handshakes, pongs, close frames, HTTP.
    Raw,
    Reply,
    Notice(Class),
}

pub(crate) struct Entry {
    pub(crate) frame: Bytes,
    pub(crate) peer: Option<ClientId>,
    pub(crate) kind: Kind,
    /// When its message was read; 0: not measured.
    pub(crate) since_ns: u64,
}

/// What became of a notice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// Queued, or itself dropped, with this many droppable ones gone.
    Dropped(u64),
    /// No room even so: the connection must close.
    Overflow,
}

/// More than this is written from where it is instead of being copied together with its neighbours.
const COPIED: usize = 2048;
/// Bytes that one gathering stops at.
const GATHERED: usize = 64 << 10;
const SLICES: usize = 32;

#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Entry>,
    /// Each with its moment in ns; moments never decrease.
    held: VecDeque<(u64, Entry)>,
    /// Bytes of the first entry's wire form that are out already.
    sent: usize,
    /// Bytes that wait: asked for (replies, raw), and not.
    asked: usize,
    unasked: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.held.is_empty()
    }

    /// Nothing to write now.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Entries that it could hold without growing.
    pub(crate) fn room(&self) -> usize {
        self.queue.capacity() + self.held.capacity()
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    /// Appends what always fits.
    pub(crate) fn push(&mut self, frame: Bytes, kind: Kind) {
        self.asked += frame.len();
        self.queue.push_back(Entry { frame, peer: None, kind, since_ns: 0 });
    }

    /// Appends a notice of `class`, `until` that moment held back (0: not). `bound` is in bytes of notices.
    pub(crate) fn notify(&mut self, entry: Entry, class: Class, until_ns: u64, bound: usize) -> Pushed {
        let size = entry.size();
        let mut dropped = 0;
        if self.unasked + size > bound {
            dropped = self.make_room(class, size, bound);
            if self.unasked + size > bound {
                return if class.may_drop() { Pushed::Dropped(dropped + 1) } else { Pushed::Overflow };
            }
        }
        self.unasked += size;
        match self.held.back() {
            Some((last, _)) => self.held.push_back((until_ns.max(*last), entry)),
            None if until_ns > 0 => self.held.push_back((until_ns, entry)),
            None => self.queue.push_back(entry),
        }
        if dropped > 0 { Pushed::Dropped(dropped) } else { Pushed::Queued }
    }

    /// Drops waiting notices of the lowest classes up to `class`, the oldest first. A quarter of the bound is freed in
    /// one go where it can be, so that a connection that stays slow is not searched for every notice.
    fn make_room(&mut self, class: Class, size: usize, bound: usize) -> u64 {
        let goal = bound.saturating_sub(size).min(bound - bound / 4);
        let mut dropped = 0;
        for lowest in [Class::RoomLow, Class::Transient, Class::RoomNormal, Class::RoomHigh] {
            if lowest > class || self.unasked <= goal {
                break;
            }
            let (unasked, keep_first) = (&mut self.unasked, self.sent > 0);
            let mut goes = |entry: &Entry| {
                let goes = *unasked > goal && entry.kind == Kind::Notice(lowest);
                if goes {
                    *unasked -= entry.size();
                    dropped += 1;
                }
                goes
            };
            let mut at = 0;
            self.queue.retain(|entry| {
                at += 1;
                (at == 1 && keep_first) || !goes(entry)
            });
            self.held.retain(|(_, entry)| !goes(entry));
        }
        dropped
    }

    /// The moment of the first that is held.
    pub(crate) fn held_until(&self) -> Option<u64> {
        self.held.front().map(|(until, _)| *until)
    }

    /// Lets go of what was held until `now`.
    pub(crate) fn release(&mut self, now_ns: u64) {
        while self.held_until().is_some_and(|until| until <= now_ns)
            && let Some((_, entry)) = self.held.pop_front()
        {
            self.queue.push_back(entry);
        }
    }

    /// Drops everything but a first entry that is partly out.
    pub(crate) fn cut(&mut self) {
        self.held.clear();
        self.queue.truncate(usize::from(self.sent > 0));
        (self.asked, self.unasked) = (0, 0);
        if let Some(first) = self.queue.front() {
            let size = first.size();
            *(if first.kind.is_asked() { &mut self.asked } else { &mut self.unasked }) = size;
        }
    }

    /// Collects the next bytes to write: most of them copied together into `scratch`, large frames from where they are.
    pub(crate) fn gather(&self, framing: Framing, scratch: &mut Vec<u8>, parts: &mut Parts) {
        scratch.clear();
        parts.clear();
        let mut total = 0;
        for entry in &self.queue {
            if total >= GATHERED || parts.len() + 3 > SLICES {
                break;
            }
            total += entry.size();
            if entry.frame.len() <= COPIED || (framing == Framing::Base64 && entry.kind != Kind::Raw) {
                entry.write(framing, scratch);
                continue;
            }
            entry.write_prefix(framing, scratch);
            parts.end_copied(scratch.len());
            parts.list.push(Part::Shared(entry.frame.clone()));
            entry.write_suffix(scratch);
        }
        parts.end_copied(scratch.len());
        parts.skip = self.sent;
    }

    /// The next bytes, whole entries up to about `GATHERED`, as one piece for encryption.
    pub(crate) fn gather_copied(&self, framing: Framing, scratch: &mut Vec<u8>) {
        scratch.clear();
        for entry in &self.queue {
            if scratch.len() >= GATHERED {
                break;
            }
            entry.write(framing, scratch);
        }
        scratch.drain(..self.sent);
    }

    /// `n` more bytes are out. `whole` is told of each entry that is out completely.
    pub(crate) fn advance(&mut self, framing: Framing, n: usize, mut whole: impl FnMut(&Entry)) {
        self.sent += n;
        while let Some(first) = self.queue.front() {
            let len = first.wire_len(framing);
            if self.sent < len {
                return;
            }
            self.sent -= len;
            let size = first.size();
            *(if first.kind.is_asked() { &mut self.asked } else { &mut self.unasked }) -= size;
            whole(first);
            self.queue.pop_front();
        }
    }
}

impl Kind {
    fn is_asked(self) -> bool {
        !matches!(self, Kind::Notice(_))
    }
}

impl Entry {
    /// What it counts for in the bound: its bytes and about what keeping it costs.
    fn size(&self) -> usize {
        match self.kind {
            Kind::Notice(_) => self.frame.len() + size_of::<Entry>(),
            _ => self.frame.len(),
        }
    }

    fn payload_len(&self) -> usize {
        self.frame.len() + self.peer.as_ref().map_or(0, |peer| peer_len(peer))
    }

    fn wire_len(&self, framing: Framing) -> usize {
        let payload = self.payload_len();
        match (self.kind, framing) {
            (Kind::Raw, _) => payload,
            (_, Framing::Tcp) => tcp::prefix(payload).len() + payload,
            (_, Framing::Binary) => write::header(Opcode::Binary, payload).len() + payload,
            (_, Framing::Base64) => {
                let text = payload.div_ceil(3) * 4;
                write::header(Opcode::Text, text).len() + text
            }
        }
    }

    fn write_prefix(&self, framing: Framing, out: &mut Vec<u8>) {
        let payload = self.payload_len();
        match (self.kind, framing) {
            (Kind::Raw, _) => {}
            (_, Framing::Tcp) => out.extend_from_slice(&tcp::prefix(payload)),
            (_, Framing::Binary) => out.extend_from_slice(&write::header(Opcode::Binary, payload)),
            (_, Framing::Base64) => out.extend_from_slice(&write::header(Opcode::Text, payload.div_ceil(3) * 4)),
        }
    }

    fn write_suffix(&self, out: &mut Vec<u8>) {
        if let Some(peer) = &self.peer {
            append_peer(out, peer);
        }
    }

    fn write(&self, framing: Framing, out: &mut Vec<u8>) {
        self.write_prefix(framing, out);
        if framing == Framing::Base64 && self.kind != Kind::Raw {
            let mut suffix = Vec::new();
            self.write_suffix(&mut suffix);
            out.extend_from_slice(&base64::encode(&self.frame, &suffix));
        } else {
            out.extend_from_slice(&self.frame);
            self.write_suffix(out);
        }
    }
}

/// The pieces of one write; kept by the reactor for its list's room.
#[derive(Default)]
pub(crate) struct Parts {
    list: Vec<Part>,
    /// Up to where the scratch buffer is accounted for.
    copied: usize,
    /// Bytes of the first pieces that are out already.
    skip: usize,
}

enum Part {
    Copied(Range<usize>),
    Shared(Bytes),
}

impl Parts {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        (self.copied, self.skip) = (0, 0);
    }

    fn len(&self) -> usize {
        self.list.len()
    }

    fn end_copied(&mut self, len: usize) {
        if len > self.copied {
            self.list.push(Part::Copied(self.copied..len));
            self.copied = len;
        }
    }

    /// As slices for one vectored write.
    pub(crate) fn slices<'a>(&'a self, scratch: &'a [u8]) -> ([IoSlice<'a>; SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let (mut count, mut skip) = (0, self.skip);
        for (part, slice) in self.list.iter().zip(&mut slices) {
            let bytes = match part {
                Part::Copied(range) => &scratch[range.clone()],
                Part::Shared(bytes) => &bytes[..],
            };
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            *slice = IoSlice::new(&bytes[skipped..]);
            count += 1;
        }
        (slices, count)
    }
}
