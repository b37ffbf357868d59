//! What happens: one thing a client does, or the world does to it.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_domain::ids::ConnId;
use tidegate_protocol::wire::{ConvCommand, GenericCommand, OpType as Op};

use super::ask::{self, End, Page};
use super::talk::{Attempt, Fate, Key, Message};
use super::{Asked, Place, Question, Session, State, Step, World};
use crate::say;

const MOST_CONVS: usize = 9;

impl World {
    pub(super) fn act(&mut self) {
        let what = self.rig.below(1_000);
        let Some(key) = self.a_session() else { return self.enter() };
        match what {
            0..320 => self.send(key, false),
            320..380 => self.send(key, true),
            380..440 => self.say_in_room(key),
            440..520 => self.acknowledge(key),
            520..580 => self.read(key),
            580..660 => self.page(key),
            660..685 => self.query(key),
            685..710 => self.count(key),
            710..735 => self.max_read(key),
            735..750 => self.online(key),
            750..810 => self.change_members(key),
            810..822 => self.mute(key),
            822..845 => self.update(key),
            845..860 => self.start(key),
            860..885 => self.visit(key),
            885..925 => self.enter(),
            925..937 => self.close(key),
            937..941 => self.open_again(key),
            941..960 => self.cut(key.0),
            960..972 => self.resend(key),
            972..982 => self.resize(),
            982..988 if self.fails => self.fail(),
            988..992 => self.stall(),
            992..995 if self.crashes => self.crash(),
            _ => self.refresh(key),
        }
    }

    fn count_one(&mut self, kind: &'static str) {
        self.operations += 1;
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// One whose client believes that it is open.
    fn a_session(&mut self) -> Option<Key> {
        let open: Vec<Key> =
            self.sessions.iter().filter(|(_, session)| session.state == State::Open).map(|(key, _)| *key).collect();
        (!open.is_empty()).then(|| self.rig.pick(&open))
    }

    fn ask(&mut self, key: Key, kind: &'static str, what: Asked, command: GenericCommand) {
        self.count_one(kind);
        let (tick, at) = (self.tick(), self.rig.now());
        let peer = self.clients[key.1].id.clone();
        let i = self.rig.ask(key.0, &peer, command);
        if self.rig.conns[&key.0].open {
            self.asked.insert((key.0, i), Question { what, tick, at, key });
        }
    }

    /// A normal conversation, mostly one of the client's own.
    fn a_conv(&mut self, client: usize) -> usize {
        let normal: Vec<usize> = (0..self.convs.len()).filter(|conv| !self.convs[*conv].is_room()).collect();
        let is_own = |conv: &usize| self.convs[*conv].of[client].latest() == Some(true);
        let own: Vec<usize> = normal.iter().copied().filter(is_own).collect();
        if own.is_empty() || self.rig.chance(20) { self.rig.pick(&normal) } else { self.rig.pick(&own) }
    }

    fn a_room(&mut self) -> usize {
        let rooms: Vec<usize> = (0..self.convs.len()).filter(|conv| self.convs[*conv].is_room()).collect();
        self.rig.pick(&rooms)
    }

    // Messages.

    fn send(&mut self, key: Key, transient: bool) {
        let conv = self.a_conv(key.1);
        self.send_to(key, conv, transient);
    }

    fn say_in_room(&mut self, key: Key) {
        let room = self.a_room();
        let transient = self.rig.chance(4);
        self.send_to(key, room, transient);
    }

    fn send_to(&mut self, key: Key, conv: usize, transient: bool) {
        let number = self.messages.len();
        let mentions = self.rig.chance(10).then(|| self.rig.below(self.clients.len()));
        let message = Message {
            text: format!("m{number}"),
            from: key.1,
            conv,
            dt: (!transient && !self.rig.chance(3)).then(|| format!("dt{number}")),
            receipt: !transient && self.rig.chance(2),
            transient,
            mentions_all: self.rig.chance(20),
            mentions: mentions.map(|client| self.clients[client].id.clone()),
            attempts: Vec::new(),
            places: Vec::new(),
        };
        self.messages.push(message);
        if transient {
            self.lately.transient.push(number);
        }
        self.attempt(key, number);
    }

    fn attempt(&mut self, key: Key, number: usize) {
        let tick = self.now + 1;
        let message = &mut self.messages[number];
        let fate = Fate::Waiting;
        message.attempts.push(Attempt { by: key, asked: tick, fate });
        let command = ask::message(&self.convs[message.conv].id, message);
        let kind = match (message.attempts.len(), message.transient) {
            (1, false) => "message",
            (1, true) => "transient",
            _ => "resend",
        };
        self.tell(|w| {
            let m = &w.messages[number];
            format!(
                "{} sends {} {}, dt {:?}, r {}, transient {}",
                name(key),
                m.text,
                w.convs[m.conv].id,
                m.dt,
                m.receipt,
                m.transient
            )
        });
        self.ask(key, kind, Asked::Send { message: number }, command);
        if !self.conns.contains_key(&key.0) {
            self.settle_attempt(number, key, Fate::Lost);
        }
    }

    pub(super) fn settle_attempt(&mut self, number: usize, key: Key, fate: Fate) {
        let message = &mut self.messages[number];
        let attempt = message.attempts.iter_mut().find(|one| one.by == key && one.fate == Fate::Waiting);
        if let Some(attempt) = attempt {
            attempt.fate = fate;
        }
        if message.too_many() {
            let what = format!("{} was refused, and stands at {:?} all the same", message.text, message.places);
            self.wrong(what);
        }
    }

    /// What the client does not know the fate of, it says again; without a `dt` that may be a second message.
    fn resend(&mut self, key: Key) {
        while let Some(number) = self.clients[key.1].unsure.pop() {
            let message = &self.messages[number];
            let is_open = message.attempts.iter().any(|attempt| attempt.by == key && attempt.fate == Fate::Waiting);
            if is_open || message.transient || message.attempts.len() > 4 {
                continue;
            }
            self.attempt(key, number);
            if !self.rig.chance(3) {
                return;
            }
        }
    }

    fn acknowledge(&mut self, key: Key) {
        let Some((conv, from, to)) = self.heard_lately(key) else { return };
        let peer = self.clients[key.1].id.clone();
        let id = self.convs[conv].id.clone();
        let mid = self.convs[conv].line[&to].mid.clone();
        let (from, command) = match self.rig.below(3) {
            0 => (to, say::ack(&id, &mid)),
            _ => (from, ask::ack_range(&id, from, to)),
        };
        self.tell(|w| format!("{} acknowledges {from}..={to} of {}", name(key), w.convs[conv].id));
        self.convs[conv].of[key.1].acks.push((from, to, key));
        self.count_one("acknowledgement");
        self.tick();
        self.rig.say(key.0, &peer, command);
    }

    fn read(&mut self, key: Key) {
        let Some((conv, _, to)) = self.heard_lately(key) else { return };
        let peer = self.clients[key.1].id.clone();
        let place = &self.convs[conv].line[&to];
        let command = say::read(&self.convs[conv].id, &place.mid, to);
        self.tell(|w| format!("{} has read up to {to} of {}", name(key), w.convs[conv].id));
        let stance = &mut self.convs[conv].of[key.1];
        stance.reads.push((to, key));
        stance.read.1 = stance.read.1.max(to);
        self.count_one("read");
        self.tick();
        self.rig.say(key.0, &peer, command);
    }

    /// Messages of a conversation that this session has heard: the first and the last of some.
    fn heard_lately(&mut self, key: Key) -> Option<(usize, i64, i64)> {
        let convs = &self.convs;
        let heard = &self.sessions.get(&key)?.heard;
        let some: Vec<(usize, i64, i64)> = heard
            .iter()
            .filter(|(conv, heard)| !convs[**conv].is_room() && heard.last > 0)
            .map(|(conv, heard)| (*conv, heard.new.first().copied().unwrap_or(heard.last), heard.last))
            .collect();
        if some.is_empty() {
            return None;
        }
        let (conv, first, last) = self.rig.pick(&some);
        if self.rig.chance(4) {
            // Not the newest, but one on the way.
            let between: Vec<i64> = self.convs[conv].line.range(first..=last).map(|(at, _)| *at).collect();
            return Some((conv, first, self.rig.pick(&between)));
        }
        Some((conv, first, last))
    }

    // Questions.

    fn page(&mut self, key: Key) {
        let conv = if self.rig.chance(8) { self.a_room() } else { self.a_conv(key.1) };
        let page = Page {
            start: self.an_end(conv),
            end: self.an_end(conv),
            newer: self.rig.chance(2),
            limit: match self.rig.below(6) {
                0 => None,
                1 => Some(100),
                2 => Some(0),
                _ => Some(1 + self.rig.below(12) as i32),
            },
        };
        self.tell(|w| format!("{} asks for history of {}: {page:?}", name(key), w.convs[conv].id));
        let command = ask::logs(&self.convs[conv].id, &page);
        self.ask(key, "history", Asked::Logs { conv, page }, command);
    }

    /// At a message, between two, or nowhere.
    fn an_end(&mut self, conv: usize) -> Option<End> {
        if self.rig.chance(3) || self.convs[conv].line.is_empty() {
            return None;
        }
        let places = self.convs[conv].line.len();
        let back = self.rig.below(places.min(30));
        let (at, mid) = self.convs[conv].line.iter().rev().nth(back).map(|(at, placed)| (*at, placed.mid.clone()))?;
        let included = self.rig.chance(2);
        match self.rig.below(4) {
            0 => Some(End { at: at - 1, mid: None, included }),
            1 => Some(End { at, mid: None, included }),
            _ => Some(End { at, mid: Some(mid), included }),
        }
    }

    fn query(&mut self, key: Key) {
        let conv = (!self.rig.chance(3)).then(|| self.rig.below(self.convs.len()));
        let filter = conv.map(|conv| format!(r#"{{"objectId":"{}"}}"#, self.convs[conv].id));
        let body =
            ConvCommand { r#where: filter.and_then(ask::json), limit: Some(100), flag: Some(2), ..Default::default() };
        self.tell(|w| format!("{} queries {:?}", name(key), conv.map(|conv| &w.convs[conv].id)));
        self.ask(key, "query", Asked::Query { conv }, ask::conv(Op::Query, body));
    }

    fn count(&mut self, key: Key) {
        let conv = self.a_conv(key.1);
        let moves = self.convs[conv].moves;
        let id = self.convs[conv].id.clone();
        match self.rig.below(3) {
            0 => {
                let body = ConvCommand { cids: vec![id], ..Default::default() };
                self.ask(key, "is_member", Asked::IsMember { conv, moves }, ask::conv(Op::IsMember, body));
            }
            1 => self.ask(key, "count", Asked::Count { conv, moves }, ask::about(Op::Count, &id)),
            _ => {
                let room = self.a_room();
                let id = self.convs[room].id.clone();
                self.ask(key, "members", Asked::Members { conv: room }, ask::about(Op::Members, &id));
            }
        }
    }

    fn max_read(&mut self, key: Key) {
        let conv = self.a_conv(key.1);
        let body =
            ConvCommand { cid: Some(self.convs[conv].id.clone()), query_all_members: Some(true), ..Default::default() };
        self.ask(key, "max_read", Asked::MaxRead { conv }, ask::conv(Op::MaxRead, body));
    }

    fn online(&mut self, key: Key) {
        let who: Vec<usize> = (0..self.clients.len()).collect();
        let steady = self.steady_clients();
        let ids = self.clients.iter().map(|client| client.id.clone()).collect();
        self.ask(key, "online", Asked::Online { who, steady }, ask::online(ids));
    }

    /// Who is online for certain.
    pub(super) fn steady_clients(&self) -> Vec<usize> {
        let steady = self.sessions.iter().filter(|(_, one)| one.steady && one.state == State::Open && !one.doubtful);
        let clients: BTreeSet<usize> = steady.map(|(key, _)| key.1).collect();
        clients.into_iter().collect()
    }

    // Conversations.

    fn change_members(&mut self, key: Key) {
        let conv = self.a_conv(key.1);
        let add = !self.rig.chance(3);
        let mut who = vec![if self.rig.chance(3) { key.1 } else { self.rig.below(self.clients.len()) }];
        if self.rig.chance(4) {
            let other = self.rig.below(self.clients.len());
            if !who.contains(&other) {
                who.push(other);
            }
        }
        let ids: Vec<&str> = who.iter().map(|client| &*self.clients[*client].id).collect();
        let cid = self.convs[conv].cid;
        let command = if add { say::add(cid, &ids) } else { say::remove(cid, &ids) };
        self.tell(|w| {
            format!("{} {} {who:?} in {}", name(key), if add { "adds" } else { "removes" }, w.convs[conv].id)
        });
        self.convs[conv].moves += 1;
        for client in &who {
            self.convs[conv].of[*client].touched = true;
        }
        self.ask(key, "members changed", Asked::Move { conv, who, add, step: None }, command);
    }

    fn mute(&mut self, key: Key) {
        let conv = self.a_conv(key.1);
        let on = self.rig.chance(2);
        let op = if on { Op::Mute } else { Op::Unmute };
        self.convs[conv].of[key.1].mutes += 1;
        let id = self.convs[conv].id.clone();
        self.ask(key, "mute", Asked::Mute { conv, on }, ask::about(op, &id));
    }

    fn update(&mut self, key: Key) {
        let conv = self.a_conv(key.1);
        let value = self.now as i64;
        let (what, text) = match self.rig.below(3) {
            0 => (Asked::Increment { conv }, r#"{"n":{"__op":"Increment","amount":1}}"#.to_owned()),
            n => {
                let attribute = if n == 1 { "a" } else { "b" };
                (Asked::Set { conv, key: attribute, value }, format!(r#"{{"{attribute}":{value}}}"#))
            }
        };
        self.tell(|w| format!("{} updates {} with {text}", name(key), w.convs[conv].id));
        let body = ConvCommand { cid: Some(self.convs[conv].id.clone()), attr: ask::json(text), ..Default::default() };
        self.ask(key, "update", what, ask::conv(Op::Update, body));
    }

    fn start(&mut self, key: Key) {
        if self.convs.len() >= MOST_CONVS && !self.rig.chance(4) {
            return self.query(key);
        }
        let mut members: BTreeSet<usize> = (0..self.clients.len()).filter(|_| self.rig.chance(2)).collect();
        members.insert(key.1);
        let unique = self.convs.len() >= MOST_CONVS || self.rig.chance(2);
        let room = !unique && self.rig.chance(4);
        let ids: Vec<String> = members.iter().map(|client| self.clients[*client].id.clone()).collect();
        let body = ConvCommand { m: ids, unique: Some(unique), transient: room.then_some(true), ..Default::default() };
        self.tell(|_| format!("{} starts one of {members:?}, unique {unique}, room {room}", name(key)));
        let step = if room { self.step(key) } else { None };
        self.ask(key, "start", Asked::Start { members, unique, room, step }, ask::conv(Op::Start, body));
    }

    /// Into a room, or out of it.
    fn visit(&mut self, key: Key) {
        let conv = self.a_room();
        let add = !self.rig.chance(3);
        let (peer, cid) = (self.clients[key.1].id.clone(), self.convs[conv].cid);
        let command = if add { say::add(cid, &[&peer]) } else { say::remove(cid, &[&peer]) };
        self.tell(|w| format!("{} {} the room {}", name(key), if add { "joins" } else { "leaves" }, w.convs[conv].id));
        let step = self.step(key);
        self.clients[key.1].had_room |= add;
        self.ask(key, "room visited", Asked::Move { conv, who: vec![key.1], add, step }, command);
    }

    /// A step into a room or out of one is about to be asked for. Until it is answered, its session may be in any.
    fn step(&mut self, key: Key) -> Step {
        let alone = !self.asked.values().any(|question| {
            let is_step = match question.what {
                Asked::Move { conv, .. } => self.convs[conv].is_room(),
                Asked::Start { room, .. } => room,
                _ => false,
            };
            is_step && question.key == key
        });
        let tick = self.tick();
        let session = self.sessions.get_mut(&key)?;
        session.step = tick;
        session.rooms.values_mut().for_each(|place| *place = (Place::Maybe, tick));
        alone.then_some(tick)
    }

    // Sessions.

    fn enter(&mut self) {
        let client = self.rig.below(self.clients.len());
        let of_client = self.sessions.keys().filter(|key| key.1 == client).count();
        if of_client >= 3 {
            return;
        }
        let shared: Vec<ConnId> =
            self.conns.keys().copied().filter(|conn| !self.sessions.contains_key(&(*conn, client))).collect();
        let conn = match shared.is_empty() || !self.rig.chance(3) {
            true => {
                let pushed = self.rig.chance(8);
                let conn = self.rig.connect_as(pushed);
                self.conns.insert(conn, pushed);
                self.count_one("connection");
                conn
            }
            false => self.rig.pick(&shared),
        };
        let token = if self.rig.chance(2) { self.clients[client].tokens.pop() } else { None };
        let tagged = token.is_none() && self.rig.chance(10);
        self.open((conn, client), token, tagged);
    }

    fn open(&mut self, key: Key, token: Option<(String, bool)>, tagged: bool) {
        self.tell(|_| format!("{} opens, token {}, tagged {tagged}", name(key), token.is_some()));
        let tick = self.tick();
        let pushed = self.conns[&key.0];
        let command = match &token {
            Some((token, _)) => say::reopen(token),
            None if tagged => say::open_tagged(),
            None => say::open(),
        };
        self.clients[key.1].tagged |= tagged;
        for (_, other) in self.sessions.iter_mut().filter(|(other, _)| other.1 == key.1) {
            let same_token = token.is_some() && other.token == token.as_ref().map(|(token, _)| token.clone());
            other.doubtful |= same_token || (tagged && other.tagged) || (token.is_some() && other.token.is_none());
        }
        // Of two devices of one kind that come at once, either may put the other out.
        let rival = |other: &Session| other.tagged && other.state == State::Opening;
        let may_be_tagged = tagged || (token.is_some() && self.clients[key.1].tagged);
        let doubtful = may_be_tagged && self.sessions.iter().any(|(other, one)| other.1 == key.1 && rival(one));
        let place = if self.clients[key.1].had_room { Place::Maybe } else { Place::Out };
        let rooms = (0..self.convs.len()).filter(|conv| self.convs[*conv].is_room());
        let session = Session {
            since: tick,
            state: State::Opening,
            was_in: false,
            token: None,
            tagged: may_be_tagged,
            pushed,
            steady: false,
            doubtful,
            heard: Default::default(),
            unread: Vec::new(),
            receipts: Default::default(),
            rooms: rooms.map(|conv| (conv, (place, tick))).collect(),
            step: 0,
            said: Default::default(),
            notices: Default::default(),
        };
        self.clients[key.1].offline = false;
        if let Some(mut former) = self.sessions.insert(key, session) {
            former.state = State::Over;
            self.former.push((key, former));
        }
        self.ask(key, "log-in", Asked::Open { since: tick, token }, command);
    }

    fn close(&mut self, key: Key) {
        self.tell(|_| format!("{} closes", name(key)));
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.state = State::Closing;
        let since = session.since;
        self.ask(key, "close", Asked::Close { since }, say::close());
    }

    /// On the same connection: after a close whose answer it does not wait for, or without one.
    fn open_again(&mut self, key: Key) {
        if self.rig.chance(2) {
            self.close(key);
            self.rig.pass(20);
            self.listen();
            if self.conns.contains_key(&key.0) && self.broken.is_none() {
                self.open(key, None, false);
            }
            return;
        }
        self.tell(|_| format!("{} opens, being open", name(key)));
        let Some(since) = self.sessions.get(&key).map(|session| session.since) else { return };
        self.ask(key, "log-in", Asked::Open { since, token: None }, say::open());
    }

    fn refresh(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else { return };
        let (since, token) = (session.since, session.token.clone());
        self.ask(key, "refresh", Asked::Refresh { since }, ask::refresh(token));
    }

    /// The connection is lost, with all that was on its way. Mostly its clients come back at once and say again what they do
    /// not know the fate of.
    fn cut(&mut self, conn: ConnId) {
        self.tell(|_| format!("{conn} is cut"));
        self.count_one("cut");
        let gone: Vec<usize> = self.sessions.keys().filter(|key| key.0 == conn).map(|key| key.1).collect();
        // The server may notice it only when they are back.
        let at_once = !self.rig.chance(4);
        if at_once {
            self.rig.disconnect(conn);
        }
        self.lose(conn);
        self.come_back(gone);
        if !at_once && self.rig.conns.contains_key(&conn) {
            self.rig.disconnect(conn);
        }
    }

    fn come_back(&mut self, gone: Vec<usize>) {
        let mut conn = None;
        for client in gone {
            if self.rig.chance(3) {
                continue;
            }
            let on = *conn.get_or_insert_with(|| self.rig.connect_as(false));
            self.conns.insert(on, false);
            let token = if self.rig.chance(4) { None } else { self.clients[client].tokens.pop() };
            self.open((on, client), token, false);
            self.rig.pass(30);
            self.listen();
            if self.conns.contains_key(&on) {
                self.resend((on, client));
            }
        }
    }

    /// What is on this connection is over, and what was asked on it is never answered.
    pub(super) fn lose(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        let lost: Vec<(ConnId, i32)> =
            self.asked.range((conn, i32::MIN)..=(conn, i32::MAX)).map(|(at, _)| *at).collect();
        for at in lost {
            if let Some(question) = self.asked.remove(&at) {
                self.never_answered(question);
            }
        }
        let ended: Vec<Key> = self.sessions.keys().copied().filter(|key| key.0 == conn).collect();
        for key in ended {
            self.over(key, false);
        }
    }

    /// A session has ended; `closed`: by its client.
    pub(super) fn over(&mut self, key: Key, closed: bool) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let was_closing = std::mem::replace(&mut session.state, State::Over) == State::Closing;
        // Whether a close that was not answered was done, nobody knows: that token is not used again.
        if let Some(token) = session.token.take().filter(|_| closed || !was_closing) {
            self.clients[key.1].tokens.push((token, closed));
        }
    }

    fn never_answered(&mut self, Question { what, at, key, .. }: Question) {
        match what {
            Asked::Send { message } => {
                self.settle_attempt(message, key, Fate::Lost);
                self.clients[key.1].unsure.push(message);
            }
            Asked::Move { conv, who, .. } if !self.convs[conv].is_room() => {
                self.convs[conv].moves += 1;
                for client in who {
                    self.convs[conv].of[client].unsure_since(at);
                }
            }
            Asked::Set { conv, key, value } => self.convs[conv].maybe.push((key, value)),
            Asked::Increment { conv } => self.convs[conv].counted.1 += 1,
            Asked::Mute { conv, .. } => self.convs[conv].of[key.1].muted = None,
            _ => {}
        }
    }

    // The world.

    fn resize(&mut self) {
        self.tell(|_| "a stage is resized".into());
        self.rig.resize();
    }

    fn fail(&mut self) {
        if self.lately.failed && self.rig.chance(2) {
            self.tell(|_| "commits succeed again".into());
            return self.rig.store.mend();
        }
        let after = self.rig.below(4) as u64;
        self.tell(|_| format!("commits fail after {after} more"));
        self.rig.store.fail_after(after);
        self.lately.failed = true;
    }

    fn stall(&mut self) {
        let most = if self.rig.calm { 60 } else { 4_000 };
        let time = Duration::from_millis(1 + self.rig.below(most) as u64);
        self.tell(|_| format!("the disk stalls for {time:?}"));
        self.rig.stall(time);
    }

    fn crash(&mut self) {
        self.tell(|_| "THE SERVER DIES".into());
        self.count_one("crash");
        let gone: BTreeSet<usize> = self.sessions.keys().map(|key| key.1).collect();
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.lose(conn));
        self.rig.crash();
        self.lately.crashed = true;
        self.clients.iter_mut().for_each(|client| client.had_room = false);
        // The first to look at what is left are the clients, or the test.
        if self.rig.chance(2) {
            self.rest();
        }
        self.come_back(gone.into_iter().collect());
    }
}

/// A session, for people.
pub(super) fn name((conn, client): Key) -> String {
    format!("c{client} on {conn}")
}
