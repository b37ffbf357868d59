//! Length-prefixed frames: any chunks, the same frames and the same end. The first two bytes choose limit and chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_protocol::frame::tcp::{self, TcpError};

fuzz_target!(|data: &[u8]| {
    let Some((&[limit, chop], stream)) = data.split_first_chunk() else { return };
    let max = usize::from(limit) * 8;
    let whole = frames(stream, stream.len().max(1), max);
    assert_eq!(frames(stream, usize::from(chop).max(1), max), whole);
    for frame in &whole.0 {
        assert!(frame.len() <= max);
    }
});

fn frames(stream: &[u8], chop: usize, max: usize) -> (Vec<Vec<u8>>, Option<TcpError>) {
    let (mut held, mut frames) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(chop) {
        held.extend_from_slice(chunk);
        loop {
            match tcp::next(&held, max) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    frames.push(held[frame.payload].to_vec());
                    held.drain(..frame.consumed);
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
