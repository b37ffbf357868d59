//! The live line: what happens, each second, on stderr.

use std::io::{self, IsTerminal, Write};

use crate::clock::{SECOND, now};

pub struct Progress {
    live: bool,
    start: u64,
    next: u64,
    shown: bool,
}

impl Progress {
    pub fn start() -> Progress {
        let start = now();
        Progress { live: io::stderr().is_terminal(), start, next: start + SECOND, shown: false }
    }

    /// When the next line is due.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Says `line`, if a second has passed since the last one.
    pub fn tick(&mut self, at: u64, line: impl FnOnce() -> String) {
        if at < self.next {
            return;
        }
        while self.next <= at {
            self.next += SECOND;
        }
        let text = format!("{:>5} s  {}", (at - self.start) / SECOND, line());
        // Progress that cannot be shown is no reason to stop.
        let _ = if self.live { write!(io::stderr(), "\r{text:<100}") } else { writeln!(io::stderr(), "{text}") };
        self.shown = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.live && self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
