//! The generator's one clock: nanoseconds since the process first asked, so that times fit in a message.

use std::sync::OnceLock;
use std::time::Instant;

/// A second in the clock's unit.
pub const SECOND: u64 = 1_000_000_000;
/// A millisecond in the clock's unit.
pub const MILLI: u64 = 1_000_000;

/// Nanoseconds since the first call.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
