//! Writes the logs: one file for each hour, a line for each series and interval, in HdrHistogram's V2 format.
//!
//! A disk that does not take them costs no message: it is said once, and tried again with the next interval.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use tidegate_domain::time::iso;

use super::empty;

/// How long a file is written to.
const FILE: Duration = Duration::from_secs(3600);

pub struct Logs {
    folder: PathBuf,
    interval: Duration,
    keep: usize,
    /// By name, as in `persist.wait`; the names are tags in the file.
    series: BTreeMap<String, Histogram<u64>>,
    /// When the present interval began.
    since: SystemTime,
    file: Option<(File, SystemTime)>,
    /// Whether the last write failed, and this was said.
    failed: bool,
}

impl Logs {
    /// `keep`: the most files; 0 writes none.
    pub fn new(folder: PathBuf, interval: Duration, keep: usize) -> Logs {
        let (series, since) = (BTreeMap::new(), SystemTime::now());
        Logs { folder, interval, keep, series, since, file: None, failed: false }
    }

    /// Adds what happened in a series, in nanoseconds.
    pub fn add(&mut self, series: &str, histogram: &Histogram<u32>) {
        let times =
            histogram.iter_recorded().map(|value| (value.value_iterated_to(), u64::from(value.count_at_value())));
        self.add_counts(series, times);
    }

    /// The same from pairs of a time in nanoseconds and a count.
    pub fn add_counts(&mut self, series: &str, counts: impl Iterator<Item = (u64, u64)>) {
        if self.keep == 0 {
            return;
        }
        for (ns, n) in counts {
            match self.series.get_mut(series) {
                Some(histogram) => histogram.saturating_record_n(ns, n),
                None => {
                    let mut histogram = empty();
                    histogram.saturating_record_n(ns, n);
                    self.series.insert(series.to_owned(), histogram);
                }
            }
        }
    }

    /// Ends the interval, if it is long enough.
    pub fn tick(&mut self) {
        let now = SystemTime::now();
        // A clock that was set back ends it too.
        if self.keep > 0 && now.duration_since(self.since).map_or(true, |length| length >= self.interval) {
            self.end_interval(now);
        }
    }

    fn end_interval(&mut self, now: SystemTime) {
        let series = std::mem::take(&mut self.series);
        let (since, length) = (self.since, now.duration_since(self.since).unwrap_or_default());
        self.since = now;
        if series.is_empty() {
            return;
        }
        let written = self.write(&series, since, length, now);
        if let Err(error) = &written
            && !self.failed
        {
            log::warn!("the HdrHistogram log in {} cannot be written: {error}", self.folder.display());
            self.file = None;
        }
        self.failed = written.is_err();
    }

    fn write(
        &mut self,
        series: &BTreeMap<String, Histogram<u64>>,
        since: SystemTime,
        length: Duration,
        now: SystemTime,
    ) -> io::Result<()> {
        let is_old = |begun: &SystemTime| now.duration_since(*begun).map_or(true, |age| age >= FILE);
        let (is_new, begun) = match &self.file {
            Some((_, begun)) if !is_old(begun) => (false, *begun),
            _ => (true, since),
        };
        let bytes = lines(series, since, length, is_new.then_some(begun)).map_err(io::Error::other)?;
        if is_new {
            fs::create_dir_all(&self.folder)?;
            let name = iso(millis(begun)).replace(':', "-");
            self.file = Some((File::create(self.folder.join(format!("{name}.hlog")))?, begun));
            forget(&self.folder, self.keep)?;
        }
        match &mut self.file {
            Some((file, _)) => file.write_all(&bytes),
            None => Ok(()),
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if self.keep > 0 {
            self.end_interval(SystemTime::now());
        }
    }
}

/// A line for each series; `begun`: the head of a file that begins then, before them.
fn lines(
    series: &BTreeMap<String, Histogram<u64>>,
    since: SystemTime,
    length: Duration,
    begun: Option<SystemTime>,
) -> Result<Vec<u8>, String> {
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut head = IntervalLogWriterBuilder::new();
    if let Some(begun) = begun {
        head.add_comment("[Histogram log format version 1.3]")
            .add_comment("[tidegate, nanoseconds; the tag is a stage and what is timed, or `delivery`: end to end]")
            .with_start_time(begun)
            .with_base_time(UNIX_EPOCH);
    }
    let mut log = head
        .with_max_value_divisor(1_000_000.0)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|error| error.to_string())?;
    for (name, histogram) in series {
        let tag = Tag::new(name).ok_or_else(|| format!("{name:?} is no tag"))?;
        let start = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        log.write_histogram(histogram, start, length, Some(tag)).map_err(|error| error.to_string())?;
    }
    Ok(bytes)
}

fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Removes the oldest logs beyond the number that is kept. Their names are in the order of their times.
fn forget(folder: &Path, keep: usize) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
    let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "hlog")).collect();
    logs.sort();
    let surplus = logs.len().saturating_sub(keep);
    logs.iter().take(surplus).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::read;
    use super::*;

    fn some(ns: &[u64]) -> Histogram<u32> {
        let mut histogram = Histogram::new_with_bounds(1, 1 << 40, 2).unwrap();
        ns.iter().for_each(|ns| histogram.record(*ns).unwrap());
        histogram
    }

    #[test]
    fn what_is_written_reads_back_by_series() {
        let folder = TempDir::new().unwrap();
        let mut logs = Logs::new(folder.path().join("hdr"), Duration::from_secs(10), 3);
        logs.add("persist.wait", &some(&[1_000_000, 3_000_000]));
        logs.add_counts("delivery", [(5_000_000, 7)].into_iter());
        logs.end_interval(SystemTime::now());
        logs.add("persist.wait", &some(&[2_000_000]));
        drop(logs);
        let files: Vec<_> = fs::read_dir(folder.path().join("hdr")).unwrap().map(|f| f.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let log = read::file(&files[0]).unwrap();
        let ms = |histogram: &Histogram<u64>| (histogram.max() as f64 / 1e6).round();
        let found: Vec<_> =
            log.intervals.iter().map(|i| (i.series.as_str(), i.histogram.len(), ms(&i.histogram))).collect();
        assert_eq!(found, [("delivery", 7, 5.0), ("persist.wait", 2, 3.0), ("persist.wait", 1, 2.0)]);
        assert!(log.intervals.is_sorted_by_key(|i| i.since), "times go forward");
    }

    #[test]
    fn only_so_many_files_are_kept_and_others_are_left_alone() {
        let folder = TempDir::new().unwrap();
        for name in ["2026-01-01.hlog", "2026-01-02.hlog", "2026-01-03.hlog", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        forget(folder.path(), 2).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2026-01-02.hlog", "2026-01-03.hlog", "notes.txt"]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_nothing() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("hdr");
        fs::write(&file, "in the way").unwrap();
        let mut logs = Logs::new(file.clone(), Duration::ZERO, 3);
        logs.add("delivery", &some(&[1]));
        logs.tick();
        assert!(logs.failed);
        fs::remove_file(&file).unwrap();
        logs.add("delivery", &some(&[1]));
        logs.tick();
        assert!(!logs.failed && file.is_dir(), "it tries again");
    }
}
