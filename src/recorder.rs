//! Takes a recording of the running server: the tape of messages and what the stages did, as `tidegate-recording` has it.
//!
//! Owns when a recording begins and ends; what is noted is the stages' business, what is written the format's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_engine::{Auto, Pipeline};
use tidegate_http::{Recorder, Recording, Refused};
use tidegate_recording::{Conversation, Message, Messages, VERSION};
use tidegate_stages::event::Event;
use tidegate_stages::shared::World;
use tidegate_stages::shared::tape::{Taken, Tape};

use crate::tuning::Tuner;

/// Recordings of one server.
pub struct Recordings {
    world: Arc<World>,
    pipeline: Arc<Pipeline<Event>>,
    tuner: Arc<Tuner>,
    now: Mutex<Option<Now>>,
}

/// The one that is under way.
#[derive(Clone)]
struct Now {
    by: String,
    length: Duration,
    /// The engine's clock.
    began_ns: u64,
}

impl Recordings {
    pub fn new(world: Arc<World>, pipeline: Arc<Pipeline<Event>>, tuner: Arc<Tuner>) -> Arc<Self> {
        Arc::new(Recordings { world, pipeline, tuner, now: Mutex::default() })
    }

    /// Begins one.
    pub fn begin(self: &Arc<Self>, by: &str, length: Duration) -> Result<Box<dyn Recorder>, Refused> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = &*now {
            let left = other.length.saturating_sub(self.elapsed(other));
            return Err(Refused::Conflict(format!(
                "{} is recording, for {:.0} s more: there is one recording at a time.",
                other.by,
                left.as_secs_f64().ceil()
            )));
        }
        let began_ns = self.pipeline.now();
        self.world.tape.begin(began_ns);
        self.pipeline.begin_tape();
        log::info!("recording for {} s began, by {by}: no bodies, no ids", length.as_secs_f64());
        *now = Some(Now { by: by.to_owned(), length, began_ns });
        Ok(Box::new(Running { of: self.clone(), began_ns }))
    }

    /// How far it is.
    pub fn now(&self) -> Option<Recording> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (seconds, elapsed) = (now.length.as_secs_f64(), self.elapsed(&now).as_secs_f64());
        Some(Recording { by: now.by, seconds, elapsed, messages: self.world.tape.count().unwrap_or(0) })
    }

    fn elapsed(&self, now: &Now) -> Duration {
        Duration::from_nanos(self.pipeline.now().saturating_sub(now.began_ns))
    }

    /// The next may begin.
    fn end<T>(&self, how: impl FnOnce(&Tape) -> T) -> T {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = None;
        how(&self.world.tape)
    }
}

struct Running {
    of: Arc<Recordings>,
    began_ns: u64,
}

impl Recorder for Running {
    fn finish(self: Box<Self>) -> Result<String, String> {
        let Running { of, began_ns } = &*self;
        let (taken, taped) = of.end(|tape| (tape.end(), of.pipeline.end_tape()));
        let taken = taken.ok_or("The recording had ended already.")?;
        let ended_ns = of.pipeline.now();
        // What was found is what ran: a configuration that finds it again would begin elsewhere.
        let mut config = of.tuner.running();
        config.topology.stages.iter_mut().for_each(|stage| stage.auto = Auto::default());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let recording = tidegate_recording::Recording {
            version: VERSION,
            program: concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned(),
            seconds: Duration::from_nanos(ended_ns - began_ns).as_secs_f64(),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            beside: taped.as_ref().map(tidegate_whatif::beside).unwrap_or_default(),
            config: tidegate_config::write(&config, tidegate_config::Secrets::Starred),
            stages: taped.as_ref().map(tidegate_whatif::stages).unwrap_or_default(),
            messages: messages(taken, *began_ns),
        };
        log::info!("recording ended: {} messages", recording.messages.all.len());
        serde_json::to_string(&recording).map_err(|error| format!("The recording cannot be written down: {error}."))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `finish` there is nothing to end, unless the next one has begun: then this is not the one.
        let is_this = |now: &Now| now.began_ns == self.began_ns;
        if self.of.now.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_this) {
            self.of.end(|tape| {
                tape.give_up();
                drop(self.of.pipeline.end_tape());
            });
            log::info!("recording was given up: who asked for it is gone");
        }
    }
}

/// In microseconds since the beginning.
fn messages(taken: Taken, began_ns: u64) -> Messages {
    let all = taken.messages.iter().map(|of| Message {
        at: of.received_ns.saturating_sub(began_ns) / 1_000,
        sender: of.sender,
        conversation: of.conversation,
        size: of.size,
        transient: of.transient,
    });
    let conversations = taken.conversations.into_iter().map(|(members, room)| Conversation { members, room });
    Messages {
        senders_of_1000: taken.senders_of_1000,
        left_out: taken.left_out,
        conversations: conversations.collect(),
        all: all.collect(),
    }
}
