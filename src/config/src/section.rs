//! Reading one table of the file: keys by name, defaults from the key table, complaints with the place.
//!
//! Owns unknown keys and wrong values, whatever the section. Must not know what a value is for.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Report, Span};
use crate::form::{Form, Wrong};
use crate::keys::{self, Fallback, Key};
use crate::value::{FromValue, kind};
use crate::words::closest;

/// A table and where it stands. An absent one reads as all defaults.
#[derive(Clone)]
pub(crate) struct Section<'d> {
    /// In the key table.
    kind: &'static str,
    /// For people: `net`, `stages.route`, `app[2]`.
    pub(crate) place: String,
    /// Its header's name.
    pub(crate) span: Option<Span>,
    table: Option<&'d DeTable<'d>>,
    /// It stands in the built-in file, so that nothing in it has a place in this one.
    builtin: bool,
}

/// A key with its value, as they stand in the file.
#[derive(Clone)]
pub(crate) struct Entry<'d> {
    pub(crate) name: &'d str,
    pub(crate) name_span: Span,
    pub(crate) value: &'d DeValue<'d>,
    pub(crate) span: Span,
}

impl<'d> Entry<'d> {
    fn new((name, value): (&'d Spanned<Cow<'d, str>>, &'d Spanned<DeValue<'d>>)) -> Self {
        Entry { name: name.get_ref(), name_span: name.span(), value: value.get_ref(), span: value.span() }
    }
}

/// A table's entries in the order of the file.
pub(crate) fn entries<'d>(table: &'d DeTable<'d>) -> Vec<Entry<'d>> {
    let mut entries: Vec<_> = table.iter().map(Entry::new).collect();
    entries.sort_by_key(|entry| entry.name_span.start);
    entries
}

impl<'d> Section<'d> {
    pub(crate) fn absent(kind: &'static str, place: impl Into<String>) -> Self {
        Section { kind, place: place.into(), span: None, table: None, builtin: false }
    }

    pub(crate) fn new(kind: &'static str, place: impl Into<String>, span: Span, table: &'d DeTable<'d>) -> Self {
        Section { kind, place: place.into(), span: Some(span), table: Some(table), builtin: false }
    }

    /// The section of an entry, which must be a table.
    pub(crate) fn of(kind: &'static str, place: impl Into<String>, entry: &Entry<'d>, report: &mut Report) -> Self {
        let place = place.into();
        match entry.value {
            DeValue::Table(table) => Section::new(kind, place, entry.name_span.clone(), table),
            other => {
                let reason = format!("this is {}", self::kind(other));
                let help = match other {
                    DeValue::Array(_) => format!("one table is enough: write [{place}], not [[{place}]]"),
                    _ => format!("write a line [{place}] and its keys below it"),
                };
                report.error(format!("`{place}` must be a table")).at(entry.span.clone(), reason).help(help);
                Section { span: Some(entry.name_span.clone()), ..Section::absent(kind, place) }
            }
        }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<Entry<'d>> {
        let (name, value) = self.table?.get_key_value(name)?;
        Some(Entry::new((name, value)))
    }

    pub(crate) fn builtin(self) -> Self {
        Section { span: None, builtin: true, ..self }
    }

    /// Where a key's value stands, or, where it is left out, the header.
    pub(crate) fn span_of(&self, name: &str) -> Option<Span> {
        self.entry(name).filter(|_| !self.builtin).map(|entry| entry.span).or_else(|| self.span.clone())
    }

    /// A key that has a default value.
    pub(crate) fn value<T: FromValue>(&self, name: &str, report: &mut Report) -> T {
        let key = self.key(name);
        let fallback = || match key.fallback {
            Fallback::Value(text) => default(text, &key.form),
            _ => None,
        };
        let value = self.read(key, report).or_else(fallback);
        value.expect("the key table gives this key a default that reads back: tests/load.rs reads them all")
    }

    /// A key that may be absent. One that must not be is complained of.
    pub(crate) fn optional<T: FromValue>(&self, name: &str, report: &mut Report) -> Option<T> {
        let key = self.key(name);
        if self.table.is_some()
            && self.entry(name).is_none()
            && matches!(key.fallback, Fallback::Required)
            && !self.misspelled(name)
            && let Some(span) = &self.span
        {
            let title = format!("`{}` lacks `{name}`", self.place);
            let help = match self.kind {
                "app" => "`tidegate app new` prints a whole [[app]] table with fresh keys".to_owned(),
                _ => format!("add `{name} = {}`: {}", key.form.example(), lower_first(key.meaning)),
            };
            report.error(title).at(span.clone(), format!("no `{name}` here")).help(help);
        }
        self.read(key, report)
    }

    fn key(&self, name: &str) -> &'static Key {
        keys::find(self.kind, name).expect("the loader asks for keys of the key table only")
    }

    fn read<T: FromValue>(&self, key: &'static Key, report: &mut Report) -> Option<T> {
        let entry = self.entry(key.name)?;
        match T::from_value(entry.value, &key.form) {
            Ok(value) => Some(value),
            Err(wrong) => {
                complain(report, &self.place, key, &entry, wrong);
                None
            }
        }
    }

    /// Whether an unknown key of the table probably means this one.
    fn misspelled(&self, name: &str) -> bool {
        let unknown =
            self.table.into_iter().flat_map(entries).filter(|entry| keys::find(self.kind, entry.name).is_none());
        unknown.into_iter().any(|entry| self.near(entry.name) == Some(name))
    }

    fn near(&self, name: &str) -> Option<&'static str> {
        closest(name, keys::of(self.kind).map(|key| key.name))
    }

    /// Complains of each key that the section does not have.
    pub(crate) fn refuse_unknown(&self, report: &mut Report) {
        for entry in self.table.map(entries).unwrap_or_default() {
            if keys::find(self.kind, entry.name).is_none() {
                self.unknown(&entry, report);
            }
        }
    }

    fn unknown(&self, entry: &Entry<'_>, report: &mut Report) {
        let place = &self.place;
        let near = self.near(entry.name);
        let elsewhere: Vec<_> = keys::KEYS.iter().filter(|key| key.name == entry.name).collect();
        let (reason, help) = match (near, elsewhere.first()) {
            (Some(near), _) => ("unknown key".to_owned(), format!("did you mean `{near}`?")),
            (None, Some(key)) => {
                let header = keys::SECTIONS.iter().find(|s| s.name == key.section).map_or(key.section, |s| s.header);
                ("not a key of this table".to_owned(), format!("`{}` belongs to {header}", entry.name))
            }
            (None, None) => {
                let known: Vec<_> = keys::of(self.kind).map(|key| key.name).collect();
                ("unknown key".to_owned(), format!("the keys of `{place}` are {}", known.join(", ")))
            }
        };
        report.error(format!("`{place}` has no key `{}`", entry.name)).at(entry.name_span.clone(), reason).help(help);
    }
}

/// The one shape of complaint for a value that is not of its form.
fn complain(report: &mut Report, place: &str, key: &Key, entry: &Entry<'_>, mut wrong: Wrong) {
    let more = std::mem::take(&mut wrong.more);
    let in_list = wrong.span.is_some();
    // What a secret was probably meant to be is a secret, too.
    let hidden = report.shown(&entry.span).starts_with('*');
    let help = match (wrong.instead.filter(|_| !hidden), &key.fallback) {
        (Some(instead), _) if in_list => format!("write `{instead}`"),
        (Some(instead), _) => format!("write `{} = {instead}`", key.name),
        (None, Fallback::Value(default)) => format!("write, for example, `{} = {default}`, the default", key.name),
        (None, _) if place.starts_with("app") && key.name.ends_with("key") => {
            "`tidegate app new` prints fresh ones".to_owned()
        }
        (None, _) if key.name == "secret" => "write a long random text that nobody can guess".to_owned(),
        (None, _) if matches!(key.form, Form::Token { .. }) => {
            "write a long random text that nobody can guess: `openssl rand -hex 24` prints one".to_owned()
        }
        (None, _) => format!("write, for example, `{} = {}`", key.name, key.form.example()),
    };
    report
        .error(format!("`{place}.{}` takes {}", key.name, key.form.describe()))
        .at(wrong.span.unwrap_or_else(|| entry.span.clone()), wrong.reason)
        .help(help);
    for wrong in more {
        complain(report, place, key, entry, wrong);
    }
}

/// A default of the key table, which is TOML.
pub(crate) fn default<T: FromValue>(text: &str, form: &Form) -> Option<T> {
    T::from_value(DeValue::parse(text).ok()?.get_ref(), form).ok()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let (first, rest) = (chars.next(), chars.as_str());
    // An abbreviation stays as it is.
    match first {
        Some(first) if !rest.starts_with(|c: char| c.is_uppercase()) => first.to_lowercase().collect::<String>() + rest,
        _ => text.into(),
    }
}
