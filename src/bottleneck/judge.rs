//! The verdict from the evidence: rules, in the order in which one cause hides another.
//!
//! 1. Messages that wait for the app's server leave the stages idle, so that is asked first; but a stage that holds more
//!    than the hook does is the narrower place.
//! 2. A stage is *pressed* where its threads hardly rest, or where one of several does because one key has all that
//!    waits. One that waits for room is not; the one that gives none is, and where that is the mailbox, the reactors are.
//! 3. Why a stage is pressed: its threads may sleep in commits, be kept off the processors, or have one lane to work on;
//!    only where it is none of these does another thread help.
//! 4. Where no stage is pressed, a reactor may be busy.
//! 5. Hooks that are only told, and pushes, delay nobody's message, so they come after that; and a lack of processors too
//!    small to press a stage comes after those, where they hold more. Clients that do not read cost only themselves.
//!
//! Must not know where the numbers come from.

use tidegate_http::{Cause, Verdict};

use super::evidence::{Calls, Evidence, Machine, Stage, Threads};
use super::words;

/// Threads that are inside batches for this share of the time have no time left that counts: what waits comes unevenly.
const FULL: f64 = 0.75;
/// A stage that lacked room for less of the time than this is not held up by another.
const HELD_UP: f64 = 0.2;
/// One key with so much of what waits dominates.
const DOMINATES: f64 = 0.6;
/// Events that wait for something at any moment, below which nobody would notice.
const NOTICED: f64 = 1.0;
/// A webhook that answers sooner is not slow.
const SLOW_HOOK_MS: f64 = 10.0;
/// A push has time, and providers are far away.
const SLOW_PUSH_MS: f64 = 250.0;
/// The share of the time for which a busy reactor is on a processor.
const BUSY_REACTOR: f64 = 0.8;
/// The share for which it is on one or waits for one, where it gets too little of it.
const NEVER_RESTS: f64 = 0.95;
/// Busy threads that want a processor for less of the time than this mostly wait for something else.
const SLEEPS: f64 = 0.65;
/// Of the time in which threads wanted a processor, the share without from which on it shows.
const KEPT_WAITING: f64 = 0.25;
/// Processors that are idle on average, of each, below which there is none left.
const NONE_LEFT: f64 = 0.1;

/// What was found, and where.
pub struct Found<'a> {
    pub cause: Cause,
    pub stage: Option<&'a Stage>,
}

pub fn judge(evidence: &Evidence) -> Verdict {
    let found = find(evidence);
    Verdict {
        stage: found.stage.map(|stage| stage.name.clone()),
        cause: found.cause,
        evidence: words::evidence(evidence, &found),
        suggestion: words::suggestion(evidence, &found),
    }
}

fn find(evidence: &Evidence) -> Found<'_> {
    let at = |cause, stage| Found { cause, stage };
    let of = |module: &str| evidence.stages.iter().find(|stage| stage.module == module);
    let pressed = pressed(evidence);
    let inside = match pressed {
        Some(Pressed::Stage(stage)) => stage.inside(),
        Some(Pressed::Mailbox) => f64::INFINITY,
        None => 0.0,
    };
    let held = held_by_hooks(evidence);
    if held >= NOTICED && held > 2.0 * inside && evidence.hooks.iter().any(|hook| is_slow(hook, SLOW_HOOK_MS)) {
        return at(Cause::Hook, of("hook"));
    }
    match pressed {
        Some(Pressed::Stage(stage)) => return at(why(evidence, stage), Some(stage)),
        Some(Pressed::Mailbox) => return at(busy_or_kept_waiting(evidence), None),
        None => {}
    }
    let reactor = evidence.machine.as_ref().map(|machine| machine.busiest_reactor).unwrap_or_default();
    if reactor.on_cpu >= BUSY_REACTOR || reactor.on_cpu + reactor.waiting >= NEVER_RESTS {
        return at(busy_or_kept_waiting(evidence), None);
    }
    let kept = kept_from_processors(evidence);
    let waits = |calls: &Calls| calls.pending >= NOTICED && calls.pending > 2.0 * kept;
    if evidence.hooks.iter().any(|hook| hook.is_crowded() && waits(hook)) {
        return at(Cause::Hook, of("hook"));
    }
    let is_late = |push: &Calls| is_slow(push, SLOW_PUSH_MS) || push.failed > 0.5 * push.rate;
    if evidence.pushes.iter().any(|push| is_late(push) && waits(push)) {
        return at(Cause::PushProvider, of("push"));
    }
    if kept >= NOTICED {
        return at(Cause::Cpu, None);
    }
    let clients = &evidence.clients;
    let blocked = clients.blocked >= (clients.connections * 0.01).max(0.7);
    let dropped = clients.dropped >= (clients.frames_out * 0.01).max(1.0);
    if blocked || dropped || clients.closed > 0.0 {
        return at(Cause::SlowClients, None);
    }
    at(Cause::UpstreamIdle, None)
}

/// Events and threads that wait because there is no processor for them.
fn kept_from_processors(evidence: &Evidence) -> f64 {
    match &evidence.machine {
        Some(machine) if is_short(machine, machine.ours) => {
            machine.ours.waiting + evidence.stages.iter().map(|stage| stage.queued).sum::<f64>()
        }
        _ => 0.0,
    }
}

/// Messages that wait for a webhook's answer, and those that wait behind them because of the order of their conversation.
fn held_by_hooks(evidence: &Evidence) -> f64 {
    let pending: f64 = evidence.hooks.iter().map(|hook| hook.pending).sum();
    let asking = || evidence.stages.iter().filter(|stage| matches!(&*stage.module, "route" | "hook"));
    let held: f64 = asking().map(|stage| stage.held).sum();
    // What a conversation is loaded from disk for is held too.
    let held = held.min(pending);
    let behind = |stage: &Stage| match stage.held > 0.0 && stage.utilisation() < 0.5 && stage.blocked < HELD_UP {
        true => stage.queued,
        false => 0.0,
    };
    if held < NOTICED { held } else { held + asking().map(behind).sum::<f64>() }
}

fn is_slow(calls: &Calls, ms: f64) -> bool {
    let none_ended = calls.rate == 0.0 && calls.pending >= NOTICED;
    calls.is_crowded() || none_ended || calls.mean_ms >= ms
}

enum Pressed<'a> {
    Stage(&'a Stage),
    /// The reactors take too little out of it.
    Mailbox,
}

/// The place in which most waits, of those that could do no more.
fn pressed(evidence: &Evidence) -> Option<Pressed<'_>> {
    let stages = &evidence.stages;
    let mut guilty: Vec<&Stage> = Vec::new();
    for stage in stages.iter().filter(|stage| stage.blocked >= HELD_UP) {
        // Who holds that one up is among them too.
        match stages.iter().find(|other| Some(&other.name) == stage.blocked_by.as_ref()) {
            Some(other) => guilty.push(other),
            None => return Some(Pressed::Mailbox),
        }
    }
    let is_one = |stage: &&Stage| {
        let alone = stage.workers > 1 && stage.hottest >= DOMINATES && stage.busy >= 0.6;
        let is_guilty = guilty.iter().any(|guilty| guilty.name == stage.name);
        stage.blocked < HELD_UP && (is_guilty || alone || is_full(stage))
    };
    stages.iter().filter(is_one).max_by(|a, b| a.inside().total_cmp(&b.inside())).map(Pressed::Stage)
}

fn is_full(stage: &Stage) -> bool {
    let pool = &stage.pool;
    // The stage that takes most of a shared pool's time stands for the pool.
    let with_pool = pool.is_shared && pool.busy >= FULL * pool.workers as f64 && stage.busy >= 0.4 * pool.busy;
    stage.utilisation() >= FULL || with_pool
}

/// Why a pressed stage does no more.
fn why(evidence: &Evidence, stage: &Stage) -> Cause {
    let is_hot = stage.hottest >= DOMINATES;
    if is_hot && stage.workers > 1 && stage.utilisation() < FULL {
        return Cause::LaneSkew; // others rest, and may not help
    }
    let pool = &stage.pool;
    let threads = evidence.machine.as_ref().map(|machine| (machine, pool.threads));
    let of_busy = |time: f64| time / pool.busy.max(1e-9);
    // Inside batches, and neither on a processor nor waiting for one: they wait for something else.
    let sleeps = threads.is_none_or(|(_, threads)| of_busy(threads.on_cpu + threads.waiting) < SLEEPS);
    // What a commit takes is known when it has ended. Nothing else in persist goes on for so long.
    let syncs = evidence.synced.busy >= 0.5 * stage.busy || stage.is_stuck();
    if stage.module == "persist" && syncs && sleeps {
        return Cause::Fsync;
    }
    if let Some((machine, threads)) = threads.filter(|_| !sleeps) {
        let works = of_busy(threads.on_cpu) >= 0.6 && machine.idle < NONE_LEFT * machine.cores;
        if works || is_short(machine, threads) {
            return Cause::Cpu;
        }
    }
    // With one worker too: a second would have nothing to do.
    if is_hot { Cause::LaneSkew } else { Cause::Workers }
}

/// Whether these threads lack processors: there is none left; or, where they may use a part of them only, they wait more
/// than they work.
fn is_short(machine: &Machine, threads: Threads) -> bool {
    let none_left = machine.idle < NONE_LEFT * machine.cores && threads.kept_waiting() >= KEPT_WAITING;
    none_left || (threads.waiting >= 0.5 && threads.kept_waiting() >= 0.5)
}

/// Reactors that do not keep up.
fn busy_or_kept_waiting(evidence: &Evidence) -> Cause {
    match &evidence.machine {
        Some(machine) if is_short(machine, machine.busiest_reactor) => Cause::Cpu,
        _ => Cause::Reactors,
    }
}

#[cfg(test)]
mod tests;
