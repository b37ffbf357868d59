//! A mixed day: people write to each other, in groups and in rooms, are seen typing, read history, come and go.
//!
//! One open loop decides when something happens, a seeded dice what. Each kind of action has clients of its own, so
//! that its figures stand by themselves; all of them share the server.

use std::collections::BTreeMap;

use clap::Args;
use hdrhistogram::Histogram;

use crate::args::{Output, Target, Timing};
use crate::clock::{MILLI, SECOND, now};
use crate::dice::Dice;
use crate::fleet::{Fleet, Heard};
use crate::latency::{self, Hlog, Quantiles};
use crate::probe::Probe;
use crate::progress::Progress;
use crate::report::Report;
use crate::schedule::{Schedule, Stretch};
use crate::traffic::{Phase, Traffic};
use crate::{Failure, setup, wire};

#[derive(Debug, Args)]
pub struct DayArgs {
    /// Clients, most of whom are only there at any moment
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    pub clients: u32,
    /// Things that happen in a second, of all kinds together
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// What happens, as shares: messages to one, typing to one (transient), messages to a group of 20 and to a room of
    /// up to 500, pages of history, visits (connect, log in, read a page, leave)
    #[arg(long, value_name = "SIX NUMBERS", value_delimiter = ',', num_args = 6,
          default_values_t = [50u64, 15, 10, 1, 19, 5])]
    pub mix: Vec<u64>,
    /// Decides what happens; the same seed, the same day
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub output: Output,
}

const KINDS: [&str; 6] = ["message", "typing", "group", "room", "page", "visit"];
const GROUP: u32 = 20;
const ROOM: u32 = 500;
/// Messages of a page.
const PAGE: i32 = 20;
/// What is missing so long after the end is lost.
const TAIL: u64 = 5 * SECOND;
/// The kinds that are messages come first.
const TALKS: usize = 4;
const PAGES: usize = 4;
const VISITS: usize = 5;

pub fn run(args: &DayArgs) -> Result<(), Failure> {
    let DayArgs { clients, rate, timing, target, output, .. } = args;
    let heading = format!(
        "a mixed day: {clients} clients, {rate} actions/s ({}), over {}",
        KINDS.iter().zip(&args.mix).map(|(kind, share)| format!("{share} {kind}")).collect::<Vec<_>>().join(", "),
        target.transport.name()
    );
    let mut report = Report::new("day", heading);
    setup::settings(&mut report, target, timing);
    report.setting("clients", *clients);
    report.setting("rate", *rate);
    report.setting("mix", args.mix.clone());
    report.setting("seed", args.seed);
    let probe = Probe::of(target);
    let disk = setup::disk_floor(output, probe, true)?;
    let hlog = Hlog::create(output.hlog.as_deref(), &KINDS)?;
    let mut day = Day::begin(args, hlog)?;
    let before = probe.and_then(Probe::usage);
    day.live(probe)?;
    let after = probe.and_then(Probe::usage);
    let answered = day.talks.iter().map(|talk| &talk.phases[0].ack).chain(&day.done);
    for (kind, done) in KINDS.iter().zip(answered) {
        report.figure(format!("{kind}s done"), done.len() as f64 / timing.seconds as f64, "/s");
        report.latency(*kind, Quantiles::of(done));
    }
    for (kind, talk) in KINDS.iter().zip(&mut day.talks) {
        talk.judge();
        let phase = &talk.phases[0];
        report.latency(format!("{kind}, delivery"), Quantiles::of(&phase.delivery));
        for (code, count) in &phase.refused {
            *report.refused.entry(*code).or_default() += count;
        }
        report.wrong.add(talk.wrong);
        if talk.open > 0 {
            report.note(format!("{} of kind {kind} were never answered", talk.open));
        }
    }
    for (code, count) in &day.refused {
        *report.refused.entry(*code).or_default() += count;
    }
    if let (Some(before), Some(after)) = (before, after) {
        let seconds = (timing.warm + timing.seconds) as f64;
        report.figure("server CPU", (after.cpu - before.cpu) / seconds, "cores");
        report.figure("server resident, peak", day.peak as f64 / 1048576.0, "MiB");
    }
    if let Some([_, median]) = &disk {
        report.beside("message p50", Quantiles::of(&day.talks[0].phases[0].ack).p50 as f64 / 1e6, median);
    }
    if !day.asked.is_empty() {
        report.note(format!("{} pages and visits were not answered", day.asked.len()));
    }
    day.hlog.close()?;
    report.broken(&day.fleet);
    report.finish(output)
}

/// Who is for what; clients side by side, in this order.
struct People {
    pairs: u32,
    typing: u32,
    groups: u32,
    rooms: u32,
    room: u32,
    visitors: u32,
    /// The first visitor: visitors share no connection with others.
    first_visitor: u32,
}

impl People {
    fn of(clients: u32, per: u32) -> People {
        let (pairs, typing, groups) = (clients * 2 / 10, clients / 20, (clients * 3 / 10 / GROUP).max(1));
        let in_rooms = clients * 15 / 100;
        let rooms = in_rooms.div_ceil(ROOM);
        let room = in_rooms / rooms;
        // Each room has a sender beside its members.
        let before = pairs * 2 + typing * 2 + groups * GROUP + rooms * (room + 1);
        let visitors = (clients / 20).max(1).next_multiple_of(per);
        People { pairs, typing, groups, rooms, room, visitors, first_visitor: before.next_multiple_of(per) }
    }

    fn first_typing(&self) -> u32 {
        self.pairs * 2
    }

    fn first_group(&self) -> u32 {
        self.first_typing() + self.typing * 2
    }

    fn first_room(&self) -> u32 {
        self.first_group() + self.groups * GROUP
    }

    /// The kind of talk that a client is part of.
    fn talk_of(&self, client: u32) -> Option<usize> {
        let firsts = [0, self.first_typing(), self.first_group(), self.first_room(), self.first_visitor];
        let kind = firsts.partition_point(|first| *first <= client) - 1;
        (kind < TALKS).then_some(kind)
    }
}

/// A page or a visit that is under way, by client.
struct Asked {
    intended: u64,
    kind: usize,
}

struct Day {
    people: People,
    fleet: Fleet,
    talks: Vec<Traffic>,
    /// The pairs' conversations, which pages are read of; visitors read rooms.
    cids: Vec<String>,
    room_cid: String,
    asked: BTreeMap<u32, Asked>,
    /// Latency of pages and of visits; the talks know their own.
    done: Vec<Histogram<u64>>,
    refused: BTreeMap<i32, u64>,
    hlog: Hlog,
    schedule: Schedule,
    dice: Dice,
    mix: Vec<u64>,
    measured: std::ops::Range<u64>,
    peak: u64,
    /// Page requests so far; their `i` is below zero.
    pages: i32,
}

impl Day {
    fn begin(args: &DayArgs, hlog: Hlog) -> Result<Day, Failure> {
        let DayArgs { timing, target, .. } = args;
        let people = People::of(args.clients, target.per_connection);
        let mut fleet = Fleet::new(target, people.first_visitor + people.visitors)?;
        let seats = fleet.seat_of(people.first_visitor);
        setup::log_in_some(&mut fleet, 0..seats)?;
        let pair = |first: u32| move |at: u32| first + at * 2..first + at * 2 + 2;
        let cids = setup::unique(&mut fleet, (0..people.pairs).map(pair(0)))?;
        let typing = setup::unique(&mut fleet, (0..people.typing).map(pair(people.first_typing())))?;
        let first = people.first_group();
        let groups =
            setup::unique(&mut fleet, (0..people.groups).map(|at| first + at * GROUP..first + (at + 1) * GROUP))?;
        let (first, room) = (people.first_room(), people.room);
        let rooms = setup::rooms(&mut fleet, (0..people.rooms).map(|at| first + at * (room + 1)))?;
        for (at, cid) in (0..).zip(&rooms) {
            let members = first + at * (room + 1) + 1..first + at * (room + 1) + room;
            setup::join(&mut fleet, members.map(|client| (client, cid.as_str())))?;
        }
        let (start, phases) = setup::one_phase(timing);
        let measured = phases[0].from..phases[0].until;
        let mut talks = Vec::new();
        for transient in [false, true, false, false] {
            let phase = Phase::new(measured.start, measured.end);
            talks.push(Traffic::new(fleet.clients(), timing.size, transient, vec![phase], Hlog::create(None, &[])?));
        }
        for (kind, first, cids) in [(0, 0, &cids), (1, people.first_typing(), &typing)] {
            for (at, cid) in (0..).zip(cids) {
                let talk = talks[kind].talk(first + at * 2 + 1, 1);
                talks[kind].line(first + at * 2, cid.clone(), talk);
            }
        }
        for (at, cid) in (0..).zip(&groups) {
            let first = people.first_group() + at * GROUP;
            let talk = talks[2].talk(first, GROUP);
            for sender in first..first + GROUP {
                talks[2].line(sender, cid.clone(), talk);
            }
        }
        for (at, cid) in (0..).zip(&rooms) {
            let first = people.first_room() + at * (room + 1);
            let talk = talks[3].talk(first, room);
            talks[3].line(first + room, cid.clone(), talk);
        }
        let length = measured.end - start;
        Ok(Day {
            people,
            fleet,
            talks,
            cids,
            room_cid: rooms.into_iter().next().unwrap_or_default(),
            asked: BTreeMap::new(),
            done: KINDS[TALKS..].iter().map(|_| latency::histogram()).collect(),
            refused: BTreeMap::new(),
            hlog,
            schedule: Schedule::new(start, vec![Stretch { rate: args.rate, length }]),
            dice: Dice::new(args.seed),
            mix: args.mix.clone(),
            measured,
            peak: 0,
            pages: 0,
        })
    }

    fn live(&mut self, probe: Option<Probe>) -> Result<(), Failure> {
        let mut progress = Progress::start();
        loop {
            let at = now();
            let over = at >= self.measured.end;
            let settled = self.asked.is_empty() && self.talks.iter().all(Traffic::settled);
            // What was due before the end happens after it too, where this program was held up.
            let due = self.schedule.next().is_some();
            if over && !due && (settled || at > self.measured.end + TAIL) {
                return Ok(());
            }
            while let Some(intended) = self.schedule.due(at) {
                self.happen(intended, at)?;
            }
            let until = self.schedule.next().unwrap_or(at + 10 * MILLI).min(progress.next());
            self.listen(until)?;
            let at = now();
            self.hlog.tick(at);
            let (inside, acked) = (self.fleet.inside, self.talks.iter().map(|talk| talk.acked).sum::<u64>());
            let peak = &mut self.peak;
            progress.tick(at, || {
                *peak = (*peak).max(probe.and_then(Probe::resident).unwrap_or(0));
                format!("{inside} are in, {acked} messages acknowledged")
            });
        }
    }

    fn happen(&mut self, intended: u64, at: u64) -> Result<(), Failure> {
        let kind = self.dice.weighted(&self.mix);
        if kind < TALKS {
            let talk = &mut self.talks[kind];
            let line = self.dice.below(u64::from(talk.lines())) as u32;
            talk.send(&mut self.fleet, line, intended, at);
            talk.answered.clear();
        } else if kind == PAGES {
            let pair = self.dice.below(u64::from(self.people.pairs)) as u32;
            let reader = pair * 2 + 1;
            // Who still reads does not turn the page.
            if self.asked.contains_key(&reader) {
                return Ok(());
            }
            self.asked.insert(reader, Asked { intended, kind });
            let cid = self.cids[pair as usize].clone();
            self.page(reader, &cid);
        } else {
            let seats = self.people.visitors / self.per();
            let client = self.people.first_visitor + self.dice.below(u64::from(seats)) as u32 * self.per();
            // Who is still here does not come.
            if !self.fleet.is_open(client) {
                self.asked.insert(client, Asked { intended, kind });
                self.fleet.begin(self.fleet.seat_of(client), intended)?;
            }
        }
        Ok(())
    }

    fn per(&self) -> u32 {
        (self.fleet.clients() / self.fleet.connections() as u32).max(1)
    }

    fn page(&mut self, client: u32, cid: &str) {
        self.pages += 1;
        self.fleet.send(client, &wire::page(self.fleet.name(client), -self.pages, cid, PAGE, 0, false));
    }

    fn listen(&mut self, until: u64) -> Result<(), Failure> {
        let (mut arrived, mut left) = (Vec::new(), Vec::new());
        let number = self.fleet.numbers();
        let Day { people, talks, asked, done, refused, hlog, measured, .. } = self;
        self.fleet.turn(until, |client, heard, at| match heard {
            Heard::In { .. } => arrived.push(client),
            Heard::Reply { .. } | Heard::Refused { i: ..0, .. } => {
                let Some(Asked { intended, kind }) = asked.remove(&client) else { return };
                if let Heard::Refused { code, .. } = heard {
                    *refused.entry(code).or_default() += 1;
                } else {
                    let took = at.saturating_sub(intended);
                    if measured.contains(&intended) {
                        done[kind - TALKS].saturating_record(took);
                        hlog.record(kind, took);
                    }
                }
                if kind == VISITS {
                    left.push(client);
                }
            }
            heard => {
                let Some(kind) = people.talk_of(client) else { return };
                if let Some(took) = talks[kind].hear(client, &heard, |i| number.of(i), at) {
                    hlog.record(kind, took);
                }
            }
        })?;
        for client in arrived {
            if client >= self.people.first_visitor && self.asked.contains_key(&client) {
                let cid = self.room_cid.clone();
                self.page(client, &cid);
            }
        }
        for client in left {
            self.fleet.cut(self.fleet.seat_of(client));
        }
        Ok(())
    }
}
