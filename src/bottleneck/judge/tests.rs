//! The judge against evidence of its own making: each cause, alone and beside what it could be taken for.

use super::super::evidence::{Calls, Clients, Evidence, Machine, Pool, Stage, Synced, Threads};
use super::*;

fn stage(name: &str) -> Stage {
    let pool = Pool { name: name.into(), workers: 1, ..Pool::default() };
    Stage { name: name.into(), module: name.into(), pool, workers: 1, batch: 64, batch_size: 1.0, ..Stage::default() }
}

/// A server of the usual stages at rest, on a machine of two processors at rest.
fn rest() -> Evidence {
    let stages = ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"].map(stage).into();
    let machine = Machine { cores: 2.0, idle: 1.9, ..Machine::default() };
    let clients = Clients { connections: 100.0, frames_out: 100.0, ..Clients::default() };
    Evidence { seconds: 4.0, stages, machine: Some(machine), clients, reactors: 1, ..Evidence::default() }
}

/// Evidence that differs from that.
fn but(change: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut evidence = rest();
    change(&mut evidence);
    evidence
}

fn of<'a>(evidence: &'a mut Evidence, name: &str) -> &'a mut Stage {
    evidence.stages.iter_mut().find(|stage| stage.name == name).unwrap()
}

/// `busy` threads inside batches of `batch`, with so many events waiting; on a processor for `on_cpu`.
fn works(evidence: &mut Evidence, name: &str, busy: f64, batch: f64, queued: f64, on_cpu: f64) {
    let stage = of(evidence, name);
    (stage.busy, stage.batch_size, stage.queued, stage.rate) = (busy, batch, queued, 1_000.0);
    (stage.pool.busy, stage.pool.threads.on_cpu) = (busy, on_cpu);
}

fn hook(pending: f64, concurrency: usize, mean_ms: f64) -> Calls {
    let in_flight = pending.min(concurrency as f64);
    let rate = in_flight * 1e3 / mean_ms;
    Calls { name: "webhook 0 of app a".into(), pending, in_flight, concurrency, rate, mean_ms, ..Calls::default() }
}

fn burnt(evidence: &mut Evidence, on_cpu: f64, waiting: f64) {
    let machine = evidence.machine.as_mut().unwrap();
    (machine.idle, machine.ours) = (0.02, Threads { on_cpu, waiting });
}

fn synced(evidence: &mut Evidence, busy: f64) {
    works(evidence, "persist", 0.97, 30.0, 400.0, 0.05);
    evidence.synced = Synced { commits: 38.0, busy };
}

#[test]
fn each_cause_is_told_from_what_it_resembles() {
    use Cause::*;
    type Case = (&'static str, Cause, Option<&'static str>, Evidence);
    let cases: Vec<Case> = vec![
        ("nothing happens", UpstreamIdle, None, rest()),
        ("a light load", UpstreamIdle, None, but(|e| works(e, "persist", 0.3, 2.0, 0.5, 0.05))),
        ("a quick hook, asked often", UpstreamIdle, None, {
            but(|e| {
                of(e, "route").held = 3.0;
                e.hooks.push(hook(3.0, 64, 2.0));
            })
        }),
        ("a far push provider that keeps up", UpstreamIdle, None, but(|e| e.pushes.push(hook(4.0, 16, 60.0)))),
        ("a burnt machine with nothing to do", UpstreamIdle, None, but(|e| burnt(e, 0.01, 0.05))),
        ("slow syncs", Fsync, Some("persist"), but(|e| synced(e, 0.95))),
        ("slow syncs and a slow hook before them", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                of(e, "route").held = 30.0;
                e.hooks.push(hook(30.0, 64, 20.0));
            })
        }),
        ("slow syncs on a burnt machine", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                burnt(e, 0.3, 0.4);
                of(e, "persist").pool.threads.waiting = 0.1;
            })
        }),
        ("syncs that wait for a processor", Cpu, Some("persist"), {
            but(|e| {
                synced(e, 0.9);
                burnt(e, 0.6, 2.0);
                of(e, "persist").pool.threads = Threads { on_cpu: 0.1, waiting: 0.6 };
            })
        }),
        ("a commit that does not end", Fsync, Some("persist"), {
            but(|e| {
                works(e, "persist", 1.0, 0.0, 90.0, 0.0);
                e.synced = Synced { commits: 0.0, busy: 0.0 };
                of(e, "persist").rate = 0.0;
            })
        }),
        ("another stage waits for persist", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                let route = of(e, "route");
                (route.queued, route.blocked, route.blocked_by) = (8_000.0, 0.9, Some("persist".into()));
            })
        }),
        ("persist works, and does not sync much", Workers, Some("persist"), {
            but(|e| works(e, "persist", 0.97, 30.0, 400.0, 0.05))
        }),
        ("queries take a thread", Workers, Some("read"), {
            but(|e| {
                works(e, "read", 0.99, 1.0, 20.0, 0.98);
                e.machine.as_mut().unwrap().idle = 0.9;
            })
        }),
        ("queries take a thread, and there is no processor", Cpu, Some("read"), {
            but(|e| {
                works(e, "read", 0.99, 1.0, 20.0, 0.9);
                burnt(e, 1.0, 0.2);
            })
        }),
        ("a stage sleeps, on a burnt machine", Workers, Some("route"), {
            but(|e| {
                works(e, "route", 0.99, 4.0, 300.0, 0.02);
                burnt(e, 0.05, 0.4);
                of(e, "route").pool.threads.waiting = 0.1;
            })
        }),
        ("a shared pool is full", Workers, Some("route"), {
            but(|e| {
                for name in ["decode", "route"] {
                    works(e, name, 0.6, 10.0, if name == "route" { 50.0 } else { 5.0 }, 0.1);
                    let stage = of(e, name);
                    stage.workers = 4;
                    stage.pool = Pool {
                        name: "line".into(),
                        is_shared: true,
                        workers: 1,
                        busy: 1.2,
                        threads: Threads { on_cpu: 0.1, waiting: 0.0 },
                    };
                }
            })
        }),
        ("one of four workers has one key's events", LaneSkew, Some("route"), {
            but(|e| {
                works(e, "route", 0.98, 4.0, 300.0, 0.02);
                (of(e, "route").workers, of(e, "route").hottest) = (4, 0.97);
            })
        }),
        ("four workers, and many keys", Workers, Some("route"), {
            but(|e| {
                works(e, "route", 3.9, 4.0, 300.0, 0.02);
                (of(e, "route").workers, of(e, "route").hottest) = (4, 0.04);
            })
        }),
        ("one worker, one key: a second would not help", LaneSkew, Some("route"), {
            but(|e| {
                works(e, "route", 0.98, 4.0, 300.0, 0.02);
                of(e, "route").hottest = 0.97;
            })
        }),
        ("one worker, one key, and commits carry it in batches", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                of(e, "persist").hottest = 0.97;
            })
        }),
        ("several commit, and one key has all", LaneSkew, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                (of(e, "persist").hottest, of(e, "persist").workers) = (0.97, 4);
            })
        }),
        ("messages wait for the hook", Hook, Some("hook"), {
            but(|e| {
                of(e, "route").held = 30.0;
                e.hooks.push(hook(30.0, 64, 200.0));
            })
        }),
        ("the hook never answers", Hook, Some("hook"), {
            but(|e| {
                of(e, "route").held = 30.0;
                e.hooks.push(Calls { pending: 30.0, in_flight: 30.0, concurrency: 64, ..Calls::default() });
            })
        }),
        ("one conversation's messages wait behind their window", Hook, Some("hook"), {
            but(|e| {
                let route = of(e, "route");
                (route.held, route.queued, route.hottest) = (16.0, 280.0, 1.0);
                e.hooks.push(hook(16.0, 64, 50.0));
            })
        }),
        ("the hook is only told, and does not keep up", Hook, Some("hook"), {
            but(|e| e.hooks.push(hook(300.0, 16, 100.0)))
        }),
        ("a hook that is only told, beside slow syncs", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                e.hooks.push(hook(300.0, 16, 100.0));
            })
        }),
        ("pushes pile up", PushProvider, Some("push"), but(|e| e.pushes.push(hook(900.0, 16, 60.0)))),
        ("pushes take long", PushProvider, Some("push"), but(|e| e.pushes.push(hook(6.0, 16, 900.0)))),
        ("pushes fail and are tried again", PushProvider, Some("push"), {
            but(|e| e.pushes.push(Calls { failed: 90.0, ..hook(4.0, 16, 40.0) }))
        }),
        ("pushes pile up beside slow syncs", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                e.pushes.push(hook(900.0, 16, 60.0));
            })
        }),
        ("a reactor is busy", Reactors, None, {
            but(|e| {
                let machine = e.machine.as_mut().unwrap();
                (machine.idle, machine.busiest_reactor) = (0.8, Threads { on_cpu: 0.97, waiting: 0.02 });
            })
        }),
        ("a reactor never rests, for want of a processor", Cpu, None, {
            but(|e| {
                burnt(e, 0.6, 0.5);
                e.machine.as_mut().unwrap().busiest_reactor = Threads { on_cpu: 0.55, waiting: 0.43 };
            })
        }),
        ("the mailbox is full", Reactors, None, {
            but(|e| {
                let fan_out = of(e, "fan_out");
                (fan_out.queued, fan_out.blocked, fan_out.blocked_by) = (5_000.0, 0.8, Some("net".into()));
            })
        }),
        ("the mailbox is full because reactors get no processor", Cpu, None, {
            but(|e| {
                burnt(e, 0.5, 2.0);
                e.machine.as_mut().unwrap().busiest_reactor = Threads { on_cpu: 0.4, waiting: 0.6 };
                let fan_out = of(e, "fan_out");
                (fan_out.queued, fan_out.blocked, fan_out.blocked_by) = (5_000.0, 0.8, Some("net".into()));
            })
        }),
        ("pushes pile up on a burnt machine", PushProvider, Some("push"), {
            but(|e| {
                burnt(e, 0.2, 0.3);
                works(e, "persist", 0.3, 2.0, 2.0, 0.1);
                e.pushes.push(hook(300.0, 16, 500.0));
            })
        }),
        ("a burnt machine that is hardly used", UpstreamIdle, None, {
            but(|e| {
                burnt(e, 0.05, 0.2);
                works(e, "persist", 0.1, 1.0, 0.3, 0.1);
            })
        }),
        ("a burnt machine", Cpu, None, {
            but(|e| {
                works(e, "persist", 0.5, 2.0, 9.0, 0.1);
                burnt(e, 0.4, 1.2);
            })
        }),
        ("a part of the processors only", Cpu, None, {
            but(|e| {
                works(e, "persist", 0.5, 2.0, 9.0, 0.1);
                e.machine.as_mut().unwrap().ours = Threads { on_cpu: 0.5, waiting: 2.0 };
            })
        }),
        ("some clients do not read", SlowClients, None, but(|e| e.clients.blocked = 5.0)),
        ("one of very many does not", UpstreamIdle, None, {
            but(|e| {
                e.clients.connections = 10_000.0;
                e.clients.blocked = 3.0;
            })
        }),
        ("clients are closed for it", SlowClients, None, but(|e| e.clients.closed = 1.0)),
        ("some do not read, and the disk is slow", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                e.clients.blocked = 5.0;
            })
        }),
        ("slow syncs, where the system tells nothing", Fsync, Some("persist"), {
            but(|e| {
                synced(e, 0.95);
                e.machine = None;
            })
        }),
    ];
    for (told, cause, stage, evidence) in cases {
        let verdict = judge(&evidence);
        assert_eq!((verdict.cause, verdict.stage.as_deref()), (cause, stage), "{told}: {verdict:#?}");
        assert!(!verdict.evidence.is_empty() && !verdict.suggestion.is_empty(), "{told}");
    }
}

#[test]
fn what_is_said_can_be_checked_and_done() {
    let verdict = judge(&but(|e| {
        works(e, "read", 0.99, 1.0, 20.0, 0.98);
        e.machine.as_mut().unwrap().idle = 0.9;
    }));
    assert_eq!(
        verdict.suggestion,
        "Give it another thread (0.90 of 2 processors are idle): tidegate tune read workers=2"
    );
    assert_eq!(verdict.evidence[0], "read is at work 99% of the time of its 1 worker");
    let verdict = judge(&but(|e| synced(e, 0.95)));
    assert_eq!(verdict.evidence[1], "98% of that goes to commits that sync: 38.0/s, 25.0 ms each");
    let nothing = judge(&Evidence::default());
    assert_eq!((nothing.cause, nothing.evidence.len()), (Cause::UpstreamIdle, 1));
}
