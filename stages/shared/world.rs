//! Everything that is shared by the stages, made once by the composition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_domain::directory::{Directory, SessionEntry};
use tidegate_domain::hook::{Hooks, Notifier};
use tidegate_domain::ids::{AppId, ClientId, ConnId, ConvId, MessageId, Millis};
use tidegate_store::{Store, StoreError};

use super::apps::Apps;
use super::connections::Connections;
use super::crowds::Crowds;
use super::days::Days;
use super::journeys::Journeys;
use super::rooms::Rooms;
use super::tape::Tape;
use super::tokens::{Kept, Tokens};
use super::traces::Traces;
use super::views::Views;
use crate::mail::{Mail, Recipient};
use crate::supervisor::Post;

/// Wall clock, in milliseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;
/// Sixteen random bytes.
pub type Random = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

pub struct World {
    pub apps: Apps,
    pub connections: Connections,
    pub directory: Arc<dyn Directory>,
    pub views: Views,
    pub rooms: Rooms,
    pub crowds: Arc<Crowds>,
    pub days: Days,
    pub tokens: Tokens,
    pub journeys: Journeys,
    pub traces: Traces,
    pub tape: Tape,
    pub store: Arc<dyn Store>,
    pub hooks: Arc<dyn Hooks>,
    pub notifier: Arc<dyn Notifier>,
    pub sessions_per_client: usize,
    pub sessions_per_connection: usize,
    /// For the few answers that no stage's turn gives.
    pub post: Arc<dyn Post>,
    clock: Clock,
    random: Random,
    start: u32,
    messages: AtomicU64,
}

/// What a world is made of.
pub struct Parts {
    pub apps: Apps,
    pub directory: Arc<dyn Directory>,
    pub store: Arc<dyn Store>,
    pub hooks: Arc<dyn Hooks>,
    pub notifier: Arc<dyn Notifier>,
    pub post: Arc<dyn Post>,
    pub clock: Clock,
    pub random: Random,
    /// Conversations cached.
    pub views: usize,
    /// Messages on their way at once, of one conversation of many: an eighth of a mailbox, say.
    pub crowd: usize,
    pub sessions_per_client: usize,
    pub sessions_per_connection: usize,
    /// Share of messages whose journey is kept.
    pub sample: f64,
    /// Messages that take longer are kept as well.
    pub slow: Option<Duration>,
    /// Journeys kept.
    pub journeys: usize,
    /// Nonces and revocations kept.
    pub tokens: Kept,
    /// Steps kept of what happened lately.
    pub trace: usize,
}

impl World {
    /// Reads what the store remembers of tokens and nonces.
    pub fn new(parts: Parts) -> Result<Arc<World>, StoreError> {
        let tokens = Tokens::new(parts.store.seal_key(), parts.tokens, parts.store.revoked()?, parts.store.nonces()?);
        Ok(Arc::new(World {
            days: Days::new(parts.apps.all().len()),
            apps: parts.apps,
            connections: Connections::default(),
            directory: parts.directory,
            views: Views::new(parts.views),
            rooms: Rooms::default(),
            crowds: Crowds::new(parts.crowd),
            tokens,
            journeys: Journeys::new(parts.sample, parts.slow, parts.journeys, (parts.random)()),
            traces: Traces::new(parts.trace),
            tape: Tape::default(),
            start: parts.store.start(),
            store: parts.store,
            hooks: parts.hooks,
            notifier: parts.notifier,
            sessions_per_client: parts.sessions_per_client,
            sessions_per_connection: parts.sessions_per_connection,
            post: parts.post,
            clock: parts.clock,
            random: parts.random,
            messages: AtomicU64::new(0),
        }))
    }

    pub fn now(&self) -> Millis {
        (self.clock)()
    }

    pub fn random(&self) -> [u8; 16] {
        (self.random)()
    }

    /// A new message's id: unique over restarts, because each start of the store has its number.
    pub fn message_id(&self, at: Millis) -> MessageId {
        MessageId::new(at, self.start, self.messages.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a session into a chat room: what the reactors are to be told. `None`: the session has ended meanwhile, and is
    /// in no room.
    pub fn enter_room(&self, app: AppId, cid: ConvId, session: &Recipient) -> Option<Vec<Mail>> {
        let (group, left) = self.rooms.join(app, cid, session);
        if !self.connections.is_open(session.conn, &session.client) {
            self.rooms.leave(app, cid, session);
            return None;
        }
        let left = left.map(|left| Mail::Leave { group: left.group, member: session.clone() });
        Some(left.into_iter().chain([Mail::Join { group, member: session.clone() }]).collect())
    }

    /// Ends the sessions of a connection that is gone, saying each. Its app, if it ever had one and was there still.
    /// `comes_back`: the clients may be back soon.
    pub fn forget(&self, conn: ConnId, comes_back: Option<Millis>, mut ended: impl FnMut(&ClientId)) -> Option<AppId> {
        let connection = self.connections.closed(conn)?;
        let app = connection.app?;
        self.days.disconnected(app);
        for client in connection.sessions.into_clients() {
            self.directory.change(app, &client, |sessions| sessions.retain(|entry| entry.conn != conn));
            ended(&client);
            self.rooms.gone(app, &Recipient { conn, client }, comes_back);
        }
        Some(app)
    }

    /// Where the members of a conversation are, as far as it is in the cache. Nobody, of a chat room.
    pub fn member_connections(&self, app: AppId, cid: ConvId) -> Vec<ConnId> {
        let mut conns = Vec::new();
        let Some(conversation) = self.views.get(app, cid) else { return conns };
        for member in &conversation.members {
            let connections = |sessions: &[SessionEntry]| conns.extend(sessions.iter().map(|session| session.conn));
            self.directory.with(app, &member.client, connections);
        }
        conns
    }

    /// The sessions of these clients, `except` one; who has none goes into `offline`.
    pub fn sessions_of<'a>(
        &self,
        app: AppId,
        clients: impl IntoIterator<Item = &'a ClientId>,
        except: Option<&Recipient>,
        offline: &mut Vec<ClientId>,
    ) -> Vec<Recipient> {
        let mut to = Vec::new();
        for client in clients {
            self.directory.with(app, client, |sessions| {
                let session = |conn| Recipient { conn, client: client.clone() };
                to.extend(sessions.iter().map(|entry| session(entry.conn)).filter(|one| Some(one) != except));
                if sessions.is_empty() {
                    offline.push(client.clone());
                }
            });
        }
        to
    }

    /// Tells the reactors of a session's end, when all that it asked for is done. What was under way may have put it into
    /// a room's group; but the client may be back on the same connection by now, in a room that it must stay in.
    pub fn tell_end(&self, session: Recipient) {
        let conn = session.conn;
        // Posted before anybody can enter another room: a later join comes after it.
        self.rooms.with_group_of(&session, |but| self.post.post(Mail::LeaveAll { member: session.clone(), but }));
        self.post.post(Mail::Gone { conn, still: self.connections.any_session(conn) });
    }

    pub fn conversation_id(&self) -> ConvId {
        let random = self.random();
        let mut id = [0; 12];
        id.copy_from_slice(&random[..12]);
        ConvId::Object(id)
    }
}

/// One number for things that share a lane.
pub fn key_of(value: impl std::hash::Hash) -> u64 {
    std::hash::BuildHasher::hash_one(&foldhash::fast::FixedState::with_seed(11), value)
}
