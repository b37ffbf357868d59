//! Instructions a message, through the real stages, and whether they have become more.
//!
//! `cargo bench --bench instructions` runs each scenario twice under valgrind, with few rounds and with many, and divides
//! the difference: what starting costs drops out. The counts depend on the code and the compiler, not on how busy the
//! machine is. Beside them stands `baseline.txt`; what is more than 5 % above it fails. After a change that is worth its
//! price, or with another compiler: `cargo bench --bench instructions -- --renew`, and commit the file with the change.
//!
//! Not counted: the kernel's work, RocksDB (the store in memory stands in for it) and waking threads, as everything but
//! `delivery` runs in the simulated run, on one thread. How `delivery`'s threads meet differs by some percent from run to
//! run and only ever adds: the least of its counts is taken.

mod chat;
mod delivery;
#[path = "../../stages/tests/common/given.rs"]
mod given;
mod hop;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// How much more than the baseline passes.
const MORE: f64 = 1.05;
/// Fewer than this share of the baseline, and it should be renewed, so that the gain is kept.
const FEWER: f64 = 0.95;

struct Scenario {
    name: &'static str,
    what: &'static str,
    /// Does the rounds; gives how many units one round has.
    run: fn(rounds: u64) -> u64,
    /// How often it is counted.
    counts: usize,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "durable",
        what: "a 1:1 message, committed to the store in memory",
        run: chat::durable,
        counts: 1,
    },
    Scenario { name: "recorded", what: "durable, while somebody records", run: chat::recorded, counts: 1 },
    Scenario { name: "transient", what: "a transient 1:1 message", run: chat::transient, counts: 1 },
    Scenario { name: "crowded", what: "durable, among 100,000 idle clients", run: chat::crowded, counts: 1 },
    Scenario {
        name: "room",
        what: "a message to a chat room, up to the reactor's mailbox",
        run: chat::room,
        counts: 1,
    },
    Scenario {
        name: "delivery",
        what: "a delivery to one of a room's sockets, in the reactor",
        run: delivery::run,
        counts: 4,
    },
    Scenario { name: "hop", what: "an event through one stage that does nothing", run: hop::run, counts: 1 },
];
const ROUNDS: [u64; 2] = [2, 10];

fn baseline() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.txt")
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // What valgrind runs.
        ["run", name, rounds] => {
            let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario's name");
            println!("{}", (scenario.run)(rounds.parse().expect("a number of rounds")));
            ExitCode::SUCCESS
        }
        ref args => match compare(args.contains(&"--renew")) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(problem) => {
                eprintln!("{problem}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Counts everything; false where something costs too much.
fn compare(renew: bool) -> Result<bool, String> {
    let known = std::fs::read_to_string(baseline()).unwrap_or_default();
    let before = |name: &str| {
        let mut lines = known.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(known, _)| *known == name).and_then(|(_, count)| count.trim().parse::<f64>().ok())
    };
    let (mut lines, mut fine) = (String::new(), true);
    println!("{:10} {:>12} {:>10}", "", "instructions", "baseline");
    for scenario @ Scenario { name, what, .. } in &SCENARIOS {
        let count = per_unit(scenario)?;
        let ratio = before(name).map(|before| count / before);
        let says = match ratio {
            None => "no baseline".to_owned(),
            Some(ratio) if ratio > MORE => format!("{:+.1} %: TOO MUCH", (ratio - 1.0) * 100.0),
            Some(ratio) if ratio < FEWER => format!("{:+.1} %: renew the baseline to keep this", (ratio - 1.0) * 100.0),
            Some(ratio) => format!("{:+.1} %", (ratio - 1.0) * 100.0),
        };
        fine &= ratio.is_some_and(|ratio| ratio <= MORE);
        println!("{name:10} {count:12.0} {:>10}  {says}  ({what})", before(name).map_or("-".into(), |n| n.to_string()));
        lines += &format!("{name} {count:.0}\n");
    }
    if renew {
        std::fs::write(baseline(), lines).map_err(|error| format!("cannot write the baseline: {error}"))?;
        return Ok(true);
    }
    if !fine {
        println!("More than 5 % above the baseline. If it is worth it: cargo bench --bench instructions -- --renew");
    }
    Ok(fine)
}

fn per_unit(scenario: &Scenario) -> Result<f64, String> {
    let (mut few, mut many, mut units) = (u64::MAX, u64::MAX, 0);
    for _ in 0..scenario.counts {
        let [(least, _), (most, of_a_round)] = [count(scenario.name, ROUNDS[0])?, count(scenario.name, ROUNDS[1])?];
        (few, many, units) = (few.min(least), many.min(most), of_a_round);
    }
    Ok(many.saturating_sub(few) as f64 / ((ROUNDS[1] - ROUNDS[0]) * units) as f64)
}

/// Instructions of one run, and the units of one round.
fn count(name: &str, rounds: u64) -> Result<(u64, u64), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--fair-sched=yes"])
        .arg(own)
        .args(["run", name, &rounds.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            format!("valgrind counts the instructions and does not start ({error}): apt-get install valgrind")
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let wrong = |what: &str| format!("{name}: {what}\n{said}");
    if !output.status.success() {
        return Err(wrong("failed under valgrind"));
    }
    let units = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| wrong("said no number"))?;
    let refs = said.lines().find_map(|line| line.split_once("I refs:").or_else(|| line.split_once("I   refs:")));
    let refs = refs.ok_or_else(|| wrong("valgrind told no count"))?.1.trim().replace(',', "");
    Ok((refs.parse().map_err(|_| wrong("valgrind's count is no number"))?, units))
}
