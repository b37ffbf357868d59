//! The two to fourteen bytes before a client's payload (RFC 6455, 5.2), and the mask.

use super::{LONGEST_CONTROL, Violation};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        use Opcode::*;
        [Continuation, Text, Binary, Close, Ping, Pong].into_iter().find(|known| *known as u8 == bits)
    }

    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a whole header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub fin: bool,
    pub opcode: Opcode,
    pub mask: [u8; 4],
    /// Bytes of the header itself.
    pub size: usize,
    /// Bytes of the payload, at most the limit given.
    pub len: usize,
}

impl Header {
    /// `None` where more bytes are needed. Each rule is checked as soon as its bytes are there; `max` bounds the payload.
    pub fn parse(input: &[u8], max: usize) -> Result<Option<Header>, Violation> {
        let Some(&first) = input.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(Violation::UnknownOpcode)?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::BadControl);
        }
        let Some(&second) = input.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > LONGEST_CONTROL {
            return Err(Violation::BadControl);
        }
        let (len, after_len) = match short {
            126 => {
                let Some(bytes) = input[2..].first_chunk() else { return Ok(None) };
                (longer_than(125, u64::from(u16::from_be_bytes(*bytes)))?, 4)
            }
            127 => {
                let Some(bytes) = input[2..].first_chunk() else { return Ok(None) };
                (longer_than(0xffff, u64::from_be_bytes(*bytes))?, 10)
            }
            short => (u64::from(short), 2),
        };
        // A control frame has a limit of its own, so that a small `max` for messages never refuses a ping.
        let max = if opcode.is_control() { LONGEST_CONTROL } else { max };
        if len > max as u64 {
            return Err(Violation::TooLong);
        }
        let Some(&mask) = input[after_len..].first_chunk() else { return Ok(None) };
        Ok(Some(Header { fin, opcode, mask, size: after_len + 4, len: len as usize }))
    }
}

/// `len` had to be written in more bytes than `shorter` needs.
fn longer_than(shorter: u64, len: u64) -> Result<u64, Violation> {
    if len > shorter { Ok(len) } else { Err(Violation::WastefulLength) }
}

/// Takes the mask off (or puts it on), eight bytes at a time.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn parse(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        Header::parse(&[bytes, &MASK].concat(), 70_000)
    }

    #[test]
    fn lengths_come_in_three_forms() {
        let header = |size, len| Ok(Some(Header { fin: true, opcode: Opcode::Binary, mask: MASK, size, len }));
        assert_eq!(parse(&[0x82, 0x80 | 125]), header(6, 125));
        assert_eq!(parse(&[0x82, 0xfe, 0, 126]), header(8, 126));
        assert_eq!(parse(&[0x82, 0xfe, 0xff, 0xff]), header(8, 65_535));
        assert_eq!(parse(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]), header(14, 65_536));
        assert_eq!(parse(&[0x82, 0xfe, 0, 125]), Err(Violation::WastefulLength));
        assert_eq!(parse(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Err(Violation::WastefulLength));
    }

    #[test]
    fn a_length_past_the_limit_is_refused_before_the_mask_comes() {
        assert_eq!(Header::parse(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], 70_000), Err(Violation::TooLong));
        assert_eq!(Header::parse(&[0x82, 0x80 | 11], 10), Err(Violation::TooLong));
        assert!(Header::parse(&[0x89, 0x80 | 11, 1, 2, 3, 4], 10).unwrap().is_some());
    }

    #[test]
    fn rules_are_checked_at_the_first_byte_that_breaks_them() {
        for (bytes, violation) in [
            (&[0xc2][..], Violation::ReservedBits),
            (&[0x83], Violation::UnknownOpcode),
            (&[0x8b], Violation::UnknownOpcode),
            (&[0x09], Violation::BadControl),
            (&[0x82, 0x05], Violation::Unmasked),
            (&[0x89, 0xfe], Violation::BadControl),
        ] {
            assert_eq!(Header::parse(bytes, 100), Err(violation), "{bytes:x?}");
        }
    }

    #[test]
    fn a_header_that_is_not_whole_waits() {
        let whole = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for cut in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..cut], 70_000), Ok(None), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn unmasking_is_the_xor_of_each_byte(payload in any::<Vec<u8>>(), mask: [u8; 4]) {
            let slow: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            let mut fast = payload;
            unmask(&mut fast, mask);
            prop_assert_eq!(fast, slow);
        }
    }
}
