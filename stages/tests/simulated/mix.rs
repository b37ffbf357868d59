//! Everything at once: members, messages of every sort, reads, reconnects, resizes, a hook that takes its time. Per
//! conversation there is one order, that of its history; what was acknowledged is there, once, and reaches everybody.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tidegate_domain::conversation::Kind;
use tidegate_domain::ids::{ConnId, ConvId};
use tidegate_store::Stored;

use super::app::{self, SEEN};
use super::rig::{APP, Rig, Wanted};
use super::say::{self, Heard};

const ACTIONS: usize = 70;
/// The first three are members of everything all the time; the others come and go.
const CLIENTS: [&str; 5] = ["c0", "c1", "c2", "c3", "c4"];
const FIXED: usize = 3;
/// A member who never comes.
const ABSENT: &str = "absent";

struct Session {
    client: usize,
    conn: ConnId,
    /// The client, or another of its log-ins, has ended it.
    ended: bool,
    /// Since when it has been in the room, if it was told so and is still there.
    joining: Option<i32>,
    /// Not the only one of its connection: what each of them heard cannot be told apart.
    blurred: bool,
}

/// A message that a client asked to be sent.
struct Sent {
    text: String,
    from: &'static str,
    conn: ConnId,
    i: i32,
    cid: ConvId,
    transient: bool,
    turn: u64,
}

struct Mix {
    rig: Rig,
    tight: bool,
    normal: [ConvId; 3],
    room: ConvId,
    sessions: Vec<Session>,
    sent: Vec<Sent>,
    /// How far each client has said that it read, by client and conversation.
    read: HashMap<(usize, String), i64>,
    tokens: HashMap<usize, String>,
}

pub fn one_order_and_nothing_lost(seed: u64) {
    run(seed, false);
}

/// The same where much is refused and the disk fails now and then: less arrives, but what was acknowledged does.
pub fn refused_or_done(seed: u64) {
    run(seed, true);
}

fn run(seed: u64, tight: bool) {
    let rig = Rig::new(seed, Wanted { hooks: !seed.is_multiple_of(3), tight, ..Wanted::default() });
    let members = [&CLIENTS[..FIXED], &[ABSENT]].concat();
    let normal = [1, 2, 3].map(|number| rig.given(number, Kind::Normal, &members));
    let room = rig.given(9, Kind::Room, &[]);
    let (sessions, sent, read, tokens) = (Vec::new(), Vec::new(), HashMap::new(), HashMap::new());
    let mut mix = Mix { rig, tight, normal, room, sessions, sent, read, tokens };
    for client in 0..CLIENTS.len() {
        mix.enter(client);
    }
    for n in 0..ACTIONS {
        mix.act(n);
        if tight && mix.rig.chance(8) {
            let after = mix.rig.below(3) as u64;
            mix.rig.store.fail_after(after);
        } else if mix.rig.chance(4) {
            mix.rig.store.mend();
        }
        let most = if mix.rig.chance(4) { 120 } else { 20 };
        mix.rig.pass(most);
    }
    mix.rig.settle();
    mix.acknowledged();
    for session in mix.sessions.iter().filter(|session| !session.blurred) {
        for cid in mix.normal {
            mix.durable(session, cid);
        }
        mix.in_room(session);
        mix.transient(session);
    }
    if !tight {
        mix.outside();
    }
    mix.rooms();
    mix.everybody_leaves();
}

// What happens.

impl Mix {
    fn enter(&mut self, client: usize) {
        let pushed = self.rig.chance(6);
        let conn = self.rig.connect_as(pushed);
        // Once: of two that come back by one token, nobody knows which stays.
        let token = if self.rig.chance(3) { self.tokens.remove(&client) } else { None };
        let command = match &token {
            Some(token) => say::reopen(token),
            None if self.rig.chance(4) => say::open_tagged(),
            None => say::open(),
        };
        self.rig.ask(conn, CLIENTS[client], command);
        if token.is_some() {
            // Whichever session had the token is replaced, or the token has ended with a close: both are as if gone.
            self.sessions
                .iter_mut()
                .filter(|session| session.client == client)
                .for_each(|session| session.ended = true);
        }
        self.sessions.push(Session { client, conn, ended: false, joining: None, blurred: false });
    }

    /// One of the sessions that are open, as far as their clients know.
    fn session(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.sessions.len()).filter(|at| !self.sessions[*at].ended).collect();
        (!open.is_empty()).then(|| self.rig.pick(&open))
    }

    fn act(&mut self, n: usize) {
        let what = self.rig.below(20);
        if what == 0 {
            return self.rig.resize();
        }
        let Some(at) = self.session().filter(|_| what != 1) else {
            let client = self.rig.below(CLIENTS.len());
            return self.enter(client);
        };
        let (client, conn) = (self.sessions[at].client, self.sessions[at].conn);
        let (peer, normal, room) = (CLIENTS[client], self.normal, self.room);
        match what {
            2 => self.leave(at),
            3 | 4 => {
                let who = CLIENTS[FIXED + self.rig.below(CLIENTS.len() - FIXED)];
                let cid = self.rig.pick(&normal);
                let command = if self.rig.chance(2) { say::add(cid, &[who]) } else { say::remove(cid, &[who]) };
                self.rig.ask(conn, peer, command);
            }
            5 => {
                let i = self.rig.ask(conn, peer, say::add(room, &[peer]));
                self.sessions[at].joining.get_or_insert(i);
            }
            6 if self.rig.chance(2) => {
                self.rig.ask(conn, peer, say::remove(room, &[peer]));
                self.sessions[at].joining = None;
            }
            7 => {
                let last = self.rig.conns[&conn].got.iter().rev().find_map(say::heard);
                if let Some(heard) = last.filter(|heard| !heard.transient && heard.cid != room.to_string()) {
                    if self.rig.chance(2) {
                        self.rig.say(conn, peer, say::ack(&heard.cid, &heard.mid));
                    } else {
                        let upto = self.read.entry((client, heard.cid.clone())).or_insert(0);
                        *upto = heard.at.max(*upto);
                        self.rig.say(conn, peer, say::read(&heard.cid, &heard.mid, heard.at));
                    }
                }
            }
            8 => {
                let cid = self.rig.pick(&normal);
                self.rig.ask(conn, peer, say::count(cid));
            }
            9 | 10 => self.send(conn, peer, room, false, n),
            11 | 12 => {
                let cid = self.rig.pick(&normal);
                self.send(conn, peer, cid, true, n);
            }
            _ => {
                let cid = self.rig.pick(&normal);
                self.send(conn, peer, cid, false, n);
            }
        }
    }

    fn send(&mut self, conn: ConnId, peer: &'static str, cid: ConvId, transient: bool, n: usize) {
        let (text, dt) = (format!("{n}"), format!("dt{n}"));
        let dt = (!transient && self.rig.chance(2)).then_some(&*dt);
        let turn = self.rig.turns;
        let i = self.rig.ask(conn, peer, say::message(cid, &text, dt, transient));
        self.sent.push(Sent { text, from: peer, conn, i, cid, transient, turn });
    }

    fn leave(&mut self, at: usize) {
        let (client, conn) = (self.sessions[at].client, self.sessions[at].conn);
        self.sessions[at].ended = true;
        let token = self.rig.conns[&conn].got.iter().filter(|command| say::is_opened(command)).last();
        let token = token.and_then(|command| command.session_message.as_ref()?.st.clone());
        match self.rig.below(4) {
            0 => {
                self.rig.ask(conn, CLIENTS[client], say::close());
            }
            // It, or another client, logs in on the same connection; before it has left, or after.
            3 => {
                let other = self.rig.below(CLIENTS.len());
                if other == client || self.rig.chance(2) {
                    self.rig.ask(conn, CLIENTS[client], say::close());
                } else {
                    self.sessions[at].ended = false;
                }
                self.rig.ask(conn, CLIENTS[other], say::open());
                self.sessions.iter_mut().filter(|session| session.conn == conn).for_each(|one| one.blurred = true);
                self.sessions.push(Session { client: other, conn, ended: false, joining: None, blurred: true });
            }
            1 => self.rig.disconnect(conn),
            // It comes back before its end is noticed.
            _ => self.sessions[at].ended = false,
        }
        if let Some(token) = token {
            self.tokens.insert(client, token);
        }
    }

    fn everybody_leaves(&mut self) {
        for at in 0..self.sessions.len() {
            self.rig.disconnect(self.sessions[at].conn);
        }
        self.rig.settle();
        let (seed, world) = (self.rig.seed, &self.rig.world);
        assert_eq!(world.directory.count(), 0, "seed {seed}: somebody is still said to be online");
        assert_eq!(world.rooms.count(APP, self.room), 0, "seed {seed}: somebody is still in the room");
    }
}

// What must be true.

impl Mix {
    fn seed(&self) -> u64 {
        self.rig.seed
    }

    fn hooks(&self) -> bool {
        !self.seed().is_multiple_of(3)
    }

    /// What was acknowledged is in history, once; in the order of its acks, which is that of sending.
    fn acknowledged(&self) {
        let seed = self.seed();
        let mut last: BTreeMap<(ConnId, ConvId, bool), (i64, usize)> = BTreeMap::new();
        let mut acked: HashSet<&str> = HashSet::new();
        let histories: HashMap<ConvId, Vec<Stored>> =
            self.normal.iter().chain([&self.room]).map(|cid| (*cid, self.rig.history(*cid))).collect();
        for sent in &self.sent {
            let conn = &self.rig.conns[&sent.conn];
            let Some(answer) = conn.answers.get(&sent.i) else { continue };
            let Some((mid, at)) = say::sent(answer) else {
                assert!(say::code(answer).is_some(), "seed {seed}: {answer:?}");
                continue;
            };
            let arrived = conn.got.iter().position(|got| got.i == Some(sent.i)).expect("it has come");
            let before = last.insert((sent.conn, sent.cid, sent.transient), (at, arrived));
            let in_order = before.is_none_or(|(last, came)| last <= at && came < arrived);
            assert!(in_order, "seed {seed}: the acks of {} are out of order at {}", sent.conn, sent.text);
            if sent.transient {
                continue;
            }
            acked.insert(&sent.text);
            let kept: Vec<_> = histories[&sent.cid].iter().filter(|message| message.mid.to_string() == mid).collect();
            assert_eq!(kept.len(), 1, "seed {seed}: {} was acknowledged and is there {} times", sent.text, kept.len());
            let text = app::text_of(&kept[0].body);
            assert_eq!((kept[0].at, text.trim_end_matches(SEEN)), (at, &*sent.text), "seed {seed}");
        }
        let mut texts = HashSet::new();
        for message in histories.values().flatten() {
            let text = app::text_of(&message.body);
            let may_go_by = !self.rig.calm || self.tight;
            assert!(text.ends_with(SEEN) == self.hooks() || may_go_by, "seed {seed}: {text} went by the hook");
            let text = text.trim_end_matches(SEEN).to_owned();
            let sent = self.sent.iter().find(|sent| sent.text == text).expect("somebody sent it");
            assert!(acked.contains(&*text) || !self.rig.conns[&sent.conn].open, "seed {seed}: {text} was not acked");
            assert!(texts.insert(text.clone()), "seed {seed}: {text} is in history twice");
        }
        for cid in self.normal {
            self.rig.members(cid);
        }
    }

    fn heard(&self, session: &Session, cid: ConvId) -> Vec<Heard> {
        let got = self.rig.conns[&session.conn].got.iter().filter_map(say::heard);
        got.filter(|heard| heard.cid == cid.to_string()).collect()
    }

    fn is_there(&self, session: &Session) -> bool {
        let conn = &self.rig.conns[&session.conn];
        let is_in = conn.got.iter().any(say::is_opened) && !conn.got.iter().any(say::is_kicked);
        !session.ended && conn.open && conn.lifted.is_some() && is_in
    }

    /// A session hears a conversation's messages in the order of history, without a gap from where it begins; and what
    /// was before that, it was told of, or has read.
    fn durable(&self, session: &Session, cid: ConvId) {
        let (seed, conn) = (self.seed(), session.conn);
        let history = self.rig.history(cid);
        let place: HashMap<String, usize> =
            history.iter().enumerate().map(|(n, message)| (message.mid.to_string(), n)).collect();
        let heard: Vec<Heard> = self.heard(session, cid).into_iter().filter(|heard| !heard.transient).collect();
        let places: Vec<usize> = heard.iter().map(|heard| place[&heard.mid]).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "seed {seed}: {conn} heard {cid} as {places:?}: {heard:?}");
        if session.client >= FIXED {
            return;
        }
        let client = CLIENTS[session.client];
        let is_own = |message: &Stored| {
            let text = app::text_of(&message.body);
            let sent = self.sent.iter().find(|sent| sent.text == text.trim_end_matches(SEEN));
            sent.is_some_and(|sent| sent.conn == conn)
        };
        let there = self.is_there(session);
        let begin = places.first().copied().unwrap_or(history.len());
        let end = if there { history.len() } else { places.last().map_or(0, |last| last + 1) };
        for (at, message) in history.iter().enumerate().take(end).skip(begin) {
            let missed = !places.contains(&at) && !is_own(message);
            // What a `.1` client acknowledged is not told again, and what it wrote elsewhere is no backlog.
            let told = self.is_pushed(session) && self.may_be_known(session, message);
            assert!(!missed || told, "seed {seed}: {conn} of {client} missed {at} of {cid}, and heard {places:?}");
        }
        if (places.is_empty() && !there) || self.tight {
            return; // a snapshot may have been refused
        }
        let unread = self.rig.conns[&conn].got.iter().filter_map(|command| command.unread_message.as_ref());
        let unread = unread.flat_map(|unread| &unread.convs).filter(|tuple| tuple.cid == cid.to_string());
        let counted = unread.filter_map(|tuple| tuple.timestamp).max().unwrap_or(0);
        for message in &history[..begin] {
            let known = message.at <= counted || is_own(message) || self.may_be_known(session, message);
            assert!(known, "seed {seed}: {conn} of {client} never heard of {message:?}; counted to {counted}");
        }
    }

    fn is_pushed(&self, session: &Session) -> bool {
        self.rig.conns[&session.conn].offline_pushed
    }

    /// Its client sent it, has read it or, one by one, acknowledged it.
    fn may_be_known(&self, session: &Session, message: &Stored) -> bool {
        let client = CLIENTS[session.client];
        let text = app::text_of(&message.body);
        let sent = self.sent.iter().find(|sent| sent.text == text.trim_end_matches(SEEN)).expect("somebody sent it");
        let read = self.read.get(&(session.client, sent.cid.to_string())).copied().unwrap_or(0);
        &*message.from == client || message.at <= read || self.is_pushed(session)
    }

    /// Who is in the room hears all of it, in order.
    fn in_room(&self, session: &Session) {
        let (seed, conn) = (self.seed(), session.conn);
        let heard: Vec<Heard> = self.heard(session, self.room);
        assert!(heard.is_sorted_by(|a, b| a.at < b.at), "seed {seed}: {conn} heard the room as {heard:?}");
        let Some(joined) = session.joining.filter(|_| self.is_there(session)) else { return };
        let own = &self.rig.conns[&conn];
        let Some(since) = own.answered.get(&joined).filter(|_| say::code(&own.answers[&joined]).is_none()) else {
            return;
        };
        for sent in self.sent.iter().filter(|sent| sent.cid == self.room && sent.turn > *since) {
            let is_own = sent.from == CLIENTS[session.client];
            let acked = self.rig.conns[&sent.conn].answers.get(&sent.i).is_some_and(|a| say::sent(a).is_some());
            let came = heard.iter().filter(|heard| heard.text.trim_end_matches(SEEN) == sent.text).count();
            assert!(!acked || came == usize::from(!is_own), "seed {seed}: {conn} heard {} {came} times", sent.text);
        }
    }

    /// Whoever is there when a transient message is sent hears it, once.
    fn transient(&self, session: &Session) {
        let (seed, conn) = (self.seed(), session.conn);
        let own = &self.rig.conns[&conn];
        for sent in self.sent.iter().filter(|sent| sent.transient) {
            let acked = self.rig.conns[&sent.conn].answers.get(&sent.i).is_some_and(|a| say::sent(a).is_some());
            let heard = self.heard(session, sent.cid);
            let came = heard.iter().filter(|heard| heard.text.trim_end_matches(SEEN) == sent.text).count();
            let must = acked
                && session.client < FIXED
                && sent.conn != conn
                && self.is_there(session)
                && own.lifted.is_some_and(|lifted| lifted < sent.turn);
            assert!(came <= 1 && (came == 1 || !must), "seed {seed}: {conn} heard {} {came} times", sent.text);
        }
    }

    /// The reactors' groups are as the rooms are.
    fn rooms(&self) {
        let room: BTreeSet<_> = self.rig.world.rooms.some(APP, self.room, 50).into_iter().collect();
        let groups = self.rig.in_groups();
        assert_eq!(groups, room, "seed {}: the group is not the room", self.seed());
    }

    /// The app's server is told of each message once, and who never was there is sent a push for each.
    fn outside(&self) {
        let seed = self.seed();
        let all = self.normal.iter().chain([&self.room]).flat_map(|cid| self.rig.history(*cid));
        let kept: Vec<_> = all.map(|message| message.mid).collect();
        let told = self.rig.app.told.lock().unwrap();
        for mid in &kept {
            let times = told.iter().filter(|told| *told == mid).count();
            assert_eq!(times, usize::from(self.hooks()), "seed {seed}: the hook was told {times} times of {mid}");
        }
        let pushed = self.rig.app.pushed.lock().unwrap();
        for message in self.normal.iter().flat_map(|cid| self.rig.history(*cid)) {
            let pushes = pushed.iter().filter(|one| one.mid == message.mid && one.to.iter().any(|to| &**to == ABSENT));
            let times = pushes.count();
            assert!(times == 1 || (times == 0 && !self.rig.calm), "seed {seed}: {times} pushes of {}", message.mid);
        }
    }
}
