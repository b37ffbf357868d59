//! An open-loop crowd: many users on connections of their own, sending when chance wants and not when they were
//! answered. Each message is counted from when it should have been sent, so that a stall is counted against all that it
//! held up.
//!
//! One thread, one poll. Knows the wire as far as a log-in, a conversation and a message.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use fastrand::Rng;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use prost::Message as _;
use tidegate_protocol::wire::*;

use super::client::{body, command, direct_command, refusal, some};
use super::{APP, PATIENCE, Server};

pub struct Crowd {
    /// Whether each message has a `dt`, by which it would be known when it is sent again.
    pub dedupes: bool,
    /// The share of what is sent that asks for a page of history instead. What comes of it is in no outcome.
    pub asks: f64,
    /// Whether it leaves its processor to others until the next is due. An answer may then be seen up to a millisecond
    /// late; else it looks for them all the time.
    pub rests: bool,
    users: Vec<User>,
    poll: Poll,
    random: Rng,
    begun: Instant,
}

struct User {
    id: String,
    cid: String,
    socket: TcpStream,
    read: Vec<u8>,
    unsent: Vec<u8>,
    next: i32,
    /// By `i`: the place among the outcomes.
    waiting: HashMap<i32, usize>,
}

/// What became of one message. Times in seconds since the crowd began.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub user: usize,
    pub transient: bool,
    pub at: f64,
    /// 0 while there is no answer.
    pub answered: f64,
    /// 0 for one that was taken.
    pub code: i32,
}

impl Sent {
    pub fn is_in(&self) -> bool {
        self.answered > 0.0 && self.code == 0
    }

    pub fn ms(&self) -> f64 {
        (self.answered - self.at) * 1e3
    }
}

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Messages a second, of all users.
    pub rate: f64,
    pub seconds: f64,
    /// How many of them are transient.
    pub transient: f64,
    /// How many come from the first user, beyond everybody's.
    pub hot: f64,
}

impl Crowd {
    /// Logs them in, each with a conversation of its own in which the next one is.
    pub fn enter(server: &Server, users: usize, seed: u64) -> Crowd {
        Crowd::enter_as("user", server, users, seed)
    }

    /// The same; `name` is what their ids begin with.
    pub fn enter_as(name: &str, server: &Server, users: usize, seed: u64) -> Crowd {
        let poll = Poll::new().unwrap();
        let mut all: Vec<User> = (0..users).map(|n| User::connect(server, format!("{name}-{n}"))).collect();
        for (n, user) in all.iter_mut().enumerate() {
            user.open();
            user.start(&format!("{name}-{}", (n + 1) % users));
            poll.registry().register(&mut user.socket, Token(n), Interest::READABLE).unwrap();
        }
        let (random, begun) = (Rng::with_seed(seed), Instant::now());
        Crowd { dedupes: false, asks: 0.0, rests: false, users: all, poll, random, begun }
    }

    /// From now on all of them send there.
    pub fn gather(&mut self, cid: &str) {
        self.users.iter_mut().for_each(|user| user.cid = cid.to_owned());
    }

    /// Seconds since they have come.
    pub fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Sends for a while, and then waits for what is missing.
    pub fn send(&mut self, load: Load) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        let (mut events, begin) = (Events::with_capacity(1024), self.now());
        let mut next = begin;
        let end = begin + load.seconds;
        let mut missing = 0;
        loop {
            let now = self.now();
            while next <= now.min(end) {
                let hot = self.random.f64() < load.hot;
                let user = if hot { 0 } else { self.random.usize(..self.users.len()) };
                if self.asks > 0.0 && self.random.f64() < self.asks {
                    self.users[user].look_back();
                } else {
                    let transient = self.random.f64() < load.transient;
                    self.users[user].post(transient, self.dedupes, sent.len());
                    sent.push(Sent { user, transient, at: next, answered: 0.0, code: 0 });
                    missing += 1;
                }
                next += -(1.0 - self.random.f64()).ln() / load.rate;
            }
            if now > end && (missing == 0 || now > end + PATIENCE.as_secs_f64()) {
                return sent;
            }
            let left = Duration::from_secs_f64((next - now).clamp(0.0, 0.05));
            // The poll's clock ticks in milliseconds; for less, it is only looked at.
            let is_soon = left < Duration::from_millis(1) && next < end;
            if is_soon && self.rests {
                std::thread::sleep(left);
            }
            let left = if is_soon { Duration::ZERO } else { left };
            self.poll.poll(&mut events, Some(left)).unwrap();
            for event in events.iter() {
                let user = &mut self.users[event.token().0];
                user.receive();
                while let Some(came) = user.next_command() {
                    let Some(place) = came.i.and_then(|i| user.waiting.remove(&i)) else { continue };
                    sent[place].answered = self.begun.elapsed().as_secs_f64();
                    sent[place].code = refusal(&came).map_or(0, |refused| refused.code);
                    missing -= 1;
                }
            }
            self.users.iter_mut().filter(|user| !user.unsent.is_empty()).for_each(User::flush);
        }
    }
}

impl User {
    fn connect(server: &Server, id: String) -> User {
        let socket = std::net::TcpStream::connect(server.tcp()).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        User {
            id,
            cid: String::new(),
            socket: TcpStream::from_std(socket),
            read: Vec::new(),
            unsent: Vec::new(),
            next: 0,
            waiting: HashMap::new(),
        }
    }

    fn open(&mut self) {
        let mut open = command(CommandType::Session, Some(OpType::Open));
        open.app_id = some(APP);
        open.session_message = Some(Box::new(SessionCommand { ua: some("crowd"), ..SessionCommand::default() }));
        self.ask(open);
    }

    fn start(&mut self, other: &str) {
        let mut start = command(CommandType::Conv, Some(OpType::Start));
        start.conv_message = Some(Box::new(ConvCommand { m: vec![other.to_owned()], ..ConvCommand::default() }));
        self.cid = self.ask(start).conv_message.unwrap().cid.unwrap();
    }

    fn ask(&mut self, ask: GenericCommand) -> GenericCommand {
        let (i, until) = (self.put(ask), Instant::now() + PATIENCE);
        while Instant::now() < until {
            self.flush();
            self.receive();
            while let Some(came) = self.next_command() {
                if came.i == Some(i) {
                    assert!(refusal(&came).is_none(), "{came:?}");
                    return came;
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{} has no answer", self.id);
    }

    fn post(&mut self, transient: bool, dedupes: bool, place: usize) {
        let transient = transient.then_some(true);
        let words = body(&"x".repeat(100));
        let dt = dedupes.then(|| format!("{}-{}", self.id, self.next));
        let i = self.put(direct_command(DirectCommand {
            cid: some(&self.cid),
            msg: words,
            transient,
            dt,
            ..DirectCommand::default()
        }));
        self.waiting.insert(i, place);
        self.flush();
    }

    /// Asks for the newest messages of its conversation.
    fn look_back(&mut self) {
        let mut ask = command(CommandType::Logs, None);
        ask.logs_message =
            Some(Box::new(LogsCommand { cid: some(&self.cid), limit: Some(10), ..LogsCommand::default() }));
        self.put(ask);
        self.flush();
    }

    fn put(&mut self, mut ask: GenericCommand) -> i32 {
        self.next += 1;
        ask.i = Some(self.next);
        ask.peer_id = some(&self.id);
        ask.encode_length_delimited(&mut self.unsent).unwrap();
        self.next
    }

    fn flush(&mut self) {
        match self.socket.write(&self.unsent) {
            Ok(n) => drop(self.unsent.drain(..n)),
            Err(full) if full.kind() == ErrorKind::WouldBlock => {}
            Err(gone) => panic!("{} lost its connection: {gone}", self.id),
        }
    }

    fn receive(&mut self) {
        let mut part = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut part) {
                Ok(0) => panic!("{} was closed", self.id),
                Ok(n) => self.read.extend_from_slice(&part[..n]),
                Err(none) if none.kind() == ErrorKind::WouldBlock => return,
                Err(gone) => panic!("{} lost its connection: {gone}", self.id),
            }
        }
    }

    fn next_command(&mut self) -> Option<GenericCommand> {
        let mut rest = &self.read[..];
        let length = prost::encoding::decode_varint(&mut rest).ok()? as usize;
        let frame = rest.get(..length)?;
        let came = GenericCommand::decode(frame).unwrap();
        let used = self.read.len() - rest.len() + length;
        self.read.drain(..used);
        Some(came)
    }
}

/// What a quantile of them is; 0 when there are none.
pub fn quantile(mut all: Vec<f64>, quantile: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let at = ((all.len() as f64 * quantile) as usize).min(all.len().saturating_sub(1));
    all.get(at).copied().unwrap_or(0.0)
}

/// Jain's index: 1 when all are the same.
pub fn jain(each: &[f64]) -> f64 {
    let sum: f64 = each.iter().sum();
    sum * sum / (each.len() as f64 * each.iter().map(|x| x * x).sum::<f64>()).max(1.0)
}
