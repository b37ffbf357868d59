//! A storm of log-ins: how many a second, and how long each takes.

use clap::Args;

use crate::args::{Output, Target};
use crate::clock::{SECOND, now};
use crate::fleet::{Fleet, Heard, TOO_MUCH};
use crate::latency::{self, Hlog, Quantiles};
use crate::probe::Probe;
use crate::progress::Progress;
use crate::report::Report;
use crate::schedule::{Schedule, Stretch};
use crate::{Failure, returns, setup};

#[derive(Debug, Args)]
#[command(next_help_heading = "The load")]
pub struct LoginsArgs {
    /// Clients that log in
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub clients: u32,
    /// Connections that are on their way in at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub at_once: u32,
    /// Open loop instead: connections a second, whoever is in; a log-in counts from when it should have begun
    #[arg(long, value_name = "R", conflicts_with_all = ["at_once", "reconnect"])]
    pub rate: Option<f64>,
    /// When all are in, cut them at once, and time until all are back
    #[arg(long)]
    pub reconnect: bool,
    /// With --reconnect: clients beside them that stay and go on talking
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub stay: u32,
    /// With --reconnect: their messages a second, all together
    #[arg(long, default_value_t = 200.0)]
    pub stay_rate: f64,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub output: Output,
}

/// An open loop gives up on those that are not in so long after the last one began.
const TAIL: u64 = 20 * SECOND;

pub fn run(args: &LoginsArgs) -> Result<(), Failure> {
    if args.reconnect {
        return returns::run(args);
    }
    let LoginsArgs { clients, target, output, .. } = args;
    let how = match args.rate {
        Some(rate) => format!("{rate} connections/s offered"),
        None => format!("{} connections at once", args.at_once),
    };
    let heading =
        format!("{clients} log-ins, {} a connection, {how}, over {}", target.per_connection, target.transport.name());
    let mut report = Report::new("logins", heading);
    setup::target_settings(&mut report, target);
    report.setting("clients", *clients);
    match args.rate {
        Some(rate) => report.setting("rate", rate),
        None => report.setting("at_once", args.at_once),
    }
    let floor = setup::login_floor(output, target)?;
    let probe = Probe::of(target);
    let mut fleet = Fleet::new(target, *clients)?;
    let before = probe.and_then(Probe::usage);
    let mut hlog = Hlog::create(output.hlog.as_deref(), &["login"])?;
    let (start, mut progress, mut took) = (now(), Progress::start(), latency::histogram());
    match args.rate {
        Some(rate) => open_loop(&mut fleet, rate, &mut |fleet, nanoseconds| {
            took.saturating_record(nanoseconds);
            hlog.record(0, nanoseconds);
            hlog.tick(now());
            progress.tick(now(), || format!("{} of {clients} logged in", fleet.inside));
        })?,
        None => fleet.log_in_all(0..fleet.connections(), args.at_once as usize, |fleet, nanoseconds| {
            took.saturating_record(nanoseconds);
            hlog.record(0, nanoseconds);
            hlog.tick(now());
            progress.tick(now(), || format!("{} of {clients} logged in", fleet.inside));
        })?,
    }
    let rate = f64::from(fleet.inside) * 1e9 / (now() - start) as f64;
    report.figure("log-ins", rate, "/s");
    report.figure("logged in", f64::from(fleet.inside), "clients");
    report.latency("log-in", Quantiles::of(&took));
    if let (Some(before), Some(after)) = (before, probe.and_then(Probe::usage)) {
        report.figure("server CPU a log-in", (after.cpu - before.cpu) * 1e6 / f64::from(*clients), "us");
    }
    if let Some(floor) = &floor {
        report.beside("log-ins", rate, floor);
    }
    hlog.close()?;
    if fleet.put_off > 0 {
        report.refused.insert(TOO_MUCH, fleet.put_off);
        report.note("refused log-ins tried again after 100 ms");
    }
    report.broken(&fleet);
    let missing = clients - fleet.inside;
    let refused = fleet.refused;
    report.finish(output)?;
    if missing > 0 {
        return Err(Failure::because(format!("{missing} clients are not in; {refused} log-ins were refused")));
    }
    Ok(())
}

fn open_loop(fleet: &mut Fleet, rate: f64, on: &mut dyn FnMut(&Fleet, u64)) -> Result<(), Failure> {
    let connections = fleet.connections();
    let length = (connections as f64 / rate * SECOND as f64) as u64 + SECOND;
    let mut schedule = Schedule::new(now(), vec![Stretch { rate, length }]);
    let (mut next, mut took, mut last) = (0, Vec::new(), now());
    while fleet.inside < fleet.clients() && (next < connections || now() < last + TAIL) {
        while next < connections
            && let Some(intended) = schedule.due(now())
        {
            fleet.begin(next, intended)?;
            (next, last) = (next + 1, now());
        }
        let until = if next < connections { schedule.next() } else { None };
        fleet.turn(until.unwrap_or(u64::MAX).min(now() + SECOND / 10), |_, heard, at| {
            if let Heard::In { since } = heard {
                took.push(at.saturating_sub(since));
            }
        })?;
        took.drain(..).for_each(|nanoseconds| on(fleet, nanoseconds));
    }
    Ok(())
}
