//! Answers and notices to frames (wire.md sections 2 and 3).
//!
//! Owns which fields are there and, as much, which are not: SDKs test presence, so what does not apply is left out and
//! never sent as zero. Knows no recipient: a notice is encoded once, and each one's `peerId` is appended to it.

mod answer;
mod hot;
mod notice;
mod parts;

use bytes::Bytes;
use prost::Message as _;
use tidegate_domain::ids::Millis;
use tidegate_domain::reply::{Answer, Notice};

/// The frame that answers a request. `i` is the request's, `peer` the session's client where there is a session, `at`
/// the server's time.
pub fn answer(i: Option<i32>, peer: Option<&str>, at: Millis, answer: &Answer) -> Bytes {
    match answer {
        Answer::Sent { mid, at: sent, cid } => return hot::sent(i, peer, at, *mid, *sent, *cid),
        Answer::Logs { cid, items } => return hot::logs(i, peer, at, *cid, items),
        _ => {}
    }
    let mut envelope = answer::envelope_of(answer);
    envelope.i = i;
    envelope.peer_id = peer.map(str::to_owned);
    envelope.server_ts = Some(at);
    envelope.encode_to_vec().into()
}

/// The frame of a notice, without `peerId`: it is complete for one recipient after `append_peer`.
pub fn notice(at: Millis, notice: &Notice) -> Bytes {
    if let Notice::Message(message) = notice {
        return hot::message(at, message);
    }
    let mut envelope = notice::envelope_of(notice);
    envelope.service = Some(MESSAGING);
    envelope.server_ts = Some(at);
    envelope.encode_to_vec().into()
}

/// `service` of all that is pushed.
const MESSAGING: i32 = 2;

/// The envelope's field `peerId`, of wire type 2.
const PEER_KEY: u8 = 4 << 3 | 2;

/// Adds the recipient's `peerId` at the end of a frame, where protobuf takes it as well as anywhere.
#[inline]
pub fn append_peer(out: &mut Vec<u8>, peer: &str) {
    out.push(PEER_KEY);
    prost::encoding::encode_varint(peer.len() as u64, out);
    out.extend_from_slice(peer.as_bytes());
}

/// How many bytes `append_peer` adds.
#[inline]
pub fn peer_len(peer: &str) -> usize {
    1 + prost::encoding::encoded_len_varint(peer.len() as u64) + peer.len()
}

#[cfg(test)]
mod tests;
