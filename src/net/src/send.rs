//! What goes to a connection's socket: one flush a turn, as few writes as can be.

use std::io::{self, ErrorKind, Write};

use bytes::Bytes;
use flume::TryRecvError;
use tidegate_domain::ids::ClientId;

use crate::SLOW_READER;
use crate::conn::{Conn, Context, Pause, Speaks};
use crate::mail::Class;
use crate::outbox::{Entry, Kind, Outbox, Pushed};
use crate::stats::{Counters, add};

/// How much of an HTTP response is taken over before the socket has taken the rest.
const HTTP_AHEAD: usize = 64 << 10;
/// Outboxes that a reactor keeps for use again (about as many as it writes to in a turn), and the entries that one of
/// them may have room for.
const KEPT: usize = 512;
const KEPT_ENTRIES: usize = 32;
/// A buffer that a large reply made larger than this is not kept.
const SCRATCH: usize = 256 << 10;

impl Conn {
    /// Queues a notice; `until_ns`: held back so long (0: not).
    pub(crate) fn notify(
        &mut self,
        frame: &Bytes,
        peer: &ClientId,
        class: Class,
        since_ns: u64,
        until_ns: u64,
        cx: &mut Context,
    ) {
        let entry = Entry { frame: frame.clone(), peer: Some(peer.clone()), kind: Kind::Notice(class), since_ns };
        let bound = cx.shared.options.outbox;
        // A burst within one turn, say to the many clients of one connection, does not make it slow: its socket says.
        if self.outbox.as_ref().is_some_and(|outbox| !outbox.has_room(&entry, bound)) {
            self.flush(cx);
            if self.dead {
                return self.touch(cx);
            }
        }
        let outbox = self.outbox.get_or_insert_with(|| cx.outboxes.pop().unwrap_or_default());
        let was_held = outbox.held_until().is_some();
        match outbox.notify(entry, class, until_ns, bound) {
            Pushed::Queued => {}
            Pushed::Dropped(n) => add(&cx.post.counters.dropped, n),
            Pushed::Overflow => {
                log::debug!("{}: does not read, closed", self.id);
                add(&cx.post.counters.slow_readers, 1);
                return self.cut(SLOW_READER.0, SLOW_READER.1, cx);
            }
        }
        if let (false, Some(until)) = (was_held, outbox.held_until()) {
            cx.holds.push(std::cmp::Reverse((until, self.id)));
        }
        self.touch(cx);
    }

    /// Lets go of what was held back until now.
    pub(crate) fn release(&mut self, cx: &mut Context) {
        if let Some(outbox) = &mut self.outbox {
            outbox.release(cx.now_ns);
            if let Some(until) = outbox.held_until() {
                cx.holds.push(std::cmp::Reverse((until, self.id)));
            }
            self.touch(cx);
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self, cx: &mut Context) {
        if self.blocked || self.dead {
            return;
        }
        loop {
            self.pull_http(cx);
            match self.flush_once(cx) {
                // Whoever still takes its last bytes is given the time for it.
                Ok(true) if self.closing => self.since = cx.tick,
                Ok(true) if matches!(self.speaks, Speaks::Http(_)) => self.heard = cx.tick,
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    add(&cx.post.counters.blocked, 1);
                    break;
                }
                Err(_) => return self.broken(cx),
            }
        }
        if self.pause == Pause::Replies
            && self.outbox.as_ref().is_none_or(|outbox| outbox.asked() <= self.most_replies(cx))
        {
            self.pause = Pause::No;
            cx.again.push(self.id);
        }
        if self.blocked {
            return;
        }
        if let Some(outbox) = self.outbox.take_if(|outbox| outbox.is_empty())
            && cx.outboxes.len() < KEPT
            && outbox.room() <= KEPT_ENTRIES
        {
            cx.outboxes.push(outbox);
        }
        self.written_out(cx);
    }

    /// One write; `false`: nothing is left to write.
    fn flush_once(&mut self, cx: &mut Context) -> io::Result<bool> {
        let framing = self.framing();
        if let Some(tls) = &mut self.tls {
            tls.flush(&mut self.socket)?;
            let Some(outbox) = self.outbox.as_mut().filter(|outbox| !outbox.is_idle()) else { return Ok(false) };
            outbox.gather_copied(framing, &mut cx.scratch);
            tls.send(&cx.scratch).map_err(io::Error::other)?;
            written(outbox, framing, cx.scratch.len(), cx.now_ns, &cx.post.counters);
            if cx.scratch.capacity() > SCRATCH {
                cx.scratch = Vec::new();
            }
            return Ok(true);
        }
        let Some(outbox) = self.outbox.as_mut().filter(|outbox| !outbox.is_idle()) else { return Ok(false) };
        outbox.gather(framing, &mut cx.scratch, &mut cx.parts);
        let n = {
            let (slices, count) = cx.parts.slices(&cx.scratch);
            match &slices[..count] {
                [one] => self.socket.write(one),
                many => self.socket.write_vectored(many),
            }
        };
        cx.parts.clear();
        if cx.scratch.capacity() > SCRATCH {
            cx.scratch = Vec::new();
        }
        match n? {
            0 => Err(ErrorKind::WriteZero.into()),
            n => {
                written(outbox, framing, n, cx.now_ns, &cx.post.counters);
                Ok(true)
            }
        }
    }

    /// Takes over what the HTTP side has queued.
    fn pull_http(&mut self, cx: &mut Context) {
        let Speaks::Http(http) = &mut self.speaks else { return };
        let mut over = false;
        let outbox = self.outbox.get_or_insert_with(|| cx.outboxes.pop().unwrap_or_default());
        while outbox.asked() < HTTP_AHEAD {
            match http.from_http.try_recv() {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => outbox.push(chunk, Kind::Raw),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    over = true;
                    break;
                }
            }
        }
        if over {
            self.begin_closing(cx);
        }
    }
}

fn written(outbox: &mut Outbox, framing: crate::outbox::Framing, n: usize, now_ns: u64, counters: &Counters) {
    add(&counters.bytes_out, n as u64);
    outbox.advance(framing, n, |entry| {
        if entry.kind != Kind::Raw {
            add(&counters.frames_out, 1);
        }
        if entry.since_ns > 0 {
            counters.delivered(now_ns.saturating_sub(entry.since_ns));
        }
    });
}
