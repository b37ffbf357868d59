//! What happens when a queue is full, for each policy, with the schedule, the bounds and the traffic left to chance.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::*;
use proptest::prelude::*;
use tidegate_engine::*;

const SIDE: &[Output] = &[
    Output { name: "next", kind: OutputKind::Stage, most: 1 },
    Output { name: "beside", kind: OutputKind::Side, most: 2 },
];
const NONE: &[Output] = &[
    Output { name: "next", kind: OutputKind::Optional, most: 1 },
    Output { name: "end", kind: OutputKind::Sink("end"), most: 1 },
];

#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    bound: usize,
    batch: usize,
    sink: usize,
    events: Vec<(u64, bool)>,
}

fn case() -> impl Strategy<Value = Case> {
    let events = prop::collection::vec((0..4u64, any::<bool>()), 1..120);
    (any::<u64>(), 1..20usize, 1..8usize, 1..8usize, events).prop_map(|(seed, bound, batch, sink, events)| Case {
        seed,
        bound: bound.max(batch),
        batch,
        sink,
        events,
    })
}

/// `first` takes everything and feeds `second`, whose sink nobody empties before all is offered and nothing moves.
fn two_stages(case: &Case, policy: Policy, key_share: f64, sim: &Sim<Ev>) -> Rig {
    let mut first = StageSettings::new("first").to("next", "second");
    first.batch = case.batch;
    let mut second = StageSettings::new("second");
    (second.bound, second.batch, second.policy, second.key_share) = (case.bound, case.batch, policy, key_share);
    let topology = Topology { stages: vec![first, second], pools: vec![] };
    rig(topology, [("first", pass(NEXT)), ("second", pass(END))], case.sink, sim.env())
}

struct Outcome {
    came: Vec<Ev>,
    refused: Vec<(Ev, Refusal)>,
    /// What the second stage held when all stood still.
    stuck: usize,
}

fn run(case: &Case, policy: Policy, key_share: f64) -> Outcome {
    let mut sim = Sim::new(case.seed);
    let rig = two_stages(case, policy, key_share, &sim);
    let door = rig.pipeline.door("first");
    let mut numbers: HashMap<u64, u64> = HashMap::new();
    for (key, droppable) in &case.events {
        let n = numbers.entry(*key).or_default();
        door.offer(Ev { droppable: *droppable, ..ev(*key, *n) }).unwrap();
        *n += 1;
        for _ in 0..sim.random(6) {
            sim.step(&rig.pipeline);
        }
        assert!(rig.pipeline.depths()[1].1 <= case.bound, "over the bound");
    }
    sim.run(&rig.pipeline);
    let stuck = rig.pipeline.depths()[1].1;
    assert!(stuck <= case.bound);
    let mut came = Vec::new();
    loop {
        let more = rig.end.take();
        if more.is_empty() {
            break;
        }
        came.extend(more);
        sim.run(&rig.pipeline);
    }
    assert!(rig.pipeline.quiet());
    let refused = std::mem::take(&mut *rig.log.refused.lock().unwrap());
    assert_eq!(came.len() + refused.len(), case.events.len(), "nothing is lost without a word");
    let mut last: HashMap<u64, u64> = HashMap::new();
    for event in &came {
        assert!(last.insert(event.key, event.n).is_none_or(|before| before < event.n), "order of key {}", event.key);
    }
    let counted = rig.pipeline.stage("second").unwrap().refused;
    assert_eq!(counted, refused.len() as u64, "refusals are counted where they happen");
    Outcome { came, refused, stuck }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn block_refuses_nobody(case in case()) {
        let outcome = run(&case, Policy::Block, 1.0);
        prop_assert!(outcome.refused.is_empty());
    }

    #[test]
    fn shed_refuses_what_does_not_fit(case in case()) {
        let outcome = run(&case, Policy::Shed, 1.0);
        prop_assert!(outcome.refused.iter().all(|(_, why)| *why == Refusal::Shed));
        // What came fits into the queue and the sink (an event may count in both while its batch ends), and refusing
        // means that the queue was full.
        prop_assert!(outcome.came.len() <= case.bound + case.sink);
        prop_assert!(outcome.came.len() >= case.events.len().min(case.bound));
    }

    #[test]
    fn drop_oldest_drops_droppable_events_only_and_the_oldest_first(case in case()) {
        let outcome = run(&case, Policy::DropOldest, 1.0);
        for (event, why) in &outcome.refused {
            prop_assert_eq!(*why, Refusal::Dropped);
            prop_assert!(event.droppable);
        }
        let mut last: HashMap<u64, u64> = HashMap::new();
        for (event, _) in &outcome.refused {
            let older = last.insert(event.key, event.n).is_none_or(|before| before < event.n);
            prop_assert!(older, "key {}: {} was dropped after a newer one", event.key, event.n);
        }
        if case.events.len() <= case.sink.min(case.bound) {
            prop_assert!(outcome.refused.is_empty(), "dropped with room left");
        }
    }

    #[test]
    fn a_key_takes_its_share_and_no_more(case in case()) {
        let share = (case.bound as f64 * 0.5) as usize;
        prop_assume!(share >= 1);
        let outcome = run(&case, Policy::Block, 0.5);
        prop_assert!(outcome.refused.iter().all(|(_, why)| *why == Refusal::KeyShare));
        prop_assert!(outcome.stuck <= case.bound);
        let keys = case.events.iter().map(|(key, _)| *key).collect::<std::collections::HashSet<_>>();
        if keys.len() == 1 {
            // Beside the waiting ones there may be a batch being worked on.
            prop_assert!(outcome.stuck <= share + case.batch);
        }
    }
}

#[test]
fn a_full_side_stage_refuses_and_never_stops_the_line() {
    let mut sim = Sim::new(7);
    let asks = module(SIDE, |batch, item| {
        let Item::New(event) = item else { return };
        batch.emit(1, event.clone());
        batch.emit(0, event);
    });
    let never = module(&[], |batch, item| {
        let Item::New(event) = item else { return };
        std::mem::forget(batch.hold(event, Duration::from_secs(3600)));
    });
    let mut beside = StageSettings::new("beside");
    (beside.batch, beside.bound) = (5, 5);
    let stages =
        vec![StageSettings::new("asks").to("next", "last").to("beside", "beside"), StageSettings::new("last"), beside];
    let modules = [("asks", asks), ("last", pass(END)), ("beside", never)];
    let rig = rig(Topology { stages, pools: vec![] }, modules, 1000, sim.env());
    let door = rig.pipeline.door("asks");
    (0..40).for_each(|n| door.offer(ev(n % 3, n)).unwrap());
    while rig.end.len() < 40 {
        assert!(sim.step(&rig.pipeline), "the line stands still");
    }
    let refused = rig.log.refused.lock().unwrap();
    assert_eq!(refused.len(), 35);
    assert!(refused.iter().all(|(_, why)| *why == Refusal::Full));
    assert_eq!(rig.pipeline.stage("beside").unwrap().refused, 35);
}

/// Two line outputs and a side output that lead to one stage, and two into one sink, all as narrow as can be.
#[test]
fn outputs_that_meet_in_one_queue_do_not_starve_each_other() {
    const TWO: &[Output] = &[
        Output { name: "one", kind: OutputKind::Stage, most: 1 },
        Output { name: "two", kind: OutputKind::Stage, most: 2 },
        Output { name: "beside", kind: OutputKind::Side, most: 1 },
    ];
    const ENDS: &[Output] = &[
        Output { name: "end", kind: OutputKind::Sink("end"), most: 1 },
        Output { name: "also", kind: OutputKind::Sink("end"), most: 1 },
    ];
    for seed in 0..200 {
        let mut sim = Sim::new(seed);
        let fork = module(TWO, |batch, item| {
            let Item::New(event) = item else { return };
            batch.emit(0, event.clone());
            (0..event.n % 3).for_each(|_| batch.emit(1, event.clone()));
        });
        let ends = module(ENDS, |batch, item| {
            let Item::New(event) = item else { return };
            batch.emit((event.n % 2) as usize, event);
        });
        let batch = 1 + sim.random(4) as usize;
        let mut stages =
            vec![StageSettings::new("fork").to("one", "ends").to("two", "ends"), StageSettings::new("ends")];
        stages[0].to.push(("beside".to_owned(), "ends".to_owned()));
        stages.iter_mut().for_each(|stage| stage.batch = batch);
        stages[1].bound = 3 * batch;
        let pools = if seed % 2 == 0 { vec![] } else { vec![PoolSettings::new("all", 2)] };
        stages.iter_mut().for_each(|stage| stage.pool = pools.first().map(|pool| pool.name.clone()));
        let rig = rig(Topology { stages, pools }, [("fork", fork), ("ends", ends)], 2, sim.env());
        let door = rig.pipeline.door("fork");
        let mut steps = 0;
        (0..30).for_each(|n| door.offer(ev(n % 4, n)).unwrap());
        let mut came = 0;
        while came < 60 {
            let moved = sim.step(&rig.pipeline);
            steps += 1;
            if !moved || sim.random(4) == 0 {
                let got = rig.end.take().len();
                assert!(moved || got > 0, "seed {seed}: all stands still");
                came += got;
            }
            assert!(rig.pipeline.depths()[1].1 <= 3 * batch);
            assert!(steps < 20_000, "seed {seed}: busy without getting anywhere");
        }
        sim.run(&rig.pipeline);
        assert!(rig.pipeline.quiet());
    }
}

#[test]
fn an_output_bound_to_none_swallows_and_says_so() {
    let mut sim = Sim::new(1);
    let work = module(NONE, |batch, item| {
        let Item::New(event) = item else { return };
        assert!(!batch.is_bound(0) && batch.is_bound(1));
        batch.emit(0, event.clone());
        batch.emit(1, event);
    });
    let stages = vec![StageSettings::new("work").to("next", "none")];
    let rig = rig(Topology { stages, pools: vec![] }, [("work", work)], 10, sim.env());
    rig.pipeline.door("work").offer(ev(1, 1)).unwrap();
    sim.run(&rig.pipeline);
    assert_eq!(rig.end.take(), [ev(1, 1)]);
    assert!(rig.pipeline.quiet());
}

#[test]
fn a_change_of_policy_sets_a_blocked_stage_free() {
    let mut sim = Sim::new(3);
    let case = Case { seed: 3, bound: 4, batch: 2, sink: 1, events: vec![] };
    let rig = two_stages(&case, Policy::Block, 1.0, &sim);
    let door = rig.pipeline.door("first");
    (0..20).for_each(|n| door.offer(ev(n, n)).unwrap());
    sim.run(&rig.pipeline);
    assert_eq!(rig.pipeline.depths()[0].1, 15, "blocked");
    let patch = StagePatch { policy: Some(Policy::Shed), ..StagePatch::default() };
    rig.pipeline.set_stage("second", patch).unwrap();
    sim.run(&rig.pipeline);
    assert_eq!(rig.pipeline.depths()[0].1, 0);
    assert_eq!(rig.log.refused.lock().unwrap().len(), 15);
}

#[test]
fn a_standing_queue_closes_the_door_by_class_and_its_end_opens_it() {
    let mut sim = Sim::new(5);
    let outside = sim.outside();
    // Each event takes 2 ms: a full batch far more than the target of 5 ms.
    let slow = module(END, move |batch, item| match item {
        Item::New(event) | Item::Resumed(event, _) => {
            outside.work(Duration::from_millis(2));
            batch.emit(0, event);
        }
    });
    let stages = vec![StageSettings::new("slow")];
    let rig = rig(Topology { stages, pools: vec![] }, [("slow", slow)], 10_000, sim.env());
    let door = rig.pipeline.door("slow");
    assert!((0..4).all(|class| door.admit(class, 1)));
    (0..200).for_each(|n| door.offer(ev(1, n)).unwrap());
    let mut seen = Vec::new();
    while rig.end.len() < 200 {
        sim.step(&rig.pipeline);
        let is_in = [0, 1, 2, 3].map(|class| door.admit(class, 1));
        assert!(is_in[0] && is_in.windows(2).all(|pair| pair[0] || !pair[1]), "out of turn: {is_in:?}");
        let admitted = is_in.iter().filter(|is_in| **is_in).count();
        if seen.last() != Some(&admitted) {
            seen.push(admitted);
        }
    }
    assert!(seen.contains(&1), "nobody was refused: {seen:?}");
    // Quiet again: time passes without work.
    for _ in 0..400 {
        sim.outside().after(Duration::from_millis(100), || ());
        sim.run(&rig.pipeline);
    }
    assert!((0..4).all(|class| door.admit(class, 1)), "the door opens again");
}
