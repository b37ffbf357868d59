//! The `tidegate` program: reads the command line and hands over. Everything else is in the modules named here.

mod admin;
mod bench;
mod bridge;
mod certificate;
mod cli;
mod compose;
mod greeting;
mod logging;
mod pages;
mod run;
mod trace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
