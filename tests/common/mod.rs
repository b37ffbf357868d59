//! What the tests of the real binary share: a server to start and kill, clients on every transport, a receiver of
//! webhooks, a small HTTP client.
//!
//! Waits are for conditions and have a limit; what came instead is in the failure. Knows the wire and the command
//! line, nothing of how the server is made.

// Each test file is a program of its own and takes what it needs.
#![allow(dead_code, unused_imports)]

pub mod audience;
pub mod client;
pub mod crowd;
pub mod faults;
pub mod flood;
pub mod http;
pub mod load;
pub mod open_loop;
pub mod plot;
pub mod power;
pub mod raw;
pub mod receiver;
pub mod server;
pub mod wire;

pub use client::{Client, Refused, Sent};
pub use raw::Raw;
pub use receiver::{Call, Receiver, Reply};
pub use server::{Server, Setup, tidegate};
pub use wire::{Via, Wire};

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The development app, as pipeline.toml has it.
pub const APP: &str = "tidegate-dev";
pub const MASTER_KEY: &str = "development-only-master-key";

/// Longer than anything should take on a busy machine; what waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An `[[app]]` table of its own keys: `id`, with `more` lines behind.
pub fn app(id: &str, more: &str) -> String {
    format!("[[app]]\nid = \"{id}\"\nkey = \"key-of-{id}\"\nmaster_key = \"master-key-of-{id}\"\n{more}\n")
}

/// The eight stages, patient: where something else is looked at than overload, a machine that is busy with other tests
/// shall not refuse.
pub fn patient() -> String {
    let stages = ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"];
    let stage = |name: &&str| format!("[stages.{name}]\ndelay_target = \"30s\"\nkey_share = 1.0\n");
    stages.iter().map(stage).collect()
}

/// The master key of [`app`].
pub fn master_key(id: &str) -> String {
    format!("master-key-of-{id}")
}

/// The seed of this run: TIDEGATE_SEED where it is set, so that a failure can be run again with the same choices.
pub fn seed() -> u64 {
    let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("TIDEGATE_SEED={seed}");
    seed
}

/// Hex of the HMAC-SHA1 that lets a client do something (wire.md 3.1.4).
pub fn sign(master_key: &str, text: &str) -> String {
    use hmac::{Hmac, Mac};
    let mac = Hmac::<sha1::Sha1>::new_from_slice(master_key.as_bytes()).unwrap();
    hex(&mac.chain_update(text).finalize().into_bytes())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
