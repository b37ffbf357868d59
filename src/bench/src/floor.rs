//! What this machine does with no server in between, to state every figure as a ratio to it.
//!
//! Measured in the same run, as machines drift. The far end of the sockets is a process of its own, as a server's
//! clients are: this program again, with a hidden command.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConnection, RootCertStore, ServerConnection};

use crate::Failure;
use crate::clock::{SECOND, now};
use crate::latency::{Quantiles, histogram};

/// How long each floor is measured, beside its warming up.
const LENGTH: u64 = 2 * SECOND;

/// One floor: its value, in its unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Floor {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
}

/// `size` bytes to each of `sockets` in turn, `batch` messages in one `send`.
pub fn fan_out(sockets: u32, batch: u32, size: u32) -> Result<Floor, Failure> {
    let rate = fan_out_rate(sockets as usize, (size * batch) as usize).map_err(Failure::because)?;
    let how = if batch == 1 { "a send each".to_owned() } else { format!("{batch} a send") };
    let name = format!("bare fan-out to {sockets} sockets, {how}");
    Ok(Floor { name, value: rate / f64::from(size), unit: "messages/s" })
}

/// Bytes that arrive a second.
fn fan_out_rate(sockets: usize, bytes: usize) -> std::io::Result<f64> {
    /// Sends that may be on their way to each socket.
    const WINDOW: u64 = 8;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut far = FarEnd::start(listener.local_addr()?, sockets)?;
    let mut control = listener.accept()?.0;
    control.set_nonblocking(true)?;
    let mut near = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let socket = listener.accept()?.0;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        near.push(socket);
    }
    let frame = vec![b'.'; bytes];
    let limit = WINDOW * (sockets * bytes) as u64;
    let (mut sent, mut arrived, mut at) = (0u64, 0u64, 0);
    let begin = now() + SECOND / 2;
    let mut first = None;
    loop {
        for _ in 0..64 {
            if sent - arrived >= limit {
                break;
            }
            match near[at].write(&frame) {
                Ok(written) => sent += written as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            at = (at + 1) % sockets;
        }
        let mut said = [0; 8];
        while control.read_exact(&mut said).is_ok() {
            arrived = u64::from_le_bytes(said);
        }
        let time = now();
        match first {
            None if time >= begin => first = Some((time, arrived)),
            Some((from, before)) if time >= from + LENGTH => {
                // Its last reports then fail, which is how it knows, whatever it has still to read.
                drop((near, control));
                far.end()?;
                return Ok((arrived - before) as f64 * SECOND as f64 / (time - from) as f64);
            }
            _ => {}
        }
    }
}

/// The process that reads what `fan_out` sends.
struct FarEnd(Child);

impl FarEnd {
    fn start(address: SocketAddr, sockets: usize) -> std::io::Result<FarEnd> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.args(["bench", "drain", &address.to_string(), &sockets.to_string()]);
        command.stdin(Stdio::null()).spawn().map(FarEnd)
    }

    fn end(&mut self) -> std::io::Result<()> {
        self.0.wait().map(drop)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The far end of `floor`'s sockets: reads all and says how much.
#[derive(Debug, Args)]
pub struct DrainArgs {
    address: SocketAddr,
    sockets: usize,
}

pub fn drain(args: &DrainArgs) -> Result<(), Failure> {
    drain_all(args).map_err(Failure::because)
}

fn drain_all(args: &DrainArgs) -> std::io::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut control = TcpStream::connect(args.address)?;
    control.set_nodelay(true)?;
    let mut poll = Poll::new()?;
    let mut sockets = Vec::with_capacity(args.sockets);
    for at in 0..args.sockets {
        let socket = TcpStream::connect(args.address)?;
        socket.set_nonblocking(true)?;
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(at), Interest::READABLE)?;
        sockets.push(socket);
    }
    let (mut events, mut scratch) = (Events::with_capacity(1024), vec![0; 256 << 10]);
    let mut total = 0u64;
    loop {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut over = false;
        for event in &events {
            match sockets[event.token().0].read(&mut scratch) {
                Ok(0) => over = true,
                Ok(read) => total += read as u64,
                Err(error) => over |= !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
        }
        if control.write_all(&total.to_le_bytes()).is_err() || over {
            return Ok(());
        }
    }
}

/// Append and `fdatasync` in `folder`: how many a second, and the median in milliseconds.
pub fn sync(folder: &Path, kib: usize) -> Result<[Floor; 2], Failure> {
    let path = folder.join(format!("tidegate-floor-{}", std::process::id()));
    let result = sync_in(&path, kib);
    // What was measured is worth nothing; what cannot be removed was not made.
    let _ = std::fs::remove_file(&path);
    let (rate, median) = result.map_err(|error| Failure::at(&path, &error))?;
    let name = format!("append + fdatasync, {kib} KiB");
    let of_median = Floor { name: format!("{name}, p50"), value: median, unit: "ms" };
    Ok([Floor { name, value: rate, unit: "/s" }, of_median])
}

fn sync_in(path: &Path, kib: usize) -> std::io::Result<(f64, f64)> {
    let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
    let block = vec![7; kib << 10];
    let mut took = histogram();
    let start = now();
    while now() < start + LENGTH {
        let at = now();
        file.write_all(&block)?;
        file.sync_data()?;
        took.saturating_record(now() - at);
    }
    let rate = took.len() as f64 * SECOND as f64 / (now() - start) as f64;
    Ok((rate, Quantiles::of(&took).p50 as f64 / 1e6))
}

/// Two threads that answer each other over a socket of the loopback: the median of there and back, in milliseconds.
pub fn round_trip(size: u32) -> Result<Floor, Failure> {
    let median = round_trip_median(size as usize).map_err(Failure::because)?;
    Ok(Floor { name: "bare round trip, p50".into(), value: median, unit: "ms" })
}

fn round_trip_median(size: usize) -> std::io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let mut far = listener.accept()?.0;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let answering = std::thread::spawn(move || {
        let mut message = vec![0; size];
        while far.read_exact(&mut message).is_ok() && far.write_all(&message).is_ok() {}
    });
    let (mut took, mut message, end) = (histogram(), vec![b'.'; size], now() + LENGTH / 2);
    while now() < end {
        let at = now();
        near.write_all(&message)?;
        near.read_exact(&mut message)?;
        took.saturating_record(now() - at);
        // As traffic comes: with pauses in which threads fall asleep.
        std::thread::sleep(Duration::from_micros(200));
    }
    drop(near);
    // It ends with the socket.
    let _ = answering.join();
    Ok(Quantiles::of(&took).p50 as f64 / 1e6)
}

/// Connect, accept, ask and answer once, close: how many a second.
pub fn connections() -> Result<Floor, Failure> {
    let rate = connection_rate().map_err(Failure::because)?;
    Ok(Floor { name: "bare connect, ask and answer".into(), value: rate, unit: "/s" })
}

fn connection_rate() -> std::io::Result<f64> {
    const AT_ONCE: usize = 64;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let serving = std::thread::spawn(move || {
        let mut question = [0; 80];
        while let Ok((mut socket, _)) = listener.accept() {
            // An empty question is the end.
            if socket.read_exact(&mut question).is_err() || socket.write_all(&[b'.'; 160]).is_err() {
                return;
            }
        }
    });
    let (mut done, start) = (0u32, now());
    while now() < start + LENGTH / 2 {
        let mut sockets = Vec::with_capacity(AT_ONCE);
        for _ in 0..AT_ONCE {
            let mut socket = TcpStream::connect(address)?;
            socket.write_all(&[b'.'; 80])?;
            sockets.push(socket);
        }
        for socket in &mut sockets {
            socket.read_exact(&mut [0; 160])?;
        }
        done += AT_ONCE as u32;
    }
    let rate = f64::from(done) * SECOND as f64 / (now() - start) as f64;
    drop(TcpStream::connect(address)?);
    let _ = serving.join();
    Ok(rate)
}

/// Full TLS handshakes in memory, both sides in one thread: how many a second.
pub fn handshakes() -> Result<Floor, Failure> {
    let rate = handshake_rate().map_err(Failure::because)?;
    Ok(Floor { name: "TLS handshakes, both sides in a thread".into(), value: rate, unit: "/s" })
}

fn handshake_rate() -> Result<f64, Box<dyn std::error::Error>> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone())?;
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    let (server, client) = (Arc::new(server), Arc::new(client));
    let (mut done, start) = (0u32, now());
    while now() < start + LENGTH / 2 {
        let mut near = ClientConnection::new(client.clone(), "localhost".try_into()?)?;
        let mut far = ServerConnection::new(server.clone())?;
        while near.is_handshaking() || far.is_handshaking() {
            let mut wire = Vec::new();
            while near.wants_write() {
                near.write_tls(&mut wire)?;
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                far.read_tls(&mut rest)?;
                far.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while far.wants_write() {
                far.write_tls(&mut wire)?;
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                near.read_tls(&mut rest)?;
                near.process_new_packets()?;
            }
        }
        done += 1;
    }
    Ok(f64::from(done) * SECOND as f64 / (now() - start) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_without_a_far_end_is_measured_anywhere() {
        for floor in [round_trip(120), connections(), handshakes()] {
            assert!(floor.as_ref().is_ok_and(|floor| floor.value > 0.0), "{floor:?}");
        }
        let [rate, median] = sync(&std::env::temp_dir(), 4).unwrap();
        assert!(rate.value > 0.0 && median.value > 0.0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = sync(Path::new("/nowhere"), 4).unwrap_err().to_string();
        assert!(error.contains("/nowhere"), "{error}");
    }
}
