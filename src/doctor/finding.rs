//! What a check says: how bad it is, by which numbers, why it matters, and what to do next.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_config::grouped;

/// How bad it is. Only a problem makes the command fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Looked at, and good.
    Ok,
    /// Worth knowing; it hurts in some cases.
    Note,
    /// It will hurt under load, or after a failure.
    Warning,
    /// It hurts now, or as soon as what is configured is used.
    Problem,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Ok => "ok",
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `machine.open_files`: the section and the check, the same in every version.
    pub check: &'static str,
    pub severity: Severity,
    /// A sentence with its numbers, without a full stop.
    pub says: String,
    /// Why it matters; empty where all is well.
    pub why: String,
    /// What to do next, in a sentence; empty where there is nothing to do.
    pub todo: String,
    /// What to type for it, a line each.
    pub commands: Vec<String>,
    /// What was found and what it was held against, for programs: names carry the unit.
    pub numbers: Map<String, Value>,
}

impl Finding {
    pub fn new(check: &'static str, severity: Severity, says: impl Into<String>) -> Finding {
        let (why, todo, commands, numbers) = Default::default();
        Finding { check, severity, says: says.into(), why, todo, commands, numbers }
    }

    pub fn why(mut self, why: impl Into<String>) -> Finding {
        self.why = why.into();
        self
    }

    pub fn todo(mut self, todo: impl Into<String>) -> Finding {
        self.todo = todo.into();
        self
    }

    pub fn command(mut self, command: impl Into<String>) -> Finding {
        self.commands.push(command.into());
        self
    }

    pub fn number(mut self, name: &str, value: impl Into<Value>) -> Finding {
        self.numbers.insert(name.to_owned(), value.into());
        self
    }

    /// What stands before the dot.
    pub fn section(&self) -> &'static str {
        self.check.split('.').next().unwrap_or(self.check)
    }
}

/// A rate or a count that was worked out: whole, with its digits grouped.
pub fn about(number: f64) -> String {
    grouped(number.round().max(0.0) as u64)
}

/// Bytes in the unit in which they are read most easily.
pub fn bytes(of: u64) -> String {
    let of = of as f64;
    match of {
        _ if of >= (1u64 << 40) as f64 => format!("{:.1} TiB", of / (1u64 << 40) as f64),
        _ if of >= (1u64 << 30) as f64 => format!("{:.1} GiB", of / (1u64 << 30) as f64),
        _ if of >= (1u64 << 20) as f64 => format!("{:.0} MiB", of / (1u64 << 20) as f64),
        _ => format!("{:.0} KiB", of / 1024.0),
    }
}

/// A time that was measured.
pub fn ms(of: f64) -> String {
    match of {
        _ if of >= 10_000.0 => format!("{:.0} s", of / 1e3),
        _ if of >= 1_000.0 => format!("{:.1} s", of / 1e3),
        _ if of >= 100.0 => format!("{of:.0} ms"),
        _ if of >= 1.0 => format!("{of:.1} ms"),
        _ => format!("{:.0} us", of * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let groups = [0, 999, 1_000, 20_288, 1_048_576].map(grouped);
        assert_eq!(groups, ["0", "999", "1,000", "20,288", "1,048,576"]);
        assert_eq!([512 << 10, 3 << 20, 5 << 29].map(bytes), ["512 KiB", "3 MiB", "2.5 GiB"]);
        assert_eq!([0.25, 2.5, 250.0, 5_667.0, 82_000.0].map(ms), ["250 us", "2.5 ms", "250 ms", "5.7 s", "82 s"]);
    }

    #[test]
    fn severities_go_from_good_to_bad() {
        assert!(Severity::Ok < Severity::Note && Severity::Warning < Severity::Problem);
        assert_eq!(Finding::new("machine.open_files", Severity::Ok, "").section(), "machine");
    }
}
