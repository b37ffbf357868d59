//! How much of a conversation's history one request gets (wire.md 3.14).
//!
//! The ends of a page are the command's `Bound`s and the store's to apply. Must not know stores.

use crate::command::{Bound, Logs};
use crate::ids::{MessageId, Millis};
use crate::message::kind_of;
use crate::reply::LogItem;

pub const DEFAULT_LIMIT: usize = 20;
pub const MOST_ITEMS: usize = 100;

/// The most messages looked at for a page of one `_lctype`; a page may then be short though more lie beyond.
pub const MOST_LOOKED_AT: usize = 2_000;

/// How many messages a page has at most: 20 unless told otherwise, never over 100, and an explicit 0 is none, which need not be
/// looked up. Negative numbers count as absent.
pub fn limit(asked: Option<i32>) -> usize {
    asked.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT).min(MOST_ITEMS)
}

/// The start of what follows a message, in either direction.
pub fn beyond(at: Millis, mid: MessageId) -> Bound {
    Bound { timestamp: at, mid: Some(mid), included: false }
}

/// Whether a message is of the kind that the request asks for; without one, all are.
pub fn is_wanted(logs: &Logs, item: &LogItem) -> bool {
    logs.kind.is_none_or(|kind| kind_of(&item.body) == Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Body, Direction, Mentions};
    use crate::conversation::Kind;
    use crate::ids::ConvId;

    #[test]
    fn limits_as_documented() {
        for (asked, limit) in
            [(None, 20), (Some(0), 0), (Some(1), 1), (Some(100), 100), (Some(i32::MAX), 100), (Some(-1), 20)]
        {
            assert_eq!(super::limit(asked), limit, "{asked:?}");
        }
    }

    #[test]
    fn only_the_kind_asked_for_is_wanted() {
        let logs =
            |kind| Logs { cid: ConvId::Nowhere, start: None, end: None, limit: None, direction: Direction::Old, kind };
        let item = |text: &'static str| LogItem {
            mid: MessageId([0; 16]),
            from: "ann".into(),
            at: 1,
            body: Body::Text(text.into()),
            delivered_at: None,
            read_at: None,
            patched_at: None,
            mentions: Mentions::default(),
            kind: Kind::Normal,
        };
        assert!(is_wanted(&logs(None), &item("plain")));
        assert!(is_wanted(&logs(Some(-1)), &item(r#"{"_lctype":-1,"_lctext":"hi"}"#)));
        assert!(!is_wanted(&logs(Some(1_000)), &item(r#"{"_lctype":-1}"#)));
        assert!(!is_wanted(&logs(Some(0)), &item("plain")));
    }
}
