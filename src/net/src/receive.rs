//! What comes from a connection's socket: bytes to commands, handshakes and chunks of HTTP.
//!
//! Bytes are looked at where the socket put them, in the reactor's buffer; a command is copied out once. A connection
//! keeps bytes only while they make no whole command or wait for credits.

use std::io::{ErrorKind, Read};
use std::mem;

use bytes::Bytes;
use tidegate_protocol::frame::tcp::{self, TcpError};
use tidegate_protocol::frame::websocket::{Event, into_bytes, write};
use tidegate_protocol::frame::{base64, keep};

use crate::conn::{
    Conn, Context, GUEST_CREDITS, GUEST_KEPT, GUEST_READ, HTTP_KEPT, HTTP_READ, Http, Pause, Port, Speaks,
};
use crate::credit::Share;
use crate::door::{ConnMeta, Frame, NotTaken, Refusal, Transport};
use crate::http_handoff::{Chunk, HttpSender, HttpStream};
use crate::net::phase;
use crate::opening::{self, Preface, Request};
use crate::outbox::Kind;
use crate::stats::add;
use crate::tls::Tls;

/// Reads of one connection at a time, so that none keeps the others waiting: whoever has more to say waits in turn.
const READS: usize = 2;

const UNPARSEABLE: (u16, &str) = (4114, "UNPARSEABLE_RAW_MESSAGE");

impl Conn {
    /// Reads what there is. `thorough`: until the socket has nothing more, even after a short read.
    pub(crate) fn readable(&mut self, thorough: bool, cx: &mut Context) {
        // What waited for credits; what an opening connection keeps waits for more bytes, and may not be plain at all.
        if !self.unread.is_empty() && !matches!(self.speaks, Speaks::Opening(_)) {
            self.consume(&mut [], cx);
        }
        let mut raw = mem::take(&mut cx.raw);
        for round in 0..READS {
            if self.dead || !self.may_read(cx) {
                break;
            }
            let most = match self.speaks {
                Speaks::Http(_) => HTTP_READ,
                _ if self.is_guest() => GUEST_READ,
                _ => raw.len(),
            };
            match self.socket.read(&mut raw[..most]) {
                Ok(0) => {
                    self.ended(cx);
                    break;
                }
                Ok(n) => {
                    Self::count_in(cx, n);
                    self.heard = cx.tick;
                    self.receive(&mut raw[..n], cx);
                    if n < most && !thorough {
                        break;
                    }
                    if round + 1 == READS {
                        cx.again.push(self.id);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.broken(cx);
                    break;
                }
            }
        }
        cx.raw = raw;
    }

    fn may_read(&mut self, cx: &Context) -> bool {
        if self.client_done {
            return false;
        }
        match &self.speaks {
            Speaks::Opening(_) => true,
            Speaks::Http(_) => self.has_credit(),
            Speaks::Tcp | Speaks::WebSocket { .. } => self.ignores_commands(cx) || self.admits(cx),
        }
    }

    /// It is on its way out: what still comes is read for its end only.
    fn ignores_commands(&self, cx: &Context) -> bool {
        self.closing || cx.phase >= phase::LEAVING
    }

    /// A command would be taken now.
    fn admits(&mut self, cx: &Context) -> bool {
        let waiting = self.outbox.as_ref().map_or(0, |outbox| outbox.asked());
        if self.pause != Pause::Turn {
            self.pause = if waiting > self.most_replies(cx) { Pause::Replies } else { Pause::No };
        }
        self.pause == Pause::No && cx.phase == phase::SERVING && self.has_credit()
    }

    fn has_credit(&self) -> bool {
        self.share.as_ref().is_none_or(|share| share.has_some())
    }

    /// Bytes as the socket gave them.
    fn receive(&mut self, raw: &mut [u8], cx: &mut Context) {
        if matches!(&self.speaks, Speaks::Opening(opening) if !opening.decided) {
            keep(&mut self.unread, raw);
            return self.decide(cx);
        }
        let Some(tls) = &mut self.tls else { return self.consume(raw, cx) };
        let mut plain = mem::take(&mut cx.plain);
        plain.clear();
        let opened = tls.receive(raw, &mut plain);
        let (waits, ended, kept) = (tls.is_waiting(), tls.has_ended(), tls.kept());
        if waits {
            self.touch(cx);
        }
        if !plain.is_empty() {
            self.consume(&mut plain, cx);
        }
        cx.plain = plain;
        if let Err(error) = opened {
            log::debug!("{}: TLS failed: {error}", self.id);
            // The alert says why; nothing else can be written any more.
            if let Some(tls) = &mut self.tls
                && let Err(error) = tls.flush(&mut self.socket)
            {
                log::trace!("{}: no alert sent: {error}", self.id);
            }
            self.broken(cx);
        } else if ended && !self.dead {
            self.ended(cx);
        } else if self.is_guest() && !self.is_http() && kept + self.unread.len() > GUEST_KEPT {
            self.broken(cx);
        }
    }

    /// PROXY header, then TLS or plain.
    fn decide(&mut self, cx: &mut Context) {
        while let Speaks::Opening(opening) = &mut self.speaks {
            match opening::preface(&self.unread, opening.may_proxy) {
                Preface::More => return,
                Preface::Bad => return self.dead = true,
                Preface::Proxied { client, used } => {
                    opening.ip = client.unwrap_or(opening.ip);
                    opening.may_proxy = false;
                    self.unread.drain(..used);
                }
                Preface::Tls => {
                    opening.decided = true;
                    let Some(config) = cx.shared.options.tls.clone() else { return self.dead = true };
                    match Tls::new(config) {
                        Ok(tls) => self.tls = Some(Box::new(tls)),
                        Err(error) => {
                            log::error!("cannot begin a TLS session: {error}");
                            return self.dead = true;
                        }
                    }
                    let mut data = mem::take(&mut self.unread);
                    return self.receive(&mut data, cx);
                }
                Preface::Plain => {
                    opening.decided = true;
                    if !cx.shared.options.plain {
                        let port = opening.port;
                        self.unread = Vec::new();
                        return if port == Port::Http { self.refuse(opening::TLS_ONLY, cx) } else { self.dead = true };
                    }
                    let mut data = mem::take(&mut self.unread);
                    return self.consume(&mut data, cx);
                }
            }
        }
    }

    /// Bytes without TLS; what cannot be used yet is kept.
    fn consume(&mut self, data: &mut [u8], cx: &mut Context) {
        if self.unread.is_empty() {
            let used = self.process(data, cx);
            keep(&mut self.unread, &data[used..]);
            return;
        }
        let mut whole = mem::take(&mut self.unread);
        keep(&mut whole, data);
        match self.process(&mut whole, cx) {
            0 => self.unread = whole,
            // The room that the rest had taken is given back with what was used.
            used => keep(&mut self.unread, &whole[used..]),
        }
    }

    /// Uses what it can from the start of `data`; returns how much.
    fn process(&mut self, data: &mut [u8], cx: &mut Context) -> usize {
        let mut used = 0;
        let mut pong = None;
        while used < data.len() && !self.dead && !self.client_done {
            let ignores = self.ignores_commands(cx);
            let admits = ignores
                || match self.speaks {
                    Speaks::Tcp | Speaks::WebSocket { .. } => self.admits(cx),
                    _ => true,
                };
            let rest = &mut data[used..];
            let step = match &self.speaks {
                _ if self.deaf => Some(rest.len()),
                Speaks::Opening(opening) if self.closing => {
                    log::trace!("{}: bytes after a refusal on {:?}", self.id, opening.port);
                    Some(rest.len())
                }
                Speaks::Opening(opening) if opening.port == Port::Tcp => {
                    let (ip, tls) = (opening.ip, self.tls.is_some());
                    self.open(ConnMeta { ip, origin: None, transport: Transport::Tcp, tls, app_hint: None }, cx);
                    Some(0)
                }
                Speaks::Opening(_) => self.request(rest, cx),
                Speaks::Http(_) => self.chunk(rest, cx),
                Speaks::Tcp if ignores => Some(rest.len()),
                _ if !admits => None,
                Speaks::Tcp => self.tcp_frame(rest, cx),
                Speaks::WebSocket { .. } => self.websocket_frame(rest, &mut pong, cx),
            };
            match step {
                Some(n) => used += n,
                None => break,
            }
        }
        // Pings that came together are answered once, the last one, as RFC 6455 5.5.3 allows.
        if let Some(pong) = pong
            && !self.dead
            && !self.client_done
        {
            self.push(Bytes::from(pong), Kind::Raw, cx);
        }
        if self.dead || self.client_done { data.len() } else { used }
    }

    fn tcp_frame(&mut self, rest: &[u8], cx: &mut Context) -> Option<usize> {
        match tcp::next(rest, self.longest_frame(false, cx)) {
            Ok(None) => None,
            Ok(Some(frame)) => {
                self.command(Bytes::copy_from_slice(&rest[frame.payload]), cx);
                Some(frame.consumed)
            }
            Err(error) => {
                let (code, reason) = match error {
                    TcpError::TooLong => (4109, "FRAME_TOO_LONG"),
                    TcpError::BadPrefix => UNPARSEABLE,
                };
                self.close(code, reason, cx);
                Some(rest.len())
            }
        }
    }

    fn websocket_frame(&mut self, rest: &mut [u8], pong: &mut Option<Vec<u8>>, cx: &mut Context) -> Option<usize> {
        let ignores = self.ignores_commands(cx);
        let len = rest.len();
        let Speaks::WebSocket { reader, base64: in_text } = &mut self.speaks else { return None };
        let in_text = *in_text;
        let step = match reader.next(rest) {
            Ok(step) => step?,
            Err(violation) => {
                let (code, reason) = violation.close();
                self.close(code, reason, cx);
                // The client's own close frame cannot be found any more; the end of its stream can.
                self.deaf = true;
                self.touch(cx);
                return Some(len);
            }
        };
        match step.event {
            Event::Message { .. } if ignores => {}
            Event::Message { text, payload } => {
                let command = match (in_text, text) {
                    (false, false) => Some(into_bytes(payload)),
                    (true, true) => base64::decode(&payload).ok(),
                    _ => None,
                };
                match command {
                    Some(command) => self.command(command, cx),
                    None => self.close(UNPARSEABLE.0, UNPARSEABLE.1, cx),
                }
            }
            Event::Fragment | Event::Pong => {}
            Event::Ping(payload) => *pong = Some(write::pong(payload)),
            Event::Close { code, .. } => {
                if !self.closing {
                    self.push(write::close(code, "").into(), Kind::Raw, cx);
                    // 1005 stands for a close without a code and is never on the wire (RFC 6455, 7.1.5).
                    self.tell_closed(code.unwrap_or(1005), true, cx);
                    self.begin_closing(cx);
                }
                self.client_done = true;
                self.touch(cx);
            }
        }
        Some(step.consumed)
    }

    /// One whole command to the door.
    fn command(&mut self, bytes: Bytes, cx: &mut Context) {
        let credit = self.share(cx).take(bytes.len());
        add(&cx.post.counters.frames_in, 1);
        self.hand_over(Frame { bytes, received_ns: cx.now_ns, credit, turn: None }, cx);
    }

    /// A command, maybe one that has waited for its turn. A guest's takes one whatever it says: those of a thousand guests
    /// must not stand in the pipeline before everybody else's.
    pub(crate) fn hand_over(&mut self, frame: Frame, cx: &mut Context) {
        let taken = match self.is_guest() && frame.turn.is_none() {
            true => Err(NotTaken::Later(frame)),
            false => cx.shared.door.frame(self.id, frame),
        };
        let frame = match taken {
            Ok(()) => return,
            Err(NotTaken::Refused(refusal)) => return self.refused(refusal, cx),
            Err(NotTaken::Later(frame)) => frame,
        };
        match cx.turnstile.enter() {
            Some(turn) => self.hand_over(Frame { turn: Some(turn), ..frame }, cx),
            None => {
                self.pause = Pause::Turn;
                cx.turnstile.wait(self.id, frame);
            }
        }
    }

    fn refused(&mut self, Refusal { reply, close }: Refusal, cx: &mut Context) {
        if let Some(reply) = reply {
            self.push(reply, Kind::Reply, cx);
        }
        if let Some((code, reason)) = close {
            self.close(code, reason, cx);
        }
    }

    fn share(&mut self, cx: &Context) -> &std::sync::Arc<Share> {
        let options = &cx.shared.options;
        let (credits, bytes) = match self.speaks {
            Speaks::Http(_) => (options.credits, options.credit_bytes.min(HTTP_KEPT)),
            _ if self.is_guest() => (options.credits.min(GUEST_CREDITS), options.credit_bytes),
            _ => (options.credits, options.credit_bytes),
        };
        self.share.get_or_insert_with(|| Share::new(self.id, cx.post.clone(), credits, bytes))
    }

    /// A request head on the HTTP port.
    fn request(&mut self, rest: &[u8], cx: &mut Context) -> Option<usize> {
        let Speaks::Opening(opening) = &self.speaks else { return None };
        let ip = opening.ip;
        let tls = self.tls.is_some();
        match opening::request(rest, ip, &cx.shared.options) {
            Request::More => None,
            Request::TooLong => Some(self.refuse_all(opening::TOO_LONG, rest, cx)),
            Request::Malformed => Some(self.refuse_all(opening::MALFORMED, rest, cx)),
            Request::Refused(refused) => {
                self.push(refused.response().into(), Kind::Raw, cx);
                self.begin_closing(cx);
                Some(rest.len())
            }
            Request::WebSocket { .. } if cx.phase >= phase::FINISHING => {
                Some(self.refuse_all(opening::LEAVING, rest, cx))
            }
            Request::WebSocket { accepted, origin, app_hint, forwarded, used } => {
                self.push(accepted.response.into(), Kind::Raw, cx);
                let transport = Transport::WebSocket(accepted.subprotocol);
                self.open(ConnMeta { ip: forwarded.unwrap_or(ip), origin, transport, tls, app_hint }, cx);
                Some(used)
            }
            Request::Http { forwarded } => {
                let Some(door) = cx.shared.http.clone() else {
                    return Some(self.refuse_all(opening::NO_HTTP, rest, cx));
                };
                let room = cx.shared.options.credits as usize + 1;
                let (to_http, from_socket) = flume::bounded(room);
                let (to_socket, from_http) = HttpSender::new(self.id, cx.post.clone());
                self.speaks = Speaks::Http(Box::new(Http { to_http: Some(to_http), from_http }));
                let (head, peer) = (Bytes::copy_from_slice(rest), forwarded.unwrap_or(ip));
                door.accept(HttpStream { head, from_socket, to_socket, peer, tls });
                Some(rest.len())
            }
        }
    }

    fn refuse_all(&mut self, response: &'static [u8], rest: &[u8], cx: &mut Context) -> usize {
        self.refuse(response, cx);
        rest.len()
    }

    fn refuse(&mut self, response: &'static [u8], cx: &mut Context) {
        self.push(Bytes::from_static(response), Kind::Raw, cx);
        self.begin_closing(cx);
    }

    /// More of an HTTP request, to the HTTP side.
    fn chunk(&mut self, rest: &[u8], cx: &mut Context) -> Option<usize> {
        if !self.has_credit() {
            return None;
        }
        let credit = self.share(cx).take(rest.len());
        if let Speaks::Http(http) = &mut self.speaks
            && let Some(queue) = &http.to_http
            && queue.try_send(Bytes::from_owner(Chunk { bytes: rest.to_vec(), _credit: credit })).is_err()
        {
            // The HTTP side reads no more; credits keep the queue from ever being full.
            http.to_http = None;
        }
        Some(rest.len())
    }
}
