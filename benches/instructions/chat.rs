//! Messages through all stages in the simulated run: decode to the mail that leaves for the reactors.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prost::Message as _;
use tidegate_domain::conversation::Kind;
use tidegate_domain::directory::{LocalDirectory, SessionEntry};
use tidegate_domain::ids::{ClientId, ConnId, ConvId, Millis};
use tidegate_engine::{Pipeline, Sim, Sink};
use tidegate_protocol::wire::{CommandType, ConvCommand, DirectCommand, GenericCommand, OpType, SessionCommand};
use tidegate_stages::catalogue::modules;
use tidegate_stages::event::{Arrival, Arrived, Event, Origin};
use tidegate_stages::mail::Mail;
use tidegate_stages::shared::apps::Apps;
use tidegate_stages::shared::tokens::Kept;
use tidegate_stages::shared::world::{Parts, World};
use tidegate_stages::supervisor::{Post, Watch};
use tidegate_store::model::{ModelOptions, ModelStore};

use crate::given::{self, EPOCH};

const PAIRS: u32 = 50;
/// Messages of one sender that are under way at once.
const OUTSTANDING: u32 = 8;
const BODY: usize = 120;
/// Clients that say nothing, unless `IDLE` says how many.
const IDLE: u32 = 100_000;

pub fn durable(rounds: u64) -> u64 {
    // An acknowledgement and a delivery.
    Chat::of_pairs().talk(rounds, false, 2)
}

/// The same messages while somebody records.
pub fn recorded(rounds: u64) -> u64 {
    let chat = Chat::of_pairs();
    let world = chat.world.clone();
    assert!(world.tape.begin(0), "nobody else records");
    let units = chat.talk(rounds, false, 2);
    assert!(world.tape.count().is_some_and(|count| count == rounds * units), "they are on the tape");
    units
}

pub fn transient(rounds: u64) -> u64 {
    Chat::of_pairs().talk(rounds, true, 2)
}

/// The same messages where many others are logged in and say nothing, most of them on the connections that talk.
pub fn crowded(rounds: u64) -> u64 {
    let chat = Chat::of_pairs();
    chat.idle(std::env::var("IDLE").map_or(IDLE, |idle| idle.parse().expect("IDLE is a number")));
    chat.talk(rounds, false, 2)
}

pub fn room(rounds: u64) -> u64 {
    // An acknowledgement and a broadcast.
    Chat::of_room().talk(rounds, false, 2)
}

/// Reactors that throw all mail away, and count frames.
#[derive(Default)]
struct Counting {
    frames: AtomicU64,
    /// What was not expected.
    odd: Mutex<Vec<Mail>>,
}

impl Counting {
    fn take(&self, mail: Mail) {
        match mail {
            Mail::Several(several) => several.into_iter().for_each(|mail| self.take(mail)),
            Mail::Reply { .. } | Mail::Broadcast { .. } => _ = self.frames.fetch_add(1, Relaxed),
            Mail::Deliver(deliver) => _ = self.frames.fetch_add(deliver.to.len() as u64, Relaxed),
            Mail::Close { .. } => self.odd.lock().expect("nobody panics").push(mail),
            _ => {}
        }
    }
}

impl Sink<Event> for Counting {
    fn reserve(&self, _: u32) -> bool {
        true
    }
    fn give_back(&self, _: u32) {}
    fn push(&self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            if let Event::Mail(mail) = event {
                self.take(mail);
            }
        }
    }
    fn on_room(&self, _: Arc<dyn Fn() + Send + Sync>) {}
}

impl Post for Counting {
    fn post(&self, mail: Mail) {
        self.take(mail);
    }
}

struct Chat {
    sim: Sim<Event>,
    pipeline: Pipeline<Event>,
    net: Arc<Counting>,
    store: Arc<ModelStore>,
    world: Arc<World>,
    /// Who sends, and where to.
    senders: Vec<(ConnId, String, ConvId)>,
}

fn conn(slot: u32) -> ConnId {
    ConnId::new(0, 0, slot, 1)
}

impl Chat {
    fn new() -> Chat {
        let sim = Sim::new(1);
        let env = sim.env();
        let clock: Arc<dyn Fn() -> Millis + Send + Sync> = Arc::new({
            let env = env.clone();
            move || EPOCH + (env.now() / 1_000_000) as Millis
        });
        let store = Arc::new(ModelStore::new(ModelOptions { clock: clock.clone(), ..ModelOptions::default() }));
        let net = Arc::new(Counting::default());
        let random = AtomicU64::new(1);
        let world = World::new(Parts {
            apps: Apps::new(vec![given::app()]),
            directory: Arc::new(LocalDirectory::new()),
            store: store.clone(),
            hooks: Arc::new(given::Nobody),
            notifier: Arc::new(given::Nobody),
            post: net.clone(),
            clock,
            random: Arc::new(move || {
                let n = random.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
                (u128::from(n) << 64 | u128::from(n)).to_be_bytes()
            }),
            views: 64 * 64,
            crowd: 512,
            sessions_per_client: 10,
            sessions_per_connection: 10,
            sample: 0.01,
            slow: None,
            journeys: 1_000,
            tokens: Kept { nonces: 16, revoked: 16 },
            trace: 65_536,
        })
        .expect("the store in memory reads");
        let sinks = HashMap::from([("net".to_owned(), net.clone() as Arc<dyn Sink<Event>>)]);
        let watch = Arc::new(Watch(world.clone()));
        let pipeline = Pipeline::build(given::topology(), modules(&world), sinks, watch, &["decode"], env)
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        Chat { sim, pipeline, net, store, world, senders: Vec::new() }
    }

    fn of_pairs() -> Chat {
        let mut chat = Chat::new();
        for pair in 0..PAIRS {
            let (sender, receiver) = (format!("snd{pair}"), format!("rcv{pair}"));
            let cid = given::conversation(&*chat.store, pair as u8, Kind::Normal, &[&sender, &receiver]);
            chat.log_in(conn(2 * pair), &sender);
            chat.log_in(conn(2 * pair + 1), &receiver);
            chat.senders.push((conn(2 * pair), sender, cid));
        }
        chat.settle();
        chat
    }

    fn of_room() -> Chat {
        let mut chat = Chat::new();
        let cid = given::conversation(&*chat.store, 1, Kind::Room, &[]);
        for guest in 0..PAIRS {
            let name = format!("guest{guest}");
            chat.log_in(conn(guest), &name);
            chat.settle();
            let body = ConvCommand { cid: Some(cid.to_string()), m: vec![name.clone()], ..Default::default() };
            let conv_message = Some(Box::new(body));
            let command = GenericCommand { conv_message, ..envelope(CommandType::Conv, Some(OpType::Add)) };
            chat.say(conn(guest), &name, command);
            chat.senders.push((conn(guest), name, cid));
        }
        chat.settle();
        chat
    }

    fn arrives(&self, conn: ConnId, what: Arrival) {
        self.pipeline.door("decode").offer_always(Event::Arrived(Arrived { conn, what }));
    }

    fn say(&self, conn: ConnId, peer: &str, command: GenericCommand) {
        let command = GenericCommand { peer_id: Some(peer.to_owned()), i: Some(1), ..command };
        let bytes = Bytes::from(command.encode_to_vec());
        self.arrives(conn, Arrival::Frame { bytes, received_ns: 1, held: None, journey: None });
    }

    fn log_in(&self, conn: ConnId, peer: &str) {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.arrives(conn, Arrival::Opened(Origin { ip, web: None, offline_pushed: false }));
        let session_message = Some(Box::new(SessionCommand::default()));
        let app_id = Some("app".into());
        let open = GenericCommand { app_id, session_message, ..envelope(CommandType::Session, Some(OpType::Open)) };
        self.say(conn, peer, open);
    }

    /// So many more clients on the connections of those who talk, put where their log-ins would have put them.
    fn idle(&self, clients: u32) {
        for client in 0..clients {
            let (conn, name) = (conn(client % (2 * PAIRS)), ClientId::from(format!("idle{client}")));
            let opened = self.world.connections.with(conn, |connection| connection.sessions.open(&name).0);
            assert_eq!(opened, Some(true), "a connection that talks");
            let token = u128::from(client).to_be_bytes();
            let entry = SessionEntry { conn, tag: None, device: None, token };
            self.world.directory.change(given::APP, &name, |sessions| sessions.push(entry));
        }
        assert_eq!(self.world.directory.count(), (clients + 2 * PAIRS) as usize);
    }

    /// Until everything that came has been worked off.
    fn settle(&mut self) {
        while !self.pipeline.quiet() {
            self.sim.step(&self.pipeline);
        }
    }

    /// `rounds` times, each sender has its messages outstanding and waits for them. Gives how many a round are.
    fn talk(mut self, rounds: u64, transient: bool, frames: u64) -> u64 {
        let commands: Vec<(ConnId, Bytes)> = self.senders.iter().map(|sender| message(sender, transient)).collect();
        let each = commands.len() as u64 * u64::from(OUTSTANDING);
        self.net.frames.store(0, Relaxed);
        for _ in 0..rounds {
            for _ in 0..OUTSTANDING {
                for (conn, bytes) in &commands {
                    let bytes = bytes.clone();
                    self.arrives(*conn, Arrival::Frame { bytes, received_ns: 1, held: None, journey: None });
                }
            }
            self.settle();
        }
        assert_eq!(self.net.frames.load(Relaxed), rounds * each * frames, "each message is answered and delivered");
        assert_eq!(self.net.odd.lock().expect("nobody panics").len(), 0, "nobody is closed");
        each
    }
}

fn envelope(cmd: CommandType, op: Option<OpType>) -> GenericCommand {
    GenericCommand { cmd: Some(cmd as i32), op: op.map(|op| op as i32), ..Default::default() }
}

fn message((conn, peer, cid): &(ConnId, String, ConvId), transient: bool) -> (ConnId, Bytes) {
    let body = DirectCommand {
        cid: Some(cid.to_string()),
        msg: Some("x".repeat(BODY).into()),
        transient: transient.then_some(true),
        ..Default::default()
    };
    let direct_message = Some(body);
    let command = GenericCommand { direct_message, ..envelope(CommandType::Direct, None) };
    let command = GenericCommand { peer_id: Some(peer.clone()), i: Some(1), ..command };
    (*conn, Bytes::from(command.encode_to_vec()))
}
