//! The findings as a page for people, 80 columns wide, or as JSON for scripts.

use std::fmt::Write;

use serde_json::json;

use super::finding::{Finding, Severity};

const WIDTH: usize = 80;
/// `  warning  `: what stands before the words of a finding.
const INDENT: usize = 11;

/// Sections in the order of the findings; in each the findings as they come, so that a second run can be compared.
pub fn text(findings: &[Finding], colours: bool) -> String {
    let (bold, dim, off) = if colours { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let mut out = String::new();
    let mut section = "";
    for finding in findings {
        if finding.section() != section {
            section = finding.section();
            let _ = writeln!(out, "{}{bold}{section}{off}", if out.is_empty() { "" } else { "\n" });
        }
        let (colour, off_colour) = if colours { (colour(finding.severity), off) } else { ("", "") };
        let head = format!("  {colour}{:<7}{off_colour}  ", finding.severity);
        let margin = " ".repeat(INDENT);
        paragraph(&mut out, &head, INDENT, &finding.says, ("", ""));
        if !finding.why.is_empty() {
            paragraph(&mut out, &margin, INDENT, &finding.why, (dim, off));
        }
        if !finding.todo.is_empty() {
            paragraph(&mut out, &format!("{margin}-> "), INDENT + 3, &finding.todo, ("", ""));
        }
        for command in &finding.commands {
            let _ = writeln!(out, "{}{command}", " ".repeat(INDENT + 3));
        }
    }
    let _ = writeln!(out, "\n{}", summary(findings));
    out
}

pub fn json(findings: &[Finding]) -> String {
    let count = |severity| count(findings, severity);
    let page = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "problems": count(Severity::Problem),
        "warnings": count(Severity::Warning),
        "notes": count(Severity::Note),
        "ok": count(Severity::Ok),
        "findings": findings,
    });
    format!("{page:#}\n")
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

/// `1 problem, 2 warnings, 3 notes, 14 ok`.
fn summary(findings: &[Finding]) -> String {
    let count = |severity| count(findings, severity);
    let several = |severity: Severity| {
        let n = count(severity);
        format!("{n} {severity}{}", if n == 1 { "" } else { "s" })
    };
    let [problems, warnings, notes] = [Severity::Problem, Severity::Warning, Severity::Note].map(several);
    format!("{problems}, {warnings}, {notes}, {} ok", count(Severity::Ok))
}

fn colour(of: Severity) -> &'static str {
    match of {
        Severity::Ok => "\x1b[32m",
        Severity::Note => "\x1b[36m",
        Severity::Warning => "\x1b[33m",
        Severity::Problem => "\x1b[1;31m",
    }
}

/// Words behind a head that takes `indent` columns, broken at blanks; a word longer than a line has one to itself.
fn paragraph(out: &mut String, head: &str, indent: usize, words: &str, (on, off): (&str, &str)) {
    let mut line = String::new();
    let mut head = head.to_owned();
    for word in words.split_whitespace() {
        let length = line.chars().count();
        if length > 0 && indent + length + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{head}{on}{line}{off}");
            line.clear();
            head = " ".repeat(indent);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{head}{on}{line}{off}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::new("machine.open_files", Severity::Ok, "a word ".repeat(40)),
            Finding::new("disk.sync", Severity::Problem, "slow")
                .why("because it is ".repeat(12))
                .todo("buy another")
                .command("sysctl -w x=1")
                .number("p99_ms", 1.5),
        ]
    }

    #[test]
    fn a_page_fits_into_80_columns_and_colours_change_no_word() {
        let plain = text(&findings(), false);
        assert!(plain.lines().all(|line| line.chars().count() <= WIDTH), "{plain}");
        assert!(plain.contains("\ndisk\n  problem  slow\n"), "{plain}");
        assert!(plain.contains("-> buy another\n              sysctl -w x=1\n"), "{plain}");
        assert!(plain.ends_with("1 problem, 0 warnings, 0 notes, 1 ok\n"), "{plain}");
        let mut coloured = text(&findings(), true);
        assert_ne!(plain, coloured);
        for code in ["\x1b[1;31m", "\x1b[32m", "\x1b[1m", "\x1b[2m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(plain, coloured);
    }

    #[test]
    fn json_says_the_same() {
        let page: serde_json::Value = serde_json::from_str(&json(&findings())).unwrap();
        assert_eq!((page["problems"].as_u64(), page["ok"].as_u64()), (Some(1), Some(1)));
        let slow = &page["findings"][1];
        assert_eq!((&slow["severity"], &slow["check"]), (&"problem".into(), &"disk.sync".into()));
        assert_eq!(
            (slow["numbers"]["p99_ms"].as_f64(), slow["commands"][0].as_str()),
            (Some(1.5), Some("sysctl -w x=1"))
        );
    }
}
