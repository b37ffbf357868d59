//! One connection's life: what it speaks, how far it is open, when it is over.
//!
//! A connection is *opening* (see `opening`), then speaks TCP, WebSocket or HTTP. It is *closing* from the close that
//! either side began until what is queued is out and the client has answered, or `LINGER` is over; then it is *dead*
//! and the reactor drops it. The door hears `opened` and `closed` once each, `closed` as soon as no further command
//! can come. Reading is in `receive`, writing in `send`.
//!
//! Kept small: what only some connections need is boxed, and buffers exist only while bytes wait in them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mio::net::TcpStream;
use tidegate_domain::ids::{ClientId, ConnId};
use tidegate_protocol::frame::websocket::{Reader, write};

use crate::credit::Share;
use crate::door::{Closed, ConnMeta, Transport};
use crate::mailbox::Post;
use crate::net::Shared;
use crate::outbox::{Framing, Kind, Outbox, Parts};
use crate::stats::add;
use crate::tls::Tls;
use crate::turnstile::{Turn, Turnstile};

/// The reactor's coarse time.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// How long a closed connection may take to fetch its last bytes and to answer.
const LINGER: Duration = Duration::from_secs(2);

/// Before its first log-in a connection is a guest's, of whom there may be very many: its longest frame, the bytes of one
/// read, its commands in flight, the bytes of replies with which it is read no further, and what TLS and the head may
/// keep together.
const GUEST_FRAME: usize = 4 << 10;
pub(crate) const GUEST_READ: usize = 2 << 10;
pub(crate) const GUEST_CREDITS: u32 = 8;
const GUEST_REPLIES: usize = 512;
pub(crate) const GUEST_KEPT: usize = 18 << 10;
/// An HTTP connection never logs in; there are as many as the HTTP side has places for. Bytes of one read, and of what the
/// HTTP side has not taken yet.
pub(crate) const HTTP_READ: usize = 8 << 10;
pub(crate) const HTTP_KEPT: usize = 16 << 10;

/// What a reactor lends its connections: the turn's time, its buffers, and lists of what is to be done.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) post: Arc<Post>,
    pub(crate) now_ns: u64,
    pub(crate) tick: u32,
    pub(crate) phase: u8,
    /// What the socket gave; what TLS made of it; what is to be written.
    pub(crate) raw: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    pub(crate) scratch: Vec<u8>,
    pub(crate) parts: Parts,
    /// Empty outboxes, to be used again.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is used again")]
    pub(crate) outboxes: Vec<Box<Outbox>>,
    /// Connections to write to at the end of the turn.
    pub(crate) dirty: Vec<ConnId>,
    /// Connections to read on in the next turn.
    pub(crate) again: Vec<ConnId>,
    pub(crate) turnstile: Turnstile,
    /// The turn of the connection that is being read to its end.
    pub(crate) parting: Option<Turn>,
    /// When to look at a connection's deadline.
    pub(crate) timers: Vec<(u32, ConnId)>,
    /// When to let go of what a connection holds back.
    pub(crate) holds: BinaryHeap<Reverse<(u64, ConnId)>>,
}

impl Context {
    /// The tick that lies `after` ahead, never too early.
    pub(crate) fn tick_after(from: u32, after: Duration) -> u32 {
        let ticks = after.as_millis().div_ceil(TICK.as_millis()).min(u128::from(u32::MAX / 2));
        from.saturating_add(ticks as u32 + 1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Http,
    Tcp,
}

/// Who uses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Nobody who has said who it is.
    Unknown,
    /// The same, but an `echo` came: it may stay.
    Alive,
    /// Somebody has logged in.
    Member,
}

/// Why a connection is not read, beside its credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    No,
    /// Its replies wait.
    Replies,
    /// A command of its waits for its turn.
    Turn,
}

pub(crate) enum Speaks {
    Opening(Box<Opening>),
    Tcp,
    WebSocket { reader: Reader, base64: bool },
    Http(Box<Http>),
}

/// What is known before the connection speaks.
pub(crate) struct Opening {
    pub(crate) ip: IpAddr,
    pub(crate) port: Port,
    /// A PROXY header may still come.
    pub(crate) may_proxy: bool,
    /// TLS or plain is decided.
    pub(crate) decided: bool,
}

/// The queues of a connection that was handed to the HTTP side.
pub(crate) struct Http {
    /// Absent once the client has ended its side.
    pub(crate) to_http: Option<flume::Sender<Bytes>>,
    pub(crate) from_http: flume::Receiver<Bytes>,
}

pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) socket: TcpStream,
    pub(crate) speaks: Speaks,
    pub(crate) tls: Option<Box<Tls>>,
    /// Bytes (decrypted) of a command in part, or of commands that wait for credits.
    pub(crate) unread: Vec<u8>,
    pub(crate) outbox: Option<Box<Outbox>>,
    /// Made with the first command.
    pub(crate) share: Option<Arc<Share>>,
    /// An open session, for a `goaway` to name.
    pub(crate) session: Option<ClientId>,
    /// Which groups its sessions are in; a connection may carry tens of thousands.
    #[expect(clippy::box_collection, reason = "most connections have none")]
    pub(crate) groups: Option<Box<BTreeSet<(ClientId, u64)>>>,
    /// When something was last read; of HTTP, or written.
    pub(crate) heard: u32,
    /// When its present state began: accepted, opened or closing.
    pub(crate) since: u32,
    /// The door knows of it.
    pub(crate) opened: bool,
    pub(crate) user: User,
    pub(crate) closing: bool,
    /// The client has said its last: gone as soon as all is written.
    pub(crate) client_done: bool,
    /// What it sends makes no sense any more: read for its end only.
    pub(crate) deaf: bool,
    pub(crate) dead: bool,
    pub(crate) dirty: bool,
    /// The socket takes no more until it says so.
    pub(crate) blocked: bool,
    /// The other side has ended its stream, or it broke: it is read to its end.
    pub(crate) ended: bool,
    /// It waits to be served, behind those who are logged in.
    pub(crate) behind: bool,
    pub(crate) pause: Pause,
    half_closed: bool,
}

impl Conn {
    pub(crate) fn new(id: ConnId, socket: TcpStream, ip: IpAddr, port: Port, cx: &Context) -> Self {
        let may_proxy = cx.shared.options.trusts(ip);
        Conn {
            id,
            socket,
            speaks: Speaks::Opening(Box::new(Opening { ip, port, may_proxy, decided: false })),
            tls: None,
            unread: Vec::new(),
            outbox: None,
            share: None,
            session: None,
            groups: None,
            heard: cx.tick,
            since: cx.tick,
            opened: false,
            user: User::Unknown,
            closing: false,
            client_done: false,
            deaf: false,
            dead: false,
            dirty: false,
            blocked: false,
            ended: false,
            behind: false,
            pause: Pause::No,
            half_closed: false,
        }
    }

    /// Nobody has logged in on it yet, as on HTTP nobody ever does.
    pub(crate) fn is_guest(&self) -> bool {
        self.user != User::Member
    }

    /// Whether others go first: nobody is logged in there, or more comes than its share. What is done for these is done a
    /// little at a time and when nobody else has anything, so that a flood of them is their own trouble.
    pub(crate) fn may_wait(&self) -> bool {
        self.is_guest() || self.behind || self.share.as_ref().is_some_and(|share| share.is_short())
    }

    /// Its other side has ended, and the pipeline, which knows of it, does not know that yet.
    pub(crate) fn leaves(&self) -> bool {
        self.ended && self.opened
    }

    pub(crate) fn is_http(&self) -> bool {
        matches!(self.speaks, Speaks::Http(_))
    }

    /// Takes notices and orders: open, and not on its way out.
    pub(crate) fn is_open(&self) -> bool {
        self.opened && !self.closing && !self.dead
    }

    pub(crate) fn framing(&self) -> Framing {
        match self.speaks {
            Speaks::WebSocket { base64: true, .. } => Framing::Base64,
            Speaks::WebSocket { .. } => Framing::Binary,
            _ => Framing::Tcp,
        }
    }

    pub(crate) fn open(&mut self, meta: ConnMeta, cx: &mut Context) {
        self.speaks = match meta.transport {
            Transport::Tcp => Speaks::Tcp,
            Transport::WebSocket(subprotocol) => {
                let base64 = subprotocol.is_text();
                let max = self.longest_frame(base64, cx);
                Speaks::WebSocket { reader: Reader::new(u32::try_from(max).unwrap_or(u32::MAX)), base64 }
            }
        };
        self.opened = true;
        self.since = cx.tick;
        cx.shared.door.opened(self.id, meta);
    }

    /// The longest frame that it may send as things are, in bytes of payload.
    pub(crate) fn longest_frame(&self, base64: bool, cx: &Context) -> usize {
        let max = cx.shared.options.max_frame;
        let max = if base64 { max.saturating_add(2) / 3 * 4 } else { max };
        if self.is_guest() { max.min(GUEST_FRAME) } else { max }
    }

    /// Replies that may wait, in bytes, until it is read no further.
    pub(crate) fn most_replies(&self, cx: &Context) -> usize {
        if self.is_guest() { GUEST_REPLIES.min(cx.shared.options.outbox) } else { cx.shared.options.outbox }
    }

    /// Somebody has logged in.
    pub(crate) fn logged_in(&mut self, peer: ClientId, cx: &mut Context) {
        self.session = Some(peer);
        if std::mem::replace(&mut self.user, User::Member) == User::Member {
            return;
        }
        // Its next command takes a share of the full size; what waited for a guest's may go on.
        self.share = None;
        cx.again.push(self.id);
        if let Speaks::WebSocket { base64, .. } = self.speaks {
            let max = self.longest_frame(base64, cx);
            if let Speaks::WebSocket { reader, .. } = &mut self.speaks {
                reader.set_max(u32::try_from(max).unwrap_or(u32::MAX));
            }
        }
    }

    /// Queues what there is, then says why and closes. Later calls change nothing.
    pub(crate) fn close(&mut self, code: u16, reason: &str, cx: &mut Context) {
        if self.closing || self.dead {
            return;
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.release(u64::MAX);
        }
        if matches!(self.speaks, Speaks::WebSocket { .. }) {
            self.push(write::close(Some(code), reason).into(), Kind::Raw, cx);
        }
        self.tell_closed(code, false, cx);
        self.begin_closing(cx);
    }

    /// Writes what is queued, then ends the stream.
    pub(crate) fn begin_closing(&mut self, cx: &mut Context) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.since = cx.tick;
        cx.timers.push((Context::tick_after(cx.tick, LINGER), self.id));
        self.touch(cx);
    }

    /// Too slow a reader: what waits is dropped, and it may learn why if it reads after all.
    pub(crate) fn cut(&mut self, code: u16, reason: &str, cx: &mut Context) {
        if let Some(outbox) = &mut self.outbox {
            outbox.cut();
        }
        self.close(code, reason, cx);
    }

    /// The stream came to its end, by the client's side.
    pub(crate) fn ended(&mut self, cx: &mut Context) {
        match &mut self.speaks {
            Speaks::Opening(_) => self.dead = true,
            Speaks::Http(http) => {
                http.to_http = None;
                self.client_done = true;
                if self.closing {
                    self.touch(cx);
                }
            }
            Speaks::Tcp => {
                let clean = self.unread.is_empty();
                self.tell_closed(if clean { 1000 } else { 1006 }, clean, cx);
                self.client_done = true;
                self.begin_closing(cx);
                self.touch(cx);
            }
            Speaks::WebSocket { .. } => {
                self.tell_closed(1006, false, cx);
                self.dead = true;
            }
        }
    }

    /// The socket failed.
    pub(crate) fn broken(&mut self, cx: &mut Context) {
        self.tell_closed(1006, false, cx);
        self.dead = true;
    }

    pub(crate) fn tell_closed(&mut self, code: u16, clean: bool, cx: &mut Context) {
        if std::mem::take(&mut self.opened) {
            cx.post.counters.closed(code);
            cx.shared.door.closed(self.id, Closed { code, clean }, cx.parting.take());
        }
    }

    /// All that was queued is out.
    pub(crate) fn written_out(&mut self, cx: &mut Context) {
        if !self.closing || self.half_closed {
            return;
        }
        if self.client_done {
            self.dead = true;
        }
        // A WebSocket client answers our close frame first; ending the stream before it would be impolite.
        if self.dead || self.deaf || !matches!(self.speaks, Speaks::WebSocket { .. }) {
            self.half_closed = true;
            if let Some(tls) = &mut self.tls
                && tls.send_close().is_ok()
                && tls.flush(&mut self.socket).is_err()
            {
                self.dead = true;
            }
            if self.socket.shutdown(Shutdown::Write).is_err() {
                self.broken(cx);
            }
        }
    }

    /// When this connection is overdue, and the code for it; `None`: never, as things are.
    fn deadline(&self, cx: &Context) -> Option<(u32, u16, &'static str)> {
        let options = &cx.shared.options;
        let silent = || (Context::tick_after(self.heard, options.idle_timeout), 4107, "READ_TIMEOUT");
        if self.closing {
            return Some((Context::tick_after(self.since, LINGER), 1006, ""));
        }
        match &self.speaks {
            // A TCP client need not speak first thing; until it does it is like one that is not logged in.
            Speaks::Opening(opening) => {
                let untouched = opening.port == Port::Tcp && self.unread.is_empty() && self.tls.is_none();
                let limit = if untouched { options.login_timeout } else { options.handshake_timeout };
                Some((Context::tick_after(self.since, limit), 1006, ""))
            }
            // Its rules are the HTTP side's; here it only must not hold a socket for nothing.
            Speaks::Http(_) => Some(silent()),
            // Not being read is not being silent.
            _ if self.is_paused() => None,
            _ if self.user != User::Unknown => Some(silent()),
            _ => Some(silent().min((Context::tick_after(self.since, options.login_timeout), 4108, "LOGIN_TIMEOUT"))),
        }
    }

    fn is_paused(&self) -> bool {
        self.pause == Pause::Turn || self.share.as_ref().is_some_and(|share| share.is_paused())
    }

    /// Closes it if it is overdue; otherwise sets the next look.
    pub(crate) fn check_deadline(&mut self, cx: &mut Context) {
        match self.deadline(cx) {
            Some((tick, code, reason)) if tick <= cx.tick => {
                if self.is_open() {
                    self.close(code, reason, cx);
                } else {
                    self.tell_closed(code, false, cx);
                    self.dead = true;
                }
            }
            Some((tick, ..)) => cx.timers.push((tick, self.id)),
            None => cx.timers.push((Context::tick_after(cx.tick, cx.shared.options.idle_timeout), self.id)),
        }
    }

    /// The first look at a deadline that could be the soonest.
    pub(crate) fn first_look(cx: &Context) -> u32 {
        let options = &cx.shared.options;
        let soonest = options.handshake_timeout.min(options.login_timeout).min(options.idle_timeout);
        Context::tick_after(cx.tick, soonest)
    }

    /// Puts it on the list of those that are written to at the end of the turn.
    pub(crate) fn touch(&mut self, cx: &mut Context) {
        if !self.dirty {
            self.dirty = true;
            cx.dirty.push(self.id);
        }
    }

    /// Queues what always fits.
    pub(crate) fn push(&mut self, frame: Bytes, kind: Kind, cx: &mut Context) {
        self.outbox.get_or_insert_with(|| cx.outboxes.pop().unwrap_or_default()).push(frame, kind);
        self.touch(cx);
    }

    pub(crate) fn count_in(cx: &Context, n: usize) {
        add(&cx.post.counters.bytes_in, n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million clients are carried by tens of thousands of these.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Conn>() <= 136, "{}", size_of::<Conn>());
    }
}
