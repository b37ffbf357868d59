//! What a user of the engine writes: events, modules with their stages, sinks, and a supervisor.
//!
//! Only traits and plain values. Nothing here knows how a pipeline runs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Batch, Journey};

/// What flows through a pipeline: plain data, moved from stage to stage. Keep it small (it is moved several times a
/// stage), boxing what is large.
pub trait Event: Send + 'static {
    /// What a held event is resumed with.
    type Answer: Send + 'static;
    /// Whom to tell when an event is lost to a panic. Taken from every event before it is worked on: keep it small.
    type Stub: Send + 'static;
    /// The event's stub.
    fn stub(&self) -> Self::Stub;
    /// Where to note its way through the stages. `None`, the usual case, costs nothing.
    fn journey(&self) -> Option<&Journey> {
        None
    }
    /// Whether a queue with [`Policy::DropOldest`](crate::Policy::DropOldest) may drop it to make room.
    fn droppable(&self) -> bool {
        false
    }
}

/// A kind of stage: what a topology names as a stage's `module`. One value serves every worker; what a worker keeps to
/// itself is in the [`Stage`] made by [`Module::worker`].
pub trait Module<E: Event>: Send + Sync + 'static {
    /// Where its events may go. [`Batch::emit`] takes an index into this.
    fn outputs(&self) -> &'static [Output];
    /// Whether its work waits for the disk. A pool holds stages of one sort only.
    fn blocks(&self) -> bool {
        false
    }
    /// Whether threads that are in it at the same time wait for one thing, which serves one after the other and, when it
    /// begins anew, all who wait by then: as commits do that share a sync of the disk's. Nothing is done about it; it is
    /// for whoever simulates the stage ([`Outside::wait_together`](crate::Outside::wait_together)).
    fn waits_together(&self) -> bool {
        false
    }
    /// Whether a question that was asked of it while an event was held is answered when its batch is over. Otherwise
    /// whoever it calls answers, later. Also only for the simulation.
    fn answers(&self) -> bool {
        false
    }
    /// Whether what waits before it may be refused to its sender. `false` behind a commit: refusing would lose what was
    /// promised.
    fn sheddable(&self) -> bool {
        true
    }
    /// Whether all that its stage does about an item is done when it takes the next one. Then a panic costs the item that
    /// it was about; otherwise the whole batch, as in a stage that commits first and answers then.
    fn one_by_one(&self) -> bool {
        false
    }
    /// Events of one key are worked on in the order in which they came, one worker at a time, and wait for each other
    /// when one of them is held.
    fn key(&self, event: &E) -> u64;
    /// The stage's state for one thread. Called again after a panic.
    fn worker(&self) -> Box<dyn Stage<E>>;
}

/// A way out of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Its name in the topology.
    pub name: &'static str,
    /// What it may be bound to and what happens when that is full.
    pub kind: OutputKind,
    /// How many events one input may become on it, at least 1. The engine reserves that much room before it starts an input.
    pub most: u32,
}

/// What an [`Output`] may be bound to, and what happens when that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// On the line: a stage, whose policy decides; with [`Policy::Block`](crate::Policy::Block) the emitter waits for room.
    Stage,
    /// As [`OutputKind::Stage`], or `"none"`.
    Optional,
    /// Beside the line: when the stage is full, the event is refused at its door; the emitter never waits.
    Side,
    /// As [`OutputKind::Side`], or `"none"`.
    OptionalSide,
    /// The end of the line: the sink of that name. The emitter waits for its room.
    Sink(&'static str),
}

impl OutputKind {
    pub(crate) fn is_line(self) -> bool {
        matches!(self, OutputKind::Stage | OutputKind::Optional)
    }
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, OutputKind::Optional | OutputKind::OptionalSide)
    }
}

/// The work of a stage, for one thread.
pub trait Stage<E: Event>: Send {
    /// Works on a batch: takes items with [`Batch::next`] until there are none. Items that it leaves come again.
    fn run(&mut self, batch: &mut Batch<'_, E>);
}

/// What a stage is given.
#[derive(Debug)]
pub enum Item<E: Event> {
    /// An event that has just come.
    New(E),
    /// An event that was held and has its answer, or the reason why there is none.
    Resumed(E, Result<E::Answer, Late>),
}

/// Why a held event has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Its deadline passed first.
    Deadline,
    /// Its ticket was dropped: whoever should have answered gave up or panicked.
    Lost,
    /// Whoever should have answered had no room for the question.
    Refused,
}

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The queue is full (at a door, or behind a side output).
    Full,
    /// The queue is full and its policy is to shed.
    Shed,
    /// It was the oldest droppable event when room was needed.
    Dropped,
    /// Its key holds its whole share of the queue.
    KeyShare,
    /// The pipeline takes nothing new any more.
    Draining,
}

/// The end of the line, such as a reactor's mailbox: an output like any other, with room that is reserved ahead.
///
/// Called by workers: none of its methods may wait or panic.
pub trait Sink<E>: Send + Sync {
    /// Sets room for `n` events aside, or none at all.
    fn reserve(&self, n: u32) -> bool;
    /// Frees reserved room that was not used. It counts as room made, see [`Sink::on_room`].
    fn give_back(&self, n: u32);
    /// Takes all of `events`, in order. Their room was reserved. One call a batch.
    fn push(&self, events: &mut Vec<E>);
    /// Called once, when the pipeline is built: after a reservation failed, `wake` must be called when there is room
    /// again. The order matters: note the failure before looking at the room a last time, and make the room before
    /// looking at the note. A call too many does no harm.
    fn on_room(&self, wake: Arc<dyn Fn() + Send + Sync>);
}

/// Who hears of events that a stage will never see. Called by workers: it may neither wait nor panic.
pub trait Supervisor<E: Event>: Send + Sync {
    /// `event` was refused inside the pipeline.
    fn refused(&self, event: E, why: Refusal);
    /// An event was lost to a panic in `stage`: its own, or that of the batch that it was in, see
    /// [`Module::one_by_one`]. Nothing that it had emitted has left.
    fn failed(&self, stub: E::Stub, stage: &str);
}

/// The modules that a topology may name.
pub type Modules<E> = HashMap<String, Arc<dyn Module<E>>>;
/// The sinks that modules name in [`OutputKind::Sink`].
pub type Sinks<E> = HashMap<String, Arc<dyn Sink<E>>>;
