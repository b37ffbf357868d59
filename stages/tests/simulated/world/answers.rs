//! What comes to those who asked, held against what is known.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_domain::conversation::Kind;
use tidegate_domain::ids::ConvId;
use tidegate_domain::time::{from_date_object, from_iso};
use tidegate_protocol::wire::{ConvCommand, GenericCommand, LogsCommand};

use super::acts::name;
use super::ask::Page;
use super::talk::{Conv, Fate, Key, Tick};
use super::{Asked, Place, Question, State, Step, World};
use crate::app;
use crate::say;

/// What may be said to anybody who asks for too much, or while the disk is broken.
const EXCUSES: [i32; 5] = [4116, 4200, 4300, 4310, 4311];

impl World {
    pub(super) fn answered(&mut self, question: Question, command: GenericCommand) {
        let Question { what, tick, key, .. } = question;
        let code = say::code(&command);
        if let Some(code) = code {
            self.tell(|_| format!("{} is refused with {code}", name(key)));
            if let Asked::Move { conv, .. } = &what {
                self.convs[*conv].moves += 1;
            }
            return self.refused(what, (key, tick), code, &command);
        }
        let body = command.conv_message.as_deref();
        match what {
            Asked::Open { since, token } => self.opened(key, since, token, &command),
            Asked::Close { since } => {
                if self.sessions.get(&key).is_some_and(|session| session.since == since) {
                    self.over(key, true);
                }
            }
            Asked::Refresh { since } => {
                let token = command.session_message.as_ref().and_then(|session| session.st.clone());
                let session = self.sessions.get_mut(&key).filter(|session| session.since == since);
                if let (Some(session), true) = (session, token.is_some()) {
                    session.token = token;
                }
            }
            Asked::Send { message } => self.sent(key, message, tick, &command),
            Asked::Logs { conv, page } => match &command.logs_message {
                Some(logs) => self.page_came(key, conv, &page, tick, logs),
                None => self.wrong(format!("{command:?} is no history")),
            },
            Asked::Online { who, steady } => {
                let online = command.session_message.map(|session| session.online_session_peer_ids).unwrap_or_default();
                let steady: Vec<usize> =
                    self.steady_clients().into_iter().filter(|client| steady.contains(client)).collect();
                for client in who {
                    let is_told = online.contains(&self.clients[client].id);
                    if (steady.contains(&client) && !is_told) || (self.clients[client].offline && is_told) {
                        self.wrong(format!("c{client} is said to be online: {is_told}"));
                    }
                }
            }
            what => match body {
                Some(body) => self.conv_answered(key, what, tick, body),
                None => self.wrong(format!("{command:?} is no answer about conversations")),
            },
        }
    }

    fn conv_answered(&mut self, key: Key, what: Asked, tick: Tick, body: &ConvCommand) {
        let version = body.udate.as_deref().and_then(from_iso);
        match what {
            Asked::Start { members, unique, room, step } => {
                if let Some(conv) = self.started(key, (members, unique, room), body)
                    && room
                {
                    self.stepped(key, conv, true, step);
                }
            }
            Asked::Move { conv, who, add, step } => self.moved(key, conv, &who, (add, step), body),
            Asked::Mute { conv, on } => {
                let stance = &mut self.convs[conv].of[key.1];
                // Of two at once, nobody knows which was last.
                stance.mutes -= 1;
                stance.muted = (stance.mutes == 0).then_some(on);
            }
            Asked::Query { conv } => {
                let rows = body.results.as_ref().and_then(|rows| serde_json::from_str(&rows.data).ok());
                match rows {
                    Some(Value::Array(rows)) => self.rows(key, conv, tick, &rows),
                    _ => self.wrong(format!("{body:?} are no results")),
                }
            }
            Asked::Count { conv, moves } => {
                let members = self.convs[conv].members().filter(|_| self.convs[conv].moves == moves);
                if members.is_some_and(|members| body.count != Some(members as i32)) {
                    self.wrong(format!("{} counts {:?} of {members:?}", self.convs[conv].id, body.count));
                }
            }
            Asked::IsMember { conv, moves } => {
                let text = body.results.as_ref().map_or("", |results| &results.data);
                let json: Value = serde_json::from_str(text).unwrap_or_default();
                let firm = self.convs[conv].of[key.1].firm().filter(|_| self.convs[conv].moves == moves);
                if firm.is_some_and(|firm| json[&self.convs[conv].id] != Value::Bool(firm)) {
                    self.wrong(format!("{} is a member: {firm:?}, and was told {text}", name(key)));
                }
            }
            Asked::Members { conv } => {
                let strangers =
                    body.m.iter().find(|id| self.client_of(id).is_none_or(|client| self.clients[client].offline));
                if let Some(stranger) = strangers {
                    self.wrong(format!("{stranger} is not online, and said to be in {}", self.convs[conv].id));
                }
            }
            Asked::MaxRead { conv } => self.max_read_came(conv, tick, body),
            Asked::Set { conv, key, value } => {
                let Some(version) = version else { return self.wrong(format!("{body:?} has no time")) };
                self.hear_update(conv, version, body);
                let is = self.convs[conv].attributes.get(key).and_then(|of| of.get(&version));
                if is != Some(&value) {
                    self.wrong(format!("{key} was to be {value} and is {is:?}"));
                }
            }
            Asked::Increment { conv } => {
                let Some(version) = version else { return self.wrong(format!("{body:?} has no time")) };
                self.hear_update(conv, version, body);
                self.convs[conv].counted.0 += 1;
            }
            _ => {}
        }
    }

    fn refused(&mut self, what: Asked, (key, asked): (Key, Tick), code: i32, command: &GenericCommand) {
        let excused = EXCUSES.contains(&code) && !self.is_strict();
        let firm = |world: &World, conv: usize| world.convs[conv].of[key.1].firm();
        let no_session = code == 4105
            && self.sessions.get(&key).is_none_or(|one| one.doubtful || one.state == State::Over || one.since > asked);
        let may = match &what {
            Asked::Open { since, token } => {
                let is_now = self.sessions.get(&key).is_some_and(|session| session.since == *since);
                // A token may have ended, and a tag may be another device's.
                let ended = token.as_ref().is_some_and(|(_, closed)| *closed);
                if let (Some(session), false) = (self.sessions.get_mut(&key).filter(|_| is_now), ended) {
                    session.token = token.clone().filter(|_| code != 4111).map(|(token, _)| token);
                }
                if is_now {
                    self.over(key, ended);
                }
                code == 4111 && (ended || self.clients[key.1].tagged)
            }
            Asked::Send { message } => {
                self.settle_attempt(*message, key, Fate::Refused);
                let one = &self.messages[*message];
                let by_hook = code == 4402 && self.hooks && app::refuses(&one.text);
                let stranger = code == 4401 && !self.convs[one.conv].is_room() && firm(self, one.conv) != Some(true);
                if excused || no_session {
                    self.clients[key.1].unsure.push(*message);
                }
                by_hook || stranger
            }
            // A session that ends is put into no room.
            Asked::Move { conv, .. } if self.convs[*conv].is_room() => {
                let session = self.sessions.get(&key);
                code == 4105 && session.is_some_and(|one| one.state == State::Closing || one.since > asked)
            }
            Asked::Move { conv, .. } => code == 4317 && firm(self, *conv) != Some(true),
            Asked::Mute { conv, .. } => {
                self.convs[*conv].of[key.1].mutes -= 1;
                code == 4317 && firm(self, *conv) != Some(true)
            }
            Asked::MaxRead { conv } => code == 4317 && firm(self, *conv) != Some(true),
            Asked::Set { conv, .. } | Asked::Increment { conv } => code == 4309 && firm(self, *conv) != Some(true),
            Asked::Logs { conv, .. } => code == 4312 && !self.convs[*conv].is_room() && firm(self, *conv) != Some(true),
            _ => false,
        };
        if !may && !excused && !no_session {
            self.wrong(format!("{} was refused with {code}: {command:?}", name(key)));
        }
    }

    fn opened(&mut self, key: Key, since: Tick, token: Option<(String, bool)>, command: &GenericCommand) {
        self.tell(|_| format!("{} is in", name(key)));
        let given = command.session_message.as_ref().and_then(|session| session.st.clone());
        if given.is_none() {
            self.wrong(format!("{} got no token", name(key)));
        }
        // That a token was ended is not kept by an fsync of its own.
        if token.is_some_and(|(_, closed)| closed) && self.is_strict() && !self.crashes && !self.fails && !self.tight {
            self.wrong(format!("{} came in by a token that had ended", name(key)));
        }
        let (tick, had_room) = (self.now, self.clients[key.1].had_room);
        let Some(session) = self.sessions.get_mut(&key).filter(|session| session.since == since) else { return };
        session.token = given;
        if had_room {
            // Another session of the client may have dropped out of it meanwhile.
            session.rooms.values_mut().for_each(|place| *place = (Place::Maybe, tick));
        }
        if matches!(session.state, State::Opening | State::Over) {
            (session.state, session.was_in, session.steady) = (State::Open, true, false);
            // What came until now was for the one before it on this connection, if there was one.
            session.heard.clear();
            session.receipts.clear();
            session.notices.clear();
            session.unread.clear();
        }
    }

    fn sent(&mut self, key: Key, number: usize, asked: Tick, command: &GenericCommand) {
        let Some((mid, at)) = say::sent(command) else {
            return self.wrong(format!("{} got {command:?} for a message", name(key)));
        };
        self.tell(|w| format!("{} is told that {} is at {at}", name(key), w.messages[number].text));
        self.settle_attempt(number, key, Fate::Done);
        let message = &self.messages[number];
        let (conv, text) = (message.conv, message.text.clone());
        if self.hooks && self.is_strict() && app::refuses(&text) {
            return self.wrong(format!("{text} went by the hook"));
        }
        if message.transient {
            return;
        }
        let is_first = message.attempts.len() == 1;
        let from = self.clients[message.from].id.clone();
        if self.place(conv, (at, &mid), text.as_bytes(), &from, "an acknowledgement").is_none() || !is_first {
            return;
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Some((before, place)) = session.said.insert(conv, (asked, at))
            && (before > asked || place >= at)
        {
            self.wrong(format!("{} sent {text} later than what stands at {place}, and it is at {at}", name(key)));
        }
    }

    fn started(
        &mut self,
        key: Key,
        (members, unique, room): (BTreeSet<usize>, bool, bool),
        body: &ConvCommand,
    ) -> Option<usize> {
        let (Some(id), Some(created)) = (body.cid.clone(), body.cdate.as_deref().and_then(from_iso)) else {
            self.wrong(format!("{} started {body:?}", name(key)));
            return None;
        };
        self.tell(|_| format!("{} has started {id}", name(key)));
        if !unique && self.by_id.contains_key(&id) {
            self.wrong(format!("{id} was made twice"));
            return None;
        }
        if unique && let Some(known) = self.unique.get(&members).map(|conv| self.convs[*conv].id.clone()) {
            if known != id {
                self.wrong(format!("{members:?} have {known} and {id}"));
            }
            return None;
        }
        let kind = if room { Kind::Room } else { Kind::Normal };
        let conv = self.know(Conv::new(ConvId::parse(&id), kind, self.clients.len()));
        if room {
            let tick = self.now;
            for session in self.sessions.values_mut() {
                session.rooms.insert(conv, (Place::Maybe, tick));
            }
            self.clients[key.1].had_room = true;
            return Some(conv);
        }
        for client in 0..self.clients.len() {
            let fact = self.convs[conv].fact(client, created, members.contains(&client));
            self.must(fact);
            self.convs[conv].of[client].touched = true;
            if body.existing == Some(true) {
                // Somebody was not told that it began, and what came of it.
                self.convs[conv].of[client].unsure_since(created);
            }
        }
        if unique {
            self.unique.insert(members, conv);
        }
        Some(conv)
    }

    /// A session is in a room, and in no other, or out of it.
    fn stepped(&mut self, key: Key, conv: usize, add: bool, step: Step) {
        let tick = self.now;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if step != Some(session.step) {
            return;
        }
        if add {
            session.rooms.values_mut().for_each(|place| *place = (Place::Out, tick));
        }
        session.rooms.insert(conv, (if add { Place::In } else { Place::Out }, tick));
    }

    fn moved(&mut self, key: Key, conv: usize, who: &[usize], (add, step): (bool, Step), body: &ConvCommand) {
        self.convs[conv].moves += 1;
        let done: Vec<Option<usize>> = body.allowed_pids.iter().map(|id| self.client_of(id)).collect();
        let wanted: Vec<Option<usize>> = who.iter().copied().map(Some).collect();
        if done != wanted || !body.failed_pids.is_empty() {
            return self.wrong(format!("{} wanted {who:?} moved, and got {body:?}", name(key)));
        }
        if self.convs[conv].is_room() {
            return self.stepped(key, conv, add, step);
        }
        let Some(version) = body.udate.as_deref().and_then(from_iso) else {
            return self.wrong(format!("{body:?} has no time"));
        };
        self.tell(|w| format!("{} is told that {who:?} moved ({add}) in {} by {version}", name(key), w.convs[conv].id));
        for client in who {
            let fact = self.convs[conv].fact(*client, version, add);
            self.must(fact);
        }
    }

    /// A page of history: of what was known when it was asked for, all that it spans, from its start on.
    fn page_came(&mut self, key: Key, conv: usize, page: &Page, asked: Tick, logs: &LogsCommand) {
        let mut places = Vec::with_capacity(logs.logs.len());
        for item in &logs.logs {
            let (at, mid) = (item.timestamp.unwrap_or_default(), item.msg_id.clone().unwrap_or_default());
            let (text, from) = (item.data.clone().unwrap_or_default(), item.from.clone().unwrap_or_default());
            let Some(number) = self.place(conv, (at, &mid), &text, &from, "history") else { return };
            let is_asked = |known: Option<Tick>| known.is_some_and(|tick| tick < asked);
            let message = &self.messages[number];
            let placed = &self.convs[conv].line[&at];
            let others = || self.convs[conv].of.iter().enumerate().filter(|(client, _)| *client != message.from);
            let acked = others().any(|(_, of)| of.has_acked(at) || of.acked.len() + of.acks.len() > 25);
            let read = others().any(|(_, of)| of.read.1 >= at);
            let delivered_right =
                (item.ack_at.is_some() || !is_asked(placed.delivered)) && (acked || item.ack_at.is_none());
            let read_right = (item.read_at.is_some() || !is_asked(placed.read)) && (read || item.read_at.is_none());
            let is_right = self.convs[conv].is_room() || (delivered_right && read_right);
            if !is_right {
                return self.wrong(format!("{} is told of {}: {item:?}", name(key), message.text));
            }
            places.push(at);
        }
        let id = &self.convs[conv].id;
        if !places.is_sorted_by(|a, b| a < b) || places.iter().any(|at| !page.spans(*at)) || places.len() > page.most()
        {
            return self.wrong(format!("{} asked for {page:?} of {id} and got {places:?}", name(key)));
        }
        // As far as the page goes, it is whole.
        let is_full = places.len() == page.most();
        let (first, last) = (places.first().copied(), places.last().copied());
        let known = &self.convs[conv].line;
        let goes_to = |at: i64| match page.newer {
            _ if !is_full => true,
            true => last.is_some_and(|last| at <= last),
            false => first.is_some_and(|first| at >= first),
        };
        let missing = known.iter().find(|(at, placed)| {
            placed.seen < asked && page.spans(**at) && goes_to(**at) && places.binary_search(at).is_err()
        });
        if let Some((at, placed)) = missing {
            let words =
                format!("{} asked for {page:?} of {id}: m{} at {at} is not in {places:?}", name(key), placed.message);
            return self.wrong(words);
        }
        // Between the first and the last of it nothing more can be.
        if let (Some(first), Some(last)) = (first, last) {
            self.convs[conv].is_whole(first, last);
        }
    }

    fn rows(&mut self, key: Key, conv: Option<usize>, asked: Tick, rows: &[Value]) {
        let mut found = Vec::new();
        for row in rows {
            let id = row["objectId"].as_str().unwrap_or_default();
            // One whose start was not answered is known to nobody.
            let Some(conv) = self.by_id.get(id).copied() else { continue };
            found.push(conv);
            self.row(conv, asked, row);
        }
        match conv {
            Some(conv) if found != [conv] => {
                self.wrong(format!("{} asked for {} and got {rows:?}", name(key), self.convs[conv].id));
            }
            Some(_) => {}
            None => {
                let differs = self.convs.iter().enumerate().find(|(conv, of)| {
                    !of.is_room() && of.of[key.1].firm().is_some_and(|firm| firm != found.contains(conv))
                });
                if let Some((_, of)) = differs {
                    self.wrong(format!("{} is a member of {}: {:?}", name(key), of.id, of.of[key.1].firm()));
                }
            }
        }
    }

    fn row(&mut self, conv: usize, asked: Tick, row: &Value) {
        let Some(version) = row["updatedAt"].as_str().and_then(from_iso) else {
            return self.wrong(format!("{row} has no time"));
        };
        if let Some(members) = row["m"].as_array() {
            let members: Vec<Option<usize>> =
                members.iter().map(|id| self.client_of(id.as_str().unwrap_or_default())).collect();
            for client in 0..self.clients.len() {
                let fact = self.convs[conv].fact(client, version, members.contains(&Some(client)));
                self.must(fact);
            }
        }
        if let Some(mid) = row["msg_mid"].as_str() {
            let (text, from) = (row["msg"].as_str().unwrap_or_default(), row["msg_from"].as_str().unwrap_or_default());
            let at = row["msg_timestamp"].as_i64().unwrap_or_default();
            if from_date_object(&row["lm"]) != Some(at) {
                return self.wrong(format!("{row} has another time of its last message"));
            }
            self.place(conv, (at, mid), text.as_bytes(), from, "a query");
        }
        let last = row["msg_timestamp"].as_i64().unwrap_or_default();
        let behind = self.convs[conv].line.iter().rev().find(|(_, placed)| placed.seen < asked).map(|(at, _)| *at);
        if behind.is_some_and(|at| at > last) {
            self.wrong(format!("{} has a message at {behind:?}, and a query says {last}", self.convs[conv].id));
        }
        for attribute in ["a", "b", "n"] {
            let value = row[attribute].as_i64();
            self.attribute(conv, version, attribute, value);
        }
    }

    /// An attribute's value at a version: what the last change known made of it, or one that is not known.
    pub(super) fn attribute(&mut self, conv: usize, version: i64, key: &'static str, value: Option<i64>) {
        let of = &self.convs[conv];
        let known = of.attributes.get(key).and_then(|all| all.range(..=version).next_back()).map(|(_, value)| *value);
        let waiting = self.asked.values().any(|question| match &question.what {
            Asked::Set { conv: at, key: one, value: set } => *at == conv && *one == key && Some(*set) == value,
            Asked::Increment { conv: at } => *at == conv && key == "n",
            _ => false,
        });
        let maybe = value.is_some_and(|value| of.maybe.contains(&(key, value))) || (key == "n" && of.counted.1 > 0);
        if known != value && !waiting && !maybe {
            self.wrong(format!("{key} of {} is {value:?} at {version}, and was made {known:?}", self.convs[conv].id));
        }
    }

    /// Marks never go back.
    fn max_read_came(&mut self, conv: usize, asked: Tick, body: &ConvCommand) {
        for tuple in &body.max_read_tuples {
            let Some(client) = tuple.pid.as_deref().and_then(|id| self.client_of(id)) else {
                return self.wrong(format!("{tuple:?} is nobody's"));
            };
            let (read, delivered) =
                (tuple.max_read_timestamp.unwrap_or_default(), tuple.max_ack_timestamp.unwrap_or_default());
            let of = &self.convs[conv].of[client];
            let never = (read > 0 && of.read.1 == 0)
                || (delivered > 0 && of.read.1 == 0 && of.acked.is_empty() && of.acks.is_empty());
            let before = self.convs[conv].shown.get(&client).copied();
            let back = before.is_some_and(|(r, d, tick)| tick < asked && (read < r || delivered < d));
            if never || back {
                return self.wrong(format!("c{client} has read {read} and got {delivered}, and before {before:?}"));
            }
            if before.is_none_or(|(.., tick)| tick < asked) {
                self.convs[conv].shown.insert(client, (read, delivered, self.now));
            }
        }
    }
}
