//! One batch on its way to the disk: the changes so far, and the state that they add up to.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::{FixedState, RandomState};
use tidegate_domain::conversation::Conversation;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};
use tidegate_domain::reply::Answer;
use tidegate_store::{Change, Marks, StoreError};

use super::newest::Newest;
use super::truth::{Hot, Truth};
use crate::event::{Ask, Delivery, Marked, Memory, Operation};
use crate::shared::World;

/// What one operation comes to, if the batch is committed.
pub struct Outcome {
    pub answer: Option<Answer>,
    /// Whether it is part of the commit, and fails with it.
    pub durable: bool,
    pub delivery: Option<Box<Delivery>>,
    /// A room that the asker made, and is in from now on.
    pub join: Option<ConvId>,
    /// What read is to count and tell of.
    pub marked: Vec<Marked>,
}

impl Outcome {
    /// An answer alone, true whatever becomes of the batch.
    pub fn answer(answer: impl Into<Option<Answer>>) -> Self {
        Outcome { answer: answer.into(), durable: false, delivery: None, join: None, marked: Vec::new() }
    }

    pub fn failed(failure: impl Into<Failure>) -> Self {
        Outcome::answer(Answer::Failed(failure.into()))
    }

    pub fn durable(answer: impl Into<Option<Answer>>, delivery: Option<Delivery>) -> Self {
        Outcome { durable: true, delivery: delivery.map(Box::new), ..Outcome::answer(answer) }
    }
}

/// A sender's token for a message, as dedupe knows it.
type Token = (AppId, ConvId, ClientId, Box<str>);

pub struct Draft<'a> {
    pub world: &'a World,
    truth: &'a Truth,
    pub now: Millis,
    pub changes: Vec<Change>,
    // Published in its order: which conversations the caches drop does not depend on chance. A batch is small, so that it
    // does not matter who knows how it is hashed.
    hot: HashMap<(AppId, ConvId), Hot, FixedState>,
    /// Made or met in this batch.
    pub unique: HashMap<(AppId, [u8; 16]), ConvId, RandomState>,
    pub sent: HashMap<Token, (MessageId, Millis), RandomState>,
    pub marks: HashMap<(AppId, ConvId, ClientId), Marks, RandomState>,
}

impl<'a> Draft<'a> {
    pub fn new(world: &'a World, truth: &'a Truth) -> Self {
        Draft {
            world,
            truth,
            now: world.now(),
            changes: Vec::new(),
            hot: HashMap::default(),
            unique: HashMap::default(),
            sent: HashMap::default(),
            marks: HashMap::default(),
        }
    }

    pub fn apply(&mut self, ask: &Ask, operation: Operation) -> Result<Outcome, StoreError> {
        // What rests on an earlier operation of this batch is only as true as the batch.
        let rests = operation.conversation().is_some_and(|cid| self.hot.contains_key(&(ask.app, cid)));
        let mut outcome = self.apply_one(ask, operation)?;
        outcome.durable |= rests;
        Ok(outcome)
    }

    fn apply_one(&mut self, ask: &Ask, operation: Operation) -> Result<Outcome, StoreError> {
        match operation {
            Operation::Start { cid, start } => self.start(ask, cid, &start),
            Operation::Add { cid, members } => self.add(ask, cid, &members),
            Operation::Remove { cid, members } => self.remove(ask, cid, &members),
            Operation::Update { cid, attr, is_joined } => self.update(ask, cid, attr.as_deref(), is_joined),
            Operation::Mute { cid, on } => self.mute(ask, cid, on),
            Operation::Append { send, to, going } => self.append(ask, send, to, going),
            Operation::Read(marks) => self.read(ask, marks),
            Operation::Delivered(delivered) => self.delivered(ask, &delivered),
            Operation::Remember(memory) => {
                self.changes.push(match memory {
                    Memory::Nonce { nonce, until } => Change::Nonce { app: ask.app, nonce, until },
                    Memory::Revoked { token, until } => Change::Revoked { token, until },
                });
                Ok(Outcome::durable(None, None))
            }
        }
    }

    /// The conversation as of this batch.
    pub fn hot(&mut self, app: AppId, cid: ConvId) -> Result<Option<Hot>, StoreError> {
        if let Some(hot) = self.hot.get(&(app, cid)) {
            return Ok(Some(hot.clone()));
        }
        self.truth.get(app, cid)
    }

    /// Its new state; to be published once it is committed.
    pub fn set(&mut self, app: AppId, hot: Hot) {
        self.hot.insert((app, hot.conversation.id), hot);
    }

    /// A changed conversation: its record goes into the commit.
    pub fn change(
        &mut self,
        ask: &Ask,
        record: Conversation,
        newest: Newest,
        came: Vec<ClientId>,
        went: Vec<ClientId>,
    ) -> Arc<Conversation> {
        let conversation = Arc::new(record.clone());
        self.changes.push(Change::Conversation { app: ask.app, record, came, went });
        self.set(ask.app, Hot { conversation: conversation.clone(), newest });
        conversation
    }

    /// Writes it all, then publishes it.
    pub fn commit(self) -> Result<(), StoreError> {
        if !self.changes.is_empty() {
            self.world.store.commit(&self.changes)?;
        }
        for ((app, cid), hot) in self.hot {
            self.world.views.put(app, hot.conversation.clone());
            self.truth.put(app, cid, hot);
        }
        Ok(())
    }
}

/// For an operation on a conversation that is not there.
pub fn not_found() -> Outcome {
    Outcome::failed(Code::ConversationNotFound)
}
