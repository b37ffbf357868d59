//! `pipeline.toml`: read, checked whole, and explained where it is wrong.
//!
//! Owns the names of the file, their defaults, every complaint about them, the reference page, and the drawings of a
//! topology; also what differs between two of them, and how what is running is written back into a file. Knows the
//! engine's topology and the domain's apps as values. Must not know stages (a catalogue tells what they declare) or
//! sockets: nothing here is bound or started, and nothing but `file.rs` touches a disk.
//!
//! Start reading at [`load`]; `keys.rs` is the table of all keys. The way back starts at [`rewrite`].

mod address;
mod admin;
mod apps;
mod catalogue;
mod config;
mod diagnostic;
mod difference;
mod edit;
mod file;
mod form;
mod graph;
mod journeys;
mod keys;
mod listen;
mod load;
mod mask;
mod outputs;
mod pipeline;
mod places;
mod problems;
mod reference;
mod save;
mod section;
mod settings;
mod syntax;
mod units;
mod value;
mod words;
mod written;

pub use apps::{DEVELOPMENT_KEY, DEVELOPMENT_MASTER_KEY, new_app};
pub use catalogue::{ModuleCatalogue, ModuleEntry};
pub use config::{
    Admin, Alerts, Config, Hdr, Headers, Journeys, Listen, Memory, Net, Otlp, Store, Tls, beyond_loopback,
    development_keys_exposed,
};
pub use diagnostic::{Diagnostic, Severity, Span, render_all};
pub use difference::{Difference, differences};
pub use file::{NotReplaced, Replaced, replace};
pub use graph::{Format, graph};
pub use keys::IN_FLIGHT;
pub use load::{WrongFile, load, load_with};
pub use reference::reference;
pub use save::{Unsaved, rewrite};
pub use value::Sync;
pub use words::grouped;
pub use written::{Secrets, write};

/// What holds without a file: the repository's `pipeline.toml`.
pub const DEFAULT: &str = include_str!("../../../pipeline.toml");
