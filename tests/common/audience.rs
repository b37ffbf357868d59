//! Many who are in one conversation and only listen: each on a connection of its own, read by one thread.

use std::io::{ErrorKind, Read};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tidegate_protocol::wire::{CommandType, ConvCommand, OpType, SessionCommand};

use super::client::{command, some};
use super::{Client, Server, Via};

pub struct Audience {
    heard: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Audience {
    /// The ids under which so many listen.
    pub fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("listener-{n}")).collect()
    }

    /// Logs them in. `room`: one that they join; else they are members of something already.
    pub fn enter(server: &Server, count: usize, room: Option<&str>) -> Audience {
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let poll = Poll::new().unwrap();
        let listen = |(n, id): (usize, &String)| {
            let mut client = Client::connect(server, Via::Tcp);
            client.try_open(id, SessionCommand::default()).unwrap();
            if let Some(room) = room {
                let mut join = command(CommandType::Conv, Some(OpType::Add));
                join.conv_message =
                    Some(Box::new(ConvCommand { cid: some(room), m: vec![id.clone()], ..ConvCommand::default() }));
                client.ask(join).unwrap();
            }
            let socket = client.wire.writer();
            socket.set_nonblocking(true).unwrap();
            let mut socket = TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(n), Interest::READABLE).unwrap();
            socket
        };
        let sockets: Vec<_> = Audience::names(count).iter().enumerate().map(listen).collect();
        let (heard, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ends) = (heard.clone(), stop.clone());
        let thread = thread::spawn(move || hear(sockets, poll, &counted, &ends));
        Audience { heard, stop, thread: Some(thread) }
    }

    /// Bytes that came to all of them.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

fn hear(mut sockets: Vec<TcpStream>, mut poll: Poll, heard: &AtomicU64, stop: &AtomicBool) {
    step_back();
    let (mut events, mut part) = (Events::with_capacity(1024), vec![0; 64 << 10]);
    while !stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
        for event in &events {
            let socket = &mut sockets[event.token().0];
            loop {
                match socket.read(&mut part) {
                    Ok(0) => panic!("a listener was closed"),
                    Ok(n) => {
                        heard.fetch_add(n as u64, Ordering::Relaxed);
                        if n < part.len() {
                            break;
                        }
                    }
                    Err(none) if none.kind() == ErrorKind::WouldBlock => break,
                    Err(gone) => panic!("a listener lost its connection: {gone}"),
                }
            }
        }
    }
}

/// Whoever measures something beside this thread has the processor first.
fn step_back() {
    if let Ok(own) = std::fs::read_link("/proc/thread-self")
        && let Some(own) = own.file_name()
    {
        _ = Command::new("renice").args(["-n", "15", "-p"]).arg(own).output();
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("a listener lost its connection");
        }
    }
}
