//! The frames that cost most: a message's ack to its sender and its copy to the receivers, and a page of history. The
//! first two take one allocation, of the right size.
//!
//! Written by hand, field numbers from `schema/messages.proto`; the tests hold them to the generated encoding. Each
//! frame is described once and walked twice, first to count its bytes, then to write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::encoding::{WireType, encode_varint, encoded_len_varint};
use tidegate_domain::ids::{ConvId, MessageId, Millis};
use tidegate_domain::reply::{LogItem, Message};

use super::MESSAGING;
use crate::wire::CommandType;

/// Where a walk's bytes go: counted, or written.
trait Sink {
    fn varint(&mut self, number: u64);
    fn raw(&mut self, bytes: &[u8]);

    /// Negative numbers take ten bytes, as protobuf has it.
    fn number(&mut self, field: u32, number: i64) {
        self.varint(key(field, WireType::Varint));
        self.varint(number as u64);
    }

    /// Present only where it holds: SDKs take presence for truth.
    fn flag(&mut self, field: u32, holds: bool) {
        if holds {
            self.number(field, 1);
        }
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(key(field, WireType::LengthDelimited));
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    fn message(&mut self, field: u32, body: &impl Walk)
    where
        Self: Sized,
    {
        self.measured(field, length(body), body);
    }

    /// A message inside, whose length is known.
    fn measured(&mut self, field: u32, length: usize, body: &impl Walk)
    where
        Self: Sized,
    {
        self.varint(key(field, WireType::LengthDelimited));
        self.varint(length as u64);
        body.walk(self);
    }
}

fn key(field: u32, kind: WireType) -> u64 {
    u64::from(field << 3) | kind as u64
}

struct Count(usize);

impl Sink for Count {
    fn varint(&mut self, number: u64) {
        self.0 += encoded_len_varint(number);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn measured(&mut self, field: u32, length: usize, _: &impl Walk) {
        self.varint(key(field, WireType::LengthDelimited));
        self.varint(length as u64);
        self.0 += length;
    }
}

impl Sink for Vec<u8> {
    fn varint(&mut self, number: u64) {
        encode_varint(number, self);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A message of the wire that names its fields in order.
trait Walk {
    fn walk(&self, out: &mut impl Sink);
}

fn length(message: &impl Walk) -> usize {
    let mut counted = Count(0);
    message.walk(&mut counted);
    counted.0
}

fn frame(message: &impl Walk) -> Bytes {
    let mut out = Vec::with_capacity(length(message));
    message.walk(&mut out);
    out.into()
}

/// `ack` to the sender (wire.md 3.8.2): no code, no reason.
pub(super) fn sent(i: Option<i32>, peer: Option<&str>, at: Millis, mid: MessageId, sent: Millis, cid: ConvId) -> Bytes {
    frame(&Sent { i, peer, at, ack: Ack { mid: mid.text(), sent, cid: cid_text(cid) } })
}

struct Sent<'a> {
    i: Option<i32>,
    peer: Option<&'a str>,
    at: Millis,
    ack: Ack,
}

impl Walk for Sent<'_> {
    fn walk(&self, out: &mut impl Sink) {
        out.number(1, CommandType::Ack as i64);
        if let Some(peer) = self.peer {
            out.bytes(4, peer.as_bytes());
        }
        if let Some(i) = self.i {
            out.number(5, i64::from(i));
        }
        out.number(9, self.at);
        out.message(105, &self.ack);
    }
}

struct Ack {
    mid: [u8; 22],
    sent: Millis,
    cid: CidText,
}

impl Walk for Ack {
    fn walk(&self, out: &mut impl Sink) {
        out.bytes(4, self.cid.as_bytes());
        out.number(5, self.sent);
        out.bytes(6, &self.mid);
    }
}

/// `direct` to the receivers (wire.md 3.8.3), without `peerId`.
pub(super) fn message(at: Millis, message: &Message) -> Bytes {
    frame(&Pushed { at, direct: Direct { mid: message.mid.text(), cid: cid_text(message.cid), message } })
}

struct Pushed<'a> {
    at: Millis,
    direct: Direct<'a>,
}

impl Walk for Pushed<'_> {
    fn walk(&self, out: &mut impl Sink) {
        out.number(1, CommandType::Direct as i64);
        out.number(8, i64::from(MESSAGING));
        out.number(9, self.at);
        out.message(104, &self.direct);
    }
}

struct Direct<'a> {
    mid: [u8; 22],
    cid: CidText,
    message: &'a Message,
}

impl Walk for Direct<'_> {
    fn walk(&self, out: &mut impl Sink) {
        let message = self.message;
        // Never an empty `binaryMsg`: SDKs would take the message for a binary one.
        let body = message.body.bytes();
        let binary = message.body.is_binary() && !body.is_empty();
        if !binary {
            out.bytes(1, body);
        }
        out.bytes(3, message.from.as_bytes());
        out.number(4, message.at);
        out.flag(5, message.offline);
        out.flag(6, message.has_more);
        out.bytes(11, self.cid.as_bytes());
        out.bytes(12, &self.mid);
        out.flag(13, message.transient);
        if let Some(patched_at) = message.patched_at {
            out.number(18, patched_at);
        }
        if binary {
            out.bytes(19, body);
        }
        for client in &message.mentions.clients {
            out.bytes(20, client.as_bytes());
        }
        out.flag(21, message.mentions.all);
        out.number(22, i64::from(message.kind.number()));
    }
}

/// `logs` to whoever asked for a page of history (wire.md 3.14).
pub(super) fn logs(i: Option<i32>, peer: Option<&str>, at: Millis, cid: ConvId, items: &[LogItem]) -> Bytes {
    // Measured once: the frame's length, the page's and an item's are said in front of each other.
    let items: Vec<_> = items.iter().map(Entry::of).map(|entry| (length(&entry), entry)).collect();
    frame(&Logs { i, peer, at, page: Page { cid: cid_text(cid), items } })
}

struct Logs<'a> {
    i: Option<i32>,
    peer: Option<&'a str>,
    at: Millis,
    page: Page<'a>,
}

impl Walk for Logs<'_> {
    fn walk(&self, out: &mut impl Sink) {
        out.number(1, CommandType::Logs as i64);
        if let Some(peer) = self.peer {
            out.bytes(4, peer.as_bytes());
        }
        if let Some(i) = self.i {
            out.number(5, i64::from(i));
        }
        out.number(9, self.at);
        out.message(109, &self.page);
    }
}

struct Page<'a> {
    cid: CidText,
    items: Vec<(usize, Entry<'a>)>,
}

impl Walk for Page<'_> {
    fn walk(&self, out: &mut impl Sink) {
        out.bytes(1, self.cid.as_bytes());
        for (length, item) in &self.items {
            out.measured(105, *length, item);
        }
    }
}

struct Entry<'a> {
    item: &'a LogItem,
    /// Of a body of bytes, where it is shown as base64.
    base64: Option<String>,
}

impl<'a> Entry<'a> {
    fn of(item: &'a LogItem) -> Self {
        let bytes = item.body.bytes();
        let is_binary = item.body.is_binary() && !bytes.is_empty();
        Entry { item, base64: is_binary.then(|| STANDARD.encode(bytes)) }
    }
}

impl Walk for Entry<'_> {
    fn walk(&self, out: &mut impl Sink) {
        let Entry { item, base64 } = self;
        out.bytes(1, item.from.as_bytes());
        out.bytes(2, base64.as_ref().map_or(&item.body.bytes()[..], |text| text.as_bytes()));
        out.number(3, item.at);
        out.bytes(4, &item.mid.text());
        for (field, time) in [(5, item.delivered_at), (6, item.read_at), (7, item.patched_at)] {
            if let Some(time) = time {
                out.number(field, time);
            }
        }
        out.flag(8, item.mentions.all);
        for client in &item.mentions.clients {
            out.bytes(9, client.as_bytes());
        }
        out.flag(10, base64.is_some());
        out.number(11, i64::from(item.kind.number()));
    }
}

/// A conversation's id as text, 37 characters at most, without an allocation.
struct CidText {
    text: [u8; 37],
    len: usize,
}

impl CidText {
    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.text[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

fn cid_text(cid: ConvId) -> CidText {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (prefix, id): (&[u8], &[u8]) = match &cid {
        ConvId::Object(id) => (b"", id),
        ConvId::Temporary(id) => (b"_tmp:", id),
        ConvId::Nowhere => (b"nowhere", &[]),
    };
    let mut text = CidText { text: [0; 37], len: 0 };
    text.push(prefix);
    for byte in id {
        text.push(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    text
}
