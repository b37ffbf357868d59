//! What a simulated machine says where anybody can work out what has to come.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use tidegate_engine::*;

const SECOND: u64 = 1_000_000_000;
const US: u64 = 1_000;

/// What a stage takes: a processor for each event and each batch, and something else for each batch.
#[derive(Clone, Copy, Default)]
struct Takes {
    each: u64,
    batch: u64,
    wait: u64,
    together: bool,
}

fn takes(outputs: &'static [Output], outside: Outside, takes: Takes) -> std::sync::Arc<dyn Module<Ev>> {
    struct Kind(&'static [Output], Outside, Takes);
    impl Module<Ev> for Kind {
        fn outputs(&self) -> &'static [Output] {
            self.0
        }
        fn key(&self, event: &Ev) -> u64 {
            event.key
        }
        fn worker(&self) -> Box<dyn Stage<Ev>> {
            Box::new(Kind(self.0, self.1.clone(), self.2))
        }
    }
    impl Stage<Ev> for Kind {
        fn run(&mut self, batch: &mut Batch<'_, Ev>) {
            self.1.work(Duration::from_nanos(self.2.batch));
            match self.2.together {
                true => self.1.wait_together(0, Duration::from_nanos(self.2.wait)),
                false => self.1.wait(Duration::from_nanos(self.2.wait)),
            }
            while let Some(Item::New(event)) = batch.next() {
                self.1.work(Duration::from_nanos(self.2.each));
                batch.emit(0, event);
            }
        }
    }
    std::sync::Arc::new(Kind(outputs, outside, takes))
}

/// Two stages on so many processors for a second, with an event each `gap`; how many came out, and the tape.
fn run(cores: f64, first: (usize, Takes), second: (usize, usize, Takes), gap: u64) -> (usize, Tape) {
    let mut machine = Machine::new(cores, || 20 * US);
    let outside = machine.outside();
    let settings = |name: &str, workers, batch| StageSettings { workers, batch, ..StageSettings::new(name) };
    let stages = vec![settings("first", first.0, 64).to("next", "second"), settings("second", second.0, second.1)];
    let modules = [("first", takes(NEXT, outside.clone(), first.1)), ("second", takes(END, outside, second.2))];
    let rig = rig(Topology { stages, pools: vec![] }, modules, 10_000_000, machine.env());
    let (door, mut n) = (rig.pipeline.door("first"), 0);
    rig.pipeline.begin_tape();
    machine.run(&rig.pipeline, SECOND, |now| {
        n += 1;
        let _ = door.offer(Ev { journey: Some(Journey::new(n.into())), ..ev(n, n) });
        Some(now + gap)
    });
    assert!(machine.worked_ns() as f64 <= cores * SECOND as f64 * 1.001);
    (rig.end.len(), rig.pipeline.end_tape().unwrap())
}

fn about(got: usize, wanted: f64) -> bool {
    (got as f64 - wanted).abs() <= wanted * 0.03
}

#[test]
fn one_worker_does_what_fits_into_its_time() {
    let slow = Takes { each: 500 * US, ..Takes::default() };
    let (done, tape) = run(4.0, (1, Takes::default()), (1, 1, slow), 250 * US);
    assert!(about(done, 2_000.0), "{done}");
    assert!(tape.stages[1].busy_ns as f64 > 0.98 * SECOND as f64);
}

#[test]
fn stages_share_the_processors_that_there_are() {
    let work = Takes { each: 500 * US, ..Takes::default() };
    for (cores, wanted) in [(1.0, 1_000.0), (1.5, 1_500.0), (2.0, 2_000.0)] {
        let (done, _) = run(cores, (1, work), (1, 64, work), 400 * US);
        // What is before the second stage when the second is over was worked on in vain.
        assert!((wanted * 0.9..=wanted * 1.02).contains(&(done as f64)), "{cores}: {done}");
    }
}

#[test]
fn those_who_wait_need_no_processor() {
    let disk = Takes { wait: 10_000 * US, batch: 10 * US, ..Takes::default() };
    for workers in [1, 4, 8] {
        let (done, _) = run(1.0, (1, Takes::default()), (workers, 1, disk), 200 * US);
        assert!(about(done, workers as f64 * 1e6 / 10_010.0), "{workers}: {done}");
    }
}

#[test]
fn of_those_who_wait_together_all_are_served_that_came_while_others_were() {
    let disk = Takes { wait: 10_000 * US, together: true, ..Takes::default() };
    // With two, one waits while the other is served; of more, half are.
    for (workers, at_once) in [(1, 1.0), (2, 1.0), (4, 2.0), (8, 4.0)] {
        let (done, _) = run(1.0, (1, Takes::default()), (workers, 1, disk), 200 * US);
        assert!((done as f64 - at_once * 100.0).abs() <= at_once * 8.0, "{workers}: {done}");
    }
}

#[test]
fn a_commit_is_shared_by_those_who_come_meanwhile() {
    let disk = Takes { wait: 5_000 * US, ..Takes::default() };
    let (done, tape) = run(1.0, (1, Takes::default()), (1, 64, disk), 250 * US);
    assert!(about(done, 4_000.0), "{done}");
    let batches: u64 = tape.stages[1].batches.iter().map(|of| of.batches).sum();
    assert!((190..=210).contains(&batches), "{batches}");
    let p50 = tape.stages[1].since_door_ns.value_at_quantile(0.5) / US;
    assert!((6_500..=8_500).contains(&p50), "half of a commit, and a whole one: {p50}");
}

#[test]
fn one_that_slept_is_up_a_while_after_it_was_woken() {
    let (_, tape) = run(4.0, (1, Takes::default()), (1, 64, Takes::default()), 1_000 * US);
    let waits = [0, 1].map(|stage: usize| tape.stages[stage].wait_ns.value_at_quantile(0.5) / US);
    assert!(waits.iter().all(|wait| (19..=21).contains(wait)), "{waits:?}");
}

#[test]
fn the_same_comes_of_the_same_and_soon() {
    let work = Takes { each: 20 * US, batch: 5 * US, wait: 100 * US, together: false };
    let started = Instant::now();
    let [one, other] = [(); 2].map(|()| {
        let (done, tape) = run(1.0, (2, work), (3, 16, work), 100 * US);
        let waits = tape.stages.iter().map(|stage| {
            stage.wait_ns.iter_recorded().map(|of| (of.value_iterated_to(), of.count_at_value())).collect::<Vec<_>>()
        });
        (done, waits.collect::<Vec<_>>())
    });
    assert_eq!(one, other);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
