//! The stages of the pipeline, one folder each, in the order in which a message travels.
//!
//! A stage knows the engine, the domain and the store's trait; it does not know what comes after it, nor what a socket
//! is: outputs are bound by the topology, and what goes to clients leaves as `Mail` for the sink `net`.
//! `event` is what flows, `shared` what several stages look at.

pub mod authenticate;
pub mod catalogue;
pub mod decode;
pub mod event;
pub mod fan_out;
pub mod hook;
pub mod mail;
pub mod persist;
pub mod push;
pub mod read;
pub mod route;
pub mod shared;
pub mod supervisor;
