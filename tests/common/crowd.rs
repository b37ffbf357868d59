//! Thousands of connections at once, and what they cost the server's process.
//!
//! They come from several addresses of this machine, since one has 28,000 ports, and end by a reset, so that no port
//! waits for its end and a next crowd finds them free.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{Server, eventually, http};

/// Connections from one address.
const FROM_ONE: usize = 5_000;

/// As many as asked for, connected one after the other. `first` is what the first address ends in, 2 to 200: crowds that
/// are there at the same time take different ones.
pub fn connect(to: SocketAddr, count: usize, first: u8) -> Vec<TcpStream> {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    (0..count).map(|n| connect_one(to, first + (n / FROM_ONE) as u8).unwrap()).collect()
}

fn connect_one(to: SocketAddr, last: u8) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    // What waits in the kernel is not what is looked at.
    socket.set_recv_buffer_size(4 << 10)?;
    socket.set_send_buffer_size(16 << 10)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into())?;
    socket.connect(&to.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Everyone says this, in pieces of so many bytes that come in turns.
pub fn say(crowd: &mut [TcpStream], bytes: &[u8], chop: usize) {
    for piece in bytes.chunks(chop.max(1)) {
        for stream in crowd.iter_mut() {
            stream.write_all(piece).unwrap();
        }
    }
}

/// Whether the server has closed this one; what came before is read away.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut part = [0; 512];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

/// One of the server's figures.
pub fn figure(server: &Server, name: &str) -> u64 {
    let metrics = http::get(server.admin(), "/metrics").body;
    let line = metrics.lines().find(|line| {
        let named = line.strip_prefix("tidegate_").and_then(|line| line.strip_prefix(name));
        named.is_some_and(|rest| rest.strip_prefix("_total").unwrap_or(rest).starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("no {name} in {metrics}"));
    line.split(' ').next_back().unwrap().parse::<f64>().unwrap() as u64
}

/// Bytes of memory that the server's process has resident and that are no file's.
pub fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells it");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What each of so many costs: they connect to `to`, say `bytes` in pieces of `chop`, and stay.
pub fn cost(server: &Server, to: SocketAddr, count: usize, bytes: &[u8], chop: usize) -> u64 {
    // What is made once is not theirs.
    let mut some = connect(to, 50, 2);
    say(&mut some, bytes, chop);
    drop(some);
    let there =
        |n: u64| eventually("the connections to be counted", || (figure(server, "connections") == n).then_some(()));
    there(0);
    let (before, heard) = (resident(server), figure(server, "received_bytes"));
    let mut crowd = connect(to, count, 3);
    say(&mut crowd, bytes, chop);
    there(count as u64);
    let all = heard + (count * bytes.len()) as u64;
    eventually("all to be read", || (figure(server, "received_bytes") >= all).then_some(()));
    (resident(server).saturating_sub(before)) / count as u64
}
