//! Live changes of every kind at random, under load, in the real binary: nothing is lost, repeated or reordered, and each is
//! in force when it is answered. `TIDEGATE_CHANGES=1000 cargo test --release --test tuning` makes a thousand.

mod common;

use std::time::Instant;

use common::load::{self, Tally, senders};
use common::{Client, Server, http};
use serde_json::{Value, json};

/// By whether they wait for the disk: the two sorts never share a pool.
const LINE: [&str; 6] = ["decode", "authenticate", "route", "fan_out", "hook", "push"];
const DISK: [&str; 2] = ["read", "persist"];

fn pipeline() -> String {
    let stage = |names: &[&str], pool| {
        names.iter().map(|name| format!("[stages.{name}]\npool = \"{pool}\"\n")).collect::<String>()
    };
    stage(&LINE, "line") + &stage(&DISK, "disk") + "[pools.line]\n[pools.disk]\n"
}

/// A change of one thing, and where.
fn change(random: &mut fastrand::Rng) -> (String, Value) {
    let (stages, pool): (&[&str], _) = if random.bool() { (&LINE, "line") } else { (&DISK, "disk") };
    let stage = stages[random.usize(..stages.len())];
    let of_stage = |change| (format!("/stages/{stage}"), change);
    match random.u32(..11) {
        0 => of_stage(json!({ "pool": if random.bool() { pool } else { stage } })),
        1 => of_stage(json!({ "workers": random.u64(1..4) })),
        2 => of_stage(json!({ "batch": random.u64(1..65) })),
        // A batch of route may become four times as many events, which must fit.
        3 => of_stage(json!({ "bound": random.u64(256..9000) })),
        4 => of_stage(json!({ "window": random.u64(1..20) })),
        5 => of_stage(json!({ "delay_target_ms": random.u64(50..500) })),
        6 => (format!("/pools/{pool}"), json!({ "workers": random.u64(1..4) })),
        7 => (format!("/pools/{pool}"), json!({ "spin_us": random.u64(0..20) })),
        8 => of_stage(json!({ "workers": "auto" })),
        9 => ("/stages/hook".to_owned(), json!({ "in_flight": random.u64(1..64) })),
        _ => (format!("/pools/{pool}"), json!({ "reactors": random.bool() })),
    }
}

#[test]
fn whatever_is_changed_nothing_is_lost_repeated_or_reordered() {
    let changes = std::env::var("TIDEGATE_CHANGES").map_or(150, |n| n.parse().unwrap());
    let seed = std::env::var("TIDEGATE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("TIDEGATE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::with(pipeline());
    let mut senders: Vec<_> = senders(&server, 6, 3, 1).into_iter().map(|sender| sender.one_at_a_time()).collect();
    let tally = Tally::default();
    let mut worst = 0;
    load::run(&server, &mut senders, &tally, || {
        for _ in 0..changes {
            let (path, body) = change(&mut random);
            let asked = Instant::now();
            let answer = http::patch(server.admin(), &path, &body.to_string());
            worst = worst.max(asked.elapsed().as_millis());
            let now = answer.json();
            assert_eq!(answer.status, 200, "{path} {body}: {now}");
            let (field, value) = body.as_object().unwrap().iter().next().unwrap();
            if value == "auto" {
                assert_eq!(now["auto"][field], true, "{path} {body}: {now}");
            } else
            // A pool whose stages wait for the disk is never helped.
            if (path.as_str(), field.as_str()) != ("/pools/disk", "reactors") {
                assert_eq!(
                    now[field].as_f64().map_or(now[field].clone(), |n| json!(n)),
                    value.as_f64().map_or(value.clone(), |n| json!(n)),
                    "{path} {body}: {now}"
                );
            }
            let seen = tally.acked();
            common::eventually("messages go on", || (tally.acked() > seen).then_some(()));
        }
        tally.stop();
    });
    println!(
        "{changes} changes, the slowest answered after {worst} ms; {} messages, {} refused and sent again",
        tally.acked(),
        tally.refused()
    );
    let mut watcher = Client::tcp(&server, "watcher");
    for cid in load::conversations(&senders) {
        load::check(&cid, &watcher.history(&cid), &senders, true);
    }
}
