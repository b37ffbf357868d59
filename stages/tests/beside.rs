//! What waits for cold pages of history holds up nobody's commit. Real threads, over a store whose pages can be stalled.

#[path = "common/given.rs"]
mod given;
#[allow(dead_code)]
#[path = "simulated/say.rs"]
mod say;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tidegate_domain::command::{Body, Mentions};
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::day::{Day, Figures};
use tidegate_domain::directory::LocalDirectory;
use tidegate_domain::ids::{AppId, ClientId, ConnId, ConvId, MessageId, Millis};
use tidegate_engine::{Env, Pipeline, Sink};
use tidegate_protocol::wire::GenericCommand;
use tidegate_stages::catalogue::modules;
use tidegate_stages::event::{Arrival, Arrived, Event, Origin};
use tidegate_stages::mail::Mail;
use tidegate_stages::shared::apps::Apps;
use tidegate_stages::shared::tokens::Kept;
use tidegate_stages::shared::world::{Parts, World};
use tidegate_stages::supervisor::{Post, Watch};
use tidegate_store::model::{ModelOptions, ModelStore};
use tidegate_store::{Change, Marks, Page, Store, StoreError, Stored, UnreadCount};

use given::{APP, EPOCH};

const PATIENCE: Duration = Duration::from_secs(60);

/// Pages and counts wait while it is cold; all else is as quick as ever.
struct Cold {
    store: ModelStore,
    cold: Mutex<bool>,
    thawed: Condvar,
    waiting: AtomicU64,
}

impl Cold {
    fn wait(&self) {
        self.waiting.fetch_add(1, SeqCst);
        let cold = self.cold.lock().unwrap();
        drop(self.thawed.wait_while(cold, |cold| *cold).unwrap());
        self.waiting.fetch_sub(1, SeqCst);
    }

    fn set(&self, cold: bool) {
        *self.cold.lock().unwrap() = cold;
        self.thawed.notify_all();
    }
}

impl Store for Cold {
    fn page(&self, app: AppId, cid: ConvId, page: &Page) -> Result<Vec<Stored>, StoreError> {
        self.wait();
        self.store.page(app, cid, page)
    }
    fn unread(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        after: Millis,
        cap: usize,
    ) -> Result<UnreadCount, StoreError> {
        self.wait();
        self.store.unread(app, cid, client, after, cap)
    }
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.store.commit(changes)
    }
    fn conversation(&self, app: AppId, cid: ConvId) -> Result<Option<Conversation>, StoreError> {
        self.store.conversation(app, cid)
    }
    fn unique(&self, app: AppId, unique_id: [u8; 16]) -> Result<Option<ConvId>, StoreError> {
        self.store.unique(app, unique_id)
    }
    fn conversations_of(&self, app: AppId, client: &str, limit: usize) -> Result<Vec<ConvId>, StoreError> {
        self.store.conversations_of(app, client, limit)
    }
    fn scan(&self, app: AppId, after: Option<ConvId>, limit: usize) -> Result<Vec<Conversation>, StoreError> {
        self.store.scan(app, after, limit)
    }
    fn last(&self, app: AppId, cid: ConvId) -> Result<Option<Stored>, StoreError> {
        self.store.last(app, cid)
    }
    fn resent(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        dedupe: &str,
    ) -> Result<Option<(MessageId, Millis)>, StoreError> {
        self.store.resent(app, cid, client, dedupe)
    }
    fn marks(&self, app: AppId, cid: ConvId, client: &str) -> Result<Marks, StoreError> {
        self.store.marks(app, cid, client)
    }
    fn all_marks(&self, app: AppId, cid: ConvId) -> Result<Vec<(ClientId, Marks)>, StoreError> {
        self.store.all_marks(app, cid)
    }
    fn nonces(&self) -> Result<Vec<(AppId, Box<str>, Millis)>, StoreError> {
        self.store.nonces()
    }
    fn revoked(&self) -> Result<Vec<([u8; 16], Millis)>, StoreError> {
        self.store.revoked()
    }
    fn days(&self, oldest: Day) -> Result<Vec<(AppId, Day, Figures)>, StoreError> {
        self.store.days(oldest)
    }
    fn start(&self) -> u32 {
        self.store.start()
    }
    fn seal_key(&self) -> [u8; 32] {
        self.store.seal_key()
    }
    fn trouble(&self) -> Option<String> {
        self.store.trouble()
    }
}

/// Everything that was sent to anybody, in order.
#[derive(Default)]
struct Sockets(Mutex<Vec<(ConnId, GenericCommand)>>);

impl Sockets {
    fn take(&self, mail: Mail) {
        let got = |conn, frame: &Bytes| {
            let command = GenericCommand::decode(&frame[..]).expect("the server's frames are well formed");
            self.0.lock().unwrap().push((conn, command));
        };
        match mail {
            Mail::Several(several) => several.into_iter().for_each(|mail| self.take(mail)),
            Mail::Reply { conn, frame, .. } => got(conn, &frame),
            Mail::Deliver(deliver) => deliver.to.iter().for_each(|to| got(to.conn, &deliver.frame)),
            Mail::Lift(lift) => lift.first.iter().for_each(|frame| got(lift.session.conn, frame)),
            _ => {}
        }
    }
}

impl Sink<Event> for Sockets {
    fn reserve(&self, _: u32) -> bool {
        true
    }
    fn give_back(&self, _: u32) {}
    fn push(&self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            let Event::Mail(mail) = event else { panic!("only mail goes to the sockets: {event:?}") };
            self.take(mail);
        }
    }
    fn on_room(&self, _: Arc<dyn Fn() + Send + Sync>) {}
}

impl Post for Sockets {
    fn post(&self, mail: Mail) {
        self.take(mail);
    }
}

struct Server {
    store: Arc<Cold>,
    sockets: Arc<Sockets>,
    pipeline: Pipeline<Event>,
}

impl Server {
    /// One worker a stage: whatever waits inside one, all behind it waits.
    fn start() -> Server {
        let now = AtomicI64::new(EPOCH);
        let clock: Arc<dyn Fn() -> Millis + Send + Sync> = Arc::new(move || now.fetch_add(1, SeqCst));
        let store = ModelStore::new(ModelOptions { clock: clock.clone(), ..ModelOptions::default() });
        let store =
            Arc::new(Cold { store, cold: Mutex::new(false), thawed: Condvar::new(), waiting: AtomicU64::new(0) });
        let sockets = Arc::new(Sockets::default());
        let random = AtomicU64::new(1);
        let world = World::new(Parts {
            apps: Apps::new(vec![given::app()]),
            directory: Arc::new(LocalDirectory::new()),
            store: store.clone(),
            hooks: Arc::new(given::Nobody),
            notifier: Arc::new(given::Nobody),
            post: sockets.clone(),
            clock,
            random: Arc::new(move || u128::from(random.fetch_add(1, SeqCst)).to_be_bytes()),
            views: 64,
            crowd: 512,
            sessions_per_client: 10,
            sessions_per_connection: 10,
            sample: 0.0,
            slow: None,
            journeys: 1,
            tokens: Kept { nonces: 16, revoked: 16 },
            trace: 0,
        })
        .expect("the store in memory reads");
        let sinks = HashMap::from([("net".to_owned(), sockets.clone() as Arc<dyn Sink<Event>>)]);
        let watch = Arc::new(Watch(world.clone()));
        let pipeline = Pipeline::build(given::topology(), modules(&world), sinks, watch, &["decode"], Env::real())
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        pipeline.start().expect("threads start");
        Server { store, sockets, pipeline }
    }

    fn say(&self, conn: ConnId, peer: &str, i: Option<i32>, mut command: GenericCommand) {
        (command.i, command.peer_id) = (i, Some(peer.to_owned()));
        let bytes = Bytes::from(command.encode_to_vec());
        let what = Arrival::Frame { bytes, received_ns: 0, held: None, journey: None };
        self.pipeline.door("decode").offer_always(Event::Arrived(Arrived { conn, what }));
    }

    fn log_in(&self, slot: u32, peer: &str) -> ConnId {
        let conn = ConnId::new(0, 0, slot, 1);
        let origin = Origin { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), web: None, offline_pushed: false };
        self.pipeline.door("decode").offer_always(Event::Arrived(Arrived { conn, what: Arrival::Opened(origin) }));
        self.say(conn, peer, Some(1), say::open());
        self.gets(conn, "its session", |command| say::is_opened(command).then_some(()));
        conn
    }

    /// Waits for what a connection is to get.
    fn gets<T>(&self, conn: ConnId, what: &str, found: impl Fn(&GenericCommand) -> Option<T>) -> T {
        let mine = || {
            let all = self.sockets.0.lock().unwrap();
            all.iter().filter(|(to, _)| *to == conn).find_map(|(_, command)| found(command))
        };
        eventually(what, mine)
    }

    fn receipt(&self, conn: ConnId, mid: &str, read: bool) {
        let what = if read { "a receipt of reading" } else { "a receipt of arrival" };
        self.gets(conn, what, |command| {
            let receipt = command.rcp_message.as_ref()?;
            (receipt.id.as_deref() == Some(mid) && receipt.read == read.then_some(true)).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.store.set(false);
        self.pipeline.stop();
    }
}

fn eventually<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A conversation that has one message of Tom's, wanting a receipt; persist has never seen it.
fn with_a_message(store: &Cold) -> (ConvId, MessageId) {
    let cid = given::conversation(store, 1, Kind::Normal, &["tom", "jerry"]);
    let message = Stored {
        mid: MessageId::new(EPOCH, 0, 1),
        from: "tom".into(),
        at: EPOCH,
        body: Body::Text("old".into()),
        receipt: true,
        mentions: Mentions::default(),
        patched_at: None,
    };
    let mid = message.mid;
    store.commit(&[Change::Message { app: APP, cid, message, dedupe: None }]).expect("it is kept");
    (cid, mid)
}

#[test]
fn a_cold_page_delays_no_acknowledgement() {
    let server = Server::start();
    let (cid, old) = with_a_message(&server.store);
    let (tom, jerry) = (server.log_in(1, "tom"), server.log_in(2, "jerry"));
    server.gets(jerry, "what is unread", |command| command.unread_message.as_ref().map(|_| ()));

    // Jerry has got and read the old message: who is to hear of it is on cold pages.
    server.store.set(true);
    server.say(jerry, "jerry", None, say::ack(&cid.to_string(), &old.to_string()));
    server.say(jerry, "jerry", None, say::read(&cid.to_string(), &old.to_string(), EPOCH));
    eventually("a page that is waited for", || (server.store.waiting.load(SeqCst) > 0).then_some(()));
    eventually("Jerry's mark", || server.store.marks(APP, cid, "jerry").unwrap().read);

    // Meanwhile Tom's messages are acknowledged, and what arrives just now has its receipt.
    let mut newest = None;
    for i in 2..30 {
        server.say(tom, "tom", Some(i), say::message(cid, "new", None, false));
        let (mid, _) = server.gets(tom, "an acknowledgement", |command| {
            (command.i == Some(i)).then(|| say::sent(command).expect("it is taken"))
        });
        server.say(jerry, "jerry", None, say::ack(&cid.to_string(), &mid));
        server.receipt(tom, &mid, false);
        newest = Some(mid);
    }
    assert!(server.store.waiting.load(SeqCst) > 0, "the page is still waited for");

    // Then all is told: what is unread now are Tom's 28, and Tom has his receipts.
    server.store.set(false);
    server.receipt(tom, &old.to_string(), false);
    server.receipt(tom, &old.to_string(), true);
    let newest = newest.expect("some were sent");
    server.gets(jerry, "the new count", |command| {
        let unread = command.unread_message.as_ref()?.convs.iter().find(|tuple| tuple.cid == cid.to_string())?;
        (unread.unread == 28 && unread.mid.as_ref() == Some(&newest)).then_some(())
    });
}
