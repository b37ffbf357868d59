//! A verdict in words: the numbers that speak for it, and what to do.

use tidegate_http::Cause;

use super::evidence::{Calls, Evidence, Stage, Threads};
use super::judge::Found;

/// What speaks most for it first; the processors last, for every verdict.
pub fn evidence(evidence: &Evidence, found: &Found<'_>) -> Vec<String> {
    let mut said = Vec::new();
    match (found.cause, found.stage) {
        (Cause::Fsync, Some(stage)) => {
            said.push(work(stage));
            said.push(synced(evidence, stage));
            said.push(wait(stage));
            said.extend(own_time(evidence, stage));
        }
        (Cause::LaneSkew, Some(stage)) => {
            said.push(format!("{} of the events found waiting in {} are of one key", share(stage.hottest), stage.name));
            said.push(work(stage));
            said.push(wait(stage));
        }
        (Cause::Workers, Some(stage)) => {
            said.push(work(stage));
            said.push(wait(stage));
            if stage.hottest > 0.0 {
                said.push(format!("the key that has most of what waits has {} of it", share(stage.hottest)));
            }
            said.extend(own_time(evidence, stage));
        }
        (Cause::Hook, _) => {
            let asking = evidence.stages.iter().filter(|stage| stage.held >= 0.5);
            said.extend(asking.map(|stage| format!("{} events are held in {}", number(stage.held), stage.name)));
            said.extend(evidence.hooks.iter().map(calls));
        }
        (Cause::PushProvider, _) => said.extend(evidence.pushes.iter().map(calls)),
        (Cause::SlowClients, _) => said.push(clients(evidence)),
        (Cause::Reactors, _) => {
            said.extend(reactor(evidence));
            said.push(format!("{} pieces of mail wait for the reactors", number(evidence.clients.mailbox)));
        }
        (Cause::Cpu, stage) => {
            if let Some(machine) = &evidence.machine {
                said.push(format!("the server's threads {}", on_processors(machine.ours)));
            }
            said.extend(stage.map(work));
            said.extend(stage.and_then(|stage| own_time(evidence, stage)));
        }
        _ => {}
    }
    let most = evidence.stages.iter().max_by(|a, b| a.utilisation().total_cmp(&b.utilisation()));
    match (found.cause, most) {
        (Cause::UpstreamIdle, Some(most)) => {
            said.push(format!("of all stages the busiest, {}", work(most)));
            let queued: f64 = evidence.stages.iter().map(|stage| stage.queued).sum();
            said.push(format!("{} events wait in all stages together", number(queued)));
        }
        (Cause::UpstreamIdle, None) => said.push("the server has just started".to_owned()),
        _ => {}
    }
    said.extend(machine(evidence));
    said
}

pub fn suggestion(evidence: &Evidence, found: &Found<'_>) -> String {
    match (found.cause, found.stage) {
        (Cause::Workers, Some(stage)) => more_workers(evidence, stage),
        (Cause::Fsync, Some(stage)) => faster_commits(evidence, stage),
        (Cause::LaneSkew, Some(stage)) => format!(
            "One conversation's events go one after the other, so more workers do not help. Find out who sends so much \
             (GET /trace); a chat room or transient messages cost less; a smaller key_share keeps it from the others' room \
             (tidegate tune route key_share=0.05). Where only {} is slow, a larger batch lets it take more at once.",
            stage.name
        ),
        (Cause::Hook, _) => slow_calls(
            evidence.hooks.iter(),
            "Make the app's server answer sooner",
            "allow it more calls at once (concurrency in [[app.webhook]])",
        ),
        (Cause::PushProvider, _) => slow_calls(
            evidence.pushes.iter(),
            "Make the push webhook answer sooner: it can take a notification and deliver it later",
            "send fewer notifications (a receiversOffline webhook may skip them)",
        ),
        (Cause::SlowClients, _) => "Clients that do not read cost only themselves: their transient messages are dropped, then \
                                    they are closed and learn the rest by unread. Look at who they are and at the network; \
                                    [net] outbox is what may wait for each."
            .to_owned(),
        (Cause::Reactors, _) => {
            format!("Set [net] reactors = {} in pipeline.toml and restart.", evidence.reactors.max(1) + 1)
        }
        (Cause::Cpu, _) => {
            let others = evidence.machine.as_ref().map_or(0.0, |m| m.cores - m.idle - m.ours.on_cpu);
            match others > 0.5 {
                true => format!(
                    "Other programs use {} processors: stop or move them (nice, cgroups), or give the server more.",
                    number(others)
                ),
                false => "More threads would not help: give the server more or faster processors, or less work (fewer \
                          receivers of each message, larger batches)."
                    .to_owned(),
            }
        }
        _ => "Nothing holds the server up; it takes more than comes.".to_owned(),
    }
}

fn more_workers(evidence: &Evidence, stage: &Stage) -> String {
    let more = stage.workers + 1;
    let pool = &stage.pool;
    let by_pool = pool.is_shared && pool.busy >= 0.75 * pool.workers as f64;
    let of_pool = || format!("tidegate tune --pool {} workers={}", pool.name, pool.workers + 1);
    let of_stage = || format!("tidegate tune {} workers={more}", stage.name);
    let command = match by_pool {
        true if stage.utilisation() >= 0.75 => format!("{}; {}", of_pool(), of_stage()),
        true => of_pool(),
        false => of_stage(),
    };
    let left = match &evidence.machine {
        Some(machine) => format!(" ({} of {} processors are idle)", number(machine.idle), machine.cores),
        None => String::new(),
    };
    format!("Give it another thread{left}: {command}")
}

fn faster_commits(evidence: &Evidence, stage: &Stage) -> String {
    let full = stage.batch_size >= 0.8 * stage.batch as f64;
    let batch = match full {
        true => format!(
            "Its batches are full: let a commit carry more (tidegate tune {} batch={}). ",
            stage.name,
            (stage.batch * 4).min(4096)
        ),
        false => "Its batches have room, so a larger batch would not help. ".to_owned(),
    };
    let ms = evidence.synced.busy / evidence.synced.commits.max(1e-9) * 1e3;
    format!(
        "{batch}A disk that syncs in less than {ms:.1} ms helps; [store] sync = \"interval 100ms\" no longer waits for it, and \
         a power cut may then take the last moments."
    )
}

fn slow_calls<'a>(of: impl Iterator<Item = &'a Calls>, sooner: &str, or: &str) -> String {
    match of.max_by(|a, b| a.pending.total_cmp(&b.pending)) {
        Some(calls) if calls.is_crowded() => format!("{sooner} ({}), or {or}.", calls.name),
        Some(calls) => format!("{sooner} ({}).", calls.name),
        None => format!("{sooner}."),
    }
}

fn work(stage: &Stage) -> String {
    let Stage { name, workers, .. } = stage;
    let held_up = match (&stage.blocked_by, stage.blocked >= 0.05) {
        (Some(by), true) => format!(", and without room in {by} {} of the time", share(stage.blocked)),
        _ => String::new(),
    };
    format!(
        "{name} is at work {} of the time of its {workers} worker{}{held_up}",
        share(stage.utilisation()),
        if *workers == 1 { "" } else { "s" }
    )
}

fn wait(stage: &Stage) -> String {
    let refused =
        if stage.refused >= 1.0 { format!("; it refuses {}/s", number(stage.refused)) } else { String::new() };
    format!(
        "an event waits {} for its turn and its batch takes {}; {} events/s in batches of {} (at most {}), {} waiting{refused}",
        ms(stage.wait_ms),
        ms(stage.service_ms),
        number(stage.rate),
        number(stage.batch_size),
        stage.batch,
        number(stage.queued),
    )
}

fn synced(evidence: &Evidence, stage: &Stage) -> String {
    if stage.is_stuck() {
        return format!("no batch of it ended in {:.0} s", evidence.seconds);
    }
    let synced = &evidence.synced;
    format!(
        "{} of that goes to commits that sync: {}/s, {} each",
        share((synced.busy / stage.busy.max(1e-9)).min(1.0)),
        number(synced.commits),
        ms(synced.busy / synced.commits.max(1e-9) * 1e3)
    )
}

/// What the threads that serve a stage do with their time.
fn own_time(evidence: &Evidence, stage: &Stage) -> Option<String> {
    evidence.machine.as_ref()?;
    Some(format!("the threads of {} {}", stage.pool.name, on_processors(stage.pool.threads)))
}

fn reactor(evidence: &Evidence) -> Option<String> {
    let busiest = evidence.machine.as_ref()?.busiest_reactor;
    let which = if evidence.reactors == 1 { "the one reactor" } else { "the busiest reactor" };
    let (on, waits) = (share(busiest.on_cpu), share(busiest.waiting));
    Some(format!("{which} is on a processor {on} of the time and waits for one {waits}"))
}

fn on_processors(threads: Threads) -> String {
    let (on, waiting) = (number(threads.on_cpu), number(threads.waiting));
    format!("keep {on} processors busy while {waiting} of them wait for one ({} of the time that they want one)", {
        share(threads.kept_waiting())
    })
}

fn calls(calls: &Calls) -> String {
    let unsent = if calls.unsent > 0.0 { format!(", {}/s never made", number(calls.unsent)) } else { String::new() };
    let failed = if calls.failed > 0.0 {
        format!(", {}/s without an answer of use", number(calls.failed))
    } else {
        String::new()
    };
    let each = if calls.rate > 0.0 { format!("{} each", ms(calls.mean_ms)) } else { "no answer yet".to_owned() };
    format!(
        "{}: {} pending, {} of them on their way (at most {}), {}/s, {each}{failed}{unsent}",
        calls.name,
        number(calls.pending),
        number(calls.in_flight),
        calls.concurrency,
        number(calls.rate),
    )
}

fn clients(evidence: &Evidence) -> String {
    let clients = &evidence.clients;
    format!(
        "{} of {} connections take no more; {}/s notices were dropped and {} connections closed because of that in {:.0} s",
        number(clients.blocked),
        number(clients.connections),
        number(clients.dropped),
        clients.closed,
        evidence.seconds
    )
}

fn machine(evidence: &Evidence) -> Option<String> {
    if evidence.seconds == 0.0 {
        return None;
    }
    Some(match &evidence.machine {
        Some(machine) => format!(
            "{} of {} processors idle; the server uses {} (last {:.0} s)",
            number(machine.idle),
            machine.cores,
            number(machine.ours.on_cpu),
            evidence.seconds
        ),
        None => "this system does not tell what processors and threads do, so that was left out".to_owned(),
    })
}

fn share(of: f64) -> String {
    format!("{:.0}%", of * 100.0)
}

fn ms(ms: f64) -> String {
    match ms {
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms if ms >= 1.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

fn number(n: f64) -> String {
    match n {
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 1.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}
