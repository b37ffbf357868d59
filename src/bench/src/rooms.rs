//! Chat rooms: few send, and thousands who joined hear it.

use clap::Args;

use crate::args::{Output, Target, Timing};
use crate::drive::{Pace, drive, report_on};
use crate::fleet::Fleet;
use crate::latency::Hlog;
use crate::probe::Probe;
use crate::report::Report;
use crate::traffic::Traffic;
use crate::{Failure, floor, setup};

#[derive(Debug, Args)]
pub struct RoomsArgs {
    /// Rooms
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rooms: u32,
    /// Members of each, who only listen
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub members: u32,
    /// Senders of each, who do not join
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub senders: u32,
    /// Closed loop: messages of each sender that not all members have heard yet
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// Open loop instead: messages a second over all rooms
    #[arg(long, value_name = "R", conflicts_with = "window")]
    pub rate: Option<f64>,
    /// No loop at all: send as much as the server reads
    #[arg(long, conflicts_with_all = ["window", "rate"])]
    pub flood: bool,
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

/// Messages in one `send` of each floor: past the first it is coalescing.
const FLOORS: &[u32] = &[1, 8, 32];

pub fn run(args: &RoomsArgs) -> Result<(), Failure> {
    let RoomsArgs { rooms, members, senders, timing, target, output, transient, .. } = args;
    let probe = Probe::of(target);
    let how = match args.rate {
        _ if args.flood => "as much as is read".to_owned(),
        Some(rate) => format!("{rate} messages/s offered"),
        None => format!("{} on their way", args.window),
    };
    let kind = setup::kind(*transient);
    let heading = format!(
        "{rooms} rooms of {members}, {senders} senders in each, {how}, {} bytes, {kind}, over {}",
        timing.size,
        target.transport.name()
    );
    let mut report = Report::new("rooms", heading);
    setup::settings(&mut report, target, timing);
    report.setting("rooms", *rooms);
    report.setting("members", *members);
    report.setting("senders", *senders);
    report.setting("transient", *transient);
    match args.rate {
        _ if args.flood => report.setting("flood", true),
        Some(rate) => report.setting("rate", rate),
        None => report.setting("window", args.window),
    }
    // The members of a room side by side, then all senders.
    let listening =
        rooms.checked_mul(*members).ok_or_else(|| Failure::because("that is more than 4 billion members"))?;
    let mut fleet = Fleet::new(target, listening + rooms * senders)?;
    let sockets = listening.div_ceil(target.per_connection);
    let floors = if output.no_floor { &[] } else { FLOORS };
    let floors =
        floors.iter().map(|batch| floor::fan_out(sockets, *batch, timing.size)).collect::<Result<Vec<_>, _>>()?;
    setup::log_in(&mut fleet)?;
    let cids = setup::rooms(&mut fleet, (0..*rooms).map(|room| room * members))?;
    let joins = (0..listening).filter(|client| client % members != 0);
    setup::join(&mut fleet, joins.map(|client| (client, cids[(client / members) as usize].as_str())))?;
    let (start, phases) = setup::one_phase(timing);
    let hlog = Hlog::create(output.hlog.as_deref(), &["ack", "delivery"])?;
    let mut traffic = Traffic::new(fleet.clients(), timing.size, *transient, phases, hlog);
    for (room, cid) in (0..*rooms).zip(&cids) {
        let talk = traffic.talk(room * members, *members);
        for sender in 0..*senders {
            traffic.line(listening + room * senders + sender, cid.clone(), talk);
        }
    }
    let pace = match args.rate {
        _ if args.flood => Pace::Flood,
        Some(rate) => setup::at_rate(rate, start, timing),
        None => Pace::Window(args.window),
    };
    let used = drive(&mut fleet, &mut traffic, pace, probe, start)?;
    report_on(&mut report, &traffic, &fleet, &used);
    let phase = &traffic.phases[0];
    for floor in &floors {
        report.beside("delivered", phase.delivered as f64 / phase.seconds(), floor);
    }
    traffic.hlog.close()?;
    report.finish(output)
}
