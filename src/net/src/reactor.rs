//! One reactor: a thread with its poll, its listeners and its connections.
//!
//! A turn: wait; read what came; take mail; go on with broadcasts; let go of what was held back; look at deadlines;
//! write to every connection that has something, once; then a slice of time for those who may wait. Each step has a
//! budget, what is left is the next turn's, which then does not wait.
//!
//! Who may wait: whoever wants in, is not logged in yet or no more, asks over HTTP, or sends more than its share. Whatever
//! they do and however many they are, a turn gives them no more than the slice, or half of what the others took if that is
//! more, and everybody else was served before.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use tidegate_domain::ids::{ClientId, ConnId};

use crate::accept::Acceptor;
use crate::conn::{Conn, Context, Pause, Port, Speaks, TICK, User};
use crate::door::Frame;
use crate::gate::{Gates, Held, Passage};
use crate::groups::{Broadcast, Groups};
use crate::mail::{Class, Mail, Recipient};
use crate::mailbox::Post;
use crate::net::{Shared, phase};
use crate::outbox::{Kind, Parts};
use crate::stats::add;
use crate::table::{Notice, Table};
use crate::turnstile::{Turn, Turnstile};
use crate::wheel::Wheel;
use crate::{AFTER_REPLY, SLOW_READER};

pub(crate) const WAKE: Token = Token(0);
const HTTP: Token = Token(1);
const TCP: Token = Token(2);

/// What one socket read may bring.
const READ_BUFFER: usize = 16 << 10;
/// What a turn spends on those who may wait, in nanoseconds; whoever is served when it is over is served to the end, and a
/// TLS handshake takes four times as long.
const SLICE_NS: u64 = 50_000;
/// Notices queued, and connections to write to, in one turn; a write costs about ten times a notice.
const NOTICES: usize = 4096;
const WRITES: usize = 512;
/// Members that broadcasts get on by in one turn, and what is sent to them: less, so that nobody waits long for however many
/// they are for.
const WALK: usize = 64;
const WALK_NOTICES: usize = 1024;

pub(crate) struct Reactor {
    index: u8,
    poll: Poll,
    acceptors: Vec<Acceptor>,
    table: Table,
    groups: Groups,
    gates: Gates,
    wheel: Wheel<ConnId>,
    waiting: Waiting,
    /// Whether an ended connection goes before a command that waits for its turn, where only one can.
    ended_first: bool,
    /// Those that wait and whose time may be over.
    due: VecDeque<ConnId>,
    /// Mail that was taken over and not worked on yet.
    inbox: VecDeque<Mail>,
    /// How much of the first delivery in the inbox is done.
    delivered: usize,
    start_ns: u64,
    cx: Context,
}

/// Connections that wait until the others have had theirs. When thousands are cut at once and come back, or make a flood,
/// those that stay must not wait for all of them.
#[derive(Default)]
struct Waiting {
    /// On which somebody is logged in.
    members: VecDeque<ConnId>,
    guests: VecDeque<ConnId>,
    /// Whose other side has ended, which the pipeline must be told: they need a turn.
    ended: VecDeque<ConnId>,
}

impl Waiting {
    fn add(&mut self, conn: &mut Conn) {
        if mem::replace(&mut conn.behind, true) {
            return;
        }
        let queue = match conn.is_guest() {
            _ if conn.leaves() => &mut self.ended,
            true => &mut self.guests,
            false => &mut self.members,
        };
        queue.push_back(conn.id);
    }

    /// Nobody waits, but for those who may need a turn.
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.guests.is_empty()
    }
}

impl Reactor {
    pub(crate) fn new(
        index: u8,
        poll: Poll,
        post: Arc<Post>,
        shared: Arc<Shared>,
        http: Option<TcpListener>,
        tcp: Option<TcpListener>,
    ) -> io::Result<Self> {
        let mut acceptors = Vec::new();
        for (token, port, listener) in [(HTTP, Port::Http, http), (TCP, Port::Tcp, tcp)] {
            if let Some(mut listener) = listener {
                poll.registry().register(&mut listener, token, Interest::READABLE)?;
                acceptors.push(Acceptor::new(token, port, listener));
            }
        }
        let start_ns = (shared.options.clock)();
        Ok(Reactor {
            index,
            poll,
            acceptors,
            table: Table::new(shared.options.node, index),
            groups: Groups::new(),
            gates: Gates::default(),
            wheel: Wheel::new(0),
            waiting: Waiting::default(),
            ended_first: false,
            due: VecDeque::new(),
            inbox: VecDeque::new(),
            delivered: 0,
            start_ns,
            cx: Context {
                parting: None,
                turnstile: Turnstile::new(shared.options.turns, shared.options.turn_patience, post.clone()),
                shared,
                post,
                now_ns: start_ns,
                tick: 0,
                phase: phase::SERVING,
                raw: vec![0; READ_BUFFER],
                plain: Vec::new(),
                scratch: Vec::new(),
                parts: Parts::default(),
                outboxes: Vec::new(),
                dirty: Vec::new(),
                again: Vec::new(),
                timers: Vec::new(),
                holds: BinaryHeap::new(),
            },
        })
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while self.cx.phase < phase::STOPPED {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("a reactor cannot wait for its sockets and stops: {error}");
                break;
            }
            self.cx.post.awake();
            self.read_clock();
            let begun_ns = self.cx.now_ns;
            self.enter_phase();
            for event in &events {
                match event.token() {
                    WAKE => {}
                    token @ (HTTP | TCP) => {
                        self.acceptors.iter_mut().filter(|a| a.token == token).for_each(|a| a.ready = true);
                    }
                    _ => self.look_at(event),
                }
            }
            self.lend(); // at once: what members said must not wait for others
            self.mail();
            self.walk();
            self.release();
            self.look_at_deadlines();
            self.flush();
            self.attend();
            self.serve_those_who_wait(begun_ns);
            self.lend(); // for what came up since
            if self.groups.is_busy() || !self.inbox.is_empty() {
                thread::yield_now(); // it does not sleep now, and where processors are few, the stages' threads wait for it
            }
        }
        self.stop();
        self.lend();
    }

    /// Lets the door use this thread. A panic there costs no connection.
    fn lend(&self) {
        let lent = panic::catch_unwind(AssertUnwindSafe(|| self.cx.shared.door.lend(self.index)));
        if lent.is_err() {
            log::error!("what a reactor's thread was lent for panicked");
        }
    }

    /// Something happened at a connection's socket.
    fn look_at(&mut self, event: &Event) {
        let Some(conn) = self.table.by_token(event.token()) else { return };
        conn.ended |= event.is_read_closed() || event.is_error();
        let writable = event.is_writable() && mem::take(&mut conn.blocked);
        if writable {
            add(&self.cx.post.counters.blocked, u64::MAX);
        }
        if !writable && !event.is_readable() && !conn.ended {
            return;
        }
        if conn.ended || conn.may_wait() {
            return self.waiting.add(conn);
        }
        if writable {
            conn.touch(&mut self.cx);
        }
        if event.is_readable() {
            read(conn, false, &mut self.cx);
        }
        if conn.dead {
            let id = conn.id;
            self.bury(id);
        }
    }

    /// How long the next turn may wait: not at all while there is work.
    fn timeout(&mut self) -> Option<Duration> {
        let busy = !self.inbox.is_empty()
            || !self.waiting.is_empty()
            || !self.due.is_empty()
            || !self.cx.again.is_empty()
            || !self.cx.dirty.is_empty()
            || self.groups.is_busy()
            || self.acceptors.iter().any(|acceptor| acceptor.ready);
        if busy || !self.cx.post.may_sleep() || self.cx.turnstile.has_next() {
            return Some(Duration::ZERO);
        }
        let hold = self.cx.holds.peek().map(|Reverse((until, _))| *until);
        let wheel = self.wheel.next().map(|tick| self.start_ns + tick * TICK.as_nanos() as u64);
        let accept = self.acceptors.iter().filter_map(|acceptor| acceptor.retry_at).min();
        let turn = self.cx.turnstile.deadline();
        let next = [hold, wheel, accept, turn, self.gates.next()].into_iter().flatten().min()?;
        let now = (self.cx.shared.options.clock)();
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    fn read_clock(&mut self) {
        self.cx.now_ns = (self.cx.shared.options.clock)();
        self.cx.tick = (self.cx.now_ns.saturating_sub(self.start_ns) / TICK.as_nanos() as u64) as u32;
    }

    /// Acts by what the process as a whole wants.
    fn enter_phase(&mut self) {
        let phase = self.cx.shared.phase.load(SeqCst);
        if phase == self.cx.phase {
            return;
        }
        self.cx.phase = phase;
        // Until the end HTTP is served: an SDK that was told to go away asks the router first, and does not take a refused
        // connection well.
        for acceptor in self.acceptors.extract_if(.., |acceptor| phase == phase::STOPPED || acceptor.token != HTTP) {
            acceptor.close(&self.poll);
        }
        if phase == phase::STOPPED {
            return;
        }
        let goaway = self.cx.shared.goaway.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for id in self.table.ids() {
            let Some(conn) = self.table.get(id) else { continue };
            match (&mut conn.speaks, phase) {
                (Speaks::Opening(_), _) => conn.dead = true,
                (_, phase::FINISHING) => {}
                // The HTTP side sees the end of its stream, finishes what it is at and ends.
                (Speaks::Http(http), _) => http.to_http = None,
                _ => {
                    if let Some(goaway) = goaway.as_ref().filter(|_| conn.is_open()) {
                        conn.push(goaway(conn.session.as_ref()), Kind::Reply, &mut self.cx);
                    }
                    self.cx.again.push(id);
                }
            }
            if conn.dead {
                self.bury(id);
            }
        }
        self.cx.shared.reached[usize::from(phase)].fetch_add(1, SeqCst);
    }

    /// Connections that can go on: credits came back, the HTTP side has something, or a turn was not enough.
    fn attend(&mut self) {
        for id in mem::take(&mut self.cx.again) {
            if let Some(conn) = self.table.get(id) {
                self.waiting.add(conn);
            }
        }
        let mut asked = Vec::new();
        self.cx.post.take_attention(&mut asked);
        for id in asked {
            if let Some(conn) = self.table.get(id) {
                if !conn.is_http() {
                    // Until now it was not read, which was not its silence.
                    conn.heard = self.cx.tick;
                }
                self.waiting.add(conn);
            }
        }
    }

    /// A slice of time for them, in which they take turns: one that comes, one whose time may be over, one that leaves, a
    /// command whose turn it is, a member, a guest. Where the others take long, these get no less than half as much.
    fn serve_those_who_wait(&mut self, begun_ns: u64) {
        if self.waiting.is_empty()
            && self.waiting.ended.is_empty()
            && self.due.is_empty()
            && !self.cx.turnstile.is_awaited()
            && self.acceptors.iter().all(|acceptor| !acceptor.ready && acceptor.retry_at.is_none())
        {
            return;
        }
        self.cx.now_ns = (self.cx.shared.options.clock)();
        let end_ns = self.cx.now_ns + SLICE_NS.max((self.cx.now_ns - begun_ns) / 2);
        loop {
            let mut any = false;
            for acceptor in &mut self.acceptors {
                any |= acceptor.accept(&self.poll, &mut self.table, &mut self.cx);
            }
            any |= self.look_at_due();
            // Both need a place inside. Where there are few, as on a slow disk, neither may have them all.
            self.ended_first = !self.ended_first;
            any |= self.ended_first && self.part();
            any |= self.take_turn();
            any |= !self.ended_first && self.part();
            let member = self.waiting.members.pop_front();
            let guest = self.waiting.guests.pop_front();
            for id in [member, guest].into_iter().flatten() {
                self.serve(id, None);
                any = true;
            }
            self.cx.now_ns = (self.cx.shared.options.clock)();
            if !any || self.cx.now_ns >= end_ns {
                break;
            }
        }
        self.cx.turnstile.leaving(!self.waiting.ended.is_empty());
        self.set_timers();
        self.flush();
    }

    fn look_at_due(&mut self) -> bool {
        let Some(id) = self.due.pop_front() else { return false };
        // What it has said may wait unread, which is not its silence.
        if self.table.get(id).is_some_and(|conn| conn.behind && !conn.leaves()) {
            self.serve(id, None);
        }
        if let Some(conn) = self.table.get(id) {
            conn.check_deadline(&mut self.cx);
            self.settle(id);
        }
        true
    }

    /// Serves an ended connection, if not too many are on their way through the pipeline.
    fn part(&mut self) -> bool {
        if self.waiting.ended.is_empty() {
            return false;
        }
        let Some(turn) = self.cx.turnstile.leave() else { return false };
        let Some(id) = self.waiting.ended.pop_front() else { return false };
        self.serve(id, Some(turn));
        true
    }

    /// A command that waited for its turn. What stands behind it on its connection waits again.
    fn take_turn(&mut self) -> bool {
        let Some((id, frame)) = self.cx.turnstile.next(self.cx.now_ns) else { return false };
        let Some(conn) = self.table.get(id) else { return true };
        conn.pause = Pause::No;
        // Until now it was not read, which was not its silence.
        conn.heard = self.cx.tick;
        guard(conn, &mut self.cx, |conn, cx| {
            if conn.is_open() && cx.phase == phase::SERVING {
                // It waited here, not in the pipeline.
                conn.hand_over(Frame { received_ns: cx.now_ns, ..frame }, cx);
            }
        });
        self.waiting.add(conn);
        self.settle(id);
        true
    }

    /// Reads from a connection that waited and writes to it: why it waited, and whether its socket takes more again, is not
    /// remembered. `turn`: for the news of its end.
    fn serve(&mut self, id: ConnId, turn: Option<Turn>) {
        let Some(conn) = self.table.get(id) else { return };
        if turn.is_none() && conn.leaves() {
            // It ended while it waited.
            return self.waiting.ended.push_back(id);
        }
        conn.behind = false;
        self.cx.parting = turn;
        read(conn, true, &mut self.cx);
        conn.dirty = true;
        self.settle(id);
        self.cx.parting = None;
    }

    /// Writes to a connection, if that was not done yet, and drops it if it is dead.
    fn settle(&mut self, id: ConnId) {
        let Some(conn) = self.table.get(id) else { return };
        if mem::take(&mut conn.dirty) {
            conn.flush(&mut self.cx);
        }
        if conn.dead {
            self.bury(id);
        }
    }

    fn mail(&mut self) {
        self.cx.post.take(&mut self.inbox);
        let (mut done, mut notices) = (0, 0);
        // However many connections were answered at the door, mail gets on: it is what ends an overload.
        let writes = WRITES.max(self.cx.dirty.len() + WRITES / 4);
        while notices < NOTICES && self.cx.dirty.len() < writes {
            let Some(mail) = self.inbox.pop_front() else { break };
            match mail {
                Mail::Deliver { to, frame, class, later_for, position, since_ns, going } => {
                    let before = self.delivered;
                    let delivery = Held { frame, class, since_ns, position };
                    // Who has something already is written to once for all of it.
                    while let Some(recipient) = to.get(self.delivered)
                        && notices < NOTICES
                        && self.cx.dirty.len() < writes
                    {
                        self.deliver(recipient, &delivery, later_for);
                        self.delivered += 1;
                        notices += 1;
                    }
                    done += (self.delivered - before).max(usize::from(to.is_empty()));
                    if self.delivered < to.len() {
                        let frame = delivery.frame;
                        self.inbox.push_front(Mail::Deliver { to, frame, class, later_for, position, since_ns, going });
                        break;
                    }
                    self.delivered = 0;
                }
                Mail::Broadcast { group, frame, class, except, later_for, since_ns, going } => {
                    // One that is under way keeps its place in the mailbox until it is done.
                    let broadcast = Broadcast { frame, class, except, later_for, since_ns, going };
                    done += usize::from(!self.groups.broadcast(group, broadcast));
                }
                other => {
                    self.order(other);
                    notices += 1;
                    done += 1;
                }
            }
        }
        self.cx.post.free(done);
    }

    /// One delivery to one session, unless it waits for what the session missed.
    fn deliver(&mut self, to: &Recipient, delivery: &Held, later_for: Option<ConnId>) {
        match self.gates.pass(to.conn, &to.peer, delivery, self.cx.shared.options.outbox) {
            Passage::Kept => {}
            Passage::Full => {
                if let Some(conn) = self.table.get(to.conn) {
                    conn.close(SLOW_READER.0, SLOW_READER.1, &mut self.cx);
                }
            }
            Passage::Through => {
                let until_ns = self.hold(later_for, to.conn);
                self.table.notify(to.conn, &to.peer, &delivery.notice(until_ns), &mut self.cx);
            }
        }
    }

    /// A session knows what it missed: `first`, then what waited.
    fn lift(&mut self, conn: ConnId, peer: &ClientId, first: Vec<Bytes>, held: Vec<Held>, until_ns: u64) {
        for frame in &first {
            let notice = Notice { frame, class: Class::Missed, since_ns: 0, until_ns };
            self.table.notify(conn, peer, &notice, &mut self.cx);
        }
        for delivery in held {
            self.table.notify(conn, peer, &delivery.notice(until_ns), &mut self.cx);
        }
    }

    /// Until when a notice that `later_for`'s command caused is held back on `conn`; 0: not.
    fn hold(&self, later_for: Option<ConnId>, conn: ConnId) -> u64 {
        if later_for == Some(conn) { self.cx.now_ns + AFTER_REPLY.as_nanos() as u64 } else { 0 }
    }

    /// Mail about one connection.
    fn order(&mut self, mail: Mail) {
        let (table, cx) = (&mut self.table, &mut self.cx);
        match mail {
            Mail::Reply { conn, frame } => {
                if let Some(conn) = table.get(conn).filter(|conn| conn.is_open()) {
                    conn.push(frame, Kind::Reply, cx);
                }
            }
            Mail::Join { group, conn, peer } => table.join(group, conn, peer, &mut self.groups),
            Mail::Leave { group, conn, peer } => {
                table.leave(conn, &peer, |own| own == group, &mut self.groups);
            }
            Mail::LeaveAll { conn, peer, but } => {
                table.leave(conn, &peer, |own| Some(own) != but, &mut self.groups);
            }
            Mail::LoggedIn { conn, peer } => {
                if let Some(open) = table.get(conn) {
                    open.logged_in(peer.clone(), cx);
                    self.gates.shut(conn, peer, cx.now_ns);
                }
            }
            Mail::Lift { conn, peer, first, counted, delay } => {
                let Some(held) = self.gates.lift(conn, &peer, &counted, cx.now_ns) else { return };
                // With nothing to say first, nobody need wait longer.
                let delay = if first.is_empty() { AFTER_REPLY } else { delay };
                let until_ns = cx.now_ns + delay.as_nanos() as u64;
                self.lift(conn, &peer, first, held, until_ns);
            }
            Mail::LoggedOut { conn, still } => {
                if let Some(conn) = table.get(conn) {
                    conn.session = still;
                }
            }
            Mail::Alive { conn } => {
                if let Some(conn) = table.get(conn).filter(|conn| conn.is_guest()) {
                    conn.user = User::Alive;
                }
            }
            Mail::Close { conn, code, reason } => {
                if let Some(conn) = table.get(conn) {
                    conn.close(code, reason, cx);
                }
            }
            Mail::Deliver { .. } | Mail::Broadcast { .. } => {}
        }
    }

    fn walk(&mut self) {
        if !self.groups.is_busy() {
            return;
        }
        let (table, cx) = (&mut self.table, &mut self.cx);
        let later = cx.now_ns + AFTER_REPLY.as_nanos() as u64;
        let done = self.groups.walk(WALK, WALK_NOTICES, |conn, peer, broadcast| {
            let until_ns = if broadcast.later_for == Some(conn) { later } else { 0 };
            let Broadcast { frame, class, since_ns, .. } = broadcast;
            table.notify(conn, peer, &Notice { frame, class: *class, since_ns: *since_ns, until_ns }, cx);
        });
        self.cx.post.free(done);
    }

    fn release(&mut self) {
        while let Some(Reverse((until, id))) = self.cx.holds.peek().copied() {
            if until > self.cx.now_ns {
                break;
            }
            self.cx.holds.pop();
            if let Some(conn) = self.table.get(id) {
                conn.release(&mut self.cx);
            }
        }
    }

    fn look_at_deadlines(&mut self) {
        for ((conn, peer), held) in self.gates.expire(self.cx.now_ns) {
            self.lift(conn, &peer, Vec::new(), held, 0);
        }
        let mut due = Vec::new();
        self.wheel.advance(self.cx.tick.into(), &mut due);
        for id in due {
            let Some(conn) = self.table.get(id) else { continue };
            if conn.may_wait() {
                self.due.push_back(id);
                continue;
            }
            conn.check_deadline(&mut self.cx);
            if conn.dead {
                self.bury(id);
            }
        }
        self.set_timers();
    }

    fn set_timers(&mut self) {
        for (tick, id) in self.cx.timers.drain(..) {
            self.wheel.set(tick.into(), id);
        }
    }

    fn flush(&mut self) {
        if self.cx.dirty.is_empty() {
            return;
        }
        // Deliveries are measured to here: just before they are written.
        self.cx.now_ns = (self.cx.shared.options.clock)();
        for id in mem::take(&mut self.cx.dirty) {
            self.settle(id);
        }
        self.set_timers();
    }

    fn bury(&mut self, id: ConnId) {
        if let Some(mut conn) = self.table.bury(id, &mut self.groups) {
            conn.tell_closed(1006, false, &mut self.cx);
            forget(&self.poll, &mut conn, &self.cx);
        }
    }

    /// Says goodbye to everybody, without waiting for anybody.
    fn stop(&mut self) {
        for id in self.table.ids() {
            let Some(conn) = self.table.get(id) else { continue };
            conn.close(1001, "going away", &mut self.cx);
            conn.flush(&mut self.cx);
            conn.dead = true;
            self.bury(id);
        }
    }
}

fn read(conn: &mut Conn, thorough: bool, cx: &mut Context) {
    guard(conn, cx, |conn, cx| conn.readable(thorough, cx));
}

/// A panic in what came from a connection (a parser's, the door's) costs that connection and no other.
fn guard(conn: &mut Conn, cx: &mut Context, read: impl FnOnce(&mut Conn, &mut Context)) {
    let id = conn.id;
    // What a panic may leave half done is the connection, which is dropped, and the buffers, which are made anew.
    let done = panic::catch_unwind(AssertUnwindSafe(|| read(&mut *conn, &mut *cx)));
    if done.is_err() {
        log::error!("{id}: reading from it panicked; it is closed");
        cx.raw = vec![0; READ_BUFFER];
        conn.broken(cx);
    }
}

fn forget(poll: &Poll, conn: &mut Conn, cx: &Context) {
    if let Err(error) = poll.registry().deregister(&mut conn.socket) {
        log::debug!("{}: cannot take its socket off the poll: {error}", conn.id);
    }
    add(&cx.post.counters.connections, u64::MAX);
    if conn.blocked {
        add(&cx.post.counters.blocked, u64::MAX);
    }
    cx.shared.open.fetch_sub(1, SeqCst);
}
