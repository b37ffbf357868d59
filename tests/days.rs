//! What each day came to: counted by the real binary, kept over restarts, ended at midnight. Linux only, for the clock.

#![cfg(target_os = "linux")]

mod common;

use common::faults::What;
use common::server::Shim;
use common::{APP, Client, PATIENCE, Server, Setup, eventually, http};
use serde_json::Value;

const DAY_S: i64 = 24 * 60 * 60;

/// Messages, active clients and most connections of the app's days, the newest first, with their dates.
fn days(server: &Server) -> Vec<(String, [u64; 3])> {
    let answer = http::get(server.admin(), "/days?days=40");
    assert_eq!(answer.status, 200, "{answer:?}");
    let all = answer.json();
    let of_app = |day: &&Value| day["app"] == APP;
    let figures =
        |day: &Value| ["messages", "active_clients", "peak_connections"].map(|key| day[key].as_u64().unwrap());
    all.as_array()
        .unwrap()
        .iter()
        .filter(of_app)
        .map(|day| (day["day"].as_str().unwrap().to_owned(), figures(day)))
        .collect()
}

fn newest(server: &Server) -> [u64; 3] {
    days(server)[0].1
}

#[test]
fn a_day_is_counted_goes_on_after_restarts_and_ends_at_midnight() {
    let mut server = Server::launch(Setup { shim: Shim::Faults, ..Setup::default() });
    assert_eq!(newest(&server), [0, 0, 0]);
    let mut tom = Client::tcp(&server, "tom");
    let mut jerry = Client::tcp(&server, "jerry");
    let cid = tom.start(&["jerry"]);
    (0..5).for_each(|n| _ = tom.send(&cid, &n.to_string()));
    (0..5).for_each(|_| _ = jerry.message());
    drop(Client::tcp(&server, "spike"));
    eventually("spike to be gone", || (common::crowd::figure(&server, "connections") == 2).then_some(()));
    assert_eq!(newest(&server), [5, 3, 3]);

    // Stopped in order: the day goes on with what it had, and who comes again is not counted twice.
    drop((tom, jerry));
    server.term();
    assert!(server.ended(PATIENCE).success());
    server.restart();
    let mut tom = Client::tcp(&server, "tom");
    tom.send(&cid, "again");
    assert_eq!(newest(&server), [6, 3, 3]);

    // Midnight: what was is over, who is there is there on both days.
    let before = days(&server);
    server.faults().set(What::ClockSeconds, DAY_S);
    let after = eventually("the next day", || Some(days(&server)).filter(|days| days.len() > 1));
    assert_eq!((after[0].1, &after[1..]), ([0, 1, 1], &before[..]));
    assert!(after[0].0 > after[1].0, "{after:?}");
    tom.send(&cid, "good morning");
    assert_eq!(newest(&server), [1, 1, 1]);

    // A clock that goes back changes no day that is over.
    server.faults().set(What::ClockSeconds, 0);
    tom.send(&cid, "it is early");
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(days(&server)[1..], before);
}

#[test]
fn a_question_that_is_none_is_told_so() {
    let server = Server::start();
    let answer = http::get(server.admin(), "/days?days=many");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("?days=N"), "{answer:?}");
}
