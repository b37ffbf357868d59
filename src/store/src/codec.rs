//! The values of the store on disk: domain values to bytes and back.
//!
//! A value is one byte of version and then a protobuf message or a few fixed bytes. Fields may be added under new tags
//! (older programs skip them); what changes a meaning takes a new version, and an unknown version is never guessed at.
//! What the key says (ids, times) is not said again. Apart from `rocks`, so that it can be fuzzed without RocksDB.

use bytes::Bytes;
use prost::Message;
use serde_json::{Map, Value};
use tidegate_domain::command::{Body, Mentions};
use tidegate_domain::conversation::{Conversation, Kind, Member};
use tidegate_domain::ids::{ClientId, ConvId, MessageId, Millis};

use crate::{Marks, Range, ReadMark, Stored};

/// The version of every value that this program writes.
const VERSION: u8 = 1;

/// Bytes that are no value of ours, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

#[derive(Message)]
struct ConversationValue {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    creator: String,
    #[prost(message, repeated, tag = "3")]
    members: Vec<MemberValue>,
    #[prost(string, repeated, tag = "4")]
    muted: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<AttributeValue>,
    #[prost(bytes = "vec", optional, tag = "6")]
    unique_id: Option<Vec<u8>>,
    #[prost(int64, tag = "7")]
    created: i64,
    #[prost(int64, tag = "8")]
    updated: i64,
    #[prost(uint64, tag = "9")]
    version: u64,
    #[prost(int64, optional, tag = "10")]
    expires: Option<i64>,
}

#[derive(Message)]
struct MemberValue {
    #[prost(string, tag = "1")]
    client: String,
    #[prost(int64, tag = "2")]
    joined: i64,
}

/// One top-level attribute. Each value is a JSON text of its own, so that a client's deepest value does not get one
/// level deeper by being stored, and then too deep for the reader.
#[derive(Message)]
struct AttributeValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    json: String,
}

#[derive(Message)]
struct MessageValue {
    /// Text; as bytes it is read without a copy.
    #[prost(bytes = "bytes", tag = "1")]
    from: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    body: Bytes,
    #[prost(bool, tag = "3")]
    binary: bool,
    #[prost(bool, tag = "4")]
    receipt: bool,
    #[prost(bool, tag = "5")]
    mentions_all: bool,
    #[prost(string, repeated, tag = "6")]
    mentions: Vec<String>,
    #[prost(int64, optional, tag = "7")]
    patched_at: Option<i64>,
}

#[derive(Message)]
struct MarksValue {
    #[prost(message, optional, tag = "1")]
    read: Option<ReadValue>,
    #[prost(message, repeated, tag = "2")]
    delivered: Vec<RangeValue>,
}

#[derive(Message)]
struct ReadValue {
    #[prost(int64, tag = "1")]
    message_at: i64,
    #[prost(int64, tag = "2")]
    read_at: i64,
}

#[derive(Message)]
struct RangeValue {
    #[prost(int64, tag = "1")]
    from: i64,
    #[prost(int64, tag = "2")]
    to: i64,
    #[prost(int64, tag = "3")]
    at: i64,
}

fn write(value: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + value.encoded_len());
    bytes.push(VERSION);
    // A Vec grows: encoding into one cannot fail.
    value.encode_raw(&mut bytes);
    bytes
}

fn read<T: Message + Default>(bytes: &[u8]) -> Result<T, Malformed> {
    T::decode(versioned(bytes)?).map_err(|error| Malformed(error.to_string()))
}

fn versioned(bytes: &[u8]) -> Result<&[u8], Malformed> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => malformed(format!("a value of version {version}; this program reads {VERSION}")),
        None => malformed("an empty value"),
    }
}

/// The id is the key's.
pub fn write_conversation(conversation: &Conversation) -> Vec<u8> {
    let members = conversation.members.iter();
    let attributes = conversation.attributes.iter();
    write(&ConversationValue {
        kind: conversation.kind.number(),
        creator: conversation.creator.to_string(),
        members: members.map(|m| MemberValue { client: m.client.to_string(), joined: m.joined }).collect(),
        muted: conversation.muted.iter().map(|client| client.to_string()).collect(),
        attributes: attributes
            .map(|(key, value)| AttributeValue { key: key.clone(), json: value.to_string() })
            .collect(),
        unique_id: conversation.unique_id.map(Vec::from),
        created: conversation.created,
        updated: conversation.updated,
        version: conversation.version,
        expires: conversation.expires,
    })
}

pub fn read_conversation(id: ConvId, bytes: &[u8]) -> Result<Conversation, Malformed> {
    let value: ConversationValue = read(bytes)?;
    let Some(kind) = Kind::from_number(value.kind) else {
        return malformed(format!("a conversation of kind {}", value.kind));
    };
    let mut attributes = Map::new();
    for AttributeValue { key, json } in value.attributes {
        let read: Value = serde_json::from_str(&json).map_err(|error| Malformed(format!("attribute: {error}")))?;
        attributes.insert(key, read);
    }
    let unique_id = match value.unique_id.map(<[u8; 16]>::try_from) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(other)) => return malformed(format!("a unique id of {} bytes", other.len())),
    };
    Ok(Conversation {
        id,
        kind,
        creator: value.creator.into(),
        members: value.members.into_iter().map(|m| Member { client: m.client.into(), joined: m.joined }).collect(),
        muted: clients(value.muted),
        attributes,
        unique_id,
        created: value.created,
        updated: value.updated,
        version: value.version,
        expires: value.expires,
    })
}

/// Time and id are the key's.
pub fn write_message(message: &Stored) -> Vec<u8> {
    write(&MessageValue {
        from: Bytes::copy_from_slice(message.from.as_bytes()),
        body: message.body.bytes().clone(),
        binary: message.body.is_binary(),
        receipt: message.receipt,
        mentions_all: message.mentions.all,
        mentions: message.mentions.clients.iter().map(|client| client.to_string()).collect(),
        patched_at: message.patched_at,
    })
}

/// Reads messages that were written one after the other, as those of a page: nearly all are of few senders, whose names
/// they then share.
#[derive(Default)]
pub struct Messages {
    from: Option<ClientId>,
}

impl Messages {
    /// The body is a part of `value`, and keeps all that this is a part of in memory.
    pub fn read(&mut self, at: Millis, mid: MessageId, value: Bytes) -> Result<Stored, Malformed> {
        versioned(&value)?;
        let value = MessageValue::decode(value.slice(1..)).map_err(|error| Malformed(error.to_string()))?;
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        let body = match value.binary {
            true => Body::Binary(value.body),
            false if is_text(&value.body) => Body::Text(value.body),
            false => return malformed("a text that is not UTF-8"),
        };
        Ok(Stored {
            mid,
            from: self.sender(&value.from)?,
            at,
            body,
            receipt: value.receipt,
            mentions: Mentions { all: value.mentions_all, clients: clients(value.mentions) },
            patched_at: value.patched_at,
        })
    }

    fn sender(&mut self, name: &[u8]) -> Result<ClientId, Malformed> {
        match &self.from {
            Some(from) if from.as_bytes() == name => Ok(from.clone()),
            _ => match std::str::from_utf8(name) {
                Ok(name) => Ok(self.from.insert(name.into()).clone()),
                Err(_) => malformed("a sender that is not UTF-8"),
            },
        }
    }
}

/// One message alone.
pub fn read_message(at: Millis, mid: MessageId, bytes: &[u8]) -> Result<Stored, Malformed> {
    Messages::default().read(at, mid, Bytes::copy_from_slice(bytes))
}

pub fn write_marks(marks: &Marks) -> Vec<u8> {
    let delivered = marks.delivered.iter();
    write(&MarksValue {
        read: marks.read.map(|mark| ReadValue { message_at: mark.message_at, read_at: mark.read_at }),
        delivered: delivered.map(|range| RangeValue { from: range.from, to: range.to, at: range.at }).collect(),
    })
}

pub fn read_marks(bytes: &[u8]) -> Result<Marks, Malformed> {
    let value: MarksValue = read(bytes)?;
    let delivered = value.delivered.into_iter();
    Ok(Marks {
        read: value.read.map(|mark| ReadMark { message_at: mark.message_at, read_at: mark.read_at }),
        delivered: delivered.map(|range| Range { from: range.from, to: range.to, at: range.at }).collect(),
    })
}

/// What a dedupe key remembers. Its time comes first: expiry reads only that.
pub fn write_sent(mid: MessageId, at: Millis) -> Vec<u8> {
    [&write_time(at)[..], &mid.0].concat()
}

pub fn read_sent(bytes: &[u8]) -> Result<(MessageId, Millis), Malformed> {
    match (read_time(bytes)?, bytes.get(9..).map(<[u8; 16]>::try_from)) {
        (at, Some(Ok(mid))) => Ok((MessageId(mid), at)),
        _ => malformed(format!("a sent message in {} bytes", bytes.len())),
    }
}

/// A client's place in a conversation. The conversation's expiry comes first, as in `write_sent`.
pub fn write_membership(joined: Millis, expires: Option<Millis>) -> Vec<u8> {
    [&write_time(expires.unwrap_or(Millis::MAX))[..], &joined.to_be_bytes()].concat()
}

/// A time alone: until when a nonce or a revocation counts.
pub fn write_time(at: Millis) -> Vec<u8> {
    [&[VERSION][..], &at.to_be_bytes()].concat()
}

/// Reads the time that a value begins with, whatever follows.
pub fn read_time(bytes: &[u8]) -> Result<Millis, Malformed> {
    match versioned(bytes)?.first_chunk::<8>() {
        Some(at) => Ok(Millis::from_be_bytes(*at)),
        None => malformed(format!("a time in {} bytes", bytes.len())),
    }
}

pub fn write_conv_id(cid: ConvId) -> Vec<u8> {
    [&[VERSION][..], &cid.to_bytes()].concat()
}

pub fn read_conv_id(bytes: &[u8]) -> Result<ConvId, Malformed> {
    ConvId::from_bytes(versioned(bytes)?).ok_or_else(|| Malformed("no conversation id".into()))
}

fn clients(names: Vec<String>) -> Vec<ClientId> {
    names.into_iter().map(ClientId::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn name() -> impl Strategy<Value = ClientId> {
        ".{0,12}".prop_map(ClientId::from)
    }

    fn names() -> impl Strategy<Value = Vec<ClientId>> {
        prop::collection::vec(name(), 0..4)
    }

    fn attributes() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        let tree = leaf.prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map(".{0,6}", tree, 0..4).prop_map(|map| map.into_iter().collect())
    }

    prop_compose! {
        fn conversation()(
            kind in 1i32..=4, creator in name(), members in prop::collection::vec((name(), any::<i64>()), 0..4),
            muted in names(), attributes in attributes(), unique_id: Option<[u8; 16]>, times: (i64, i64),
            version: u64, expires: Option<i64>,
        ) -> Conversation {
            Conversation {
                id: ConvId::Object([7; 12]),
                kind: Kind::from_number(kind).unwrap(),
                creator,
                members: members.into_iter().map(|(client, joined)| Member { client, joined }).collect(),
                muted, attributes, unique_id, created: times.0, updated: times.1, version, expires,
            }
        }
    }

    prop_compose! {
        fn message()(
            mid: [u8; 16], from in name(), at: i64, text in ".{0,40}", binary: Option<Vec<u8>>, receipt: bool,
            all: bool, clients in names(), patched_at: Option<i64>,
        ) -> Stored {
            let body = match binary {
                Some(bytes) => Body::Binary(bytes.into()),
                None => Body::Text(text.into()),
            };
            Stored { mid: MessageId(mid), from, at, body, receipt, mentions: Mentions { all, clients }, patched_at }
        }
    }

    fn marks() -> impl Strategy<Value = Marks> {
        let range = any::<(i64, i64, i64)>().prop_map(|(from, to, at)| Range { from, to, at });
        let read = any::<(i64, i64)>().prop_map(|(message_at, read_at)| ReadMark { message_at, read_at });
        (prop::option::of(read), prop::collection::vec(range, 0..8))
            .prop_map(|(read, delivered)| Marks { read, delivered })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(record in conversation(), message in message(), marks in marks(), at: i64) {
            prop_assert_eq!(read_conversation(record.id, &write_conversation(&record)), Ok(record));
            let bytes = write_message(&message);
            prop_assert_eq!(read_message(message.at, message.mid, &bytes), Ok(message.clone()));
            let other = Stored { from: "somebody else".into(), ..message.clone() };
            let mut reader = Messages::default();
            for message in [&other, &message, &message, &other] {
                let value = write_message(message).into();
                prop_assert_eq!(&reader.read(message.at, message.mid, value), &Ok(message.clone()));
            }
            prop_assert_eq!(read_marks(&write_marks(&marks)), Ok(marks));
            prop_assert_eq!(read_sent(&write_sent(message.mid, at)), Ok((message.mid, at)));
            prop_assert_eq!(read_time(&write_sent(message.mid, at)), Ok(at));
        }

        /// Whatever is on the disk: an answer or an error, never a panic; with a good first byte, and without.
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes: Vec<u8>) {
            for _ in 0..2 {
                let _ = read_conversation(ConvId::Nowhere, &bytes);
                let _ = read_message(0, MessageId([0; 16]), &bytes);
                let _ = read_marks(&bytes);
                let _ = read_sent(&bytes);
                let _ = read_conv_id(&bytes);
                bytes.insert(0, VERSION);
            }
        }

        /// A good value with one byte changed is what it was, another value, or an error.
        #[test]
        fn a_flipped_byte_is_read_without_panic(record in conversation(), at: prop::sample::Index, with: u8) {
            let mut bytes = write_conversation(&record);
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            let _ = read_conversation(record.id, &bytes);
        }
    }

    #[test]
    fn another_version_is_refused_not_guessed() {
        let mut bytes = write_marks(&Marks::default());
        bytes[0] = 2;
        let error = read_marks(&bytes).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        assert!(read_time(&[]).is_err());
    }

    #[test]
    fn a_later_programs_fields_are_skipped() {
        let mut bytes = hello();
        // Field 99, a varint: not known here.
        bytes.extend([0x98, 0x06, 0x05]);
        assert_eq!(read_message(1, MessageId([1; 16]), &bytes).map(|m| m.from.to_string()), Ok("ann".into()));
    }

    fn hello() -> Vec<u8> {
        write_message(&Stored {
            mid: MessageId([1; 16]),
            from: "ann".into(),
            at: 1,
            body: Body::Text("hello".into()),
            receipt: false,
            mentions: Mentions::default(),
            patched_at: None,
        })
    }

    #[test]
    fn a_value_as_deep_as_the_reader_takes_reads_back() {
        let text = format!("{}{}", "[".repeat(127), "]".repeat(127));
        let deep: Value = serde_json::from_str(&text).unwrap();
        let mut record = Conversation {
            id: ConvId::Object([1; 12]),
            kind: Kind::Normal,
            creator: "ann".into(),
            members: vec![],
            muted: vec![],
            attributes: Map::new(),
            unique_id: None,
            created: 0,
            updated: 0,
            version: 0,
            expires: None,
        };
        record.attributes.insert("attr".into(), deep);
        record.attributes.insert("name".into(), json!("room"));
        assert_eq!(read_conversation(record.id, &write_conversation(&record)), Ok(record));
    }
}
