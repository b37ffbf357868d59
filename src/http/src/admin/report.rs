//! The admin API's documents, field for field as its users know them.
//!
//! Times in `*_ns` are nanoseconds, in `*_ms` milliseconds; shares and utilisation go from 0 to 1. Percentiles, rate
//! and shares are of the last 10 seconds. Names are a contract: scripts rely on them.

use std::fmt;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a day came to for one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayReport {
    /// In UTC, as `2026-11-28`.
    pub day: String,
    pub app: String,
    /// Messages that were accepted.
    pub messages: u64,
    /// Clients that were logged in at some time; exact while they are few, else within about 2 %.
    pub active_clients: u64,
    /// The most connections at once.
    pub peak_connections: u64,
}

/// One stage as it runs now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageReport {
    pub name: String,
    pub module: String,
    pub pool: String,
    /// Threads that may be inside at once.
    pub workers: usize,
    /// Events taken in one go, at most.
    pub batch: usize,
    /// Events that may wait.
    pub bound: usize,
    pub policy: Policy,
    /// `null`: no delay control.
    #[serde(serialize_with = "milliseconds")]
    pub delay_target_ms: Option<f64>,
    #[serde(serialize_with = "milliseconds")]
    pub delay_interval_ms: Option<f64>,
    /// The share of `bound` that waiting events of one conversation may take up.
    pub key_share: f64,
    /// Events of one conversation that may overlap.
    pub window: usize,
    pub auto: Auto,
    /// Calls to the outside at once; absent where the stage makes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<usize>,
    /// Events waiting.
    pub depth: usize,
    /// Events that wait for the world (*later*).
    pub held: usize,
    pub utilisation: f64,
    pub blocked: Blocked,
    /// Events finished per second.
    pub rate: f64,
    /// Since the start.
    pub refused: u64,
    pub wait_ns: Percentiles,
    /// From a batch's start to its end.
    pub service_ns: Percentiles,
    pub held_ns: Percentiles,
    pub batch_size: Percentiles,
    pub law: Law,
}

/// What of a stage the server finds by itself: the numbers are then those of the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Auto {
    pub workers: bool,
    pub batch: bool,
}

/// Little's law in a stage: whether what was measured can be true.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Law {
    /// Events in it on average, by who came and who left.
    pub inside: f64,
    /// The same by what the histograms say.
    pub told: f64,
    /// How far these are apart, as a share of the larger; near 0 where all is well.
    pub error: f64,
}

/// The share of time in which a stage had work and no room, and the output that had none.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Blocked {
    pub share: f64,
    /// The one that was most at fault; `null` when none was.
    pub by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// What happens when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    Block,
    Shed,
    DropOldest,
}

/// A number, or `"auto"`: then the server finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Fixed(usize),
    Auto,
}

impl Amount {
    pub fn number(self) -> Option<usize> {
        match self {
            Amount::Fixed(number) => Some(number),
            Amount::Auto => None,
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Amount, D::Error> {
        struct NumberOrAuto;
        impl Visitor<'_> for NumberOrAuto {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or \"auto\"")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Amount, E> {
                usize::try_from(number).map(Amount::Fixed).map_err(|_| E::custom("too large for this machine"))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                if text == "auto" { Ok(Amount::Auto) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
            }
        }
        from.deserialize_any(NumberOrAuto)
    }
}

/// Changes to a stage; what is absent stays.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagePatch {
    /// The pool that serves it from now on; its own name for a pool of its own.
    #[serde(default, deserialize_with = "given")]
    pub pool: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub workers: Option<Amount>,
    #[serde(default, deserialize_with = "given")]
    pub batch: Option<Amount>,
    #[serde(default, deserialize_with = "given")]
    pub bound: Option<usize>,
    #[serde(default, deserialize_with = "given")]
    pub policy: Option<Policy>,
    #[serde(default, deserialize_with = "given")]
    pub delay_target_ms: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    pub delay_interval_ms: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    pub key_share: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    pub window: Option<usize>,
    /// Of a stage that calls the outside.
    #[serde(default, deserialize_with = "given")]
    pub in_flight: Option<usize>,
}

impl StagePatch {
    /// What can be seen to be wrong without knowing the stage.
    pub(crate) fn check(&self) -> Result<(), String> {
        positive("workers", self.workers.and_then(Amount::number))?;
        positive("batch", self.batch.and_then(Amount::number))?;
        positive("bound", self.bound)?;
        time("delay_target_ms", self.delay_target_ms)?;
        time("delay_interval_ms", self.delay_interval_ms)?;
        positive("window", self.window)?;
        positive("in_flight", self.in_flight)
    }
}

/// One pool of threads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolReport {
    pub name: String,
    pub workers: usize,
    /// How long an idle thread looks for work before it sleeps, in microseconds; a stage's own pool does not.
    pub spin_us: f64,
    /// Whether reactors run its stages while its threads sleep; a stage's own pool is never helped.
    pub reactors: bool,
    /// Batches that reactors ran for it since the start.
    pub helped: u64,
    /// The stages that it serves, in the order of the pipeline.
    pub stages: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolPatch {
    #[serde(default, deserialize_with = "given")]
    pub workers: Option<usize>,
    #[serde(default, deserialize_with = "given")]
    pub spin_us: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    pub reactors: Option<bool>,
}

impl PoolPatch {
    pub(crate) fn check(&self) -> Result<(), String> {
        positive("workers", self.workers)?;
        match self.spin_us {
            Some(us) if !(0.0..=10_000.0).contains(&us) => Err(format!("spin_us is {us}; it must be from 0 to 10000")),
            _ => Ok(()),
        }
    }
}

/// Whether traffic may come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    /// Why not; or, when ready, what needs a look soon.
    pub reasons: Vec<String>,
}

/// Whose story is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceOf {
    /// A client id, in any app unless one is named.
    Client {
        client: String,
        app: Option<String>,
    },
    Message(String),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TraceStep {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// `admitted`, `refused`, `stage`, `delivered`, `closed` and the like.
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The protocol's code, of a refusal or a close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The answer of `/trace`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub steps: Vec<TraceStep>,
}

/// A key that is there has a value: `null` is no way to say "leave it".
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Whole milliseconds print as whole numbers, so that what was set as 5 reads as 5.
fn milliseconds<S: Serializer>(ms: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    match ms {
        Some(ms) if ms.fract() == 0.0 && (0.0..1e15).contains(ms) => to.serialize_u64(*ms as u64),
        Some(ms) => to.serialize_f64(*ms),
        None => to.serialize_none(),
    }
}

fn positive(name: &str, value: Option<usize>) -> Result<(), String> {
    match value {
        Some(0) => Err(format!("{name} is 0; it must be at least 1")),
        _ => Ok(()),
    }
}

/// The longest time that anything of a queue may be set to.
const DAY_MS: f64 = 86_400_000.0;

fn time(name: &str, value: Option<f64>) -> Result<(), String> {
    match value {
        Some(ms) if !(ms > 0.0 && ms <= DAY_MS) => Err(format!("{name} is {ms}; it must be above 0 and at most a day")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_takes_what_is_given_and_nothing_else() {
        let patch: StagePatch =
            serde_json::from_str(r#"{"workers":3,"policy":"drop-oldest","delay_target_ms":0.5}"#).unwrap();
        let workers = Some(Amount::Fixed(3));
        assert_eq!((patch.workers, patch.policy, patch.batch), (workers, Some(Policy::DropOldest), None));
        assert_eq!(patch.delay_target_ms, Some(0.5));
        let patch: StagePatch = serde_json::from_str(r#"{"workers":"auto"}"#).unwrap();
        assert_eq!(patch.workers, Some(Amount::Auto));
        let wrong = serde_json::from_str::<StagePatch>(r#"{"workers":"many"}"#).unwrap_err().to_string();
        assert!(wrong.contains("a whole number or \"auto\""), "{wrong}");
        for bad in [
            r#"{"worker":3}"#,
            r#"{"workers":null}"#,
            r#"{"workers":-1}"#,
            r#"{"workers":1.5}"#,
            r#"{"workers":"3"}"#,
            r#"{"policy":"never"}"#,
            r#"{"workers":1,"workers":2}"#,
        ] {
            assert!(serde_json::from_str::<StagePatch>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_that_mean_nothing_are_named() {
        let zero = StagePatch { batch: Some(Amount::Fixed(0)), ..StagePatch::default() };
        assert!(zero.check().unwrap_err().contains("batch"));
        for ms in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(StagePatch { delay_target_ms: Some(ms), ..StagePatch::default() }.check().is_err(), "{ms}");
        }
        assert!(StagePatch { delay_target_ms: Some(0.2), ..StagePatch::default() }.check().is_ok());
    }
}
