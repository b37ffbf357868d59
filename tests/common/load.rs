//! Clients that go on sending numbered messages through whatever happens, and what must be true of the history that
//! comes of it: nothing acknowledged lost, nothing twice, each sender's in the order sent.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_protocol::wire::*;

use super::client::{body, direct_command, refusal, some, texts};
use super::{Client, PATIENCE, Sent, Server};

/// What a refused sender waits before it sends the same again.
const SEND_AGAIN: Duration = Duration::from_millis(20);

/// One client that sends numbered messages to one conversation, and never gives one up until it is acknowledged.
pub struct Sender {
    pub id: String,
    pub cid: String,
    /// The next number.
    pub next: u64,
    /// How many it keeps unanswered.
    window: usize,
    /// Sent and not acknowledged, the oldest first: number and `dt`.
    pub open: VecDeque<u64>,
    pub acked: Vec<(u64, Sent)>,
    /// Codes that it was refused with, where it may be; it then sends the same again, under the same `dt`.
    pub refused: HashMap<i32, u64>,
    may_be_refused: bool,
    /// What the others' messages came to here, since the last log-in.
    pub heard: Vec<String>,
}

/// What all senders of a run share.
#[derive(Default)]
pub struct Tally {
    pub stop: AtomicBool,
    pub acked: AtomicU64,
    pub refused: AtomicU64,
}

impl Tally {
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// So many senders over conversations that all of them and "watcher" are in.
pub fn senders(server: &Server, count: usize, conversations: usize, window: usize) -> Vec<Sender> {
    let names: Vec<_> = (0..count).map(|n| format!("sender-{n}")).collect();
    let everyone: Vec<_> = names.iter().map(String::as_str).collect();
    let mut starter = Client::tcp(server, "watcher");
    let cids: Vec<_> = (0..conversations).map(|_| starter.start(&everyone)).collect();
    let sender = |(n, id): (usize, &String)| Sender {
        id: id.clone(),
        cid: cids[n % conversations].clone(),
        next: 1,
        window,
        open: VecDeque::new(),
        acked: Vec::new(),
        refused: HashMap::new(),
        may_be_refused: false,
        heard: Vec::new(),
    };
    names.iter().enumerate().map(sender).collect()
}

impl Sender {
    fn words(&self, number: u64) -> String {
        format!("{} {number}", self.id)
    }

    fn send(&self, client: &mut Client, number: u64) -> std::io::Result<()> {
        let words = self.words(number);
        let direct =
            DirectCommand { cid: some(&self.cid), dt: some(&words), msg: body(&words), ..DirectCommand::default() };
        let mut command = direct_command(direct);
        command.i = Some(number as i32);
        command.peer_id = some(&self.id);
        client.wire.send(&command)
    }

    /// One that keeps one message unanswered and sends it again when it is refused, so that its order still holds.
    pub fn one_at_a_time(mut self) -> Sender {
        (self.window, self.may_be_refused) = (1, true);
        self
    }

    /// Sends until the server is gone or it is told to stop; what was open at the last end goes first, under its own `dt`.
    pub fn run(&mut self, mut client: Client, tally: &Tally) {
        self.heard.clear();
        for number in self.open.clone() {
            if self.send(&mut client, number).is_err() {
                return;
            }
        }
        loop {
            let stopping = tally.is_over();
            while !stopping && self.open.len() < self.window {
                let number = self.next;
                self.next += 1;
                self.open.push_back(number);
                if self.send(&mut client, number).is_err() {
                    return;
                }
            }
            if stopping && self.open.is_empty() {
                return;
            }
            match client.wire.next(Instant::now() + PATIENCE) {
                Ok(Some(came)) => {
                    if let Some(number) = self.take(came, tally) {
                        std::thread::sleep(SEND_AGAIN);
                        if self.send(&mut client, number).is_err() {
                            return;
                        }
                    }
                }
                Ok(None) => panic!("{} has no answer; {} are open", self.id, self.open.len()),
                Err(_gone) => return,
            }
        }
    }

    /// As [`Sender::run`], over as many connections as it takes: until it is told to stop, and all is acknowledged.
    pub fn run_on(&mut self, server: &Server, tally: &Tally) {
        while !tally.is_over() || !self.open.is_empty() {
            self.run(Client::come_in(server, &self.id), tally);
        }
    }

    /// The number of a message that was refused and is to be sent again.
    fn take(&mut self, came: GenericCommand, tally: &Tally) -> Option<u64> {
        if let Some(message) = came.direct_message {
            self.heard.push(message.id.unwrap());
            return None;
        }
        if let Some(refused) = refusal(&came) {
            assert!(self.may_be_refused, "{} was refused: {refused:?}", self.id);
            *self.refused.entry(refused.code).or_default() += 1;
            tally.refused.fetch_add(1, Ordering::Relaxed);
            return came.i.map(|number| number as u64);
        }
        let (Some(number), Some(ack)) = (came.i, came.ack_message) else { return None };
        let number = number as u64;
        let at = self.open.iter().position(|open| *open == number).expect("an answer is to something open");
        self.open.remove(at);
        self.acked.push((number, Sent { id: ack.uid.unwrap(), at: ack.t.unwrap() }));
        tally.acked.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Runs all senders until each has ended, with `beside` beside them.
pub fn run<T>(server: &Server, senders: &mut [Sender], tally: &Tally, beside: impl FnOnce() -> T) -> T {
    let clients: Vec<_> = senders.iter().map(|sender| Client::tcp(server, &sender.id)).collect();
    std::thread::scope(|threads| {
        for (sender, client) in senders.iter_mut().zip(clients) {
            threads.spawn(move || sender.run(client, tally));
        }
        let _stop = StopWhenPanicking(tally);
        beside()
    })
}

/// Without it the senders would go on when the test fails beside them.
pub struct StopWhenPanicking<'a>(pub &'a Tally);

impl Drop for StopWhenPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// One history against all that its senders know.
pub fn check(cid: &str, history: &[LogItem], senders: &[Sender], all_answered: bool) {
    assert!(history.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp), "times grow strictly");
    let place: HashMap<_, _> =
        history.iter().enumerate().map(|(at, item)| (item.msg_id.clone().unwrap(), at)).collect();
    assert_eq!(place.len(), history.len(), "each id once");
    let words = texts(history);
    for sender in senders {
        let mine: Vec<u64> = words
            .iter()
            .filter_map(|words| words.strip_prefix(&format!("{} ", sender.id)))
            .map(|number| number.parse().unwrap())
            .collect();
        // From the first to some number, none left out, none twice, in the order of sending.
        let expected: Vec<u64> = if sender.cid == cid { (1..=mine.len() as u64).collect() } else { Vec::new() };
        assert_eq!(mine, expected, "{} in {cid}", sender.id);
        if sender.cid == cid {
            assert!((mine.len() as u64) < sender.next);
            for (number, sent) in &sender.acked {
                let at = place.get(&sent.id).unwrap_or_else(|| panic!("{} {number} was acknowledged: lost", sender.id));
                assert_eq!((&words[*at], history[*at].timestamp), (&sender.words(*number), Some(sent.at)));
            }
            if all_answered {
                assert_eq!(mine.len() as u64, sender.next - 1, "all were acknowledged in the end");
            }
        }
        // What came live came in the order of history, each once.
        let heard: Vec<_> = sender.heard.iter().filter_map(|id| place.get(id)).collect();
        assert!(heard.windows(2).all(|pair| pair[0] < pair[1]), "{} heard {cid} in another order", sender.id);
    }
}

/// The conversations' histories, as they were seen after each round.
#[derive(Default)]
pub struct Histories(HashMap<String, Vec<String>>);

impl Histories {
    /// Reads them again, as [`check`] does; and what they had before they have still, at its place.
    pub fn check(&mut self, server: &Server, senders: &[Sender], all_answered: bool, round: usize) {
        let mut watcher = Client::tcp(server, "watcher");
        for cid in conversations(senders) {
            let history = watcher.history(&cid);
            check(&cid, &history, senders, all_answered);
            let ids: Vec<_> = history.into_iter().map(|item| item.msg_id.unwrap()).collect();
            let old = self.0.get(&cid).map(Vec::as_slice).unwrap_or_default();
            assert!(ids.starts_with(old), "round {round}: what history had is what it has, and at its place");
            self.0.insert(cid, ids);
        }
    }
}

/// How many acknowledged messages a history lacks.
pub fn lost(cid: &str, history: &[LogItem], senders: &[Sender]) -> usize {
    let kept: std::collections::HashSet<_> = history.iter().filter_map(|item| item.msg_id.as_deref()).collect();
    let senders = senders.iter().filter(|sender| sender.cid == cid);
    senders.flat_map(|sender| &sender.acked).filter(|(_, sent)| !kept.contains(&*sent.id)).count()
}

/// The conversations of these senders.
pub fn conversations(senders: &[Sender]) -> Vec<String> {
    let mut cids: Vec<_> = senders.iter().map(|sender| sender.cid.clone()).collect();
    cids.sort();
    cids.dedup();
    cids
}
