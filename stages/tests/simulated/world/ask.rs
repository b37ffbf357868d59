//! What the clients of the whole world say, beyond `say.rs`.

use tidegate_protocol::wire::logs_command::QueryDirection;
use tidegate_protocol::wire::{
    AckCommand, CommandType as Cmd, ConvCommand, DirectCommand, GenericCommand, JsonObjectMessage, LogsCommand,
    OpType as Op, SessionCommand,
};

use super::talk::Message;

fn envelope(cmd: Cmd, op: Option<Op>) -> GenericCommand {
    GenericCommand { cmd: Some(cmd as i32), op: op.map(|op| op as i32), ..Default::default() }
}

pub fn conv(op: Op, body: ConvCommand) -> GenericCommand {
    GenericCommand { conv_message: Some(Box::new(body)), ..envelope(Cmd::Conv, Some(op)) }
}

/// A command about one conversation and nothing else.
pub fn about(op: Op, cid: &str) -> GenericCommand {
    conv(op, ConvCommand { cid: Some(cid.into()), ..Default::default() })
}

pub fn json(text: String) -> Option<JsonObjectMessage> {
    Some(JsonObjectMessage { data: text })
}

pub fn refresh(token: Option<String>) -> GenericCommand {
    let body = SessionCommand { st: token, ..Default::default() };
    GenericCommand {
        app_id: Some("app".into()),
        session_message: Some(Box::new(body)),
        ..envelope(Cmd::Session, Some(Op::Refresh))
    }
}

pub fn online(clients: Vec<String>) -> GenericCommand {
    let body = SessionCommand { session_peer_ids: clients, ..Default::default() };
    GenericCommand { session_message: Some(Box::new(body)), ..envelope(Cmd::Session, Some(Op::Query)) }
}

pub fn message(cid: &str, message: &Message) -> GenericCommand {
    let body = DirectCommand {
        cid: Some(cid.to_owned()),
        msg: Some(message.text.clone().into()),
        dt: message.dt.clone(),
        transient: message.transient.then_some(true),
        r: message.receipt.then_some(true),
        mention_all: message.mentions_all.then_some(true),
        mention_pids: message.mentions.iter().cloned().collect(),
        ..Default::default()
    };
    GenericCommand { direct_message: Some(body), ..envelope(Cmd::Direct, None) }
}

/// A receiver has all of a time range.
pub fn ack_range(cid: &str, from: i64, to: i64) -> GenericCommand {
    let body = AckCommand { cid: Some(cid.to_owned()), fromts: Some(from), tots: Some(to), ..Default::default() };
    GenericCommand { ack_message: Some(body), ..envelope(Cmd::Ack, None) }
}

/// One end of a page: a time, maybe with the id of the message there, and whether it belongs to the page.
#[derive(Debug, Clone)]
pub struct End {
    pub at: i64,
    pub mid: Option<String>,
    pub included: bool,
}

#[derive(Debug, Clone)]
pub struct Page {
    pub start: Option<End>,
    pub end: Option<End>,
    pub newer: bool,
    pub limit: Option<i32>,
}

impl Page {
    /// Whether a message of this time lies between its ends; no two messages of one conversation have one time.
    pub fn spans(&self, at: i64) -> bool {
        let (low, high) = if self.newer { (&self.start, &self.end) } else { (&self.end, &self.start) };
        let above = low.as_ref().is_none_or(|end| at > end.at || (end.included && at == end.at));
        let below = high.as_ref().is_none_or(|end| at < end.at || (end.included && at == end.at));
        above && below
    }

    pub fn most(&self) -> usize {
        self.limit.map_or(20, |limit| limit as usize).min(100)
    }
}

pub fn logs(cid: &str, page: &Page) -> GenericCommand {
    let (start, end) = (page.start.clone(), page.end.clone());
    let body = LogsCommand {
        cid: Some(cid.to_owned()),
        limit: page.limit,
        t: start.as_ref().map(|end| end.at),
        t_included: start.as_ref().map(|end| end.included),
        mid: start.and_then(|end| end.mid),
        tt: end.as_ref().map(|end| end.at),
        tt_included: end.as_ref().map(|end| end.included),
        tmid: end.and_then(|end| end.mid),
        direction: page.newer.then_some(QueryDirection::New as i32),
        ..Default::default()
    };
    GenericCommand { logs_message: Some(Box::new(body)), ..envelope(Cmd::Logs, None) }
}
