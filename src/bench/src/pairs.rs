//! One-to-one messages: a sender and a receiver each, closed loop (some outstanding) or open (a rate).

use clap::Args;

use crate::args::{Output, Target, Timing};
use crate::drive::{drive, report_on};
use crate::fleet::Fleet;
use crate::latency::{Hlog, Quantiles};
use crate::pacing::Pacing;
use crate::probe::Probe;
use crate::report::Report;
use crate::traffic::Traffic;
use crate::{Failure, setup};

#[derive(Debug, Args)]
pub struct PairsArgs {
    /// Pairs of clients, a sender and a receiver each
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    pub pairs: u32,
    #[command(flatten)]
    pub pacing: Pacing,
    /// Transient messages: acknowledged without the disk
    #[arg(long)]
    pub transient: bool,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(args: &PairsArgs) -> Result<(), Failure> {
    let PairsArgs { timing, target, output, transient, .. } = args;
    let probe = Probe::of(target);
    let kind = setup::kind(*transient);
    let how = args.pacing.words();
    let transport = target.transport.name();
    let mut report =
        Report::new("pairs", format!("{} pairs, {how}, {} bytes, {kind}, over {transport}", args.pairs, timing.size));
    setup::settings(&mut report, target, timing);
    report.setting("pairs", args.pairs);
    report.setting("transient", *transient);
    args.pacing.settings(&mut report);
    let disk = setup::disk_floor(output, probe, !transient)?;
    let hop = if *transient { setup::hop_floor(output, timing.size)? } else { None };

    let mut fleet = Fleet::new(target, args.pairs * 2)?;
    setup::log_in(&mut fleet)?;
    let cids = setup::pairs(&mut fleet, args.pairs)?;
    let (start, phases) = setup::one_phase(timing);
    let hlog = Hlog::create(output.hlog.as_deref(), &["ack", "delivery"])?;
    let mut traffic = Traffic::new(fleet.clients(), timing.size, *transient, phases, hlog);
    traffic.pairs(cids);
    let used = drive(&mut fleet, &mut traffic, args.pacing.pace(start, timing), probe, start)?;
    report_on(&mut report, &traffic, &fleet, &used);
    let phase = &traffic.phases[0];
    if let Some([rate, median]) = &disk {
        report.beside("acknowledged", phase.acked as f64 / phase.seconds(), rate);
        report.beside("acknowledgement p50", Quantiles::of(&phase.ack).p50 as f64 / 1e6, median);
    }
    if let Some(hop) = &hop {
        report.beside("delivery p50", Quantiles::of(&phase.delivery).p50 as f64 / 1e6, hop);
    }
    traffic.hlog.close()?;
    report.finish(output)
}
