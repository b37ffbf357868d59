//! What the server sees in a message: its size and, where it is a typed one, its kind.
//!
//! Bodies are the app's; nothing else in them is looked at. Must not know frames.

use serde::Deserialize;

use crate::command::{Body, Send};
use crate::error::{Code, Failure};

/// The most bytes of a message with its push content (wire.md 7).
pub const MOST_BYTES: usize = 5 * 1_024;

/// The most bytes of a dedupe token: SDKs send UUIDs, and it is kept with every message.
pub const MOST_TOKEN_BYTES: usize = 256;

/// 4109 for a message that is too large; it is only refused, nothing closes.
pub fn check_size(send: &Send) -> Result<(), Failure> {
    if send.dedupe.as_ref().is_some_and(|token| token.len() > MOST_TOKEN_BYTES) {
        let detail = format!("a dt has at most {MOST_TOKEN_BYTES} bytes");
        return Err(Failure::because(Code::FrameTooLong, detail));
    }
    let size = size(send);
    if size > MOST_BYTES {
        let detail =
            format!("the message has {size} bytes with its pushData and mentions; at most {MOST_BYTES} are sent");
        return Err(Failure::because(Code::FrameTooLong, detail));
    }
    Ok(())
}

/// The `_lctype` of a typed message, which is text and a JSON object; `None` for all others.
pub fn kind_of(body: &Body) -> Option<i32> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "_lctype")]
        kind: i32,
    }
    let Body::Text(text) = body else { return None };
    // A JSON array would be read as a struct's fields in order.
    if !text.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    serde_json::from_slice::<Typed>(text).ok().map(|typed| typed.kind)
}

/// Bytes of a message with its `pushData` and mentions.
pub fn size(send: &Send) -> usize {
    let mentions: usize = send.mentions.clients.iter().map(|client| client.len() + 1).sum();
    send.body.bytes().len() + send.push_data.as_ref().map_or(0, |data| data.len()) + mentions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::{Mentions, Priority};
    use crate::ids::ConvId;

    fn send(body: Body, push_data: Option<&str>) -> Send {
        Send {
            cid: ConvId::Nowhere,
            body,
            transient: false,
            receipt: false,
            will: false,
            dedupe: None,
            push_data: push_data.map(Into::into),
            mentions: Mentions::default(),
            priority: Priority::Normal,
        }
    }

    #[test]
    fn five_kilobytes_with_push_content_and_not_one_more() {
        let body = |size: usize| Body::Binary(vec![0; size].into());
        assert_eq!(check_size(&send(body(5_120), None)), Ok(()));
        assert_eq!(check_size(&send(body(0), Some(""))), Ok(()));
        assert_eq!(check_size(&send(body(5_118), Some("{}"))), Ok(()));
        assert_eq!(check_size(&send(body(5_119), Some("{}"))).map_err(|f| f.code), Err(Code::FrameTooLong));
        assert_eq!(check_size(&send(body(5_121), None)).map_err(|f| f.code), Err(Code::FrameTooLong));
    }

    #[test]
    fn the_kind_of_typed_messages_only() {
        for (text, kind) in [
            (r#"{"_lctype":-1,"_lctext":"hi"}"#, Some(-1)),
            (r#" {"a":[{}],"_lctype":1000}"#, Some(1_000)),
            (r#"{"_lctype":"1"}"#, None),
            (r#"{"_lctype":1.5}"#, None),
            (r#"{"_lctype":99999999999}"#, None),
            (r#"{"a":{"_lctype":1}}"#, None),
            ("{}", None),
            ("[1]", None),
            ("1", None),
            ("", None),
            ("{\"_lctype\":1", None),
        ] {
            assert_eq!(kind_of(&Body::Text(text.into())), kind, "{text}");
        }
        assert_eq!(kind_of(&Body::Binary(r#"{"_lctype":-1}"#.into())), None);
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), open: bool) {
            let bytes = if open { [b"{\"_lctype\":".to_vec(), bytes].concat() } else { bytes };
            kind_of(&Body::Text(bytes.into()));
        }
    }
}
