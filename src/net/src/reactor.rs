//! One reactor: a thread, its poll, its listeners and its connections.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::mailbox::Post;
use crate::net::{Shared, phase};

pub(crate) const WAKE: Token = Token(0);
const HTTP: Token = Token(1);
const TCP: Token = Token(2);

pub(crate) struct Reactor {
    poll: Poll,
    post: Arc<Post>,
    shared: Arc<Shared>,
    _listeners: Vec<TcpListener>,
}

impl Reactor {
    pub(crate) fn new(
        _index: u8,
        poll: Poll,
        post: Arc<Post>,
        shared: Arc<Shared>,
        http: Option<TcpListener>,
        tcp: Option<TcpListener>,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for (token, listener) in [(HTTP, http), (TCP, tcp)] {
            if let Some(mut listener) = listener {
                poll.registry().register(&mut listener, token, Interest::READABLE)?;
                listeners.push(listener);
            }
        }
        Ok(Reactor { poll, post, shared, _listeners: listeners })
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut inbox = VecDeque::new();
        while self.shared.phase.load(SeqCst) < phase::STOPPED {
            let timeout = (!self.post.may_sleep()).then_some(std::time::Duration::ZERO);
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("a reactor cannot wait for its sockets: {error}");
                return;
            }
            self.post.awake();
            self.post.take(&mut inbox);
            self.post.free(inbox.len());
            inbox.clear();
        }
    }
}
