//! Pages of history: conversations are filled, then read, page by page, and each page is checked.
//!
//! Each conversation has a member that writes and then reads it, and one that is never there: while much is written,
//! nobody shall have to keep up with it.
//! With a name, the conversations are found again by a later run, which fills only what is missing: over a restart of the
//! server, say, which is the only way to read cold.

use std::collections::BTreeMap;

use clap::Args;
use tidegate_protocol::wire::GenericCommand;

use crate::args::{Output, Target, Timing};
use crate::check::Wrong;
use crate::clock::{MILLI, SECOND, now};
use crate::dice::Dice;
use crate::drive::{Pace, drive};
use crate::fill::Fill;
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
    /// Messages in each before it is read; with --name, what an earlier run wrote counts
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub fill: u32,
    /// Messages in other conversations, 10,000 in each, that nobody reads: to make the store large
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub beside: u32,
    /// Names the conversations, so that a later run reads the same ones
    #[arg(long)]
    pub name: Option<String>,
    /// Messages of a page
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub page: i32,
    /// Read the newest page again and again (warm); else pages from anywhere in the conversation
    #[arg(long)]
    pub newest: bool,
    /// Read so many pages and then the same ones again, whatever --seconds and --warm say
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub pages: Option<u64>,
    /// Decides which pages are read, where not the newest
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
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

/// Messages in each conversation that nobody reads.
const BESIDE: u32 = 10_000;
/// Lines of each conversation that is read, each with one message unanswered while it is filled. What is written by one
/// run is found by another, so this is not to be changed.
const LINES: u32 = 16;
/// Messages of the largest page that servers give.
const MOST_OF_PAGE: i32 = 100;
/// A page that takes longer is not waited for at the end.
const TAIL: u64 = 10 * SECOND;

pub fn run(args: &HistoryArgs) -> Result<(), Failure> {
    let HistoryArgs { conversations, fill, beside, page, timing, target, output, .. } = args;
    if *fill == 0 && args.name.is_none() {
        return Err(Failure::because("there is nothing to read: --fill 0 needs the --name of an earlier run"));
    }
    let mut report = Report::new("history", heading(args));
    setup::settings(&mut report, target, timing);
    report.setting("conversations", *conversations);
    report.setting("fill", *fill);
    report.setting("beside", *beside);
    report.setting("page", *page);
    report.setting("newest", args.newest);
    let prefix = args.name.clone().map_or_else(names::fresh, |name| format!("history-{name}"));
    let all = conversations + beside.div_ceil(BESIDE);
    let mut fleet = Fleet::named(target, all, prefix)?;
    setup::log_in(&mut fleet)?;
    let mut cids = setup::with_absent(&mut fleet)?;
    if let Some((rate, refused)) = write(&mut fleet, &cids, args)? {
        report.figure("written", rate, "messages/s");
        if refused > 0 {
            report.note(format!("{refused} messages were refused while the conversations were filled, and sent again"));
        }
    }
    cids.truncate(*conversations as usize);
    let ends = setup::span(&mut fleet, &cids)?;
    let probe = Probe::of(target);
    let seed = args.seed.unwrap_or_else(now);
    report.setting("seed", seed);
    let mut hlog = Hlog::create(output.hlog.as_deref(), &["page"])?;
    let mut pages = Pages { args, cids: &cids, ends: &ends, dice: Dice::new(seed) };
    let start = now();
    let begin = start + timing.warm * SECOND;
    let measured = match args.pages {
        None => vec![("page", Lasts::Time { begin, end: begin + timing.seconds * SECOND })],
        Some(count) => vec![("page, first", Lasts::Pages(count)), ("page, again", Lasts::Pages(count))],
    };
    let (mut fastest, mut asked) = (u64::MAX, 0);
    let before = probe.and_then(Probe::usage);
    for (name, lasts) in measured {
        pages.dice = Dice::new(seed);
        let read = read(&mut pages, &mut fleet, &lasts, &mut hlog)?;
        if args.pages.is_none() {
            report.figure("pages", read.pages as f64 / timing.seconds as f64, "/s");
            report.figure("messages in them", read.messages as f64 / timing.seconds as f64, "/s");
        }
        let quantiles = Quantiles::of(&read.took);
        report.latency(name, quantiles);
        fastest = fastest.min(quantiles.p50);
        asked += read.all;
        for (code, count) in read.refused {
            *report.refused.entry(code).or_default() += count;
        }
        report.wrong.add(read.wrong);
        if read.unanswered > 0 {
            report.note(format!("{} pages were never answered", read.unanswered));
        }
    }
    if let (Some(before), Some(after)) = (before, probe.and_then(Probe::usage)) {
        report.figure("server CPU a page", (after.cpu - before.cpu) * 1e6 / asked.max(1) as f64, "us");
    }
    if let Some(hop) = setup::hop_floor(output, timing.size)? {
        report.beside("page p50", fastest as f64 / 1e6, &hop);
    }
    hlog.close()?;
    report.broken(&fleet);
    report.finish(output)
}

fn heading(args: &HistoryArgs) -> String {
    let HistoryArgs { conversations, fill, beside, page, .. } = args;
    let which = if args.newest { "the newest" } else { "from anywhere" };
    let how = args.rate.map_or("one after the other".to_owned(), |rate| format!("{rate} pages/s offered"));
    let filled = if *fill > 0 { format!(" of {fill} messages") } else { String::new() };
    let others = if *beside > 0 { format!(", {beside} in others") } else { String::new() };
    let times = args.pages.map_or(String::new(), |pages| format!("{pages} twice, "));
    let transport = args.target.transport.name();
    format!("{conversations} conversations{filled}{others}, pages of {page} {which}, {times}{how}, over {transport}")
}

/// Fills the conversations up to their sizes: messages a second, and how many were refused and sent again. `None` where
/// nothing was missing.
fn write(fleet: &mut Fleet, cids: &[String], args: &HistoryArgs) -> Result<Option<(f64, u64)>, Failure> {
    let HistoryArgs { conversations, fill, beside, .. } = *args;
    let (read, others) = cids.split_at(conversations as usize);
    let lines = || read.iter().flat_map(|cid| std::iter::repeat_n(cid, LINES as usize)).chain(others);
    let sizes = read.iter().flat_map(|_| shares(fill, LINES));
    let sizes = sizes.chain((0..others.len() as u32).map(|other| BESIDE.min(beside - other * BESIDE)));
    let there = match args.name {
        Some(_) => written(fleet, read, others)?,
        None => vec![0; lines().count()],
    };
    let fill = Fill::new(sizes.collect(), &there);
    let promised = fill.all();
    if promised == 0 {
        return Ok(None);
    }
    let start = now();
    let phases = vec![Phase::new(start, u64::MAX)];
    let mut traffic = Traffic::new(fleet.clients(), args.timing.size, false, phases, Hlog::create(None, &[])?);
    traffic.send_again();
    let clients = (0..conversations).flat_map(|client| std::iter::repeat_n(client, LINES as usize));
    for ((client, cid), there) in clients.chain(conversations..).zip(lines()).zip(there) {
        let talk = traffic.talk(client, 0);
        let line = traffic.line(client, cid.clone(), talk);
        traffic.go_on(line, there);
    }
    drive(fleet, &mut traffic, Pace::Fill(fill), None, start)?;
    let rate = traffic.acked as f64 * 1e9 / (now() - start) as f64;
    let Traffic { acked, refused, .. } = traffic;
    if acked < promised {
        let why = fleet.why.as_ref().map_or(String::new(), |why| format!(", and connections ended: {why}"));
        return Err(Failure::because(format!("only {acked} of {promised} messages were written{why}")));
    }
    Ok(Some((rate, refused)))
}

/// `all` in `parts` that are as equal as can be.
fn shares(all: u32, parts: u32) -> impl Iterator<Item = u32> {
    (0..parts).map(move |part| all / parts + u32::from(part < all % parts))
}

/// How many messages an earlier run wrote on each line: the number of its newest message says so.
fn written(fleet: &mut Fleet, read: &[String], others: &[String]) -> Result<Vec<u32>, Failure> {
    let mut there = vec![0; read.len() * LINES as usize];
    for (client, cid) in (0..).zip(read) {
        let mut before = 0;
        let lines = &mut there[client as usize * LINES as usize..][..LINES as usize];
        // Until each line was met, or there is no more: a line that never was has none.
        while lines.contains(&0) {
            let ask = wire::page(fleet.name(client), 0, cid, MOST_OF_PAGE, before, false);
            let frames = fleet.ask_all(vec![(client, ask)])?;
            let page = frames.first().and_then(|frame| wire::logs(frame)).unwrap_or_default();
            let Some((_, oldest)) = page.first() else { break };
            before = *oldest;
            for stamp in page.iter().filter_map(|(text, _)| Stamp::read(text)) {
                let count = &mut lines[(stamp.line % LINES) as usize];
                *count = (*count).max(stamp.number + 1);
            }
        }
    }
    let asks = (read.len() as u32..).zip(others);
    let asks = asks.map(|(client, cid)| (client, wire::page(fleet.name(client), 0, cid, 1, 0, false))).collect();
    let pages = fleet.ask_all(asks)?;
    let number = |frame: &Vec<u8>| Some(Stamp::read(&wire::logs(frame)?.first()?.0)?.number + 1);
    there.extend(pages.iter().map(|page| number(page).unwrap_or(0)));
    Ok(there)
}

/// For how long pages are read.
enum Lasts {
    /// What is asked from `begin` on is measured; nothing is asked from `end` on.
    Time { begin: u64, end: u64 },
    /// So many pages, all of them measured.
    Pages(u64),
}

/// Which pages are read, of what.
struct Pages<'a> {
    args: &'a HistoryArgs,
    cids: &'a [String],
    /// The times of each conversation's first and last message.
    ends: &'a [(i64, i64)],
    dice: Dice,
}

impl Pages<'_> {
    /// The command that asks a reader's next page.
    fn next(&mut self, fleet: &Fleet, reader: usize, i: i32) -> (u32, GenericCommand) {
        let (first, last) = self.ends[reader];
        // Both ends belong to it, and a page that starts before the first message is empty.
        let before = match self.args.newest {
            true => 0,
            false => first + 1 + self.dice.below((last - first + 1).max(1) as u64) as i64,
        };
        let client = reader as u32;
        (client, wire::page(fleet.name(client), i, &self.cids[reader], self.args.page, before, false))
    }
}

struct Read {
    took: hdrhistogram::Histogram<u64>,
    /// Pages of the measured time, the messages in them, and all pages.
    pages: u64,
    messages: u64,
    all: u64,
    unanswered: usize,
    refused: BTreeMap<i32, u64>,
    wrong: Wrong,
}

/// A page that is waited for.
struct Asked {
    i: i32,
    intended: u64,
}

fn read(pages: &mut Pages, fleet: &mut Fleet, lasts: &Lasts, hlog: &mut Hlog) -> Result<Read, Failure> {
    let (start, readers, page) = (now(), pages.cids.len(), pages.args.page as usize);
    let (begin, mut end, mut left) = match *lasts {
        Lasts::Time { begin, end } => (begin, end, u64::MAX),
        Lasts::Pages(count) => (start, u64::MAX, count),
    };
    let mut schedule = pages.args.rate.map(|rate| Schedule::new(start, vec![Stretch { rate, length: end - start }]));
    let mut asked: Vec<Vec<Asked>> = (0..readers).map(|_| Vec::new()).collect();
    let (mut next, mut count) = (0, 0i32);
    let mut progress = Progress::start();
    let mut found = Read {
        took: latency::histogram(),
        pages: 0,
        messages: 0,
        all: 0,
        unanswered: 0,
        refused: BTreeMap::new(),
        wrong: Wrong::default(),
    };
    loop {
        let at = now();
        if left == 0 {
            end = end.min(at);
        }
        let open: usize = asked.iter().map(Vec::len).sum();
        // What was due before the end is asked after it too, where this program was held up.
        let due = schedule.as_mut().is_some_and(|schedule| schedule.next().is_some());
        if at >= end && !due && (open == 0 || at > end + TAIL) {
            found.unanswered = open;
            return Ok(found);
        }
        let mut ask = |fleet: &mut Fleet, asked: &mut Vec<Vec<Asked>>, reader: usize, intended| {
            if left > 0 {
                (left, count) = (left - 1, count + 1);
                let (client, command) = pages.next(fleet, reader, count);
                fleet.send(client, &command);
                asked[reader].push(Asked { i: count, intended });
            }
        };
        let mut until = progress.next();
        if at >= end && !due {
            until = at + 10 * MILLI;
        } else if let Some(schedule) = &mut schedule {
            while let Some(intended) = schedule.due(at) {
                ask(fleet, &mut asked, next, intended);
                next = (next + 1) % readers;
            }
            until = until.min(schedule.next().unwrap_or(end));
        } else {
            for reader in 0..readers {
                if asked[reader].is_empty() {
                    ask(fleet, &mut asked, reader, at);
                }
            }
            until = until.min(end);
        }
        fleet.turn(until, |client, heard, at| {
            let (i, page_of) = match heard {
                Heard::Reply { i, frame } => (i, Ok(frame)),
                Heard::Refused { i, code } => (i, Err(code)),
                _ => return,
            };
            let Some(waiting) = asked.get_mut(client as usize) else { return };
            let Some(which) = waiting.iter().position(|asked| asked.i == i) else {
                found.wrong.repeated += 1;
                return;
            };
            let Asked { intended, .. } = waiting.swap_remove(which);
            match page_of {
                Err(code) => *found.refused.entry(code).or_default() += 1,
                Ok(frame) => {
                    let messages = wire::logs(frame).unwrap_or_default();
                    judge(&messages, page, &mut found.wrong);
                    found.all += 1;
                    if intended >= begin {
                        found.pages += 1;
                        found.messages += messages.len() as u64;
                        found.took.saturating_record(at.saturating_sub(intended));
                        hlog.record(0, at.saturating_sub(intended));
                    }
                }
            }
        })?;
        hlog.tick(now());
        let all = found.all;
        progress.tick(now(), || format!("{all} pages read"));
    }
}

/// A page ascends, has no message twice, and leaves none out.
fn judge(messages: &[(bytes::Bytes, i64)], page: usize, wrong: &mut Wrong) {
    if messages.is_empty() || messages.len() > page {
        // Each page begins at or behind a message that is there.
        wrong.lost += u64::from(messages.is_empty());
        wrong.repeated += messages.len().saturating_sub(page) as u64;
    }
    wrong.reordered += messages.windows(2).filter(|pair| pair[1].1 <= pair[0].1).count() as u64;
    let mut newest: BTreeMap<u32, u32> = BTreeMap::new();
    for Stamp { line, number, .. } in messages.iter().filter_map(|(text, _)| Stamp::read(text)) {
        match newest.insert(line, number) {
            Some(before) if number == before => wrong.repeated += 1,
            Some(before) if number < before => wrong.reordered += 1,
            Some(before) => wrong.lost += u64::from(number - before - 1),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hundreds of a number are its line.
    fn judged(numbers: &[u32], times: &[i64], page: usize) -> Wrong {
        let text = |number: u32| Stamp { line: number / 100, number: number % 100, intended: 1 }.text(48).into();
        let messages: Vec<_> = numbers.iter().map(|number| text(*number)).zip(times.iter().copied()).collect();
        let mut wrong = Wrong::default();
        judge(&messages, page, &mut wrong);
        wrong
    }

    #[test]
    fn a_good_page_is_good() {
        assert!(!judged(&[5, 6, 7], &[1, 2, 3], 3).any());
        assert!(!judged(&[5, 101, 6, 7, 102], &[1, 2, 3, 4, 5], 10).any(), "each line has numbers of its own");
    }

    #[test]
    fn shares_are_all_of_it() {
        assert_eq!(shares(10, 4).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(shares(0, 2).sum::<u32>(), 0);
    }

    #[test]
    fn a_bad_page_is_found_bad() {
        assert_eq!(judged(&[5, 7], &[1, 2], 3).lost, 1);
        assert_eq!(judged(&[5, 106, 7], &[1, 2, 3], 3).lost, 1, "another line's number is no substitute");
        assert_eq!(judged(&[], &[], 3).lost, 1);
        assert_eq!(judged(&[5, 5], &[1, 2], 3).repeated, 1);
        assert_eq!(judged(&[5, 6, 7], &[1, 2, 3], 2).repeated, 1, "more than was asked for");
        assert_eq!(judged(&[5, 6], &[2, 1], 3).reordered, 1);
        assert_eq!(judged(&[6, 5], &[1, 2], 3).reordered, 1);
    }
}
