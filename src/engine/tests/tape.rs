//! What a tape has of a real run is what happened in it.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use tidegate_engine::*;

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// `first` spins for each event, `second` sleeps for each batch.
fn two() -> Rig {
    let first = module(NEXT, |batch, item| {
        if let Item::New(event) = item {
            spin(Duration::from_micros(50));
            batch.emit(0, event);
        }
    });
    let second = module(END, |batch, item| {
        if let Item::New(event) = item {
            std::thread::sleep(Duration::from_millis(1));
            batch.emit(0, event);
        }
    });
    let stages = vec![StageSettings::new("first").to("next", "second"), StageSettings::new("second")];
    rig(Topology { stages, pools: vec![] }, [("first", first), ("second", second)], 10_000, Env::real())
}

#[test]
fn a_tape_tells_what_came_what_was_done_and_what_left() {
    let rig = two();
    rig.pipeline.start().unwrap();
    let door = rig.pipeline.door("first");
    door.offer(ev(1, 1)).unwrap();
    until("the one before the tape", || rig.end.len() == 1);
    rig.pipeline.begin_tape();
    for n in 0..300u64 {
        let journey = Some(Journey::new(n.into()));
        door.offer(Ev { journey, ..ev(if n % 3 == 0 { 7 } else { 100 + n % 20 }, n) }).unwrap();
    }
    until("all", || rig.end.len() == 301 && rig.pipeline.quiet());
    let tape = rig.pipeline.end_tape().unwrap();
    let [first, second] = tape.stages.as_slice() else { panic!("{tape:?}") };

    assert_eq!(first.arrivals.iter().map(|(_, count)| *count).sum::<u32>(), 300);
    assert!(second.arrivals.is_empty());
    for stage in [first, second] {
        assert_eq!((stage.events, stage.refused, stage.wait_ns.len()), (300, 0, 300));
        assert_eq!(stage.batches.iter().map(|of| of.items).sum::<u64>(), 300);
        assert_eq!(stage.outputs[0].1, 300);
        assert_eq!(stage.keys[0], 100);
        assert_eq!(stage.keys.iter().sum::<u64>(), 300);
        assert_eq!(stage.since_door_ns.len(), 300);
    }
    let sum = |stage: &TapedStage, of: fn(&TapedBatches) -> u64| stage.batches.iter().map(of).sum::<u64>() as f64;
    let (took, worked) = (sum(first, |of| of.sum_ns), sum(first, |of| of.cpu_ns));
    assert!(took >= 300.0 * 50_000.0 * 0.5 && worked > took * 0.9, "it spun all the time: {worked} of {took}");
    let (took, worked) = (sum(second, |of| of.sum_ns), sum(second, |of| of.cpu_ns));
    assert!(took >= 300.0 * 1_000_000.0 * 0.9 && worked < took * 0.3, "it slept: {worked} of {took}");
    assert!(first.busy_ns as f64 >= sum(first, |of| of.sum_ns));
    assert!(second.since_door_ns.max() > 250_000_000, "one after the other");
}

#[test]
fn what_was_held_is_told_with_how_long_and_how() {
    let asks = module(END, |batch, item| match item {
        Item::New(event) if event.n % 4 == 0 => {
            let ticket = batch.hold(event, Duration::from_secs(30));
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                ticket.resume(1);
            });
        }
        Item::New(event) | Item::Resumed(event, _) => batch.emit(0, event),
    });
    let stages = vec![StageSettings::new("asks")];
    let rig = rig(Topology { stages, pools: vec![] }, [("asks", asks)], 1_000, Env::real());
    rig.pipeline.start().unwrap();
    rig.pipeline.begin_tape();
    (0..40).for_each(|n| rig.pipeline.door("asks").offer(ev(n, n)).unwrap());
    until("all", || rig.end.len() == 40 && rig.pipeline.quiet());
    let tape = rig.pipeline.end_tape().unwrap();
    let asks = &tape.stages[0];
    let [first, second] = asks.turns.as_slice() else { panic!("{:?}", asks.turns) };
    assert_eq!((asks.events, asks.resumed), (40, 10));
    assert_eq!((first.items, first.held, first.exclusive), (40, 10, 10));
    assert_eq!((second.items, second.held, second.exclusive), (10, 0, 0));
    assert_eq!((&first.asked[..], &first.sent[..], &second.sent[..]), (&[][..], &[30][..], &[10][..]));
    assert!(first.held_ns.len() == 10 && first.held_ns.min() >= 4_900_000, "{}", first.held_ns.min());
    assert_eq!(asks.outputs[0].1, 40);
}

#[test]
fn there_is_a_tape_only_while_one_runs_and_it_begins_anew() {
    let rig = two();
    rig.pipeline.start().unwrap();
    assert!(rig.pipeline.end_tape().is_none());
    let one = |n| {
        rig.pipeline.door("first").offer(ev(n, n)).unwrap();
        until("it", || rig.end.len() == n as usize && rig.pipeline.quiet());
    };
    rig.pipeline.begin_tape();
    one(1);
    rig.pipeline.begin_tape();
    one(2);
    let tape = rig.pipeline.end_tape().unwrap();
    assert_eq!(tape.stages[0].arrivals.iter().map(|(_, count)| *count).sum::<u32>(), 1);
    one(3);
    assert!(rig.pipeline.end_tape().is_none());
}
