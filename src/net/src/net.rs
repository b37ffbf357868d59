//! Starts the reactors, hands out their mailbox, and takes them down again: at once, or by a drain.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Poll, Waker};

use crate::door::Door;
use crate::http_handoff::HttpDoor;
use crate::listen;
use crate::mail::GoAway;
use crate::mailbox::{Mailbox, Post, Room};
use crate::options::Options;
use crate::reactor::{self, Reactor};
use crate::stats::{self, Stats};

/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// What all reactors share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) door: Arc<dyn Door>,
    pub(crate) http: Option<Arc<dyn HttpDoor>>,
    pub(crate) phase: AtomicU8,
    /// How many reactors act by each phase already.
    pub(crate) reached: [AtomicUsize; 4],
    pub(crate) goaway: Mutex<Option<GoAway>>,
    /// Open connections of all reactors.
    pub(crate) open: AtomicUsize,
}

/// Where a reactor is in its life; it only moves on.
pub(crate) mod phase {
    pub(crate) const SERVING: u8 = 0;
    /// Accepts nothing and reads no command; what was admitted is answered.
    pub(crate) const FINISHING: u8 = 1;
    /// `goaway` is out; what clients still send is read and ignored.
    pub(crate) const LEAVING: u8 = 2;
    pub(crate) const STOPPED: u8 = 3;
}

/// What the listeners are really bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalAddrs {
    pub http: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
}

/// The running reactors. Dropping it stops them.
pub struct Net {
    shared: Arc<Shared>,
    mailbox: Mailbox,
    addrs: LocalAddrs,
    threads: Vec<JoinHandle<()>>,
}

/// Listeners that are bound and not served yet: who connects waits. Bound before anything is opened that would have to
/// be closed again if the address were taken.
pub struct Listeners {
    addrs: LocalAddrs,
    reactors: usize,
    http: Vec<TcpListener>,
    tcp: Vec<TcpListener>,
}

impl Listeners {
    /// Those that the options name. Errors name the address and what to change.
    pub fn bind(options: &Options) -> io::Result<Listeners> {
        let reactors = options.reactors.clamp(1, 255);
        let mut bound = Listeners { addrs: LocalAddrs::default(), reactors, http: Vec::new(), tcp: Vec::new() };
        if let Some(addr) = options.http {
            let (local, listeners) = listen::bind(addr, reactors, "HTTP and WebSocket")?;
            (bound.addrs.http, bound.http) = (Some(local), listeners);
        }
        if let Some(addr) = options.tcp {
            let (local, listeners) = listen::bind(addr, reactors, "TCP")?;
            (bound.addrs.tcp, bound.tcp) = (Some(local), listeners);
        }
        Ok(bound)
    }
}

/// Starts the reactor threads, `net-0` and on, one for each of what the listeners were bound for.
pub fn start(
    options: Options,
    listeners: Listeners,
    door: Arc<dyn Door>,
    http: Option<Arc<dyn HttpDoor>>,
) -> io::Result<Net> {
    let Listeners { addrs, reactors, http: on_http, tcp: on_tcp } = listeners;
    let room = Arc::new(Room::default());
    let mut polls = Vec::new();
    let mut posts = Vec::new();
    for _ in 0..reactors {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), reactor::WAKE)?;
        let wake = move || {
            if let Err(error) = waker.wake() {
                log::error!("cannot wake a reactor: {error}");
            }
        };
        posts.push(Arc::new(Post::new(options.mailbox, Box::new(wake), room.clone())));
        polls.push(poll);
    }
    let mailbox = Mailbox::new(posts, room);
    let shared = Arc::new(Shared {
        options,
        door,
        http,
        phase: AtomicU8::new(phase::SERVING),
        reached: Default::default(),
        goaway: Mutex::new(None),
        open: AtomicUsize::new(0),
    });

    let (mut on_http, mut on_tcp) = (on_http.into_iter(), on_tcp.into_iter());
    let mut net = Net { shared, mailbox, addrs, threads: Vec::new() };
    for (index, poll) in polls.into_iter().enumerate() {
        let post = net.mailbox.posts()[index].clone();
        let reactor = Reactor::new(index as u8, poll, post, net.shared.clone(), on_http.next(), on_tcp.next())?;
        // On an error the threads that run already are stopped by dropping `net`.
        net.threads.push(thread::Builder::new().name(format!("net-{index}")).spawn(move || reactor.run())?);
    }
    Ok(net)
}

impl Net {
    pub fn local_addrs(&self) -> LocalAddrs {
        self.addrs
    }

    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    pub fn stats(&self) -> Stats {
        stats::read(&self.mailbox)
    }

    /// Takes leave of all clients, within `timeout` altogether: stops accepting and reading commands, waits until
    /// `quiet` says that the pipeline has finished what was admitted, flushes, sends each connection one `goaway`, and
    /// waits for the clients to leave; what is left at the end is closed (1001). True if all had left by themselves.
    /// Blocks the calling thread. Replies and deliveries are sent all the while.
    pub fn drain(&self, timeout: Duration, quiet: impl Fn() -> bool, goaway: GoAway) -> bool {
        let deadline = Instant::now() + timeout;
        let wait_for = |done: &dyn Fn() -> bool| {
            while !done() && Instant::now() < deadline {
                thread::sleep(DRAIN_POLL);
            }
        };
        *self.shared.goaway.lock().unwrap_or_else(PoisonError::into_inner) = Some(goaway);
        self.enter(phase::FINISHING);
        wait_for(&|| self.all_reached(phase::FINISHING));
        wait_for(&|| quiet() && self.mailbox.depth() == 0);
        self.enter(phase::LEAVING);
        wait_for(&|| self.all_reached(phase::LEAVING) && self.shared.open.load(SeqCst) == 0);
        let all_left = self.shared.open.load(SeqCst) == 0;
        self.enter(phase::STOPPED);
        all_left
    }

    /// Closes everything (1001) and waits for the reactors' threads. The door is told of each connection.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.enter(phase::STOPPED);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a reactor's thread had panicked");
            }
        }
    }

    fn enter(&self, phase: u8) {
        if self.shared.phase.load(SeqCst) < phase {
            self.shared.phase.store(phase, SeqCst);
        }
        self.mailbox.posts().iter().for_each(|post| post.nudge());
    }

    fn all_reached(&self, phase: u8) -> bool {
        self.shared.reached[usize::from(phase)].load(SeqCst) >= self.mailbox.posts().len()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.shut_down();
    }
}
