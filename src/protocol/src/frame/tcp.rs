//! Length-prefixed TCP: each command behind its length in bytes, as a protobuf varint.
//!
//! There is no state between calls: a frame that is not whole yet stays in the caller's buffer and its prefix, five
//! bytes at most, is read again when more has come.

use std::ops::Range;

use super::Prefix;

/// Why a stream cannot be read on; the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TcpError {
    /// Known from the prefix alone, so nothing of the frame was buffered.
    #[error("a frame is longer than allowed")]
    TooLong,
    #[error("a length prefix is not a varint of at most five bytes")]
    BadPrefix,
}

/// One frame found at the start of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpFrame {
    /// Bytes to take off the input, prefix included.
    pub consumed: usize,
    /// Where in the input the command stands; may be empty.
    pub payload: Range<usize>,
}

/// The most bytes that a prefix may take.
const LONGEST_PREFIX: usize = 5;

/// Looks for one frame at the start of `input`; `None` where more bytes are needed. `max` bounds the payload in bytes.
pub fn next(input: &[u8], max: usize) -> Result<Option<TcpFrame>, TcpError> {
    let mut len = 0u64;
    for (at, byte) in input.iter().take(LONGEST_PREFIX).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * at);
        if len > max as u64 {
            return Err(TcpError::TooLong);
        }
        if byte & 0x80 == 0 {
            let start = at + 1;
            let end = start + len as usize;
            return Ok((input.len() >= end).then_some(TcpFrame { consumed: end, payload: start..end }));
        }
    }
    if input.len() >= LONGEST_PREFIX { Err(TcpError::BadPrefix) } else { Ok(None) }
}

/// What goes before a payload of `len` bytes.
#[inline]
pub fn prefix(len: usize) -> Prefix {
    match len {
        0..=0x7f => Prefix::new(&[len as u8]),
        0x80..=0x3fff => Prefix::new(&[len as u8 | 0x80, (len >> 7) as u8]),
        _ => long_prefix(len),
    }
}

fn long_prefix(len: usize) -> Prefix {
    let mut bytes = [0; 10];
    let (mut rest, mut used) = (len as u64, 0);
    loop {
        bytes[used] = rest as u8 & 0x7f;
        rest >>= 7;
        used += 1;
        if rest == 0 {
            return Prefix::new(&bytes[..used]);
        }
        bytes[used - 1] |= 0x80;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes_are_varints() {
        assert_eq!(&prefix(0)[..], [0]);
        assert_eq!(&prefix(127)[..], [0x7f]);
        assert_eq!(&prefix(128)[..], [0x80, 0x01]);
        assert_eq!(&prefix(300)[..], [0xac, 0x02]);
        assert_eq!(&prefix(16_383)[..], [0xff, 0x7f]);
        assert_eq!(&prefix(16_384)[..], [0x80, 0x80, 0x01]);
        assert_eq!(prefix(usize::MAX).len(), 10);
    }

    #[test]
    fn a_frame_comes_out_once_it_is_whole() {
        let input = [3, b'a', b'b', b'c', 0, 9];
        for cut in 0..4 {
            assert_eq!(next(&input[..cut], 10), Ok(None));
        }
        assert_eq!(next(&input, 10), Ok(Some(TcpFrame { consumed: 4, payload: 1..4 })));
        assert_eq!(next(&input[4..], 10), Ok(Some(TcpFrame { consumed: 1, payload: 1..1 })));
    }

    #[test]
    fn too_long_is_known_before_the_payload_comes() {
        assert_eq!(next(&prefix(11), 10), Err(TcpError::TooLong));
        assert_eq!(next(&[0xff, 0xff, 0xff], 70_000), Err(TcpError::TooLong));
        assert_eq!(next(&prefix(10), 10), Ok(None));
    }

    #[test]
    fn a_prefix_that_never_ends_is_refused() {
        assert_eq!(next(&[0x80; 4], 10), Ok(None));
        assert_eq!(next(&[0x80; 5], 10), Err(TcpError::BadPrefix));
        assert_eq!(next(&[0x80, 0x80, 0x80, 0x80, 0x80, 1], usize::MAX), Err(TcpError::BadPrefix));
    }

    proptest! {
        #[test]
        fn any_split_yields_the_same_frames(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in prop::collection::vec(1usize..40, 1..50),
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|f| [&prefix(f.len())[..], f].concat()).collect();
            let (mut held, mut got, mut rest, mut cuts) = (Vec::new(), Vec::new(), &stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap_or(&1)));
                held.extend_from_slice(now);
                rest = later;
                while let Some(frame) = next(&held, 300).unwrap() {
                    got.push(held[frame.payload].to_vec());
                    held.drain(..frame.consumed);
                }
            }
            prop_assert!(held.is_empty());
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..64), max in 0usize..64) {
            if let Ok(Some(frame)) = next(&input, max) {
                prop_assert!(frame.payload.len() <= max && frame.payload.end == frame.consumed);
                prop_assert!(frame.consumed <= input.len());
            }
        }
    }
}
