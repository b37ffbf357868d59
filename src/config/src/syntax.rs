//! What is no TOML, in words for people who write a file now and then.
//!
//! Owns the parser's errors: one a line, the commonest with help of their own. Must not know keys.

use std::collections::HashSet;

use toml::de::{DeTable, DeValue, Error};

use crate::diagnostic::{Report, Span};
use crate::section::entries;

pub(crate) fn explain(errors: &[Error], text: &str, root: &DeTable<'_>, report: &mut Report) {
    let mut lines = HashSet::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        // One slip often makes several errors; the first of a line says it.
        if !lines.insert(report.line(span.start)) {
            continue;
        }
        let there = text.get(span.clone()).unwrap_or_default();
        explain_one(error.message(), there, span, text, root, report);
    }
}

fn explain_one(message: &str, there: &str, span: Span, text: &str, root: &DeTable<'_>, report: &mut Report) {
    let bare = there.starts_with(|c: char| c.is_alphabetic());
    let (what, expected) = message.split_once(", ").unwrap_or((message, "here"));
    match what {
        "duplicate key" => {
            let complaint = report.error(format!("`{}` stands twice", there.escape_debug()));
            complaint.at(span.clone(), "the second time").help("keep one of the two, with all that belongs to it");
            if let Some(first) = before(root, there, span.start).or_else(|| header_before(text, there, span.start)) {
                complaint.see(first, "the first time");
            }
        }
        "string values must be quoted" if there.trim().is_empty() => {
            let help = "write a value, or take the line out: then the default holds";
            report.error("a key without a value").at(span, "nothing here").help(help);
        }
        // A word that begins as `nan`, `inf`, `true` or `false` do is taken for one of them.
        "string values must be quoted" => unquoted(text, address(text, &span).unwrap_or(span), report),
        "invalid float" | "invalid boolean" if bare => unquoted(text, span, report),
        "invalid basic string" | "invalid literal string" if expected.contains(['"', '\'']) => {
            report.error("a text that does not end").at(span, "no quote to end it").help("put a quote behind the text");
        }
        "key with no value" => {
            let help = "join them with `=`, as in `key = value`";
            report.error("a key without a value").at(span, expected).help(help);
        }
        "unclosed table" | "unclosed array table" => {
            let help = "a header stands alone on its line: [table] or [[list of tables]]";
            report.error("a table's header that does not end").at(span, expected).help(help);
        }
        _ => {
            if let Some(word) = address(text, &span) {
                return unquoted(text, word, report);
            }
            let help = "a line is `key = value`, `[table]` or `[[list of tables]]`; `#` begins a comment";
            report.error(format!("not TOML: {}", what.escape_debug())).at(span, expected.replace('\n', " ")).help(help);
        }
    }
}

/// The value around a place, where it is one word that is no number, date or list: mostly an address without quotes, of
/// which the parser takes the beginning for a number.
fn address(text: &str, place: &Span) -> Option<Span> {
    let start = text.get(..place.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(start..)?.lines().next()?;
    let equals = line.find('=').filter(|at| start + at < place.start)?;
    let behind = line[equals + 1..].split('#').next()?;
    let value = behind.trim();
    let one_word = !value.contains(|c: char| c.is_whitespace() || "\"',={}".contains(c));
    let looks_so = if value.starts_with('[') {
        value.contains("]:")
    } else {
        value.contains(':') || value.matches('.').count() > 1
    };
    let from = start + equals + 1 + (behind.len() - behind.trim_start().len());
    (one_word && looks_so).then(|| from..from + value.len())
}

fn unquoted(text: &str, span: Span, report: &mut Report) {
    let there = text.get(span.clone()).unwrap_or_default();
    let help = match there.contains(char::is_whitespace) {
        true => "write one number, or a text between quotes".to_owned(),
        // A secret is not said here, either.
        false if report.shown(&span) != there => "write it between quotes".to_owned(),
        false => format!("write \"{}\"", there.escape_debug()),
    };
    report.error("a value without quotes").at(span, "neither a number nor `true` or `false`").help(help);
}

/// Where a key of this name stood last before a place.
fn before(table: &DeTable<'_>, name: &str, place: usize) -> Option<Span> {
    let mut best: Option<Span> = None;
    for entry in entries(table) {
        let inner = match entry.value {
            DeValue::Table(table) => before(table, name, place),
            DeValue::Array(array) => {
                let tables = array.iter().filter_map(|element| element.get_ref().as_table());
                tables.filter_map(|table| before(table, name, place)).max_by_key(|span| span.start)
            }
            _ => None,
        };
        let own = (entry.name == name && entry.name_span.start < place).then_some(entry.name_span);
        best = [best, own, inner].into_iter().flatten().max_by_key(|span| span.start);
    }
    best
}

/// Where a table of this name had its header last before a place.
fn header_before(text: &str, name: &str, place: usize) -> Option<Span> {
    let mut at = 0;
    let mut found = None;
    for line in text.get(..place)?.split_inclusive('\n') {
        if line.trim_start().starts_with('[')
            && let Some(start) = line.find(name)
        {
            found = Some(at + start..at + start + name.len());
        }
        at += line.len();
    }
    found
}
