//! The keys of the store on disk: how they sort is how they are read.
//!
//! Every key begins with the app's number in the store (2 bytes), most go on with the conversation (13 or 17 bytes), then
//! time and message id, all big-endian: one conversation's history is one range. Apart from `rocks`, so that it can be
//! fuzzed without RocksDB.

use std::ops::Bound as Edge;

use tidegate_domain::day::Day;
use tidegate_domain::ids::{ConvId, MessageId, Millis};

/// The bytes that all keys of a conversation share at least: app, kind, and an id or the first part of a long one.
pub const CONVERSATION_PREFIX: usize = 2 + 1 + 12;

/// Where a message stands in its conversation: its time, then its id.
pub type Place = (Millis, MessageId);

/// The sign bit, turned so that times before 1970 sort before those after.
const SIGN: u64 = 1 << 63;

pub fn conversation(app: u16, cid: ConvId) -> Vec<u8> {
    [&app.to_be_bytes()[..], &cid.to_bytes()].concat()
}

pub fn unique(app: u16, unique_id: [u8; 16]) -> Vec<u8> {
    [&app.to_be_bytes()[..], &unique_id].concat()
}

/// All conversations of one client: its length comes first, so that no client's range holds another's.
pub fn memberships(app: u16, client: &str) -> Vec<u8> {
    [&app.to_be_bytes()[..], &length(client), client.as_bytes()].concat()
}

pub fn membership(app: u16, client: &str, cid: ConvId) -> Vec<u8> {
    let mut key = memberships(app, client);
    key.extend(cid.to_bytes());
    key
}

pub fn message(app: u16, cid: ConvId, at: Millis, mid: MessageId) -> Vec<u8> {
    let mut key = conversation(app, cid);
    key.extend((at as u64 ^ SIGN).to_be_bytes());
    key.extend(mid.0);
    key
}

/// Reads the end of a message's key: its time and id. `None` for anything shorter than a whole key.
pub fn message_place(key: &[u8]) -> Option<Place> {
    let (head, mid) = key.split_last_chunk::<16>()?;
    let (head, at) = head.split_last_chunk::<8>()?;
    (head.len() >= CONVERSATION_PREFIX).then(|| ((u64::from_be_bytes(*at) ^ SIGN) as Millis, MessageId(*mid)))
}

/// A range of places in one conversation as keys: the first in it, and the first behind it. Both begin with the
/// conversation's prefix, which the prefix filter needs.
pub fn messages(app: u16, cid: ConvId, (low, high): (Edge<Place>, Edge<Place>)) -> (Vec<u8>, Vec<u8>) {
    let at = |(at, mid): Place| message(app, cid, at, mid);
    let low = match low {
        Edge::Included(place) => at(place),
        Edge::Excluded(place) => after(at(place)),
        Edge::Unbounded => at((Millis::MIN, MessageId([0; 16]))),
    };
    let high = match high {
        Edge::Included(place) => after(at(place)),
        Edge::Excluded(place) => at(place),
        Edge::Unbounded => after(at((Millis::MAX, MessageId([0xff; 16])))),
    };
    (low, high)
}

pub fn marks(app: u16, cid: ConvId, client: &str) -> Vec<u8> {
    let mut key = conversation(app, cid);
    key.extend_from_slice(client.as_bytes());
    key
}

pub fn dedupe(app: u16, cid: ConvId, client: &str, dedupe: &str) -> Vec<u8> {
    let mut key = conversation(app, cid);
    key.extend(length(client));
    key.extend_from_slice(client.as_bytes());
    key.extend_from_slice(dedupe.as_bytes());
    key
}

pub fn nonce(app: u16, nonce: &str) -> Vec<u8> {
    [&app.to_be_bytes()[..], nonce.as_bytes()].concat()
}

/// What all keys of days begin with: they lie in the default family, beside what the store knows of itself.
pub const DAY: &[u8] = b"day/";

pub fn day(app: u16, day: Day) -> Vec<u8> {
    [DAY, &app.to_be_bytes(), &day.0.to_be_bytes()].concat()
}

/// App and day of such a key.
pub fn day_of(key: &[u8]) -> Option<(u16, Day)> {
    let (app, day) = app_of(key.strip_prefix(DAY)?)?;
    Some((app, Day(u32::from_be_bytes(day.try_into().ok()?))))
}

/// Splits the app's number from a key.
pub fn app_of(key: &[u8]) -> Option<(u16, &[u8])> {
    let (app, rest) = key.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*app), rest))
}

/// The part of a membership's key that all of one client's share; the whole of what is no such key.
pub fn memberships_prefix(key: &[u8]) -> &[u8] {
    memberships_end(key).and_then(|end| key.get(..end)).unwrap_or(key)
}

/// Whether a key has that part: a shorter one, the start of a walk over all, must not be filtered by it.
pub fn has_memberships_prefix(key: &[u8]) -> bool {
    memberships_end(key).is_some_and(|end| key.len() >= end)
}

fn memberships_end(key: &[u8]) -> Option<usize> {
    let [_, _, high, low] = key.first_chunk::<4>()?;
    Some(4 + usize::from(u16::from_be_bytes([*high, *low])))
}

/// The first key behind all that begin with `prefix`; `None` where there can be none.
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if last < 0xff {
            key.push(last + 1);
            return Some(key);
        }
    }
    None
}

fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// Names are at most `valid::LONGEST_NAME` bytes; a longer one finds nothing, for it was never stored.
fn length(name: &str) -> [u8; 2] {
    u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cid() -> impl Strategy<Value = ConvId> {
        prop_oneof![any::<[u8; 12]>().prop_map(ConvId::Object), any::<[u8; 16]>().prop_map(ConvId::Temporary)]
    }

    proptest! {
        #[test]
        fn message_keys_sort_as_their_places(
            app: u16, cid in cid(), a: (i64, [u8; 16]), b: (i64, [u8; 16]),
        ) {
            let (a, b) = ((a.0, MessageId(a.1)), (b.0, MessageId(b.1)));
            let (left, right) = (message(app, cid, a.0, a.1), message(app, cid, b.0, b.1));
            prop_assert_eq!(a.cmp(&b), left.cmp(&right));
            prop_assert_eq!(message_place(&left), Some(a));
            let (low, high) = messages(app, cid, (Edge::Excluded(a), Edge::Included(b)));
            prop_assert_eq!(a < b, low <= right && right < high);
        }

        #[test]
        fn a_clients_memberships_hold_no_other_clients(app: u16, cid in cid(), a in ".{0,8}", b in ".{0,8}") {
            let key = membership(app, &a, cid);
            prop_assert_eq!(key.starts_with(&memberships(app, &b)), a == b);
            prop_assert_eq!(memberships_prefix(&key), memberships(app, &a));
            prop_assert!(has_memberships_prefix(&key) && !has_memberships_prefix(&key[..4 + a.len() - 1]));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            message_place(&bytes);
            prop_assert!(bytes.starts_with(memberships_prefix(&bytes)));
            has_memberships_prefix(&bytes);
            app_of(&bytes);
            if let Some(end) = behind(&bytes) {
                prop_assert!(end > bytes);
            }
        }
    }
}
