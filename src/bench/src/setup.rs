//! What scenarios do before they measure: floors, log-ins, conversations.

use std::ops::Range;
use std::path::PathBuf;

use crate::args::{Output, Target, Timing};
use crate::clock::{SECOND, now};
use crate::drive::Pace;
use crate::fleet::Fleet;
use crate::floor::Floor;
use crate::probe::Probe;
use crate::progress::Progress;
use crate::report::Report;
use crate::schedule::{Schedule, Stretch};
use crate::traffic::Phase;
use crate::{Failure, floor, wire};

/// Log-ins under way at once where they are not what is measured: fewer than any listener's backlog.
const AT_ONCE: usize = 64;

/// What is in every scenario's JSON.
pub fn settings(report: &mut Report, target: &Target, timing: &Timing) {
    target_settings(report, target);
    report.setting("seconds", timing.seconds);
    report.setting("warm", timing.warm);
    report.setting("size", timing.size);
}

/// The same, for scenarios without messages.
pub fn target_settings(report: &mut Report, target: &Target) {
    report.setting("server", target.address().to_string());
    report.setting("transport", target.transport.name());
    report.setting("per_connection", target.per_connection);
}

/// What messages are called, for headings.
pub fn kind(transient: bool) -> &'static str {
    if transient { "transient" } else { "durable" }
}

/// The disk's floor, where a run waits for the disk and floors are wanted.
pub fn disk_floor(output: &Output, probe: Option<Probe>, wanted: bool) -> Result<Option<[Floor; 2]>, Failure> {
    if output.no_floor || !wanted {
        return Ok(None);
    }
    floor::sync(&disk_folder(output, probe), 4).map(Some)
}

/// A folder on the server's disk, as well as it can be known.
pub fn disk_folder(output: &Output, probe: Option<Probe>) -> PathBuf {
    let beside = || probe.and_then(Probe::beside_data).filter(|folder| folder.is_dir());
    output.floor_dir.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("."))
}

/// Everybody in, with a live line where it takes long.
pub fn log_in(fleet: &mut Fleet) -> Result<(), Failure> {
    log_in_some(fleet, 0..fleet.connections())
}

/// The same, for some connections.
pub fn log_in_some(fleet: &mut Fleet, seats: Range<usize>) -> Result<(), Failure> {
    let mut progress = Progress::start();
    let all = fleet.clients();
    fleet.log_in_all(seats, AT_ONCE, |fleet, _| progress.tick(now(), || format!("{} of {all} logged in", fleet.inside)))
}

/// The warming up begins now; the one phase that is measured comes behind it.
pub fn one_phase(timing: &Timing) -> (u64, Vec<Phase>) {
    let start = now();
    let begin = start + timing.warm * SECOND;
    (start, vec![Phase::new(begin, begin + timing.seconds * SECOND)])
}

/// The same rate all the time.
pub fn at_rate(rate: f64, start: u64, timing: &Timing) -> Pace {
    Pace::Open(Schedule::new(start, vec![Stretch { rate, length: (timing.warm + timing.seconds) * SECOND }]))
}

/// The floor of log-ins: handshakes where there is TLS, else bare connections.
pub fn login_floor(output: &Output, target: &Target) -> Result<Option<Floor>, Failure> {
    let measure = if target.transport.is_tls() { floor::handshakes } else { floor::connections };
    (!output.no_floor).then(measure).transpose()
}

/// The floor of an answer that waits for no disk.
pub fn hop_floor(output: &Output, size: u32) -> Result<Option<Floor>, Failure> {
    (!output.no_floor).then(|| floor::round_trip(size)).transpose()
}

/// The times of the first and last message of each conversation, the first client's first.
pub fn span(fleet: &mut Fleet, cids: &[String]) -> Result<Vec<(i64, i64)>, Failure> {
    let mut ends = Vec::new();
    for first in [true, false] {
        let asks = (0..).zip(cids).map(|(client, cid)| (client, wire::page(fleet.name(client), 0, cid, 1, 0, first)));
        let asks = asks.collect();
        let pages = fleet.ask_all(asks)?;
        let times = pages.iter().map(|frame| wire::logs(frame)?.first().map(|(_, time)| *time));
        let times: Option<Vec<i64>> = times.collect();
        ends.push(times.ok_or_else(|| Failure::because("a conversation is empty: fill it (--fill)"))?);
    }
    let last = ends.pop().unwrap_or_default();
    Ok(ends.pop().unwrap_or_default().into_iter().zip(last).collect())
}

/// A unique conversation for each of these sets of clients, started by its first; their ids, in this order.
///
/// Who has just come in is told how much it missed, and what is sent before the server has looked is told there instead of
/// being delivered. A page, which the server reads for a client after that, says that it has looked.
pub fn unique<Members: IntoIterator<Item = u32> + Clone>(
    fleet: &mut Fleet,
    members: impl Iterator<Item = Members>,
) -> Result<Vec<String>, Failure> {
    let members: Vec<Members> = members.collect();
    let start = |members: &Members| {
        let names = members.clone().into_iter().map(|client| fleet.name(client)).collect();
        let first = members.clone().into_iter().next()?;
        Some((first, wire::start(fleet.name(first), 0, names, false)))
    };
    let asks = members.iter().filter_map(start).collect();
    let cids = started(&fleet.ask_all(asks)?)?;
    let pages = members.into_iter().zip(&cids).flat_map(|(members, cid)| {
        let fleet = &*fleet;
        members.into_iter().map(move |client| (client, wire::page(fleet.name(client), 0, cid, 1, 0, false)))
    });
    let asks = pages.collect();
    fleet.ask_all(asks)?;
    Ok(cids)
}

/// A conversation for each two clients side by side, the first to send and the second to hear.
pub fn pairs(fleet: &mut Fleet, pairs: u32) -> Result<Vec<String>, Failure> {
    unique(fleet, (0..pairs).map(|pair| pair * 2..pair * 2 + 2))
}

/// A conversation of each client with somebody who is never there; their ids, in the order of the clients.
pub fn with_absent(fleet: &mut Fleet) -> Result<Vec<String>, Failure> {
    let ask = |client| {
        let name = fleet.name(client);
        (client, wire::start(name.clone(), 0, vec![format!("{name}-absent"), name], false))
    };
    let asks = (0..fleet.clients()).map(ask).collect();
    started(&fleet.ask_all(asks)?)
}

/// A chat room made by each of these clients.
pub fn rooms(fleet: &mut Fleet, makers: impl Iterator<Item = u32>) -> Result<Vec<String>, Failure> {
    let asks = makers.map(|maker| (maker, wire::start(fleet.name(maker), 0, vec![fleet.name(maker)], true))).collect();
    started(&fleet.ask_all(asks)?)
}

/// These clients join these rooms.
pub fn join<'a>(fleet: &mut Fleet, joins: impl Iterator<Item = (u32, &'a str)>) -> Result<(), Failure> {
    let asks = joins.map(|(client, cid)| (client, wire::join(fleet.name(client), 0, cid))).collect();
    fleet.ask_all(asks).map(drop)
}

fn started(answers: &[Vec<u8>]) -> Result<Vec<String>, Failure> {
    let cids = answers.iter().map(|frame| wire::started(frame));
    cids.collect::<Option<_>>().ok_or_else(|| Failure::because("the server started no conversation"))
}
