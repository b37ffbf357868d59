//! One simulated run: the real stages over a store in memory, reactors and clients played by the test.
//!
//! The seed decides the layout, the sizes, who moves next and how long the outside takes. Reactors are one mailbox with a
//! bound, emptied now and then; a session's gate is modelled here (net/gate.rs): what is delivered between `Entered` and
//! `Lift` waits, and what the lift counted is dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tidegate_domain::conversation::Kind;
use tidegate_domain::directory::LocalDirectory;
use tidegate_domain::ids::{ClientId, ConnId, ConvId, Millis};
use tidegate_engine::{Pipeline, Policy, PoolSettings, Sim, Sink, StagePatch, StageSettings, Topology};
use tidegate_protocol::wire::GenericCommand;
use tidegate_stages::catalogue::{DECLARED, modules};
use tidegate_stages::event::{Arrival, Arrived, Event, Origin};
use tidegate_stages::mail::{Lift, Mail, Recipient};
use tidegate_stages::shared::apps::Apps;
use tidegate_stages::shared::tokens::Kept;
use tidegate_stages::shared::world::{Parts, World};
use tidegate_stages::supervisor::{Post, Watch};
use tidegate_store::model::{ModelOptions, ModelStore};
use tidegate_store::{Page, Store, Stored};

use super::app::AppServer;
pub use super::given::{APP, EPOCH};
use super::{given, say};

/// What a scenario wants of its run.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    /// The app's server is asked before each message.
    pub hooks: bool,
    /// What stands beside the line is often full, and what may be refused on the line is.
    pub tight: bool,
    pub sessions_per_connection: Option<usize>,
}

pub struct Rig {
    pub seed: u64,
    pub sim: Sim<Event>,
    pub pipeline: Pipeline<Event>,
    pub world: Arc<World>,
    pub store: Arc<ModelStore>,
    pub app: Arc<AppServer>,
    pub conns: BTreeMap<ConnId, Conn>,
    mailbox: Arc<Mailbox>,
    groups: HashMap<u64, Vec<Recipient>>,
    next_slot: u32,
    patience: u32,
    wanted: Wanted,
    /// How often somebody has moved.
    pub turns: u64,
    /// Time passes in small steps, so that nothing inside runs into its deadline: nobody is refused for that.
    pub calm: bool,
    beating: Arc<AtomicBool>,
    /// What comes to clients goes here, in the order of its coming, and is not kept by the connections; where it is wanted.
    pub news: Option<Vec<(ConnId, GenericCommand)>>,
}

/// A connection, as its client sees it.
#[derive(Default)]
pub struct Conn {
    pub open: bool,
    /// Closed by the server, and by which code.
    pub closed_with: Option<i32>,
    next_i: i32,
    /// Commands, by their `i`, that wait for their answer.
    pub waiting: HashSet<i32>,
    /// Whose each command was.
    asked_by: HashMap<i32, String>,
    /// Those that begin a session.
    opens: Vec<i32>,
    pub answers: HashMap<i32, GenericCommand>,
    /// At which turn each came.
    pub answered: HashMap<i32, u64>,
    /// Everything that came, answers too, in order.
    pub got: Vec<GenericCommand>,
    /// By the older subprotocol: what was missed comes as messages.
    pub offline_pushed: bool,
    /// At which turn the gate of its session was lifted.
    pub lifted: Option<u64>,
    gates: HashMap<ClientId, Gate>,
}

enum Gate {
    /// With what waits, and how many snapshots are still to come for sessions that were there before.
    Shut(Vec<(Bytes, Option<(u64, i64)>)>, u32),
    Lifted(Arc<[(u64, i64)]>),
}

/// The reactors' mailbox: bounded for what has room reserved.
struct Mailbox {
    bound: u64,
    used: AtomicU64,
    missed: AtomicU64,
    mail: Mutex<VecDeque<(Mail, bool)>>,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Mailbox {
    fn free(&self, n: u64) {
        self.used.fetch_sub(n, SeqCst);
        if self.missed.swap(0, SeqCst) > 0 {
            let wake = self.wake.lock().unwrap().clone();
            wake.expect("the pipeline has said whom to wake")();
        }
    }

    fn try_reserve(&self, n: u64) -> bool {
        self.used.fetch_update(SeqCst, SeqCst, |used| (used + n <= self.bound).then_some(used + n)).is_ok()
    }
}

impl Sink<Event> for Mailbox {
    fn reserve(&self, n: u32) -> bool {
        self.try_reserve(n.into()) || {
            self.missed.store(1, SeqCst);
            self.try_reserve(n.into())
        }
    }

    fn give_back(&self, n: u32) {
        self.free(n.into());
    }

    fn push(&self, events: &mut Vec<Event>) {
        let mut mail = self.mail.lock().unwrap();
        for event in events.drain(..) {
            let Event::Mail(one) = event else { panic!("only mail goes to the reactors: {event:?}") };
            mail.push_back((one, true));
        }
    }

    fn on_room(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.lock().unwrap() = Some(wake);
    }
}

impl Post for Mailbox {
    fn post(&self, mail: Mail) {
        self.mail.lock().unwrap().push_back((mail, false));
    }
}

impl Rig {
    pub fn new(seed: u64, wanted: Wanted) -> Rig {
        let mut sim = Sim::new(seed);
        let clock = clock_of(&sim);
        let store = Arc::new(ModelStore::new(ModelOptions { clock, ..ModelOptions::default() }));
        let app = Arc::new(AppServer::new(wanted.hooks, sim.outside(), sim.random(u64::MAX)));
        let (pipeline, world, mailbox) = start(&mut sim, seed, wanted, store.clone(), app.clone());
        Rig {
            seed,
            sim,
            pipeline,
            world,
            store,
            app,
            conns: BTreeMap::new(),
            mailbox,
            groups: HashMap::new(),
            next_slot: 0,
            patience: 1 + (seed % 8) as u32,
            wanted,
            turns: 0,
            calm: seed.is_multiple_of(2),
            beating: Arc::default(),
            news: None,
        }
    }

    /// The server dies where it stands, and another one starts on what the store has. Every connection is gone.
    pub fn crash(&mut self) {
        self.sim.restart();
        self.store.reopen();
        let (pipeline, world, mailbox) =
            start(&mut self.sim, self.seed, self.wanted, self.store.clone(), self.app.clone());
        (self.pipeline, self.world, self.mailbox) = (pipeline, world, mailbox);
        self.groups.clear();
        self.beating = Arc::default();
        self.conns.clear();
    }

    /// Whoever works with the disk waits for it.
    pub fn stall(&mut self, time: Duration) {
        for pool in ["persist", "disk"] {
            self.sim.stall(&self.pipeline, pool, time);
        }
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.sim.random(one_in) == 0
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.sim.random(n as u64) as usize
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    // What clients do.

    pub fn connect(&mut self) -> ConnId {
        self.connect_as(false)
    }

    /// `offline_pushed`: by the older subprotocol.
    pub fn connect_as(&mut self, offline_pushed: bool) -> ConnId {
        self.next_slot += 1;
        let conn = ConnId::new(0, 0, self.next_slot, 1);
        self.conns.insert(conn, Conn { open: true, offline_pushed, ..Conn::default() });
        let origin = Origin { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), web: None, offline_pushed };
        self.pipeline.door("decode").offer_always(Event::Arrived(Arrived { conn, what: Arrival::Opened(origin) }));
        conn
    }

    /// The connection is gone, whatever was under way.
    pub fn disconnect(&mut self, conn: ConnId) {
        let own = self.conns.get_mut(&conn).expect("a connection of this run");
        if std::mem::replace(&mut own.open, false) {
            self.leave_groups(conn, None, None);
            let what = Arrival::Closed { code: 1006, held: None };
            self.pipeline.door("decode").offer_always(Event::Arrived(Arrived { conn, what }));
        }
    }

    /// Sends a command that wants an answer; gives its `i`.
    pub fn ask(&mut self, conn: ConnId, peer: &str, command: GenericCommand) -> i32 {
        let (i, command) = self.numbered(conn, peer, command);
        self.say(conn, peer, command);
        i
    }

    /// The same, with the text `SPOIL` in it made unreadable.
    pub fn ask_spoiled(&mut self, conn: ConnId, peer: &str, command: GenericCommand) -> i32 {
        let (i, command) = self.numbered(conn, peer, command);
        self.say_spoiled(conn, peer, command);
        i
    }

    pub fn say_spoiled(&mut self, conn: ConnId, peer: &str, mut command: GenericCommand) {
        command.peer_id = Some(peer.to_owned());
        let mut bytes = command.encode_to_vec();
        let at = bytes.windows(5).position(|text| text == b"SPOIL").expect("there is something to spoil");
        bytes[at] = 0xff;
        self.put(conn, bytes);
    }

    fn numbered(&mut self, conn: ConnId, peer: &str, mut command: GenericCommand) -> (i32, GenericCommand) {
        let own = self.conns.get_mut(&conn).expect("a connection of this run");
        own.next_i += 1;
        let i = own.next_i;
        own.asked_by.insert(i, peer.to_owned());
        if own.open {
            own.waiting.insert(i);
        }
        command.i = Some(i);
        if say::is_open(&command) {
            own.opens.push(i);
        }
        (i, command)
    }

    /// Sends a command as it is. One that finds no room is sent again when there is some, as a socket that is not read.
    pub fn say(&mut self, conn: ConnId, peer: &str, mut command: GenericCommand) {
        command.peer_id = Some(peer.to_owned());
        self.put(conn, command.encode_to_vec());
    }

    /// Sends bytes.
    pub fn put(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        for _ in 0..1_000_000 {
            if !self.conns[&conn].open {
                return;
            }
            let what = Arrival::Frame { bytes: bytes.clone(), received_ns: 0, held: None, journey: None };
            if self.pipeline.door("decode").offer(Event::Arrived(Arrived { conn, what })).is_ok() {
                return;
            }
            self.turn();
        }
        panic!("seed {}: the door stays shut: {:?}", self.seed, self.pipeline.depths());
    }

    /// Opens a session, and waits until that is answered.
    pub fn log_in(&mut self, conn: ConnId, peer: &str) {
        let i = self.ask(conn, peer, say::open());
        let answer = self.answer(conn, i);
        assert!(say::is_opened(&answer), "seed {}: {answer:?}", self.seed);
    }

    /// Waits for an answer.
    pub fn answer(&mut self, conn: ConnId, i: i32) -> GenericCommand {
        for _ in 0..1_000_000 {
            if let Some(answer) = self.conns[&conn].answers.get(&i) {
                return answer.clone();
            }
            self.turn();
        }
        panic!("seed {}: {conn} never got its answer to {i}: {:?}", self.seed, self.pipeline.depths());
    }

    // What happens meanwhile.

    /// Somebody moves: a worker, the world outside, or the reactors.
    pub fn turn(&mut self) {
        self.turns += 1;
        if self.sim.random(u64::from(self.patience) + 1) == 0 {
            let most = 1 + self.below(6);
            self.reactors(most);
        } else {
            self.beat();
            self.sim.step(&self.pipeline);
        }
    }

    /// In a calm run something always happens soon, and the clock goes no further than that.
    fn beat(&self) {
        if self.calm && !self.beating.swap(true, SeqCst) {
            let beating = self.beating.clone();
            self.sim.outside().after(Duration::from_micros(500), move || beating.store(false, SeqCst));
        }
    }

    /// A while passes, of random length up to `most` turns.
    pub fn pass(&mut self, most: usize) {
        for _ in 0..self.below(most + 1) {
            self.turn();
        }
    }

    /// Until nothing moves any more. Then nothing may be left inside, and everybody has an answer.
    pub fn settle(&mut self) {
        for turn in 0..10_000_000 {
            // What waits for its deadline shall find it.
            if turn < 20_000 && !self.pipeline.quiet() {
                self.beat();
            }
            let moved = self.sim.step(&self.pipeline);
            let got = self.reactors(3);
            if !moved && !got {
                assert!(self.pipeline.quiet(), "seed {}: stuck: {:?}", self.seed, self.pipeline.depths());
                assert!(self.world.crowds.are_quiet(), "seed {}: a message never arrived", self.seed);
                for (conn, own) in self.conns.iter().filter(|(_, own)| own.open) {
                    assert!(own.waiting.is_empty(), "seed {}: {conn} waits for {:?}", self.seed, own.waiting);
                    let shut = own.gates.values().filter(|gate| matches!(gate, Gate::Shut(..))).count();
                    assert_eq!(shut, 0, "seed {}: a gate of {conn} was never lifted", self.seed);
                }
                return;
            }
        }
        panic!("seed {}: it never comes to rest: {:?}", self.seed, self.pipeline.depths());
    }

    /// Changes a stage's sizes at random.
    pub fn resize(&mut self) {
        let name = DECLARED[self.below(DECLARED.len())].name;
        let (workers, batch) = (1 + self.below(3), 1 + self.below(8));
        let patch = StagePatch {
            workers: Some(workers),
            batch: Some(batch),
            bound: Some(match ["read", "hook", "push"].contains(&name) {
                true if self.wanted.tight => batch.max(2 + self.below(8)),
                true => 4_096,
                false => 32 + self.below(64),
            }),
            ..StagePatch::default()
        };
        self.pipeline.set_stage(name, patch).unwrap_or_else(|problems| panic!("seed {}: {problems:?}", self.seed));
    }

    // The reactors.

    /// Takes up to `most` pieces of mail; whether there was any.
    fn reactors(&mut self, most: usize) -> bool {
        let mut any = false;
        for _ in 0..most {
            let Some((mail, reserved)) = self.mailbox.mail.lock().unwrap().pop_front() else { break };
            any = true;
            self.order(mail);
            if reserved {
                self.mailbox.free(1);
            }
        }
        any
    }

    fn order(&mut self, mail: Mail) {
        match mail {
            Mail::Several(several) => several.into_iter().for_each(|mail| self.order(mail)),
            Mail::Reply { conn, frame, .. } => self.receive(conn, None, &frame),
            Mail::Deliver(deliver) => {
                for to in deliver.to {
                    self.pass_gate(&to, &deliver.frame, deliver.position);
                }
            }
            Mail::Broadcast { group, frame, except, .. } => {
                for to in self.groups.get(&group).cloned().unwrap_or_default() {
                    if Some(&to.client) != except.as_ref() {
                        self.receive(to.conn, Some(&to.client), &frame);
                    }
                }
            }
            Mail::Join { group, member } => {
                let members = self.groups.entry(group).or_default();
                if self.conns[&member.conn].open && !members.contains(&member) {
                    members.push(member);
                }
            }
            Mail::Leave { group, member } => {
                self.groups.entry(group).or_default().retain(|one| *one != member);
            }
            Mail::LeaveAll { member, but } => self.leave_groups(member.conn, Some(&member.client), but),
            Mail::Entered(session) => {
                if let Some(conn) = self.conns.get_mut(&session.conn).filter(|conn| conn.open) {
                    let stale = match conn.gates.get(&session.client) {
                        Some(Gate::Shut(_, stale)) => stale + 1,
                        _ => 0,
                    };
                    conn.gates.insert(session.client, Gate::Shut(Vec::new(), stale));
                }
            }
            Mail::Lift(lift) => self.lift(lift),
            Mail::Close { conn, code } => {
                if let Some(own) = self.conns.get_mut(&conn).filter(|conn| conn.open) {
                    own.closed_with = Some(code.number());
                    self.disconnect(conn);
                }
            }
            Mail::Gone { .. } | Mail::Alive { .. } => {}
        }
    }

    fn pass_gate(&mut self, to: &Recipient, frame: &Bytes, position: Option<(u64, i64)>) {
        let Some(conn) = self.conns.get_mut(&to.conn) else { return };
        match conn.gates.get_mut(&to.client) {
            Some(Gate::Shut(held, _)) => held.push((frame.clone(), position)),
            Some(Gate::Lifted(counted)) if is_counted(counted, position) => {}
            _ => self.receive(to.conn, Some(&to.client), frame),
        }
    }

    fn lift(&mut self, Lift { session, first, counted, .. }: Lift) {
        let Some(conn) = self.conns.get_mut(&session.conn) else { return };
        match conn.gates.get_mut(&session.client) {
            Some(Gate::Shut(_, stale)) if *stale > 0 => {
                *stale -= 1;
                return;
            }
            Some(Gate::Shut(..)) => {}
            _ => return,
        }
        let gate = conn.gates.insert(session.client.clone(), Gate::Lifted(counted.clone()));
        let Some(Gate::Shut(held, _)) = gate else { return };
        conn.lifted = Some(self.turns);
        let kept = held.into_iter().filter(|(_, position)| !is_counted(&counted, *position)).map(|(frame, _)| frame);
        for frame in first.into_iter().chain(kept) {
            self.receive(session.conn, Some(&session.client), &frame);
        }
    }

    fn leave_groups(&mut self, conn: ConnId, client: Option<&ClientId>, but: Option<u64>) {
        let leaves = |one: &Recipient| one.conn == conn && client.is_none_or(|client| one.client == *client);
        let left = self.groups.iter_mut().filter(|(group, _)| Some(**group) != but);
        left.for_each(|(_, members)| members.retain(|one| !leaves(one)));
    }

    /// Who is in any of the reactors' groups.
    pub fn in_groups(&self) -> BTreeSet<ClientId> {
        self.groups.values().flatten().map(|member| member.client.clone()).collect()
    }

    /// A frame is with its client.
    fn receive(&mut self, conn: ConnId, peer: Option<&ClientId>, frame: &Bytes) {
        let Some(own) = self.conns.get_mut(&conn).filter(|conn| conn.open) else { return };
        let mut bytes = frame.to_vec();
        if let Some(peer) = peer {
            tidegate_protocol::append_peer(&mut bytes, peer);
        }
        let command = GenericCommand::decode(&bytes[..]).expect("the server's frames are well formed");
        if let Some(i) = command.i {
            let waited = own.waiting.remove(&i);
            assert!(waited, "seed {}: {conn} did not wait for {command:?}", self.seed);
            if self.news.is_none() {
                own.answers.insert(i, command.clone());
                own.answered.insert(i, self.turns);
            }
            if say::is_closed(&command) {
                let is_own = |other: &i32| own.asked_by[other] == own.asked_by[&i];
                // What was asked before it was opened again is another session's.
                let since = own.opens.iter().copied().filter(|open| *open < i && is_own(open)).max().unwrap_or(0);
                let earlier = own.waiting.iter().filter(|other| (since..i).contains(*other) && is_own(other));
                let earlier: Vec<_> = earlier.collect();
                assert!(earlier.is_empty(), "seed {}: {conn} closed before {earlier:?}", self.seed);
            }
        }
        match &mut self.news {
            Some(news) => news.push((conn, command)),
            None => own.got.push(command),
        }
    }

    /// The wall clock.
    pub fn now(&self) -> Millis {
        self.world.now()
    }

    // What is true in the end.

    /// As [`given::conversation`].
    pub fn given(&self, number: u8, kind: Kind, members: &[&str]) -> ConvId {
        given::conversation(&*self.store, number, kind, members)
    }

    pub fn history(&self, cid: ConvId) -> Vec<Stored> {
        let direction = tidegate_domain::command::Direction::New;
        let page = Page { start: None, end: None, direction, limit: usize::MAX };
        let history = self.store.page(APP, cid, &page).expect("the model store reads");
        let rising = history.windows(2).all(|two| two[0].at < two[1].at && two[0].mid < two[1].mid);
        assert!(rising, "seed {}: history is not in order: {history:?}", self.seed);
        history
    }

    /// The stored members, sorted; the cache must agree where it has the conversation.
    pub fn members(&self, cid: ConvId) -> Vec<String> {
        let stored = self.store.conversation(APP, cid).unwrap().expect("it is there");
        if let Some(cached) = self.world.views.get(APP, cid) {
            assert_eq!(*cached, stored, "seed {}: the cache disagrees with the store", self.seed);
        }
        let mut members: Vec<String> = stored.members.iter().map(|member| member.client.to_string()).collect();
        members.sort();
        members
    }
}

fn is_counted(counted: &[(u64, i64)], position: Option<(u64, i64)>) -> bool {
    position.is_some_and(|(stream, place)| counted.iter().any(|(own, upto)| *own == stream && place <= *upto))
}

fn clock_of(sim: &Sim<Event>) -> Arc<dyn Fn() -> Millis + Send + Sync> {
    let env = sim.env();
    Arc::new(move || EPOCH + (env.now() / 1_000_000) as Millis)
}

/// One server's life, over a store that may have seen others.
fn start(
    sim: &mut Sim<Event>,
    seed: u64,
    wanted: Wanted,
    store: Arc<ModelStore>,
    app: Arc<AppServer>,
) -> (Pipeline<Event>, Arc<World>, Arc<Mailbox>) {
    let mailbox = Arc::new(Mailbox {
        bound: 8 + sim.random(100),
        used: AtomicU64::new(0),
        missed: AtomicU64::new(0),
        mail: Mutex::default(),
        wake: Mutex::default(),
    });
    let random = AtomicU64::new(sim.random(u64::MAX));
    let world = World::new(Parts {
        apps: Apps::new(vec![given::app()]),
        directory: Arc::new(LocalDirectory::new()),
        store,
        hooks: app.clone(),
        notifier: app,
        post: mailbox.clone(),
        clock: clock_of(sim),
        random: Arc::new(move || {
            let n = random.fetch_add(0x9E37_79B9_7F4A_7C15, SeqCst);
            (u128::from(n) << 64 | u128::from(n.wrapping_mul(0xBF58_476D_1CE4_E5B9))).to_be_bytes()
        }),
        views: 64 * (1 + sim.random(8) as usize),
        crowd: 512,
        sessions_per_client: 100,
        sessions_per_connection: wanted.sessions_per_connection.unwrap_or(100),
        sample: 0.0,
        slow: None,
        journeys: 1,
        tokens: Kept { nonces: 16, revoked: 1_000 },
        trace: 0,
    })
    .expect("the model store reads");
    let topology = topology(sim, wanted.tight);
    let sinks = HashMap::from([("net".to_owned(), mailbox.clone() as Arc<dyn Sink<Event>>)]);
    let watch = Arc::new(Watch(world.clone()));
    let pipeline = Pipeline::build(topology, modules(&world), sinks, watch, &["decode"], sim.env())
        .unwrap_or_else(|problems| panic!("seed {seed}: {problems:?}"));
    (pipeline, world, mailbox)
}

/// The usual pipeline, in a layout and with sizes that the seed chooses. What stands beside the line has room for all
/// unless it is to be `tight`.
fn topology(sim: &mut Sim<Event>, tight: bool) -> Topology {
    let shared = sim.random(2) == 0;
    let stages = DECLARED.iter().map(|declared| {
        let mut stage = StageSettings::new(declared.name);
        for (output, to) in declared.targets {
            stage = stage.to(*output, *to);
        }
        let beside = ["read", "hook", "push"].contains(&declared.name);
        stage.workers = 1 + sim.random(3) as usize;
        stage.batch = 1 + sim.random(8) as usize;
        stage.bound = match beside {
            true if tight => stage.batch.max(2 + sim.random(8) as usize),
            true => 4_096,
            false => 32 + sim.random(64) as usize,
        };
        if tight && ["route", "persist"].contains(&declared.name) && sim.random(2) == 0 {
            stage.policy = Policy::Shed;
        }
        stage.pool = shared.then(|| if declared.blocks { "disk" } else { "common" }.to_owned());
        stage
    });
    let stages = stages.collect();
    let pools = match shared {
        true => vec![PoolSettings::new("disk", 2), PoolSettings::new("common", 2 + sim.random(2) as usize)],
        false => Vec::new(),
    };
    Topology { stages, pools }
}
