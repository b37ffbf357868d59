//! WebSocket frames. Whatever the chunks, the reader says the same; and where it finds no fault, tungstenite hears the
//! same messages and the same end. The first two bytes choose limit and chunks.
#![no_main]

#[allow(dead_code)]
#[path = "../../../src/protocol/tests/rfc6455/listen.rs"]
mod listen;

use libfuzzer_sys::fuzz_target;
use listen::{End, ours, theirs};
use tidegate_protocol::frame::base64;

fuzz_target!(|data: &[u8]| {
    let Some((&[limit, chop], stream)) = data.split_first_chunk() else { return };
    // Control frames have a limit of their own with us, so that it must not be below theirs.
    let max = 125 + u32::from(limit) * 16;
    let whole = ours(stream, &[stream.len().max(1)], max);
    assert_eq!(ours(stream, &[usize::from(chop).max(1)], max), whole);
    assert_eq!(ours(stream, &[1], max), whole);
    let (heard, end) = &whole;
    let faultless = match end {
        End::Open => true,
        // What we answer a fault with; a client may close with these codes too, which then says no more. Code 1014 is in
        // IANA's registry and not in tungstenite.
        End::Closed(code) => !matches!(code, Some(1002 | 1007 | 1014 | 4109)),
    };
    if faultless {
        assert_eq!(theirs(stream, &[stream.len().max(1)], max), (heard.clone(), *end));
    }
    if let Ok(bytes) = base64::decode(stream) {
        assert_eq!(base64::decode(&base64::encode(&bytes, b"")).expect("our own"), bytes);
    }
});
