//! `tidegate run`: starts a server, says where it is, and waits for the signal to leave.

use std::io::IsTerminal;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use tidegate_http::{How, Refused, Wish};

use crate::cli::{RunArgs, Stop, load};
use crate::logging::LogFormat;
use crate::tuning::Tuner;
use crate::{compose, greeting};

/// Fewer open files than this do not carry many clients.
const FEW_FILES: u64 = 10_000;

pub fn run(args: &RunArgs, format: LogFormat) -> Result<(), Stop> {
    let (config, text) = load(args.config.as_ref())?;
    raise_open_files();
    // Before any thread, so that none misses the signals.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(Stop::because)?;
    let server = compose::start(config, text, args).map_err(Stop::because)?;
    match format {
        LogFormat::Text => eprint!("{}", greeting::text(&server, args, std::io::stderr().is_terminal())),
        // Whoever reads the lines as JSON must be able to read them all.
        LogFormat::Json => log::info!("{}", greeting::text(&server, args, false)),
    }
    while signals.forever().next() == Some(SIGHUP) {
        reload(&server.tuner);
    }
    log::info!("leaving: clients are told to reconnect; a second signal exits at once");
    let second = std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().any(|signal| signal != SIGHUP) {
            log::warn!("second signal: exiting at once");
            signal_hook::low_level::exit(130);
        }
    });
    if let Err(error) = second {
        log::warn!("a second signal will not be heard: {error}");
    }
    server.drain();
    log::info!("stopped");
    Ok(())
}

/// Puts into force what the file says now, whole or not at all.
fn reload(tuner: &Tuner) {
    match tuner.change(Wish::Reload, How { by: "SIGHUP".to_owned(), dry_run: false }) {
        Ok(change) if change.changes.is_empty() => log::info!("SIGHUP: the file says what is running"),
        Ok(_) => {}
        Err(Refused::Unknown) => log::error!("SIGHUP: nothing was changed"),
        Err(Refused::Impossible(why) | Refused::Conflict(why)) => log::error!("SIGHUP: nothing was changed:\n{why}"),
    }
}

/// Each client is an open file; most systems start with few.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < FEW_FILES => {
            log::warn!("only {limit} files may be open, and each connection is one: raise the hard limit (ulimit -Hn)");
        }
        Ok(limit) => log::debug!("{limit} files may be open"),
        Err(error) => log::warn!("the limit of open files could not be raised: {error}"),
    }
}
