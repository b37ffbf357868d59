//! All connections cut at once: how long until everybody is back, and what those feel who stayed.
//!
//! The first clients stay and talk in pairs, open loop; the others are cut, and come back with their tokens as SDKs do.

use hdrhistogram::Histogram;

use crate::clock::{SECOND, now};
use crate::fleet::{Fleet, Heard, TOO_MUCH};
use crate::latency::{self, Hlog, Quantiles};
use crate::logins::LoginsArgs;
use crate::probe::Probe;
use crate::progress::Progress;
use crate::report::Report;
use crate::schedule::{Schedule, Stretch};
use crate::traffic::{Phase, Traffic};
use crate::{Failure, setup};

/// How long the stayers are listened to before the cut, and after all are back.
const AROUND: u64 = 3 * SECOND;
/// Who is not back by then, is not counted on any more.
const LONGEST: u64 = 60 * SECOND;
/// Bytes of the stayers' messages.
const SIZE: u32 = 120;

pub fn run(args: &LoginsArgs) -> Result<(), Failure> {
    let LoginsArgs { clients, target, output, .. } = args;
    // Whole connections stay, in pairs.
    let per = target.per_connection;
    let stay = args.stay.next_multiple_of(2).next_multiple_of(per);
    let heading = format!(
        "{clients} clients cut at once, {} connections on their way back at once, {stay} clients stay, over {}",
        args.at_once,
        target.transport.name()
    );
    let mut report = Report::new("reconnect", heading);
    setup::target_settings(&mut report, target);
    report.setting("clients", *clients);
    report.setting("stay", stay);
    report.setting("at_once", args.at_once);
    let floor = setup::login_floor(output, target)?;
    let probe = Probe::of(target);
    let mut fleet = Fleet::new(target, stay + clients)?;
    fleet.keep_tokens();
    setup::log_in(&mut fleet)?;
    let pairs = stay / 2;
    let cids = setup::pairs(&mut fleet, pairs)?;
    let hlog = Hlog::create(output.hlog.as_deref(), &["ack", "delivery"])?;
    let start = now();
    let mut traffic = Traffic::new(fleet.clients(), SIZE, false, vec![Phase::new(start, start + AROUND)], hlog);
    traffic.pairs(cids);
    let length = AROUND * 2 + LONGEST + SECOND;
    let schedule = Schedule::new(start, vec![Stretch { rate: args.stay_rate, length }]);
    let mut storm =
        Storm { fleet, traffic, schedule, next: 0, progress: Progress::start(), took: latency::histogram() };

    storm.talk(|storm| now() >= storm.traffic.phases[0].until)?;
    let before = probe.and_then(Probe::usage);
    let (first, last) = ((stay / per) as usize, storm.fleet.connections());
    let cut = now();
    storm.phase(cut);
    (first..last).for_each(|seat| storm.fleet.cut(seat));
    let at_once = args.at_once as usize;
    let (mut begun, everybody) = (first, storm.fleet.clients());
    storm.talk(|storm| {
        // Those that are still on their way, in connections.
        let back = (storm.fleet.inside.saturating_sub(stay) / per) as usize;
        while begun < last && begun - first < back + at_once {
            // It should have been back at once: the wait for its turn counts.
            if storm.fleet.begin(begun, cut).is_err() {
                return true;
            }
            begun += 1;
        }
        storm.fleet.inside == everybody || now() > cut + LONGEST
    })?;
    let back = now();
    let after = probe.and_then(Probe::usage);
    let missing = everybody - storm.fleet.inside;
    storm.phase(back);
    storm.talk(|_| now() >= back + AROUND)?;
    storm.schedule = Schedule::new(0, Vec::new());
    let end = now();
    storm.talk(|storm| storm.traffic.settled() || now() > end + AROUND)?;

    let Storm { fleet, mut traffic, took, .. } = storm;
    traffic.judge();
    let seconds = (back - cut) as f64 / 1e9;
    report.figure("all back after", seconds, "s");
    report.figure("log-ins", f64::from(clients - missing) / seconds, "/s");
    if let (Some(before), Some(after)) = (before, after) {
        report.figure("server CPU a log-in", (after.cpu - before.cpu) * 1e6 / f64::from(*clients), "us");
    }
    report.latency("back in, from the cut", Quantiles::of(&took));
    for (name, phase) in ["before", "during", "after"].iter().zip(&traffic.phases) {
        let of = |histogram: &Histogram<u64>| Quantiles::of(histogram);
        report.latency(format!("stayed, {name}: ack"), of(&phase.ack));
        report.latency(format!("stayed, {name}: deliv."), of(&phase.delivery));
        for (code, count) in &phase.refused {
            *report.refused.entry(*code).or_default() += count;
        }
    }
    if let Some(floor) = &floor {
        report.beside("log-ins", f64::from(*clients) / seconds, floor);
    }
    report.wrong.add(traffic.wrong);
    traffic.hlog.close()?;
    if fleet.put_off > 0 {
        *report.refused.entry(TOO_MUCH).or_default() += fleet.put_off;
        report.note("refused log-ins tried again after 100 ms");
    }
    report.broken(&fleet);
    report.finish(output)?;
    if missing > 0 {
        let why = fleet.why.map_or(String::new(), |why| format!(": {why}"));
        return Err(Failure::because(format!("{missing} clients did not come back{why}")));
    }
    Ok(())
}

struct Storm {
    fleet: Fleet,
    traffic: Traffic,
    schedule: Schedule,
    next: u32,
    progress: Progress,
    /// From the cut to each log-in.
    took: Histogram<u64>,
}

impl Storm {
    /// Ends the current phase, and begins the next.
    fn phase(&mut self, at: u64) {
        if let Some(phase) = self.traffic.phases.last_mut() {
            phase.until = at;
        }
        self.traffic.phases.push(Phase::new(at, u64::MAX));
    }

    /// The stayers talk until `over` says so.
    fn talk(&mut self, mut over: impl FnMut(&mut Storm) -> bool) -> Result<(), Failure> {
        while !over(self) {
            let at = now();
            while let Some(intended) = self.schedule.due(at) {
                self.traffic.send(&mut self.fleet, self.next, intended, at);
                self.next = (self.next + 1) % self.traffic.lines();
            }
            self.traffic.answered.clear();
            let until = self.schedule.next().unwrap_or(u64::MAX).min(at + SECOND / 100);
            let (traffic, took, number) = (&mut self.traffic, &mut self.took, self.fleet.numbers());
            self.fleet.turn(until, |client, heard, at| match heard {
                Heard::In { since } => took.saturating_record(at.saturating_sub(since)),
                heard => {
                    traffic.hear(client, &heard, |i| number.of(i), at);
                }
            })?;
            let (inside, all, delivered) = (self.fleet.inside, self.fleet.clients(), self.traffic.delivered);
            self.progress.tick(now(), || format!("{inside} of {all} are in, {delivered} messages of those who stayed"));
            self.traffic.hlog.tick(now());
        }
        Ok(())
    }
}
