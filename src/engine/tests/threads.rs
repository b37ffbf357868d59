//! Real threads: order per key in every layout, while pools, batches and bounds change at random.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use tidegate_engine::*;

const KEYS: u64 = 37;

fn chain(layout: &str) -> Topology {
    let mut stages: Vec<StageSettings> = ["one", "two", "three", "four", "five"].map(StageSettings::new).into();
    for i in 0..4 {
        let next = stages[i + 1].name.clone();
        stages[i].to.push(("next".to_owned(), next));
    }
    for (i, stage) in stages.iter_mut().enumerate() {
        stage.workers = 2;
        stage.batch = 16;
        stage.bound = 64;
        stage.pool = match (layout, i) {
            ("own", _) => None,
            ("shared", _) => Some("all".to_owned()),
            (_, 0..=1) => Some("front".to_owned()),
            (_, 2..=3) => Some("back".to_owned()),
            _ => None,
        };
    }
    let pools = match layout {
        "own" => vec![],
        "shared" => vec![PoolSettings::new("all", 3)],
        // The last one waits for a stage.
        _ => vec![PoolSettings::new("front", 2), PoolSettings::new("back", 2), PoolSettings::new("spare", 1)],
    };
    Topology { stages, pools }
}

fn modules() -> [(&'static str, std::sync::Arc<dyn Module<Ev>>); 5] {
    [("one", pass(NEXT)), ("two", pass(NEXT)), ("three", pass(NEXT)), ("four", pass(NEXT)), ("five", pass(END))]
}

fn change_something(pipeline: &Pipeline<Ev>, random: &Random) {
    let topology = pipeline.topology();
    let pools = pipeline.pools();
    let outcome = match random.below(4) {
        0 => {
            let pool = &pools[random.below(pools.len() as u64) as usize];
            let workers = Some(1 + random.below(4) as usize);
            pipeline.set_pool(&pool.name, PoolPatch { workers, ..PoolPatch::default() })
        }
        1 if !topology.pools.is_empty() => {
            let pool = &topology.pools[random.below(topology.pools.len() as u64) as usize].name;
            let spin = Some(Duration::from_micros(random.below(20)));
            pipeline.set_pool(pool, PoolPatch { spin, helped: Some(random.below(4) > 0), workers: None })
        }
        2 => {
            let stage = &topology.stages[random.below(5) as usize].name;
            let all = topology.pools.iter().map(|pool| Some(pool.name.clone())).chain([None]).collect::<Vec<_>>();
            let pool = all[random.below(all.len() as u64) as usize].clone();
            pipeline.set_stage(stage, StagePatch { pool: Some(pool), ..StagePatch::default() })
        }
        _ => {
            let stage = &topology.stages[random.below(5) as usize].name;
            let patch = StagePatch {
                workers: Some(1 + random.below(4) as usize),
                batch: Some(1 + random.below(32) as usize),
                bound: Some(32 + random.below(100) as usize),
                ..StagePatch::default()
            };
            pipeline.set_stage(stage, patch)
        }
    };
    outcome.unwrap();
}

fn stress(layout: &str, seed: u64, time: Duration) {
    let rig = rig(chain(layout), modules(), 200, Env::real());
    rig.pipeline.start().unwrap();
    let door = rig.pipeline.door("one").for_helpers();
    let mut helper = door.helper();
    let random = Random::new(seed);
    let mut sent: HashMap<u64, u64> = HashMap::new();
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let mut check = |events: Vec<Ev>| {
        let count = events.len();
        for event in events {
            let next = seen.entry(event.key).or_default();
            assert_eq!(event.n, *next, "order of key {} ({layout}, seed {seed})", event.key);
            *next += 1;
        }
        count
    };
    let (mut came, mut went) = (0, 0);
    let (mut event, mut last_change) = (None, Instant::now());
    let start = Instant::now();
    while start.elapsed() < time {
        for _ in 0..50 {
            let next = event.take().unwrap_or_else(|| {
                let key = random.below(KEYS);
                let n = sent.entry(key).or_default();
                *n += 1;
                ev(key, *n - 1)
            });
            match door.offer(next) {
                Ok(()) => went += 1,
                Err((back, why)) => {
                    assert_eq!(why, Refusal::Full);
                    event = Some(back);
                    std::thread::yield_now();
                    break;
                }
            }
        }
        helper.help();
        came += check(rig.end.take());
        if last_change.elapsed() > Duration::from_millis(3) {
            change_something(&rig.pipeline, &random);
            last_change = Instant::now();
        }
    }
    until("everything has come out", || {
        came += check(rig.end.take());
        came == went
    });
    let helped = rig.pipeline.pools().iter().any(|pool| pool.helped > 0);
    assert!(helped || layout != "shared", "nobody was helped");
    assert!(!helped || layout != "own", "a pool of its own is helped");
    assert!(rig.pipeline.drain(Duration::from_secs(5)), "quiet when all has come out");
    assert!(came > 1000, "only {came} in {time:?}");
    assert_eq!(rig.log.refused.lock().unwrap().len(), 0);
    let begun: u64 = rig.pipeline.stages().iter().map(|stage| stage.totals.events).sum();
    assert_eq!(begun, 5 * went as u64, "every stage counted every event");
    rig.pipeline.stop();
}

#[test]
fn order_holds_with_own_pools() {
    stress("own", 1, Duration::from_millis(1500));
}

#[test]
fn order_holds_in_one_shared_pool() {
    stress("shared", 2, Duration::from_millis(1500));
}

#[test]
fn order_holds_in_a_mix() {
    stress("mix", 3, Duration::from_millis(1500));
}

#[test]
fn a_door_refuses_when_full_and_when_draining() {
    let mut topology = chain("own");
    topology.stages[0].bound = 32;
    let rig = rig(topology, modules(), 200, Env::real());
    let door = rig.pipeline.door("one"); // not started: nothing leaves
    for n in 0..32 {
        door.offer(ev(n, n)).unwrap();
    }
    let (back, why) = door.offer(ev(1, 99)).unwrap_err();
    assert_eq!((back.n, why), (99, Refusal::Full));
    door.offer_always(ev(1, 100));
    assert_eq!(rig.pipeline.stage("one").unwrap().depth, 33);
    rig.pipeline.start().unwrap();
    assert!(rig.pipeline.drain(Duration::from_secs(10)));
    assert_eq!(door.offer(ev(1, 101)).unwrap_err().1, Refusal::Draining);
    assert_eq!(rig.end.take().len(), 33);
}

#[test]
fn a_glance_tells_the_key_that_has_most_of_what_waits() {
    let rig = rig(chain("own"), modules(), 200, Env::real());
    let door = rig.pipeline.door("one"); // not started: nothing leaves
    for n in 0..60 {
        door.offer(ev(if n % 3 > 0 { 7 } else { n }, n)).unwrap();
    }
    let one = rig.pipeline.glance().remove(0);
    assert_eq!((&*one.name, one.depth, one.waiting, one.hottest), ("one", 60, 60, 40));
    assert_eq!((one.workers, one.batch, one.bound, one.events, one.inside), (2, 16, 64, 0, 0));
}

#[test]
fn a_full_sink_stops_the_line_and_room_starts_it_again() {
    let rig = rig(chain("own"), modules(), 10, Env::real());
    rig.pipeline.start().unwrap();
    let door = rig.pipeline.door("one");
    let mut accepted = 0;
    until("the door refuses because all is full", || match door.offer(ev(accepted % 5, accepted)) {
        Ok(()) => {
            accepted += 1;
            false
        }
        Err(_) => rig.end.len() == 10 && rig.pipeline.stage("one").unwrap().depth == 64,
    });
    let mut came = 0;
    until("all has come out", || {
        came += rig.end.take().len() as u64;
        came == accepted
    });
    let five = rig.pipeline.stage("five").unwrap();
    assert!(five.blocked.share > 0.0);
    assert_eq!(five.blocked.by.as_deref(), Some("end"));
}

#[test]
fn a_held_event_comes_back_with_its_answer_before_its_followers() {
    let (asks, asked) = std::sync::mpsc::channel();
    let asks = std::sync::Mutex::new(asks);
    let hold = module(END, move |batch, item| match item {
        Item::New(event) if event.n == 0 => {
            let ticket = batch.hold(event, Duration::from_secs(30));
            asks.lock().unwrap().send(ticket).unwrap();
        }
        Item::New(event) => batch.emit(0, event),
        Item::Resumed(event, answer) => batch.emit(0, ev(event.key, answer.unwrap())),
    });
    let topology = Topology { stages: vec![StageSettings::new("hold")], pools: vec![] };
    let rig = rig(topology, [("hold", hold)], 100, Env::real());
    rig.pipeline.start().unwrap();
    let door = rig.pipeline.door("hold");
    for event in [ev(1, 0), ev(1, 1), ev(2, 7), ev(1, 2)] {
        door.offer(event).unwrap();
    }
    let ticket = asked.recv().unwrap();
    until("the other key went on", || rig.end.len() == 1);
    assert_eq!(rig.pipeline.stage("hold").unwrap().held, 1);
    ticket.resume(50);
    until("all came out", || rig.end.len() == 4);
    assert_eq!(rig.end.take(), [ev(2, 7), ev(1, 50), ev(1, 1), ev(1, 2)]);
    assert!(rig.pipeline.drain(Duration::from_secs(5)));
}

#[test]
fn deadlines_and_lost_tickets_resume() {
    let hold = module(END, move |batch, item| match item {
        Item::New(event) if event.n == 0 => drop(batch.hold(event, Duration::from_secs(30))),
        Item::New(event) if event.n == 1 => batch.hold(event, Duration::from_secs(30)).refuse(),
        Item::New(event) => std::mem::forget(batch.overlap(event, Duration::from_millis(20))),
        Item::Resumed(event, answer) => {
            let n = match answer {
                Ok(_) => 0,
                Err(Late::Lost) => 1,
                Err(Late::Refused) => 2,
                Err(Late::Deadline) => 3,
            };
            batch.emit(0, ev(event.key, n));
        }
    });
    let topology = Topology { stages: vec![StageSettings::new("hold")], pools: vec![] };
    let rig = rig(topology, [("hold", hold)], 100, Env::real());
    rig.pipeline.start().unwrap();
    let door = rig.pipeline.door("hold");
    for n in 0..3 {
        door.offer(ev(5, n)).unwrap();
    }
    until("all came out", || rig.end.len() == 3);
    assert_eq!(rig.end.take(), [ev(5, 1), ev(5, 2), ev(5, 3)]);
}

#[test]
fn a_panic_costs_one_event_or_its_batch_and_the_pool_goes_on() {
    std::panic::set_hook(Box::new(|_| {}));
    for (one_by_one, lost) in [(true, 13..=13), (false, 8..=13)] {
        let work = |batch: &mut Batch<'_, Ev>, item: Item<Ev>| match item {
            Item::New(event) => {
                let bad = event.n == 13;
                batch.emit(0, event);
                assert!(!bad, "unlucky");
            }
            Item::Resumed(..) => unreachable!(),
        };
        let boom = Arc::new(Fun { outputs: END, sheddable: true, blocks: false, one_by_one, work: Arc::new(work) });
        let mut stage = StageSettings::new("boom");
        stage.batch = 8;
        let rig = rig(Topology { stages: vec![stage], pools: vec![] }, [("boom", boom as _)], 100, Env::real());
        let door = rig.pipeline.door("boom");
        // All there before it begins: its batches are 0 to 7, 8 to 15, and the rest.
        for n in 0..20 {
            door.offer(ev(1, n)).unwrap();
        }
        rig.pipeline.start().unwrap();
        assert!(rig.pipeline.drain(Duration::from_secs(5)));
        let got: Vec<u64> = rig.end.take().iter().map(|event| event.n).collect();
        assert_eq!(got, (0..20).filter(|n| !lost.contains(n)).collect::<Vec<_>>());
        assert_eq!(*rig.log.failed.lock().unwrap(), lost.map(|n| (1, n)).collect::<Vec<_>>());
        assert_eq!(rig.pipeline.stage("boom").unwrap().totals.panics, 1);
    }
}

#[test]
fn a_resize_starts_and_ends_threads() {
    let rig = rig(chain("mix"), modules(), 10, Env::real());
    rig.pipeline.start().unwrap();
    let running = |name: &str| rig.pipeline.pools().into_iter().find(|pool| &*pool.name == name).unwrap().running;
    rig.pipeline.set_pool("front", PoolPatch { workers: Some(5), ..PoolPatch::default() }).unwrap();
    assert_eq!(running("front"), 5);
    rig.pipeline.set_pool("front", PoolPatch { workers: Some(1), ..PoolPatch::default() }).unwrap();
    until("four have left", || running("front") == 1);
    rig.pipeline.set_stage("five", StagePatch { workers: Some(3), ..StagePatch::default() }).unwrap();
    assert_eq!(running("five"), 3, "a pool of its own grows with its stage");
    let before = rig.pipeline.topology();
    let problems =
        rig.pipeline.set_stage("two", StagePatch { bound: Some(0), batch: Some(8), ..StagePatch::default() });
    assert!(!problems.unwrap_err().is_empty());
    assert_eq!(rig.pipeline.topology(), before, "all or nothing");
}

#[test]
fn a_journey_has_a_mark_for_each_stage_and_the_figures_add_up() {
    let rig = rig(chain("mix"), modules(), 100, Env::real());
    rig.pipeline.start().unwrap();
    let journey = Journey::new(42);
    let door = rig.pipeline.door("one");
    for n in 0..50 {
        let journey = (n == 7).then(|| journey.clone());
        until("there is room", || door.offer(Ev { journey: journey.clone(), ..ev(n % 3, n) }).is_ok());
    }
    assert!(rig.pipeline.drain(Duration::from_secs(10)));
    let marks = journey.marks();
    for (glance, stage) in rig.pipeline.glance().iter().zip(rig.pipeline.stages()) {
        let (sums, totals) = ((glance.events, glance.batches, glance.busy_ns, glance.wait_ns), &stage.totals);
        assert_eq!(sums, (totals.events, totals.batches, totals.service_sum_ns, totals.wait_sum_ns), "{}", stage.name);
        assert_eq!((glance.depth, glance.waiting, glance.hottest), (0, 0, 0));
    }
    let stages: Vec<&str> = marks.iter().map(|mark| &*mark.stage).collect();
    assert_eq!(stages, ["one", "two", "three", "four", "five"]);
    for pair in marks.windows(2) {
        assert_eq!(pair[0].ended_at, pair[1].queued_at, "an event is queued when its batch ends");
    }
    assert!(marks.iter().all(|m| m.queued_at <= m.started_at && m.started_at <= m.ended_at && m.batch > 0));
    for stage in rig.pipeline.stages() {
        let totals = &stage.totals;
        assert_eq!((totals.events, stage.depth, stage.held, stage.refused), (50, 0, 0, 0), "{}", stage.name);
        assert_eq!(totals.wait_buckets.iter().sum::<u64>(), 50);
        assert!(stage.rate > 0.0 && stage.utilisation > 0.0 && stage.utilisation <= 1.0);
        assert!(stage.wait.p50 <= stage.wait.p99 && stage.wait.p99 <= stage.wait.max);
        assert!(totals.batches > 0 && totals.batches <= 50 && stage.batch_size.max <= 16);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn threads_are_named_after_their_pool() {
    let mut topology = chain("mix");
    topology.stages[4].name = "only-here".to_owned();
    topology.stages[4].module = "five".to_owned();
    topology.stages[3].to[0].1 = "only-here".to_owned();
    let rig = rig(topology, modules(), 10, Env::real());
    rig.pipeline.start().unwrap();
    let named = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|n| n.trim() == "only-here"))
            .count()
    };
    until("two threads of that name", || named() == 2);
    rig.pipeline.stop();
    until("they are gone", || named() == 0);
}

/// Questions answered by other threads, out of order, lost or too late, while pools and batches change.
#[test]
fn order_holds_across_answers_from_other_threads() {
    let (ask, asked) = crossbeam_channel::unbounded::<Ticket<Ev>>();
    let answering: Vec<_> = (0..2)
        .map(|seed| {
            let asked = asked.clone();
            std::thread::spawn(move || {
                let random = Random::new(seed);
                let mut kept = Vec::new();
                for ticket in asked {
                    kept.push(ticket);
                    let ticket = kept.swap_remove(random.below(kept.len() as u64) as usize);
                    match random.below(20) {
                        0 => drop(ticket),
                        1 => ticket.refuse(),
                        2 => kept.push(ticket), // later, or when its deadline has passed
                        _ => ticket.resume(1),
                    }
                }
            })
        })
        .collect();
    drop(asked);
    let random = std::sync::Arc::new(Random::new(99));
    let later = move |outputs, exclusive: bool| {
        let (ask, random) = (ask.clone(), random.clone());
        module(outputs, move |batch, item| match item {
            Item::New(event) if random.below(3) == 0 => {
                let deadline = Duration::from_micros(500);
                let ticket = if exclusive { batch.hold(event, deadline) } else { batch.overlap(event, deadline) };
                ask.send(ticket).unwrap();
            }
            Item::New(event) | Item::Resumed(event, _) => batch.emit(0, event),
        })
    };
    let modules = [("one", later(NEXT, true)), ("two", later(NEXT, false)), ("three", pass(NEXT))];
    let modules = modules.into_iter().chain([("four", later(NEXT, false)), ("five", pass(END))]);
    let rig = rig(chain("mix"), modules, 1000, Env::real());
    drop(later);
    rig.pipeline.start().unwrap();
    let door = rig.pipeline.door("one");
    let random = Random::new(5);
    let (mut sent, mut seen, mut came) = (vec![0; KEYS as usize], vec![0; KEYS as usize], 0);
    let mut check = |events: Vec<Ev>| {
        came += events.len() as u64;
        for event in events {
            let next = &mut seen[event.key as usize];
            assert_eq!(event.n, *next, "order of key {}", event.key);
            *next += 1;
        }
        came
    };
    let (start, mut went, mut turn) = (Instant::now(), 0, 0u64);
    while start.elapsed() < Duration::from_millis(1500) {
        let key = random.below(KEYS);
        match door.offer(ev(key, sent[key as usize])) {
            Ok(()) => {
                sent[key as usize] += 1;
                went += 1;
            }
            Err(_) => std::thread::yield_now(),
        }
        turn += 1;
        if turn.is_multiple_of(64) {
            check(rig.end.take());
        }
        if turn.is_multiple_of(5000) {
            change_something(&rig.pipeline, &random);
        }
    }
    until("everything has come out", || check(rig.end.take()) == went);
    assert!(rig.pipeline.drain(Duration::from_secs(5)));
    assert!(went > 1000, "only {went}");
    drop((door, rig));
    answering.into_iter().for_each(|thread| thread.join().unwrap());
}
