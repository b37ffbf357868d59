//! What the system says of this process and its files. Linux's `/proc`; elsewhere nothing is known.

use std::path::Path;
use std::time::Instant;

pub struct Process {
    at: Instant,
    pub resident_bytes: Option<u64>,
    /// Of processor time, since the start.
    cpu_ticks: Option<u64>,
}

/// A tick in `/proc`, a constant of Linux's interface to programs.
const TICKS_A_SECOND: f64 = 100.0;
const KIB: u64 = 1024;

impl Process {
    pub fn now() -> Process {
        Process { at: Instant::now(), resident_bytes: resident(), cpu_ticks: ticks() }
    }

    /// Cores kept busy since.
    pub fn cores_since(&self, before: &Process) -> Option<f64> {
        let ticks = self.cpu_ticks?.saturating_sub(before.cpu_ticks?);
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        (seconds > 0.0).then(|| ticks as f64 / TICKS_A_SECOND / seconds)
    }

    /// Processor time used since the start.
    pub fn cpu_seconds(&self) -> Option<f64> {
        self.cpu_ticks.map(|ticks| ticks as f64 / TICKS_A_SECOND)
    }
}

/// File descriptors that are open.
pub fn descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Newer kernels say the number itself; with 100,000 connections the list is long.
    match std::fs::metadata(FOLDER).ok()?.len() {
        0 => Some(std::fs::read_dir(FOLDER).ok()?.count() as u64),
        count => Some(count),
    }
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * KIB)
}

fn ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything; user and system time are the 12th and 13th fields from there.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Bytes of all files in a folder and below. Files that go away meanwhile are left out.
pub fn size_of(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?;
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()).unwrap_or_default(),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    Some(entries.filter_map(Result::ok).map(size).sum())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_the_processor() {
        let before = Process::now();
        let end = before.at + std::time::Duration::from_millis(200);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        let now = Process::now();
        assert!(now.resident_bytes.unwrap() > 1 << 20);
        assert!(now.cores_since(&before).unwrap() > 0.01);
        assert!(now.cpu_seconds().unwrap() > before.cpu_seconds().unwrap());
    }

    #[test]
    fn a_file_that_is_opened_takes_a_descriptor() {
        let before = descriptors().unwrap();
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests open and close some meanwhile.
        assert!(descriptors().unwrap() > before + 25);
        drop(files);
    }
}
