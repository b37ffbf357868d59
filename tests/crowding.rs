//! A few broadcast to many while many write to one: what the few cost is theirs.
//!
//!     cargo test --release --test crowding -- --ignored --nocapture

mod common;

use std::thread;
use std::time::Duration;

use common::audience::Audience;
use common::open_loop::{Crowd, Load, Sent, jain, quantile};
use common::{Client, Server, Setup};

fn measure(name: &str, sent: &[Sent], from: f64, seconds: f64, users: usize) {
    let sent: Vec<_> = sent.iter().filter(|s| s.at >= from).collect();
    let is_in: Vec<_> = sent.iter().filter(|s| s.is_in()).collect();
    let ms: Vec<f64> = is_in.iter().map(|s| s.ms()).collect();
    let mut each = vec![0.0; users];
    is_in.iter().for_each(|s| each[s.user] += 1.0);
    let of = |code: i32| sent.iter().filter(|s| s.code == code && s.answered > 0.0).count();
    println!(
        "{name}: {:.0}/s offered, {:.0}/s taken, p50 {:.1} p99 {:.1} ms, Jain {:.3}, 4116: {}, unanswered {}",
        sent.len() as f64 / seconds,
        is_in.len() as f64 / seconds,
        quantile(ms.clone(), 0.5),
        quantile(ms, 0.99),
        jain(&each),
        of(4116),
        sent.iter().filter(|s| s.answered == 0.0).count(),
    );
}

#[test]
#[ignore = "measures"]
fn table() {
    let number = |name: &str, or: f64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or);
    let (members, rate) = (number("MEMBERS", 3_000.0) as usize, number("RATE", 1_000.0));
    let is_room = number("ROOM", 1.0) == 1.0;
    let (one, speakers, seconds) = (number("ONE", 500.0), 4, number("SECONDS", 6.0));
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("taskset").args(["-acp", "1", &pid]).output();
    let tables = format!("[store]\nsync = \"{}\"\n", std::env::var("SYNC").unwrap_or("commit".into()));
    let server = Server::launch(Setup { first: "taskset -cp 0 $$ >/dev/null", tables, ..Setup::default() });
    let names = Audience::names(members);
    let mut members_of = names.iter().map(String::as_str).collect::<Vec<_>>();
    let speaker_names: Vec<_> = (0..speakers).map(|n| format!("speaker-{n}")).collect();
    members_of.extend(speaker_names.iter().map(String::as_str));
    let mut host = Client::tcp(&server, "host");
    let cid = if is_room { host.room() } else { host.start(&members_of) };
    let audience = Audience::enter(&server, members, is_room.then_some(&*cid));
    let mut crowd = Crowd::enter(&server, 50, 1);
    let mut few = Crowd::enter_as("speaker", &server, speakers, 2);
    few.gather(&cid);
    let load = |rate: f64, seconds: f64| Load { rate, seconds, transient: 0.0, hot: 0.0 };
    crowd.send(load(one, 2.0));
    for (round, rate) in [(0, rate), (1, rate), (2, rate * 4.0)] {
        let from = crowd.now() + 1.0;
        let alone = crowd.send(load(one, seconds));
        measure("alone        ", &alone, from, seconds - 1.0, 50);
        let (from, few_from, heard) = (crowd.now() + 1.0, few.now() + 1.0, audience.heard());
        thread::scope(|threads| {
            let few = threads.spawn(|| few.send(load(rate, seconds)));
            let beside = crowd.send(load(one, seconds));
            let bytes = audience.heard() - heard;
            let stages = common::http::get(server.admin(), "/stages").json();
            for stage in stages.as_array().unwrap() {
                println!("   tide {} wait {} service {} batch {} util {}", stage["name"], stage["wait_ms"], stage["service_ms"], stage["batch"], stage["utilisation"]);
            }
            measure("beside       ", &beside, from, seconds - 1.0, 50);
            let few = few.join().unwrap();
            measure("broadcasters ", &few, few_from, seconds - 1.0, speakers);
            println!("round {round}: {rate}/s to {members}: heard {:.1} MB/s", bytes as f64 / seconds / 1e6);
            let metrics = common::http::get(server.admin(), "/metrics").body;
            for line in metrics.lines().filter(|l| !l.starts_with('#') && (l.contains("dropped") || l.contains("slow") || l.contains("mailbox"))) {
                println!("   {line}");
            }
        });
        thread::sleep(Duration::from_secs(2));
    }
}
