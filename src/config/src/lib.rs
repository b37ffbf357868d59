//! `pipeline.toml`: read, checked whole, and explained where it is wrong.
//!
//! Owns the names of the file, their defaults, every complaint about them, the reference page, and the drawings of a
//! topology. Knows the engine's topology and the domain's apps as values. Must not know stages (a catalogue tells what
//! they declare), sockets or disks: nothing here is opened, bound or started.
//!
//! Start reading at [`load`]; `keys.rs` is the table of all keys.

mod address;
mod apps;
mod catalogue;
mod config;
mod diagnostic;
mod form;
mod graph;
mod keys;
mod listen;
mod load;
mod mask;
mod outputs;
mod pipeline;
mod problems;
mod reference;
mod section;
mod syntax;
mod units;
mod value;
mod words;
mod written;

pub use apps::{DEVELOPMENT_KEY, DEVELOPMENT_MASTER_KEY, new_app};
pub use catalogue::{ModuleCatalogue, ModuleEntry};
pub use config::{Config, Journeys, Listen, Memory, Net, Store, Tls, development_keys_exposed};
pub use diagnostic::{Diagnostic, Severity, Span, render_all};

pub use graph::{Format, graph};
pub use load::{WrongFile, load, load_with};
pub use reference::reference;
pub use value::Sync;
pub use written::write_topology;

/// What holds without a file: the repository's `pipeline.toml`.
pub const DEFAULT: &str = include_str!("../../../pipeline.toml");
