//! Real threads: one for each worker, and one that looks after deadlines, controllers and figures.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::Event;
use crate::core::Core;
use crate::parking::Sleeper;
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::thread::{self, JoinHandle};
use crate::worker::{Step, Worker};

/// Starts the workers that a pool is missing, each named after the pool.
pub(crate) fn staff<E: Event>(core: &Arc<Core<E>>, pool: usize, threads: &mut Vec<JoinHandle<()>>) -> io::Result<()> {
    let mut outcome = Ok(());
    for number in core.pools[pool].hire() {
        let of = core.clone();
        let name = core.pools[pool].name.to_string();
        match thread::Builder::new().name(name).spawn(move || survive(&of, pool, number)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                core.pools[pool].dismiss(number);
                outcome = Err(error);
            }
        }
    }
    outcome
}

/// A stage's panic is caught where it happens. What arrives here is one of a sink or a supervisor, which must not: the
/// batch that it was in cannot be mended, so all that is left is to say so loudly.
fn survive<E: Event>(core: &Arc<Core<E>>, pool: usize, number: usize) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(core, pool, number))) {
        let name = &core.pools[pool].name;
        log::error!("a thread of pool {name} is lost, and its lanes stand still: a sink or the supervisor panicked");
        core.pools[pool].dismiss(number);
        resume_unwind(panic);
    }
}

fn work<E: Event>(core: &Arc<Core<E>>, pool: usize, number: usize) {
    let sleeper = Sleeper::new(Some(thread::current()));
    let mut worker = Worker::new(core.clone(), pool, number, sleeper);
    loop {
        match worker.step() {
            Step::Again => {}
            Step::Gone => return,
            Step::Idle => match spin(core, pool, &mut worker) {
                Step::Again => {}
                Step::Gone => return,
                Step::Idle => {
                    if worker.lie_down() {
                        worker.sleeper.park();
                        worker.get_up();
                    }
                }
            },
        }
    }
}

/// Looks for work a little longer, if no other worker of the pool does.
fn spin<E: Event>(core: &Core<E>, pool: usize, worker: &mut Worker<E>) -> Step {
    let spin = core.pools[pool].spin_ns.load(SeqCst);
    if spin == 0 || !worker.stay_up() {
        return Step::Idle;
    }
    let until = core.env.now() + spin;
    loop {
        std::hint::spin_loop();
        let step = worker.step();
        // The model checker's clock stands still: it gets one more look.
        if step != Step::Idle || core.env.now() >= until || cfg!(feature = "shuttle") {
            return step;
        }
    }
}

/// Wakes the thread that looks after deadlines when a new one is earlier than all others.
pub(crate) struct Alarm {
    /// When that thread looks next; `u64::MAX` while it is looking, so that everybody rings.
    next: std::sync::atomic::AtomicU64,
    rung: std::sync::Mutex<bool>,
    bell: std::sync::Condvar,
}

// The model checker has no clock, so its runs have no such thread, and the alarm stays outside the seam.
impl Alarm {
    pub fn new() -> Alarm {
        Alarm {
            next: std::sync::atomic::AtomicU64::new(0), // nobody listens yet
            rung: std::sync::Mutex::new(false),
            bell: std::sync::Condvar::new(),
        }
    }

    pub fn ring_before(&self, at: u64) {
        if at < self.next.load(std::sync::atomic::Ordering::SeqCst) {
            self.ring();
        }
    }

    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(|e| e.into_inner()) = true;
        self.bell.notify_one();
    }
}

#[cfg(not(feature = "shuttle"))]
pub(crate) use clock::start as start_clock;

#[cfg(not(feature = "shuttle"))]
mod clock {
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Starts the thread that looks after deadlines, controllers and figures.
    pub(crate) fn start<E: Event>(core: &Arc<Core<E>>) -> io::Result<JoinHandle<()>> {
        let core = core.clone();
        thread::Builder::new().name("engine-clock".to_owned()).spawn(move || run(&core))
    }

    fn run<E: Event>(core: &Core<E>) {
        let mut next_second = core.env.now() + SECOND;
        while !core.stopping.load(SeqCst) {
            core.alarm.next.store(u64::MAX, SeqCst);
            let now = core.env.now();
            let due = core.expire(now);
            core.tick(now);
            if now >= next_second {
                core.rotate(now);
                next_second = now + SECOND;
            }
            let tick = core.stages.iter().map(|stage| stage.delay.interval()).min().unwrap_or(SECOND);
            let next = (now + tick.max(5_000_000)).min(next_second).min(due.unwrap_or(u64::MAX));
            let mut rung = core.alarm.rung.lock().unwrap_or_else(|e| e.into_inner());
            if !*rung {
                core.alarm.next.store(next, SeqCst);
                let wait = Duration::from_nanos(next.saturating_sub(core.env.now()));
                rung = core.alarm.bell.wait_timeout(rung, wait).unwrap_or_else(|e| e.into_inner()).0;
            }
            *rung = false;
        }
    }
}
