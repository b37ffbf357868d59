//! Clients that are only there: what each costs the server in memory, and how fast they came in.

use clap::Args;

use crate::args::{Output, Target};
use crate::clock::{SECOND, now};
use crate::crowd::Crowd;
use crate::latency::{self, Quantiles};
use crate::probe::Probe;
use crate::progress::Progress;
use crate::report::Report;
use crate::{Failure, setup};

#[derive(Debug, Args)]
#[command(next_help_heading = "The load")]
pub struct IdleArgs {
    /// Logged-in clients
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub clients: u32,
    /// Connections that log in at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub at_once: u32,
    /// How long they are idle before memory is looked at, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub settle: u64,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(args: &IdleArgs) -> Result<(), Failure> {
    let IdleArgs { clients, target, output, .. } = args;
    let heading =
        format!("{clients} idle clients, {} a connection, over {}", target.per_connection, target.transport.name());
    let mut report = Report::new("idle", heading);
    setup::target_settings(&mut report, target);
    report.setting("clients", *clients);
    report.setting("settle", args.settle);
    let floor = setup::login_floor(output, target)?;
    let probe = Probe::of(target);
    let mut crowd = Crowd::new(target, *clients)?;
    report.setting("processes", crowd.processes());
    let before = probe.and_then(Probe::usage);
    let own = Probe::own().usage();
    let (start, mut progress, mut took) = (now(), Progress::start(), latency::histogram());
    crowd.log_in(args.at_once, |inside, nanoseconds| {
        took.saturating_record(nanoseconds);
        progress.tick(now(), || format!("{inside} of {clients} logged in"));
    })?;
    let rate = f64::from(*clients) * 1e9 / (now() - start) as f64;
    let inside = probe.and_then(Probe::usage);
    let end = now() + args.settle * SECOND;
    while now() < end {
        crowd.fleet.turn(end.min(progress.next()), |_, _, _| {})?;
        progress.tick(now(), || format!("{} idle", crowd.inside()));
    }
    report.figure("log-ins", rate, "/s");
    report.latency("log-in", Quantiles::of(&took));
    match (before, inside, probe.and_then(Probe::usage)) {
        (Some(before), Some(inside), Some(after)) => {
            let grown = after.resident.saturating_sub(before.resident) as f64;
            report.figure("server resident a client", grown / f64::from(*clients), "bytes");
            report.figure("server resident a connection", grown / f64::from(crowd.connections()), "bytes");
            report.figure("server resident before", before.resident as f64 / 1048576.0, "MiB");
            report.figure("server resident with them", after.resident as f64 / 1048576.0, "MiB");
            report.figure("server CPU a log-in", (inside.cpu - before.cpu) * 1e6 / f64::from(*clients), "us");
            let idle = after.cpu - inside.cpu;
            report.figure("server CPU while idle", idle / (args.settle.max(1) as f64), "cores");
        }
        _ => report.note("the server's process was not found (--pid), so its memory is not known"),
    }
    if let (Some(before), Some(after)) = (own, Probe::own().usage()) {
        let grown = after.resident.saturating_sub(before.resident) as f64;
        report.figure("generator resident a client", grown / f64::from(crowd.fleet.clients()), "bytes");
    }
    if let Some(floor) = &floor {
        report.beside("log-ins", rate, floor);
    }
    report.broken(&crowd.fleet);
    report.broken_elsewhere(crowd.end());
    report.finish(output)
}
