use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use tidegate_net::{HttpDoor, HttpStream, Options};

use crate::support::*;

/// Answers each request of the form "head, Content-Length, body" with the body's length and the body.
#[derive(Default)]
struct Bodies {
    peers: Mutex<Vec<(IpAddr, bool)>>,
}

impl HttpDoor for Bodies {
    fn accept(&self, stream: HttpStream) {
        self.peers.lock().unwrap().push((stream.peer, stream.tls));
        thread::spawn(move || serve_bodies(stream));
    }
}

fn serve_bodies(stream: HttpStream) -> Option<()> {
    let mut data = stream.head.to_vec();
    loop {
        let end = loop {
            match data.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => data.extend_from_slice(&stream.from_socket.recv().ok()?),
            }
        };
        let head = String::from_utf8(data.drain(..end).collect()).ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?.parse().ok()?;
        while data.len() < length {
            data.extend_from_slice(&stream.from_socket.recv().ok()?);
        }
        let body: Vec<u8> = data.drain(..length).collect();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.to_socket.send_blocking(Bytes::from(answer)).ok()?;
        for chunk in body.chunks(10_000) {
            stream.to_socket.send_blocking(Bytes::copy_from_slice(chunk)).ok()?;
        }
        if head.contains("Connection: close") {
            return None;
        }
    }
}

fn post(stream: &mut TcpStream, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /1.1/x HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let mut writer = stream.try_clone().unwrap();
    let sent = [head.as_bytes(), body].concat();
    let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&head));
    let mut answer = vec![0; body.len()];
    stream.read_exact(&mut answer).unwrap();
    writing.join().unwrap();
    answer
}

#[test]
fn what_is_no_websocket_goes_to_the_http_side() {
    let door = Arc::new(Bodies::default());
    let options = Options { credits: 4, ..Options::default() };
    let server = serve_with(options, Some(door.clone()));
    let mut client = connect(server.http);
    for size in [0, 10, 3_000_000, 5] {
        let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
        assert_eq!(post(&mut client, "", &body), body, "{size}");
    }
    assert_eq!(post(&mut client, "Connection: close\r\n", b"bye"), b"bye");
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(door.peers.lock().unwrap()[..], [(server.http.ip(), false)]);
    eventually("it is forgotten", || server.net.stats().connections == 0);
    // The port still speaks WebSocket.
    let mut client = websocket(connect(server.http), BINARY);
    client.send(binary("hello")).unwrap();
    assert_eq!(client.read().unwrap(), binary("hello"));
}

#[test]
fn a_client_that_goes_away_ends_the_stream() {
    let door = Arc::new(Bodies::default());
    let server = serve_with(Options::default(), Some(door));
    let mut client = connect(server.http);
    assert_eq!(post(&mut client, "", b"one"), b"one");
    drop(client);
    eventually("it is forgotten", || server.net.stats().connections == 0);
}

#[test]
fn an_idle_connection_is_dropped() {
    let door = Arc::new(Bodies::default());
    let idle_timeout = std::time::Duration::from_millis(200);
    let server = serve_with(Options { idle_timeout, ..Options::default() }, Some(door));
    let mut client = connect(server.http);
    for _ in 0..4 {
        assert_eq!(post(&mut client, "", b"one"), b"one");
        thread::sleep(idle_timeout / 3);
    }
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    eventually("it is forgotten", || server.net.stats().connections == 0);
}

#[test]
fn trusted_proxies_name_the_client() {
    let door = Arc::new(Bodies::default());
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let server = serve_with(Options { trusted_proxies, ..Options::default() }, Some(door.clone()));
    post(&mut connect(server.http), "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", b"");
    let mut client = connect(server.http);
    client.write_all(b"PROXY TCP4 9.8.7.6 127.0.0.1 1 2\r\n").unwrap();
    post(&mut client, "", b"");
    let ips: Vec<String> = door.peers.lock().unwrap().iter().map(|(ip, _)| ip.to_string()).collect();
    assert_eq!(ips, ["1.2.3.4", "9.8.7.6"]);

    let mut client = Framed(connect(server.tcp));
    client.0.write_all(b"PROXY TCP4 5.5.5.5 127.0.0.1 1 2\r\n").unwrap();
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
    assert_eq!(server.door.opened(0).1.ip.to_string(), "5.5.5.5");
}

#[test]
fn strangers_cannot_name_another_client() {
    let door = Arc::new(Bodies::default());
    let server = serve_with(Options::default(), Some(door.clone()));
    post(&mut connect(server.http), "X-Forwarded-For: 1.2.3.4\r\n", b"");
    assert_eq!(door.peers.lock().unwrap()[0].0, server.http.ip());
    let mut client = connect(server.http);
    client.write_all(b"PROXY TCP4 9.8.7.6 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[test]
fn wrong_heads_are_answered_in_words() {
    let server = serve(Options::default());
    let long = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(9_000));
    for (request, status) in [
        ("\x01\x02\x03\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        (&long, "431"),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n", "426"),
    ] {
        let mut client = connect(server.http);
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.40} got {answer}");
    }
}
