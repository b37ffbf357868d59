//! The load beside a fault: one thread with one poll, so that it takes little of the processors that the server is judged
//! on. Closed (each keeps so many unanswered) or paced (so many a second, in steps of some milliseconds).

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use prost::Message as _;
use tidegate_protocol::wire::*;

use crate::common::client::{body, command, direct_command, refusal, some, strings};
use crate::common::{PATIENCE, Server};

/// What each of them does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// Sends a message of so many bytes to its conversation.
    Say {
        bytes: usize,
        transient: bool,
    },
    Echo,
    /// Asks who is online.
    Online,
    /// Asks for conversations by a condition that none meets, so that all are looked at.
    Query,
    /// Asks for a page of its conversation's history.
    History,
}

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each keeps so many unanswered.
    Window(usize),
    /// So many a second, of all of them together.
    PerSecond(usize),
}

/// How often a paced load sends what is due.
const STEP: Duration = Duration::from_millis(4);
/// After a refusal.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Fleet {
    peers: Vec<Peer>,
    poll: Poll,
}

/// One logged-in connection.
pub struct Peer {
    id: String,
    app: String,
    pub cid: String,
    pub socket: TcpStream,
    read: Vec<u8>,
    unsent: Vec<u8>,
    next: i32,
    open: usize,
    not_before: Instant,
}

impl Fleet {
    pub fn enter(server: &Server, app: &str, count: usize, prefix: &str) -> Fleet {
        let poll = Poll::new().unwrap();
        let peers = (0..count).map(|n| Peer::enter(server.tcp(), app, &format!("{prefix}{n}"), None)).collect();
        Fleet { peers, poll }
    }

    /// Each starts a conversation of its own, with `others` and a number of clients who are not there.
    pub fn start_each(&mut self, others: &[&str], absent: usize) {
        let absent: Vec<String> = (0..absent).map(|n| format!("absent-{n}")).collect();
        let members: Vec<&str> = others.iter().copied().chain(absent.iter().map(String::as_str)).collect();
        self.peers.iter_mut().for_each(|peer| drop(peer.start(&members, false)));
    }

    /// The first `share` of them talk in the first one's conversation.
    pub fn share_one(&mut self, share: f64) {
        let ids: Vec<String> = self.peers.iter().map(|peer| peer.id.clone()).collect();
        let members: Vec<&str> = ids.iter().map(String::as_str).collect();
        let cid = self.peers[0].start(&members, false);
        let hot = (self.peers.len() as f64 * share).ceil() as usize;
        self.peers.iter_mut().take(hot).for_each(|peer| peer.cid = cid.clone());
    }

    /// A room that nobody is in yet; all of them will talk in it.
    pub fn room(&mut self) -> String {
        let cid = self.peers[0].start(&[], true);
        self.peers.iter_mut().for_each(|peer| {
            peer.cid = cid.clone();
            peer.join();
        });
        cid
    }

    /// Conversations to be looked through.
    pub fn conversations(&mut self, count: usize) {
        let peer = &mut self.peers[0];
        for _ in 0..count / 50 {
            let asked: Vec<i32> = (0..50).map(|_| peer.put(start(&["somebody"], false))).collect();
            peer.answers(&asked);
        }
    }

    /// Each says so much to its conversation first, so that there is a history.
    pub fn talk(&mut self, messages: usize) {
        for peer in &mut self.peers {
            let act = Act::Say { bytes: 100, transient: false };
            let asked: Vec<i32> = (0..messages).map(|_| peer.put(peer.act(act))).collect();
            peer.answers(&asked);
        }
    }

    /// Goes on until it is told to stop.
    pub fn run(mut self, act: Act, pace: Pace, stop: &AtomicBool) {
        let (mut events, begun, mut sent) = (Events::with_capacity(1024), Instant::now(), 0);
        for (n, peer) in self.peers.iter_mut().enumerate() {
            self.poll.registry().register(&mut peer.socket, Token(n), Interest::READABLE).unwrap();
        }
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            match pace {
                Pace::Window(window) => {
                    for peer in self.peers.iter_mut().filter(|peer| peer.not_before <= now) {
                        while peer.open < window {
                            peer.post(act);
                        }
                    }
                }
                Pace::PerSecond(rate) => {
                    let due = (begun.elapsed().as_secs_f64() * rate as f64) as usize;
                    let count = self.peers.len();
                    for n in sent..due {
                        self.peers[n % count].post(act);
                    }
                    sent = due.max(sent);
                }
            }
            self.peers.iter_mut().for_each(Peer::flush);
            self.poll.poll(&mut events, Some(STEP)).unwrap();
            for event in events.iter() {
                let peer = &mut self.peers[event.token().0];
                peer.receive();
                while let Some(came) = peer.next_command() {
                    if came.i.is_some() {
                        peer.open = peer.open.saturating_sub(1);
                        if refusal(&came).is_some() {
                            peer.not_before = Instant::now() + PAUSE;
                        }
                    }
                }
            }
            // A paced load is looked after once a step, whatever comes.
            if let Pace::PerSecond(_) = pace {
                std::thread::sleep(STEP.saturating_sub(now.elapsed()));
            }
        }
    }
}

/// Connections that hear, and say nothing.
pub struct Listeners {
    peers: Vec<Peer>,
}

impl Listeners {
    /// `buffer`: what the system may keep for each until it is read, in bytes; `None`: as much as it likes.
    pub fn enter(server: &Server, app: &str, count: usize, buffer: Option<usize>) -> Listeners {
        let enter = |n| Peer::enter(server.tcp(), app, &format!("listener-{n}"), buffer);
        Listeners { peers: (0..count).map(enter).collect() }
    }

    pub fn ids(&self) -> Vec<String> {
        self.peers.iter().map(|peer| peer.id.clone()).collect()
    }

    pub fn join(&mut self, room: &str) {
        for peer in &mut self.peers {
            peer.cid = room.to_owned();
            peer.join();
        }
    }

    /// Reads on, all of them every so often; the last `slow` of them no more than `bytes` each time.
    pub fn run(mut self, every: Duration, slow: usize, bytes: usize, stop: &AtomicBool) {
        let quick = self.peers.len() - slow;
        let mut room = vec![0; 1 << 20];
        while !stop.load(Ordering::Relaxed) {
            for (n, peer) in self.peers.iter_mut().enumerate() {
                if n < quick {
                    while matches!(peer.socket.read(&mut room), Ok(n) if n == room.len()) {}
                } else if bytes > 0 {
                    let _ = peer.socket.read(&mut room[..bytes]);
                }
            }
            std::thread::sleep(every);
        }
    }
}

fn start(members: &[&str], room: bool) -> GenericCommand {
    let mut start = command(CommandType::Conv, Some(OpType::Start));
    let conv = ConvCommand { m: strings(members), transient: room.then_some(true), ..ConvCommand::default() };
    start.conv_message = Some(Box::new(conv));
    start
}

impl Peer {
    fn enter(to: SocketAddr, app: &str, id: &str, buffer: Option<usize>) -> Peer {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer).unwrap();
        }
        socket.connect(&to.into()).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut peer = Peer {
            id: id.to_owned(),
            app: app.to_owned(),
            cid: String::new(),
            socket: TcpStream::from_std(socket.into()),
            read: Vec::new(),
            unsent: Vec::new(),
            next: 0,
            open: 0,
            not_before: Instant::now(),
        };
        let mut open = command(CommandType::Session, Some(OpType::Open));
        open.app_id = some(&peer.app);
        open.session_message = Some(Box::new(SessionCommand { ua: some("attribution"), ..SessionCommand::default() }));
        peer.ask(open);
        peer
    }

    fn start(&mut self, members: &[&str], room: bool) -> String {
        let answer = self.ask(start(members, room));
        self.cid = answer.conv_message.unwrap().cid.unwrap();
        self.cid.clone()
    }

    fn join(&mut self) {
        let mut join = command(CommandType::Conv, Some(OpType::Add));
        let (cid, m) = (some(&self.cid), vec![self.id.clone()]);
        join.conv_message = Some(Box::new(ConvCommand { cid, m, ..ConvCommand::default() }));
        self.ask(join);
    }

    fn act(&self, act: Act) -> GenericCommand {
        match act {
            Act::Say { bytes, transient } => direct_command(DirectCommand {
                cid: some(&self.cid),
                msg: body(&"x".repeat(bytes)),
                transient: transient.then_some(true),
                ..DirectCommand::default()
            }),
            Act::Echo => command(CommandType::Echo, None),
            Act::Online => {
                let mut ask = command(CommandType::Session, Some(OpType::Query));
                let session = SessionCommand { session_peer_ids: strings(&["nobody"]), ..SessionCommand::default() };
                ask.session_message = Some(Box::new(session));
                ask
            }
            Act::Query => {
                let mut ask = command(CommandType::Conv, Some(OpType::Query));
                let filter = Some(JsonObjectMessage { data: r#"{"name":{"$regex":"not.*there"}}"#.to_owned() });
                let conv = ConvCommand { r#where: filter, limit: Some(10), ..ConvCommand::default() };
                ask.conv_message = Some(Box::new(conv));
                ask
            }
            Act::History => {
                let mut ask = command(CommandType::Logs, None);
                let logs = LogsCommand { cid: some(&self.cid), limit: Some(10), ..LogsCommand::default() };
                ask.logs_message = Some(Box::new(logs));
                ask
            }
        }
    }

    fn post(&mut self, act: Act) {
        let ask = self.act(act);
        self.put(ask);
        self.open += 1;
    }

    fn put(&mut self, mut ask: GenericCommand) -> i32 {
        self.next += 1;
        ask.i = Some(self.next);
        ask.peer_id = some(&self.id);
        ask.encode_length_delimited(&mut self.unsent).unwrap();
        self.next
    }

    fn ask(&mut self, ask: GenericCommand) -> GenericCommand {
        let i = self.put(ask);
        self.answers(&[i]).pop().unwrap()
    }

    /// Waits for all of them.
    fn answers(&mut self, asked: &[i32]) -> Vec<GenericCommand> {
        let (mut answers, until) = (Vec::new(), Instant::now() + PATIENCE);
        while Instant::now() < until {
            self.flush();
            self.receive();
            while let Some(came) = self.next_command() {
                if came.i.is_some_and(|i| asked.contains(&i)) {
                    assert!(refusal(&came).is_none(), "{came:?}");
                    answers.push(came);
                }
            }
            if answers.len() == asked.len() {
                return answers;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        panic!("{} has {} answers of {}", self.id, answers.len(), asked.len());
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(full) if full.kind() == ErrorKind::WouldBlock => return,
                Err(gone) => panic!("{} lost its connection: {gone}", self.id),
            }
        }
    }

    fn receive(&mut self) {
        let mut part = [0; 64 * 1024];
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
