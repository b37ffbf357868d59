//! What several stages look at: the apps, who is connected, what is cached. Everything here has a bound and locks only
//! a shard of itself.

pub mod apps;
pub mod busy;
pub mod connections;
pub mod crowds;
pub mod days;
pub mod delivery;
pub mod history;
pub mod journeys;
pub mod reply;
pub mod rooms;
pub mod sessions;
pub mod tape;
pub mod tokens;
pub mod traces;
pub mod twins;
pub mod views;
pub mod wills;
pub mod world;

pub use world::World;
