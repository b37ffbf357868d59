//! The `tidegate` program: reads the command line and hands over. Everything else is in the modules named here.

mod adaptive;
mod admin;
mod alerts;
mod bottleneck;
mod bridge;
mod certificate;
mod cli;
mod clock;
mod compose;
mod config_file;
mod dashboard;
mod days;
mod doctor;
mod figures;
mod greeting;
mod hdr;
mod live;
mod logging;
mod metrics;
mod monitor;
mod pages;
mod recorder;
mod remote;
mod run;
mod spans;
mod trace;
mod tuning;
mod whatif_command;

use std::io::Write;

fn main() {
    let code = cli::main();
    let _ = std::io::stdout().flush();
    // Without RocksDB's static destructors: a thread of its own that still runs would abort the process over them.
    signal_hook::low_level::exit(i32::from(code));
}
