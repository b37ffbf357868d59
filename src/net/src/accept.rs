//! Taking connections from a listener: one at a time, within the bound, and through a shortage of file descriptors.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};

use crate::conn::{Conn, Context, Port};
use crate::stats::add;
use crate::table::Table;

/// How often a lasting trouble is said.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How long a listener rests when the system has no more descriptors or memory.
const REST: Duration = Duration::from_millis(100);

pub(crate) struct Acceptor {
    pub(crate) token: Token,
    port: Port,
    listener: TcpListener,
    /// There may be more to take.
    pub(crate) ready: bool,
    /// It rests until then.
    pub(crate) retry_at: Option<u64>,
    /// When the shortage, or the bound, was last said.
    told_at: Option<u64>,
}

impl Acceptor {
    pub(crate) fn new(token: Token, port: Port, listener: TcpListener) -> Self {
        Acceptor { token, port, listener, ready: false, retry_at: None, told_at: None }
    }

    pub(crate) fn close(mut self, poll: &Poll) {
        if let Err(error) = poll.registry().deregister(&mut self.listener) {
            log::debug!("cannot take a listener off the poll: {error}");
        }
    }

    /// Takes one connection; `false`: there is none, as far as is known.
    pub(crate) fn accept(&mut self, poll: &Poll, table: &mut Table, cx: &mut Context) -> bool {
        if let Some(retry_at) = self.retry_at {
            self.ready = cx.now_ns >= retry_at;
            if self.ready {
                self.retry_at = None;
            }
        }
        if !self.ready {
            return false;
        }
        match self.listener.accept() {
            Ok((socket, from)) => self.add(socket, from.ip().to_canonical(), poll, table, cx),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.ready = false,
            Err(error) if is_shortage(&error) => {
                if self.may_tell(cx.now_ns) {
                    log::warn!("no new connections until some close: {error}; raise the limit of open files");
                }
                self.retry_at = Some(cx.now_ns + REST.as_nanos() as u64);
                self.ready = false;
            }
            // The client went away while it waited; the next one may be fine.
            Err(error) => log::debug!("a connection was lost before it was taken: {error}"),
        }
        self.ready
    }

    fn add(&mut self, socket: TcpStream, ip: std::net::IpAddr, poll: &Poll, table: &mut Table, cx: &mut Context) {
        let options = &cx.shared.options;
        if cx.shared.open.fetch_add(1, SeqCst) >= options.max_connections {
            cx.shared.open.fetch_sub(1, SeqCst);
            add(&cx.post.counters.turned_away, 1);
            if self.may_tell(cx.now_ns) {
                log::warn!("{} connections are open, which is the bound: new ones are closed", options.max_connections);
            }
            return;
        }
        let added = self.register(socket, ip, poll, table, cx);
        match added {
            Ok(()) => {
                add(&cx.post.counters.accepted, 1);
                add(&cx.post.counters.connections, 1);
            }
            Err(error) => {
                cx.shared.open.fetch_sub(1, SeqCst);
                log::debug!("a connection could not be set up: {error}");
            }
        }
    }

    fn may_tell(&mut self, now_ns: u64) -> bool {
        let may = self.told_at.is_none_or(|at| now_ns.saturating_sub(at) >= TELL_AGAIN.as_nanos() as u64);
        if may {
            self.told_at = Some(now_ns);
        }
        may
    }

    fn register(
        &self,
        socket: TcpStream,
        ip: std::net::IpAddr,
        poll: &Poll,
        table: &mut Table,
        cx: &mut Context,
    ) -> io::Result<()> {
        // Frames are gathered here; the kernel must not wait for more.
        socket.set_nodelay(true)?;
        let first_look = Conn::first_look(cx);
        let port = self.port;
        let Some((id, conn, token)) = table.insert(|id| Conn::new(id, socket, ip, port, cx)) else {
            return Err(io::Error::other("as many connections are open as can be named"));
        };
        if let Err(error) = poll.registry().register(&mut conn.socket, token, Interest::READABLE | Interest::WRITABLE) {
            table.remove(id);
            return Err(error);
        }
        cx.timers.push((first_look, id));
        Ok(())
    }
}

/// No more descriptors (of the process, of the system), buffers or memory.
fn is_shortage(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}
