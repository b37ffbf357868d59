//! A door that remembers what it was told, a server around it, and clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_domain::ids::{ClientId, ConnId};
use tidegate_net::{
    Class, Closed, ConnMeta, Credit, Door, Frame, HttpDoor, Listeners, Mail, Mailbox, Net, NotTaken, Options,
    Recipient, Refusal, Transport, Turn,
};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// Longer than anything here should take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub enum Said {
    Opened(ConnId, ConnMeta),
    Frame(ConnId, Bytes),
    Closed(ConnId, Closed),
}

/// Remembers everything; answers each command with the same bytes unless it holds the credits back. A command `bye` is
/// refused with a close, `no` with a reply, `panic` panics, and what begins with `turn` needs one.
#[derive(Default)]
pub struct Echo {
    pub said: Mutex<Vec<Said>>,
    changed: Condvar,
    mailbox: OnceLock<Mailbox>,
    pub holds: AtomicBool,
    pub held: Mutex<Vec<(Credit, Option<Turn>)>>,
    pub partings: Mutex<Vec<Turn>>,
    pub silent: AtomicBool,
}

impl Echo {
    fn tell(&self, said: Said) {
        self.said.lock().unwrap().push(said);
        self.changed.notify_all();
    }

    /// Waits until `find` finds something in what was said.
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&[Said]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.said.lock().unwrap();
        loop {
            if let Some(found) = find(&said) {
                return found;
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("waited in vain for {what}; was told {said:?}"));
            said = self.changed.wait_timeout(said, left).unwrap().0;
        }
    }

    pub fn opened(&self, n: usize) -> (ConnId, ConnMeta) {
        self.wait("a connection", |said| {
            said.iter()
                .filter_map(|said| match said {
                    Said::Opened(conn, meta) => Some((*conn, meta.clone())),
                    _ => None,
                })
                .nth(n)
        })
    }

    pub fn closed(&self, conn: ConnId) -> Closed {
        self.wait("a close", |said| {
            said.iter().find_map(|said| match said {
                Said::Closed(id, closed) if *id == conn => Some(*closed),
                _ => None,
            })
        })
    }

    pub fn frames(&self, conn: ConnId) -> Vec<Bytes> {
        let said = self.said.lock().unwrap();
        said.iter()
            .filter_map(|said| match said {
                Said::Frame(id, bytes) if *id == conn => Some(bytes.clone()),
                _ => None,
            })
            .collect()
    }
}

impl Door for Echo {
    fn opened(&self, conn: ConnId, meta: ConnMeta) {
        self.tell(Said::Opened(conn, meta));
    }

    fn frame(&self, conn: ConnId, frame: Frame) -> Result<(), NotTaken> {
        if frame.bytes.starts_with(b"turn") && frame.turn.is_none() {
            return Err(NotTaken::Later(frame));
        }
        self.tell(Said::Frame(conn, frame.bytes.clone()));
        if self.holds.load(SeqCst) {
            self.held.lock().unwrap().push((frame.credit, frame.turn));
            return Ok(());
        }
        match &frame.bytes[..] {
            b"bye" => Err(refused(Some((4114, "UNPARSEABLE_RAW_MESSAGE")))),
            b"panic" => panic!("as asked"),
            b"no" => Err(refused(None)),
            _ if self.silent.load(SeqCst) => Ok(()),
            _ => {
                let mailbox = self.mailbox.get().unwrap();
                mailbox.post(Mail::Reply { conn, frame: frame.bytes });
                Ok(())
            }
        }
    }

    fn closed(&self, conn: ConnId, why: Closed, turn: Option<Turn>) {
        if self.holds.load(SeqCst) {
            self.partings.lock().unwrap().extend(turn);
        }
        self.tell(Said::Closed(conn, why));
    }
}

fn refused(close: Option<(u16, &'static str)>) -> NotTaken {
    NotTaken::Refused(Refusal { reply: Some("refused".into()), close })
}

pub struct Server {
    pub net: Net,
    pub door: Arc<Echo>,
    pub mailbox: Mailbox,
    pub tcp: SocketAddr,
    pub http: SocketAddr,
}

pub fn serve(options: Options) -> Server {
    serve_with(options, None)
}

pub fn serve_with(options: Options, http: Option<Arc<dyn HttpDoor>>) -> Server {
    let any = Some("127.0.0.1:0".parse().unwrap());
    let door = Arc::new(Echo::default());
    let options = Options { tcp: any, http: any, ..options };
    let listeners = Listeners::bind(&options).unwrap();
    let net = tidegate_net::start(options, listeners, door.clone(), http).unwrap();
    let mailbox = net.mailbox();
    assert!(door.mailbox.set(mailbox.clone()).is_ok());
    let addrs = net.local_addrs();
    Server { net, door, mailbox, tcp: addrs.tcp.unwrap(), http: addrs.http.unwrap() }
}

impl Server {
    /// Posts mail as a stage does, waiting for room.
    pub fn mail(&self, mail: Mail) {
        let deadline = Instant::now() + PATIENCE;
        while !self.mailbox.reserve(1) {
            assert!(Instant::now() < deadline, "the mailbox stays full");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.mailbox.push(&mut vec![mail]);
    }

    pub fn deliver(&self, to: &[(ConnId, &str)], frame: impl Into<Bytes>, class: Class, later_for: Option<ConnId>) {
        let to = to.iter().map(|(conn, peer)| Recipient { conn: *conn, peer: (*peer).into() }).collect();
        let frame = frame.into();
        self.mail(Mail::Deliver { to, frame, class, later_for, position: None, since_ns: 0, going: None });
    }

    /// A TCP client and its connection's id; it has said `hello` and heard it.
    pub fn tcp_client(&self) -> (Framed<TcpStream>, ConnId) {
        let mut client = Framed(connect(self.tcp));
        let word = format!("hello from {}", client.0.local_addr().unwrap());
        client.send(word.as_bytes());
        assert_eq!(client.receive(), word.as_bytes());
        let conn = self.door.wait("the greeting", |said| {
            said.iter().find_map(|said| match said {
                Said::Frame(conn, bytes) if &bytes[..] == word.as_bytes() => Some(*conn),
                _ => None,
            })
        });
        (client, conn)
    }
}

impl Server {
    /// Somebody logs in on this connection, which is told so: from then on it is no guest's.
    pub fn log_in(&self, conn: ConnId) {
        self.mail(Mail::LoggedIn { conn, peer: "somebody".into() });
        self.mail(Mail::Reply { conn, frame: "welcome".into() });
    }
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A client of length-prefixed commands.
pub struct Framed<S>(pub S);

pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut len) = (Vec::new(), bytes.len());
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
    out
}

impl<S: Read + Write> Framed<S> {
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(&framed(bytes)).unwrap();
        self.0.flush().unwrap();
    }

    pub fn receive(&mut self) -> Vec<u8> {
        self.try_receive().expect("the connection is closed")
    }

    /// `None` at the end of the stream.
    pub fn try_receive(&mut self) -> Option<Vec<u8>> {
        let (mut len, mut shift) = (0, 0);
        loop {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
            len |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        Some(bytes)
    }
}

pub const BINARY: &str = "lc.protobuf2.3";
pub const BASE64: &str = "lc.proto2base64.3";

/// A WebSocket client over `stream`.
pub fn websocket<S: Read + Write>(stream: S, subprotocol: &str) -> WebSocket<S> {
    let mut request = "ws://localhost/?appId=the-app".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
    request.headers_mut().insert("Origin", "https://app.example".parse().unwrap());
    let (client, response) = tungstenite::client(request, stream).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], subprotocol);
    client
}

pub fn binary(bytes: impl Into<Vec<u8>>) -> Message {
    Message::Binary(bytes.into().into())
}

/// A delivery as its recipient sees it.
pub fn with_peer(frame: &[u8], peer: &str) -> Vec<u8> {
    [frame, &[0x22, peer.len() as u8], peer.as_bytes()].concat()
}

pub fn name(n: usize) -> ClientId {
    format!("client-{n}").into()
}

pub fn is_tcp(meta: &ConnMeta) -> bool {
    meta.transport == Transport::Tcp
}

/// Waits until `done`.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
