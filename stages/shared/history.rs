//! A stored message as clients see it in history.

use tidegate_domain::conversation::Kind;
use tidegate_domain::reply::LogItem;
use tidegate_store::Stored;

/// Without delivery and read times: these depend on who asks.
pub fn log_item(stored: Stored, kind: Kind) -> LogItem {
    LogItem {
        mid: stored.mid,
        from: stored.from,
        at: stored.at,
        body: stored.body,
        delivered_at: None,
        read_at: None,
        patched_at: stored.patched_at,
        mentions: stored.mentions,
        kind,
    }
}
