//! Moments of rest: all is answered and nothing moves. What stands in the store is looked at, by then the model knows
//! everything, and what should have come to each client must have come.

use std::collections::BTreeSet;

use tidegate_domain::command::{Bound, Direction};
use tidegate_domain::ids::{ClientId, ConnId};
use tidegate_store::{Page, Store};

use super::acts::name;
use super::talk::Key;
use super::{Lately, Place, Session, State, World};
use crate::app;
use crate::rig::APP;

/// Ranges of acknowledged messages may be joined past this many (domain/marks.rs), and what lay between counts as arrived.
const FEW_ACKS: usize = 25;
/// A page of messages is looked through for receipts, and no more.
const MOST_RECEIPTS: usize = 90;

impl World {
    pub(super) fn rest(&mut self) {
        self.tell(|_| "rest".into());
        self.rig.store.mend();
        self.rig.settle();
        self.listen();
        if self.broken.is_none() && !self.asked.is_empty() {
            let open: Vec<_> = self.asked.keys().collect();
            self.wrong(format!("never answered: {open:?}"));
        }
        for conv in 0..self.convs.len() {
            self.look_at_store(conv);
        }
        if self.broken.is_some() {
            return;
        }
        for (key, receipt) in std::mem::take(&mut self.lately.receipts) {
            self.hear_receipt(key, &receipt, false);
        }
        if !self.lately.receipts.is_empty() {
            self.wrong(format!("receipts for what was never said: {:?}", self.lately.receipts));
        }
        self.senders_belonged();
        let keys: Vec<Key> = self.sessions.keys().copied().collect();
        for key in &keys {
            self.account(*key);
        }
        for (key, former) in &self.former {
            if let Err(what) = self.counted_right(*key, former) {
                return self.wrong(what);
            }
        }
        self.transient_came();
        for conv in 0..self.convs.len() {
            self.marks(conv);
        }
        self.rooms();
        self.forget(&keys);
    }

    /// The line, the members and the attributes as they are kept, against what was told of them.
    fn look_at_store(&mut self, conv: usize) {
        let (cid, upto) = (self.convs[conv].cid, self.convs[conv].upto);
        let start = Bound { timestamp: upto, mid: None, included: false };
        let page = Page { start: Some(start), end: None, direction: Direction::New, limit: usize::MAX };
        let kept = self.rig.store.page(APP, cid, &page).expect("the model store reads");
        for message in &kept {
            let text = app::text_of(&message.body);
            let of =
                self.place(conv, (message.at, &message.mid.to_string()), text.as_bytes(), &message.from, "the store");
            if of.is_some_and(|number| self.messages[number].receipt != message.receipt) {
                self.wrong(format!("{text} is kept with another wish for receipts"));
            }
        }
        if self.broken.is_some() {
            return;
        }
        let told: BTreeSet<i64> = self.convs[conv].line.range(upto + 1..).map(|(at, _)| *at).collect();
        let lost: Vec<i64> = told.iter().copied().filter(|at| !kept.iter().any(|message| message.at == *at)).collect();
        if let Some(at) = lost.first() {
            let placed = &self.convs[conv].line[at];
            let words =
                format!("m{} was told to be at {at} of {}, and is not kept", placed.message, self.convs[conv].id);
            return self.wrong(words);
        }
        let members = self.rig.members(cid);
        let record = self.rig.store.conversation(APP, cid).ok().flatten().expect("it is there");
        if self.convs[conv].is_room() {
            return;
        }
        let line_end =
            self.rig.now().max(record.updated).max(self.convs[conv].last().max(told.last().copied().unwrap_or(0)));
        for client in 0..self.clients.len() {
            let is_member = members.contains(&self.clients[client].id);
            let stance = &mut self.convs[conv].of[client];
            let was_unsure = stance.sure_after(line_end);
            let latest = stance.latest();
            if !was_unsure && latest != Some(is_member) {
                let id = &self.convs[conv].id;
                return self.wrong(format!("c{client} is a member of {id}: {is_member}, and was told {latest:?}"));
            }
            let muted = record.muted.iter().any(|one| **one == *self.clients[client].id);
            if !stance.touched && stance.mutes == 0 && stance.muted.is_some_and(|told| told != muted) {
                return self.wrong(format!("c{client} was told that its pushes are off: {:?}", !muted));
            }
            stance.muted = Some(muted);
            stance.mutes = 0;
            let fact = self.convs[conv].fact(client, record.updated, is_member);
            self.must(fact);
        }
        for key in ["a", "b", "n"] {
            let value = record.attributes.get(key).and_then(serde_json::Value::as_i64);
            self.attribute(conv, record.updated, key, value);
            if key == "n" {
                let (done, maybe) = self.convs[conv].counted;
                if !(done..=done + maybe).contains(&value.unwrap_or(0)) {
                    return self.wrong(format!("{done} and maybe {maybe} increments made {value:?}"));
                }
                self.convs[conv].counted = (value.unwrap_or(0), 0);
            }
            if let Some(value) = value {
                self.convs[conv].attributes.entry(key).or_default().insert(record.updated, value);
            }
        }
        self.convs[conv].maybe.clear();
    }

    /// Nobody's message is in a conversation that it was not in.
    fn senders_belonged(&mut self) {
        for (conv, at) in std::mem::take(&mut self.lately.placed) {
            let of = &self.convs[conv];
            let number = of.line[&at].message;
            let from = self.messages[number].from;
            if !of.is_room() && of.of[from].at(at) == Some(false) {
                self.wrong(format!(
                    "m{number} of c{from} stands at {at} of {}, where it was no member",
                    self.convs[conv].id
                ));
            }
        }
    }

    /// What a session heard and was told, against all that it should have.
    fn account(&mut self, key: Key) {
        let Some(session) = self.sessions.remove(&key) else { return };
        for conv in 0..self.convs.len() {
            let found = match self.convs[conv].is_room() {
                true => self.room_heard(key, &session, conv),
                false => self.heard_all(key, &session, conv),
            };
            self.must(found);
        }
        let counted = self.counted_right(key, &session);
        self.must(counted);
        self.sessions.insert(key, session);
    }

    fn heard_all(&self, key: Key, session: &Session, conv: usize) -> Result<(), String> {
        let (of, client) = (&self.convs[conv], key.1);
        let stance = &of.of[client];
        let none = super::Heard::default();
        let heard = session.heard.get(&conv).unwrap_or(&none);
        if let Some(at) = heard.new.iter().find(|at| stance.at(**at) == Some(false)) {
            return Err(format!("{} heard what is at {at} of {}, where it was no member", name(key), of.id));
        }
        if stance.firm() == Some(false) && !heard.transient.is_empty() {
            return Err(format!("{} is no member of {}, and heard m{:?}", name(key), of.id, heard.transient));
        }
        if !session.was_in {
            return Ok(());
        }
        let is_there = session.state == State::Open && !session.doubtful;
        let counted = session.unread.iter().filter(|told| told.conv == conv).map(|told| told.at).max().unwrap_or(0);
        let first = heard.new.first().copied().unwrap_or(i64::MAX);
        let end = if is_there { i64::MAX } else { heard.new.last().copied().unwrap_or(0) };
        for (at, placed) in of.line.range(heard.upto + 1..) {
            if *at > end {
                break;
            }
            let message = &self.messages[placed.message];
            if stance.at(*at) != Some(true) || message.was_tried_by(key) || heard.new.binary_search(at).is_ok() {
                continue;
            }
            if !session.steady {
                // What was before it came: counted, read before, or its own; who gets the messages themselves is not told
                // again of what it acknowledged.
                let earlier = message.from == client || !stance.stays_from(*at);
                let before = *at <= counted || *at <= stance.read.1 || (earlier && *at < first);
                let known = session.pushed && (heard.is_cut || stance.has_acked(*at) || message.from == client);
                // A snapshot may have been refused.
                let unasked = !self.is_strict() && *at < first;
                if before || known || unasked {
                    continue;
                }
            }
            let words =
                format!("{} never heard {} at {at} of {}; it heard {:?}", name(key), message.text, of.id, heard.new);
            return Err(format!("{words}, was counted up to {counted} and had accounted for all up to {}", heard.upto));
        }
        Ok(())
    }

    /// Who is in the room, and was when a message was first sent, hears it.
    fn room_heard(&self, key: Key, session: &Session, conv: usize) -> Result<(), String> {
        let Some((Place::In, since)) = session.rooms.get(&conv) else { return Ok(()) };
        if session.state != State::Open || session.doubtful {
            return Ok(());
        }
        let none = super::Heard::default();
        let heard = session.heard.get(&conv).unwrap_or(&none);
        for (at, placed) in self.convs[conv].line.range(heard.upto + 1..) {
            let message = &self.messages[placed.message];
            let is_due = message.from != key.1 && message.first_asked() > *since;
            if is_due && heard.new.binary_search(at).is_err() {
                return Err(format!("{} is in the room and never heard {}", name(key), message.text));
            }
        }
        Ok(())
    }

    /// Counts of unread: messages of others after what was read, which may have moved meanwhile.
    fn counted_right(&self, key: Key, session: &Session) -> Result<(), String> {
        for told in &session.unread {
            let (of, client) = (&self.convs[told.conv], key.1);
            let stance = &of.of[client];
            let record = self.rig.store.conversation(APP, of.cid).ok().flatten();
            let member = record
                .and_then(|record| record.members.into_iter().find(|one| *one.client == *self.clients[client].id));
            let Some(joined) = member.map(|member| member.joined).filter(|_| stance.firm() == Some(true)) else {
                continue;
            };
            let unread = |read: i64| {
                let after = read.max(joined);
                let others = of.line.range(after + 1..).take_while(|(at, _)| **at <= told.at);
                others.filter(|(_, placed)| self.messages[placed.message].from != client)
            };
            let (most, least) = (unread(stance.read.0).count().min(100), unread(stance.read.1).count().min(100));
            if !(least..=most).contains(&(told.count as usize)) {
                let words = format!("{} was told of {} unread in {} up to {}", name(key), told.count, of.id, told.at);
                return Err(format!("{words}: there are {least} to {most}"));
            }
            let id = &self.clients[client].id;
            let mentions = |read| unread(read).any(|(_, placed)| self.messages[placed.message].mentions(id));
            let is_exact = least == most && most < 100;
            if is_exact && told.mentioned != (told.count > 0 && mentions(stance.read.0)) {
                return Err(format!("{} was told that {} mentions it: {}", name(key), of.id, told.mentioned));
            }
        }
        Ok(())
    }

    /// Whoever was there all the time has heard what was only said in passing.
    fn transient_came(&mut self) {
        for number in std::mem::take(&mut self.lately.transient) {
            let message = &self.messages[number];
            let conv = message.conv;
            let is_room = self.convs[conv].is_room();
            let missed = self.sessions.iter().find(|(key, session)| {
                let is_due = message.is_done()
                    && session.steady
                    && session.state == State::Open
                    && !session.doubtful
                    && !message.was_tried_by(**key);
                let belongs = match is_room {
                    true => {
                        let place = session.rooms.get(&conv);
                        let since = place.filter(|place| place.0 == Place::In).map(|place| place.1);
                        message.from != key.1 && since.is_some_and(|since| message.first_asked() > since)
                    }
                    false => self.convs[conv].of[key.1].firm() == Some(true),
                };
                let heard = session.heard.get(&conv).is_some_and(|heard| heard.transient.contains(&number));
                is_due && belongs && !heard
            });
            if let Some((key, _)) = missed {
                return self.wrong(format!("{} never heard m{number}, which was said in passing", name(*key)));
            }
        }
    }

    /// Marks of reading as they are kept, and the receipts that must have come of all this.
    fn marks(&mut self, conv: usize) {
        if self.convs[conv].is_room() {
            return;
        }
        for client in 0..self.clients.len() {
            let id = ClientId::from(&*self.clients[client].id);
            let kept = self.rig.store.marks(APP, self.convs[conv].cid, &id).expect("the model store reads");
            let read = kept.read.map_or(0, |read| read.message_at);
            let stance = &self.convs[conv].of[client];
            let (least, most) = stance.read;
            // What a session says that another may have replaced is maybe not heard.
            let may_be_out = |key: &Key| self.former.iter().any(|(of, former)| of == key && former.tagged);
            let is_sure =
                |key: &Key| self.sessions.get(key).is_some_and(|session| !session.doubtful) && !may_be_out(key);
            let strict = self.is_strict() && stance.firm() == Some(true);
            let exact = strict && stance.reads.iter().all(|(_, key)| is_sure(key));
            if !(least..=most).contains(&read) || (exact && read != most) {
                let id = &self.convs[conv].id;
                return self.wrong(format!("c{client} has read {id} up to {read}, and said {least} to {most}"));
            }
            let owed = if exact { self.read_receipts(conv, client, (least, read)) } else { Vec::new() };
            let mut due: Vec<(i64, bool)> = owed.into_iter().map(|at| (at, true)).collect();
            let few = stance.acked.len() + stance.acks.len() <= FEW_ACKS;
            if strict && few && stance.acks.iter().all(|(.., key)| is_sure(key)) {
                due.extend(self.delivery_receipts(conv, client).into_iter().map(|at| (at, false)));
            }
            for (at, is_read) in due {
                let number = self.convs[conv].line[&at].message;
                let from = self.messages[number].from;
                let missed = self.sessions.iter().find(|(key, session)| {
                    let is_due = key.1 == from && session.steady && session.state == State::Open && !session.doubtful;
                    is_due && !session.receipts.contains(&(conv, at, client, is_read))
                });
                if let Some((key, _)) = missed {
                    let words = format!("{} never got its receipt of m{number} at {at}", name(*key));
                    return self.wrong(format!("{words} by c{client}, read: {is_read}"));
                }
            }
            let stance = &mut self.convs[conv].of[client];
            stance.read = (read, read);
            stance.reads.clear();
            let acks = std::mem::take(&mut stance.acks);
            stance.acked.extend(acks.into_iter().map(|(from, to, _)| (from, to)));
        }
    }

    /// Of each sender the last message that was read and wants a receipt.
    fn read_receipts(&self, conv: usize, by: usize, (before, read): (i64, i64)) -> Vec<i64> {
        let of = &self.convs[conv];
        if read <= before || of.line.range(before + 1..=read).count() > MOST_RECEIPTS {
            return Vec::new();
        }
        let (mut due, mut senders) = (Vec::new(), BTreeSet::new());
        for (at, placed) in of.line.range(before + 1..=read).rev() {
            let message = &self.messages[placed.message];
            // What was before it joined, it has not read.
            let is_latest = message.receipt && message.from != by && senders.insert(message.from);
            if is_latest && of.of[by].stays_from(*at) {
                due.push(*at);
            }
        }
        due
    }

    /// Messages acknowledged for the first time.
    fn delivery_receipts(&self, conv: usize, by: usize) -> Vec<i64> {
        let (of, stance) = (&self.convs[conv], &self.convs[conv].of[by]);
        let mut due = Vec::new();
        for (from, to, _) in &stance.acks {
            if of.line.range(from..=to).count() > MOST_RECEIPTS {
                continue;
            }
            due.extend(of.line.range(from..=to).filter_map(|(at, placed)| {
                let message = &self.messages[placed.message];
                let before = stance.acked.iter().any(|(from, to)| (from..=to).contains(&at));
                (message.receipt && message.from != by && !before).then_some(*at)
            }));
        }
        due
    }

    /// Whoever is known to be in a room is in it, and whoever is known not to be is not.
    fn rooms(&mut self) {
        for conv in (0..self.convs.len()).filter(|conv| self.convs[*conv].is_room()) {
            let cid = self.convs[conv].cid;
            let there: BTreeSet<String> =
                self.rig.world.rooms.some(APP, cid, 50).iter().map(|client| client.to_string()).collect();
            for client in 0..self.clients.len() {
                let places: Vec<Place> = self
                    .sessions
                    .iter()
                    .filter(|(key, session)| key.1 == client && session.state != State::Over)
                    .map(|(_, session)| match session.doubtful {
                        true => Place::Maybe,
                        false => session.rooms.get(&conv).map_or(Place::Maybe, |place| place.0),
                    })
                    .collect();
                let is_in = there.contains(&self.clients[client].id);
                let must = places.contains(&Place::In);
                let may = must || places.contains(&Place::Maybe);
                if (must && !is_in) || (!may && is_in) {
                    return self
                        .wrong(format!("c{client} is in the room {}: {is_in}; {places:?}", self.convs[conv].id));
                }
            }
        }
    }

    /// What is accounted for need not be looked at again.
    fn forget(&mut self, keys: &[Key]) {
        let ends: Vec<i64> = self.convs.iter().map(|conv| conv.last()).collect();
        for key in keys {
            let id = ClientId::from(&*self.clients[key.1].id);
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let mut is_online = false;
            self.rig.world.directory.with(APP, &id, |all| is_online = all.iter().any(|entry| entry.conn == key.0));
            if session.doubtful && !is_online {
                session.state = State::Over;
            }
            session.doubtful = false;
            if (session.state == State::Open) != is_online {
                let words = format!("{} is {:?}, and online: {is_online}", name(*key), session.state);
                return self.wrong(words);
            }
            session.unread.clear();
            session.steady = true;
            for (conv, end) in ends.iter().enumerate() {
                let heard = session.heard.entry(conv).or_default();
                heard.new.clear();
                heard.transient.clear();
                heard.upto = *end;
            }
        }
        self.sessions.retain(|_, session| session.state != State::Over);
        self.former.clear();
        for conv in &mut self.convs {
            conv.all_is_known();
            conv.of.iter_mut().for_each(|stance| stance.touched = false);
        }
        for client in 0..self.clients.len() {
            self.clients[client].offline = !self.sessions.keys().any(|key| key.1 == client);
        }
        let empty: Vec<ConnId> =
            self.conns.keys().copied().filter(|conn| !self.sessions.keys().any(|key| key.0 == *conn)).collect();
        for conn in empty {
            self.conns.remove(&conn);
            self.rig.disconnect(conn);
        }
        self.rig.conns.retain(|_, conn| conn.open);
        self.lately = Lately::default();
    }

    /// In the end all of history is as it was told, everybody goes, and nobody is left.
    pub(super) fn end(&mut self) {
        for conv in 0..self.convs.len() {
            let history = self.rig.history(self.convs[conv].cid);
            let kept: Vec<i64> = history.iter().map(|message| message.at).collect();
            if !kept.iter().eq(self.convs[conv].line.keys()) {
                let id = &self.convs[conv].id;
                return self.wrong(format!("the history of {id} is not what was told of it"));
            }
        }
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.rig.disconnect(conn);
            self.lose(conn);
        }
        self.rig.settle();
        let online = self.rig.world.directory.count();
        let in_rooms: usize =
            self.convs.iter().filter(|conv| conv.is_room()).map(|conv| self.rig.world.rooms.count(APP, conv.cid)).sum();
        if online + in_rooms > 0 {
            self.wrong(format!("all have gone, {online} are online and {in_rooms} in rooms"));
        }
    }
}
