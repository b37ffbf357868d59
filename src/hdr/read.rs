//! Reads interval logs: ours, `tidegate bench`'s, and others in the same format.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

pub struct Log {
    /// In the order of the file.
    pub intervals: Vec<Interval>,
}

pub struct Interval {
    /// The line's tag; empty where it has none.
    pub series: String,
    /// Since the log's base time.
    pub since: Duration,
    pub length: Duration,
    pub histogram: Histogram<u64>,
}

/// A file's intervals, or in words why it is no such log.
pub fn file(path: &Path) -> Result<Log, String> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let mut intervals = Vec::new();
    let mut deserializer = Deserializer::new();
    for (entry, nth) in IntervalLogIterator::new(&bytes).zip(1..) {
        let LogEntry::Interval(line) = entry.map_err(|_| format!("{name} is no HdrHistogram log (entry {nth})"))?
        else {
            continue;
        };
        let broken =
            |why: &dyn std::fmt::Display| format!("{name}: the histogram of entry {nth} cannot be read: {why}");
        let raw = STANDARD.decode(line.encoded_histogram()).map_err(|error| broken(&error))?;
        let histogram = deserializer.deserialize(&mut raw.as_slice()).map_err(|error| broken(&error))?;
        let series = line.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
        intervals.push(Interval { series, since: line.start_timestamp(), length: line.duration(), histogram });
    }
    if intervals.is_empty() {
        return Err(format!("{name} holds no interval: is it an HdrHistogram log (*.hlog)?"));
    }
    Ok(Log { intervals })
}
