//! Listening sockets: one of each kind per reactor, sharing a port where there are several.
//!
//! Several reactors need SO_REUSEPORT, so that the kernel spreads connections over them. One reactor goes without, so
//! that a second server on the same port is told so.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for a reactor that is busy.
pub const BACKLOG: u16 = 4096;
/// Bytes that the kernel takes for a connection before they can be sent. It would take megabytes from those who do not read,
/// and a flood of them would leave everybody else without memory for TCP. More than a write makes ready in one go.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 128 << 10;

/// Binds `addr` once for each reactor. `what` names it in the error.
pub(crate) fn bind(addr: SocketAddr, reactors: usize, what: &str) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let in_words = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there already".into(),
            io::ErrorKind::PermissionDenied => "the system does not allow this user that port".into(),
            io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("cannot listen for {what} on {addr}: {reason}"))
    };
    let first = bind_one(addr, reactors > 1).map_err(in_words)?;
    // Port 0 has become a number that the others must share.
    let local = first.local_addr().map_err(in_words)?;
    let mut listeners = vec![first];
    for _ in 1..reactors {
        listeners.push(bind_one(local, true).map_err(in_words)?);
    }
    Ok((local, listeners))
}

fn bind_one(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if shared {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    if shared {
        return Err(io::Error::other("several reactors need SO_REUSEPORT, which this system lacks"));
    }
    // Accepted sockets take it over.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOT_SENT)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG.into())?;
    Ok(TcpListener::from_std(socket.into()))
}
