//! Many clients on one thread: they connect, log in, send and listen, and nobody waits for anybody.
//!
//! Clients are numbered from 0; `per_connection` neighbours share a connection. Names are made of the run and the
//! number when they are needed, as a million of them would be memory. Owns the poll; knows nothing of scenarios.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use tidegate_protocol::wire::{CommandType, GenericCommand, OpType};

use crate::args::Target;
use crate::clock::{SECOND, now};
use crate::conn::{Conn, Opening};
use crate::{Failure, limits, names, tls, wire};

const TIMER: Token = Token(usize::MAX);
/// Log-ins of one connection that are under way at once.
const OPENS: u32 = 32;
/// Who is refused because the server has too much to do, tries again so much later.
pub const AGAIN: u64 = SECOND / 10;
/// That refusal.
pub const TOO_MUCH: i32 = 4116;
/// The `i` of a connection's log-ins begins here, below all others.
const LOG_INS: i32 = i32::MIN;

/// What a client heard.
#[derive(Debug)]
pub enum Heard<'a> {
    /// It is logged in; `since` is when its connection should have been opened.
    In { since: u64 },
    /// Its message was acknowledged, or refused with a code.
    Ack { i: i32, code: Option<i32> },
    /// A message of somebody's: the text, and the server's time in milliseconds.
    Message { text: &'a [u8], time: i64 },
    /// Another command was answered; the whole frame.
    Reply { i: i32, frame: &'a [u8] },
    /// Another command was refused.
    Refused { i: i32, code: i32 },
}

/// Reads the number of a client's message back from its `i`.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    per: u32,
}

impl Numbers {
    pub fn of(self, i: i32) -> u32 {
        (i as u32).wrapping_sub(1) / self.per
    }
}

/// One connection and the clients behind it.
struct Seat {
    conn: Option<Conn>,
    /// When it should have been opened.
    since: u64,
    /// Log-ins sent and answered since then.
    asked: u32,
    opened: u32,
    dirty: bool,
}

/// Heartbeats, spread over the connections. A server closes whoever is silent for long, and who only listens is silent.
struct Beat {
    next: usize,
    at: u64,
    every: u64,
}

impl Beat {
    /// The connection whose turn it is by `now`, of so many.
    fn due(&mut self, now: u64, connections: usize) -> Option<usize> {
        if now < self.at || connections == 0 {
            return None;
        }
        let connection = self.next % connections;
        self.next = connection + 1;
        self.at += (self.every / connections as u64).max(1);
        Some(connection)
    }
}

pub struct Fleet {
    address: SocketAddr,
    app: String,
    host: Option<String>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    scratch: Vec<u8>,
    seats: Vec<Seat>,
    /// Connections of other processes, which have the source addresses before ours.
    before: usize,
    /// Whose heartbeat is next, when, and how long a connection waits for its own again.
    beat: Beat,
    dirty: Vec<usize>,
    clients: u32,
    per: u32,
    prefix: String,
    /// Tokens of clients that shall come back, where they shall.
    tokens: Option<Vec<Option<String>>>,
    /// Log-ins that were put off, and until when.
    again: VecDeque<(u64, u32)>,
    /// Clients logged in.
    pub inside: u32,
    /// Log-ins that were put off (the server had too much to do; they try again) and those that were refused, and
    /// connections that ended by themselves, with what the last one said.
    pub put_off: u64,
    pub refused: u64,
    pub closed: u64,
    pub why: Option<String>,
}

impl Fleet {
    /// Nobody is connected yet.
    pub fn new(target: &Target, clients: u32) -> Result<Fleet, Failure> {
        Fleet::named(target, clients, names::fresh())
    }

    /// With names that a later run can use again.
    pub fn named(target: &Target, clients: u32, prefix: String) -> Result<Fleet, Failure> {
        let address = target.address();
        let per = target.per_connection;
        let connections = clients.div_ceil(per) as usize;
        limits::room_for(connections)?;
        let tls = target.transport.is_tls().then(|| tls::config(target)).transpose()?;
        let poll = Poll::new().map_err(Failure::because)?;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)
            .map_err(|error| Failure::because(io::Error::from(error)))?;
        poll.registry()
            .register(&mut mio::unix::SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)
            .map_err(Failure::because)?;
        let seat = || Seat { conn: None, since: 0, asked: 0, opened: 0, dirty: false };
        Ok(Fleet {
            address,
            app: target.app.clone(),
            host: target.transport.is_ws().then(|| address.to_string()),
            tls: tls.map(|config| (config, tls::name(address.ip()))),
            poll,
            events: Events::with_capacity(1024),
            timer,
            scratch: vec![0; 256 << 10],
            seats: (0..connections).map(|_| seat()).collect(),
            before: 0,
            beat: Beat { next: 0, at: now(), every: target.heartbeat * SECOND },
            dirty: Vec::new(),
            clients,
            per,
            prefix,
            tokens: None,
            inside: 0,
            again: VecDeque::new(),
            put_off: 0,
            refused: 0,
            closed: 0,
            why: None,
        })
    }

    /// So many connections of other processes take the source addresses before these.
    pub fn behind(self, before: usize) -> Fleet {
        Fleet { before, ..self }
    }

    /// Clients will come back with their tokens, as SDKs do.
    pub fn keep_tokens(&mut self) {
        self.tokens = Some(vec![None; self.clients as usize]);
    }

    pub fn clients(&self) -> u32 {
        self.clients
    }

    pub fn connections(&self) -> usize {
        self.seats.len()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether all clients of a connection are logged in.
    pub fn is_full(&self, seat: usize) -> bool {
        self.seats[seat].opened >= self.per.min(self.clients - seat as u32 * self.per)
    }

    /// The connection of a client.
    pub fn seat_of(&self, client: u32) -> usize {
        (client / self.per) as usize
    }

    pub fn name(&self, client: u32) -> String {
        names::name(&self.prefix, client)
    }

    /// The `i` of a client's `number`th message: unique on its connection, and positive.
    pub fn i(&self, client: u32, number: u32) -> i32 {
        (i64::from(number) * i64::from(self.per) + i64::from(client % self.per) + 1) as i32 & i32::MAX
    }

    /// What reads the numbers back.
    pub fn numbers(&self) -> Numbers {
        Numbers { per: self.per }
    }

    /// Opens a connection that should have been opened at `since`; its clients log in as soon as they can.
    pub fn begin(&mut self, seat: usize, since: u64) -> Result<(), Failure> {
        let socket = self.connect(seat).map_err(|error| self.cannot_connect(&error))?;
        let mut socket = mio::net::TcpStream::from_std(socket.into());
        self.poll
            .registry()
            .register(&mut socket, Token(seat), Interest::READABLE | Interest::WRITABLE)
            .map_err(Failure::because)?;
        let opening = Opening { tls: self.tls.as_ref().map(|(config, name)| (config, name)), ws: self.host.as_deref() };
        let conn = Conn::new(socket, opening).map_err(Failure::because)?;
        self.seats[seat] = Seat { conn: Some(conn), since, asked: 0, opened: 0, dirty: false };
        self.log_in(seat);
        self.touch(seat);
        Ok(())
    }

    fn connect(&self, seat: usize) -> io::Result<Socket> {
        let domain = if self.address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // Reset at the end: no port waits for the next run.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(source) = limits::source(self.address.ip(), self.before + seat) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
            _ => Ok(socket),
        }
    }

    fn cannot_connect(&self, error: &io::Error) -> Failure {
        let open = self.seats.iter().filter(|seat| seat.conn.is_some()).count();
        let hint = match error.kind() {
            ErrorKind::AddrNotAvailable => {
                "; this machine has no port left: use --per-connection, or a second machine".to_owned()
            }
            ErrorKind::ConnectionRefused => self.is_it_running(),
            _ if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                "; raise the limit of open files (ulimit -n)".to_owned()
            }
            _ => String::new(),
        };
        Failure::because(format!("{}: {error}, {open} connections were open{hint}", self.address))
    }

    pub fn is_it_running(&self) -> String {
        format!(" (is the server running, and app {} there?)", self.app)
    }

    /// Ends a connection as a broken line does.
    pub fn cut(&mut self, seat: usize) {
        if let Some(conn) = self.seats[seat].conn.take() {
            self.inside -= self.seats[seat].opened;
            self.seats[seat].opened = 0;
            drop(conn);
        }
    }

    /// Bytes that wait for the server to read them.
    pub fn backlog(&self, client: u32) -> usize {
        self.seats[self.seat_of(client)].conn.as_ref().map_or(0, Conn::backlog)
    }

    /// Whether the client's connection is there.
    pub fn is_open(&self, client: u32) -> bool {
        self.seats[self.seat_of(client)].conn.is_some()
    }

    /// A command, which leaves with the next turn.
    pub fn send(&mut self, client: u32, command: &GenericCommand) {
        let seat = self.seat_of(client);
        if let Some(conn) = &mut self.seats[seat].conn {
            conn.push(command);
            self.touch(seat);
        }
    }

    fn touch(&mut self, seat: usize) {
        if !std::mem::replace(&mut self.seats[seat].dirty, true) {
            self.dirty.push(seat);
        }
    }

    /// Sends the log-ins that may be under way.
    fn log_in(&mut self, at: usize) {
        let first = at as u32 * self.per;
        let all = self.per.min(self.clients - first);
        let seat = &mut self.seats[at];
        let Some(conn) = seat.conn.as_mut().filter(|conn| conn.is_ready()) else { return };
        while seat.asked < all && seat.asked < seat.opened + OPENS {
            let client = first + seat.asked;
            let token = self.tokens.as_ref().and_then(|tokens| tokens[client as usize].clone());
            let i = LOG_INS + seat.asked as i32;
            conn.push(&wire::open(&self.app, names::name(&self.prefix, client), i, token));
            seat.asked += 1;
        }
        if !std::mem::replace(&mut self.seats[at].dirty, true) {
            self.dirty.push(at);
        }
    }

    /// Sends the log-ins again whose time has come.
    fn log_in_again(&mut self, at: u64) {
        while let Some((_, client)) = self.again.pop_front_if(|(when, _)| *when <= at) {
            let token = self.tokens.as_ref().and_then(|tokens| tokens[client as usize].clone());
            let i = LOG_INS + (client % self.per) as i32;
            let command = wire::open(&self.app, self.name(client), i, token);
            self.send(client, &command);
        }
    }

    /// Writes what waits, sleeps until something comes or `until` is there, and hands over what came, with the time at
    /// which it was read.
    pub fn turn(&mut self, until: u64, mut on: impl FnMut(u32, Heard, u64)) -> Result<(), Failure> {
        if !self.again.is_empty() {
            self.log_in_again(now());
        }
        while let Some(seat) = self.beat.due(now(), self.seats.len()) {
            // Its answer has no `i`, so it is nobody's.
            if self.seats[seat].conn.as_ref().is_some_and(Conn::is_ready) {
                self.send(seat as u32 * self.per, &wire::heartbeat());
            }
        }
        self.flush();
        let until = self.again.front().map_or(until, |(when, _)| until.min(*when)).min(self.beat.at);
        let wait = until.saturating_sub(now());
        let wait = if wait == 0 {
            Some(Duration::ZERO)
        } else {
            let at = Timespec { tv_sec: (wait / SECOND) as i64, tv_nsec: (wait % SECOND) as i64 };
            let timer = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
            rustix::time::timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::empty(), &timer)
                .map_err(|error| Failure::because(io::Error::from(error)))?;
            None
        };
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(Failure::because(error)),
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in events.iter().filter(|event| event.token() != TIMER) {
            let at = event.token().0;
            if event.is_readable() || event.is_read_closed() {
                self.listen(at, &mut on);
            }
            if event.is_writable() && self.seats[at].conn.as_ref().is_some_and(|conn| conn.backlog() > 0) {
                self.touch(at);
            }
        }
        self.events = events;
        Ok(())
    }

    fn listen(&mut self, at: usize, on: &mut impl FnMut(u32, Heard, u64)) {
        let Seat { conn: Some(conn), since, .. } = &mut self.seats[at] else { return };
        let (first, per, since, at_time) = (at as u32 * self.per, self.per, *since, now());
        let (mut opened, mut refused, mut why) = (0, 0, None);
        let (tokens, again) = (&mut self.tokens, &mut self.again);
        let mut put_off = 0;
        let result = conn.read(&mut self.scratch, |frame| {
            let Some(head) = wire::head(frame) else { return };
            let number = if per == 1 { Some(first) } else { names::number(head.peer) };
            // Other sessions' news, and what concerns the whole connection, is nobody's.
            let Some(client) = number.filter(|client| (first..first + per).contains(client)) else { return };
            let heard = match head.cmd as i32 {
                DIRECT => match wire::delivered(head.body) {
                    Some((text, time)) => Heard::Message { text, time },
                    None => return,
                },
                ACK => match head.i {
                    Some(i) => Heard::Ack { i, code: wire::code(head.body) },
                    None => return,
                },
                SESSION if head.op as i32 == OpType::Opened as i32 => {
                    opened += 1;
                    if let Some(tokens) = tokens {
                        tokens[client as usize] = wire::token(frame);
                    }
                    Heard::In { since }
                }
                ERROR => match head.i {
                    Some(i) => {
                        let code = wire::code(head.body).unwrap_or(0);
                        if i < LOG_INS / 2 && code == TOO_MUCH {
                            put_off += 1;
                            again.push_back((at_time + AGAIN, client));
                        } else if i < LOG_INS / 2 {
                            refused += 1;
                            why = Some(format!("a log-in was refused with {code}"));
                        }
                        Heard::Refused { i, code }
                    }
                    None => return,
                },
                _ => match head.i {
                    Some(i) => Heard::Reply { i, frame },
                    None => return,
                },
            };
            on(client, heard, at_time);
        });
        let pending = conn.backlog() > 0;
        // TLS has answers of its own to give.
        let shake = self.tls.is_some() && self.seats[at].opened == 0;
        self.seats[at].opened += opened;
        self.inside += opened;
        self.refused += refused;
        self.put_off += put_off;
        if why.is_some() {
            self.why = why;
        }
        match result {
            Ok(()) => {
                let all = self.per.min(self.clients - first);
                if self.seats[at].asked < all {
                    self.log_in(at);
                }
                if pending || shake {
                    self.touch(at);
                }
            }
            Err(error) => self.lost(at, &error),
        }
    }

    fn lost(&mut self, at: usize, error: &io::Error) {
        self.closed += 1;
        self.why = Some(error.to_string());
        self.cut(at);
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for at in dirty.drain(..) {
            self.seats[at].dirty = false;
            if let Some(Err(error)) = self.seats[at].conn.as_mut().map(Conn::flush) {
                self.lost(at, &error);
            }
        }
        self.dirty = dirty;
    }
}

const SESSION: i32 = CommandType::Session as i32;
const DIRECT: i32 = CommandType::Direct as i32;
const ACK: i32 = CommandType::Ack as i32;
const ERROR: i32 = CommandType::Error as i32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_beats_once_in_its_time() {
        let mut beat = Beat { next: 0, at: 100, every: 30 };
        let mut due = |now| std::iter::from_fn(|| beat.due(now, 3)).collect::<Vec<_>>();
        assert!(due(99).is_empty());
        assert_eq!(due(100), [0]);
        assert_eq!(due(125), [1, 2]);
        assert_eq!(due(160), [0, 1, 2, 0], "what was missed is made up for");
        assert_eq!(Beat { next: 0, at: 0, every: 1 }.due(5, 0), None);
    }
}
