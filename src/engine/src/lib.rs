//! A staged, event-driven pipeline in one process.
//!
//! A [`Pipeline`] is a graph of stages joined by bounded queues. Each stage has 256 lanes that keep the order of the
//! events with one key; pools of threads serve the stages; what happens when a queue is full, how many threads work
//! where and in what batches is data ([`Topology`]), checked at start and changed while events flow.
//!
//! The crate knows nothing of what flows through it, of sockets or of disks. Start reading at [`Event`], [`Module`] and
//! [`Stage`] (what a user writes), then `worker.rs` (what a thread does with a batch) and `lane.rs` (why order holds).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod adaptive;
mod admission;
mod api;
mod batch;
mod blocked;
mod build;
mod check;
mod controller;
mod core;
mod deadlines;
mod delay;
mod door;
mod env;
mod frequent;
mod helper;
mod journey;
mod lane;
mod law;
mod machine;
mod metrics;
mod overload;
mod parking;
mod pipeline;
mod processor;
mod queue;
mod report;
mod room;
mod sim;

mod sync;
mod tape;
mod threads;
mod ticket;
mod topology;
mod tuning;
mod worker;

pub use adaptive::{Act, Adaptive, Look, MOST_A_CORE, MOST_BATCH, MOST_WAITING, Setting, Step};
pub use api::{Event, Item, Late, Module, Modules, Output, OutputKind, Refusal, Sink, Sinks, Stage, Supervisor};
pub use batch::Batch;
pub use check::{DELAY_INTERVAL, DELAY_TARGET};
pub use door::Door;
pub use env::Env;
pub use helper::Helper;
pub use journey::{Ended, Journey, Mark, Way};
pub use law::Law;
pub use machine::Machine;
pub use pipeline::Pipeline;
pub use report::{
    Blocked, Glance, Percentiles, PoolReport, SecondReport, Spread, StageReport, TIME_BUCKETS_NS, Totals,
};

pub use sim::{Outside, Sim};
pub use tape::{ARRIVAL_SLOT_NS, MOST_TURNS, Tape, TapedBatches, TapedStage, TapedTurn};
pub use ticket::Ticket;
pub use topology::{Auto, Place, Policy, PoolSettings, Problem, StageSettings, Topology};
pub use tuning::{PoolPatch, StagePatch};
