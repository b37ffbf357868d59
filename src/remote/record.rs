//! `tidegate record`: lets a running server record what comes to it, and writes the recording into a file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;

use super::{AdminArgs, Remote};
use crate::cli::{Stop, print};

/// Record what comes to a running server, to predict from and to replay
///
/// The file has when each message came, how large it was and how many heard it, with numbers for who and where; no body and
/// no id.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate record --for 60s --out monday.json              a minute of this machine's server
  tidegate record --for 5m --out peak.json --admin http://127.0.0.1:17702
  tidegate replay monday.json --to 127.0.0.1:7701 --speed 5   the same again, five times as fast")]
pub struct RecordArgs {
    /// How long, as in 60s or 5m, up to an hour
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = length)]
    length: Duration,
    /// The file to write; one that is there already is left alone without --force
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write over a file that is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

const SECOND: Duration = Duration::from_secs(1);
/// The longest that the server takes.
const LONGEST: Duration = Duration::from_secs(3_600);
/// For writing down and sending what was recorded, beyond the time of recording.
const AFTER: Duration = Duration::from_secs(120);

pub fn run(args: &RecordArgs) -> Result<(), Stop> {
    let RecordArgs { length, out, force, .. } = args;
    // Before the minute is spent, not after it.
    if out.exists() && !force {
        return Err(is_there(out));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Stop::because(format!("{} is no folder: make it, or name another with --out", folder.display())));
    }
    let remote = Remote::new(&args.admin, "record");
    let text = take(&remote, *length)?;
    let name = out.display();
    let recording = tidegate_recording::parse(&text)
        .map_err(|why| Stop::because(format!("what {} answered {why}", remote.base())))?;
    write(out, *force, &text)?;
    let messages = &recording.messages;
    let mut said = format!(
        "{name}: {} messages of {} senders in {} conversations, in {:.1} s. No bodies, no ids.\n",
        messages.all.len(),
        messages.senders(),
        messages.conversations.len(),
        recording.seconds
    );
    if messages.left_out > 0 {
        said.push_str(&format!(
            "More came than is kept: it has {} of each 1000 senders, all that they sent; {} messages of others are left \
             out. Record for a shorter time to have all.\n",
            messages.senders_of_1000, messages.left_out
        ));
    }
    said.push_str(&match messages.all.is_empty() {
        true => "Nobody sent anything: record while the server has something to do.\n".to_owned(),
        false => format!(
            "Next: `tidegate replay {name} --to HOST:PORT --speed 2` sends the same pattern to another server.\n"
        ),
    });
    print(&said)
}

/// Asks on a thread of its own, as the answer comes when the time is over, and says meanwhile how far it is.
fn take(remote: &Remote, length: Duration) -> Result<String, Stop> {
    let (told, answer) = mpsc::channel();
    let (asked, path) = (remote.clone(), format!("/record?seconds={}", length.as_secs_f64()));
    std::thread::spawn(move || told.send(asked.post_for(&path, length + AFTER)));
    let (begin, live) = (Instant::now(), std::io::stderr().is_terminal());
    loop {
        match answer.recv_timeout(SECOND) {
            Ok(text) => {
                if live {
                    eprintln!();
                }
                return text;
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Stop::because("recording failed inside")),
            Err(RecvTimeoutError::Timeout) => {
                // What cannot be asked now is said by the answer.
                let so_far = remote.get("/record").ok().and_then(|now| now["messages"].as_u64());
                let count = so_far.map(|count| format!(", {count} messages")).unwrap_or_default();
                let line = match begin.elapsed() {
                    at if at < length => format!("{:.0} of {} s{count}", at.as_secs_f64(), length.as_secs_f64()),
                    _ => "the server writes the recording down".to_owned(),
                };
                // Progress that cannot be shown is no reason to stop.
                let mut stderr = std::io::stderr();
                let _ = if live { write!(stderr, "\r{line:<60}") } else { writeln!(stderr, "{line}") };
            }
        }
    }
}

/// Beside it first, so that what was there is there until the new one is whole.
fn write(out: &Path, force: bool, text: &str) -> Result<(), Stop> {
    let failed = |path: &Path, error: &std::io::Error| Stop::because(format!("{}: {error}", path.display()));
    if !force {
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(out).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => is_there(out),
                _ => failed(out, &error),
            })?;
        return put(&mut file, text).map_err(|error| {
            // Half of one would look like one.
            let _ = std::fs::remove_file(out);
            failed(out, &error)
        });
    }
    let mut beside = out.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = File::create(&beside).and_then(|mut file| put(&mut file, text));
    written.and_then(|()| std::fs::rename(&beside, out)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(&beside, &error)
    })
}

fn put(file: &mut File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
}

fn is_there(out: &Path) -> Stop {
    Stop::because(format!(
        "{} is there already: name another file with --out, or write over it with --force",
        out.display()
    ))
}

/// A time as it is typed.
fn length(text: &str) -> Result<Duration, String> {
    let length = super::nanoseconds(text).map(|ns| Duration::from_nanos(ns as u64));
    match length {
        Some(length) if (Duration::from_millis(100)..=LONGEST).contains(&length) => Ok(length),
        Some(_) => Err("it is 100ms at least, and 60m at most".to_owned()),
        None => Err("write 60s, 5m or 500ms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_bounds() {
        assert_eq!(length("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(length("1.5m"), Ok(Duration::from_secs(90)));
        for wrong in ["60", "", "s", "0s", "61m", "-1s", "1e9s", "1h"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
