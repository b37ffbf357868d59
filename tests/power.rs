//! A power cut: what was not synced is gone, and nothing that was acknowledged. With `sync = "off"` the same test finds
//! losses, so it would find them.
//!
//! TIDEGATE_CUTS sets the rounds (6); TIDEGATE_SEED repeats a run's choices. Linux only.

#![cfg(target_os = "linux")]

mod common;

use std::thread;
use std::time::Duration;

use common::load::{self, Histories, Sender, Tally};
use common::server::Shim;
use common::{Client, Server, Setup, patient, power, seed};
use fastrand::Rng;

const SENDERS: usize = 12;
const CONVERSATIONS: usize = 4;
const WINDOW: usize = 24;

fn launch(sync: &str) -> (Server, Vec<Sender>) {
    let tables = format!("[store]\nsync = \"{sync}\"\n{}", patient());
    let server = Server::launch(Setup { tables, shim: Shim::PowerCuts, ..Setup::default() });
    let senders = load::senders(&server, SENDERS, CONVERSATIONS, WINDOW);
    (server, senders)
}

/// Load until the power goes, at a random moment; then the machine comes back.
fn round(server: &mut Server, senders: &mut [Sender], random: &mut Rng) {
    let kill = server.killer();
    let moment = Duration::from_millis(random.u64(50..600));
    load::run(server, senders, &Tally::default(), || {
        thread::sleep(moment);
        kill();
    });
    power::cut(server, random);
    server.restart();
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let rounds = std::env::var("TIDEGATE_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let mut random = Rng::with_seed(seed());
    let (mut server, mut senders) = launch("commit");
    let mut histories = Histories::default();
    let mut open = 0;
    for n in 0..rounds {
        round(&mut server, &mut senders, &mut random);
        open += senders.iter().map(|sender| sender.open.len()).sum::<usize>();
        histories.check(&server, &senders, false, n);
    }
    let acked: usize = senders.iter().map(|sender| sender.acked.len()).sum();
    println!("{acked} messages acknowledged over {rounds} power cuts, {open} unanswered at the cuts: 0 lost");
    assert!(acked > 50 * rounds, "the load was none: {acked} acknowledged");
}

#[test]
fn without_syncs_the_same_cuts_lose_messages() {
    const MOST: usize = 20;
    let mut random = Rng::with_seed(seed());
    for n in 1..=MOST {
        // Anew each time: after a loss the senders know of more than there is.
        let (mut server, mut senders) = launch("off");
        // What is opened again is moved into tables, which are synced: the conversations are there.
        server.restart();
        round(&mut server, &mut senders, &mut random);
        let mut watcher = Client::tcp(&server, "watcher");
        let acked: usize = senders.iter().map(|sender| sender.acked.len()).sum();
        let mut lost = 0;
        for cid in load::conversations(&senders) {
            lost += load::lost(&cid, &watcher.history_if_there(&cid).unwrap_or_default(), &senders);
        }
        println!("sync = \"off\": power cut {n}: {lost} of {acked} acknowledged messages lost");
        if lost > 0 {
            return;
        }
    }
    panic!("{MOST} power cuts lost nothing: the test would not find a loss");
}
