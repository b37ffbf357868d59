//! The store's values and keys: bytes that are no value are said to be none, and a value is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_domain::day::Figures;
use tidegate_domain::ids::{ConvId, MessageId};
use tidegate_store::{codec, key};

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let id = ConvId::parse("559d08a1e4b0a35bc5062ba1");
    let mid = MessageId([7; 16]);
    match kind % 8 {
        0 => {
            if let Ok(read) = codec::read_conversation(id, bytes) {
                assert_eq!(codec::read_conversation(id, &codec::write_conversation(&read)), Ok(read));
            }
        }
        1 => {
            if let Ok(read) = codec::read_message(5, mid, bytes) {
                assert_eq!(codec::read_message(5, mid, &codec::write_message(&read)), Ok(read));
            }
        }
        2 => {
            if let Ok(read) = codec::read_marks(bytes) {
                assert_eq!(codec::read_marks(&codec::write_marks(&read)), Ok(read));
            }
        }
        3 => {
            if let Ok((mid, at)) = codec::read_sent(bytes) {
                assert_eq!(codec::read_sent(&codec::write_sent(mid, at)), Ok((mid, at)));
            }
        }
        4 => {
            if let Ok(at) = codec::read_time(bytes) {
                assert_eq!(codec::read_time(&codec::write_time(at)), Ok(at));
            }
        }
        5 => {
            if let Ok(cid) = codec::read_conv_id(bytes) {
                assert_eq!(codec::read_conv_id(&codec::write_conv_id(cid)), Ok(cid));
            }
        }
        6 => {
            if let Some(read) = Figures::from_bytes(bytes) {
                assert_eq!(read.to_bytes(), bytes);
            }
            if let Some((app, day)) = key::day_of(bytes) {
                assert_eq!(key::day(app, day), bytes);
            }
        }
        _ => {
            if let Some((at, mid)) = key::message_place(bytes) {
                assert_eq!(key::message_place(&key::message(1, id, at, mid)), Some((at, mid)));
            }
            assert!(bytes.starts_with(key::memberships_prefix(bytes)));
            let _ = (key::app_of(bytes), key::has_memberships_prefix(bytes));
            if let Some(behind) = key::behind(bytes) {
                assert!(&behind[..] > bytes && !behind.starts_with(bytes));
            }
        }
    }
});
