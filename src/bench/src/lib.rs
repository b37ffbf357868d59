//! `tidegate bench` and `tidegate replay`: loads a running server over the real wire, checks what comes back, and states
//! the result beside what the machine can do at all.
//!
//! One thread carries all clients (`stayers` are the one exception): `fleet` owns the poll and the connections (`conn`,
//! `wire`), `drive` sends what `schedule` says is due, `traffic` and `check` judge what is received, `floor` measures the
//! machine, `report` says it all. Each scenario is a file. Knows the wire and nothing else of the server, but for
//! `starts`, which starts it.

mod args;
mod cast;
mod check;
mod clock;
mod conn;
mod crowd;
mod day;
mod dice;
mod drive;
mod enter;
mod fill;
mod fleet;
mod floor;
mod floors;
mod groups;
mod history;
mod idle;
mod latency;
mod limits;
mod logins;
mod names;
mod pacing;
mod pairs;
mod probe;
mod progress;
mod ramp;
mod replay;
mod report;
mod returns;
mod rooms;
mod schedule;
mod setup;
mod starts;
mod stayers;
mod tls;
mod traffic;
mod wire;

use std::fmt::Display;
use std::path::Path;

use clap::Subcommand;

pub use replay::ReplayArgs;

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// One-to-one messages: acknowledged a second with some outstanding, or latency at a rate
    #[command(after_long_help = PAIRS)]
    Pairs(pairs::PairsArgs),
    /// Groups: everybody hears everybody, in one order
    #[command(after_long_help = GROUPS)]
    Groups(groups::GroupsArgs),
    /// Chat rooms: fan-out to many, at a rate or as much as arrives
    #[command(after_long_help = ROOMS)]
    Rooms(rooms::RoomsArgs),
    /// Clients that are only there: memory of each, log-ins a second
    #[command(after_long_help = IDLE)]
    Idle(idle::IdleArgs),
    /// A storm of log-ins, or all connections cut at once and back
    #[command(after_long_help = LOGINS)]
    Logins(logins::LoginsArgs),
    /// Pages of history, warm or from anywhere
    #[command(after_long_help = HISTORY)]
    History(history::HistoryArgs),
    /// Starts: from the process to the first log-in, after an end in order or `kill -9` under load
    #[command(after_long_help = STARTS)]
    Starts(starts::StartsArgs),
    /// A mixed day: messages, typing, groups, rooms, pages, visits
    #[command(after_long_help = DAY)]
    Day(day::DayArgs),
    /// Up to overload and back, step by step
    #[command(after_long_help = RAMP)]
    Ramp(ramp::RampArgs),
    /// What this machine does without any server: sends, syncs, round trips, connections, handshakes
    #[command(after_long_help = FLOOR)]
    Floor(floors::FloorsArgs),
    #[command(hide = true)]
    Drain(floor::DrainArgs),
    #[command(hide = true)]
    Hold(crowd::HoldArgs),
}

const PAIRS: &str = "\
Examples:
  tidegate bench pairs                                   50 senders, 8 unacknowledged each, on disk
  tidegate bench pairs --rate 10000 --transient          open loop: latency from the intended send times
  tidegate bench pairs --transport wss --insecure        inside TLS
  tidegate bench pairs --json - --hlog pairs.hlog        for machines";

const GROUPS: &str = "\
Examples:
  tidegate bench groups --groups 10 --members 50         4 of each 50 send, 8 unacknowledged each
  tidegate bench groups --members 500 --rate 20          open loop: 20 messages/s, 499 deliveries each";

const ROOMS: &str = "\
Examples:
  tidegate bench rooms --members 9000                    8 messages on their way to all members
  tidegate bench rooms --members 9000 --flood            as much as the server reads
  tidegate bench rooms --rooms 10 --members 500 --rate 100 --transient
  tidegate bench rooms --members 50000 --per-connection 100 --rate 5";

const IDLE: &str = "\
The server should be fresh: what it has freed it may keep, and gives to the next clients.

Examples:
  tidegate bench idle --clients 15000 --transport ws
  tidegate bench idle --clients 1000000 --per-connection 1000      a million on 1,000 connections";

const LOGINS: &str = "\
Examples:
  tidegate bench logins --clients 10000 --transport ws             at most 256 under way
  tidegate bench logins --clients 10000 --rate 2000                open loop, 2,000/s
  tidegate bench logins --clients 10000 --reconnect                cut at once; the p99 of 100 that stayed";

const HISTORY: &str = "\
Examples:
  tidegate bench history --newest                        the newest 100, again and again
  tidegate bench history --rate 500                      pages from anywhere, open loop
  tidegate bench history --name big --conversations 1 --fill 1000000 --beside 9000000
                                                         a million in one, ten millions in all: minutes, and once
  tidegate bench history --name big --conversations 1 --fill 0 --pages 1000
                                                         the same one later, as after a restart: 1,000 pages, twice";

const STARTS: &str = "\
Examples:
  tidegate bench starts                                  of an empty folder
  tidegate bench starts --data data                      of that one, which no server may be using
  tidegate bench starts --data data --kill               killed under load each time: it gets the load's messages
  tidegate bench starts --data data --cold               its files are not in the system's cache";

const DAY: &str = "\
Examples:
  tidegate bench day --seconds 60
  tidegate bench day --clients 10000 --rate 2000 --mix 40,20,20,2,10,8";

const RAMP: &str = "\
Read it so: as long as goodput follows what is offered, the server has room. Beyond that, goodput should stay where it
was, what is too much should be refused, and the latency of what is let in should stay bounded.

Examples:
  tidegate bench ramp --from 5000 --to 100000 --steps 8 --seconds 5
  tidegate bench ramp --transient --json ramp.json --hlog ramp.hlog";

const FLOOR: &str = "\
Examples:
  tidegate bench floor                                   all of it, a minute
  tidegate bench floor --sockets 1000 --floor-dir /var/lib/tidegate";

/// Why a run ends without success, in words for whoever started it.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    fn because(message: impl Display) -> Failure {
        Failure(message.to_string())
    }

    fn at(path: &Path, error: &std::io::Error) -> Failure {
        Failure(format!("{}: {error}", path.display()))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Replays a recording.
///
/// # Errors
///
/// The file is no recording, or as for [`run`].
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    replay::run(args)
}

/// Runs one.
///
/// # Errors
///
/// The server could not be reached or would not do what the scenario needs, or messages were lost, repeated or out of
/// order.
pub fn run(scenario: &Scenario) -> Result<(), Failure> {
    match scenario {
        Scenario::Pairs(args) => pairs::run(args),
        Scenario::Groups(args) => groups::run(args),
        Scenario::Rooms(args) => rooms::run(args),
        Scenario::Idle(args) => idle::run(args),
        Scenario::Logins(args) => logins::run(args),
        Scenario::History(args) => history::run(args),
        Scenario::Starts(args) => starts::run(args),
        Scenario::Day(args) => day::run(args),
        Scenario::Ramp(args) => ramp::run(args),
        Scenario::Floor(args) => floors::run(args),
        Scenario::Drain(args) => floor::drain(args),
        Scenario::Hold(args) => crowd::hold(args),
    }
}
