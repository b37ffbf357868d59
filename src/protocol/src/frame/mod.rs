//! How commands are cut out of a byte stream: WebSocket (RFC 6455, server side) and length-prefixed TCP.
//!
//! Parsers keep a few plain words; bytes that do not make a whole frame yet stay with the caller, who may drop its
//! buffer whenever it is empty. Knows lengths and masks, never what a command says.

pub mod base64;
pub mod handshake;
pub mod tcp;
pub mod websocket;

use std::ops::Deref;

/// What a client offered in its handshake, and so how its frames are to be read and written (wire.md 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subprotocol {
    /// One command a binary frame. `offline_pushed`: what was missed is pushed one by one at log-in, not counted.
    Binary { offline_pushed: bool },
    /// One command a text frame, in standard base64.
    Base64,
}

impl Subprotocol {
    const ALL: [Subprotocol; 3] =
        [Self::Binary { offline_pushed: false }, Self::Binary { offline_pushed: true }, Self::Base64];

    /// The name as it stands in the handshake.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary { offline_pushed: false } => "lc.protobuf2.3",
            Self::Binary { offline_pushed: true } => "lc.protobuf2.1",
            Self::Base64 => "lc.proto2base64.3",
        }
    }

    /// `None` for a subprotocol that is not spoken here. Names are compared exactly.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    pub fn is_text(self) -> bool {
        self == Self::Base64
    }
}

/// Appends bytes that wait for more. What is little stays little: up to 8 KiB room grows in small steps and not by
/// doubling, for guests who keep us waiting are many.
pub fn keep(kept: &mut Vec<u8>, more: &[u8]) {
    const STEP: usize = 512;
    const LITTLE: usize = 8 << 10;
    let needed = kept.len() + more.len();
    if needed > kept.capacity() && needed <= LITTLE {
        kept.reserve_exact(needed.next_multiple_of(STEP) - kept.len());
    }
    kept.extend_from_slice(more);
}

/// The few bytes before a frame's payload, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    bytes: [u8; 10],
    len: u8,
}

impl Prefix {
    #[inline]
    fn new(parts: &[u8]) -> Self {
        let mut bytes = [0; 10];
        bytes[..parts.len()].copy_from_slice(parts);
        Prefix { bytes, len: parts.len() as u8 }
    }
}

impl Deref for Prefix {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_takes_little_more_than_its_bytes() {
        for chunk in [1, 7, 1_000, 4_095, 5_000] {
            let mut kept = Vec::new();
            while kept.len() < 20_000 {
                keep(&mut kept, &vec![7; chunk]);
                assert!(kept.len() > 8_192 || kept.capacity() < kept.len() + 512, "{} {}", kept.len(), kept.capacity());
            }
            assert!(kept.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn a_subprotocol_reads_back_from_its_exact_name_only() {
        for known in Subprotocol::ALL {
            assert_eq!(Subprotocol::from_name(known.name()), Some(known));
        }
        for unknown in ["", "lc.protobuf2.2", "lc.json.3", "LC.PROTOBUF2.3", "lc.protobuf2.3 "] {
            assert_eq!(Subprotocol::from_name(unknown), None, "{unknown}");
        }
    }
}
