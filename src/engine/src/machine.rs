//! A simulated machine: so many virtual processors, and the very workers, lanes, queues and policies that real threads
//! drive, under a virtual clock. It says what a pipeline would do on that machine, and the same each time.
//!
//! The simulated run (`sim.rs`) looks for mistakes: it lets chance decide who goes next and how long a step takes. Here
//! nothing is left to chance: work takes the time that the stages say ([`Outside::work`], [`Outside::wait`]), everything
//! else takes none. Whoever works shares the processors with all others that do: when there are more of them than
//! processors, all get on more slowly, each as fast as the others. Whoever waits needs no processor. A thread that sleeps
//! is up a while after it was woken.
//!
//! Not simulated: threads outside the pipeline, such as those that hand events in. What they take of the processors is
//! to be left out of `cores`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::atomic::Ordering::SeqCst;

use crate::env::Virtual;
use crate::parking::Sleeper;
use crate::worker::{Step, Worker};
use crate::{Env, Event, Outside, Pipeline};

/// Drives a pipeline that was built with its [`Machine::env`] and never started.
pub struct Machine<E: Event> {
    clock: Virtual,
    outside: Outside,
    processors: Processors,
    hands: Vec<Hand<E>>,
    /// Those that may act now, in order.
    ready: VecDeque<usize>,
    /// When hands stop waiting, sleeping or looking around.
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    asked: u64,
    spinning: Vec<usize>,
    /// By number: who waits together.
    together: BTreeMap<u64, Together>,
    wake_ns: Box<dyn FnMut() -> u64>,
    next_tick: u64,
    next_second: u64,
}

/// A worker, and what it is at.
struct Hand<E: Event> {
    worker: Worker<E>,
    state: State,
    /// What of its batch is left to wait for when the work is done.
    wait: u64,
    /// With whom, see [`Outside::wait_together`]; 0: alone.
    together: u64,
    /// Of its present state: what was due for an earlier one is not meant.
    turn: u64,
}

/// One thing that several wait for.
#[derive(Default)]
struct Together {
    /// How many it serves now.
    served: usize,
    /// Who has come meanwhile.
    next: Vec<usize>,
    /// The longest wait of these.
    wait: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// Works on its batch, on a processor.
    Works,
    /// Waits for what its batch asked for.
    Waits,
    /// Looks for work a little longer.
    Spins,
    /// Has seen some there.
    Looks,
    Sleeps,
    /// Was woken, and is not up yet.
    Rises,
    Gone,
}

/// How often controllers are let decide, and how long a second of the figures is.
const TICK: u64 = 5_000_000;
const SECOND: u64 = 1_000_000_000;

impl<E: Event> Machine<E> {
    /// One with so many processors; a part of one may be taken up by others. `wake_ns` says, each time, how long it
    /// takes from waking a thread until it runs.
    pub fn new(cores: f64, wake_ns: impl FnMut() -> u64 + 'static) -> Machine<E> {
        let clock = Virtual { is_machine: true, ..Virtual::default() };
        Machine {
            outside: Outside::of(clock.clone()),
            clock,
            processors: Processors::new(cores),
            hands: Vec::new(),
            ready: VecDeque::new(),
            due: BinaryHeap::new(),
            asked: 0,
            spinning: Vec::new(),
            together: BTreeMap::new(),
            wake_ns: Box::new(wake_ns),
            next_tick: TICK,
            next_second: SECOND,
        }
    }

    /// The environment to build the pipeline with.
    pub fn env(&self) -> Env {
        Env::of(self.clock.clone())
    }

    /// For what the stages say of their work and ask of the world.
    pub fn outside(&self) -> Outside {
        self.outside.clone()
    }

    /// How long all processors together have worked so far, in nanoseconds.
    pub fn worked_ns(&self) -> u64 {
        self.processors.worked
    }

    /// Runs until the clock is at `until`, in nanoseconds. `feed` is called first at once and then whenever it wishes: it
    /// hands in what is to come in by now, and says when it wants to be called next; `None`: never.
    pub fn run(&mut self, pipeline: &Pipeline<E>, until: u64, mut feed: impl FnMut(u64) -> Option<u64>) {
        // Pools may have grown since the last time.
        self.hire(pipeline);
        let mut next_feed = Some(self.now());
        loop {
            self.settle(pipeline);
            let next = [
                next_feed,
                self.processors.next(self.now()),
                self.due.peek().map(|Reverse((at, ..))| *at),
                self.outside.first(),
                Some(self.next_tick),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(until).max(self.now());
            if next > until {
                self.processors.advance(self.now(), until);
                self.clock.now.store(until, SeqCst);
                return;
            }
            self.processors.advance(self.now(), next);
            self.clock.now.store(next, SeqCst);
            self.tick(pipeline, next);
            while let Some(i) = self.processors.done() {
                self.worked(i, next);
            }
            self.wake_due(next);
            while let Some(then) = self.outside.pop(next) {
                then();
            }
            if next_feed.is_some_and(|at| at <= next) {
                next_feed = feed(next).map(|at| at.max(next + 1));
            }
            self.hear();
        }
    }

    fn now(&self) -> u64 {
        self.clock.now.load(SeqCst)
    }

    /// Starts the workers that a pool is missing, as threads would be.
    fn hire(&mut self, pipeline: &Pipeline<E>) {
        for (i, pool) in pipeline.core.pools.iter().enumerate() {
            for number in pool.hire() {
                let worker = Worker::new(pipeline.core.clone(), i, number, Sleeper::new(None));
                self.ready.push_back(self.hands.len());
                self.hands.push(Hand { worker, state: State::Ready, wait: 0, together: 0, turn: 0 });
            }
        }
    }

    fn tick(&mut self, pipeline: &Pipeline<E>, now: u64) {
        if now >= self.next_tick {
            pipeline.core.expire(now + 1);
            pipeline.core.tick(now + 1);
            self.next_tick = now + TICK;
        }
        if now >= self.next_second {
            pipeline.core.rotate(now + 1);
            self.next_second = now + SECOND;
        }
    }

    /// Lets everybody act who can, until nobody can without time going by.
    fn settle(&mut self, pipeline: &Pipeline<E>) {
        while let Some(i) = self.ready.pop_front() {
            self.act(pipeline, i);
            self.hear();
        }
    }

    /// Lets one act until it works on a batch or finds nothing to do.
    fn act(&mut self, pipeline: &Pipeline<E>, i: usize) {
        let now = self.now();
        loop {
            let hand = &mut self.hands[i];
            match hand.worker.step() {
                Step::Again if hand.worker.busy_until().is_some() => {
                    let work = self.clock.worked.swap(0, SeqCst);
                    hand.wait = self.clock.waited.swap(0, SeqCst);
                    hand.together = self.clock.together.swap(0, SeqCst);
                    hand.state = State::Works;
                    self.processors.start(i, work);
                    return;
                }
                Step::Again => {}
                Step::Idle => {
                    let spin = pipeline.core.pools[hand.worker.pool()].spin_ns.load(SeqCst);
                    // What is there cannot be taken now: whoever makes room wakes it.
                    let looked = hand.state == State::Looks;
                    if spin > 0 && !looked && hand.worker.stay_up() {
                        hand.state = State::Spins;
                        self.spinning.push(i);
                        self.call(i, now + spin);
                        return;
                    }
                    if hand.worker.lie_down() {
                        hand.state = State::Sleeps;
                        return;
                    }
                }
                Step::Gone => {
                    hand.state = State::Gone;
                    return;
                }
            }
        }
    }

    /// Its turn comes at `at`, unless it is at something else by then.
    fn call(&mut self, i: usize, at: u64) {
        self.asked += 1;
        self.hands[i].turn = self.asked;
        self.due.push(Reverse((at, self.asked, i)));
    }

    /// The work of a batch is done; maybe it has still to wait for something.
    fn worked(&mut self, i: usize, now: u64) {
        let hand = &mut self.hands[i];
        match std::mem::take(&mut hand.wait) {
            0 => {
                hand.state = State::Ready;
                self.ready.push_back(i);
            }
            wait => {
                hand.state = State::Waits;
                match hand.together {
                    0 => self.call(i, now + wait),
                    number => self.wait_together(i, number, wait, now),
                }
            }
        }
    }

    fn wait_together(&mut self, i: usize, number: u64, wait: u64, now: u64) {
        let together = self.together.entry(number).or_default();
        together.next.push(i);
        together.wait = together.wait.max(wait);
        if together.served == 0 {
            self.serve(number, now);
        }
    }

    /// What these wait for begins anew, for all who have come.
    fn serve(&mut self, number: u64, now: u64) {
        let Some(together) = self.together.get_mut(&number) else { return };
        let (all, wait) = (std::mem::take(&mut together.next), std::mem::take(&mut together.wait));
        together.served = all.len();
        all.into_iter().for_each(|i| self.call(i, now + wait));
    }

    /// One of those who wait together has been served.
    fn served(&mut self, number: u64, now: u64) {
        let Some(together) = self.together.get_mut(&number) else { return };
        together.served = together.served.saturating_sub(1);
        if together.served == 0 {
            self.serve(number, now);
        }
    }

    fn wake_due(&mut self, now: u64) {
        while let Some(Reverse((at, turn, i))) = self.due.peek().copied().filter(|Reverse((at, ..))| *at <= now) {
            debug_assert!(at <= now);
            self.due.pop();
            let hand = &mut self.hands[i];
            if hand.turn != turn {
                continue;
            }
            let mut served = 0;
            match hand.state {
                State::Rises => hand.worker.get_up(),
                State::Waits => served = std::mem::take(&mut hand.together),
                State::Spins => {
                    self.spinning.retain(|other| *other != i);
                    if hand.worker.lie_down() {
                        hand.state = State::Sleeps;
                        continue;
                    }
                }
                _ => continue,
            }
            hand.state = State::Ready;
            self.ready.push_back(i);
            self.served(served, now);
        }
    }

    /// Those who were woken begin to rise, and those who look around see whether there is something.
    fn hear(&mut self) {
        let now = self.now();
        for i in 0..self.hands.len() {
            let hand = &mut self.hands[i];
            match hand.state {
                State::Sleeps if hand.worker.sleeper.take_woken() => {
                    hand.state = State::Rises;
                    let up = now + (self.wake_ns)();
                    self.call(i, up);
                }
                State::Spins if hand.worker.has_work() => {
                    hand.state = State::Looks;
                    hand.turn = 0;
                    self.spinning.retain(|other| *other != i);
                    self.ready.push_back(i);
                }
                _ => {}
            }
        }
    }
}

/// Processors that all who work share evenly.
struct Processors {
    /// Of a nanosecond, as of everything here: in 1,024ths.
    cores: u64,
    /// What each who has been here from the beginning would have had.
    had: u64,
    /// What each of those who work will have had when it is done.
    working: BinaryHeap<Reverse<(u64, u64, usize)>>,
    started: u64,
    worked: u64,
}

const PARTS: u64 = 1_024;

impl Processors {
    fn new(cores: f64) -> Processors {
        let cores = ((cores * PARTS as f64) as u64).max(PARTS / 16);
        Processors { cores, had: 0, working: BinaryHeap::new(), started: 0, worked: 0 }
    }

    fn start(&mut self, i: usize, work: u64) {
        self.started += 1;
        self.working.push(Reverse((self.had + work * PARTS, self.started, i)));
    }

    /// What each gets in a nanosecond.
    fn pace(&self) -> u64 {
        (self.cores / self.working.len().max(1) as u64).clamp(1, PARTS)
    }

    /// When the first is done, if nobody comes or goes before.
    fn next(&self, now: u64) -> Option<u64> {
        let Reverse((done, ..)) = self.working.peek()?;
        Some(now + done.saturating_sub(self.had).div_ceil(self.pace()))
    }

    fn advance(&mut self, now: u64, then: u64) {
        let got = (then - now) * self.pace();
        if !self.working.is_empty() {
            self.had += got;
            self.worked += got * self.working.len() as u64 / PARTS;
        }
    }

    /// Takes out one that is done.
    fn done(&mut self) -> Option<usize> {
        let Reverse((done, _, i)) = *self.working.peek()?;
        (done <= self.had).then(|| {
            self.working.pop();
            i
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_work_on_one_processor_take_twice_as_long() {
        let mut one = Processors::new(1.0);
        one.start(7, 1_000);
        one.start(8, 2_000);
        assert_eq!(one.next(0), Some(2_000));
        one.advance(0, 2_000);
        assert_eq!((one.done(), one.done()), (Some(7), None));
        assert_eq!(one.next(2_000), Some(3_000), "alone again");
        one.advance(2_000, 3_000);
        assert_eq!((one.done(), one.worked), (Some(8), 3_000));
    }

    #[test]
    fn on_enough_processors_nobody_is_in_anybodys_way() {
        let mut two = Processors::new(2.0);
        two.start(1, 1_000);
        two.start(2, 1_000);
        assert_eq!(two.next(500), Some(1_500));
        two.advance(500, 1_500);
        assert_eq!((two.done(), two.done(), two.worked), (Some(1), Some(2), 2_000));
    }
}
