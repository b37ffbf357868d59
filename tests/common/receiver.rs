//! A real HTTP server that takes webhooks and answers as a test tells it to: well, late, wrongly or not at all.
//!
//! Written on sockets, because a library would not let it misbehave. Owns its threads, one a connection; they end
//! with their connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use serde_json::Value;

use super::{PATIENCE, hex};

/// One POST that came.
#[derive(Debug, Clone)]
pub struct Call {
    pub event: String,
    pub app: String,
    pub id: String,
    /// `params` of a hook; the whole body of a push.
    pub params: Value,
    pub body: String,
    pub path: String,
    /// As they came: names and what they say.
    pub headers: Headers,
    pub signature: Option<String>,
    pub at: Instant,
    /// Which connection, counted from 0.
    pub connection: usize,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone)]
pub enum Reply {
    /// 200 with this.
    Json(Value),
    Status(u16),
    /// Bytes as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// The answer comes late.
    After(Duration, Box<Reply>),
    /// The connection ends without a word.
    HangUp,
}

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    more: Condvar,
    answer: Box<dyn Fn(&Call) -> Reply + Send + Sync>,
}

impl Receiver {
    pub fn start(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// At an address that is taken already.
    pub fn on(listener: TcpListener, answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Receiver {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { calls: Mutex::default(), more: Condvar::new(), answer: Box::new(answer) });
        let serving = shared.clone();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let shared = serving.clone();
                thread::spawn(move || shared.serve(stream, connection));
            }
        });
        Receiver { address, shared }
    }

    /// One that agrees to all.
    pub fn agreeing() -> Receiver {
        Receiver::start(|_| Reply::Json(Value::Object(Default::default())))
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Waits for the first call that is the one.
    pub fn call(&self, what: &str, is_it: impl Fn(&Call) -> bool) -> Call {
        let mut calls = self.shared.calls.lock().unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(call) = calls.iter().find(|call| is_it(call)) {
                return call.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {PATIENCE:?} for {what}; calls were {calls:#?}");
            calls = self.shared.more.wait_timeout(calls, left).unwrap().0;
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, connection: usize) -> Option<()> {
        let mut from = BufReader::new(stream.try_clone().ok()?);
        let mut to = stream;
        loop {
            let (path, headers, body) = request(&mut from)?;
            let header = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let signature = header("x-tidegate-signature").map(|(_, value)| value.clone());
            let told: Value = serde_json::from_str(&body).unwrap_or_default();
            let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
            let params = if told["params"].is_null() { told.clone() } else { told["params"].clone() };
            let (event, app, id) = (text("event"), text("appId"), text("id"));
            let at = Instant::now();
            let call = Call { event, app, id, params, body, path, headers, signature, at, connection };
            self.calls.lock().unwrap().push(call.clone());
            self.more.notify_all();
            write(&mut to, (self.answer)(&call))?;
        }
    }
}

/// Names and values, as they came.
type Headers = Vec<(String, String)>;

/// Path, headers and body of the next request; `None` at the end of the connection.
fn request(from: &mut impl BufRead) -> Option<(String, Headers, String)> {
    let (mut len, mut headers) = (0, Vec::new());
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    loop {
        line.clear();
        from.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            None => break,
            Some((name, value)) => {
                if name.eq_ignore_ascii_case("content-length") {
                    len = value.trim().parse().ok()?;
                }
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body).ok()?;
    Some((path, headers, String::from_utf8(body).ok()?))
}

/// `None`: the connection is to end.
fn write(to: &mut TcpStream, reply: Reply) -> Option<()> {
    let (status, body) = match reply {
        Reply::Json(value) => (200, value.to_string()),
        Reply::Status(status) => (status, "{}".to_owned()),
        Reply::Raw(bytes) => {
            to.write_all(&bytes).ok()?;
            return None;
        }
        Reply::After(delay, reply) => {
            thread::sleep(delay);
            return write(to, *reply);
        }
        Reply::HangUp => return None,
    };
    let len = body.len();
    // In one piece: a second one would wait for the acknowledgement of the first.
    let answer =
        format!("HTTP/1.1 {status} So\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}");
    to.write_all(answer.as_bytes()).ok()
}

/// Whether a call's signature was made with this secret, over this very body, just now.
pub fn is_signed(call: &Call, secret: &str) -> bool {
    let Some((t, v1)) = call.signature.as_deref().and_then(|s| s.strip_prefix("t=")).and_then(|s| s.split_once(",v1="))
    else {
        return false;
    };
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let right = hex(&mac.chain_update(format!("{t}.{}", call.body)).finalize().into_bytes());
    let recent = t.parse::<i64>().is_ok_and(|t| (super::now_ms() - t).abs() < 60_000);
    recent && v1 == right
}
