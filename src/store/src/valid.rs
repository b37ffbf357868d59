//! What a change must be to be kept at all. Checked before anything is written, so that one bad change is the caller's
//! error and never a store that stops.

use serde_json::Value;
use tidegate_domain::ids::ConvId;

use crate::{Change, StoreError};

/// The longest client id, `dt` or nonce that a key holds, in bytes. The wire's own limits are far below.
pub(crate) const LONGEST_NAME: usize = 4096;

/// The deepest nesting of one attribute's value: the JSON reader takes no more, and what is stored must read back.
const DEEPEST: usize = 120;

pub(crate) fn check(changes: &[Change]) -> Result<(), StoreError> {
    changes.iter().try_for_each(check_one)
}

fn check_one(change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Conversation { record, came, went, .. } => {
            named(record.id)?;
            came.iter().chain(went).try_for_each(|client| short("client id", client))?;
            if record.attributes.values().all(|value| shallow(value, DEEPEST)) {
                Ok(())
            } else {
                Err(StoreError::Invalid(format!("attributes nested deeper than {DEEPEST}")))
            }
        }
        Change::Unique { cid, .. } => named(*cid),
        Change::Message { cid, message, dedupe, .. } => {
            named(*cid)?;
            short("client id", &message.from)?;
            short("dt", dedupe.as_deref().unwrap_or_default())?;
            if !message.body.is_binary() && std::str::from_utf8(message.body.bytes()).is_err() {
                return Err(StoreError::Invalid("a text that is not UTF-8".into()));
            }
            Ok(())
        }
        Change::Read { cid, client, .. } | Change::Delivered { cid, client, .. } => {
            named(*cid)?;
            short("client id", client)
        }
        Change::Nonce { nonce, .. } => short("nonce", nonce),
        Change::Revoked { .. } | Change::Day { .. } => Ok(()),
    }
}

fn named(cid: ConvId) -> Result<(), StoreError> {
    match cid {
        ConvId::Nowhere => Err(StoreError::Invalid("a conversation without an id".into())),
        _ => Ok(()),
    }
}

fn short(what: &str, text: &str) -> Result<(), StoreError> {
    if text.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(StoreError::Invalid(format!("a {what} of {} bytes; at most {LONGEST_NAME}", text.len())))
}

/// Whether a value nests no deeper than `levels`; looks no deeper than that itself.
fn shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| shallow(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| shallow(item, levels - 1)),
        _ => true,
    }
}
