//! Clients that stay while all others are cut: pairs that talk on, open loop.
//!
//! On a thread of their own: what the storm costs the generator itself would otherwise be counted against the server.

use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};

use crate::Failure;
use crate::clock::{SECOND, now};
use crate::fleet::Fleet;
use crate::schedule::{Schedule, Stretch};
use crate::traffic::{Phase, Traffic};

/// How long answers are waited for at the end.
const TAIL: u64 = 3 * SECOND;

/// Clients that talk.
pub struct Stayers {
    phases: Sender<u64>,
    thread: JoinHandle<Result<(Fleet, Traffic), Failure>>,
}

impl Stayers {
    /// All of the traffic's lines in turn, `rate` messages a second together, from its first phase's beginning on.
    pub fn talk(fleet: Fleet, traffic: Traffic, rate: f64) -> Stayers {
        let (phases, told) = mpsc::channel();
        let thread = thread::spawn(move || talk(fleet, traffic, rate, &told));
        Stayers { phases, thread }
    }

    /// Ends the current phase, and begins the next.
    pub fn phase(&self, at: u64) {
        // A thread that is no more says why at the end.
        let _ = self.phases.send(at);
    }

    /// They say no more; gives back what they heard.
    pub fn fall_silent(self) -> Result<(Fleet, Traffic), Failure> {
        drop(self.phases);
        self.thread.join().map_err(|_| Failure::because("the thread of those who stayed panicked"))?
    }
}

fn talk(mut fleet: Fleet, mut traffic: Traffic, rate: f64, told: &Receiver<u64>) -> Result<(Fleet, Traffic), Failure> {
    let endless = Stretch { rate, length: u64::MAX / 2 };
    let mut schedule = Schedule::new(traffic.phases[0].from, vec![endless]);
    let (mut line, mut end) = (0, None);
    while end.is_none_or(|end| !traffic.settled() && now() < end + TAIL) {
        match told.try_recv() {
            Ok(at) => next_phase(&mut traffic, at),
            Err(TryRecvError::Disconnected) if end.is_none() => {
                end = Some(now());
                schedule = Schedule::new(0, Vec::new());
            }
            Err(_) => {}
        }
        let at = now();
        while let Some(intended) = schedule.due(at) {
            traffic.send(&mut fleet, line, intended, at);
            line = (line + 1) % traffic.lines();
        }
        traffic.answered.clear();
        let until = schedule.next().unwrap_or(u64::MAX).min(at + SECOND / 100);
        let number = fleet.numbers();
        fleet.turn(until, |client, heard, at| {
            traffic.hear(client, &heard, |i| number.of(i), at);
        })?;
        traffic.hlog.tick(now());
    }
    Ok((fleet, traffic))
}

fn next_phase(traffic: &mut Traffic, at: u64) {
    if let Some(phase) = traffic.phases.last_mut() {
        phase.until = at;
    }
    traffic.phases.push(Phase::new(at, u64::MAX));
}
