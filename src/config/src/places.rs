//! Where a key of a TOML text stands, or belongs.
//!
//! Owns the forms that a table may have: a header, braces, dotted keys, and these inside each other. Must not know how a
//! text is changed (`edit.rs`).

use std::ops::Range;

use toml_edit::{InlineTable, Item, Key, Table, Value};

/// Why a text cannot be edited, in words that follow a colon.
pub(crate) type Stuck = String;

/// A table that has keys of its own, by a header or in braces.
pub(crate) struct Body<'d> {
    pub(crate) table: Option<&'d Table>,
    /// Whether it has a header of its own. Without, keys cannot be added to it.
    pub(crate) explicit: bool,
    pub(crate) header: Range<usize>,
    /// With its braces, where it is an inline table.
    pub(crate) braces: Option<Range<usize>>,
    /// In the order of the text.
    pub(crate) entries: Vec<Entry<'d>>,
}

/// A key, dotted or not, and its value.
#[derive(Clone)]
pub(crate) struct Entry<'d> {
    pub(crate) names: Vec<&'d str>,
    /// Where each part of the key stands; of all but the last, where it stood first.
    pub(crate) keys: Vec<Range<usize>>,
    pub(crate) value: Range<usize>,
    pub(crate) inline: Option<&'d InlineTable>,
    /// How many parts of the key a key beside it begins with.
    pub(crate) shared: usize,
}

impl Entry<'_> {
    pub(crate) fn leaf(&self) -> Range<usize> {
        self.keys.last().cloned().unwrap_or_default()
    }
}

impl<'d> Body<'d> {
    pub(crate) fn of(table: &'d Table) -> Self {
        // Keys through a dotted table are those of the table around it.
        let entries = if table.is_dotted() { Vec::new() } else { entries(table.get_values()) };
        let explicit = !table.is_implicit() && !table.is_dotted();
        Body { table: Some(table), explicit, header: table.span().unwrap_or_default(), braces: None, entries }
    }

    pub(crate) fn of_inline(table: &'d InlineTable) -> Self {
        let span = table.span().unwrap_or_default();
        Body {
            table: None,
            explicit: true,
            header: span.clone(),
            braces: Some(span),
            entries: entries(table.get_values()),
        }
    }
}

fn entries<'d>(values: Vec<(Vec<&'d Key>, &'d Value)>) -> Vec<Entry<'d>> {
    let entry = |(keys, value): (Vec<&'d Key>, &'d Value)| Entry {
        names: keys.iter().map(|key| key.get()).collect(),
        keys: keys.iter().map(|key| key.span().unwrap_or_default()).collect(),
        value: value.span().unwrap_or_default(),
        inline: value.as_inline_table(),
        shared: 0,
    };
    let mut entries: Vec<Entry<'d>> = values.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.value.start);
    entries
}

/// Where a key stands or belongs.
pub(crate) enum Place<'d> {
    Value {
        body: Body<'d>,
        at: usize,
    },
    /// In this table, which has no such key.
    InTable(Body<'d>),
    /// Its table is said by dotted keys, of which this is the last.
    Beside {
        body: Body<'d>,
        at: usize,
    },
    /// The text has no such table.
    Nowhere,
}

pub(crate) fn find<'d>(mut body: Body<'d>, path: &[String]) -> Result<Place<'d>, Stuck> {
    let Some((_, parent)) = path.split_last() else { return Err("a key without a name".into()) };
    if let Some(at) = body.entries.iter().position(|entry| entry.names == path) {
        return Ok(Place::Value { body, at });
    }
    let leads = |entry: &&Entry<'d>| entry.names.len() < path.len() && path.starts_with_names(&entry.names);
    if let Some(entry) = body.entries.iter().find(leads) {
        let Some(inline) = entry.inline else { return Err("something else stands in its place".into()) };
        return match find(Body::of_inline(inline), &path[entry.names.len()..])? {
            Place::Nowhere => Err("its table would have to be made inside another one".into()),
            place => Ok(place),
        };
    }
    if !parent.is_empty() {
        let beside = |entry: &Entry<'d>| {
            entry.names.len() > parent.len() && path.starts_with_names(&entry.names[..parent.len()])
        };
        if let Some(at) = body.entries.iter().rposition(beside) {
            body.entries[at].shared = parent.len();
            return Ok(Place::Beside { body, at });
        }
        let child = body.table.and_then(|table| table.get(&path[0]));
        return match child {
            Some(Item::Table(child)) => find(Body::of(child), &path[1..]),
            _ => Ok(Place::Nowhere),
        };
    }
    Ok(if body.explicit { Place::InTable(body) } else { Place::Nowhere })
}

trait StartsWithNames {
    fn starts_with_names(&self, names: &[&str]) -> bool;
}

impl StartsWithNames for [String] {
    fn starts_with_names(&self, names: &[&str]) -> bool {
        self.len() >= names.len() && self.iter().zip(names).all(|(one, other)| one == other)
    }
}

pub(crate) fn first_table_with_keys<'d>(table: &'d Table) -> Option<Body<'d>> {
    let tables = table.iter().filter_map(|(_, item)| item.as_table());
    let mut bodies: Vec<Body<'d>> = tables
        .filter_map(|table| {
            let body = Body::of(table);
            if body.explicit && !body.entries.is_empty() { Some(body) } else { first_table_with_keys(table) }
        })
        .collect();
    bodies.sort_by_key(|body| body.header.start);
    bodies.into_iter().next()
}
