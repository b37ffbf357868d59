//! Server frames: never masked, never fragmented.

use super::{LONGEST_CONTROL, Opcode};
use crate::frame::Prefix;

/// The header of a frame with `len` bytes of payload. The payload may be written from several places after it.
#[inline]
pub fn header(opcode: Opcode, len: usize) -> Prefix {
    let first = 0x80 | opcode as u8;
    match len {
        0..=125 => Prefix::new(&[first, len as u8]),
        126..=0xffff => {
            let [a, b] = (len as u16).to_be_bytes();
            Prefix::new(&[first, 126, a, b])
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
            Prefix::new(&[first, 127, a, b, c, d, e, f, g, h])
        }
    }
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    control(Opcode::Pong, &payload[..payload.len().min(LONGEST_CONTROL)])
}

/// A close frame; no code, no reason. A reason too long for a control frame (123 bytes) is cut between characters.
pub fn close(code: Option<u16>, reason: &str) -> Vec<u8> {
    let Some(code) = code else { return control(Opcode::Close, &[]) };
    let mut end = reason.len().min(LONGEST_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    control(Opcode::Close, &[&code.to_be_bytes(), &reason.as_bytes()[..end]].concat())
}

fn control(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    [&header(opcode, payload.len())[..], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        assert_eq!(&header(Opcode::Binary, 125)[..], [0x82, 125]);
        assert_eq!(&header(Opcode::Binary, 126)[..], [0x82, 126, 0, 126]);
        assert_eq!(&header(Opcode::Text, 65_535)[..], [0x81, 126, 0xff, 0xff]);
        assert_eq!(&header(Opcode::Text, 65_536)[..], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_close_frame_carries_code_and_reason_within_its_bound() {
        assert_eq!(close(Some(4107), "READ_TIMEOUT"), b"\x88\x0e\x10\x0bREAD_TIMEOUT");
        assert_eq!(close(None, "unsaid"), [0x88, 0]);
        let long = close(Some(1000), &"é".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    #[test]
    fn a_pong_repeats_the_ping() {
        assert_eq!(pong(b"hi"), [0x8a, 2, b'h', b'i']);
        assert_eq!(pong(&[0; 300]).len(), 127);
    }
}
