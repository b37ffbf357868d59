//! What goes to many costs those who are many: a hot room or group is refused its surplus, what was taken reaches
//! everybody in it, and nobody else waits for it.
//!
//! What the others wait beside a hot room, docs/overload.md:
//!
//!     cargo test --release --test crowding -- --ignored --nocapture

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::audience::Audience;
use common::client::{body, some};
use common::open_loop::{Crowd, Load, Sent, quantile};
use common::{Client, Server, Setup, Via, eventually, patient};
use tidegate_protocol::wire::*;

/// Of one room or group, 8 messages may be on their way then.
const NET: &str = "[net]\nreactors = 2\nmailbox = 64\n";
/// What is sent at once: far more than that.
const BURST: usize = 60;

fn to(cid: &str, words: &str) -> DirectCommand {
    DirectCommand { cid: some(cid), msg: body(words), ..DirectCommand::default() }
}

fn join(client: &mut Client, room: &str) {
    let id = client.id.clone();
    client.add(room, &[&id]).unwrap();
}

#[test]
fn a_hot_room_is_refused_its_surplus_and_nobody_else_waits() {
    a_hot_crowd_is_refused_its_surplus(true);
}

#[test]
fn a_hot_group_is_refused_its_surplus_and_nobody_else_waits() {
    a_hot_crowd_is_refused_its_surplus(false);
}

fn a_hot_crowd_is_refused_its_surplus(is_room: bool) {
    let server = Server::with(patient() + NET);
    let listeners = 200;
    let mut ear = Client::login(&server, Via::WebSocket, "ear");
    let [ann, bob] = ["ann", "bob"].map(|id| Client::tcp(&server, id));
    let names = Audience::names(listeners);
    let members: Vec<&str> = names.iter().map(|name| &**name).chain(["ann", "bob"]).collect();
    let cid = if is_room { ear.room() } else { ear.start(&members) };
    let _audience = Audience::enter(&server, listeners, is_room.then_some(&*cid));
    if is_room {
        join(&mut ear, &cid);
    }
    let (stop, cid, server) = (&AtomicBool::new(false), &*cid, &server);
    let (floods, heard) = thread::scope(|threads| {
        let speakers = [ann, bob].map(|speaker| threads.spawn(move || flood(speaker, cid, stop)));
        let ear = threads.spawn(move || hear_until_the_end(ear));
        let others: Vec<_> = (0..4).map(|n| threads.spawn(move || talk(server, n))).collect();
        let waits: Vec<_> = others.into_iter().map(|pair| pair.join()).collect();
        stop.store(true, Ordering::Relaxed);
        let mut floods = speakers.map(|speaker| speaker.join().unwrap());
        eventually("room for one more", || floods[0].speaker.try_send(to(cid, "end")).ok());
        let longest = waits.into_iter().map(|wait| wait.unwrap()).max();
        assert!(longest < Some(Duration::from_secs(5)), "the others waited for up to {longest:?}");
        (floods, ear.join().unwrap())
    });
    for Flood { speaker, taken, refused } in &floods {
        assert!(!taken.is_empty() && *refused > 0, "{}: {} taken, {refused} refused", speaker.id, taken.len());
        let beginning = format!("{} ", speaker.id);
        let own: Vec<_> = heard.iter().filter(|words| words.starts_with(&beginning)).collect();
        assert_eq!(own, taken.iter().collect::<Vec<_>>(), "all that was taken, once and in order");
    }
}

/// What became of what a speaker sent.
struct Flood {
    speaker: Client,
    taken: Vec<String>,
    refused: usize,
}

/// Sends bursts until it is told to stop.
fn flood(mut speaker: Client, cid: &str, stop: &AtomicBool) -> Flood {
    let (mut taken, mut refused) = (Vec::new(), 0);
    let (id, mut numbers, begun) = (speaker.id.clone(), 0.., Instant::now());
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < common::PATIENCE {
        let words = numbers.by_ref().take(BURST).map(|n: usize| format!("{id} {n}"));
        let posted: Vec<_> = words.map(|words| (speaker.post(to(cid, &words)), words)).collect();
        for (i, words) in posted {
            match speaker.answer(i) {
                Ok(_) => taken.push(words),
                Err(no) => {
                    assert_eq!(no.code, 4116, "{no:?}");
                    refused += 1;
                }
            }
        }
        speaker.forget(); // what the other one said
    }
    Flood { speaker, taken, refused }
}

fn hear_until_the_end(mut ear: Client) -> Vec<String> {
    let texts = std::iter::repeat_with(|| ear.text());
    texts.take_while(|words| words != "end").collect()
}

/// Two of whom one writes to the other, who hears all of it, in order: the longest from a message's writing to its hearing.
fn talk(server: &Server, n: usize) -> Duration {
    let [mut from, mut hearer] = ["from", "to"].map(|side| Client::tcp(server, &format!("{side}-{n}")));
    let cid = from.start(&[&hearer.id]);
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        let (begun, words) = (Instant::now(), [1, 2, 3].map(|part| format!("{round}.{part}")));
        let posted = words.each_ref().map(|words| from.post(to(&cid, words)));
        for i in posted {
            from.answer(i).expect("it is not their room that is hot");
        }
        words.iter().for_each(|words| assert_eq!(hearer.text(), *words));
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[test]
fn who_leaves_while_messages_are_on_their_way_leaves_no_count_behind() {
    let server = Server::with(patient() + NET);
    let names: Vec<_> = (0..70).map(|n| format!("member-{n}")).collect();
    let mut speaker = Client::tcp(&server, "speaker");
    let room = speaker.room();
    let group = speaker.start(&names.iter().map(|name| &**name).collect::<Vec<_>>());
    for cid in [&room, &group] {
        for _ in 0..4 {
            let mut members: Vec<_> = names[..20].iter().map(|name| Client::come_in(&server, name)).collect();
            if *cid == room {
                members.iter_mut().for_each(|member| join(member, &room));
            }
            let posted: Vec<_> = (0..BURST).map(|n| speaker.post(to(cid, &format!("{n}")))).collect();
            drop(members);
            for i in posted {
                if let Err(no) = speaker.answer(i) {
                    assert_eq!(no.code, 4116, "{no:?}");
                }
            }
        }
        // One lost count in thirty, and there would be room for none.
        for n in 0..BURST {
            eventually("room for one more", || speaker.try_send(to(cid, &format!("and {n}"))).ok());
        }
    }
}

/// Four send to all in a room of 3,000 or a group of 490, 50 send 500 a second to each other.
#[test]
#[ignore = "measures, and wants two processors for itself"]
fn the_table_of_the_docs() {
    let this = std::process::id().to_string();
    std::process::Command::new("taskset").args(["-acp", "1", &this]).output().expect("taskset is installed");
    println!(
        "| | the others' p50 / p99 ms, alone | beside | taken | refused | heard, MB/s |\n|---|---|---|---|---|---|"
    );
    for (is_room, listeners, rates) in [(true, 3_000, [1_000.0, 4_000.0]), (false, 490, [1_500.0, 6_000.0])] {
        let tables = "[store]\nsync = \"off\"\n".to_owned();
        let server = Server::launch(Setup { first: "taskset -cp 0 $$ >/dev/null", tables, ..Setup::default() });
        let mut host = Client::tcp(&server, "host");
        let names: Vec<_> = Audience::names(listeners).into_iter().chain((0..4).map(|n| format!("few-{n}"))).collect();
        let members: Vec<&str> = names.iter().map(|name| &**name).collect();
        let cid = if is_room { host.room() } else { host.start(&members) };
        let audience = Audience::enter(&server, listeners, is_room.then_some(&*cid));
        let mut others = Crowd::enter(&server, 50, 1);
        let mut few = Crowd::enter_as("few", &server, 4, 2);
        few.gather(&cid);
        let (seconds, load) = (6.0, |rate| Load { rate, seconds: 6.0, transient: 0.0, hot: 0.0 });
        others.send(load(500.0));
        for rate in rates {
            let alone = others.send(load(500.0));
            let before = audience.heard();
            let (beside, of_few, heard) = thread::scope(|threads| {
                let few = threads.spawn(|| few.send(load(rate)));
                let beside = others.send(load(500.0));
                let heard = (audience.heard() - before) as f64 / seconds / 1e6;
                (beside, few.join().unwrap(), heard)
            });
            let taken = of_few.iter().filter(|sent| sent.is_in()).count();
            let refused = of_few.iter().filter(|sent| sent.code == 4116).count();
            let (alone, beside, kind) = (waits(&alone), waits(&beside), if is_room { "room" } else { "group" });
            println!("| {rate}/s to a {kind} of {listeners} | {alone} | {beside} | {taken} | {refused} | {heard:.0} |");
            thread::sleep(Duration::from_secs(2));
        }
    }
}

fn waits(sent: &[Sent]) -> String {
    let ms: Vec<_> = sent.iter().filter(|sent| sent.is_in()).map(Sent::ms).collect();
    format!("{:.1} / {:.1}", quantile(ms.clone(), 0.5), quantile(ms, 0.99))
}
