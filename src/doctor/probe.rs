//! Measures how fast a folder's disk takes a small append and makes it last, as a commit does.
//!
//! Owns its one file, which is gone afterwards whatever happens: also on an error, a panic and Ctrl-C. Must not judge.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The name of its file. A data folder may hold one that a killed run has left; the next run takes it away.
pub const FILE: &str = "doctor.probe";

/// How long it goes on.
const LONG: Duration = Duration::from_millis(1_500);
/// A slow disk is given more time, for a p99 of few says nothing.
const LEAST: usize = 50;
const LONGEST: Duration = Duration::from_secs(8);
/// So that a quick disk is not written full.
const MOST_BYTES: usize = 64 << 20;
/// A commit of more is several appends.
const MOST_APPEND: usize = MOST_BYTES / 8;

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub syncs: usize,
    /// What a disk keeps up: stalls count in it, as they do for a server.
    pub mean_ms: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
    pub longest_ms: f64,
    /// Of each append.
    pub bytes: usize,
}

/// Appends `bytes`, at least one and at most 8 MiB, and syncs, again and again. `progress` is told after each how many there
/// were, and the share that is done. `stop` breaks it off, as [`io::ErrorKind::Interrupted`].
pub fn measure(
    folder: &Path,
    bytes: usize,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, f64),
) -> io::Result<Measured> {
    let mut probe = Probe::new(folder)?;
    let bytes = bytes.clamp(1, MOST_APPEND);
    // Not zeros: a file system that packs what it keeps would write nothing.
    let block: Vec<u8> = (0..bytes).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut times = Vec::new();
    let start = Instant::now();
    loop {
        let before = Instant::now();
        probe.file.write_all(&block)?;
        probe.file.sync_data()?;
        times.push(before.elapsed());
        let passed = start.elapsed();
        progress(times.len(), passed.as_secs_f64() / LONG.as_secs_f64());
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let enough = passed >= LONG && times.len() >= LEAST;
        if enough || passed >= LONGEST || times.len() * bytes >= MOST_BYTES {
            return Ok(figures(times, bytes));
        }
    }
}

fn figures(mut times: Vec<Duration>, bytes: usize) -> Measured {
    times.sort_unstable();
    let ms = |of: &Duration| of.as_secs_f64() * 1e3;
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).map_or(0.0, ms);
    Measured {
        syncs: times.len(),
        mean_ms: times.iter().map(ms).sum::<f64>() / times.len().max(1) as f64,
        median_ms: at(0.5),
        p99_ms: at(0.99),
        longest_ms: times.last().map_or(0.0, ms),
        bytes,
    }
}

/// The file, which goes with this.
struct Probe {
    file: File,
    path: PathBuf,
}

impl Probe {
    /// One that a killed run has left is taken away. Never through a link, or into a file of somebody else's.
    fn new(folder: &Path) -> io::Result<Probe> {
        let path = folder.join(FILE);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            fs::remove_file(&path)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Probe { file, path })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{} could not be removed again: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_from_all_times() {
        let found = figures((1..=100).rev().map(Duration::from_millis).collect(), 7);
        assert!((found.mean_ms - 50.5).abs() < 1e-9, "{}", found.mean_ms);
        let expected = Measured {
            syncs: 100,
            mean_ms: found.mean_ms,
            median_ms: 51.0,
            p99_ms: 100.0,
            longest_ms: 100.0,
            bytes: 7,
        };
        assert_eq!(found, expected);
        let one = figures(vec![Duration::from_millis(3)], 7);
        assert_eq!((one.median_ms, one.p99_ms), (3.0, 3.0));
    }

    #[test]
    fn the_file_is_gone_whatever_happens() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, "left by a run that was killed").unwrap();
        let stop = AtomicBool::new(false);
        let mut seen = 0;
        let broken_off = measure(folder.path(), 4_096, &stop, &mut |syncs, _| {
            assert!(file.exists());
            seen = syncs;
            stop.store(syncs == 3, Ordering::Relaxed);
        });
        assert_eq!((broken_off.unwrap_err().kind(), seen), (io::ErrorKind::Interrupted, 3));
        assert!(!file.exists(), "after it was broken off");
        let folder_path = folder.path().to_owned();
        let panicked = std::thread::spawn(move || {
            measure(&folder_path, 1, &AtomicBool::new(false), &mut |_, _| panic!("as told"))
        });
        assert!(panicked.join().is_err() && !file.exists(), "after a panic");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("letter.txt");
        fs::write(&other, "dear").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join(FILE)).unwrap();
        assert!(measure(folder.path(), 1, &AtomicBool::new(false), &mut |_, _| {}).is_err());
        assert_eq!(fs::read_to_string(other).unwrap(), "dear");
    }

    #[test]
    fn a_quick_disk_is_not_written_full() {
        let folder = tempfile::tempdir().unwrap();
        let found = measure(folder.path(), MOST_BYTES, &AtomicBool::new(false), &mut |_, _| {}).unwrap();
        assert_eq!((found.syncs, found.bytes), (8, MOST_APPEND));
    }
}
