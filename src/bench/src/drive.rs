//! The loop of every load of messages: sends what is due, listens, and goes on until all has come or nothing comes.

use crate::clock::{MILLI, SECOND, now};
use crate::fill::Fill;
use crate::fleet::{AGAIN, Fleet};
use crate::probe::{Probe, Usage};
use crate::progress::Progress;
use crate::report::Report;
use crate::schedule::{Due, Schedule, Script};
use crate::traffic::Traffic;
use crate::{Failure, latency};

/// Sends between two looks at what came.
const BURST: usize = 256;
/// After the end: this long without anything new, and what is missing is lost. Where thousands of sockets are full, the
/// system runs out of memory for them, drops segments, and repeats them only after seconds.
const QUIET: u64 = 10 * SECOND;
/// What a sender without any window may leave in its own buffer.
const FLOOD_BACKLOG: usize = 64 << 10;

/// What decides when the next message is sent.
pub enum Pace {
    /// The clock alone.
    Open(Schedule),
    /// The clock alone, by a list that says who.
    Script(Script),
    /// Answers: each line keeps this many unanswered.
    Outstanding(u32),
    /// Deliveries: each line keeps this many that not all have heard.
    Window(u32),
    /// Nothing but the server's reading.
    Flood,
    /// Answers, until all lines have what they shall have; that is the end, whatever the phases say.
    Fill(Fill),
}

impl Pace {
    /// Whether the clock has nothing more to send.
    fn is_over(&mut self) -> bool {
        match self {
            Pace::Open(schedule) => schedule.next().is_none(),
            Pace::Script(script) => script.next().is_none(),
            _ => true,
        }
    }
}

/// What the server's process and this one used while it was measured.
#[derive(Debug, Default)]
pub struct Used {
    pub begin: Option<Usage>,
    pub end: Option<Usage>,
    pub own: (Option<Usage>, Option<Usage>),
    pub peak: u64,
}

/// Drives the traffic through its phases.
pub fn drive(
    fleet: &mut Fleet,
    traffic: &mut Traffic,
    mut pace: Pace,
    probe: Option<Probe>,
    warm_from: u64,
) -> Result<Used, Failure> {
    let (begin, mut end) = (traffic.phases[0].from, traffic.phases.last().map_or(0, |phase| phase.until));
    let mut progress = Progress::start();
    let mut used = Used::default();
    let (mut next_line, mut moved, mut looked, mut before) = (0, now(), 0, (0, 0));
    match &mut pace {
        Pace::Outstanding(each) => {
            traffic.answered = (0..traffic.lines()).flat_map(|line| (0..*each).map(move |_| line)).collect();
        }
        Pace::Fill(fill) => traffic.answered = fill.begin(),
        _ => {}
    }
    loop {
        let at = now();
        if at >= begin && used.begin.is_none() {
            used.begin = probe.and_then(Probe::usage).or(Some(Usage::default()));
            used.own.0 = Probe::own().usage();
        }
        if at >= end && used.end.is_none() {
            used.end = probe.and_then(Probe::usage).or(Some(Usage::default()));
            used.own.1 = Probe::own().usage();
            moved = at;
        }
        if at >= looked + SECOND / 2 {
            looked = at;
            used.peak = used.peak.max(probe.and_then(Probe::resident).unwrap_or(0));
        }
        if at >= end && pace.is_over() && (traffic.settled() || at >= moved + QUIET) {
            break;
        }
        let mut until = progress.next();
        match &mut pace {
            _ if at < warm_from => until = until.min(warm_from),
            // What was due before the end is sent after it too, where the generator was held up: it counts.
            Pace::Open(schedule) => {
                let mut burst = 0;
                while burst < BURST
                    && let Some(intended) = schedule.due(at)
                {
                    traffic.send(fleet, next_line, intended, at);
                    next_line = (next_line + 1) % traffic.lines();
                    burst += 1;
                }
                traffic.answered.clear();
                until = until.min(schedule.next().unwrap_or(idle(at, end)));
            }
            Pace::Script(script) => {
                for _ in 0..BURST {
                    let Some(Due { intended, line, size }) = script.due(at) else { break };
                    traffic.send_sized(fleet, line, size as usize, intended, at);
                }
                traffic.answered.clear();
                until = until.min(script.next().unwrap_or(idle(at, end)));
            }
            _ if at >= end => until = until.min(at + 10 * MILLI),
            Pace::Outstanding(_) => {
                let mut answered = std::mem::take(&mut traffic.answered);
                answered.drain(..).for_each(|line| traffic.send(fleet, line, at, at));
                traffic.answered = answered;
                until = until.min(end);
            }
            Pace::Fill(fill) => {
                traffic.refused_on.drain(..).for_each(|line| fill.put_off(line, at));
                while let Some(line) = fill.again(at) {
                    traffic.send(fleet, line, at, at);
                }
                let mut answered = std::mem::take(&mut traffic.answered);
                for line in answered.drain(..) {
                    if let Some(line) = fill.next(line, traffic.sent(line)) {
                        traffic.send(fleet, line, at, at);
                    }
                }
                traffic.answered = answered;
                until = until.min(at + AGAIN);
                if traffic.open == 0 && fill.is_done() {
                    end = at;
                }
            }
            Pace::Window(each) => {
                traffic.answered.clear();
                for line in 0..traffic.lines() {
                    while traffic.unheard(line) < u64::from(*each) {
                        traffic.send(fleet, line, at, at);
                    }
                }
                until = until.min(end);
            }
            Pace::Flood => {
                traffic.answered.clear();
                for line in 0..traffic.lines() {
                    for _ in 0..BURST {
                        if fleet.backlog(traffic.sender(line)) < FLOOD_BACKLOG {
                            traffic.send(fleet, line, at, at);
                        }
                    }
                }
                until = at;
            }
        }
        if at < end {
            traffic.beat(fleet, at);
        }
        let number = fleet.numbers();
        fleet.turn(until, |client, heard, at| {
            traffic.hear(client, &heard, |i| number.of(i), at);
        })?;
        let at = now();
        let total = (traffic.acked, traffic.delivered);
        if at < end {
            progress.tick(at, || match &pace {
                Pace::Fill(fill) => fill.line(traffic.acked),
                _ => traffic.line_since(&mut before),
            });
        } else if std::mem::replace(&mut before, total) != total {
            moved = at;
        }
        traffic.hlog.tick(at);
    }
    traffic.judge();
    Ok(used)
}

/// Until when a clock that has nothing more to send may sleep.
fn idle(at: u64, end: u64) -> u64 {
    if at < end { end } else { at + 10 * MILLI }
}

/// The figures that every load of messages has, of all its phases together.
pub fn report_on(report: &mut Report, traffic: &Traffic, fleet: &Fleet, used: &Used) {
    let seconds: f64 = traffic.phases.iter().map(super::traffic::Phase::seconds).sum();
    let sum = |of: fn(&super::traffic::Phase) -> u64| traffic.phases.iter().map(of).sum::<u64>() as f64;
    let (acked, delivered) = (sum(|phase| phase.acked), sum(|phase| phase.delivered));
    report.figure("acknowledged", acked / seconds, "messages/s");
    report.figure("delivered", delivered / seconds, "messages/s");
    let (mut ack, mut delivery) = (latency::histogram(), latency::histogram());
    for phase in &traffic.phases {
        // Their bounds are the same.
        let _ = (ack.add(&phase.ack), delivery.add(&phase.delivery));
        for (code, count) in &phase.refused {
            *report.refused.entry(*code).or_default() += count;
        }
    }
    report.latency("acknowledgement", latency::Quantiles::of(&ack));
    report.latency("delivery", latency::Quantiles::of(&delivery));
    let lag = latency::Quantiles::of(&traffic.lag);
    report.latency("(generator's own lag)", lag);
    if let (Some(begin), Some(end)) = (used.begin, used.end)
        && used.peak > 0
    {
        let cpu = end.cpu - begin.cpu;
        report.figure("server CPU", cpu / seconds, "cores");
        report.figure("server CPU a delivery", cpu * 1e6 / delivered.max(1.0), "us");
        report.figure("server resident, peak", used.peak as f64 / 1048576.0, "MiB");
    }
    if let (Some(begin), Some(end)) = used.own {
        report.figure("generator CPU", (end.cpu - begin.cpu) / seconds, "cores");
    }
    if traffic.open > 0 {
        report.note(format!("{} messages were never answered; they may have arrived or not", traffic.open));
    }
    if traffic.silent() > 0 {
        report.note(format!("{} heartbeats were never answered", traffic.silent()));
    }
    if traffic.unsent > 0 {
        report.note(format!("{} messages were not sent: the server did not read, or was gone", traffic.unsent));
    }
    report.broken(fleet);
    if lag.p50 > MILLI || (lag.p99 > 5 * MILLI && lag.count > 1000) {
        report.note("the generator was late itself (see its lag): it may have been the limit, not the server");
    }
    report.wrong.add(traffic.wrong);
}
