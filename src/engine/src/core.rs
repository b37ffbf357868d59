//! What a running pipeline is made of, and the few things that several of its parts do: wake, reserve, refuse, answer.
//!
//! Everything here is shared by all threads and never replaced; what can change while events flow is an atomic.

use std::sync::{Arc, Weak};

use crate::admission::Admission;
use crate::blocked::BlockedClock;
use crate::deadlines::{Deadlines, Place};
use crate::delay::Delay;
use crate::metrics::StageMetrics;
use crate::overload::Decisions;
use crate::parking::Parking;
use crate::queue::Queue;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst};
use crate::sync::{Mutex, lock};
use crate::tape::{Recording, Reel};
use crate::threads::Alarm;
use crate::topology::{Policy, Topology};
use crate::{Env, Event, Late, Module, Output, OutputKind, Refusal, Sink, Supervisor};

pub(crate) struct Core<E: Event> {
    pub stages: Vec<StageCore<E>>,
    /// The shared ones, then one for each stage, in the stages' order: its own, which stands empty while it shares another.
    pub pools: Vec<Pool>,
    /// Goes up after stages have moved between pools.
    pub moves: AtomicUsize,
    pub sinks: Vec<SinkCore<E>>,
    pub supervisor: Arc<dyn Supervisor<E>>,
    pub env: Env,
    pub topology: Mutex<Topology>,
    /// Doors take nothing new.
    pub draining: AtomicBool,
    /// Threads end.
    pub stopping: AtomicBool,
    /// Who is let in by the doors, and how much.
    pub admission: Admission,
    pub decisions: Mutex<Decisions>,
    pub taping: Recording,
    pub alarm: Alarm,
    /// Itself, for tickets.
    pub me: Weak<Core<E>>,
}

pub(crate) struct StageCore<E: Event> {
    pub name: Arc<str>,
    pub module: Arc<dyn Module<E>>,
    pub outputs: Vec<Binding>,
    /// Who serves it. It may move, see [`Core::move_stages`].
    pool: AtomicUsize,
    pub queue: Queue<E>,
    pub knobs: Knobs,
    /// Threads that are inside.
    inside: AtomicUsize,
    pub held: AtomicUsize,
    pub deadlines: Deadlines,
    /// Stages to wake when there is room again.
    pub feeders: Vec<usize>,
    /// How far downstream it is: a pool looks there first.
    pub far: usize,
    /// Reached over line outputs: its delay closes the door.
    pub on_line: bool,
    pub delay: Delay,
    pub blocked: BlockedClock,
    pub metrics: StageMetrics,
    pub reel: Reel,
}

/// What may be changed while events flow. Set by [`Core::put_into_force`], from the first topology on.
#[derive(Default)]
pub(crate) struct Knobs {
    pub workers: AtomicUsize,
    pub batch: AtomicUsize,
    pub share: AtomicUsize,
    pub window: AtomicUsize,
    policy: AtomicU8,
}

/// An output and what it is bound to.
pub(crate) struct Binding {
    pub output: Output,
    pub to: Target,
    /// The first output that waits for room in the same target. Room is reserved for all of these at once, under its
    /// number: one after the other they could each take what the next one lacks, for ever.
    pub leader: usize,
    /// How many events one input may become on all of them together; 0 when this output is not their leader.
    pub joint: usize,
}

impl Binding {
    /// Joins outputs that wait for room in the same target.
    pub fn join(bound: impl Iterator<Item = (Output, Target)>) -> Vec<Binding> {
        let mut all: Vec<Binding> = Vec::new();
        for (mut output, to) in bound {
            output.most = output.most.max(1);
            let waits = |output: &Output| output.kind.is_line() || matches!(output.kind, OutputKind::Sink(_));
            let leader = all.iter().position(|b| b.to == to && waits(&b.output)).filter(|_| waits(&output));
            let leader = leader.unwrap_or(all.len());
            let joint = if waits(&output) { output.most as usize } else { 0 };
            all.push(Binding { output, to, leader, joint });
            if leader + 1 < all.len() {
                all[leader].joint += std::mem::take(&mut all.last_mut().expect("just pushed").joint);
            }
        }
        all
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Stage(usize),
    Sink(usize),
    Nothing,
}

pub(crate) struct SinkCore<E> {
    pub name: String,
    pub sink: Arc<dyn Sink<E>>,
    wanted: AtomicBool,
    pub feeders: Vec<usize>,
}

pub(crate) struct Pool {
    pub name: Arc<str>,
    /// Downstream first.
    stages: Mutex<Vec<usize>>,
    pub parking: Parking,
    /// How many workers it is meant to have.
    pub size: AtomicUsize,
    /// Which workers exist; a worker leaves, and one is hired, under this lock.
    crew: Mutex<Vec<bool>>,
    pub spin_ns: AtomicU64,
    /// Whether others may run its stages while its own threads sleep.
    pub helped: AtomicBool,
    /// Batches that others have run.
    pub help: AtomicU64,
}

impl Knobs {
    pub fn policy(&self) -> Policy {
        match self.policy.load(SeqCst) {
            0 => Policy::Block,
            1 => Policy::Shed,
            _ => Policy::DropOldest,
        }
    }

    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, SeqCst);
    }
}

impl<E> SinkCore<E> {
    pub fn new(name: String, sink: Arc<dyn Sink<E>>, feeders: Vec<usize>) -> SinkCore<E> {
        SinkCore { name, sink, wanted: AtomicBool::new(false), feeders }
    }

    /// As [`crate::room::Room::reserve_or_want`]; a sink only says yes or no, so it is asked for less and less.
    fn reserve_or_want(&self, wish: usize, group: usize) -> usize {
        let ask = |groups: usize| self.sink.reserve((groups * group) as u32);
        let mut groups = wish;
        while groups > 0 {
            if ask(groups) {
                return groups;
            }
            groups /= 2;
        }
        self.wanted.store(true, SeqCst);
        ask(1) as usize
    }
}

impl<E: Event> StageCore<E> {
    pub fn new(
        name: Arc<str>,
        module: Arc<dyn Module<E>>,
        outputs: Vec<Binding>,
        bound: usize,
        delay: Delay,
        now: u64,
    ) -> StageCore<E> {
        StageCore {
            name,
            module,
            outputs,
            pool: AtomicUsize::new(0),
            queue: Queue::new(bound),
            knobs: Knobs::default(),
            inside: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            deadlines: Deadlines::new(),
            feeders: Vec::new(),
            far: 0,
            on_line: false,
            delay,
            blocked: BlockedClock::default(),
            metrics: StageMetrics::new(now),
            reel: Reel::default(),
        }
    }

    /// The pool that serves it now.
    pub fn pool(&self) -> usize {
        self.pool.load(SeqCst)
    }

    /// Whether another thread may go in, as far as one can tell without doing so.
    pub fn has_place(&self) -> bool {
        self.inside.load(SeqCst) < self.knobs.workers.load(SeqCst)
    }

    pub fn enter(&self) -> bool {
        let workers = self.knobs.workers.load(SeqCst);
        self.inside.fetch_update(SeqCst, SeqCst, |inside| (inside < workers).then_some(inside + 1)).is_ok()
    }

    /// Threads that are in it now.
    pub fn inside(&self) -> usize {
        self.inside.load(SeqCst)
    }

    /// How many events are waiting or worked on, and not held.
    pub fn waiting(&self) -> usize {
        self.queue.room.used().saturating_sub(self.held.load(SeqCst))
    }

    /// How many events may be worked on at once: these do not wait any more.
    pub fn in_work(&self) -> u64 {
        (self.knobs.batch.load(SeqCst) * self.knobs.workers.load(SeqCst)) as u64
    }

    pub fn leave(&self) {
        self.inside.fetch_sub(1, SeqCst);
    }

    /// Whether the emitter must have room in the target of this binding before it starts.
    fn reserves(&self, binding: &Binding, stages: &[StageCore<E>]) -> bool {
        binding.joint > 0
            && match binding.to {
                Target::Stage(to) => stages[to].knobs.policy() != Policy::Shed,
                Target::Sink(_) => true,
                Target::Nothing => false,
            }
    }
}

impl Pool {
    pub fn new(name: Arc<str>) -> Pool {
        Pool {
            name,
            stages: Mutex::new(Vec::new()),
            parking: Parking::new(),
            size: AtomicUsize::new(0),
            crew: Mutex::new(Vec::new()),
            spin_ns: AtomicU64::new(0),
            helped: AtomicBool::new(false),
            help: AtomicU64::new(0),
        }
    }

    /// Its stages, downstream first.
    pub fn stages(&self) -> Vec<usize> {
        lock(&self.stages).clone()
    }

    /// The numbers of workers that are missing. The caller starts them, or calls [`Pool::dismiss`].
    pub fn hire(&self) -> Vec<usize> {
        let mut crew = lock(&self.crew);
        let size = self.size.load(SeqCst);
        if crew.len() < size {
            crew.resize(size, false);
        }
        let missing: Vec<usize> = (0..size).filter(|worker| !crew[*worker]).collect();
        missing.iter().for_each(|worker| crew[*worker] = true);
        missing
    }

    pub fn dismiss(&self, worker: usize) {
        lock(&self.crew)[worker] = false;
    }

    /// Whether this worker is one too many. If so it is gone from the list and must end.
    pub fn leaves(&self, worker: usize) -> bool {
        if worker < self.size.load(SeqCst) {
            return false;
        }
        let mut crew = lock(&self.crew);
        let surplus = worker >= self.size.load(SeqCst);
        crew[worker] = !surplus;
        surplus
    }

    /// How many workers exist.
    pub fn workers(&self) -> usize {
        lock(&self.crew).iter().filter(|there| **there).count()
    }
}

impl<E: Event> Core<E> {
    /// Sets room aside for up to `wish` inputs of `stage` in every target that must have it, and notes it in `reserved`, by
    /// output. All targets or none: on failure names the one without room.
    pub fn reserve(&self, stage: &StageCore<E>, wish: usize, reserved: &mut Vec<usize>) -> Result<usize, Target> {
        reserved.clear();
        reserved.resize(stage.outputs.len(), 0);
        let mut inputs = wish;
        for (i, binding) in stage.outputs.iter().enumerate() {
            if !stage.reserves(binding, &self.stages) {
                continue;
            }
            let got = match binding.to {
                Target::Stage(to) => self.reserve_in_stage(to, inputs, binding.joint),
                Target::Sink(to) => self.sinks[to].reserve_or_want(inputs, binding.joint),
                Target::Nothing => continue,
            };
            if got == 0 {
                stage.outputs.iter().zip(reserved).for_each(|(b, joint)| self.free(b.to, std::mem::take(joint), None));
                return Err(binding.to);
            }
            reserved[i] = got * binding.joint;
            inputs = inputs.min(got);
        }
        for (i, binding) in stage.outputs.iter().enumerate() {
            // Whether there is room, not what the policy is by now, says that it was reserved.
            if reserved[binding.leader] > 0 && (binding.joint > 0 || binding.leader < i) {
                if binding.leader == i {
                    self.free(binding.to, reserved[i] - inputs * binding.joint, None);
                }
                reserved[i] = inputs * binding.output.most as usize;
            }
        }
        Ok(inputs)
    }

    fn reserve_in_stage(&self, to: usize, inputs: usize, group: usize) -> usize {
        let target = &self.stages[to];
        let got = target.queue.room.reserve(inputs, group);
        if got > 0 {
            return got;
        }
        if target.knobs.policy() == Policy::DropOldest {
            self.drop_oldest(to, inputs * group);
        }
        target.queue.room.reserve_or_want(inputs, group)
    }

    /// Gives back what was reserved beyond the room for `inputs`.
    pub fn give_back(&self, stage: &StageCore<E>, reserved: &mut [usize], inputs: usize) {
        for (binding, reserved) in stage.outputs.iter().zip(reserved) {
            let keep = inputs * binding.output.most as usize;
            if *reserved > keep {
                self.free(binding.to, *reserved - keep, None);
                *reserved = keep;
            }
        }
    }

    /// Frees room in a target and wakes whoever waits for it; a worker leaves its own pool out when it goes on to look for
    /// work itself.
    pub fn free(&self, to: Target, n: usize, but: Option<usize>) {
        if n == 0 {
            return;
        }
        match to {
            Target::Stage(to) => {
                if self.stages[to].queue.room.release(n) {
                    self.wake(&self.stages[to].feeders, but);
                }
            }
            Target::Sink(to) => self.sinks[to].sink.give_back(n as u32),
            Target::Nothing => {}
        }
    }

    /// Wakes the pools of these stages.
    fn wake(&self, stages: &[usize], but: Option<usize>) {
        for stage in stages {
            let pool = self.stages[*stage].pool();
            if Some(pool) != but {
                self.pools[pool].parking.wake_one();
            }
        }
    }

    /// Lets each stage be served by the pool that `pool_of` names. A thread that is inside a stage that moves finishes its
    /// batch. Nothing waits unseen: whoever hands in an event, or leaves a stage, looks at its pool after that and wakes it,
    /// and the caller wakes everybody afterwards.
    pub fn move_stages(&self, pool_of: impl Fn(usize) -> usize) {
        let mut stages: Vec<usize> = (0..self.stages.len()).collect();
        stages.sort_by_key(|stage| std::cmp::Reverse(self.stages[*stage].far));
        for (i, pool) in self.pools.iter().enumerate() {
            *lock(&pool.stages) = stages.iter().copied().filter(|stage| pool_of(*stage) == i).collect();
        }
        stages.iter().for_each(|stage| self.stages[*stage].pool.store(pool_of(*stage), SeqCst));
        self.moves.fetch_add(1, SeqCst);
    }

    pub fn sink_has_room(&self, sink: usize) {
        let sink = &self.sinks[sink];
        if sink.wanted.load(SeqCst) && sink.wanted.swap(false, SeqCst) {
            self.wake(&sink.feeders, None);
        }
    }

    /// Whether `stage` could work on something right now, so that it is worth waking a thread for. Leaves word where it
    /// lacks room. Sinks are not asked: their answer would be a reservation.
    pub fn could_run(&self, stage: &StageCore<E>) -> bool {
        stage.queue.has_ready()
            && stage.has_place()
            && stage.outputs.iter().all(|binding| match binding.to {
                Target::Stage(to) if stage.reserves(binding, &self.stages) => {
                    self.stages[to].queue.room.has_or_want(binding.joint)
                }
                _ => true,
            })
    }

    /// Adds events to a stage's queue. Their room was reserved.
    pub fn push(&self, to: usize, events: impl Iterator<Item = (u64, E)>, at: u64, but: Option<usize>) {
        let stage = &self.stages[to];
        let mut refused = Vec::new();
        if stage.queue.push(events, at, stage.knobs.share.load(SeqCst), &mut refused) {
            self.wake(&[to], but);
        }
        if !refused.is_empty() {
            self.free(Target::Stage(to), refused.len(), but);
            refused.into_iter().for_each(|(event, why)| self.refuse(to, event, why));
        }
    }

    pub fn refuse(&self, stage: usize, event: E, why: Refusal) {
        self.stages[stage].metrics.refused(1);
        self.supervisor.refused(event, why);
    }

    /// Makes up to `wanted` room in a stage by dropping.
    pub fn drop_oldest(&self, stage: usize, wanted: usize) {
        let dropped = self.stages[stage].queue.drop_oldest(wanted);
        self.free(Target::Stage(stage), dropped.len(), None);
        dropped.into_iter().for_each(|event| self.refuse(stage, event, Refusal::Dropped));
    }

    /// Answers a held event, if it still waits.
    pub fn answer(&self, place: Place, answer: Result<E::Answer, Late>) {
        let stage = &self.stages[place.stage];
        let answered = lock(stage.queue.lane(place.lane)).answer(place.key, place.slot, answer);
        if let Ok(true) = answered {
            stage.queue.make_ready(&[place.lane]);
            self.wake(&[place.stage], None);
        }
    }

    /// Resumes what is due. Returns when to look again, if anything is left.
    pub fn expire(&self, now: u64) -> Option<u64> {
        let mut next: Option<u64> = None;
        for stage in &self.stages {
            while let Some(place) = stage.deadlines.pop_due(now) {
                self.answer(place, Err(Late::Deadline));
            }
            next = [next, stage.deadlines.first()].into_iter().flatten().min();
        }
        next
    }

    /// Ends the present second of the figures.
    pub fn rotate(&self, now: u64) {
        for stage in &self.stages {
            stage.metrics.rotate(now, stage.blocked.total(now), stage.queue.came());
        }
    }

    pub fn wake_everybody(&self) {
        self.pools.iter().for_each(|pool| pool.parking.wake_all());
    }
}
