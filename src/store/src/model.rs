//! The whole `Store` in memory: for simulated runs, and as the plain thing that the store on disk is compared with.
//!
//! Holds maps under one mutex and nothing else; forgets everything when dropped. Can be told to fail as a broken disk
//! does. Must not grow features that a real store lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_domain::command::Direction;
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::day::{Day, Figures};
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};

use crate::key::Place;
use crate::{Change, Clock, Marks, Page, Store, StoreError, Stored, UnreadCount, unread, valid};

/// What a model store is told at its making.
#[derive(Clone)]
pub struct ModelOptions {
    pub clock: Clock,
    pub retention: Duration,
    pub dedupe_window: Duration,
    pub start: u32,
}

impl Default for ModelOptions {
    /// Time stands still at 0, so that nothing ever expires.
    fn default() -> Self {
        let long = Duration::from_secs(180 * 24 * 60 * 60);
        ModelOptions { clock: Arc::new(|| 0), retention: long, dedupe_window: long, start: 1 }
    }
}

pub struct ModelStore {
    options: ModelOptions,
    kept: Mutex<Kept>,
}

/// Whose, where, and the `dt`.
type Dedupe = (AppId, ConvId, ClientId, Box<str>);

#[derive(Default)]
struct Kept {
    conversations: BTreeMap<(AppId, ConvId), Conversation>,
    unique: BTreeMap<(AppId, [u8; 16]), ConvId>,
    members: BTreeSet<(AppId, ClientId, ConvId)>,
    messages: BTreeMap<(AppId, ConvId), BTreeMap<Place, Stored>>,
    sent: BTreeMap<Dedupe, (MessageId, Millis)>,
    marks: BTreeMap<(AppId, ConvId), BTreeMap<ClientId, Marks>>,
    nonces: BTreeMap<(AppId, Box<str>), Millis>,
    revoked: BTreeMap<[u8; 16], Millis>,
    days: BTreeMap<(AppId, Day), Figures>,
    commits: u64,
    /// How often it was opened again.
    opened: u32,
    /// How many more commits succeed; `None`: all.
    good: Option<u64>,
}

impl ModelStore {
    pub fn new(options: ModelOptions) -> Self {
        ModelStore { options, kept: Mutex::default() }
    }

    /// After `commits` more, every commit fails and changes nothing, until `mend`.
    pub fn fail_after(&self, commits: u64) {
        self.kept().good = Some(commits);
    }

    pub fn mend(&self) {
        self.kept().good = None;
    }

    /// As another process opens what this one left: all that was committed, and the next start's number.
    pub fn reopen(&self) {
        let mut kept = self.kept();
        kept.opened += 1;
        kept.good = None;
    }

    /// How many commits succeeded.
    pub fn commits(&self) -> u64 {
        self.kept().commits
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No code under this lock panics half-way through a change that another would then see.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        (self.options.clock)()
    }

    fn oldest(&self) -> Millis {
        crate::before(self.now(), self.options.retention)
    }
}

const BROKEN: &str = "the model was told to fail";

impl Store for ModelStore {
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        valid::check(changes)?;
        let mut kept = self.kept();
        match &mut kept.good {
            Some(0) => return Err(StoreError::Io(BROKEN.into())),
            Some(left) => *left -= 1,
            None => {}
        }
        kept.commits += 1;
        changes.iter().for_each(|change| kept.apply(change));
        Ok(())
    }

    fn conversation(&self, app: AppId, cid: ConvId) -> Result<Option<Conversation>, StoreError> {
        Ok(self.kept().conversations.get(&(app, cid)).cloned())
    }

    fn unique(&self, app: AppId, unique_id: [u8; 16]) -> Result<Option<ConvId>, StoreError> {
        Ok(self.kept().unique.get(&(app, unique_id)).copied())
    }

    fn conversations_of(&self, app: AppId, client: &str, limit: usize) -> Result<Vec<ConvId>, StoreError> {
        let kept = self.kept();
        let from = (app, ClientId::from(client), ConvId::Object([0; 12]));
        let own = kept.members.range(from..).take_while(|(a, c, _)| *a == app && &**c == client);
        Ok(own.map(|(_, _, cid)| *cid).take(limit).collect())
    }

    fn scan(&self, app: AppId, after: Option<ConvId>, limit: usize) -> Result<Vec<Conversation>, StoreError> {
        let kept = self.kept();
        let all = kept.conversations.range((app, ConvId::Object([0; 12]))..).take_while(|((a, _), _)| *a == app);
        let wanted = all.filter(|((_, cid), _)| after.is_none_or(|after| *cid > after));
        Ok(wanted.map(|(_, record)| record.clone()).take(limit).collect())
    }

    fn page(&self, app: AppId, cid: ConvId, page: &Page) -> Result<Vec<Stored>, StoreError> {
        let kept = self.kept();
        let (Some(history), Some(places)) = (kept.messages.get(&(app, cid)), page.places(self.oldest())) else {
            return Ok(Vec::new());
        };
        let range = history.range(places).map(|(_, message)| message.clone());
        Ok(match page.direction {
            Direction::New => range.take(page.limit).collect(),
            Direction::Old => {
                let mut newest: Vec<_> = range.rev().take(page.limit).collect();
                newest.reverse();
                newest
            }
        })
    }

    fn last(&self, app: AppId, cid: ConvId) -> Result<Option<Stored>, StoreError> {
        self.page(app, cid, &Page { start: None, end: None, direction: Direction::Old, limit: 1 })
            .map(|mut newest| newest.pop())
    }

    fn resent(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        dedupe: &str,
    ) -> Result<Option<(MessageId, Millis)>, StoreError> {
        let oldest = crate::before(self.now(), self.options.dedupe_window);
        let key = (app, cid, ClientId::from(client), Box::from(dedupe));
        Ok(self.kept().sent.get(&key).copied().filter(|(_, at)| *at >= oldest))
    }

    fn marks(&self, app: AppId, cid: ConvId, client: &str) -> Result<Marks, StoreError> {
        let kept = self.kept();
        Ok(kept.marks.get(&(app, cid)).and_then(|all| all.get(client)).cloned().unwrap_or_default())
    }

    fn all_marks(&self, app: AppId, cid: ConvId) -> Result<Vec<(ClientId, Marks)>, StoreError> {
        let kept = self.kept();
        let all = kept.marks.get(&(app, cid)).into_iter().flatten();
        Ok(all.map(|(client, marks)| (client.clone(), marks.clone())).collect())
    }

    fn unread(
        &self,
        app: AppId,
        cid: ConvId,
        client: &str,
        after: Millis,
        cap: usize,
    ) -> Result<UnreadCount, StoreError> {
        let (oldest, kept) = (self.oldest(), self.kept());
        let all = kept.messages.get(&(app, cid)).into_iter().flat_map(|history| history.values().rev());
        unread::count(all.take_while(|message| message.at >= oldest).cloned().map(Ok), client, after, cap)
    }

    fn nonces(&self) -> Result<Vec<(AppId, Box<str>, Millis)>, StoreError> {
        let now = self.now();
        let kept = self.kept();
        let valid = kept.nonces.iter().filter(|(_, until)| **until > now);
        Ok(valid.map(|((app, nonce), until)| (*app, nonce.clone(), *until)).collect())
    }

    fn revoked(&self) -> Result<Vec<([u8; 16], Millis)>, StoreError> {
        let now = self.now();
        let kept = self.kept();
        let valid = kept.revoked.iter().filter(|(_, until)| **until > now);
        Ok(valid.map(|(token, until)| (*token, *until)).collect())
    }

    fn days(&self, oldest: Day) -> Result<Vec<(AppId, Day, Figures)>, StoreError> {
        let kept = self.kept();
        let days = kept.days.iter().filter(|((_, day), _)| *day >= oldest);
        Ok(days.map(|((app, day), figures)| (*app, *day, figures.clone())).collect())
    }

    fn start(&self) -> u32 {
        self.options.start + self.kept().opened
    }

    fn seal_key(&self) -> [u8; 32] {
        [7; 32]
    }

    fn trouble(&self) -> Option<String> {
        (self.kept().good == Some(0)).then(|| BROKEN.into())
    }
}

impl Kept {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Conversation { app, record, came, went } => {
                self.conversations.insert((*app, record.id), record.clone());
                if matches!(record.kind, Kind::Normal | Kind::Temporary) {
                    self.members.extend(came.iter().map(|client| (*app, client.clone(), record.id)));
                }
                for client in went {
                    self.members.remove(&(*app, client.clone(), record.id));
                }
            }
            Change::Unique { app, unique_id, cid } => {
                self.unique.insert((*app, *unique_id), *cid);
            }
            Change::Message { app, cid, message, dedupe } => {
                if let Some(dt) = dedupe {
                    let key = (*app, *cid, message.from.clone(), dt.clone());
                    self.sent.insert(key, (message.mid, message.at));
                }
                let history = self.messages.entry((*app, *cid)).or_default();
                history.insert((message.at, message.mid), message.clone());
            }
            Change::Read { app, cid, client, mark } => self.marks(*app, *cid, client).move_read(*mark),
            Change::Delivered { app, cid, client, range } => self.marks(*app, *cid, client).add_delivered(*range),
            Change::Nonce { app, nonce, until } => {
                self.nonces.insert((*app, nonce.clone()), *until);
            }
            Change::Revoked { token, until } => {
                self.revoked.insert(*token, *until);
            }
            Change::Day { app, day, figures, oldest } => {
                self.days.insert((*app, *day), (**figures).clone());
                self.days.retain(|(of, day), _| of != app || day >= oldest);
            }
        }
    }

    fn marks(&mut self, app: AppId, cid: ConvId, client: &ClientId) -> &mut Marks {
        self.marks.entry((app, cid)).or_default().entry(client.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::command::{Body, Mentions};

    fn hello() -> [Change; 1] {
        let message = Stored {
            mid: MessageId([1; 16]),
            from: "ann".into(),
            at: 5,
            body: Body::Text("hello".into()),
            receipt: false,
            mentions: Mentions::default(),
            patched_at: None,
        };
        [Change::Message { app: AppId(0), cid: ConvId::Object([1; 12]), message, dedupe: None }]
    }

    #[test]
    fn it_fails_when_told_to_and_keeps_nothing_of_it() {
        let store = ModelStore::new(ModelOptions::default());
        store.fail_after(0);
        assert!(matches!(store.commit(&hello()), Err(StoreError::Io(_))));
        assert!(store.trouble().is_some());
        assert_eq!(store.last(AppId(0), ConvId::Object([1; 12])).unwrap(), None);
        store.mend();
        store.commit(&hello()).unwrap();
        assert_eq!((store.trouble(), store.commits()), (None, 1));
        assert!(store.last(AppId(0), ConvId::Object([1; 12])).unwrap().is_some());
    }
}
