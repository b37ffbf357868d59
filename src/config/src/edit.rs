//! One key of a TOML text set, added or taken out, and not a byte changed beside it.
//!
//! `toml_edit` says where things stand; the text is cut at these places rather than written anew, because writing anew
//! makes line ends, byte order marks, and keys out of order its own. Must not know which keys there are.

use std::ops::Range;

use toml_edit::Document;

use crate::places::{Body, Entry, Place, Stuck, find, first_table_with_keys};
use crate::settings;

/// The text in which a key has this value, wherever and in whatever form its table stands.
pub(crate) fn set(text: &str, path: &[String], value: &settings::Value) -> Result<String, Stuck> {
    let document = parse(text)?;
    match find(Body::of(document.as_table()), path)? {
        Place::Value { body, at } => {
            let span = body.entries[at].value.clone();
            let new = respell(&text[span.clone()], value);
            Ok(splice(text, span, &new))
        }
        Place::InTable(body) if body.braces.is_some() => {
            Ok(add_inline(text, &body, None, &path[path.len() - 1], value))
        }
        Place::InTable(body) => {
            let style = Style::of(text, &body, &document);
            let after = body.entries.last().map_or(body.header.end, |entry| entry.value.end);
            Ok(add_line(text, after, &style.line(&path[path.len() - 1], value)))
        }
        Place::Beside { body, at } => {
            // `stages.route.workers` beside `stages.route.batch`: all but the last key, as they are spelled there.
            let entry = &body.entries[at];
            let mut name: String =
                entry.keys[..entry.shared].iter().map(|key| format!("{}.", &text[key.clone()])).collect();
            name.push_str(&path[path.len() - 1]);
            if body.braces.is_some() {
                return Ok(add_inline(text, &body, Some(at), &name, value));
            }
            let style = Style { column: column(text, &body), ..Style::like(text, entry) };
            Ok(add_line(text, entry.value.end, &style.line(&name, value)))
        }
        Place::Nowhere => {
            let (key, table) = path.split_last().ok_or("a key without a name")?;
            let line = format!("{key} = {}", value.toml());
            Ok(append(text, &format!("[{}]{}{line}", table.join("."), newline(text))))
        }
    }
}

/// The text without a key. The comment behind it stays.
pub(crate) fn remove(text: &str, path: &[String]) -> Result<String, Stuck> {
    let document = parse(text)?;
    let Place::Value { body, at } = find(Body::of(document.as_table()), path)? else { return Ok(text.to_owned()) };
    let entry = &body.entries[at];
    let value = entry.value.clone();
    if let [.., parent, _] = entry.keys.as_slice() {
        let owners = entry.names.len() - 1;
        let shares = |other: &Entry| other.names.starts_with(&entry.names[..owners]);
        if body.entries.iter().filter(|other| shares(other)).count() == 1 {
            // The only key that says that there is such a table at all.
            return Ok(splice(text, parent.end..value.end, " = {}"));
        }
    }
    match &body.braces {
        None => Ok(remove_line(text, line_start(text, entry.leaf().start), value.end)),
        Some(braces) => Ok(remove_inline(text, braces, &body, at)),
    }
}

/// The text with these lines at its end, an empty line before them.
pub(crate) fn append(text: &str, lines: &str) -> String {
    let end = newline(text);
    if text.is_empty() || text.ends_with('\n') || text == "\u{feff}" {
        let gap = if text.trim_start_matches('\u{feff}').is_empty() { "" } else { end };
        return format!("{text}{gap}{lines}{end}");
    }
    // As its last line did not end, nor does the new one.
    format!("{text}{end}{end}{lines}")
}

/// How the lines of a text end.
pub(crate) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

fn parse(text: &str) -> Result<Document<&str>, Stuck> {
    Document::parse(text).map_err(|error| format!("it is no TOML: {}", error.message()))
}

/// How the lines of a table are written.
struct Style {
    indent: String,
    /// Where their `=` stand below each other: how many characters before.
    column: Option<usize>,
    before: String,
    after: String,
}

impl Style {
    /// As the table's own lines are, or where it has none, those of the first table that has.
    fn of(text: &str, body: &Body<'_>, document: &Document<&str>) -> Style {
        if let Some(entry) = body.entries.last() {
            return Style { column: column(text, body), ..Style::like(text, entry) };
        }
        let own = indent(text, body.header.start);
        let Some(other) = first_table_with_keys(document.as_table()) else {
            return Style { indent: own.into(), column: None, before: " ".into(), after: " ".into() };
        };
        let style = Style::like(text, &other.entries[0]);
        let deeper = style.indent.strip_prefix(indent(text, other.header.start)).unwrap_or_default();
        Style { indent: format!("{own}{deeper}"), ..style }
    }

    fn like(text: &str, entry: &Entry<'_>) -> Style {
        let (before, after) = around_equals(text, entry);
        // More than one space aligns that line with others.
        let short = |space: &str| if space.starts_with(' ') { " ".to_owned() } else { space.to_owned() };
        Style {
            indent: indent(text, entry.leaf().start).to_owned(),
            column: None,
            before: short(before),
            after: short(after),
        }
    }

    fn line(&self, name: &str, value: &settings::Value) -> String {
        let start = format!("{}{name}", self.indent);
        let before = match self.column {
            Some(column) => " ".repeat(column.saturating_sub(start.chars().count()).max(1)),
            None => self.before.clone(),
        };
        format!("{start}{before}={}{}", self.after, value.toml())
    }
}

/// Where all `=` of a table stand, if they are aligned.
fn column(text: &str, body: &Body<'_>) -> Option<usize> {
    let equals = |entry: &Entry<'_>| {
        let (before, _) = around_equals(text, entry);
        text[line_start(text, entry.leaf().start)..entry.leaf().end].chars().count() + before.chars().count()
    };
    let first = equals(body.entries.first()?);
    let padded = body.entries.iter().any(|entry| around_equals(text, entry).0.len() > 1);
    (padded && body.entries.len() > 1 && body.entries.iter().all(|entry| equals(entry) == first)).then_some(first)
}

/// The blanks before and after a key's `=`.
fn around_equals<'t>(text: &'t str, entry: &Entry<'_>) -> (&'t str, &'t str) {
    text.get(entry.leaf().end..entry.value.start).and_then(|between| between.split_once('=')).unwrap_or((" ", " "))
}

/// Adds a line behind the one that holds this place.
fn add_line(text: &str, place: usize, line: &str) -> String {
    let end = newline(text);
    match text[place..].find('\n') {
        Some(at) => {
            let at = place + at + 1;
            splice(text, at..at, &format!("{line}{end}"))
        }
        // The last line does not end, and so will the new one not.
        None => format!("{text}{end}{line}"),
    }
}

/// Takes out the lines from one place to another but for a comment that stands behind.
fn remove_line(text: &str, start: usize, end: usize) -> String {
    let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    let behind = text[end..line_end].trim_start_matches([' ', '\t', ',']);
    if behind.starts_with('#') {
        let start = start + indent(text, start).len();
        return splice(text, start..line_end - behind.len(), "");
    }
    // Where the last line does not end, the one before must not either.
    let open = line_end == text.len() && !text.ends_with('\n');
    let start = if open { text[..start].trim_end_matches('\n').trim_end_matches('\r').len() } else { start };
    splice(text, start..line_end, "")
}

/// Adds a key to a table in braces: behind one of its keys, or the last.
fn add_inline(text: &str, body: &Body<'_>, behind: Option<usize>, name: &str, value: &settings::Value) -> String {
    let braces = body.braces.clone().unwrap_or_default();
    let value = value.toml();
    let Some(entry) = behind.map(|at| &body.entries[at]).or(body.entries.last()) else {
        let inside = braces.start + 1..braces.end - 1;
        return match text[inside.clone()].trim_matches([' ', '\t']).is_empty() {
            true => splice(text, inside, &format!(" {name} = {value} ")),
            false => splice(text, inside.start..inside.start, &format!(" {name} = {value}")),
        };
    };
    let (before, after) = around_equals(text, entry);
    let tight = before.is_empty() && after.is_empty();
    let pair = if tight { format!("{name}={value}") } else { format!("{name} = {value}") };
    let end = entry.value.end;
    let start = line_start(text, entry.leaf().start);
    let own_line = start > braces.start && !text[start..entry.leaf().start].contains([',', '{']);
    let separator = skip_blanks(text, end);
    let comma = text[separator..].starts_with(',');
    let line_end = if comma { rest_of_line(text, separator + 1) } else { rest_of_line(text, end) };
    match line_end {
        // One key a line.
        Some(line_end) if own_line => {
            let indent = indent(text, start);
            let line = format!("{indent}{pair}{}{}", if comma { "," } else { "" }, newline(text));
            let text = splice(text, line_end..line_end, &line);
            if comma { text } else { splice(&text, end..end, ",") }
        }
        _ => splice(text, end..end, &format!(",{}{pair}", if tight { "" } else { " " })),
    }
}

fn remove_inline(text: &str, braces: &Range<usize>, body: &Body<'_>, at: usize) -> String {
    let value = &body.entries[at].value;
    let before = at.checked_sub(1).map(|at| body.entries[at].value.end);
    let start = match before {
        Some(end) => skip_blanks(text, skip_blanks(text, end) + 1),
        None => skip_blanks(text, braces.start + 1),
    };
    let separator = skip_blanks(text, value.end);
    let comma = text[separator..].starts_with(',');
    let line = line_start(text, start);
    let alone = line > braces.start && text[line..start].trim().is_empty();
    if alone && rest_of_line(text, if comma { separator + 1 } else { value.end }).is_some() {
        return remove_line(text, line, value.end);
    }
    match before {
        Some(end) => splice(text, end..value.end, ""),
        None if comma => splice(text, start..skip_blanks(text, separator + 1), ""),
        None if text[braces.clone()].contains(['\n', '#']) => splice(text, start..value.end, ""),
        None => splice(text, braces.clone(), "{}"),
    }
}

/// Behind blanks, line ends and comments.
fn skip_blanks(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        at = text.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        if !text[at..].starts_with('#') {
            return at;
        }
        at = text[at..].find('\n').map_or(text.len(), |end| at + end);
    }
}

/// Behind the end of a line on which nothing follows but a comment.
fn rest_of_line(text: &str, at: usize) -> Option<usize> {
    let end = text[at..].find('\n').map(|end| at + end + 1)?;
    let rest = text[at..end].trim();
    (rest.is_empty() || rest.starts_with('#')).then_some(end)
}

/// Where the line of a place starts, behind a byte order mark.
fn line_start(text: &str, at: usize) -> usize {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    if start == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { start }
}

/// The blanks that the line of a place starts with.
fn indent(text: &str, at: usize) -> &str {
    let start = line_start(text, at);
    let length = text[start..].len() - text[start..].trim_start_matches([' ', '\t']).len();
    &text[start..start + length]
}

/// A value, between quotes of the kind that the old one has.
fn respell(old: &str, new: &settings::Value) -> String {
    match new {
        settings::Value::Text(text)
            if old.starts_with('\'') && !text.contains(|c: char| c == '\'' || c.is_control()) =>
        {
            format!("'{text}'")
        }
        new => new.toml(),
    }
}

fn splice(text: &str, place: Range<usize>, new: &str) -> String {
    let mut out = text.to_owned();
    out.replace_range(place, new);
    out
}
