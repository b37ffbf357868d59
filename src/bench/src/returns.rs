//! All connections cut at once: how long until everybody is back, and what those feel who stayed.
//!
//! Some clients stay and talk in pairs (`stayers.rs`); the others are cut, and come back with their tokens as SDKs do.

use hdrhistogram::Histogram;

use crate::clock::{SECOND, now};
use crate::fleet::{Fleet, Heard, TOO_MUCH};
use crate::latency::{self, Hlog, Quantiles};
use crate::logins::LoginsArgs;
use crate::probe::Probe;
use crate::progress::Progress;
use crate::report::Report;
use crate::stayers::Stayers;
use crate::traffic::{Phase, Traffic};
use crate::{Failure, names, setup};

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
    let hlog = Hlog::create(output.hlog.as_deref(), &["ack", "delivery"])?;
    let prefix = names::fresh();
    let mut staying = Fleet::named(target, stay, format!("{prefix}s"))?;
    setup::log_in(&mut staying)?;
    let cids = setup::pairs(&mut staying, stay / 2)?;
    let mut fleet = Fleet::named(target, *clients, prefix)?;
    fleet.keep_tokens();
    setup::log_in(&mut fleet)?;

    let mut traffic = Traffic::new(stay, SIZE, false, vec![Phase::new(now(), u64::MAX)], hlog);
    traffic.pairs(cids);
    let stayers = Stayers::talk(staying, traffic, args.stay_rate);
    let mut storm = Storm { fleet, progress: Progress::start(), took: latency::histogram() };
    let begun = now();
    storm.listen(|_| Ok(now() >= begun + AROUND))?;
    let before = probe.and_then(Probe::usage);
    let cut = now();
    stayers.phase(cut);
    let back = storm.cut_all(cut, args.at_once, per)?;
    stayers.phase(back);
    let after = probe.and_then(Probe::usage);
    storm.listen(|_| Ok(now() >= back + AROUND))?;
    let (staying, mut traffic) = stayers.fall_silent()?;

    let Storm { mut fleet, took, .. } = storm;
    fleet.closed += staying.closed;
    fleet.why = staying.why.or(fleet.why);
    let missing = clients - fleet.inside;
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
    report.latency("(generator's own lag)", Quantiles::of(&traffic.lag));
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
    progress: Progress,
    /// From the cut to each log-in.
    took: Histogram<u64>,
}

impl Storm {
    /// Cuts everybody, lets them come back with so many connections on their way, and says when all were there.
    fn cut_all(&mut self, cut: u64, at_once: u32, per_connection: u32) -> Result<u64, Failure> {
        let last = self.fleet.connections();
        (0..last).for_each(|seat| self.fleet.cut(seat));
        let mut begun = 0;
        self.listen(|fleet| {
            let most = (fleet.inside / per_connection + at_once) as usize;
            while begun < last.min(most) {
                // It should have been back at once: the wait for its turn counts.
                fleet.begin(begun, cut)?;
                begun += 1;
            }
            Ok(fleet.inside == fleet.clients() || now() > cut + LONGEST)
        })?;
        Ok(now())
    }

    /// Until `over` says so.
    fn listen(&mut self, mut over: impl FnMut(&mut Fleet) -> Result<bool, Failure>) -> Result<(), Failure> {
        while !over(&mut self.fleet)? {
            let took = &mut self.took;
            self.fleet.turn(now() + SECOND / 100, |_, heard, at| {
                if let Heard::In { since } = heard {
                    took.saturating_record(at.saturating_sub(since));
                }
            })?;
            let (inside, all) = (self.fleet.inside, self.fleet.clients());
            self.progress.tick(now(), || format!("{inside} of {all} are in"));
        }
        Ok(())
    }
}
