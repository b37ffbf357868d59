//! Route: what may this command do, and where does it go.
//!
//! Checks membership and rules on its cached view of the conversation and refuses early; never touches the disk: a
//! conversation that is not cached is asked of read while its followers wait. It alone feeds persist, so that all that
//! happens to one conversation happens in one order, with or without a hook's verdict on the way. Keyed by conversation.

mod message;
mod room;
mod will;

use std::sync::Arc;
use std::time::Duration;

use tidegate_domain::command::{Command, Start};
use tidegate_domain::conversation::{Conversation, Kind, unique_id_of};
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{AppId, ClientId, ConvId};
use tidegate_domain::reply::Answer;
use tidegate_engine::{Batch, Item, Late, Module, Output, OutputKind, Stage};

use crate::event::{Ask, Event, Operation, Reading, Task, Work, Write};
use crate::shared::traces::Step;
use crate::shared::twins::Twins;
use crate::shared::world::key_of;
use crate::shared::{World, journeys, reply};

// First, so that an answer is with the reactors before what it causes.
const NET: usize = 0;
const DURABLE: usize = 1;
const TRANSIENT: usize = 2;
const BEFORE: usize = 3;
const LOOKUP: usize = 4;
pub(crate) const OUTPUTS: &[Output] = &[
    // An answer, and a room joined and another left.
    Output { name: "net", kind: OutputKind::Sink("net"), most: 3 },
    Output { name: "durable", kind: OutputKind::Stage, most: 1 },
    Output { name: "transient", kind: OutputKind::Stage, most: 1 },
    Output { name: "before", kind: OutputKind::OptionalSide, most: 1 },
    Output { name: "lookup", kind: OutputKind::Side, most: 1 },
];

/// How long a command waits for a conversation that is not in the cache.
const LOAD_TIME: Duration = Duration::from_secs(5);

pub struct Route {
    world: Arc<World>,
    twins: Arc<Twins>,
}

impl Route {
    pub fn new(world: Arc<World>) -> Self {
        Route { world, twins: Arc::default() }
    }
}

impl Module<Event> for Route {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn one_by_one(&self) -> bool {
        true
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Task(task) => lane_of(task),
            _ => 0,
        }
    }

    fn worker(&self) -> Box<dyn Stage<Event>> {
        Box::new(Worker { world: self.world.clone(), twins: self.twins.clone() })
    }
}

/// What a task must keep its order with: its conversation, or else its client.
fn lane_of(task: &Task) -> u64 {
    let (app, client) = (task.ask.app, &task.ask.client);
    match &task.what {
        Work::Start { start, cid } => lane_of_start(app, client, start, *cid),
        Work::Message(message) => key_of((app, message.conversation.id)),
        Work::Will(will) => key_of((app, will.send.cid)),
        Work::Command(command) => match conversation_of(command) {
            Some(cid) => key_of((app, cid)),
            None => key_of((app, client)),
        },
        Work::Snapshot(_) | Work::Remember(_) => key_of((app, client)),
    }
}

/// The starts of one unique conversation meet in one lane.
fn lane_of_start(app: AppId, client: &ClientId, start: &Start, cid: ConvId) -> u64 {
    match unique_id_of(start, client) {
        Some(unique) => key_of((app, unique)),
        None => key_of((app, cid)),
    }
}

/// The conversation that must be known to act on a command.
fn conversation_of(command: &Command) -> Option<ConvId> {
    match command {
        Command::Send(send) => Some(send.cid),
        Command::Add(change) | Command::Remove(change) => Some(change.cid),
        Command::Logs(logs) => Some(logs.cid),
        Command::Update { cid, .. }
        | Command::Mute { cid, .. }
        | Command::Count { cid }
        | Command::Members { cid, .. }
        | Command::MaxRead { cid, .. } => Some(*cid),
        _ => None,
    }
}

struct Worker {
    world: Arc<World>,
    twins: Arc<Twins>,
}

impl Stage<Event> for Worker {
    fn run(&mut self, batch: &mut Batch<'_, Event>) {
        while let Some(item) = batch.next() {
            match item {
                Item::New(Event::Task(task)) => self.take(task, batch),
                Item::Resumed(Event::Task(task), answer) => self.resume(task, answer, batch),
                Item::New(_) | Item::Resumed(..) => {}
            }
        }
    }
}

impl Worker {
    fn take(&self, task: Box<Task>, batch: &mut Batch<'_, Event>) {
        let Task { ask, what } = *task;
        match what {
            Work::Start { start, cid } => self.write(ask, Operation::Start { cid, start }, batch),
            Work::Remember(memory) => self.write(ask, Operation::Remember(memory), batch),
            Work::Snapshot(snapshot) => {
                batch.emit(LOOKUP, Event::Reading(Box::new(Reading::Snapshot { ask, snapshot })));
            }
            // Only ever held, never new.
            Work::Message(message) => self.accept(ask, *message, batch),
            Work::Will(will) => self.will(ask, will, batch),
            Work::Command(command) => match conversation_of(&command) {
                None => self.without_conversation(ask, command, batch),
                Some(ConvId::Nowhere) => self.refuse(&ask, &command, not_found(&command), batch),
                Some(cid) => match self.world.views.get(ask.app, cid) {
                    Some(conversation) => self.act(ask, command, conversation, batch),
                    None => self.load(ask, Work::Command(command), cid, batch),
                },
            },
        }
    }

    /// Waits, with all that follows it in its conversation, for read to bring the conversation.
    fn load(&self, ask: Ask, what: Work, cid: ConvId, batch: &mut Batch<'_, Event>) {
        let (app, journey) = (ask.app, ask.journey.clone());
        let task = Event::Task(Box::new(Task { ask, what }));
        let ticket = batch.hold(task, LOAD_TIME);
        batch.emit(LOOKUP, Event::Reading(Box::new(Reading::Load { app, cid, ticket, journey })));
    }

    fn resume(&self, task: Box<Task>, answer: Result<crate::event::Answer, Late>, batch: &mut Batch<'_, Event>) {
        use crate::event::Answer as Brought;
        let Task { ask, what } = *task;
        match (what, answer) {
            (Work::Message(message), answer) => self.judged(ask, *message, answer, batch),
            (Work::Will(will), Ok(Brought::Loaded(Some(conversation)))) => {
                self.send_will(&ask, *will, conversation, batch);
            }
            (Work::Will(will), Ok(Brought::Loaded(None))) => {
                self.will_is_void(&ask, &will, Code::InvalidTarget.number());
            }
            (Work::Will(will), _) => self.will_is_void(&ask, &will, Code::Internal.number()),
            (Work::Command(command), Ok(Brought::Loaded(Some(conversation)))) => {
                self.act(ask, command, conversation, batch);
            }
            (Work::Command(command), Ok(Brought::Loaded(None))) => {
                self.refuse(&ask, &command, not_found(&command), batch);
            }
            (Work::Command(command), Err(Late::Refused)) => {
                let failure = Failure::because(Code::Overloaded, "too busy to look up the conversation: try again");
                self.refuse(&ask, &command, failure, batch);
            }
            (Work::Command(command), _) => {
                let failure = Failure::because(Code::Internal, "the conversation could not be read");
                self.refuse(&ask, &command, failure, batch);
            }
            // Nothing else is ever held.
            _ => {}
        }
    }

    fn without_conversation(&self, ask: Ask, command: Command, batch: &mut Batch<'_, Event>) {
        let reading = match command {
            Command::Query(query) => Reading::Query { ask, query: Box::new(query) },
            Command::IsMember { cids } => Reading::IsMember { ask, cids },
            Command::Read(marks) => return self.write(ask, Operation::Read(marks), batch),
            Command::Delivered(delivered) => return self.write(ask, Operation::Delivered(delivered), batch),
            command => {
                let failure = Failure::because(Code::ConversationInternal, "this command is not offered here");
                return self.refuse(&ask, &command, failure, batch);
            }
        };
        batch.emit(LOOKUP, Event::Reading(Box::new(reading)));
    }

    /// The conversation is known: checks, and sends the command where it belongs.
    fn act(&self, ask: Ask, command: Command, conversation: Arc<Conversation>, batch: &mut Batch<'_, Event>) {
        let app = ask.app;
        match command {
            Command::Send(send) => self.send(ask, Box::new(send), conversation, batch),
            Command::Add(change) if conversation.kind == Kind::Room => {
                self.join(ask, change, &conversation, batch);
            }
            Command::Remove(change) if conversation.kind == Kind::Room => {
                self.leave(ask, change, &conversation, batch);
            }
            Command::Add(change) => {
                self.write(ask, Operation::Add { cid: change.cid, members: change.members }, batch);
            }
            Command::Remove(change) => {
                self.write(ask, Operation::Remove { cid: change.cid, members: change.members }, batch);
            }
            Command::Update { cid, attr } => {
                let is_joined = self.world.rooms.contains(app, cid, &ask.client);
                self.write(ask, Operation::Update { cid, attr, is_joined }, batch);
            }
            Command::Mute { cid, on } => self.write(ask, Operation::Mute { cid, on }, batch),
            Command::Count { cid } => {
                let count = match conversation.kind {
                    Kind::Room => self.world.rooms.count(app, cid),
                    _ => conversation.members.len(),
                };
                self.answer(&ask, &Answer::Count { cid, count: count as i32 }, batch);
            }
            Command::Members { cid, limit } => self.members(&ask, cid, limit, &conversation, batch),
            Command::Logs(logs) => match conversation.may_read_history(&ask.client) {
                Ok(()) => {
                    let reading = Reading::History { ask, logs, conversation };
                    batch.emit(LOOKUP, Event::Reading(Box::new(reading)));
                }
                Err(failure) => self.answer(&ask, &Answer::Failed(failure), batch),
            },
            Command::MaxRead { cid, all_members } => match conversation.has_member(&ask.client) {
                true => {
                    let reading = Reading::MaxRead { ask, cid, all_members, conversation };
                    batch.emit(LOOKUP, Event::Reading(Box::new(reading)));
                }
                false => self.answer(&ask, &Answer::Failed(Code::MembershipRequired.into()), batch),
            },
            // `conversation_of` names no conversation for any other.
            _ => {}
        }
    }

    fn write(&self, ask: Ask, operation: Operation, batch: &mut Batch<'_, Event>) {
        batch.emit(DURABLE, Event::Write(Box::new(Write { ask, operation })));
    }

    fn answer(&self, ask: &Ask, answer: &Answer, batch: &mut Batch<'_, Event>) {
        if let Some(event) = reply::answer(ask, self.world.now(), answer) {
            batch.emit(NET, event);
        }
    }

    fn refuse(&self, ask: &Ask, command: &Command, failure: Failure, batch: &mut Batch<'_, Event>) {
        match command {
            Command::Send(_) => self.not_sent(ask, failure, batch),
            _ => self.answer(ask, &Answer::Failed(failure), batch),
        }
    }

    fn not_sent(&self, ask: &Ask, failure: Failure, batch: &mut Batch<'_, Event>) {
        let at = self.world.now();
        let (mid, code) = (self.world.message_id(at), failure.code.number());
        self.world.traces.note(|| Step::new(at, "refused", "route").by(ask).message(mid).code(code));
        if let Some(journey) = &ask.journey {
            journeys::refused(journey, failure.code);
        }
        self.answer(ask, &Answer::NotSent { failure, mid, at }, batch);
    }
}

fn not_found(command: &Command) -> Failure {
    match command {
        Command::Send(_) => Code::InvalidTarget.into(),
        _ => Code::ConversationNotFound.into(),
    }
}

/// So that persist and route agree on what is one conversation's order.
pub(crate) fn lane_of_operation(app: AppId, ask: &Ask, operation: &Operation) -> u64 {
    match (operation, operation.conversation()) {
        (Operation::Start { start, cid }, _) => lane_of_start(app, &ask.client, start, *cid),
        (_, Some(cid)) => key_of((app, cid)),
        (_, None) => key_of((app, &ask.client)),
    }
}
