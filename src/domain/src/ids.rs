//! The names that everything else is said with: connections, apps, clients, conversations, messages, times.
//!
//! Owns their forms and how they are read and printed. Must not know frames, stores or clocks.
//! Forms on the wire are wire.md section 5.

use std::fmt;
use std::sync::Arc;

use crate::error::{Code, Failure};

/// Milliseconds since the epoch, server time.
pub type Millis = i64;

/// A client id, 1 to 64 characters (wire.md 5); shared, never copied for a recipient.
pub type ClientId = Arc<str>;

/// The longest client id, in characters.
pub const MOST_CLIENT_CHARS: usize = 64;

/// Whether a client can have this id: 1 to 64 characters, none of them a control character. 4103 otherwise.
pub fn check_client(id: &str) -> Result<(), Failure> {
    // A character has at least one byte: long text is refused without being walked.
    let fits = id.len() <= 4 * MOST_CLIENT_CHARS && id.chars().count() <= MOST_CLIENT_CHARS;
    if !fits || id.is_empty() || id.chars().any(char::is_control) {
        let detail = format!("a client id has 1 to {MOST_CLIENT_CHARS} characters, without control characters");
        return Err(Failure::because(Code::InvalidLogin, detail));
    }
    Ok(())
}

/// An app's place in the configuration: small and cheap, in place of its textual id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AppId(pub u16);

/// A connection by name, never by handle, so that events can leave the process one day:
/// node, reactor, slot in the reactor's table, and the generation of that slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    /// `slot` has 24 bits and `generation` 24; higher bits are cut.
    pub fn new(node: u8, reactor: u8, slot: u32, generation: u32) -> Self {
        let (slot, generation) = (u64::from(slot) & 0xff_ffff, u64::from(generation) & 0xff_ffff);
        ConnId(u64::from(node) << 56 | u64::from(reactor) << 48 | slot << 24 | generation)
    }

    pub fn node(self) -> u8 {
        (self.0 >> 56) as u8
    }

    pub fn reactor(self) -> u8 {
        (self.0 >> 48) as u8
    }

    pub fn slot(self) -> u32 {
        (self.0 >> 24) as u32 & 0xff_ffff
    }

    pub fn generation(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }

    /// One number, for keys and logs.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.node(), self.reactor(), self.slot(), self.generation())
    }
}

/// The number of a sampled message's way through the stages, and of its trace: 16 bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct JourneyId(pub u128);

impl fmt::Display for JourneyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A conversation's id: 24 hex digits, or `_tmp:` and 32 hex digits for a temporary one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum ConvId {
    Object([u8; 12]),
    Temporary([u8; 16]),
    /// Text that cannot name a conversation: it is simply one that does not exist.
    Nowhere,
}

const TEMPORARY: &str = "_tmp:";

impl ConvId {
    /// Never fails: what is no id names no conversation.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix(TEMPORARY) {
            Some(rest) => hex::<16>(rest).map_or(ConvId::Nowhere, ConvId::Temporary),
            None => hex::<12>(text).map_or(ConvId::Nowhere, ConvId::Object),
        }
    }

    /// The bytes that a store sorts by: one of kind, then the id.
    pub fn to_bytes(self) -> Vec<u8> {
        let (kind, id): (u8, &[u8]) = match &self {
            ConvId::Object(id) => (1, id),
            ConvId::Temporary(id) => (2, id),
            ConvId::Nowhere => (0, &[]),
        };
        [&[kind], id].concat()
    }

    /// Reads `to_bytes` back; `None` where the bytes are not of that form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, id) => Some(ConvId::Object(id.try_into().ok()?)),
            (2, id) => Some(ConvId::Temporary(id.try_into().ok()?)),
            _ => None,
        }
    }
}

impl fmt::Display for ConvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, id): (&str, &[u8]) = match self {
            ConvId::Object(id) => ("", id),
            ConvId::Temporary(id) => (TEMPORARY, id),
            ConvId::Nowhere => return f.write_str("nowhere"),
        };
        f.write_str(prefix)?;
        id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Exactly `N` bytes of lower- or upper-case hex.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(out)
}

/// A message's id: 16 bytes that sort by time, 22 URL-safe characters that do so too on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct MessageId(pub [u8; 16]);

/// The characters of URL-safe base64, but in the order of ASCII, so that the texts sort by time as the bytes do.
const URL_SAFE: &[u8; 64] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

impl MessageId {
    /// 48 bits of time, 32 of the store's start count, 48 of a count since that start: unique over restarts and clock steps.
    pub fn new(at: Millis, start: u32, count: u64) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&at.max(0).to_be_bytes()[2..]);
        id[6..10].copy_from_slice(&start.to_be_bytes());
        id[10..].copy_from_slice(&count.to_be_bytes()[2..]);
        MessageId(id)
    }

    /// The time that it was made with.
    pub fn at(self) -> Millis {
        let mut at = [0; 8];
        at[2..].copy_from_slice(&self.0[..6]);
        Millis::from_be_bytes(at)
    }

    /// `None` for text that is no id of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 22 {
            return None;
        }
        let mut bits = 0u128;
        for (at, byte) in text.bytes().enumerate() {
            let six = URL_SAFE.iter().position(|c| *c == byte)? as u128;
            // 22 characters are 132 bits: the last one carries 2 bits of the id and 4 of nothing.
            bits = if at < 21 { bits << 6 | six } else { bits << 2 | six >> 4 };
        }
        Some(MessageId(bits.to_be_bytes()))
    }
}

impl MessageId {
    /// Its 22 characters, without an allocation.
    pub fn text(self) -> [u8; 22] {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0; 22];
        for (at, byte) in text.iter_mut().enumerate() {
            let six = if at < 21 { bits >> (122 - 6 * at) } else { bits << 4 };
            *byte = URL_SAFE[six as usize & 63];
        }
        text
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_read_back() {
        for text in ["559d08a1e4b0a35bc5062ba1", "_tmp:00112233445566778899aabbccddeeff"] {
            let id = ConvId::parse(text);
            assert_eq!(id.to_string(), text);
            assert_eq!(ConvId::from_bytes(&id.to_bytes()), Some(id));
        }
        for text in ["", "room", "559d08a1e4b0a35bc5062bazz", "_tmp:1", "559d08a1e4b0a35bc5062bé"] {
            assert_eq!(ConvId::parse(text), ConvId::Nowhere, "{text}");
        }
        let id = MessageId::new(1_790_000_000_000, 7, 99);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        assert_eq!(MessageId::parse("short"), None);
        assert_eq!(id.at(), 1_790_000_000_000);
    }

    #[test]
    fn client_ids_have_1_to_64_printable_characters() {
        for id in ["a", "42", "Zoë 你好 :|", &"é".repeat(64)] {
            assert_eq!(check_client(id), Ok(()), "{id}");
        }
        for id in ["", "a\nb", "a\0", &"a".repeat(65), &"é".repeat(65), &"a".repeat(10_000)] {
            assert_eq!(check_client(id).map_err(|f| f.code), Err(Code::InvalidLogin), "{id}");
        }
    }

    #[test]
    fn message_ids_sort_by_time_then_start_then_count() {
        let ids = [MessageId::new(5, 9, 9), MessageId::new(6, 1, 9), MessageId::new(6, 2, 0), MessageId::new(6, 2, 1)];
        assert!(ids.is_sorted());
        assert!(ids.map(|id| id.to_string()).is_sorted(), "as text too");
    }

    #[test]
    fn a_connection_id_keeps_its_parts() {
        let id = ConnId::new(1, 2, 0xabcdef, 0x123456);
        assert_eq!((id.node(), id.reactor(), id.slot(), id.generation()), (1, 2, 0xabcdef, 0x123456));
    }
}
