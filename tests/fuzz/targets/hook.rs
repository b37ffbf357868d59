//! What an app's webhook answers: it is believed in the documented form only.
#![no_main]

#[allow(dead_code)]
#[path = "../../../src/http/src/hooks/returns.rs"]
mod returns;

use libfuzzer_sys::fuzz_target;
use returns::Returned;

const MOST: usize = 200;

fuzz_target!(|data: &[u8]| {
    for binary in [false, true] {
        if let Ok(Returned::Pass { body: Some(body), .. }) = returns::message_received(data, binary, MOST) {
            assert!(body.bytes().len() <= MOST);
        }
    }
    let _ = returns::receivers_offline(data);
});
