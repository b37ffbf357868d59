//! Commands over a socket: length-prefixed TCP, WebSocket with binary or base64 frames, each with and without TLS.
//!
//! Written from the protocol's documents with libraries of others for WebSocket and TLS, so that a mistake in the
//! server's framing is not made twice. Knows frames, not sessions.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tidegate_protocol::wire::GenericCommand;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message, WebSocket};

use super::Server;

/// How to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Tcp,
    TcpTls,
    WebSocket,
    WebSocketTls,
    Base64,
    /// The subprotocol with offline messages pushed one by one.
    Pushed,
}

impl Via {
    pub const ALL: [Via; 6] = [Via::Tcp, Via::TcpTls, Via::WebSocket, Via::WebSocketTls, Via::Base64, Via::Pushed];

    pub fn is_tls(self) -> bool {
        matches!(self, Via::TcpTls | Via::WebSocketTls)
    }

    fn subprotocol(self) -> Option<&'static str> {
        match self {
            Via::Tcp | Via::TcpTls => None,
            Via::WebSocket | Via::WebSocketTls => Some("lc.protobuf2.3"),
            Via::Pushed => Some("lc.protobuf2.1"),
            Via::Base64 => Some("lc.proto2base64.3"),
        }
    }
}

pub struct Wire {
    framing: Framing,
    /// The socket under all of it, for its time-outs.
    tcp: TcpStream,
}

enum Framing {
    /// `read[at..]` is not a whole frame yet.
    Length {
        socket: Socket,
        read: Vec<u8>,
        at: usize,
    },
    WebSocket {
        socket: Box<WebSocket<Socket>>,
        text: bool,
    },
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub fn connect(server: &Server, via: Via) -> io::Result<Wire> {
        let to = if via.subprotocol().is_some() { server.http() } else { server.tcp() };
        let tcp = TcpStream::connect(to)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        let plain = tcp.try_clone()?;
        let socket = if via.is_tls() { Socket::tls(plain, &server.authority())? } else { Socket::Plain(plain) };
        let framing = match via.subprotocol() {
            None => Framing::Length { socket, read: Vec::new(), at: 0 },
            Some(subprotocol) => {
                let socket = upgrade(socket, to, subprotocol, None)?;
                Framing::WebSocket { socket: Box::new(socket), text: via == Via::Base64 }
            }
        };
        Ok(Wire { framing, tcp })
    }

    /// A WebSocket as a browser on a page of `origin` opens it.
    pub fn from_page(server: &Server, origin: &str) -> io::Result<Wire> {
        let tcp = TcpStream::connect(server.http())?;
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        let socket = upgrade(Socket::Plain(tcp.try_clone()?), server.http(), "lc.protobuf2.3", Some(origin))?;
        Ok(Wire { framing: Framing::WebSocket { socket: Box::new(socket), text: false }, tcp })
    }

    /// By TCP through a proxy that says who the client is, in the first line.
    pub fn through_proxy(server: &Server, line: &str) -> io::Result<Wire> {
        let mut tcp = TcpStream::connect(server.tcp())?;
        tcp.write_all(line.as_bytes())?;
        let socket = Socket::Plain(tcp.try_clone()?);
        Ok(Wire { framing: Framing::Length { socket, read: Vec::new(), at: 0 }, tcp })
    }

    /// The whole command leaves, or an error says that the connection is gone.
    pub fn send(&mut self, command: &GenericCommand) -> io::Result<()> {
        self.send_raw(&command.encode_to_vec())
    }

    /// The same with bytes that may be no command.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.framing {
            Framing::Length { socket, .. } => {
                let mut frame = Vec::with_capacity(bytes.len() + 5);
                prost::encoding::encode_varint(bytes.len() as u64, &mut frame);
                frame.extend_from_slice(bytes);
                socket.write_all(&frame)?;
                socket.flush()
            }
            Framing::WebSocket { socket, text } => {
                let message =
                    if *text { Message::text(STANDARD.encode(bytes)) } else { Message::binary(bytes.to_vec()) };
                socket.send(message).map_err(io_error)
            }
        }
    }

    /// The next command; `None` when none came in time. An error is the end of the connection; its words have the
    /// close code where one was given.
    pub fn next(&mut self, until: Instant) -> io::Result<Option<GenericCommand>> {
        loop {
            if let Framing::Length { read, at, .. } = &mut self.framing
                && let Some(frame) = take_frame(read, at)
            {
                return decode(&frame).map(Some);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.tcp.set_read_timeout(Some(left))?;
            let frame = match &mut self.framing {
                Framing::Length { socket, read, .. } => {
                    let mut part = [0; 16 * 1024];
                    match socket.read(&mut part) {
                        Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed")),
                        Ok(n) => read.extend_from_slice(&part[..n]),
                        Err(error) if is_timeout(&error) => {}
                        Err(error) => return Err(error),
                    }
                    continue;
                }
                Framing::WebSocket { socket, text } => match socket.read() {
                    Ok(Message::Binary(bytes)) if !*text => bytes,
                    Ok(Message::Text(encoded)) if *text => {
                        STANDARD.decode(encoded.as_str()).map_err(io::Error::other)?.into()
                    }
                    Ok(Message::Close(why)) => {
                        let why = why.map_or("without a code".into(), |why| format!("{} {}", why.code, why.reason));
                        return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("closed {why}")));
                    }
                    Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                    Ok(other) => return Err(io::Error::other(format!("a frame of the wrong kind: {other:?}"))),
                    Err(Error::Io(error)) if is_timeout(&error) => continue,
                    Err(error) => return Err(io_error(error)),
                },
            };
            return decode(&frame).map(Some);
        }
    }

    /// Sends a WebSocket ping and waits for its pong.
    pub fn ping(&mut self) -> io::Result<()> {
        let Framing::WebSocket { socket, .. } = &mut self.framing else { panic!("TCP has no ping") };
        socket.send(Message::Ping(b"still there?"[..].into())).map_err(io_error)?;
        loop {
            if let Message::Pong(with) = socket.read().map_err(io_error)? {
                assert_eq!(&with[..], b"still there?");
                return Ok(());
            }
        }
    }

    /// The subprotocol was chosen exactly as offered: tungstenite refuses the handshake otherwise. Closes in order.
    pub fn close(&mut self) {
        if let Framing::WebSocket { socket, .. } = &mut self.framing {
            _ = socket.close(None);
            _ = socket.flush();
        }
        _ = self.tcp.shutdown(std::net::Shutdown::Write);
    }

    /// A second handle to the socket of a plain TCP connection, for a thread that only writes.
    pub fn writer(&self) -> TcpStream {
        self.tcp.try_clone().unwrap()
    }
}

fn upgrade(socket: Socket, to: SocketAddr, subprotocol: &str, origin: Option<&str>) -> io::Result<WebSocket<Socket>> {
    let scheme = if matches!(socket, Socket::Tls(_)) { "wss" } else { "ws" };
    let mut request = format!("{scheme}://{to}/").into_client_request().map_err(io_error)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin.parse().unwrap());
    }
    let (socket, response) = tungstenite::client::client(request, socket)
        .map_err(|failed| io::Error::other(format!("WebSocket handshake: {failed}")))?;
    assert_eq!(response.headers()["sec-websocket-protocol"], subprotocol);
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    Ok(socket)
}

impl Socket {
    fn tls(tcp: TcpStream, authority: &Path) -> io::Result<Socket> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).map_err(io::Error::other)?).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(Socket::Tls(Box::new(StreamOwned::new(connection, tcp))))
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.read(into),
            Socket::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.write(bytes),
            Socket::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.flush(),
            Socket::Tls(stream) => stream.flush(),
        }
    }
}

/// Takes one frame off what was read; what is left of the next one moves to the front when no frame is whole.
fn take_frame(read: &mut Vec<u8>, at: &mut usize) -> Option<Vec<u8>> {
    let mut rest = &read[*at..];
    let whole = prost::encoding::decode_varint(&mut rest).ok().and_then(|len| rest.get(..len as usize));
    if let Some(frame) = whole {
        let frame = frame.to_vec();
        *at = read.len() - rest.len() + frame.len();
        return Some(frame);
    }
    read.drain(..*at);
    *at = 0;
    None
}

fn decode(frame: &[u8]) -> io::Result<GenericCommand> {
    GenericCommand::decode(frame).map_err(|bad| io::Error::other(format!("no command ({bad}): {frame:02x?}")))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
