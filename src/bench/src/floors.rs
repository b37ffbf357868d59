//! `bench floor`: all floors of this machine, one after the other.

use clap::Args;

use crate::args::Output;
use crate::report::Report;
use crate::{Failure, floor, setup};

#[derive(Debug, Args)]
#[command(next_help_heading = "The load")]
pub struct FloorsArgs {
    /// Sockets of the bare fan-out
    #[arg(long, default_value_t = 9000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub sockets: u32,
    /// Bytes of each message
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub size: u32,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(args: &FloorsArgs) -> Result<(), Failure> {
    let mut report = Report::new("floor", format!("this machine, {} bytes a message", args.size));
    let folder = setup::disk_folder(&args.output, None);
    report.setting("sockets", args.sockets);
    report.setting("size", args.size);
    report.setting("folder", folder.display().to_string());
    for batch in [1, 8, 32] {
        report.floor(floor::fan_out(args.sockets, batch, args.size)?);
    }
    for kib in [4, 64, 256] {
        floor::sync(&folder, kib)?.into_iter().for_each(|floor| report.floor(floor));
    }
    report.floor(floor::round_trip(args.size)?);
    report.floor(floor::connections()?);
    report.floor(floor::handshakes()?);
    report.finish(&args.output)
}
