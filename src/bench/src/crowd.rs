//! Clients that are only there, over as many processes as their connections need: one process may have only so many open
//! files, so others of this program hold what is too much for this one.
//!
//! A helper says on its stdout how long each of its log-ins took, then `in` (or `failed` and why), and stays until its
//! stdin ends, which is also how it notices that this process is gone. Knows nothing of messages.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use crate::args::Target;
use crate::clock::{SECOND, now};
use crate::fleet::Fleet;
use crate::{Failure, limits};

/// Processes at most: past these it is the wrong way to have so many clients.
const PROCESSES: u32 = 32;

pub struct Crowd {
    /// What this process holds itself.
    pub fleet: Fleet,
    /// What the others are to hold, in clients.
    shares: Vec<u32>,
    helpers: Vec<Helper>,
    target: Target,
    clients: u32,
}

impl Crowd {
    /// Nobody is connected yet.
    pub fn new(target: &Target, clients: u32) -> Result<Crowd, Failure> {
        let (connections, most) = (clients.div_ceil(target.per_connection), limits::connections()?);
        if connections.div_ceil(PROCESSES) > most {
            limits::room_for(connections as usize)?;
        }
        let shares = shares(clients, target.per_connection, most);
        let helped: u32 = shares.iter().sum();
        let before = helped.div_ceil(target.per_connection) as usize;
        let fleet = Fleet::new(target, clients - helped)?.behind(before);
        Ok(Crowd { fleet, shares, helpers: Vec::new(), target: target.clone(), clients })
    }

    /// Processes that hold its connections.
    pub fn processes(&self) -> usize {
        self.shares.len() + 1
    }

    pub fn connections(&self) -> u32 {
        self.clients.div_ceil(self.target.per_connection)
    }

    /// Clients that are logged in.
    pub fn inside(&self) -> u32 {
        self.helpers.iter().map(|helper| helper.inside).sum::<u32>() + self.fleet.inside
    }

    /// Logs everybody in, `at_once` connections at a time, one process after the other, as the server shall see one crowd;
    /// `on` hears how many are in, and the last one's nanoseconds.
    pub fn log_in(&mut self, at_once: u32, mut on: impl FnMut(u32, u64)) -> Result<(), Failure> {
        let mut before = 0;
        for share in self.shares.clone() {
            self.helpers.push(Helper::start(&self.target, share, before, at_once)?);
            before += share;
            while let Some(nanoseconds) = self.helpers.last_mut().map_or(Ok(None), Helper::next)? {
                on(self.inside(), nanoseconds);
            }
        }
        let seats = 0..self.fleet.connections();
        self.fleet.log_in_all(seats, at_once as usize, |fleet, nanoseconds| on(before + fleet.inside, nanoseconds))
    }

    /// The helpers go; how many connections of theirs had ended by themselves.
    pub fn end(self) -> u64 {
        self.helpers.into_iter().map(Helper::end).sum()
    }
}

/// How many clients each of the other processes holds, if this one takes the rest: whole connections, `most` of them.
fn shares(clients: u32, per_connection: u32, most: u32) -> Vec<u32> {
    let others = clients.div_ceil(per_connection).div_ceil(most).max(1) - 1;
    vec![most.saturating_mul(per_connection); others as usize]
}

struct Helper {
    process: Child,
    said: BufReader<ChildStdout>,
    inside: u32,
}

impl Helper {
    fn start(target: &Target, clients: u32, before: u32, at_once: u32) -> Result<Helper, Failure> {
        let program = std::env::current_exe().map_err(Failure::because)?;
        let mut command = Command::new(program);
        command.args(["bench", "hold"]).args(target.arguments());
        for (name, value) in
            [("--clients", clients), ("--before", before / target.per_connection), ("--at-once", at_once)]
        {
            command.args([name, &value.to_string()]);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(Failure::because)?;
        let said = process.stdout.take().ok_or_else(|| Failure::because("a helper has no stdout"))?;
        Ok(Helper { process, said: BufReader::new(said), inside: 0 })
    }

    /// The next log-in's nanoseconds; none when all are in.
    fn next(&mut self) -> Result<Option<u64>, Failure> {
        let mut line = String::new();
        self.said.read_line(&mut line).map_err(Failure::because)?;
        let line = line.trim_end();
        if line == "in" {
            return Ok(None);
        }
        match line.parse() {
            Ok(nanoseconds) => {
                self.inside += 1;
                Ok(Some(nanoseconds))
            }
            Err(_) => {
                let why = line.strip_prefix("failed ").unwrap_or("it ended before its clients were in");
                Err(Failure::because(format!("a helper process: {why}")))
            }
        }
    }

    /// Lets it go, and hears how many of its connections had ended by themselves.
    fn end(mut self) -> u64 {
        drop(self.process.stdin.take());
        let mut line = String::new();
        match self.said.read_line(&mut line) {
            Ok(_) => line.trim_end().parse().unwrap_or(u64::from(self.inside)),
            Err(_) => u64::from(self.inside),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Without its stdin it ends by itself, and it has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A helper's part of a crowd.
#[derive(Debug, Args)]
pub struct HoldArgs {
    #[arg(long)]
    clients: u32,
    /// Connections that others hold, which have their source addresses
    #[arg(long)]
    before: usize,
    #[arg(long)]
    at_once: usize,
    #[command(flatten)]
    target: Target,
}

/// Logs in, and stays until stdin ends.
pub fn hold(args: &HoldArgs) -> Result<(), Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    std::thread::spawn(move || {
        // However it ends, nobody needs these clients any more.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    let mut fleet = Fleet::new(&args.target, args.clients)?.behind(args.before);
    let seats = 0..fleet.connections();
    let result = fleet.log_in_all(seats, args.at_once, |_, nanoseconds| say(nanoseconds));
    match result {
        Ok(()) => say("in"),
        Err(failure) => say(format!("failed {failure}")),
    }
    while !over.load(Ordering::Relaxed) {
        fleet.turn(now() + SECOND / 10, |_, _, _| {})?;
    }
    if let Some(why) = &fleet.why {
        // Nobody reads what cannot be written.
        let _ = writeln!(std::io::stderr(), "a helper process's last connection that ended by itself: {why}");
    }
    say(fleet.closed);
    Ok(())
}

/// A reader that has gone away is told nothing.
fn say(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_hold_what_is_too_much_for_one() {
        assert_eq!(shares(1, 1, 10), [0u32; 0]);
        assert_eq!(shares(10, 1, 10), [0u32; 0]);
        assert_eq!(shares(11, 1, 10), [10]);
        assert_eq!(shares(30, 1, 10), [10, 10]);
        assert_eq!(shares(101, 5, 10), [50, 50], "whole connections");
        assert_eq!(shares(u32::MAX, 100_000, 10).len(), 4294);
    }
}
