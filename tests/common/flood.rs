//! A flood: connections that say the same again and again, as fast as one thread can; and a sink that swallows a flood and
//! does nothing else, so that what the flood itself takes of the machine can be told from what the server makes of it.
//!
//! Nobody here waits for an answer before saying the next: the bytes are the same whoever takes them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustix::thread::CpuSet;
use socket2::{Domain, Socket, Type};

/// One kind of flood.
pub struct Flood {
    pub to: To,
    /// Connections at once.
    pub count: usize,
    /// What they say, in turns.
    pub says: Vec<Says>,
    /// Bytes of one write.
    pub piece: usize,
    /// Answers are read, else they pile up.
    pub reads: bool,
    pub ends: Ends,
}

/// What one connection says: once, and then again and again.
pub struct Says {
    pub first: Vec<u8>,
    pub then: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum To {
    Http,
    Tcp,
    Both,
}

/// When a connection is over, and another takes its place. All are over when the other side closes them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// As soon as it has said what it says first.
    AtOnce,
    /// With the first byte of an answer.
    Answered,
    Closed,
}

/// What a flood came to.
#[derive(Default, Clone, Copy)]
pub struct Poured {
    pub connections: u64,
    pub bytes: u64,
    pub seconds: f64,
}

impl Poured {
    pub fn add(&mut self, more: Poured) {
        self.connections += more.connections;
        self.bytes += more.bytes;
        self.seconds += more.seconds;
    }
}

struct One {
    stream: TcpStream,
    /// How much of what it says first, and of the present round of the rest, is out.
    said: usize,
}

/// How long it waits when nobody takes anything.
const REST: Duration = Duration::from_micros(200);

impl Flood {
    /// Goes on until it is told to stop.
    pub fn pour(&self, http: SocketAddr, tcp: SocketAddr, stop: &AtomicBool) -> Poured {
        let begun = Instant::now();
        let mut poured = Poured::default();
        let mut all: Vec<Option<One>> = (0..self.count).map(|_| None).collect();
        while !stop.load(Ordering::Relaxed) {
            let before = (poured.connections, poured.bytes);
            for (n, place) in all.iter_mut().enumerate() {
                let to = match self.to {
                    To::Http => http,
                    To::Tcp => tcp,
                    To::Both => [http, tcp][n % 2],
                };
                if place.is_none() {
                    *place = connect(to).ok().map(|stream| One { stream, said: 0 });
                    poured.connections += u64::from(place.is_some());
                }
                if let Some(one) = place
                    && !self.goes_on(one, &self.says[n % self.says.len()], &mut poured)
                {
                    *place = None;
                }
            }
            if before == (poured.connections, poured.bytes) {
                thread::sleep(REST);
            }
        }
        poured.seconds = begun.elapsed().as_secs_f64();
        poured
    }

    /// Says a piece more; `false`: it is over.
    fn goes_on(&self, one: &mut One, says: &Says, poured: &mut Poured) -> bool {
        let (first, then) = (says.first.len(), says.then.len());
        let rest = match one.said < first {
            true => &says.first[one.said..],
            false if then > 0 => &says.then[(one.said - first) % then..],
            false => &[],
        };
        if !rest.is_empty() {
            match one.stream.write(&rest[..rest.len().min(self.piece)]) {
                Ok(n) => {
                    one.said += n;
                    poured.bytes += n as u64;
                }
                Err(full) if full.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        match self.ends {
            Ends::AtOnce if one.said >= first => return false,
            Ends::Closed if !self.reads && then > 0 => return true,
            _ => {}
        }
        let mut part = [0; 32 << 10];
        match one.stream.read(&mut part) {
            Ok(0) => false,
            Ok(_) => self.ends != Ends::Answered,
            Err(none) => none.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Begun and perhaps not done yet. It ends by a reset, so that no port waits for its end.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(begun) if begun.raw_os_error() == Some(115) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Takes connections on two ports and reads them empty until it is told to stop. It ends or answers where the flood goes
/// on no further without.
pub fn sink(flood: &Flood, listeners: [std::net::TcpListener; 2], stop: &AtomicBool) {
    let closes = flood.ends == Ends::Closed && flood.says.iter().all(|says| says.then.is_empty());
    let answers = flood.ends == Ends::Answered;
    let mut poll = Poll::new().unwrap();
    let mut listeners = listeners.map(|listener| {
        listener.set_nonblocking(true).unwrap();
        mio::net::TcpListener::from_std(listener)
    });
    for (n, listener) in listeners.iter_mut().enumerate() {
        poll.registry().register(listener, Token(n), Interest::READABLE).unwrap();
    }
    let mut open: Vec<Option<mio::net::TcpStream>> = vec![None, None];
    let mut free = Vec::new();
    let (mut events, mut part) = (Events::with_capacity(1024), [0; 32 << 10]);
    while !stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
        for event in &events {
            let at = event.token().0;
            if let Some(listener) = listeners.get(at) {
                while let Ok((mut stream, _)) = listener.accept() {
                    let at = free.pop().unwrap_or_else(|| {
                        open.push(None);
                        open.len() - 1
                    });
                    poll.registry().register(&mut stream, Token(at), Interest::READABLE).unwrap();
                    open[at] = Some(stream);
                }
                continue;
            }
            let Some(stream) = &mut open[at] else { continue };
            let over = loop {
                match stream.read(&mut part) {
                    Ok(0) => break true,
                    Ok(_) if closes => break true,
                    Ok(_) if answers => _ = stream.write(b"x"),
                    Ok(_) => {}
                    Err(none) => break none.kind() != ErrorKind::WouldBlock,
                }
            };
            if over {
                open[at] = None;
                free.push(at);
            }
        }
    }
}

/// The calling thread, and those that it starts, run on this core from now on, where the machine has it.
pub fn pin(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    _ = rustix::thread::sched_setaffinity(None, &only);
}

/// The calling thread has what the others of its core leave, and is put off at once when one of them wakes.
pub fn stand_back() {
    let thread = rustix::thread::gettid().as_raw_pid().to_string();
    let idle = std::process::Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    assert!(idle.is_ok_and(|status| status.success()), "no chrt: what is measured would be the flood's own work");
}
