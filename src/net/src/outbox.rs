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
/// What may stand before a payload.
const LONGEST_PREFIX: usize = 10;

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

    /// Whether a notice finds room as things are.
    pub(crate) fn has_room(&self, entry: &Entry, bound: usize) -> bool {
        entry.kind.is_asked() || self.unasked + entry.size() <= bound
    }

    /// Appends a notice of `class`, `until` that moment held back (0: not). `bound` is in bytes of notices.
    pub(crate) fn notify(&mut self, entry: Entry, class: Class, until_ns: u64, bound: usize) -> Pushed {
        let size = entry.size();
        let mut dropped = 0;
        let asked = entry.kind.is_asked();
        if !asked && self.unasked + size > bound {
            dropped = self.make_room(class, size, bound);
            if self.unasked + size > bound {
                return if class.may_drop() { Pushed::Dropped(dropped + 1) } else { Pushed::Overflow };
            }
        }
        *(if asked { &mut self.asked } else { &mut self.unasked }) += size;
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
        !matches!(self, Kind::Notice(class) if class != Class::Missed)
    }
}

impl Entry {
    /// What it counts for in the bound: its bytes and about what keeping it costs.
    fn size(&self) -> usize {
        match self.kind {
            kind if kind.is_asked() => self.frame.len(),
            _ => self.frame.len() + size_of::<Entry>(),
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
        out.reserve(LONGEST_PREFIX + self.payload_len());
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Slow connections have many of the one, and each that is written to has the other.
    #[test]
    fn an_entry_and_an_outbox_are_small() {
        assert!(size_of::<Entry>() <= 72, "{}", size_of::<Entry>());
        assert!(size_of::<Outbox>() <= 88, "{}", size_of::<Outbox>());
    }

    fn notice(frame: &[u8], class: Class) -> Entry {
        let frame = Bytes::copy_from_slice(frame);
        Entry { frame, peer: Some("peer".into()), kind: Kind::Notice(class), since_ns: 0 }
    }

    /// Everything that waits, as it would be written if the socket took `portions` in turn.
    fn written(outbox: &mut Outbox, framing: Framing, portions: &[usize]) -> Vec<u8> {
        let (mut out, mut scratch, mut parts) = (Vec::new(), Vec::new(), Parts::default());
        let mut portions = portions.iter().cycle();
        while !outbox.is_idle() {
            outbox.gather(framing, &mut scratch, &mut parts);
            let (slices, count) = parts.slices(&scratch);
            let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(!all.is_empty());
            let n = all.len().min(*portions.next().unwrap_or(&1));
            out.extend_from_slice(&all[..n]);
            outbox.advance(framing, n, |_| {});
        }
        out
    }

    fn frames(outbox: &mut Outbox) -> Vec<u8> {
        let mut firsts = Vec::new();
        while let Some(first) = outbox.queue.front() {
            firsts.push(first.frame[0]);
            let len = first.wire_len(Framing::Tcp) - outbox.sent;
            outbox.advance(Framing::Tcp, len, |_| {});
        }
        firsts
    }

    proptest! {
        #[test]
        fn bytes_are_the_same_however_they_are_taken(
            sizes in prop::collection::vec((0usize..6_000, any::<bool>()), 1..60),
            portions in prop::collection::vec(1usize..40_000, 1..20),
            framing in prop::sample::select(vec![Framing::Tcp, Framing::Binary, Framing::Base64]),
        ) {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (at, (size, asked)) in sizes.iter().enumerate() {
                let frame = vec![at as u8; *size];
                if *asked {
                    outbox.push(frame.into(), if at % 3 == 0 { Kind::Raw } else { Kind::Reply });
                } else {
                    outbox.notify(notice(&frame, Class::Normal), Class::Normal, 0, usize::MAX);
                }
                let entry = outbox.queue.back().unwrap();
                let before = expected.len();
                entry.write(framing, &mut expected);
                prop_assert_eq!(expected.len() - before, entry.wire_len(framing));
            }
            prop_assert_eq!(written(&mut outbox, framing, &portions), expected);
            prop_assert_eq!((outbox.asked, outbox.unasked, outbox.sent), (0, 0, 0));
        }

        #[test]
        fn the_bound_holds_and_the_durable_is_kept_in_order(
            classes in prop::collection::vec(0usize..6, 1..200),
        ) {
            const ALL: [Class; 6] = [
                Class::RoomLow, Class::Transient, Class::RoomNormal, Class::RoomHigh, Class::Normal, Class::Notice,
            ];
            let size = notice(&[0; 10], Class::Normal).size();
            let bound = 20 * size;
            let mut outbox = Outbox::default();
            let (mut kept, mut gone) = (Vec::new(), 0);
            for (at, class) in classes.iter().map(|class| ALL[*class]).enumerate() {
                let durable = !class.may_drop();
                match outbox.notify(notice(&[at as u8; 10], class), class, 0, bound) {
                    Pushed::Overflow => {
                        prop_assert!(durable && kept.len() == 20, "closed with {} durable of 20", kept.len());
                        break;
                    }
                    Pushed::Dropped(n) => gone += n as usize,
                    Pushed::Queued => {}
                }
                if durable {
                    kept.push(at as u8);
                }
                prop_assert!(outbox.unasked <= bound);
                prop_assert_eq!(outbox.queue.len() + gone, at + 1);
            }
            let left = frames(&mut outbox);
            prop_assert!(left.is_sorted());
            prop_assert!(kept.iter().all(|at| left.contains(at)));
        }
    }

    #[test]
    fn lower_classes_make_room_for_higher_and_not_the_other_way() {
        let bound = 4 * notice(&[0], Class::Normal).size();
        let mut outbox = Outbox::default();
        for at in 0..4 {
            outbox.notify(notice(&[at], Class::RoomHigh), Class::RoomHigh, 0, bound);
        }
        assert_eq!(outbox.notify(notice(&[4], Class::RoomLow), Class::RoomLow, 0, bound), Pushed::Dropped(1));
        assert_eq!(outbox.notify(notice(&[5], Class::Normal), Class::Normal, 0, bound), Pushed::Dropped(1));
        assert_eq!(frames(&mut outbox), [1, 2, 3, 5]);
    }

    #[test]
    fn what_is_partly_out_is_never_dropped() {
        let bound = 2 * notice(&[0], Class::Normal).size();
        let mut outbox = Outbox::default();
        outbox.notify(notice(&[1], Class::RoomLow), Class::RoomLow, 0, bound);
        outbox.notify(notice(&[2], Class::RoomLow), Class::RoomLow, 0, bound);
        outbox.advance(Framing::Tcp, 3, |_| {});
        assert_eq!(outbox.notify(notice(&[3], Class::Normal), Class::Normal, 0, bound), Pushed::Dropped(1));
        assert_eq!(outbox.notify(notice(&[4], Class::Normal), Class::Normal, 0, bound), Pushed::Overflow);
        outbox.cut();
        assert_eq!(frames(&mut outbox), [1]);
    }

    #[test]
    fn what_was_missed_always_fits_and_leaves_the_bound_alone() {
        let bound = 2 * notice(&[0], Class::Normal).size();
        let mut outbox = Outbox::default();
        for at in 0..9 {
            assert_eq!(outbox.notify(notice(&[at], Class::Missed), Class::Missed, 50, bound), Pushed::Queued);
        }
        assert_eq!(outbox.notify(notice(&[9], Class::Normal), Class::Normal, 0, bound), Pushed::Queued);
        assert_eq!((outbox.asked(), outbox.unasked), (9, bound / 2));
        outbox.release(50);
        assert!(frames(&mut outbox).is_sorted());
        assert_eq!((outbox.asked(), outbox.unasked), (0, 0));
    }

    #[test]
    fn what_is_held_keeps_its_place_and_replies_pass_it() {
        let mut outbox = Outbox::default();
        outbox.notify(notice(&[1], Class::Normal), Class::Normal, 0, usize::MAX);
        outbox.notify(notice(&[2], Class::Normal), Class::Normal, 50, usize::MAX);
        outbox.notify(notice(&[3], Class::Normal), Class::Normal, 0, usize::MAX);
        outbox.notify(notice(&[4], Class::Normal), Class::Normal, 90, usize::MAX);
        outbox.push(Bytes::from_static(&[5]), Kind::Reply);
        outbox.release(49);
        assert_eq!((outbox.held_until(), frames(&mut outbox)), (Some(50), vec![1, 5]));
        outbox.release(50);
        assert_eq!((outbox.held_until(), frames(&mut outbox)), (Some(90), vec![2, 3]));
        outbox.release(90);
        assert_eq!((outbox.held_until(), frames(&mut outbox)), (None, vec![4]));
        assert!(outbox.is_empty() && outbox.unasked == 0);
    }
}
