//! A server in miniature for the simulated run: an open-loop crowd, a reactor that reads their sockets one frame after
//! the other, and a pipeline with one slow stage. All in virtual time, so that a controller is judged without noise.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_engine::*;

/// What is offered, and to what.
#[derive(Clone)]
pub struct Scene {
    pub seed: u64,
    pub users: u32,
    /// The slow stage: a batch takes so long, and so much longer for each call in it.
    pub per_batch: Duration,
    pub per_call: Duration,
    pub batch: usize,
    pub delay_target: Duration,
    /// How much of what is offered is of class 0, 1, 2 and 3. Class 3 goes past the slow stage.
    pub mix: [f64; 4],
    /// The share of calls that the first user makes, beyond everybody's.
    pub hog: f64,
    /// What reading a frame costs the reactor when it is let in, and when it is refused.
    pub let_in: Duration,
    pub refuse: Duration,
    /// So long, so many times what the slow stage can do of what reaches it.
    pub load: Vec<(Duration, f64)>,
    /// Whether the door refuses for delay at all.
    pub admission: bool,
    /// When, in seconds, the slow stage stands still once, and for how long.
    pub stall: Option<(f64, Duration)>,
}

impl Scene {
    /// A disk: a commit takes 25 ms, of 32 calls at most.
    pub fn disk(seed: u64) -> Scene {
        Scene {
            seed,
            users: 200,
            per_batch: Duration::from_millis(25),
            per_call: Duration::ZERO,
            batch: 32,
            delay_target: Duration::from_millis(25),
            mix: [0.05, 0.75, 0.05, 0.15],
            hog: 0.0,
            let_in: Duration::from_micros(8),
            refuse: Duration::from_micros(3),
            load: Vec::new(),
            admission: true,
            stall: None,
        }
    }

    /// A processor: each call takes half a millisecond.
    pub fn processor(seed: u64) -> Scene {
        let (per_batch, per_call) = (Duration::ZERO, Duration::from_micros(500));
        Scene { per_batch, per_call, batch: 8, delay_target: Duration::from_millis(5), ..Scene::disk(seed) }
    }

    /// Calls that the slow stage can do in a second.
    pub fn capacity(&self) -> f64 {
        self.batch as f64 / (self.per_batch + self.per_call * self.batch as u32).as_secs_f64()
    }

    pub fn then(mut self, seconds: f64, times: f64) -> Scene {
        self.load.push((Duration::from_secs_f64(seconds), times));
        self
    }

    fn length(&self) -> Duration {
        self.load.iter().map(|(time, _)| *time).sum()
    }
}

/// One call and what became of it. Times in nanoseconds of the virtual clock.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub user: u32,
    pub class: u8,
    pub sent: u64,
    pub read: u64,
    /// When it was done or, refused, when that was said.
    pub done: u64,
    pub refused: bool,
}

impl Event for Call {
    type Answer = ();
    type Stub = ();
    fn stub(&self) {}
}

struct Kind {
    name: &'static str,
    outputs: &'static [Output],
    scene: Arc<Scene>,
    outside: Outside,
}

impl Module<Call> for Kind {
    fn outputs(&self) -> &'static [Output] {
        self.outputs
    }
    fn key(&self, call: &Call) -> u64 {
        call.user as u64
    }
    fn worker(&self) -> Box<dyn Stage<Call>> {
        Box::new(Work { name: self.name, scene: self.scene.clone(), outside: self.outside.clone(), stalled: false })
    }
}

struct Work {
    name: &'static str,
    scene: Arc<Scene>,
    outside: Outside,
    stalled: bool,
}

impl Stage<Call> for Work {
    fn run(&mut self, batch: &mut Batch<'_, Call>) {
        let mut calls = 0;
        while let Some(Item::New(call)) = batch.next() {
            calls += 1;
            batch.emit((self.name == "route" && call.class == 3) as usize, call);
        }
        if self.name == "persist" && calls > 0 {
            let now = batch.now() as f64 / 1e9;
            let stalls = self.scene.stall.filter(|(at, _)| now >= *at && !std::mem::replace(&mut self.stalled, true));
            let stall = stalls.map_or(Duration::ZERO, |(_, time)| time);
            self.outside.work(self.scene.per_batch + self.scene.per_call * calls + stall);
        }
    }
}

const NEXT: &[Output] = &[Output { name: "next", kind: OutputKind::Stage, most: 1 }];
const ROUTE: &[Output] = &[
    Output { name: "durable", kind: OutputKind::Stage, most: 1 },
    Output { name: "transient", kind: OutputKind::Stage, most: 1 },
];
const END: &[Output] = &[Output { name: "end", kind: OutputKind::Sink("end"), most: 1 }];

/// The sockets: takes whatever comes and notes when.
struct Ended {
    outside: Outside,
    calls: Mutex<Vec<Call>>,
}

impl Sink<Call> for Ended {
    fn reserve(&self, _: u32) -> bool {
        true
    }
    fn give_back(&self, _: u32) {}
    fn push(&self, calls: &mut Vec<Call>) {
        let now = self.outside.now();
        self.calls.lock().unwrap().extend(calls.drain(..).map(|call| Call { done: now, ..call }));
    }
    fn on_room(&self, _: Arc<dyn Fn() + Send + Sync>) {}
}

struct Nobody;

impl Supervisor<Call> for Nobody {
    fn refused(&self, _: Call, why: Refusal) {
        panic!("refused behind the door: {why:?}");
    }
    fn failed(&self, _: (), stage: &str) {
        panic!("{stage} panicked");
    }
}

/// The crowd and the reactor.
struct Front {
    scene: Arc<Scene>,
    door: Door<Call>,
    outside: Outside,
    ended: Arc<Ended>,
    state: Mutex<State>,
}

struct State {
    random: u64,
    /// Sent and not read yet.
    socket: VecDeque<Call>,
    reading: bool,
}

impl State {
    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Front {
    fn rate(&self, now: u64) -> f64 {
        let mut from = 0;
        for (time, times) in &self.scene.load {
            from += time.as_nanos() as u64;
            if now < from {
                return times * self.scene.capacity() / (1.0 - self.scene.mix[3]);
            }
        }
        0.0
    }

    /// The next call comes when chance wants, at the rate of now.
    fn crowd(self: Arc<Front>) {
        let now = self.outside.now();
        let rate = self.rate(now);
        if rate == 0.0 {
            return;
        }
        let mut state = self.state.lock().unwrap();
        let gap = Duration::from_secs_f64(-(1.0 - state.unit()).ln() / rate);
        let user = match state.unit() < self.scene.hog {
            true => 0,
            false => (state.unit() * self.scene.users as f64) as u32,
        };
        let (mut class, mut chance) = (0, state.unit());
        while class < 3 && chance >= self.scene.mix[class] {
            chance -= self.scene.mix[class];
            class += 1;
        }
        state.socket.push_back(Call { user, class: class as u8, sent: now, read: 0, done: 0, refused: false });
        let idle = !std::mem::replace(&mut state.reading, true);
        drop(state);
        if idle {
            self.clone().read();
        }
        self.outside.clone().after(gap, move || self.crowd());
    }

    /// Reads one frame, and the next when that is done.
    fn read(self: Arc<Front>) {
        let mut state = self.state.lock().unwrap();
        let Some(call) = state.socket.pop_front() else {
            state.reading = false;
            return;
        };
        drop(state);
        let read = self.outside.now();
        let call = Call { read, ..call };
        let who = (call.user as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let is_in = !self.scene.admission || self.door.admit(call.class, who);
        let refused = match is_in {
            true if call.class == 0 => {
                self.door.offer_always(call);
                false
            }
            true => self.door.offer_at(call, read).is_err(),
            false => true,
        };
        if refused {
            self.ended.calls.lock().unwrap().push(Call { done: read, refused, ..call });
        }
        let cost = if refused { self.scene.refuse } else { self.scene.let_in };
        self.outside.clone().after(cost, move || self.read());
    }
}

/// What became of all calls.
pub struct Outcome {
    pub scene: Arc<Scene>,
    pub calls: Vec<Call>,
    /// Sent and never read.
    pub unread: usize,
}

/// Plays a scene until its load is over and everything is answered.
pub fn play(scene: Scene) -> Outcome {
    let mut sim: Sim<Call> = Sim::new(scene.seed);
    let scene = Arc::new(scene);
    let outside = sim.outside();
    let kinds = [("decode", NEXT), ("route", ROUTE), ("persist", NEXT), ("fan_out", END)];
    let modules: Modules<Call> = kinds
        .into_iter()
        .map(|(name, outputs)| {
            let kind = Kind { name, outputs, scene: scene.clone(), outside: outside.clone() };
            (name.to_owned(), Arc::new(kind) as Arc<dyn Module<Call>>)
        })
        .collect();
    let mut persist = StageSettings::new("persist").to("next", "fan_out");
    persist.batch = scene.batch;
    persist.delay_target = scene.delay_target;
    let topology = Topology {
        stages: vec![
            StageSettings::new("decode").to("next", "route"),
            StageSettings::new("route").to("durable", "persist").to("transient", "fan_out"),
            persist,
            StageSettings::new("fan_out"),
        ],
        pools: Vec::new(),
    };
    let ended = Arc::new(Ended { outside: outside.clone(), calls: Mutex::default() });
    let sinks: Sinks<Call> = HashMap::from([("end".to_owned(), ended.clone() as Arc<dyn Sink<Call>>)]);
    let pipeline = Pipeline::build(topology, modules, sinks, Arc::new(Nobody), &["decode"], sim.env()).unwrap();
    let state = State { random: scene.seed ^ 0x5851_F42D_4C95_7F2D, socket: VecDeque::new(), reading: false };
    let front = Arc::new(Front {
        scene: scene.clone(),
        door: pipeline.door("decode"),
        outside,
        ended: ended.clone(),
        state: Mutex::new(state),
    });
    front.clone().crowd();
    let end = scene.length().as_nanos() as u64;
    while sim.step(&pipeline) {
        if front.outside.now() > end + 1_000_000_000
            && pipeline.quiet()
            && front.state.lock().unwrap().socket.is_empty()
        {
            break;
        }
    }
    let unread = front.state.lock().unwrap().socket.len();
    let calls = std::mem::take(&mut *ended.calls.lock().unwrap());
    Outcome { scene, calls, unread }
}

impl Outcome {
    /// Those that were sent in this time, in seconds.
    pub fn sent(&self, from: f64, to: f64) -> impl Iterator<Item = &Call> {
        let (from, to) = ((from * 1e9) as u64, (to * 1e9) as u64);
        self.calls.iter().filter(move |call| (from..to).contains(&call.sent))
    }

    /// Durable calls done in a second, as a share of what the slow stage can do.
    pub fn goodput(&self, from: f64, to: f64) -> f64 {
        let (first, last) = ((from * 1e9) as u64, (to * 1e9) as u64);
        let done = self.calls.iter().filter(|call| !call.refused && call.class != 3);
        done.filter(|call| (first..last).contains(&call.done)).count() as f64 / (to - from) / self.scene.capacity()
    }

    /// Milliseconds from the socket read (`true`) or from the sending to the end, of those of class 1 that were let in.
    pub fn wait(&self, from: f64, to: f64, quantile: f64, from_read: bool) -> f64 {
        let calls = self.sent(from, to).filter(|call| !call.refused && call.class == 1);
        let mut all: Vec<u64> = calls.map(|c| c.done - if from_read { c.read } else { c.sent }).collect();
        all.sort_unstable();
        let at = ((all.len() as f64 * quantile) as usize).min(all.len().saturating_sub(1));
        all.get(at).copied().unwrap_or(0) as f64 / 1e6
    }

    /// How much of a class was let in.
    pub fn let_in(&self, from: f64, to: f64, class: u8) -> f64 {
        let calls = || self.sent(from, to).filter(move |call| call.class == class);
        calls().filter(|call| !call.refused).count() as f64 / calls().count().max(1) as f64
    }

    /// Jain's index over what each user got done of class 1: 1 when all got the same.
    pub fn jain(&self, from: f64, to: f64) -> f64 {
        let mut each = vec![0.0f64; self.scene.users as usize];
        self.sent(from, to).filter(|call| !call.refused && call.class == 1).for_each(|c| each[c.user as usize] += 1.0);
        let sum: f64 = each.iter().sum();
        sum * sum / (each.len() as f64 * each.iter().map(|x| x * x).sum::<f64>()).max(1.0)
    }

    /// Seconds after `end` until all is as it was: of the calls of classes 1 and 2 in each 20 ms from then on, fewer than a
    /// fifth are refused or take longer than `normal` milliseconds.
    pub fn recovery(&self, end: f64, normal: f64) -> f64 {
        const BIN: u64 = 20_000_000;
        let end = (end * 1e9) as u64;
        let mut bins: Vec<(u64, u64)> = Vec::new();
        for call in self.calls.iter().filter(|c| c.sent >= end && matches!(c.class, 1 | 2)) {
            let bin = ((call.sent - end) / BIN) as usize;
            bins.resize(bins.len().max(bin + 1), (0, 0));
            bins[bin].0 += 1;
            bins[bin].1 += (call.refused || (call.done - call.sent) as f64 / 1e6 > normal) as u64;
        }
        let last = bins.iter().rposition(|(all, bad)| bad * 5 > *all);
        last.map_or(0.0, |bin| ((bin as u64 + 1) * BIN) as f64 / 1e9)
    }
}
