//! The dashboard in headless Chromium: against this server under load, and in states that a server is seldom in, which a
//! made-up one plays. The programs are in `tests/dashboard`.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Client, Server, patient};

fn folder() -> &'static PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard");
        if !folder.join("node_modules/playwright-core").exists() {
            run(Command::new("npm").arg("ci"), &folder);
        }
        folder
    })
}

fn run(command: &mut Command, folder: &PathBuf) {
    let done = command.current_dir(folder).output();
    let done = done.unwrap_or_else(|failed| panic!("{command:?}: {failed}. This needs Node.js 20 or later and npm"));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{command:?} failed\n{said}{}", String::from_utf8_lossy(&done.stderr));
}

/// Talks until it is told to stop: so that there is something to see in each second.
fn talk(server: &Server, stop: &AtomicBool) {
    let mut tom = Client::tcp(server, "tom");
    let mut jerry = Client::tcp(server, "jerry");
    let cid = tom.start(&["jerry"]);
    while !stop.load(Ordering::Relaxed) {
        tom.send(&cid, "hello");
        jerry.text();
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn its_numbers_places_and_words_are_right() {
    run(Command::new("npm").arg("test"), folder());
}

#[test]
fn an_engineer_sees_and_tunes_the_server() {
    let server = Server::with(format!("{}[journeys]\nsample = 1.0\n", patient()));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| talk(&server, &stop));
        // It has to stop when the check fails, too.
        let checked = std::panic::catch_unwind(|| {
            run(Command::new("node").arg("check.mjs").arg(format!("http://{}/", server.admin())), folder());
        });
        stop.store(true, Ordering::Relaxed);
        if let Err(failed) = checked {
            std::panic::resume_unwind(failed);
        }
    });
}

#[test]
fn it_says_in_words_what_is_odd() {
    run(Command::new("node").arg("states.mjs"), folder());
}
