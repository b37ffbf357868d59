//! Text frames of `lc.proto2base64.3`: a command in standard base64 (wire.md 2.1).
//!
//! Padding is always written and never asked for: a client that leaves it out has lost nothing.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text is not base64; the connection closes (4114).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text frame is not standard base64")]
pub struct NotBase64;

/// The command in a text frame.
pub fn decode(text: &[u8]) -> Result<Bytes, NotBase64> {
    LENIENT.decode(text).map(Bytes::from).map_err(|_| NotBase64)
}

/// The payload of a text frame that carries `command` followed by `suffix`, a delivery's shared bytes and what is
/// appended for its recipient.
pub fn encode(command: &[u8], suffix: &[u8]) -> Vec<u8> {
    let text = if suffix.is_empty() { LENIENT.encode(command) } else { LENIENT.encode([command, suffix].concat()) };
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn padding_is_written_and_not_asked_for() {
        assert_eq!(encode(b"ab", b"cd"), b"YWJjZA==");
        for text in ["YWJjZA==", "YWJjZA"] {
            assert_eq!(decode(text.as_bytes()), Ok(Bytes::from_static(b"abcd")));
        }
        for text in ["YWJjZ", "YW JjZA==", "YWJj-A==", "{}", "YWJjZA==YWJj"] {
            assert_eq!(decode(text.as_bytes()), Err(NotBase64), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_reads_back(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
            prop_assert_eq!(decode(&encode(&a, &b)).unwrap(), [a, b].concat());
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<Vec<u8>>()) {
            let _ = decode(&text);
        }
    }
}
