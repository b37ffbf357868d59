//! Starts of a server: from the process to the first log-in that is answered.
//!
//! The only scenario that starts the server itself: this same program, `tidegate run`, once uncounted and then counted
//! times. In between it is told to leave, or killed while it has all it can do. Knows of the data folder where the
//! store's files lie, to put them out of the system's cache and to weigh the log that a start has to read back.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::fs::{Advice, fadvise};
use rustix::process::{Pid, Signal, kill_process};

use crate::args::{Output, Target};
use crate::clock::{MILLI, SECOND, now};
use crate::fleet::Fleet;
use crate::latency::Hlog;
use crate::report::{Report, Rows};
use crate::traffic::{Phase, Traffic};
use crate::{Failure, setup};

#[derive(Debug, Args)]
pub struct StartsArgs {
    /// The data folder, which no server may be using; without one, an empty folder each time
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The server's pipeline.toml; its address goes to --server
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Starts that are counted; one more comes first
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Kill it, after so many seconds of as many messages as 50 pairs can send, instead of letting it leave
    #[arg(long, value_name = "S", num_args = 0..=1, default_missing_value = "3", requires = "data",
        value_parser = clap::value_parser!(u64).range(1..=600))]
    pub kill: Option<u64>,
    /// Put the store's files out of the system's cache before each start
    #[arg(long, requires = "data")]
    pub cold: bool,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub output: Output,
}

/// Pairs of the load before a kill, and what each has unanswered.
const PAIRS: u32 = 50;
const OUTSTANDING: u32 = 8;
/// Bytes of a message of that load.
const SIZE: u32 = 120;
/// A server that is not there by then will not be.
const PATIENCE: u64 = 120 * SECOND;

pub fn run(args: &StartsArgs) -> Result<(), Failure> {
    let StartsArgs { data, repeat, kill, cold, target, output, .. } = args;
    let of = data.as_ref().map_or("an empty folder".to_owned(), |data| data.display().to_string());
    let after = kill.map_or("it was told to leave".to_owned(), |seconds| format!("kill -9 under {seconds} s of load"));
    let cache = if *cold { ", the store's files not in the system's cache" } else { "" };
    let mut report = Report::new("starts", format!("{repeat} starts of {of}, after {after}{cache}"));
    setup::target_settings(&mut report, target);
    report.setting("repeat", *repeat);
    report.setting("kill", *kill);
    report.setting("cold", *cold);
    let mut starts = Vec::new();
    for round in 0..=*repeat {
        let fresh = data.is_none().then(Fresh::make).transpose()?;
        let folder = fresh.as_ref().map_or_else(|| data.clone().unwrap_or_default(), |fresh| fresh.0.clone());
        let store = folder.join("store").join("rocks");
        if *cold && store.is_dir() {
            forget(&store).map_err(|error| Failure::at(&store, &error))?;
        }
        let log = logs(&store);
        let (mut server, took) = start(args, &folder)?;
        match kill {
            Some(seconds) => kill_under_load(&mut server, args, *seconds)?,
            None => server.leave()?,
        }
        if round > 0 {
            starts.push((took, log));
            eprintln!("{round:>5} of {repeat}  {:.3} s", took as f64 / 1e9);
        }
    }
    report.rows = Rows {
        columns: vec![("ready after", "s"), ("log", "MiB")],
        rows: starts.iter().map(|(took, log)| vec![*took as f64 / 1e9, *log as f64 / f64::from(1 << 20)]).collect(),
    };
    starts.sort_unstable();
    let seconds = |(took, _): (u64, u64)| took as f64 / 1e9;
    report.figure("ready, median", seconds(starts[starts.len() / 2]), "s");
    report.figure("ready, least", seconds(starts[0]), "s");
    report.figure("ready, most", seconds(starts[starts.len() - 1]), "s");
    report.finish(output)
}

/// A folder that is gone afterwards.
struct Fresh(PathBuf);

impl Fresh {
    fn make() -> Result<Fresh, Failure> {
        let folder = std::env::temp_dir().join(format!("tidegate-start-{}", crate::names::fresh()));
        fs::create_dir(&folder).map_err(|error| Failure::at(&folder, &error))?;
        Ok(Fresh(folder))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// A server of ours, killed where nobody ended it before.
struct Running(Child);

impl Running {
    /// Tells it to leave, and waits until it has.
    fn leave(&mut self) -> Result<(), Failure> {
        if let Some(pid) = Pid::from_raw(self.0.id() as i32) {
            kill_process(pid, Signal::TERM).map_err(|error| Failure::because(io::Error::from(error)))?;
        }
        self.0.wait().map(drop).map_err(Failure::because)
    }

    fn kill(&mut self) -> Result<(), Failure> {
        self.0.kill().and_then(|()| self.0.wait()).map(drop).map_err(Failure::because)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended there is nothing to kill.
        let _ = self.kill();
    }
}

/// Starts a server; nanoseconds until a client is logged in.
fn start(args: &StartsArgs, folder: &Path) -> Result<(Running, u64), Failure> {
    let program = std::env::current_exe().map_err(Failure::because)?;
    let mut command = Command::new(program);
    command.args(["run", "--log", "error", "--data"]).arg(folder);
    if let Some(config) = &args.config {
        command.arg("--config").arg(config);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if TcpStream::connect(args.target.address()).is_ok() {
        let address = args.target.address();
        return Err(Failure::because(format!("a server listens on {address} already: stop it, or name --config")));
    }
    let begin = now();
    let mut server = Running(command.spawn().map_err(Failure::because)?);
    while TcpStream::connect(args.target.address()).is_err() {
        let ended = server.0.try_wait().map_err(Failure::because)?;
        if ended.is_some() || now() - begin > PATIENCE {
            let address = args.target.address();
            return Err(Failure::because(format!(
                "no server came up on {address}; what it says: tidegate run --data {}",
                folder.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut fleet = Fleet::new(&args.target, 1)?;
    setup::log_in(&mut fleet)?;
    Ok((server, now() - begin))
}

/// As many messages as the pairs can send, and then, while they send on, the end.
fn kill_under_load(server: &mut Running, args: &StartsArgs, seconds: u64) -> Result<(), Failure> {
    let mut fleet = Fleet::new(&args.target, PAIRS * 2)?;
    setup::log_in(&mut fleet)?;
    let cids = setup::pairs(&mut fleet, PAIRS)?;
    let start = now();
    let phases = vec![Phase::new(start, start + seconds * SECOND)];
    let mut traffic = Traffic::new(fleet.clients(), SIZE, false, phases, Hlog::create(None, &[])?);
    traffic.pairs(cids);
    traffic.answered = (0..traffic.lines()).flat_map(|line| (0..OUTSTANDING).map(move |_| line)).collect();
    let number = fleet.numbers();
    while now() < start + seconds * SECOND {
        let at = now();
        let mut answered = std::mem::take(&mut traffic.answered);
        answered.drain(..).for_each(|line| traffic.send(&mut fleet, line, at, at));
        traffic.answered = answered;
        fleet.turn(at + MILLI, |client, heard, at| {
            traffic.hear(client, &heard, |i| number.of(i), at);
        })?;
    }
    server.kill()
}

/// The system forgets what it has of these files.
fn forget(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        if path.is_file() {
            let file = File::open(&path)?;
            // What is not on disk yet cannot be forgotten.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Bytes of the logs that the next start looks at.
fn logs(store: &Path) -> u64 {
    let entries = fs::read_dir(store).into_iter().flatten().flatten();
    let logs = entries.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "log"));
    logs.filter_map(|entry| entry.metadata().ok()).map(|log| log.len()).sum()
}
