//! How a conversation begins: its kind, its first members, its attributes, its unique id (wire.md 3.6.1).

use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::{Conversation, Kind, MOST_MEMBERS, Member, check_attributes};
use crate::command::Start;
use crate::error::{Code, Failure};
use crate::ids::{ClientId, ConvId, Millis, check_client};

impl Conversation {
    /// The conversation that `caller` asks for, under an id made by the one who calls this. The creator is always its
    /// first member. Fails with 4304 (too many members), 4306 (bad or reserved attributes), 4103 (a member's id that no
    /// client can have) and 4300 (temporary: not offered yet).
    pub fn start(id: ConvId, caller: &ClientId, ask: &Start, now: Millis) -> Result<Self, Failure> {
        if ask.temporary {
            let detail = "temporary conversations are not offered by this server yet";
            return Err(Failure::because(Code::ConversationInternal, detail));
        }
        let kind = if ask.transient { Kind::Room } else { Kind::Normal };
        let members = if kind == Kind::Room { Vec::new() } else { first_members(caller, &ask.members, now)? };
        let attributes = match ask.attr.as_deref() {
            Some(text) => read_attributes(text)?,
            None => Map::new(),
        };
        check_attributes(&attributes)?;
        Ok(Conversation {
            id,
            kind,
            creator: caller.clone(),
            members,
            muted: Vec::new(),
            attributes,
            unique_id: unique_id_of(ask, caller),
            created: now,
            updated: now,
            version: 1,
            expires: None,
        })
    }
}

/// The unique id of what is asked for; `None` where each start makes a conversation of its own. Temporary goes before
/// chat room, and that before unique: SDKs send `unique` along with either.
pub fn unique_id_of(ask: &Start, caller: &ClientId) -> Option<[u8; 16]> {
    let unique = ask.unique && !ask.transient && !ask.temporary;
    unique.then(|| unique_id(ask.members.iter().chain([caller]).map(|client| &**client)))
}

/// A stable function of a set of members, the creator among them: order and repetitions do not matter.
pub fn unique_id<'a>(members: impl IntoIterator<Item = &'a str>) -> [u8; 16] {
    let mut members: Vec<&str> = members.into_iter().collect();
    members.sort_unstable();
    members.dedup();
    let mut hash = Sha1::new();
    for member in members {
        // The length first, so that no two sets read as the same text.
        hash.update((member.len() as u64).to_be_bytes());
        hash.update(member);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

/// As the wire has it: 32 hex digits.
pub fn unique_hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

fn first_members(caller: &ClientId, asked: &[ClientId], now: Millis) -> Result<Vec<Member>, Failure> {
    let mut seen = std::collections::HashSet::with_capacity(asked.len() + 1);
    let mut members = Vec::new();
    for client in [caller].into_iter().chain(asked) {
        if !seen.insert(&**client) {
            continue;
        }
        check_client(client)?;
        if members.len() == MOST_MEMBERS {
            let detail = format!("a conversation has at most {MOST_MEMBERS} members");
            return Err(Failure::because(Code::ConversationFull, detail));
        }
        members.push(Member { client: client.clone(), joined: now });
    }
    Ok(members)
}

/// A JSON object, as start and update carry it.
pub(super) fn read_attributes(text: &str) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_str(text) {
        Ok(Value::Object(attributes)) => Ok(attributes),
        Ok(_) => Err(Failure::because(Code::ConversationUpdateFailed, "attributes must be a JSON object")),
        Err(error) => {
            Err(Failure::because(Code::ConversationUpdateFailed, format!("attributes are not JSON: {error}")))
        }
    }
}
