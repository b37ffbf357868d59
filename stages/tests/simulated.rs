//! Thousands of simulated runs of the real stages: whatever the interleaving, what clients were told is what is kept.
//!
//! Each run is decided by its seed. `SEEDS=n` sets how many of each scenario are run, `SEED=n` plays one again.

#[path = "simulated/app.rs"]
mod app;
#[path = "simulated/connection.rs"]
mod connection;
#[path = "common/given.rs"]
mod given;
#[path = "simulated/login.rs"]
mod login;
#[path = "simulated/members.rs"]
mod members;
#[path = "simulated/mix.rs"]
mod mix;
#[path = "simulated/resend.rs"]
mod resend;
#[path = "simulated/rig.rs"]
mod rig;
#[path = "simulated/say.rs"]
mod say;
#[path = "simulated/unique.rs"]
mod unique;
#[path = "simulated/will.rs"]
mod will;
#[path = "simulated/world/mod.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a scenario for every seed, or the one that is asked for.
fn for_seeds(scenario: fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        return scenario(seed);
    }
    let seeds = number("SEEDS").unwrap_or(if cfg!(debug_assertions) { 150 } else { 2_000 });
    for seed in 0..seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("failed with SEED={seed}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn a_connection_has_its_bound_of_sessions() {
    for_seeds(connection::sessions_are_bounded);
}

#[test]
fn a_command_that_cannot_be_read_is_refused_and_closes_nothing() {
    for_seeds(connection::what_is_broken_is_refused);
}

#[test]
fn a_will_is_sent_when_its_connection_is_lost_and_only_then() {
    for_seeds(will::sent_when_lost);
}

#[test]
fn members_changed_at_once_all_count() {
    for_seeds(members::changes_at_once_all_count);
}

#[test]
fn a_login_among_arrivals_counts_or_delivers_each() {
    for_seeds(login::counted_or_delivered);
}

#[test]
fn a_resend_is_one_message() {
    for_seeds(resend::one_message_whatever_was_resent);
}

#[test]
fn a_unique_conversation_is_one() {
    for_seeds(unique::one_conversation_for_both);
}

#[test]
fn all_at_once_has_one_order_and_loses_nothing() {
    for_seeds(mix::one_order_and_nothing_lost);
}

#[test]
fn under_pressure_a_command_is_refused_or_done() {
    for_seeds(mix::refused_or_done);
}

#[test]
fn a_million_operations_agree_with_the_model() {
    world::a_million_operations();
}

#[test]
fn a_seed_is_one_run() {
    world::seeds_repeat();
}

#[test]
fn what_once_failed_holds() {
    world::found_before();
}
