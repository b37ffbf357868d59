//! What one stage did: how much came to it and when, in which batches it worked and for how long, what it sent on.

use serde::{Deserialize, Serialize};

use crate::Times;

/// One stage's work during the recording. Times are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTape {
    /// Its work waits for the disk.
    pub blocks: bool,
    /// What waits before it may be refused.
    pub sheddable: bool,
    /// Events that somebody outside wanted to hand in, refused ones too: the slot of 100 us since the beginning, and how
    /// many in it. Slots ascend; those without any are left out.
    pub arrivals: Vec<(u32, u32)>,
    /// Events that it worked on in all.
    pub events: u64,
    /// Events that were refused before it.
    pub refused: u64,
    /// How long its threads were at batches, together, the time included in which no processor was free for them.
    pub busy_ns: u64,
    /// Shares of the events that its most frequent keys had, the largest first; all others are taken to be many and equal.
    pub keys: Vec<f64>,
    /// How long batches took, by their sizes, ascending.
    pub service: Vec<Service>,
    /// What it sent on, by output, in the order in which its module declares them.
    pub emits: Vec<Emits>,
    /// What became of its events when they were new, after they were held once, and so on. Empty where all it sends
    /// leaves when a batch is over.
    pub turns: Vec<Turn>,
    /// Threads that are in it at the same time wait for one thing, which serves all who have come when it begins anew.
    pub waits_together: bool,
    /// What is asked of it for a held event is answered when its batch is over; else by whoever it calls, later.
    pub answers: bool,
    /// How long it took until a thread was there that had to be woken.
    pub wake_ns: Times,
    /// How long events waited in its queue.
    pub wait_ns: Times,
    /// From the door to the end of this stage, of those events that were sampled.
    pub since_door_ns: Times,
}

impl StageTape {
    /// Events that came from outside, refused ones too.
    pub fn arrived(&self) -> u64 {
        self.arrivals.iter().map(|(_, count)| u64::from(*count)).sum()
    }
}

/// Batches of about one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Their mean size, in events.
    pub size: f64,
    /// How long each took, not counting the time in which no processor was free for it.
    pub ns: Times,
    /// How much of that time a processor worked; the rest waited for a disk or a call.
    pub cpu: f64,
    /// What the engine took before and after each, on a processor: the mean.
    pub around_ns: f64,
}

/// What one output had.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Emits {
    /// The output's name.
    pub output: String,
    /// What it leads to.
    pub way: Way,
    /// How many events one may become on it.
    pub most: u32,
    /// Events for each that the stage finished: the mean.
    pub mean: f64,
    /// The part of it that left when a batch was over, and is of no turn.
    pub of_batch: f64,
}

/// What became of events in one of their turns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The share that was held in it.
    pub held: f64,
    /// The share of these that kept the others of their key back meanwhile.
    pub exclusive: f64,
    /// What each that was held sent, by output: whom it asked.
    pub asks: Vec<f64>,
    /// What each of the others sent, by output.
    pub emits: Vec<f64>,
    /// How long they were held.
    pub held_ns: Times,
}

/// What an output leads to, and what happens when that is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Another stage, for whose room the sender waits.
    #[default]
    Line,
    /// Another stage that refuses.
    Side,
    /// The end of the line.
    Out,
}
