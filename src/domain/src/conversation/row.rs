//! A conversation as a query shows it: the JSON row that SDKs read, and that filters match (wire.md 3.6.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Conversation, Kind, unique_hex};
use crate::command::Body;
use crate::ids::Millis;
use crate::reply::LogItem;
use crate::time::{date_object, iso};

impl Conversation {
    /// The row for `caller`: without `m` where `compact`; with the last message where `last` is given; `lm` is the time
    /// of the last message, `None` where there was none.
    pub fn to_query_json(&self, caller: &str, compact: bool, last: Option<&LogItem>, lm: Option<Millis>) -> Value {
        let mut row = self.attributes.clone();
        let mut set = |key: &str, value: Value| row.insert(key.to_owned(), value);
        set("objectId", self.id.to_string().into());
        set("c", (*self.creator).into());
        set("createdAt", iso(self.created).into());
        set("updatedAt", iso(self.updated).into());
        set("conv_type", self.kind.number().into());
        set("mu", self.muted.iter().map(|client| &**client).collect());
        if let Some(lm) = lm {
            set("lm", date_object(lm));
        }
        if let Some(id) = self.unique_id {
            set("unique", true.into());
            set("uniqueId", unique_hex(id).into());
        }
        if !compact && matches!(self.kind, Kind::Normal | Kind::Temporary) {
            set("m", self.members.iter().map(|member| &*member.client).collect());
        }
        match self.kind {
            Kind::Normal => {}
            Kind::Room => {
                set("tr", true.into());
            }
            Kind::System => {
                set("sys", true.into());
                let member = self.members.iter().find(|member| &*member.client == caller);
                set("joined", member.is_some().into());
                set("muted", self.muted.iter().any(|client| &**client == caller).into());
                if let Some(member) = member {
                    set("joinedAt", member.joined.into());
                }
            }
            Kind::Temporary => {
                // Both spellings: C# knows a temporary conversation by the second only.
                let ttl_s = self.expires.map_or(0, |at| at.saturating_sub(self.created) / 1_000);
                set("temp", true.into());
                set("ttl", ttl_s.into());
                set("tempConv", true.into());
                set("tempConvTTL", ttl_s.into());
            }
        }
        if let Some(last) = last {
            add_message(&mut row, last);
        }
        Value::Object(row)
    }
}

fn add_message(row: &mut Map<String, Value>, last: &LogItem) {
    let text = match &last.body {
        Body::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::Binary(bytes) => STANDARD.encode(bytes),
    };
    let mut set = |key: &str, value: Value| row.insert(key.to_owned(), value);
    set("msg", text.into());
    // Always beside `msg`: C# fails without.
    set("bin", last.body.is_binary().into());
    set("msg_mid", last.mid.to_string().into());
    set("msg_from", (*last.from).into());
    set("msg_timestamp", last.at.into());
    if let Some(at) = last.patched_at {
        set("patch_timestamp", at.into());
    }
    if last.mentions.all {
        set("mention_all", true.into());
    }
    if !last.mentions.clients.is_empty() {
        set("mention_pids", json!(last.mentions.clients.iter().map(|client| &**client).collect::<Vec<_>>()));
    }
}
