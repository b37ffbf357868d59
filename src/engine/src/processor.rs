//! What the system tells of the calling thread: how long it worked, and how long it would have but had no processor.
//!
//! Only for whoever tapes (`tape.rs`): it costs about a microsecond. Elsewhere than on Linux the second is not told.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::time::{ClockId, clock_gettime};

/// Sums since the thread began, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ThreadTimes {
    /// On a processor.
    pub cpu: u64,
    /// Ready, and without one.
    pub delayed: u64,
}

thread_local! {
    /// Opened once: it costs more than reading.
    static SCHEDSTAT: RefCell<Option<File>> = RefCell::new(File::open("/proc/thread-self/schedstat").ok());
}

/// How long all threads of the process together have been on a processor, in nanoseconds.
pub(crate) fn of_process() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

impl ThreadTimes {
    /// At the beginning of something: the processor's time is read last, so that little of the reading is in it.
    pub fn begin() -> ThreadTimes {
        let delayed = delayed();
        ThreadTimes { cpu: cpu(), delayed }
    }

    /// At its end: the processor's time is read first.
    pub fn end() -> ThreadTimes {
        let cpu = cpu();
        ThreadTimes { cpu, delayed: delayed() }
    }
}

fn cpu() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn delayed() -> u64 {
    SCHEDSTAT.with(|file| {
        let mut text = [0; 64];
        let length = file.borrow().as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        second_number(&text[..length])
    })
}

/// Of `schedstat`: time on a processor, time waiting for one, and how often. 0 where it does not say.
fn second_number(text: &[u8]) -> u64 {
    let second = text.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(second).ok().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_line_is_read() {
        assert_eq!(second_number(b"123 456 7\n"), 456);
        assert_eq!((second_number(b""), second_number(b"nothing"), second_number(b"1 x 2")), (0, 0, 0));
    }

    #[test]
    fn work_shows_in_the_processors_time() {
        let before = ThreadTimes::begin();
        let mut n = 0u64;
        while ThreadTimes::end().cpu < before.cpu + 2_000_000 {
            n = std::hint::black_box(n + 1);
        }
        assert!(n > 0 && ThreadTimes::end().delayed >= before.delayed);
    }
}
