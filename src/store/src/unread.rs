//! What is unread, counted over a conversation's messages from the newest back.

use crate::{StoreError, Stored, UnreadCount};

/// The most messages that one count looks at, own ones included: a client that only ever writes and never reads must
/// not make each of its log-ins walk its whole history.
pub const MOST_LOOKED_AT: usize = 10_000;

/// `newest_first`: all messages of the conversation, read lazily; stops at `after`, at the cap and at `MOST_LOOKED_AT`.
pub(crate) fn count(
    newest_first: impl Iterator<Item = Result<Stored, StoreError>>,
    client: &str,
    after: i64,
    cap: usize,
) -> Result<UnreadCount, StoreError> {
    let mut unread = UnreadCount::default();
    for message in newest_first.take(MOST_LOOKED_AT) {
        let message = message?;
        if message.at > after && unread.count < cap && &*message.from != client {
            unread.count += 1;
            unread.mentioned |= message.mentions.includes(client);
        }
        let enough = message.at <= after || unread.count >= cap;
        unread.last.get_or_insert(message);
        if enough {
            break;
        }
    }
    Ok(unread)
}
