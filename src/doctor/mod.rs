//! `tidegate doctor`: looks at the machine and the configuration and says what will hurt, with numbers and what to do.
//!
//! Looking is apart from judging. `system`, `cgroup`, `probe`, `kernel_clock`, `certificates` and `inputs` bring plain
//! values; `files`, `kernel`, `memory`, `processors`, `disk`, `clock`, `config`, `queues` and `tls` judge them, a function
//! a check, and touch nothing. Owns the order in which it is all done. Changes nothing on the machine.

mod certificates;
mod cgroup;
mod clock;
mod config;
mod disk;
mod files;
mod finding;
mod inputs;
mod kernel;
mod kernel_clock;
mod memory;
pub mod probe;
mod processors;
mod queues;
mod report;
mod system;
mod tls;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tidegate_config::Config;

use self::finding::{Finding, Severity};
use crate::cli::{RunArgs, Stop, load, print};
use crate::remote::{AdminArgs, Remote};

/// Look at the machine and the configuration, and say what will hurt
///
/// Give it what `tidegate run` is given. It looks at file limits, kernel settings, memory and processors, measures for
/// about two seconds how fast the data folder's disk syncs, and looks at the clock, the configuration and the
/// certificates. Nothing is changed; each finding says what to type. From a server that runs under load it also learns
/// what each stage can do, and holds the queues against that.
///
/// Exits with 1 where there is a problem; warnings and notes do not fail.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate doctor                                           the built-in pipeline on this machine
  tidegate doctor --config pipeline.toml --data /srv/chat   what a server started so would meet
  tidegate doctor --admin http://127.0.0.1:7702             with the rates of a server that runs
  tidegate doctor --json | jq '.findings[] | select(.severity == \"problem\")'")]
pub struct DoctorArgs {
    #[command(flatten)]
    of: RunArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// For scripts: all findings with their numbers
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DoctorArgs) -> Result<(), Stop> {
    let (config, _) = load(args.of.config.as_ref())?;
    let started = Times::now();
    let findings = examine(args, &config, started)?;
    if args.json {
        print(&report::json(&findings))?;
    } else {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        print(&report::text(&findings, colours))?;
    }
    match findings.iter().any(|finding| finding.severity == Severity::Problem) {
        true => Err(Stop::said()),
        false => Ok(()),
    }
}

/// All checks, in the order of the page.
fn examine(args: &DoctorArgs, config: &Config, started: Times) -> Result<Vec<Finding>, Stop> {
    let data = &args.of.data;
    let system = system::look();
    // Before the disk is measured, which takes a server's speed.
    let remote = Remote::new(&args.admin, "doctor");
    let stages = remote.get("/stages").map_err(|stop| stop.message().to_owned()).and_then(|answer| {
        queues::stages(&answer).ok_or_else(|| format!("{} does not answer as a Tidegate does", remote.base()))
    });
    let mut findings = files::judge(inputs::files(config), system.open_files, &system.kernel);
    findings.extend(kernel::judge(inputs::kernel(config), &system.kernel));
    findings.extend(memory::judge(inputs::memory(config), &system.memory));
    // A section's findings stand together: what is about the configuration comes with it.
    let (pools, processors) = processors::judge(&inputs::pools(config), &system.processors)
        .into_iter()
        .partition::<Vec<_>, _>(|finding| finding.section() == "config");
    findings.extend(processors);
    findings.extend(disk::judge(&look_at_disk(data, config)?, &inputs::disk(config)));
    findings.extend(clock::judge(&look_at_clock(started)));
    findings.extend(config::judge(&inputs::smells(config)));
    findings.extend(pools);
    findings.extend(queues::judge(remote.base(), stages.as_deref().map_err(String::as_str)));
    let (certificates, secrets) = inputs::tls(config, args.of.config.as_deref(), data);
    findings.extend(tls::judge(crate::clock::now() / 1_000, &certificates, &secrets));
    Ok(findings)
}

fn look_at_disk(data: &Path, config: &Config) -> Result<disk::Disk, Stop> {
    let place = nearest(data);
    let folder = format!("{}{}", data.display(), if place == data { "" } else { " (not there yet)" });
    let measured = match crate::compose::refuse_others_folder(data) {
        Ok(()) => measure(&place, &folder, inputs::disk(config).messages as usize * disk::MESSAGE_BYTES),
        Err(why) => Err(io::Error::other(why)),
    };
    let measured = match measured {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            return Err(Stop::because("broken off while the disk was measured; nothing is left of that"));
        }
        measured => measured.map_err(|error| error.to_string()),
    };
    let free = rustix::fs::statvfs(&place).ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize));
    let kind = place.canonicalize().ok().and_then(|place| system::file_system(&place));
    Ok(disk::Disk { folder, kind, free, measured })
}

/// The data folder, or the first above it that is there: the server would make the rest.
fn nearest(data: &Path) -> PathBuf {
    let place = data.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    if place.as_os_str().is_empty() { PathBuf::from(".") } else { place.to_owned() }
}

/// Says how far it is, and can be broken off by a signal without leaving its file.
fn measure(place: &Path, folder: &str, bytes: usize) -> io::Result<probe::Measured> {
    let stop = Arc::new(AtomicBool::new(false));
    let signals = [SIGINT, SIGTERM, SIGHUP].map(|signal| signal_hook::flag::register(signal, stop.clone()));
    let live = io::stderr().is_terminal();
    if !live {
        eprintln!("tidegate: measuring how fast {folder} syncs, about 2 s");
    }
    let mut told = Instant::now();
    let measured = probe::measure(place, bytes, &stop, &mut |syncs, done| {
        if live && told.elapsed() >= Duration::from_millis(100) {
            told = Instant::now();
            eprint!("\rmeasuring the disk: {syncs} syncs, {:.0}%", done.min(1.0) * 100.0);
            let _ = io::stderr().flush();
        }
    });
    if live {
        eprint!("\r\x1b[K");
    }
    for signal in signals.into_iter().flatten() {
        signal_hook::low_level::unregister(signal);
    }
    measured
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Times {
    monotonic: Instant,
    wall: SystemTime,
}

impl Times {
    /// The best of a few: a busy machine may stop us between the two.
    fn now() -> Times {
        let one = || {
            let (monotonic, wall) = (Instant::now(), SystemTime::now());
            (monotonic.elapsed(), Times { monotonic, wall })
        };
        let first = one();
        (0..4).map(|_| one()).fold(first, |best, next| if next.0 < best.0 { next } else { best }).1
    }
}

fn look_at_clock(started: Times) -> clock::Clock {
    const LOOKS: u32 = 10_000;
    let before = Instant::now();
    (0..LOOKS).for_each(|_| {
        std::hint::black_box(Instant::now());
    });
    let look_ns = before.elapsed().as_nanos() as f64 / f64::from(LOOKS);
    let now = Times::now();
    let passed = now.monotonic.duration_since(started.monotonic).as_secs_f64();
    let by_wall = match now.wall.duration_since(started.wall) {
        Ok(passed) => passed.as_secs_f64(),
        Err(back) => -back.duration().as_secs_f64(),
    };
    clock::Clock {
        ahead_ms: (by_wall - passed) * 1e3,
        over_seconds: passed,
        kernel: kernel_clock::look(),
        source: system::clocksource(),
        look_ns,
    }
}
