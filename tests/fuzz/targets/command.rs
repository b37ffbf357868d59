//! Commands: what the door reads of a frame agrees with what the decoder makes of it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_domain::command::Command;
use tidegate_protocol::{decode, peek};

fuzz_target!(|data: &[u8]| {
    let head = peek(data);
    let Ok(request) = decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(head.i, request.i);
    if let Some(peer) = &request.peer {
        assert_eq!(head.peer, Some(&**peer));
    }
    if let Command::Send(send) = &request.command {
        assert_eq!((head.transient, head.priority), (send.transient, send.priority));
    }
});
