//! A message as it goes to fan-out: the same for transient ones, which route sends on, and for committed ones.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tidegate_domain::command::{Priority, Send as SendCommand};
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::ids::{ClientId, MessageId, Millis};
use tidegate_domain::reply::{Message, Notice};

use crate::event::{Ask, Audience, Delivery, Going, Part, Sent};
use crate::mail::Class;

/// A message that was let in.
pub struct Accepted {
    pub conversation: Arc<Conversation>,
    pub send: Box<SendCommand>,
    pub mid: MessageId,
    pub at: Millis,
    /// A hook named the receivers.
    pub to: Option<Vec<ClientId>>,
    pub going: Going,
}

pub fn of_message(ask: &Ask, accepted: Accepted, now: Millis) -> Delivery {
    let Accepted { conversation, send, mid, at, to, going } = accepted;
    let message = Message {
        cid: conversation.id,
        mid,
        from: ask.client.clone(),
        at,
        body: send.body.clone(),
        transient: send.transient,
        mentions: send.mentions.clone(),
        kind: conversation.kind,
        offline: false,
        has_more: false,
        patched_at: None,
    };
    let audience = match (conversation.kind, &to) {
        (Kind::Room, _) => Audience::Room { except: Some(ask.client.clone()) },
        (_, None) => Audience::Members(conversation.clone()),
        // The sender's other sessions keep their copy; who is no member gets nothing (http.md 3.2).
        (_, Some(chosen)) => {
            let chosen = among(chosen);
            let members = conversation.members.iter().map(|member| &member.client);
            let to = members.filter(|client| **client == ask.client || chosen.contains(client));
            Audience::Clients(to.cloned().collect())
        }
    };
    Delivery {
        app: ask.app,
        cid: conversation.id,
        parts: vec![Part {
            frame: tidegate_protocol::notice(now, &Notice::Message(message)),
            to: audience,
            class: class_of(&conversation, &send),
            except: Some(ask.session()),
            // What is not kept is counted nowhere, even when the clock is behind its conversation's newest message.
            at: (!send.transient && !send.will).then_some(at),
        }],
        cause: Some(ask.conn),
        since_ns: ask.received_ns,
        journey: ask.journey.clone(),
        message: Some(Box::new(Sent {
            conversation,
            command: send,
            mid,
            from: ask.client.clone(),
            conn: ask.conn,
            at,
            to,
            going,
        })),
    }
}

/// To look clients up in, however many they are.
pub fn among(clients: &[ClientId]) -> HashSet<&ClientId, RandomState> {
    clients.iter().collect()
}

fn class_of(conversation: &Conversation, send: &SendCommand) -> Class {
    match (conversation.kind, send.priority) {
        (Kind::Room, Priority::Low) => Class::RoomLow,
        (Kind::Room, Priority::High) => Class::RoomHigh,
        _ if send.transient => Class::Transient,
        (Kind::Room, Priority::Normal) => Class::RoomNormal,
        _ => Class::Normal,
    }
}
