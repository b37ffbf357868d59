//! Little's law in pipelines under steady load: what the stages say of waits and work is what came and left.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use tidegate_engine::*;

fn line(names: &[&str]) -> Topology {
    let mut stages: Vec<StageSettings> = names.iter().map(|name| StageSettings::new(*name)).collect();
    for i in 1..stages.len() {
        let next = stages[i].name.clone();
        stages[i - 1].to.push(("next".to_owned(), next));
    }
    stages.iter_mut().for_each(|stage| (stage.batch, stage.bound) = (16, 1_000));
    Topology { stages, pools: vec![] }
}

/// Batches, holds, overlaps and events that come in bursts, for a second of the virtual clock.
#[test]
fn it_holds_in_every_stage_of_a_simulated_run() {
    let mut sim: Sim<Ev> = Sim::new(7);
    let (slow, asks, overlaps) = (sim.outside(), sim.outside(), sim.outside());
    let work = module(NEXT, move |batch, item| {
        slow.work(Duration::from_micros(100));
        let (Item::New(event) | Item::Resumed(event, _)) = item;
        batch.emit(0, event);
    });
    let hold = module(NEXT, move |batch, item| match item {
        Item::New(event) if event.n % 2 == 0 => {
            let ticket = batch.hold(event, Duration::from_secs(1));
            asks.after(Duration::from_millis(2), move || ticket.resume(1));
        }
        Item::New(event) | Item::Resumed(event, _) => batch.emit(0, event),
    });
    let overlap = module(END, move |batch, item| match item {
        Item::New(event) => {
            let ticket = batch.overlap(event, Duration::from_secs(1));
            overlaps.after(Duration::from_millis(3), move || ticket.resume(1));
        }
        Item::Resumed(event, _) => batch.emit(0, event),
    });
    let modules = [("work", work), ("hold", hold), ("overlap", overlap)];
    let rig = rig(line(&["work", "hold", "overlap"]), modules, 100_000, sim.env());
    for n in 0..5_000u64 {
        let door = rig.pipeline.door("work");
        // Four at once, so that some wait and batches are of several.
        let when = Duration::from_micros(n / 4 * 800);
        sim.outside().after(when, move || door.offer(ev(n * 7 % 101, n)).map_err(|(_, why)| why).unwrap());
    }
    let (mut seconds, mut seen) = ([const { Vec::new() }; 3], 0);
    while sim.step(&rig.pipeline) {
        let stages = ["work", "hold", "overlap"];
        let new = stages.map(|stage| rig.pipeline.seconds(stage, seen));
        if let Some(last) = new[0].last() {
            seen = last.until;
            seconds.iter_mut().zip(new).for_each(|(all, new)| all.extend(new));
        }
    }
    assert_eq!(rig.end.len(), 5_000);
    for (stage, seconds) in ["work", "hold", "overlap"].into_iter().zip(&seconds) {
        // The first one begins with nobody inside.
        let steady = &seconds[1..seconds.len().min(19)];
        assert!(steady.len() >= 15, "{stage}: {} seconds", steady.len());
        for second in steady {
            assert!(second.law.inside > 0.2, "{stage}: hardly anybody is inside, {:?}", second.law);
            // Of the 50 ms that pass for a second here an event that is held takes 3: what is inside at its edges counts.
            assert!(second.law.error() < 0.08, "{stage}: {:?}", second.law);
        }
        let sum = |of: fn(&Law) -> f64| steady.iter().map(|second| of(&second.law)).sum::<f64>();
        let all = Law { inside: sum(|law| law.inside), told: sum(|law| law.told) };
        assert!(all.error() < 0.02, "{stage}: {all:?} over {} seconds", steady.len());
    }
}

#[test]
fn it_holds_with_real_threads_and_a_real_clock() {
    let nap = || {
        module(NEXT, |batch, item| {
            std::thread::sleep(Duration::from_micros(200));
            let (Item::New(event) | Item::Resumed(event, _)) = item;
            batch.emit(0, event);
        })
    };
    let modules = [("one", nap()), ("two", nap()), ("three", pass(END))];
    let rig = rig(line(&["one", "two", "three"]), modules, 1_000_000, Env::real());
    rig.pipeline.start().unwrap();
    let door = rig.pipeline.door("one");
    let start = Instant::now();
    let mut n = 0;
    until("four seconds of figures", || {
        // As many as are due by now: a late thread makes a burst, as it should.
        while n < start.elapsed().as_millis() as u64 * 2 {
            let _ = door.offer(ev(n % 37, n));
            n += 1;
        }
        rig.pipeline.seconds("three", 0).len() >= 4
    });
    for stage in ["one", "two"] {
        let law = rig.pipeline.stage(stage).unwrap().law;
        assert!(law.inside > 0.2, "{stage}: hardly anybody is inside, {law:?}");
        assert!(law.error() < 0.05, "{stage}: {law:?}");
    }
    let seconds = rig.pipeline.seconds("two", 0);
    assert!(
        seconds.iter().skip(1).all(|second| second.law.error() < 0.15),
        "{:?}",
        seconds.iter().map(|second| second.law).collect::<Vec<_>>()
    );
}
