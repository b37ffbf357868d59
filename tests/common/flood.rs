//! A flood: connections that say the same again and again, as fast as one thread can.
//!
//! Nobody here waits for an answer before saying the next: the bytes are the same whoever takes them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

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
    /// Bytes of answers that were read.
    pub answered: u64,
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
            Ok(n) => {
                poured.answered += n as u64;
                self.ends != Ends::Answered
            }
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

/// The calling thread, and those that it starts, run on this core from now on, where the machine has it.
pub fn pin(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    _ = rustix::thread::sched_setaffinity(None, &only);
}

/// Whether [`stand_back`] makes a difference: not where all of this runs as what is only done when nobody else has anything.
pub fn can_stand_back() -> bool {
    const IDLE: &str = "5";
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The policy is the 41st field; the name before the third may have spaces in it.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().nth(38).is_some_and(|policy| policy != IDLE)
}

/// The calling thread has what the others of its core leave, and is put off at once when one of them wakes: what is
/// noticed is the server's doing then, and not the flood's own work. Where there is no `chrt`, more is noticed.
pub fn stand_back() {
    let thread = rustix::thread::gettid().as_raw_pid().to_string();
    _ = std::process::Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
}
