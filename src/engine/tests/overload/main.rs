//! More than the pipeline can do, in virtual time: what the door lets in keeps the slow stage busy and does not wait.
//!
//! `cargo test --release -p tidegate-engine --test overload -- --ignored --nocapture` prints the tables of
//! docs/overload.md.
#![cfg(not(feature = "shuttle"))]

mod rig;

use std::time::Duration;

use rig::{Outcome, Scene, play};

const SEEDS: [u64; 2] = [1, 2];
const OVER: [f64; 4] = [1.4, 2.0, 4.0, 10.0];

fn scenes(seed: u64) -> [(&'static str, Scene); 2] {
    [("disk", Scene::disk(seed)), ("processor", Scene::processor(seed))]
}

/// What is looked at: two rounds of who is let in, after two seconds.
const FROM: f64 = 2.0;
const TO: f64 = 22.0;

fn steady(scene: &Scene, times: f64) -> Outcome {
    play(scene.clone().then(TO, times))
}

#[test]
fn past_capacity_goodput_stays_waits_stay_short_and_users_get_the_same() {
    for seed in SEEDS {
        for (name, scene) in scenes(seed) {
            let normal = steady(&scene, 0.8).wait(FROM, TO, 0.99, true);
            for times in OVER {
                let outcome = steady(&scene, times);
                let said = format!("{name}, seed {seed}, {times} times");
                let goodput = outcome.goodput(FROM, TO);
                assert!(goodput >= 0.92, "{said}: goodput {goodput:.3}");
                let wait = outcome.wait(FROM, TO, 0.99, true);
                assert!(wait <= 2.0 * normal, "{said}: {wait:.1} ms at p99, {normal:.1} below capacity");
                let jain = outcome.jain(FROM, TO);
                assert!(jain >= 0.95, "{said}: Jain's index {jain:.3}");
                let [frees, messages, queries, light] = [0, 1, 2, 3].map(|class| outcome.let_in(FROM, TO, class));
                assert_eq!(frees, 1.0, "{said}: what frees resources was refused");
                assert!(messages > queries && queries >= light, "{said}: {messages:.2} {queries:.2} {light:.2}");
                assert_eq!(outcome.unread, 0, "{said}: refusing took too long");
            }
        }
    }
}

#[test]
fn below_capacity_hardly_anybody_is_refused() {
    for seed in SEEDS {
        for (name, scene) in scenes(seed) {
            let outcome = steady(&scene, 0.8);
            for (class, least) in [(0, 1.0), (1, 0.999), (2, 0.99), (3, 0.98)] {
                let let_in = outcome.let_in(FROM, TO, class);
                assert!(let_in >= least, "{name}, seed {seed}, class {class}: {let_in}");
            }
        }
    }
}

#[test]
fn when_a_spike_is_over_all_is_as_before() {
    for seed in SEEDS {
        for (name, scene) in scenes(seed) {
            for times in [2.0, 10.0] {
                let outcome = play(scene.clone().then(3.0, 0.7).then(2.0, times).then(3.0, 0.7));
                let normal = outcome.wait(1.0, 3.0, 0.99, false);
                let recovery = outcome.recovery(5.0, 2.0 * normal);
                assert!(recovery <= 0.5, "{name}, seed {seed}, spike of {times}: {recovery} s");
                let goodput = outcome.goodput(3.0, 5.0);
                assert!(goodput >= 0.9, "{name}, seed {seed}, in a spike of {times}: {goodput:.3}");
            }
        }
    }
}

#[test]
fn while_the_stage_stands_still_few_come_in_to_wait_for_it() {
    for seed in SEEDS {
        let stall = Some((3.0, Duration::from_secs(2)));
        let outcome = play(Scene { stall, ..Scene::disk(seed) }.then(8.0, 0.8));
        let waited = outcome.sent(3.0, 5.0).filter(|call| !call.refused && call.class == 1);
        let waited = waited.filter(|call| call.done - call.read > 500_000_000).count() as f64;
        let most = outcome.scene.capacity() * 0.2;
        assert!(waited <= most, "seed {seed}: {waited} waited, {most} are 200 ms of work");
        // It comes back with the batch that stood still.
        let back = outcome.sent(3.0, 8.0).find(|c| !c.refused && c.class == 1 && c.read > 3_100_000_000);
        let back = back.map_or(0.0, |call| call.read as f64 / 1e9).max(5.03);
        let recovery = outcome.recovery(back, 100.0);
        assert!(recovery <= 0.3, "seed {seed}: {recovery} s after {back:.2}");
    }
}

#[test]
fn one_who_sends_more_than_anybody_slows_nobody() {
    for (name, scene) in scenes(1) {
        let others = |outcome: &Outcome| {
            let calls = outcome.sent(FROM, TO).filter(|call| call.user != 0 && call.class == 1 && !call.refused);
            let mut waits: Vec<u64> = calls.map(|call| call.done - call.read).collect();
            waits.sort_unstable();
            waits[waits.len() * 99 / 100] as f64 / 1e6
        };
        let normal = others(&steady(&scene, 0.8));
        // Ten times as much as each of the others.
        let hot = steady(&Scene { hog: 10.0 / 209.0, ..scene.clone() }, 0.84);
        assert!(others(&hot) <= 2.0 * normal, "{name}: {:.1} ms, {normal:.1} without", others(&hot));
    }
}

#[test]
fn without_a_door_all_wait_for_seconds() {
    for (name, scene) in scenes(1) {
        let scene = Scene { admission: false, ..scene };
        let (normal, over) = (steady(&scene, 0.8), steady(&scene, 2.0));
        let [normal, over] = [normal, over].map(|outcome| outcome.wait(FROM, TO, 0.99, true));
        assert!(over > 20.0 * normal, "{name}: {over:.0} ms, {normal:.0} below capacity; what is the door for?");
    }
}

#[test]
#[ignore = "prints tables"]
fn table() {
    for (name, scene) in scenes(1) {
        for admission in [true, false] {
            println!("\n{name}, {:.0} calls/s, {}", scene.capacity(), if admission { "admission on" } else { "off" });
            println!("| offered | goodput | p50 | p99, read | p99, sent | in: class 0, 1, 2, 3 | Jain |");
            println!("|---|---|---|---|---|---|---|");
            for times in [0.5, 0.8, 1.0, 1.2, 1.4, 2.0, 4.0, 10.0] {
                let o = steady(&Scene { admission, ..scene.clone() }, times);
                let let_in = [0, 1, 2, 3].map(|class| format!("{:.2}", o.let_in(FROM, TO, class))).join(" ");
                let wait = |quantile, read| o.wait(FROM, TO, quantile, read);
                println!(
                    "| {times} | {:.3} | {:.1} | {:.1} | {:.1} | {let_in} | {:.3} |",
                    o.goodput(FROM, TO),
                    wait(0.5, true),
                    wait(0.99, true),
                    wait(0.99, false),
                    o.jain(FROM, TO),
                );
            }
        }
        for times in [2.0, 4.0, 10.0] {
            let o = play(scene.clone().then(3.0, 0.7).then(2.0, times).then(3.0, 0.7));
            let normal = o.wait(1.0, 3.0, 0.99, false);
            let (goodput, wait) = (o.goodput(3.0, 5.0), o.wait(3.0, 5.0, 0.99, true));
            let recovery = o.recovery(5.0, 2.0 * normal);
            println!(
                "spike of {times} for 2 s: p99 {normal:.1} ms before, {wait:.1} in it, goodput {goodput:.3}, over after {recovery:.2} s"
            );
        }
    }
}
