//! `tidegate replay`: sends to a server what a recording says that another was sent, with texts of its own.
//!
//! Open loop: each message at its own time, whatever happened to those before it. Who plays is `cast`'s business.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use tidegate_recording::{Messages, Recording};

use crate::args::{Output, Target};
use crate::cast::Cast;
use crate::clock::{SECOND, now};
use crate::drive::{Pace, drive, report_on};
use crate::fleet::Fleet;
use crate::latency::{Hlog, Quantiles};
use crate::probe::Probe;
use crate::report::Report;
use crate::schedule::{Due, Script};
use crate::traffic::{Phase, Traffic};
use crate::{Failure, limits, setup};

/// Send to a server what was recorded of another: the same pattern, with made-up texts and clients
///
/// Each message is sent at its own time, divided by --speed, by a client for each sender, to as many as heard it. What comes
/// back is checked and reported as `tidegate bench` does.
#[derive(Debug, Args)]
#[command(mut_arg("server", |arg| arg.long("to").required(true)))]
#[command(after_help = "\
Examples:
  tidegate record --for 60s --out monday.json
  tidegate replay monday.json --to 127.0.0.1:7701
  tidegate replay monday.json --to 10.0.0.7:7701 --speed 5 --hlog five.hlog   five times as fast
  tidegate replay monday.json --to 127.0.0.1:7701 --per-connection 20         many clients, fewer connections")]
pub struct ReplayArgs {
    /// What `tidegate record` wrote
    file: PathBuf,
    /// How many times as fast as it was recorded, 0.1 to 20
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Clients at most (default: as many as connections can be open here)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    clients: Option<u32>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

/// A text says which message it is; what was shorter than this may be longer.
const SHORTEST: u32 = 40;

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.1..=20.0).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.1 to 20".to_owned()),
    }
}

pub fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let ReplayArgs { file, speed, target, output, .. } = args;
    let Recording { seconds, messages, .. } = tidegate_recording::read(file).map_err(Failure::because)?;
    if messages.all.is_empty() {
        return Err(Failure::because(format!(
            "{} has no messages, so there is nothing to send: record while clients are sending",
            file.display()
        )));
    }
    let most = limits::connections()?.saturating_mul(target.per_connection);
    let cast = Cast::of(&messages, args.clients.map_or(most, |clients| clients.min(most)))?;
    let probe = Probe::of(target);
    let mut report = Report::new("replay", heading(args, seconds, &messages));
    setup::target_settings(&mut report, target);
    report.setting("speed", *speed);
    report.setting("seconds", seconds / speed);
    report.setting("senders", messages.senders());
    report.setting("conversations", messages.conversations.len());
    report.setting("clients", cast.clients);
    let durable = messages.all.iter().any(|message| !message.transient);
    let disk = setup::disk_floor(output, probe, durable)?;

    let mut fleet = Fleet::new(target, cast.clients)?;
    setup::log_in(&mut fleet)?;
    let cids = conversations(&mut fleet, &messages, &cast)?;
    let hlog = Hlog::create(output.hlog.as_deref(), &["ack", "delivery"])?;
    let mut traffic = Traffic::new(fleet.clients(), 0, false, Vec::new(), hlog);
    let mut script = script(&mut traffic, &messages, &cast, &cids, *speed);
    let start = now();
    script.iter_mut().for_each(|due| due.intended += start);
    let last = script.last().map_or(start, |due| due.intended);
    let end = (start + (seconds / speed * SECOND as f64) as u64).max(last + 1);
    traffic.phases = vec![Phase::new(start, end)];
    let used = drive(&mut fleet, &mut traffic, Pace::Script(Script::new(script)), probe, start)?;

    report.figure("recorded", messages.all.len() as f64, "messages");
    report.figure("sent", traffic.phases[0].offered as f64 - traffic.unsent as f64, "messages");
    report.figure("acknowledged in all", traffic.acked as f64, "messages");
    report.figure("delivered in all", traffic.delivered as f64, "messages");
    report_on(&mut report, &traffic, &fleet, &used);
    if let Some([_, median]) = &disk {
        let ack = Quantiles::of(&traffic.phases[0].ack);
        report.beside("acknowledgement p50", ack.p50 as f64 / 1e6, median);
    }
    cast.cuts.into_iter().for_each(|cut| report.note(cut));
    if messages.left_out > 0 {
        report.note(format!(
            "the recording has {} of each 1000 senders: {} messages were left out of it",
            messages.senders_of_1000, messages.left_out
        ));
    }
    let short = messages.all.iter().filter(|message| message.size < SHORTEST).count();
    if short > 0 {
        report.note(format!(
            "{short} messages were shorter than {SHORTEST} bytes; a text that says which one it is may be longer"
        ));
    }
    traffic.hlog.close()?;
    report.finish(output)
}

fn heading(args: &ReplayArgs, seconds: f64, messages: &Messages) -> String {
    format!(
        "replay of {}: {seconds:.1} s at {} times their speed, {} messages of {} senders in {} conversations, over {}",
        args.file.display(),
        args.speed,
        messages.all.len(),
        messages.senders(),
        messages.conversations.len(),
        args.target.transport.name()
    )
}

/// Starts them with who is in them; their ids, by the recording's numbers.
fn conversations(fleet: &mut Fleet, messages: &Messages, cast: &Cast) -> Result<Vec<String>, Failure> {
    let some = |room: bool| {
        let all = messages.conversations.iter().zip(&cast.members);
        all.filter(move |(of, _)| of.room == room).map(|(_, members)| members)
    };
    let rooms = setup::rooms(fleet, some(true).map(|members| members[0]))?;
    let joins = some(true).zip(&rooms).flat_map(|(members, cid)| members[1..].iter().map(|client| (*client, &**cid)));
    setup::join(fleet, joins)?;
    let others = setup::unique(fleet, some(false).map(|members| members.iter().copied()))?;
    let (mut rooms, mut others) = (rooms.into_iter(), others.into_iter());
    let cids = messages.conversations.iter().map(|of| if of.room { rooms.next() } else { others.next() });
    cids.collect::<Option<_>>().ok_or_else(|| Failure::because("the server started too few conversations"))
}

/// The messages as they are due, in nanoseconds after the beginning, each on the line of its sender, conversation and kind.
fn script(traffic: &mut Traffic, messages: &Messages, cast: &Cast, cids: &[String], speed: f64) -> Vec<Due> {
    let mut talks: HashMap<(u32, bool), usize> = HashMap::new();
    let mut lines: HashMap<(u32, u32, bool), u32> = HashMap::new();
    let mut script = Vec::with_capacity(messages.all.len());
    for message in &messages.all {
        let (conversation, client) = (message.conversation, cast.speaker(message.sender));
        let at = conversation as usize;
        let line = *lines.entry((conversation, client, message.transient)).or_insert_with(|| {
            let talk = talks.entry((conversation, message.transient));
            let talk = *talk.or_insert_with(|| traffic.talk_of(cast.members[at].clone()));
            traffic.line_of_kind(client, cids[at].clone(), talk, message.transient)
        });
        let intended = (message.at as f64 * 1_000.0 / speed) as u64;
        script.push(Due { intended, line, size: message.size });
    }
    script
}
