//! The `where` of a conversation query: read once, then matched against rows (wire.md 3.6.3).
//!
//! Owns the operators and their meaning, and what an index can use of a filter. A row is what
//! `Conversation::to_query_json` makes, not compact. Must not know stores. Everything is bounded before it costs.

mod matching;
mod parse;

use serde_json::Value;

use crate::ids::{ClientId, ConvId};
use crate::time::{from_date_object, from_iso};

pub(crate) use matching::{lookup, split_path};

/// All of these must hold.
#[derive(Debug, Clone)]
pub struct Filter {
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
enum Condition {
    Field { path: Vec<Box<str>>, test: Test },
    And(Vec<Filter>),
    Or(Vec<Filter>),
}

#[derive(Debug, Clone)]
enum Test {
    Equal(Operand),
    NotEqual(Operand),
    Less(Operand),
    LessOrEqual(Operand),
    Greater(Operand),
    GreaterOrEqual(Operand),
    In(Vec<Operand>),
    NotIn(Vec<Operand>),
    Exists(bool),
    All(Vec<Operand>),
    Size(usize),
    Matches(regex::Regex),
}

/// A value of the filter, with the time that it says, if it is a date object: read once, not per row.
#[derive(Debug, Clone)]
struct Operand {
    value: Value,
    date: Option<i64>,
}

impl Operand {
    fn new(value: Value) -> Self {
        let date = from_date_object(&value);
        Operand { value, date }
    }
}

impl Filter {
    /// Whether there is no condition at all: the query is then for the caller's own conversations.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The conversations that have this member: what a query without conditions means.
    pub fn of_member(client: &ClientId) -> Self {
        let test = Test::Equal(Operand::new((**client).into()));
        Filter { conditions: vec![Condition::Field { path: split_path("m"), test }] }
    }

    /// Members that every match has, so that the conversations of any one of them hold them all; `None` where the filter
    /// names no member for certain.
    pub fn required_members(&self) -> Option<Vec<ClientId>> {
        let mut members = Vec::new();
        self.each_certain("m", &mut |test| match test {
            Test::Equal(Operand { value: Value::String(member), .. }) => members.push(member.as_str().into()),
            Test::Equal(Operand { value: Value::Array(all), .. }) => {
                members.extend(all.iter().filter_map(Value::as_str).map(ClientId::from));
            }
            Test::All(all) => members.extend(all.iter().filter_map(|one| one.value.as_str()).map(ClientId::from)),
            Test::In(one) if one.len() == 1 => {
                members.extend(one.iter().filter_map(|one| one.value.as_str()).map(ClientId::from));
            }
            _ => {}
        });
        members.sort_unstable();
        members.dedup();
        (!members.is_empty()).then_some(members)
    }

    /// The only ids that a match can have, in no order and each once; `None` where the filter does not say. What names no
    /// conversation is left out, so an empty list means that nothing matches.
    pub fn object_ids(&self) -> Option<Vec<ConvId>> {
        let mut narrowest: Option<Vec<ConvId>> = None;
        self.each_certain("objectId", &mut |test| {
            let among = match test {
                Test::Equal(one) => std::slice::from_ref(one),
                Test::In(several) => several,
                _ => return,
            };
            let ids = among.iter().filter_map(|one| one.value.as_str()).map(ConvId::parse);
            let mut ids: Vec<ConvId> = ids.filter(|id| *id != ConvId::Nowhere).collect();
            ids.sort_unstable();
            ids.dedup();
            if narrowest.as_ref().is_none_or(|before| ids.len() < before.len()) {
                narrowest = Some(ids);
            }
        });
        narrowest
    }

    /// Visits the tests of a top-level key that every match passes: those not under an `$or`.
    fn each_certain(&self, key: &str, visit: &mut dyn FnMut(&Test)) {
        for condition in &self.conditions {
            match condition {
                Condition::Field { path, test } if path.len() == 1 && &*path[0] == key => visit(test),
                Condition::And(all) => all.iter().for_each(|filter| filter.each_certain(key, visit)),
                Condition::Field { .. } | Condition::Or(_) => {}
            }
        }
    }
}

/// The time a row's value says: a date object, or text of the form that rows have for `createdAt` and `updatedAt`.
fn date_of(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => from_iso(text),
        value => from_date_object(value),
    }
}

#[cfg(test)]
mod tests;
