//! Up to overload and back, step by step: what is offered, what comes through, what is refused, how long it takes.
//!
//! Beside the load, one client asks for an echo ten times a second: what frees resources and what costs nothing has to
//! be answered whatever is offered.

use clap::Args;

use crate::args::{Output, Target, Timing};
use crate::clock::SECOND;
use crate::drive::{Pace, drive, report_on};
use crate::fleet::Fleet;
use crate::latency::{Hlog, Quantiles};
use crate::probe::Probe;
use crate::report::{Report, Rows};
use crate::schedule::{Schedule, Stretch, up_and_down};
use crate::traffic::{Phase, Traffic};
use crate::{Failure, setup};

#[derive(Debug, Args)]
pub struct RampArgs {
    /// Messages a second of the first and last step
    #[arg(long, default_value_t = 2000.0)]
    pub from: f64,
    /// Messages a second of the highest step
    #[arg(long, default_value_t = 100_000.0)]
    pub to: f64,
    /// Steps up; one fewer lead down
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub steps: u32,
    /// Pairs of clients
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pairs: u32,
    /// Transient messages: acknowledged without the disk
    #[arg(long)]
    pub transient: bool,
    /// --seconds are those of each step here
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(args: &RampArgs) -> Result<(), Failure> {
    let RampArgs { from, to, steps, pairs, timing, target, output, transient, .. } = args;
    if !(*from > 0.0 && to >= from) {
        return Err(Failure::because("--from has to be above 0, and --to not below it"));
    }
    let probe = Probe::of(target);
    let kind = setup::kind(*transient);
    let heading = format!(
        "{pairs} pairs, {from} to {to} messages/s and back, {} steps of {} s, {} bytes, {kind}, over {}",
        steps * 2 - 1,
        timing.seconds,
        timing.size,
        target.transport.name()
    );
    let mut report = Report::new("ramp", heading);
    setup::settings(&mut report, target, timing);
    report.setting("from", *from);
    report.setting("to", *to);
    report.setting("pairs", *pairs);
    report.setting("transient", *transient);
    let disk = setup::disk_floor(output, probe, !transient)?;
    let mut fleet = Fleet::new(target, pairs * 2)?;
    setup::log_in(&mut fleet)?;
    let cids = setup::pairs(&mut fleet, *pairs)?;
    let (start, _) = setup::one_phase(timing);
    let mut stretches = up_and_down(*from, *to, *steps, timing.seconds * SECOND);
    let mut phases = Vec::new();
    let mut begin = start + timing.warm * SECOND;
    for stretch in &stretches {
        phases.push(Phase::new(begin, begin + stretch.length));
        begin += stretch.length;
    }
    stretches.insert(0, Stretch { rate: *from, length: timing.warm * SECOND });
    let hlog = Hlog::create(output.hlog.as_deref(), &["ack", "delivery"])?;
    let mut traffic = Traffic::new(fleet.clients(), timing.size, *transient, phases, hlog);
    traffic.pairs(cids);
    traffic.heartbeat(*pairs * 2 - 1);
    let used = drive(&mut fleet, &mut traffic, Pace::Open(Schedule::new(start, stretches)), probe, start)?;
    report_on(&mut report, &traffic, &fleet, &used);
    report.rows = rows(&traffic.phases);
    let best = traffic.phases.iter().map(goodput).fold(0.0, f64::max);
    let last = traffic.phases.last().map_or(0.0, goodput);
    let highest = traffic.phases.get(*steps as usize - 1).map_or(0.0, goodput);
    report.figure("best step", best, "messages/s");
    report.figure("at the highest offer, of the best", highest / best.max(1.0), "");
    report.figure("at the end, of what is offered", last / from, "");
    if let Some([rate, _]) = &disk {
        report.beside("best step", best, rate);
    }
    traffic.hlog.close()?;
    report.finish(output)
}

fn goodput(phase: &Phase) -> f64 {
    phase.acked as f64 / phase.seconds()
}

fn rows(phases: &[Phase]) -> Rows {
    let columns = vec![
        ("offered", "messages/s"),
        ("goodput", "messages/s"),
        ("refused", "messages/s"),
        ("ack p50", "ms"),
        ("ack p99", "ms"),
        ("delivery p99", "ms"),
        ("echo max", "ms"),
    ];
    let row = |phase: &Phase| {
        let seconds = phase.seconds();
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let (ack, delivery) = (Quantiles::of(&phase.ack), Quantiles::of(&phase.delivery));
        vec![
            phase.offered as f64 / seconds,
            goodput(phase),
            phase.refused.values().sum::<u64>() as f64 / seconds,
            ms(ack.p50),
            ms(ack.p99),
            ms(delivery.p99),
            ms(phase.echo),
        ]
    };
    Rows { columns, rows: phases.iter().map(row).collect() }
}
