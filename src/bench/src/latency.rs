//! Latencies: histograms in nanoseconds, their quantiles, and the interval log that other tools read.
//!
//! The log is written by a thread of its own, which sleeps but for one moment a second.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::Failure;
use crate::clock::{SECOND, now};

/// From a microsecond to ten minutes, three digits; what is longer counts as ten minutes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600 * SECOND, 3).expect("the bounds are good")
}

/// What is said of a histogram, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Quantiles {
    pub fn of(histogram: &Histogram<u64>) -> Quantiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Quantiles {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

struct Interval {
    histogram: Histogram<u64>,
    tag: &'static str,
    start: SystemTime,
    length: Duration,
}

/// The interval log, where one was asked for.
pub struct Hlog {
    writer: Option<(mpsc::Sender<Interval>, JoinHandle<std::io::Result<()>>, PathBuf)>,
    series: Vec<(&'static str, Histogram<u64>)>,
    began: (u64, SystemTime),
}

impl Hlog {
    /// Begins the file at `path`; without one, nothing is kept.
    pub fn create(path: Option<&Path>, series: &[&'static str]) -> Result<Hlog, Failure> {
        let began = (now(), SystemTime::now());
        let Some(path) = path else { return Ok(Hlog { writer: None, series: Vec::new(), began }) };
        let file = File::create(path).map_err(|error| Failure::at(path, &error))?;
        let (to, from) = mpsc::channel();
        let thread = std::thread::spawn(move || write(file, began.1, &from));
        let series = series.iter().map(|name| (*name, histogram())).collect();
        Ok(Hlog { writer: Some((to, thread, path.to_owned())), series, began })
    }

    /// One latency of a series.
    pub fn record(&mut self, series: usize, nanoseconds: u64) {
        if let Some((_, histogram)) = self.series.get_mut(series) {
            histogram.saturating_record(nanoseconds);
        }
    }

    /// Ends the interval, if it is a second old.
    pub fn tick(&mut self, at: u64) {
        if at >= self.began.0 + SECOND {
            self.end_interval(at);
        }
    }

    fn end_interval(&mut self, at: u64) {
        if let Some((to, ..)) = &self.writer {
            let length = Duration::from_nanos(at - self.began.0);
            for (tag, current) in &mut self.series {
                let histogram = std::mem::replace(current, histogram());
                // A writer that has failed says so at the end.
                let _ = to.send(Interval { histogram, tag, start: self.began.1, length });
            }
        }
        self.began = (at, SystemTime::now());
    }

    /// Writes the rest, and says where the file could not be written.
    pub fn close(mut self) -> Result<(), Failure> {
        self.end_interval(now());
        let Some((to, thread, path)) = self.writer else { return Ok(()) };
        drop(to);
        match thread.join() {
            Ok(result) => result.map_err(|error| Failure::at(&path, &error)),
            Err(_) => Err(Failure::because("the interval log's thread panicked")),
        }
    }
}

fn write(file: File, start: SystemTime, from: &mpsc::Receiver<Interval>) -> std::io::Result<()> {
    let mut file = BufWriter::new(file);
    let mut serializer = V2DeflateSerializer::new();
    // What HdrHistogram's own tools write before the intervals; maxima are shown in milliseconds.
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[tidegate bench, nanoseconds]")
        .with_start_time(start)
        .with_max_value_divisor(1_000_000.0)
        .begin_log_with(&mut file, &mut serializer)?;
    for Interval { histogram, tag, start, length } in from.iter() {
        let start = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        log.write_histogram(&histogram, start, length, Tag::new(tag))
            .map_err(|error| std::io::Error::other(error.to_string()))?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn quantiles_are_of_what_was_recorded() {
        let mut histogram = histogram();
        (1..=1000).for_each(|ms| histogram.saturating_record(ms * 1_000_000));
        let quantiles = Quantiles::of(&histogram);
        assert_eq!(quantiles.count, 1000);
        for (found, ms) in [(quantiles.p50, 500), (quantiles.p99, 990), (quantiles.max, 1000)] {
            assert!(found.abs_diff(ms * 1_000_000) < 1_000_000, "{found} is not {ms} ms");
        }
    }

    #[test]
    fn an_interval_log_reads_back() {
        let path = std::env::temp_dir().join(format!("tidegate-bench-{}.hlog", std::process::id()));
        let mut log = Hlog::create(Some(&path), &["ack", "delivery"]).unwrap();
        log.record(0, 5_000_000);
        log.end_interval(now());
        log.record(1, 7_000_000);
        log.close().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        use base64::Engine;
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let raw = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).unwrap();
                let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &raw[..]).unwrap();
                found.push((interval.tag().unwrap().as_str().to_owned(), histogram.len()));
            }
        }
        let expected = [("ack", 1), ("delivery", 0), ("ack", 0), ("delivery", 1)];
        assert_eq!(found, expected.map(|(tag, count)| (tag.to_owned(), count)));
    }
}
