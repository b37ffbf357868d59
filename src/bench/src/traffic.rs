//! Messages under way: who sent which, what was answered, who received it, and how long each took.
//!
//! A line is one sender in one conversation. Every message says its line, its number and its intended time, so that a
//! receiver can judge it. Knows the fleet only to send.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;

use crate::check::{Sent, Stream, Wrong};
use crate::fleet::{Fleet, Heard};
use crate::latency::{Hlog, histogram};
use crate::wire::{self, Stamp};

/// What a connection may keep back before a message is counted as not sent at all: the server does not read it.
const BACKLOG: usize = 1 << 20;

/// A stretch of the run whose figures stand by themselves.
#[derive(Debug)]
pub struct Phase {
    pub from: u64,
    pub until: u64,
    /// Messages that should have been sent in it.
    pub offered: u64,
    /// Answers and deliveries that came in it, whenever their messages were due.
    pub acked: u64,
    pub delivered: u64,
    pub refused: BTreeMap<i32, u64>,
    /// Latencies of the messages that were due in it, from their intended times.
    pub ack: Histogram<u64>,
    pub delivery: Histogram<u64>,
    /// The longest wait for a heartbeat's answer, where somebody sends heartbeats.
    pub echo: u64,
}

impl Phase {
    pub fn new(from: u64, until: u64) -> Phase {
        let (ack, delivery) = (histogram(), histogram());
        Phase { from, until, offered: 0, acked: 0, delivered: 0, refused: BTreeMap::new(), ack, delivery, echo: 0 }
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.until - self.from) as f64 / 1e9
    }
}

struct Line {
    client: u32,
    cid: String,
    talk: usize,
    transient: bool,
    sent: Sent,
    /// One for each client that hears the conversation, in the talk's order.
    streams: Vec<Stream>,
    delivered: u64,
}

/// A conversation: who hears it, and up to what time each saw messages.
struct Talk {
    heard_by: HeardBy,
    seen: Vec<i64>,
}

/// Clients in an order.
enum HeardBy {
    /// Side by side, from this one on.
    From(u32),
    /// Ascending.
    These(Vec<u32>),
}

impl Talk {
    /// Where in its order a client is, if it hears it.
    fn place(&self, client: u32) -> Option<usize> {
        match &self.heard_by {
            HeardBy::From(first) => {
                client.checked_sub(*first).map(|place| place as usize).filter(|place| *place < self.seen.len())
            }
            HeardBy::These(clients) => clients.binary_search(&client).ok(),
        }
    }
}

/// A message that waits for its answer.
#[derive(Clone, Copy)]
struct Waiting {
    intended: u64,
    line: u32,
    number: u32,
}

/// What one client waits for, by its own numbers.
#[derive(Default)]
struct Flight {
    next: u32,
    waiting: VecDeque<Option<Waiting>>,
}

pub struct Traffic {
    transient: bool,
    size: usize,
    lines: Vec<Line>,
    talks: Vec<Talk>,
    flights: Vec<Flight>,
    /// The flight of each client that sends.
    flight_of: Vec<Option<u32>>,
    pub phases: Vec<Phase>,
    pub hlog: Hlog,
    /// How late the generator itself was.
    pub lag: Histogram<u64>,
    /// Lines that had an answer since they were asked last.
    pub answered: Vec<u32>,
    /// Where what is refused is sent again with its number: lines on which something was. They have one message
    /// unanswered and no more.
    pub refused_on: Vec<u32>,
    send_again: bool,
    pub wrong: Wrong,
    pub acked: u64,
    pub delivered: u64,
    pub refused: u64,
    /// Never sent, as the server did not read or was gone.
    pub unsent: u64,
    pub open: u64,
    expected: u64,
    heart: Option<Heart>,
}

/// A client that asks for an echo every now and then.
struct Heart {
    client: u32,
    next: u64,
    beats: u32,
    waiting: VecDeque<u64>,
}

/// Between two heartbeats, nanoseconds.
const BEAT: u64 = crate::clock::SECOND / 10;
/// A heartbeat's `i`: below those of commands that set a run up, above those of log-ins.
const BEATS: i32 = i32::MIN / 4;

impl Traffic {
    /// No conversation yet; `phases` are ascending and do not overlap.
    pub fn new(clients: u32, size: u32, transient: bool, phases: Vec<Phase>, hlog: Hlog) -> Traffic {
        Traffic {
            transient,
            size: size as usize,
            lines: Vec::new(),
            talks: Vec::new(),
            flights: Vec::new(),
            flight_of: vec![None; clients as usize],
            phases,
            hlog,
            lag: histogram(),
            answered: Vec::new(),
            refused_on: Vec::new(),
            send_again: false,
            wrong: Wrong::default(),
            acked: 0,
            delivered: 0,
            refused: 0,
            unsent: 0,
            open: 0,
            expected: 0,
            heart: None,
        }
    }

    /// A conversation that clients `first` and the next ones hear, `heard_by` of them.
    pub fn talk(&mut self, first: u32, heard_by: u32) -> usize {
        self.talks.push(Talk { heard_by: HeardBy::From(first), seen: vec![0; heard_by as usize] });
        self.talks.len() - 1
    }

    /// A conversation that these clients hear.
    pub fn talk_of(&mut self, mut clients: Vec<u32>) -> usize {
        clients.sort_unstable();
        let seen = vec![0; clients.len()];
        self.talks.push(Talk { heard_by: HeardBy::These(clients), seen });
        self.talks.len() - 1
    }

    /// A sender in a conversation; returns its line's number.
    pub fn line(&mut self, client: u32, cid: String, talk: usize) -> u32 {
        self.line_of_kind(client, cid, talk, self.transient)
    }

    /// The same where not all are of one kind. Messages of two kinds may overtake each other, so each has a line, and a talk,
    /// of its own.
    pub fn line_of_kind(&mut self, client: u32, cid: String, talk: usize, transient: bool) -> u32 {
        let flight = &mut self.flight_of[client as usize];
        if flight.is_none() {
            *flight = Some(self.flights.len() as u32);
            self.flights.push(Flight::default());
        }
        let streams = vec![Stream::default(); self.talks[talk].seen.len()];
        self.lines.push(Line { client, cid, talk, transient, sent: Sent::default(), streams, delivered: 0 });
        self.lines.len() as u32 - 1
    }

    /// A sender and a hearer in each of these conversations, as `setup::pairs` starts them.
    pub fn pairs(&mut self, cids: Vec<String>) {
        for (pair, cid) in (0..).zip(cids) {
            let talk = self.talk(pair * 2 + 1, 1);
            self.line(pair * 2, cid, talk);
        }
    }

    /// What is refused takes no number: the next on its line has the same.
    pub fn send_again(&mut self) {
        self.send_again = true;
    }

    /// Messages sent on a line.
    pub fn sent(&self, line: u32) -> u32 {
        self.lines[line as usize].sent.count
    }

    /// The first `number` messages of a line were sent by an earlier run.
    pub fn go_on(&mut self, line: u32, number: u32) {
        self.lines[line as usize].sent.count = number;
    }

    pub fn lines(&self) -> u32 {
        self.lines.len() as u32
    }

    /// Deliveries that a message of this line makes.
    fn receivers(&self, line: u32) -> u64 {
        let Line { client, talk, .. } = self.lines[line as usize];
        let talk = &self.talks[talk];
        talk.seen.len() as u64 - u64::from(talk.place(client).is_some())
    }

    /// Messages of a line that not all have heard yet, as a number of whole messages.
    pub fn unheard(&self, line: u32) -> u64 {
        let of = &self.lines[line as usize];
        of.sent.promised().saturating_sub(of.delivered / self.receivers(line).max(1))
    }

    /// The sender of a line.
    pub fn sender(&self, line: u32) -> u32 {
        self.lines[line as usize].client
    }

    fn phase(&mut self, at: u64) -> Option<&mut Phase> {
        let next = self.phases.partition_point(|phase| phase.from <= at);
        self.phases[..next].last_mut().filter(|phase| at < phase.until)
    }

    /// Sends the next message of a line, which should have been sent at `intended`; it is `at` now.
    pub fn send(&mut self, fleet: &mut Fleet, line: u32, intended: u64, at: u64) {
        self.send_sized(fleet, line, self.size, intended, at);
    }

    /// The same with a size of its own, in bytes.
    pub fn send_sized(&mut self, fleet: &mut Fleet, line: u32, size: usize, intended: u64, at: u64) {
        if let Some(phase) = self.phase(intended) {
            phase.offered += 1;
            self.lag.saturating_record(at - intended.min(at));
        }
        let of = &mut self.lines[line as usize];
        if !fleet.is_open(of.client) || fleet.backlog(of.client) > BACKLOG {
            self.unsent += 1;
            return;
        }
        let number = of.sent.count;
        of.sent.count += 1;
        let text = Stamp { line, number, intended }.text(size);
        let Some(flight) = self.flight_of[of.client as usize] else { return };
        let flight = &mut self.flights[flight as usize];
        let i = fleet.i(of.client, flight.next);
        flight.next += 1;
        flight.waiting.push_back(Some(Waiting { intended, line, number }));
        self.open += 1;
        let command = wire::direct(fleet.name(of.client), i, &of.cid, text, of.transient);
        fleet.send(of.client, &command);
    }

    /// This client asks for an echo ten times a second, which is timed.
    pub fn heartbeat(&mut self, client: u32) {
        self.heart = Some(Heart { client, next: 0, beats: 0, waiting: VecDeque::new() });
    }

    /// Sends the heartbeat, if it is time.
    pub fn beat(&mut self, fleet: &mut Fleet, at: u64) {
        let Some(heart) = self.heart.as_mut().filter(|heart| at >= heart.next) else { return };
        heart.next = at + BEAT;
        heart.waiting.push_back(at);
        fleet.send(heart.client, &wire::echo(fleet.name(heart.client), BEATS + heart.beats as i32));
        heart.beats += 1;
    }

    /// Heartbeats are answered in their order.
    fn beaten(&mut self, at: u64) {
        let Some(sent) = self.heart.as_mut().and_then(|heart| heart.waiting.pop_front()) else { return };
        if let Some(phase) = self.phase(sent) {
            phase.echo = phase.echo.max(at - sent);
        }
    }

    /// Heartbeats without an answer.
    pub fn silent(&self) -> usize {
        self.heart.as_ref().map_or(0, |heart| heart.waiting.len())
    }

    /// Takes in what `client` heard at `at`; `number` is its own number of the message that is answered. How long an
    /// acknowledgement took, if it is one and is measured.
    pub fn hear(&mut self, client: u32, heard: &Heard, number: impl Fn(i32) -> u32, at: u64) -> Option<u64> {
        match *heard {
            Heard::Ack { i, code } => return self.answer(client, number(i), code, at),
            Heard::Refused { i, code } if i > 0 => return self.answer(client, number(i), Some(code), at),
            Heard::Reply { i, .. } if i < BEATS / 2 => self.beaten(at),
            Heard::Message { text, time } => {
                if let Some(stamp) = Stamp::read(text) {
                    self.arrive(client, stamp, time, at);
                }
            }
            _ => {}
        }
        None
    }

    fn answer(&mut self, client: u32, number: u32, code: Option<i32>, at: u64) -> Option<u64> {
        let flight = &mut self.flights[self.flight_of[client as usize]? as usize];
        let oldest = flight.next - flight.waiting.len() as u32;
        let slot = number.checked_sub(oldest).and_then(|slot| flight.waiting.get_mut(slot as usize));
        // Answered already, or never asked: it is the answer that came twice.
        let Some(Waiting { intended, line, number }) = slot.and_then(Option::take) else {
            self.wrong.repeated += 1;
            return None;
        };
        while flight.waiting.front().is_some_and(Option::is_none) {
            flight.waiting.pop_front();
        }
        self.open -= 1;
        if let Some(code) = code {
            self.refused += 1;
            if self.send_again {
                self.lines[line as usize].sent.count = number;
                self.refused_on.push(line);
            } else {
                self.lines[line as usize].sent.excuse(number);
                self.answered.push(line);
            }
            if let Some(phase) = self.phase(at) {
                *phase.refused.entry(code).or_default() += 1;
            }
            return None;
        }
        self.answered.push(line);
        self.acked += 1;
        self.expected += self.receivers(line);
        let took = at.saturating_sub(intended);
        if let Some(phase) = self.phase(at) {
            phase.acked += 1;
        }
        self.phase(intended)?.ack.saturating_record(took);
        self.hlog.record(0, took);
        Some(took)
    }

    fn arrive(&mut self, client: u32, stamp: Stamp, time: i64, at: u64) {
        let Some(line) = self.lines.get_mut(stamp.line as usize) else { return };
        let talk = &mut self.talks[line.talk];
        let Some(receiver) = talk.place(client) else { return };
        let (Some(stream), Some(seen)) = (line.streams.get_mut(receiver), talk.seen.get_mut(receiver)) else { return };
        if !stream.see(stamp.number, &mut self.wrong) {
            return;
        }
        // A conversation's times ascend, so whoever sees them ascend sees the one order that all see.
        if !line.transient {
            if time <= *seen {
                self.wrong.reordered += 1;
            }
            *seen = time.max(*seen);
        }
        line.delivered += 1;
        self.delivered += 1;
        let took = at.saturating_sub(stamp.intended);
        if let Some(phase) = self.phase(at) {
            phase.delivered += 1;
        }
        if let Some(phase) = self.phase(stamp.intended) {
            phase.delivery.saturating_record(took);
            self.hlog.record(1, took);
        }
    }

    /// What happened since `before`, as a line for people.
    pub fn line_since(&self, before: &mut (u64, u64)) -> String {
        let total = (self.acked, self.delivered);
        let line = format!(
            "{:>8} acknowledged  {:>9} delivered  {} refused  {} under way",
            total.0 - before.0,
            total.1 - before.1,
            self.refused,
            self.open
        );
        *before = total;
        line
    }

    /// Whether nothing is missing any more.
    pub fn settled(&self) -> bool {
        self.open == 0 && self.delivered >= self.expected
    }

    /// The last judgement: what was promised and did not come is lost.
    pub fn judge(&mut self) {
        for flight in &self.flights {
            for waiting in flight.waiting.iter().flatten() {
                self.lines[waiting.line as usize].sent.excuse(waiting.number);
            }
        }
        for line in &self.lines {
            let itself = self.talks[line.talk].place(line.client);
            let receivers = line.streams.iter().enumerate().filter(|(place, _)| Some(*place) != itself);
            self.wrong.lost += receivers.map(|(_, stream)| line.sent.lost(stream)).sum::<u64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    /// Tom (0) and two who hear him (1, 2); three messages are sent and none is answered yet.
    fn three_sent() -> Traffic {
        let hlog = Hlog::create(None, &[]).unwrap();
        let mut traffic = Traffic::new(3, 48, false, vec![Phase::new(0, SECOND)], hlog);
        let talk = traffic.talk(0, 3);
        let line = traffic.line(0, "c".into(), talk);
        for number in 0..3 {
            traffic.lines[0].sent.count += 1;
            traffic.flights[0].next += 1;
            traffic.flights[0].waiting.push_back(Some(Waiting { intended: 5, line, number }));
            traffic.open += 1;
        }
        traffic
    }

    fn ack(traffic: &mut Traffic, i: i32, code: Option<i32>) {
        traffic.hear(0, &Heard::Ack { i, code }, |i| i as u32, 9);
    }

    fn deliver(traffic: &mut Traffic, client: u32, number: u32, time: i64) {
        let text = Stamp { line: 0, number, intended: 5 }.text(48);
        traffic.hear(client, &Heard::Message { text: &text, time }, |i| i as u32, 9);
    }

    #[test]
    fn a_good_server_is_found_good() {
        let mut traffic = three_sent();
        for number in 0..3 {
            ack(&mut traffic, number, None);
            (1..3).for_each(|client| deliver(&mut traffic, client, number as u32, i64::from(number) + 1));
        }
        assert!(traffic.settled());
        traffic.judge();
        assert_eq!((traffic.wrong, traffic.acked, traffic.delivered), (Wrong::default(), 3, 6));
        assert_eq!(traffic.phases[0].ack.len(), 3);
    }

    #[test]
    fn a_server_that_loses_acknowledged_messages_is_found() {
        let mut traffic = three_sent();
        (0..3).for_each(|number| ack(&mut traffic, number, None));
        [0, 1, 2].into_iter().for_each(|number| deliver(&mut traffic, 1, number, i64::from(number) + 1));
        deliver(&mut traffic, 2, 0, 1);
        assert!(!traffic.settled());
        traffic.judge();
        assert_eq!(traffic.wrong, Wrong { lost: 2, ..Wrong::default() });
    }

    #[test]
    fn a_server_that_repeats_messages_or_answers_is_found() {
        let mut traffic = three_sent();
        ack(&mut traffic, 0, None);
        ack(&mut traffic, 0, None);
        deliver(&mut traffic, 1, 0, 1);
        deliver(&mut traffic, 1, 0, 1);
        assert_eq!(traffic.wrong.repeated, 2);
    }

    #[test]
    fn a_server_that_shows_another_order_is_found() {
        let mut traffic = three_sent();
        deliver(&mut traffic, 1, 0, 7);
        deliver(&mut traffic, 1, 1, 6);
        assert_eq!(traffic.wrong.reordered, 1, "its own times say so");
        deliver(&mut traffic, 2, 1, 6);
        deliver(&mut traffic, 2, 0, 7);
        assert_eq!(traffic.wrong.reordered, 2, "the sender's numbers say so");
    }

    #[test]
    fn who_hears_need_not_stand_side_by_side() {
        let mut traffic = Traffic::new(9, 48, false, vec![Phase::new(0, SECOND)], Hlog::create(None, &[]).unwrap());
        let talk = traffic.talk_of(vec![7, 0, 4]);
        let line = traffic.line_of_kind(0, "c".into(), talk, true);
        assert_eq!(traffic.receivers(line), 2, "not the sender");
        traffic.lines[0].sent.count = 2;
        for (client, number) in [(4, 0), (7, 0), (5, 1), (7, 1)] {
            deliver(&mut traffic, client, number, 1);
        }
        traffic.judge();
        assert_eq!((traffic.wrong, traffic.delivered), (Wrong { lost: 1, ..Wrong::default() }, 3));
    }

    #[test]
    fn a_refused_message_does_not_narrow_the_window() {
        let mut traffic = three_sent();
        assert_eq!(traffic.unheard(0), 3);
        ack(&mut traffic, 1, Some(4116));
        assert_eq!(traffic.unheard(0), 2);
        (1..3).for_each(|client| deliver(&mut traffic, client, 0, 1));
        assert_eq!(traffic.unheard(0), 1);
    }

    #[test]
    fn what_was_refused_or_never_answered_is_not_lost() {
        let mut traffic = three_sent();
        ack(&mut traffic, 1, Some(4116));
        traffic.hear(0, &Heard::Refused { i: 2, code: 4116 }, |i| i as u32, 9);
        traffic.judge();
        assert!(!traffic.wrong.any());
        assert_eq!(traffic.phases[0].refused, BTreeMap::from([(4116, 2)]));
        assert_eq!(traffic.open, 1, "one has no answer");
    }
}
