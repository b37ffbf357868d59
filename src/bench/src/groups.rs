//! Groups: some members of each send, all others hear it, all in one order.

use clap::Args;

use crate::args::{Output, Target, Timing};
use crate::drive::{drive, report_on};
use crate::fleet::Fleet;
use crate::latency::Hlog;
use crate::pacing::Pacing;
use crate::probe::Probe;
use crate::report::Report;
use crate::traffic::Traffic;
use crate::{Failure, floor, setup};

#[derive(Debug, Args)]
pub struct GroupsArgs {
    /// Groups
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub groups: u32,
    /// Members of each; the server may have a limit (500)
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub members: u32,
    /// Members of each that send
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub senders: u32,
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

pub fn run(args: &GroupsArgs) -> Result<(), Failure> {
    let GroupsArgs { groups, members, timing, target, output, transient, .. } = args;
    let senders = args.senders.min(*members);
    let probe = Probe::of(target);
    let how = args.pacing.words();
    let kind = setup::kind(*transient);
    let heading = format!(
        "{groups} groups of {members}, {senders} senders in each, {how}, {} bytes, {kind}, over {}",
        timing.size,
        target.transport.name()
    );
    let mut report = Report::new("groups", heading);
    setup::settings(&mut report, target, timing);
    report.setting("groups", *groups);
    report.setting("members", *members);
    report.setting("senders", senders);
    report.setting("transient", *transient);
    args.pacing.settings(&mut report);
    let mut fleet = Fleet::new(target, groups * members)?;
    let disk = setup::disk_floor(output, probe, !transient)?;
    let sockets = fleet.connections() as u32;
    let sends = (!output.no_floor).then(|| floor::fan_out(sockets, 1, timing.size)).transpose()?;
    setup::log_in(&mut fleet)?;
    let cids = setup::unique(&mut fleet, (0..*groups).map(|group| group * members..(group + 1) * members))?;
    let (start, phases) = setup::one_phase(timing);
    let hlog = Hlog::create(output.hlog.as_deref(), &["ack", "delivery"])?;
    let mut traffic = Traffic::new(fleet.clients(), timing.size, *transient, phases, hlog);
    for (group, cid) in (0..*groups).zip(cids) {
        let talk = traffic.talk(group * members, *members);
        for sender in 0..senders {
            traffic.line(group * members + sender, cid.clone(), talk);
        }
    }
    let used = drive(&mut fleet, &mut traffic, args.pacing.pace(start, timing), probe, start)?;
    report_on(&mut report, &traffic, &fleet, &used);
    let phase = &traffic.phases[0];
    if let Some(sends) = &sends {
        report.beside("delivered", phase.delivered as f64 / phase.seconds(), sends);
    }
    if let Some([rate, _]) = &disk {
        report.beside("acknowledged", phase.acked as f64 / phase.seconds(), rate);
    }
    traffic.hlog.close()?;
    report.finish(output)
}
