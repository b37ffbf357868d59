//! Sampled messages and what each stage took of them.
//!
//! A journey starts at the door; persist names it by its message once that has an id. A bounded number is kept, the
//! newest. Whoever wants to know of each that has ended says so once. Off (`sample = 0`), it costs one comparison a message.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tidegate_domain::command::{Priority, Send as SendCommand};
use tidegate_domain::conversation::Kind;
use tidegate_domain::error::Code;
use tidegate_domain::ids::{JourneyId, MessageId};
use tidegate_engine::{Ended, Journey, Mark, Way};

/// Notes: the message's id, where it got one that was kept or sent on.
pub const MESSAGE: &str = "message";
/// The kind of its conversation.
pub const KIND: &str = "kind";
/// How it is treated: `normal`, `low`, `high`, `transient` or `will`.
pub const CLASS: &str = "class";
/// `stored`, `sent` (transient), `sent before`, or `refused`.
pub const OUTCOME: &str = "outcome";
/// The number of the refusal, and its name.
pub const CODE: &str = "code";
pub const CODE_NAME: &str = "code name";
/// Of slow messages that were not sampled, so many are kept in a second: where all are slow, to keep each would make it worse
/// and leave no room for those that tell more.
const MOST_SLOW: u32 = 100;

/// It took longer than `slow`.
pub const SLOW: &str = "slow";

/// Stands for the stages of a message that was not sampled.
pub const UNSEEN: &str = "not sampled";

pub struct Journeys {
    /// Every how many frames one is sampled; 0 never, 1 always.
    every: AtomicU64,
    seen: AtomicU64,
    /// Of this start of the process, so that ids are unique over restarts and servers.
    random: [u64; 2],
    /// Nanoseconds; a message that takes longer is kept though it was not sampled.
    slow: u64,
    /// The second in which one was kept last, and how many were then, in the lower half.
    kept_slow: AtomicU64,
    kept: Mutex<LruCache<MessageId, Arc<Way>>>,
    ended: OnceLock<Ended>,
}

impl Journeys {
    /// `share` of messages that are sampled, 0 to 1; `slow`: those that take longer are kept as well; `keep`: the most that
    /// are kept, at least 1.
    pub fn new(share: f64, slow: Option<Duration>, keep: usize, random: [u8; 16]) -> Self {
        let every = if share <= 0.0 { 0 } else { (1.0 / share).round().max(1.0) as u64 };
        let most = NonZeroUsize::new(keep).unwrap_or(NonZeroUsize::MIN);
        let random = u128::from_be_bytes(random);
        Journeys {
            every: AtomicU64::new(every),
            seen: AtomicU64::new(0),
            random: [(random >> 64) as u64 | 1, random as u64],
            kept: Mutex::new(LruCache::new(most)),
            slow: slow.map_or(u64::MAX, |slow| slow.as_nanos() as u64),
            kept_slow: AtomicU64::new(0),
            ended: OnceLock::new(),
        }
    }

    /// From now on all messages, as the development page wants it.
    pub fn sample_all(&self) {
        self.every.store(1, Ordering::Relaxed);
    }

    /// Who is told of each journey that has ended. The first who asks.
    pub fn on_end(&self, ended: Ended) {
        // Whoever comes second is a mistake of the composition, and harmless.
        let _ = self.ended.set(ended);
    }

    /// A new journey, where it is this frame's turn.
    pub fn begin(&self) -> Option<Journey> {
        match self.every.load(Ordering::Relaxed) {
            0 => None,
            every => {
                let n = self.seen.fetch_add(1, Ordering::Relaxed);
                n.is_multiple_of(every).then(|| self.journey(n))
            }
        }
    }

    fn journey(&self, n: u64) -> Journey {
        let id = self.id(n);
        match self.ended.get() {
            Some(ended) => Journey::told(id, ended.clone()),
            None => Journey::new(id),
        }
    }

    /// Never zero, and never the same twice. Its lower half looks random, as collectors that sample by it expect.
    fn id(&self, n: u64) -> u128 {
        let [process, start] = self.random;
        u128::from(process) << 64 | u128::from(mix(start.wrapping_add(n)))
    }

    /// The message of a journey is known.
    pub fn name(&self, mid: MessageId, journey: &Journey) {
        journey.note(MESSAGE, mid.to_string());
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(mid, journey.way());
    }

    /// A message that came at `since_ns` has gone out at `now_ns`; both of the pipeline's clock. Where that was slow it is
    /// marked so; where it was not sampled, it is kept from now on, with this one stop.
    pub fn went_out(&self, mid: MessageId, journey: Option<&Journey>, since_ns: u64, now_ns: u64) {
        if now_ns.saturating_sub(since_ns) > self.slow {
            self.went_slowly(mid, journey, (since_ns, now_ns));
        }
    }

    #[cold]
    fn went_slowly(&self, mid: MessageId, journey: Option<&Journey>, (since, now): (u64, u64)) {
        // A will was sent by nobody just now.
        if since == 0 {
            return;
        }
        if let Some(journey) = journey {
            return journey.note(SLOW, "true");
        }
        if !self.may_keep_slow(now) {
            return;
        }
        let journey = self.journey(self.seen.fetch_add(1, Ordering::Relaxed));
        journey.note(SLOW, "true");
        journey.mark(Mark { stage: UNSEEN.into(), queued_at: since, started_at: now, ended_at: now, batch: 1 });
        self.name(mid, &journey);
    }

    /// Whether one more slow message that was not sampled may be kept in this second.
    fn may_keep_slow(&self, now_ns: u64) -> bool {
        let second = (now_ns / 1_000_000_000) << 32;
        let more = |kept: u64| match kept & !u64::from(u32::MAX) == second {
            true => ((kept as u32) < MOST_SLOW).then_some(kept + 1),
            false => Some(second | 1),
        };
        self.kept_slow.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// All that are kept, the newest first.
    pub fn all(&self) -> Vec<(MessageId, Arc<Way>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(mid, way)| (*mid, way.clone())).collect()
    }

    pub fn find(&self, mid: MessageId) -> Option<Arc<Way>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&mid).cloned()
    }
}

/// SplitMix64's last step: another number for each number.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

pub fn id(journey: Option<&Journey>) -> Option<JourneyId> {
    journey.map(|journey| JourneyId(journey.id()))
}

/// For a log line about a message.
pub fn said(journey: Option<&Journey>) -> Option<String> {
    id(journey).map(|id| id.to_string())
}

/// What sort of message it is.
pub fn describe(journey: &Journey, send: &SendCommand, kind: Kind) {
    let class = match send {
        send if send.will => "will",
        send if send.transient => "transient",
        send => match send.priority {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        },
    };
    journey.note(CLASS, class);
    journey.note(
        KIND,
        match kind {
            Kind::Normal => "normal",
            Kind::Room => "room",
            Kind::System => "system",
            Kind::Temporary => "temporary",
        },
    );
}

/// Its sender is told no.
pub fn refused(journey: &Journey, code: Code) {
    journey.note(OUTCOME, "refused");
    journey.note(CODE, code.number().to_string());
    journey.note(CODE_NAME, code.name());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_distinct_within_a_start_and_between_two() {
        let mut seen = HashSet::new();
        for random in [[0; 16], [7; 16]] {
            let journeys = Journeys::new(1.0, None, 1, random);
            for _ in 0..10_000 {
                let id = journeys.begin().expect("all are sampled").id();
                assert!(id >> 64 != 0 && seen.insert(id), "{id:032x}");
            }
        }
    }
    #[test]
    fn where_all_are_slow_so_many_are_kept_in_a_second() {
        let journeys = Journeys::new(0.0, Some(Duration::from_millis(1)), 4 * MOST_SLOW as usize, [7; 16]);
        let went_out = |from: u32, second: u64| {
            for n in from..from + 3 * MOST_SLOW {
                journeys.went_out(
                    MessageId::new(n.into(), 0, n.into()),
                    None,
                    second * 1_000_000_000,
                    second * 1_000_000_000 + 2_000_000,
                );
            }
        };
        went_out(1, 5);
        assert_eq!(journeys.all().len(), MOST_SLOW as usize);
        went_out(1_000, 6);
        assert_eq!(journeys.all().len(), 2 * MOST_SLOW as usize);
    }
}
