//! One prediction: a recording's arrivals, another topology, a simulated machine.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_engine::{Door, Journey, Machine, Pipeline, Problem, Topology};
use tidegate_recording::{Recording, StageTape, Times, VERSION};

use crate::arrivals::Arrivals;
use crate::figures::Figures;
use crate::keys::mix;
use crate::model::{Model, Nobody, Token};
use crate::quantiles::Quantiles;
use crate::taken;

/// What the recorded work is let loose on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// How many times as fast it comes; the recording is over so many times sooner.
    pub speed: f64,
    /// Processors that the stages have; `None`: those of the recording, without what the rest of the process needed of them.
    pub cores: Option<f64>,
    /// Only the beginning of it, in seconds of the recording.
    pub first_seconds: Option<f64>,
}

impl Default for Load {
    /// The recording as it was.
    fn default() -> Load {
        Load { speed: 1.0, cores: None, first_seconds: None }
    }
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Unpredictable {
    /// Another format.
    #[error("the recording has format {0}, and this program reads {VERSION}: record again with this program")]
    Format(u32),
    /// A stage that is not in the recording.
    #[error("nothing was recorded of the stage {0:?}: record with a configuration that has the same stages")]
    Unknown(String),
    /// Nothing came while it was recorded.
    #[error("nothing came while it was recorded: record while clients are at work, or longer")]
    Idle,
    /// Values that make no sense.
    #[error("{0}")]
    Load(&'static str),
    /// The topology cannot run.
    #[error("that configuration cannot run: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Topology(Vec<Problem>),
}

/// A recording made ready to be played, any number of times.
pub(crate) struct Prepared<'a> {
    recording: &'a Recording,
    pub model: Model,
    wake_ns: Arc<Quantiles>,
    arrivals: u64,
}

/// So many events are followed from the door to the end, at most; of more, every so many-th.
const FOLLOWED: u64 = 100_000;

/// Says what `topology` would have done with the recorded work. The same each time. Takes about a second for each few
/// hundred thousand events that the stages work on.
pub fn predict(recording: &Recording, topology: &Topology, load: Load) -> Result<Figures, Unpredictable> {
    Prepared::new(recording)?.predict(topology, load)
}

impl<'a> Prepared<'a> {
    pub fn new(recording: &'a Recording) -> Result<Prepared<'a>, Unpredictable> {
        if recording.version != VERSION {
            return Err(Unpredictable::Format(recording.version));
        }
        let arrivals = recording.stages.values().map(StageTape::arrived).sum();
        let has_time = recording.seconds.is_finite() && recording.seconds > 0.0;
        if arrivals == 0 || !has_time {
            return Err(Unpredictable::Idle);
        }
        let mut wakes = Times::default();
        recording.stages.values().for_each(|tape| wakes.0.extend(&tape.wake_ns.0));
        wakes.0.sort_unstable();
        let (model, wake_ns) = (Model::new(&recording.stages), Arc::new(Quantiles::new(&wakes)));
        Ok(Prepared { recording, model, wake_ns, arrivals })
    }

    /// Events a second that came from outside.
    pub fn rate(&self) -> f64 {
        self.arrivals as f64 / self.recording.seconds
    }

    pub fn predict(&self, topology: &Topology, load: Load) -> Result<Figures, Unpredictable> {
        let recording = self.recording;
        if !(load.speed.is_finite() && load.speed > 0.0) {
            return Err(Unpredictable::Load("the speed must be above 0"));
        }
        let cores = load.cores.unwrap_or_else(|| cores_left(recording, load.speed));
        if !(cores.is_finite() && cores > 0.0) {
            return Err(Unpredictable::Load("there must be more than 0 processors"));
        }
        if let Some(stage) = topology.stages.iter().find(|stage| !recording.stages.contains_key(&stage.name)) {
            return Err(Unpredictable::Unknown(stage.name.clone()));
        }
        let mut topology = topology.clone();
        // Each stage plays its own part, whatever kind it is of.
        topology.stages.iter_mut().for_each(|stage| stage.module = stage.name.clone());
        let entries: Vec<&str> = topology.stages.iter().map(|stage| stage.name.as_str()).collect();
        let entries: Vec<&str> =
            entries.into_iter().filter(|name| !recording.stages[*name].arrivals.is_empty()).collect();

        let (wake_ns, mut random) = (self.wake_ns.clone(), fastrand::Rng::with_seed(1));
        let mut machine = Machine::new(cores, move || wake_ns.draw(random.f64()));
        let modules = self.model.modules(&machine.outside());
        let pipeline =
            Pipeline::build(topology.clone(), modules, HashMap::new(), Arc::new(Nobody), &entries, machine.env())
                .map_err(Unpredictable::Topology)?;
        let seconds = load.first_seconds.unwrap_or(recording.seconds).min(recording.seconds) / load.speed;
        let mut gates: Vec<Gate> = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let arrivals = Arrivals::new(&recording.stages[*entry], load.speed, i as u64 + 2);
            gates.push(Gate { door: pipeline.door(entry), name: (*entry).to_owned(), arrivals });
        }
        let (mut number, follow) = (0, self.arrivals.div_ceil(FOLLOWED));
        pipeline.begin_tape();
        machine.run(&pipeline, (seconds * 1e9) as u64, |now| {
            for gate in &mut gates {
                while gate.arrivals.take(now) {
                    number += 1;
                    let journey = (number % follow == 0).then(|| Journey::new(number.into()));
                    gate.hand_in(&self.model, Token::new(mix(number), journey), now);
                }
            }
            gates.iter().filter_map(|gate| gate.arrivals.next_at()).min()
        });
        let tape = pipeline.end_tape();
        let stages = tape.map(|tape| taken::stages(&tape)).unwrap_or_default();
        let mut figures = Figures::of(&stages, &topology, seconds);
        for stage in &mut figures.stages {
            stage.largest_seen = Some(self.model.largest_batch(&stage.name));
        }
        Ok(figures)
    }
}

/// What the rest of the process needs grows with the load. A part is always left: whoever shares a processor gets some.
fn cores_left(recording: &Recording, speed: f64) -> f64 {
    let all = f64::from(recording.cores);
    (all - recording.beside * speed).max(all / 4.0)
}

struct Gate<'a> {
    door: Door<Token>,
    name: String,
    arrivals: Arrivals<'a>,
}

impl Gate<'_> {
    /// As a reactor does it: whoever comes is let in, or refused at once. All are of the class of those who send messages.
    fn hand_in(&self, model: &Model, token: Token, now: u64) {
        if self.door.admit(1, model.key(&self.name, token.number)) {
            let _ = self.door.offer_at(token, now + 1);
        }
    }
}
