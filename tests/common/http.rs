//! One HTTP request at a time over a connection of its own: enough for the admin side and the public paths.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// As they stand, one a line.
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|bad| panic!("no JSON ({bad}): {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub fn get(to: SocketAddr, path: &str) -> Response {
    request(to, "GET", path, "").unwrap_or_else(|failed| panic!("GET {path}: {failed}"))
}

pub fn patch(to: SocketAddr, path: &str, body: &str) -> Response {
    request(to, "PATCH", path, body).unwrap_or_else(|failed| panic!("PATCH {path}: {failed}"))
}

pub fn request(to: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<Response> {
    request_with(to, method, path, "", body)
}

/// `headers`: whole lines, each with its end.
pub fn request_with(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let len = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{headers}Content-Length: {len}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| std::io::Error::other(format!("no HTTP: {:?}", String::from_utf8_lossy(&answer))))
}

fn parse(answer: &[u8]) -> Option<Response> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let response = Response { status, head: head.to_owned(), body: body.to_owned() };
    match response.header("transfer-encoding") {
        Some(_) => Some(Response { body: dechunk(body)?, ..response }),
        None => Some(response),
    }
}

fn dechunk(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}
