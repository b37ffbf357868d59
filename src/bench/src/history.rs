//! Pages of history: conversations are filled, then read, page by page, and each page is checked.
//!
//! With a name, the conversations are found again by a later run: over a restart of the server, say, which is the only
//! way to read cold.

use clap::Args;

use crate::args::{Output, Target, Timing};
use crate::check::Wrong;
use crate::clock::{MILLI, SECOND, now};
use crate::dice::Dice;
use crate::drive::{Pace, drive};
use crate::fleet::{Fleet, Heard};
use crate::latency::{self, Hlog, Quantiles};
use crate::probe::Probe;
use crate::progress::Progress;
use crate::report::Report;
use crate::schedule::{Schedule, Stretch};
use crate::traffic::{Phase, Traffic};
use crate::wire::{self, Stamp};
use crate::{Failure, names, setup};

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Conversations; each has a reader of its own
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub conversations: u32,
    /// Messages that are written to each first; 0 with --name reads what is there
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub fill: u32,
    /// Names the conversations, so that a later run reads the same ones
    #[arg(long)]
    pub name: Option<String>,
    /// Messages of a page
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub page: i32,
    /// Read the newest page again and again (warm); else pages from anywhere in the conversation
    #[arg(long)]
    pub newest: bool,
    /// Open loop: pages a second over all readers; else each reader asks when it has its page
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub output: Output,
}

/// Unanswered messages while the conversations are filled: two batches, so that nothing is taken for overload.
const FILLING: u32 = 128;
/// A page that takes longer is not waited for at the end.
const TAIL: u64 = 10 * SECOND;

pub fn run(args: &HistoryArgs) -> Result<(), Failure> {
    let HistoryArgs { conversations, fill, page, timing, target, output, .. } = args;
    if *fill == 0 && args.name.is_none() {
        return Err(Failure::because("there is nothing to read: --fill 0 needs the --name of an earlier run"));
    }
    let which = if args.newest { "the newest" } else { "from anywhere" };
    let how = args.rate.map_or("one after the other".to_owned(), |rate| format!("{rate} pages/s offered"));
    let heading = format!(
        "{conversations} conversations, {fill} messages written to each, pages of {page} {which}, {how}, over {}",
        target.transport.name()
    );
    let mut report = Report::new("history", heading);
    setup::settings(&mut report, target, timing);
    report.setting("conversations", *conversations);
    report.setting("fill", *fill);
    report.setting("page", *page);
    report.setting("newest", args.newest);
    let prefix = args.name.clone().map_or_else(names::fresh, |name| format!("history-{name}"));
    let mut fleet = Fleet::named(target, conversations * 2, prefix)?;
    setup::log_in(&mut fleet)?;
    let cids = setup::pairs(&mut fleet, *conversations)?;
    if *fill > 0 {
        let (rate, wrong) = write(&mut fleet, &cids, *fill, timing.size)?;
        report.figure("written", rate, "messages/s");
        report.wrong.add(wrong);
    }
    let ends = setup::span(&mut fleet, &cids)?;
    let probe = Probe::of(target);
    let before = probe.and_then(Probe::usage);
    let mut hlog = Hlog::create(output.hlog.as_deref(), &["page"])?;
    let read = read(args, &mut fleet, &cids, &ends, &mut hlog)?;
    report.figure("pages", read.pages as f64 / timing.seconds as f64, "/s");
    report.figure("messages in them", read.messages as f64 / timing.seconds as f64, "/s");
    report.latency("page", Quantiles::of(&read.took));
    if let (Some(before), Some(after)) = (before, probe.and_then(Probe::usage)) {
        report.figure("server CPU a page", (after.cpu - before.cpu) * 1e6 / read.all.max(1) as f64, "us");
    }
    report.refused = read.refused;
    report.wrong.add(read.wrong);
    if read.unanswered > 0 {
        report.note(format!("{} pages were never answered", read.unanswered));
    }
    if let Some(hop) = setup::hop_floor(output, timing.size)? {
        report.beside("page p50", Quantiles::of(&read.took).p50 as f64 / 1e6, &hop);
    }
    hlog.close()?;
    report.broken(&fleet);
    report.finish(output)
}

/// Fills the conversations; messages a second, and what was wrong with their deliveries.
fn write(fleet: &mut Fleet, cids: &[String], fill: u32, size: u32) -> Result<(f64, Wrong), Failure> {
    let start = now();
    let phases = vec![Phase::new(start, u64::MAX)];
    let mut traffic = Traffic::new(fleet.clients(), size, false, phases, Hlog::create(None, &[])?);
    traffic.pairs(cids.to_vec());
    drive(fleet, &mut traffic, Pace::Fill { each: (FILLING / cids.len() as u32).max(1), messages: fill }, None, start)?;
    let rate = traffic.acked as f64 * 1e9 / (now() - start) as f64;
    let promised = u64::from(fill) * cids.len() as u64;
    if traffic.acked < promised {
        let (acked, refused) = (traffic.acked, traffic.refused);
        return Err(Failure::because(format!("only {acked} of {promised} messages were written, {refused} refused")));
    }
    Ok((rate, traffic.wrong))
}

struct Read {
    took: hdrhistogram::Histogram<u64>,
    /// Pages of the measured time, the messages in them, and all pages.
    pages: u64,
    messages: u64,
    all: u64,
    unanswered: usize,
    refused: std::collections::BTreeMap<i32, u64>,
    wrong: Wrong,
}

/// A page that is waited for.
struct Asked {
    i: i32,
    intended: u64,
}

fn read(
    args: &HistoryArgs,
    fleet: &mut Fleet,
    cids: &[String],
    ends: &[(i64, i64)],
    hlog: &mut Hlog,
) -> Result<Read, Failure> {
    let HistoryArgs { timing, page, newest, .. } = args;
    let start = now();
    let begin = start + timing.warm * SECOND;
    let end = begin + timing.seconds * SECOND;
    let mut schedule = args.rate.map(|rate| Schedule::new(start, vec![Stretch { rate, length: end - start }]));
    let mut asked: Vec<Vec<Asked>> = cids.iter().map(|_| Vec::new()).collect();
    let (mut next, mut count, mut dice) = (0, 0i32, Dice::new(now()));
    let mut progress = Progress::start();
    let mut found = Read {
        took: latency::histogram(),
        pages: 0,
        messages: 0,
        all: 0,
        unanswered: 0,
        refused: std::collections::BTreeMap::new(),
        wrong: Wrong::default(),
    };
    loop {
        let at = now();
        let open: usize = asked.iter().map(Vec::len).sum();
        if at >= end && (open == 0 || at > end + TAIL) {
            found.unanswered = open;
            return Ok(found);
        }
        let mut ask = |fleet: &mut Fleet, asked: &mut Vec<Vec<Asked>>, reader: usize, intended| {
            count += 1;
            let (first, last) = ends[reader];
            // Both ends belong to it, and a page that starts before the first message is empty.
            let before = if *newest { 0 } else { first + 1 + dice.below((last - first + 1).max(1) as u64) as i64 };
            let client = reader as u32 * 2 + 1;
            fleet.send(client, &wire::page(fleet.name(client), count, &cids[reader], *page, before, false));
            asked[reader].push(Asked { i: count, intended });
        };
        let mut until = progress.next();
        if at >= end {
            until = at + 10 * MILLI;
        } else if let Some(schedule) = &mut schedule {
            while let Some(intended) = schedule.due(at) {
                ask(fleet, &mut asked, next, intended);
                next = (next + 1) % cids.len();
            }
            until = until.min(schedule.next().unwrap_or(end));
        } else {
            (0..cids.len())
                .filter(|reader| asked[*reader].is_empty())
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|reader| ask(fleet, &mut asked, reader, at));
            until = until.min(end);
        }
        fleet.turn(until, |client, heard, at| {
            let (i, page_of) = match heard {
                Heard::Reply { i, frame } => (i, Ok(frame)),
                Heard::Refused { i, code } => (i, Err(code)),
                _ => return,
            };
            let Some(waiting) = asked.get_mut(client as usize / 2) else { return };
            let Some(which) = waiting.iter().position(|asked| asked.i == i) else {
                found.wrong.repeated += 1;
                return;
            };
            let Asked { intended, .. } = waiting.swap_remove(which);
            match page_of {
                Err(code) => *found.refused.entry(code).or_default() += 1,
                Ok(frame) => {
                    let messages = wire::logs(frame).unwrap_or_default();
                    judge(&messages, *page as usize, &mut found.wrong);
                    found.all += 1;
                    if (begin..end).contains(&intended) {
                        found.pages += 1;
                        found.messages += messages.len() as u64;
                        found.took.saturating_record(at.saturating_sub(intended));
                        hlog.record(0, at.saturating_sub(intended));
                    }
                }
            }
        })?;
        hlog.tick(now());
        let pages = found.all;
        progress.tick(now(), || format!("{pages} pages read"));
    }
}

/// A page ascends, has no message twice, and leaves none out.
fn judge(messages: &[(bytes::Bytes, i64)], page: usize, wrong: &mut Wrong) {
    if messages.is_empty() || messages.len() > page {
        // Each page begins at or behind a message that is there.
        wrong.lost += u64::from(messages.is_empty());
        wrong.repeated += messages.len().saturating_sub(page) as u64;
    }
    for pair in messages.windows(2) {
        let [(earlier, before), (later, after)] = pair else { continue };
        wrong.reordered += u64::from(after <= before);
        let (Some(earlier), Some(later)) = (Stamp::read(earlier), Stamp::read(later)) else { continue };
        // A second filling begins at 0 again.
        match later.number {
            0 => {}
            number if number == earlier.number => wrong.repeated += 1,
            number if number < earlier.number => wrong.reordered += 1,
            number => wrong.lost += u64::from(number - earlier.number - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(numbers: &[u32], times: &[i64], page: usize) -> Wrong {
        let text = |number| Stamp { line: 0, number, intended: 1 }.text(48).into();
        let messages: Vec<_> = numbers.iter().map(|number| text(*number)).zip(times.iter().copied()).collect();
        let mut wrong = Wrong::default();
        judge(&messages, page, &mut wrong);
        wrong
    }

    #[test]
    fn a_good_page_is_good() {
        assert!(!judged(&[5, 6, 7], &[1, 2, 3], 3).any());
        assert!(!judged(&[998, 999, 0, 1], &[1, 2, 3, 4], 10).any(), "it was filled twice");
    }

    #[test]
    fn a_bad_page_is_found_bad() {
        assert_eq!(judged(&[5, 7], &[1, 2], 3).lost, 1);
        assert_eq!(judged(&[], &[], 3).lost, 1);
        assert_eq!(judged(&[5, 5], &[1, 2], 3).repeated, 1);
        assert_eq!(judged(&[5, 6, 7], &[1, 2, 3], 2).repeated, 1, "more than was asked for");
        assert_eq!(judged(&[5, 6], &[2, 1], 3).reordered, 1);
        assert_eq!(judged(&[6, 5], &[1, 2], 3).reordered, 1);
    }
}
