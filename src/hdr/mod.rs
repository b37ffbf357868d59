//! HdrHistogram's interval logs of the stages and end to end, and what is drawn of them.
//!
//! Owns the files in the data folder's `hdr/` (`log`), and `tidegate hdr` (`plot`). Must not know where times come from.

mod log;
pub mod plot;
mod read;

pub use self::log::Logs;

use hdrhistogram::Histogram;

/// Times beyond this count as this; the engine's own figures end here too.
const LONGEST_NS: u64 = 600_000_000_000;

/// An empty one for nanoseconds, as exact as the engine's.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("1 to a large number at two digits is valid")
}
