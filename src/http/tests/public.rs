//! The public side over the byte stream that a reactor hands over.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use common::*;
use serde_json::{Value, json};
use tidegate_http::{Deps, HttpRuntime, HttpSide, HttpStream, Journeys, Options, Page, Piped, StartError};

struct OneJourney;

impl Journeys for OneJourney {
    fn journey(&self, message: &str) -> Option<Value> {
        (message == "m1").then(|| json!({"id": message, "stages": []}))
    }
}

const PAGE: &[u8] = b"<!doctype html><title>Tidegate</title>";

fn side(runtime: &HttpRuntime, options: Options) -> HttpSide {
    let deps = Deps {
        apps: vec![app(0, vec![])],
        pages: vec![Page { path: "/", content_type: "text/html; charset=utf-8", body: PAGE }],
        journeys: Some(Arc::new(OneJourney)),
        ..Deps::default()
    };
    HttpSide::start(runtime, options, deps).unwrap()
}

/// The reactor's end of a connection.
struct Socket {
    to_server: flume::Sender<Bytes>,
    from_server: flume::Receiver<Bytes>,
    wakes: Arc<AtomicUsize>,
}

fn connect(side: &HttpSide, head: &str, tls: bool) -> Socket {
    let ((to_server, from_socket), (sender, from_server)) = (flume::bounded(4), flume::bounded(4));
    let wakes = Arc::new(AtomicUsize::new(0));
    let woken = wakes.clone();
    let wake = Arc::new(move || {
        woken.fetch_add(1, Ordering::SeqCst);
    });
    side.accept(HttpStream {
        head: Bytes::copy_from_slice(head.as_bytes()),
        from_socket,
        to_socket: Box::new(Piped { sender, wake }),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        tls,
    });
    Socket { to_server, from_server, wakes }
}

impl Socket {
    fn send(&self, text: &str) {
        self.to_server.send_timeout(Bytes::copy_from_slice(text.as_bytes()), PATIENCE).expect("room");
    }

    /// All bytes until the server ends the connection.
    fn rest(&self) -> String {
        let mut all = Vec::new();
        loop {
            match self.from_server.recv_timeout(PATIENCE) {
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(flume::RecvTimeoutError::Disconnected) => return String::from_utf8(all).expect("text"),
                Err(flume::RecvTimeoutError::Timeout) => panic!("still open after {}", String::from_utf8_lossy(&all)),
            }
        }
    }

    /// One answer of a connection that stays open.
    fn answer(&self) -> String {
        let mut all = Vec::new();
        loop {
            all.extend_from_slice(&self.from_server.recv_timeout(PATIENCE).expect("more"));
            let text = String::from_utf8_lossy(&all);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = header(head, "content-length").expect("a length").parse::<usize>().expect("a number");
                if body.len() >= length {
                    assert_eq!(body.len(), length);
                    return text.into_owned();
                }
            }
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        assert_eq!(header(&self.head, "content-type").as_deref(), Some("application/json"));
        serde_json::from_str(&self.body).expect("JSON")
    }
}

fn ask(side: &HttpSide, method: &str, path: &str, tls: bool) -> Answer {
    let host = "Host: chat.example.com:7700\r\nOrigin: https://page.example";
    let head = format!("{method} {path} HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n");
    Answer::of(&connect(side, &head, tls).rest())
}

#[test]
fn the_route_is_told_by_host_and_scheme() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options { route_ttl_s: 1800, ..Options::default() });
    for (tls, url) in [(false, "ws://chat.example.com:7700/"), (true, "wss://chat.example.com:7700/")] {
        let answer = ask(&side, "GET", "/v1/route?appId=app-0&secure=true&features=x&_t=1", tls);
        assert_eq!(answer.status, 200);
        assert_eq!(header(&answer.head, "access-control-allow-origin").as_deref(), Some("*"));
        assert_eq!(answer.json(), json!({"server": url, "secondary": url, "ttl": 1800}));
    }
}

#[test]
fn nobody_has_missed_a_notification() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options::default());
    // As the JavaScript SDKs ask, and as Swift does.
    let path = "/1.1/rtm/notifications?client_id=tom&start_ts=1";
    let answer = ask(&side, "GET", &format!("{path}&notification_type=permanent"), false);
    assert_eq!(header(&answer.head, "access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!((answer.status, answer.json()), (200, json!({"hasMore": false, "notifications": []})));
    let both = ask(&side, "GET", path, false).json();
    assert_eq!((&both["permanent"]["notifications"], &both["droppable"]["notifications"]), (&json!([]), &json!([])));
    assert_eq!(both["droppable"]["invalidLocalConvCache"], true, "nothing is kept, so it must look for itself");
    assert_eq!(ask(&side, "GET", "/1.1/rtm/notifications", false).status, 400);
    let preflight = ask(&side, "OPTIONS", path, false);
    assert_eq!(preflight.status, 200);
    let allowed = header(&preflight.head, "access-control-allow-headers").expect("allowed headers");
    assert!(allowed.contains("x-lc-im-session-token"), "{allowed}");
}

#[test]
fn a_public_url_is_told_in_place_of_the_host() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options { public_url: Some("https://im.example.com".into()), ..Options::default() });
    let told = ask(&side, "GET", "/v1/route?appId=app-0", false).json();
    assert_eq!(
        (&told["server"], &told["secondary"]),
        (&json!("wss://im.example.com/"), &json!("wss://im.example.com/"))
    );
    let bad = Options { public_url: Some("im.example.com".into()), ..Options::default() };
    assert!(matches!(HttpSide::start(&runtime, bad, Deps::default()), Err(StartError::PublicUrl(_))));
}

#[test]
fn everything_else_is_an_error_in_json_with_cors() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options::default());
    for (method, path, status) in [
        ("GET", "/v1/route", 404),
        ("GET", "/v1/route?appId=", 404),
        ("GET", "/v1/route?appId=stranger", 404),
        ("GET", "/v1/route?appId=%FF", 404),
        ("POST", "/v1/route?appId=app-0", 405),
        ("GET", "/1.1/classes/_User", 404),
        ("POST", "/", 405),
        ("GET", "/dev/journeys/m2", 404),
        ("GET", "/dev/journeys/%FF", 400),
        ("GET", "/stages", 404),
    ] {
        let answer = ask(&side, method, path, false);
        assert_eq!((answer.status, answer.json()["code"].clone()), (status, json!(status)), "{method} {path}");
        assert!(answer.json()["error"].is_string());
        assert_eq!(header(&answer.head, "access-control-allow-origin").as_deref(), Some("*"));
    }
    let without_host = "GET /v1/route?appId=app-0 HTTP/1.0\r\n\r\n";
    assert_eq!(Answer::of(&connect(&side, without_host, false).rest()).status, 400);
}

#[test]
fn a_preflight_is_answered_everywhere() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options::default());
    for path in ["/v1/route", "/1.2/rtm/messages", "/"] {
        let answer = ask(&side, "OPTIONS", path, false);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        assert_eq!(header(&answer.head, "access-control-max-age").as_deref(), Some("86400"));
        let headers = header(&answer.head, "access-control-allow-headers").expect("headers");
        assert!(headers.contains("x-lc-key") && headers.contains("x-lc-im-session-token"), "{headers}");
        let methods = header(&answer.head, "access-control-allow-methods").expect("methods");
        assert!(methods.contains("DELETE") && methods.contains("PUT"), "{methods}");
    }
}

#[test]
fn pages_and_journeys_are_served() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options::default());
    let page = ask(&side, "GET", "/", false);
    assert_eq!((page.status, page.body.as_bytes()), (200, PAGE));
    assert_eq!(header(&page.head, "content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(ask(&side, "HEAD", "/", false).body, "");
    assert_eq!(ask(&side, "GET", "/dev/journeys/m1", false).json()["id"], "m1");
    let bare = HttpSide::start(&runtime, Options::default(), Deps::default()).unwrap();
    assert_eq!(ask(&bare, "GET", "/dev/journeys/m1", false).status, 404, "outside development there is no such path");
}

#[test]
fn a_connection_serves_several_requests_in_any_pieces() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options::default());
    let socket = connect(&side, "GET /v1/rou", false);
    for piece in ["te?appId=app-0 HTTP/1.1\r\nHo", "st: a\r\n", "\r\n"] {
        socket.send(piece);
    }
    assert!(socket.answer().contains("ws://a/"));
    socket.send("POST /1.1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
    socket.send("cdef");
    assert!(socket.answer().starts_with("HTTP/1.1 404"));
    // Five pieces were taken and two answers given.
    wait_until("the reactor was told as often", || socket.wakes.load(Ordering::SeqCst) >= 7);
    let Socket { to_server, from_server, wakes } = socket;
    let before = wakes.load(Ordering::SeqCst);
    drop(to_server);
    assert_eq!(from_server.recv_timeout(PATIENCE), Err(flume::RecvTimeoutError::Disconnected));
    wait_until("the reactor is told of the end", || wakes.load(Ordering::SeqCst) > before);
}

#[test]
fn a_slow_reader_gets_a_long_answer_whole() {
    static LONG: [u8; 1 << 20] = [b'x'; 1 << 20];
    let runtime = HttpRuntime::start(1).unwrap();
    let pages = vec![Page { path: "/long", content_type: "text/plain", body: &LONG }];
    let side = HttpSide::start(&runtime, Options::default(), Deps { pages, ..Deps::default() }).unwrap();
    let socket = connect(&side, "GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false);
    wait_until("the channel is full", || socket.from_server.is_full());
    assert_eq!(Answer::of(&socket.rest()).body.len(), LONG.len());
}

#[test]
fn connections_are_bounded_and_end_when_the_server_leaves() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options { connections: 2, ..Options::default() });
    let ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let [first, second] = [(); 2].map(|()| connect(&side, ask, false));
    second.answer();
    first.answer();
    first.send(ask);
    first.answer();
    let third = connect(&side, ask, false);
    assert_eq!(second.rest(), "", "it asked longest ago");
    third.answer();
    first.send(ask);
    first.answer();
    side.drain();
    assert_eq!((first.rest(), third.rest()), (String::new(), String::new()), "idle connections end");
}

#[test]
fn who_does_not_read_its_answer_keeps_nobody_out() {
    static LONG: [u8; 1 << 20] = [b'x'; 1 << 20];
    let runtime = HttpRuntime::start(1).unwrap();
    let pages = vec![Page { path: "/long", content_type: "text/plain", body: &LONG }];
    let options = Options { connections: 1, ..Options::default() };
    let side = HttpSide::start(&runtime, options, Deps { pages, ..Deps::default() }).unwrap();
    let slow = connect(&side, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n", false);
    wait_until("the channel is full", || slow.from_server.is_full());
    let other = connect(&side, "GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false);
    assert_eq!(Answer::of(&other.rest()).body.len(), LONG.len());
    // It has a moment to take what is on its way.
    std::thread::sleep(Duration::from_millis(400));
    assert!(slow.rest().len() < LONG.len());
}

#[test]
fn who_says_nothing_is_let_go() {
    let runtime = HttpRuntime::start(1).unwrap();
    let side = side(&runtime, Options { head_timeout: Duration::from_millis(50), ..Options::default() });
    let socket = connect(&side, "GET / HT", false);
    socket.rest();
    let garbage = connect(&side, "\0\x01 nonsense\r\n\r\n", false).rest();
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
}
