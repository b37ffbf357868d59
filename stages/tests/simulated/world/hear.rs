//! What comes to clients by itself, held against what is known.

use tidegate_domain::ids::ConnId;
use tidegate_domain::time::from_iso;
use tidegate_protocol::wire::{ConvCommand, DirectCommand, GenericCommand, OpType as Op, RcpCommand, UnreadTuple};

use super::acts::name;
use super::talk::{Fate, Key, Tick, number_of};
use super::{Asked, Place, Session, State, Unread, World};
use crate::say;

/// Receipts of messages that nobody has spoken of, between two rests.
const MOST_EARLY: usize = 20;

impl Session {
    /// Whether it was out of a room before something was sent there. One that is about to end hears till the end.
    fn is_out_since(&self, room: usize, asked: Tick) -> bool {
        let is_out = matches!(self.rooms.get(&room), Some((Place::Out, since)) if asked > *since);
        is_out && self.state == State::Open && !self.doubtful
    }
}

impl World {
    /// Takes all that has come since.
    pub(super) fn listen(&mut self) {
        let news = self.rig.news.replace(Vec::new()).unwrap_or_default();
        for (conn, command) in news {
            // What comes to a connection that its clients gave up, nobody hears.
            if self.conns.contains_key(&conn) && self.broken.is_none() {
                self.tick();
                self.hear(conn, command);
            }
        }
        let closed = self.conns.keys().find(|conn| !self.rig.conns[conn].open);
        if let Some(conn) = closed {
            self.wrong(format!("{conn} was closed by the server with {:?}", self.rig.conns[conn].closed_with));
        }
    }

    fn hear(&mut self, conn: ConnId, command: GenericCommand) {
        if let Some(i) = command.i {
            let Some(question) = self.asked.remove(&(conn, i)) else {
                return self.wrong(format!("{conn} did not ask for {command:?}"));
            };
            return self.answered(question, command);
        }
        let peer = command.peer_id.as_deref().unwrap_or_default();
        let Some(client) = self.client_of(peer) else {
            return self.wrong(format!("{conn} got something for {peer:?}: {command:?}"));
        };
        let key = (conn, client);
        if !self.sessions.contains_key(&key) {
            return self.wrong(format!("{} has no session, and got {command:?}", name(key)));
        }
        if let Some(direct) = &command.direct_message {
            self.hear_message(key, direct);
        } else if let Some(unread) = &command.unread_message {
            for tuple in &unread.convs {
                self.hear_unread(key, tuple);
            }
        } else if let Some(receipt) = &command.rcp_message {
            self.hear_receipt(key, receipt, true);
        } else if say::is_kicked(&command) {
            self.kicked(key, &command);
        } else if let (Some(op), Some(conv)) = (command.op, &command.conv_message) {
            self.hear_notice(key, op, conv);
        } else {
            self.wrong(format!("{} got {command:?}", name(key)));
        }
    }

    /// Whether a message that shows itself anywhere is one that was sent, and stands there alone.
    pub(super) fn place(
        &mut self,
        conv: usize,
        (at, mid): (i64, &str),
        text: &[u8],
        from: &str,
        how: &str,
    ) -> Option<usize> {
        let text = String::from_utf8_lossy(text);
        let number = number_of(&text).filter(|number| *number < self.messages.len());
        let Some(number) = number else {
            self.wrong(format!("{how} shows {text:?}, which nobody sent"));
            return None;
        };
        let message = &self.messages[number];
        if (message.conv, message.from, message.transient) != (conv, self.client_of(from).unwrap_or(usize::MAX), false)
        {
            let words = format!("{how} shows {text} of {from} in {}, where it does not belong", self.convs[conv].id);
            self.wrong(words);
            return None;
        }
        let is_new = !self.convs[conv].line.contains_key(&at);
        let placed = self.convs[conv].place(at, mid, number, &mut self.messages[number], self.now);
        self.must(placed.map_err(|what| format!("{what} (as {how} shows)")))?;
        if is_new {
            self.lately.placed.push((conv, at));
        }
        Some(number)
    }

    fn hear_message(&mut self, key: Key, direct: &DirectCommand) {
        let (id, mid) = (direct.cid.as_deref().unwrap_or_default(), direct.id.as_deref().unwrap_or_default());
        let (at, from) = (direct.timestamp.unwrap_or_default(), direct.from_peer_id.as_deref().unwrap_or_default());
        let text = direct.msg.clone().unwrap_or_default();
        let Some(conv) = self.by_id.get(id).copied() else {
            return self.wrong(format!("{} heard of {id}, which nobody knows: {direct:?}", name(key)));
        };
        self.tell(|_| format!("{} hears {} at {at} of {id}", name(key), String::from_utf8_lossy(&text)));
        if direct.transient == Some(true) {
            return self.hear_transient(key, conv, (at, from), &text);
        }
        let Some(number) = self.place(conv, (at, mid), &text, from, "a delivery") else { return };
        let message = &self.messages[number];
        if message.mentions_all != (direct.mention_all == Some(true))
            || message.mentions.as_slice() != direct.mention_pids.as_slice()
        {
            return self.wrong(format!("{} heard {} with other mentions", name(key), message.text));
        }
        let is_room = self.convs[conv].is_room();
        let (own_room, is_closing) = (is_room && message.from == key.1, self.is_closing(key));
        let (first_asked, text) = (message.first_asked(), message.text.clone());
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let heard = session.heard.entry(conv).or_default();
        let before = std::mem::replace(&mut heard.last, at);
        heard.new.push(at);
        heard.is_cut |= direct.has_more == Some(true);
        let is_out = is_room && !is_closing && session.is_out_since(conv, first_asked);
        if at <= before {
            self.wrong(format!("{} heard {text} at {at} of {id} after what is at {before}", name(key)));
        } else if is_out || own_room {
            self.wrong(format!("{} is not in the room {id}, or sent it, and heard {text}", name(key)));
        }
    }

    /// The session before this one on its connection has not ended wholly, and its rooms are with it.
    fn is_closing(&self, key: Key) -> bool {
        self.asked.values().any(|question| question.key == key && matches!(question.what, Asked::Close { .. }))
    }

    fn hear_transient(&mut self, key: Key, conv: usize, (at, from): (i64, &str), text: &[u8]) {
        let words = String::from_utf8_lossy(text).into_owned();
        let number = number_of(&words).filter(|number| *number < self.messages.len());
        let message = number.map(|number| &self.messages[number]);
        let fits = message.filter(|one| one.transient && one.conv == conv && self.client_of(from) == Some(one.from));
        let (Some(message), Some(number)) = (fits, number) else {
            return self.wrong(format!("{} heard {words} of {from}, as nobody sent it", name(key)));
        };
        let sender = message.attempts.first().map(|attempt| attempt.by);
        let (is_own, is_refused) =
            (message.was_tried_by(key), message.attempts.iter().all(|one| one.fate == Fate::Refused));
        let is_room = self.convs[conv].is_room();
        let (own_room, first_asked) = (is_room && message.from == key.1, message.first_asked());
        let is_closing = self.is_closing(key);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let is_out = is_room && !is_closing && session.is_out_since(conv, first_asked);
        let heard = session.heard.entry(conv).or_default();
        let is_late = std::mem::replace(&mut heard.last_transient, at) > at;
        let again = heard.transient.contains(&number);
        heard.transient.push(number);
        // Of one sender, in the order in which it sent.
        let others = &heard.transient[..heard.transient.len() - 1];
        let messages = &self.messages;
        let overtaken = others
            .iter()
            .any(|other| *other > number && messages[*other].attempts.first().map(|attempt| attempt.by) == sender);
        if is_own || again || is_late || overtaken || is_refused || is_out || own_room {
            let why = (is_own, again, is_late, overtaken, is_refused, is_out, own_room);
            self.wrong(format!(
                "{} heard {words} (own, again, late, overtaken, refused, out, own): {why:?}",
                name(key)
            ));
        }
    }

    fn hear_unread(&mut self, key: Key, tuple: &UnreadTuple) {
        let Some(conv) = self.by_id.get(&tuple.cid).copied() else {
            return self.wrong(format!("{} has unread in {}, which nobody knows", name(key), tuple.cid));
        };
        let (at, mid) = (tuple.timestamp.unwrap_or_default(), tuple.mid.clone().unwrap_or_default());
        self.tell(|_| format!("{} has {} unread in {}, the last at {at}", name(key), tuple.unread, tuple.cid));
        let (text, from) = (tuple.data.clone().unwrap_or_default(), tuple.from.clone().unwrap_or_default());
        if self.place(conv, (at, &mid), &text, &from, "a count of unread").is_none() {
            return;
        }
        let mentioned = tuple.mentioned == Some(true);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.unread.push(Unread { conv, count: tuple.unread, at, mentioned });
        }
    }

    /// `in_time`: it is heard where it came, and not only once its message is known.
    pub(super) fn hear_receipt(&mut self, key: Key, receipt: &RcpCommand, in_time: bool) {
        let conv = receipt.cid.as_ref().and_then(|id| self.by_id.get(id)).copied();
        let by = receipt.from.as_ref().and_then(|id| self.client_of(id));
        let mid = receipt.id.as_deref().unwrap_or_default();
        let is_read = receipt.read == Some(true);
        let place = conv.and_then(|conv| {
            let found = self.convs[conv].line.iter().find(|(_, placed)| placed.mid == mid)?;
            Some((conv, *found.0, found.1.message))
        });
        let (Some((conv, at, number)), Some(by)) = (place, by) else {
            // Its acknowledgement was lost, maybe, and nobody else has spoken of it: the store will.
            if self.lately.receipts.len() < MOST_EARLY && conv.is_some() {
                self.lately.receipts.push((key, receipt.clone()));
                return;
            }
            return self.wrong(format!("{} got a receipt for what was never said: {receipt:?}", name(key)));
        };
        self.tell(|w| format!("{} gets a receipt of {} by c{by}, read {is_read}", name(key), w.messages[number].text));
        let message = &self.messages[number];
        let is_asked = message.receipt && message.from == key.1 && by != key.1;
        // It knows the message only by its acknowledgement; of one that was sent before by another way, it is not the first.
        let early = matches!(&message.attempts[..], [one] if one.by == key && one.fate == Fate::Waiting);
        let stance = &self.convs[conv].of[by];
        let caused = match is_read {
            true => stance.read.1 >= at,
            false => stance.has_acked(at),
        };
        let now = self.now;
        if let Some(placed) = self.convs[conv].line.get_mut(&at) {
            let known = if is_read { &mut placed.read } else { &mut placed.delivered };
            known.get_or_insert(now);
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        // What was read is told in its order: a later receipt is of a later message.
        let later = session
            .receipts
            .range((conv, at, 0, false)..)
            .any(|(c, a, b, r)| (*c, *b, *r) == (conv, by, true) && *a >= at);
        let is_new = session.receipts.insert((conv, at, by, is_read));
        if !is_asked || early || !caused || !is_new || (is_read && later && in_time) {
            let why = (is_asked, early, caused, is_new, later);
            self.wrong(format!("{} got {receipt:?} (asked, early, caused, new, later): {why:?}", name(key)));
        }
    }

    /// Who comes and goes, and what changes.
    fn hear_notice(&mut self, key: Key, op: i32, body: &ConvCommand) {
        let Some(conv) = body.cid.as_ref().and_then(|id| self.by_id.get(id)).copied() else { return };
        let Some(version) = body.udate.as_deref().and_then(from_iso) else {
            return self.wrong(format!("{} got a notice without its time: {body:?}", name(key)));
        };
        let is = |one: Op| op == one as i32;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !session.notices.insert((conv, version, op)) {
            return self.wrong(format!("{} got twice: {body:?}", name(key)));
        }
        let who: Vec<usize> = body.m.iter().filter_map(|id| self.client_of(id)).collect();
        let (who, there) = match () {
            () if is(Op::Joined) => (vec![key.1], true),
            () if is(Op::Left) => (vec![key.1], false),
            () if is(Op::MembersJoined) => (who, true),
            () if is(Op::MembersLeft) => (who, false),
            () if is(Op::Updated) => return self.hear_update(conv, version, body),
            () => return self.wrong(format!("{} got a notice of {op}: {body:?}", name(key))),
        };
        for client in who {
            let fact = self.convs[conv].fact(client, version, there);
            self.must(fact);
        }
    }

    /// What a change made of the attributes that it touched.
    pub(super) fn hear_update(&mut self, conv: usize, version: i64, body: &ConvCommand) {
        let modified = body.attr_modified.as_ref().and_then(|json| serde_json::from_str(&json.data).ok());
        let Some(serde_json::Value::Object(modified)) = modified else {
            return self.wrong(format!("an update without its result: {body:?}"));
        };
        for (key, value) in modified {
            let (Some(key), Some(value)) = (["a", "b", "n"].into_iter().find(|one| *one == key), value.as_i64()) else {
                return self.wrong(format!("{key} was made {value}, which nobody asked for"));
            };
            let known = self.convs[conv].attributes.entry(key).or_default().insert(version, value);
            if known.is_some_and(|known| known != value) {
                self.wrong(format!("{key} was made {known:?} and {value} at {version}"));
            }
        }
    }

    fn kicked(&mut self, key: Key, command: &GenericCommand) {
        let code = command.session_message.as_ref().and_then(|session| session.code);
        let session = self.sessions.get(&key);
        if session.is_some_and(|session| session.state == State::Opening) {
            return; // meant for the one before it on this connection
        }
        let may_be = session.is_some_and(|session| session.tagged && session.state != State::Over);
        if !may_be || code != Some(4111) {
            return self.wrong(format!("{} was put out: {command:?}", name(key)));
        }
        self.tell(|_| format!("{} is put out", name(key)));
        self.over(key, true);
    }
}
