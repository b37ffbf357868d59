//! What the operators mean, on one row.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Condition, Filter, Operand, Test, date_of};
use crate::query::compare_numbers;

impl Filter {
    /// Whether a row passes all conditions.
    pub fn matches(&self, row: &Value) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::Field { path, test } => passes(lookup(row, path), test),
            Condition::And(all) => all.iter().all(|filter| filter.matches(row)),
            Condition::Or(any) => any.iter().any(|filter| filter.matches(row)),
        })
    }
}

/// `a.b` as its parts.
pub(crate) fn split_path(key: &str) -> Vec<Box<str>> {
    key.split('.').map(Box::from).collect()
}

/// The value that a path leads to through objects.
pub(crate) fn lookup<'a>(row: &'a Value, path: &[Box<str>]) -> Option<&'a Value> {
    path.iter().try_fold(row, |value, part| value.as_object()?.get(&**part))
}

fn passes(actual: Option<&Value>, test: &Test) -> bool {
    match test {
        Test::Equal(wanted) => equals(actual, wanted),
        Test::NotEqual(wanted) => !equals(actual, wanted),
        Test::Less(bound) => compares(actual, bound, Ordering::is_lt),
        Test::LessOrEqual(bound) => compares(actual, bound, Ordering::is_le),
        Test::Greater(bound) => compares(actual, bound, Ordering::is_gt),
        Test::GreaterOrEqual(bound) => compares(actual, bound, Ordering::is_ge),
        Test::In(wanted) => wanted.iter().any(|wanted| equals(actual, wanted)),
        Test::NotIn(wanted) => !wanted.iter().any(|wanted| equals(actual, wanted)),
        Test::Exists(wanted) => actual.is_some() == *wanted,
        // Nothing holds all of nothing: an empty list is a client's mistake, and must not mean every row.
        Test::All(wanted) => !wanted.is_empty() && wanted.iter().all(|wanted| equals(actual, wanted)),
        Test::Size(size) => actual.and_then(Value::as_array).is_some_and(|items| items.len() == *size),
        Test::Matches(regex) => some(actual, |value| value.as_str().is_some_and(|text| regex.is_match(text))),
    }
}

/// Whether the value, or for an array one of its items, is as asked.
fn some(actual: Option<&Value>, ask: impl Fn(&Value) -> bool) -> bool {
    match actual {
        Some(Value::Array(items)) => items.iter().any(ask),
        Some(value) => ask(value),
        None => false,
    }
}

/// Equal, or an array that contains it. Nothing at all equals `null`.
fn equals(actual: Option<&Value>, wanted: &Operand) -> bool {
    match actual {
        None => wanted.value.is_null(),
        Some(actual) if same(actual, wanted) => true,
        Some(Value::Array(items)) => items.iter().any(|item| same(item, wanted)),
        Some(_) => false,
    }
}

fn same(actual: &Value, wanted: &Operand) -> bool {
    match (actual, &wanted.value) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b).is_eq(),
        _ if wanted.date.is_some() => date_of(actual) == wanted.date,
        (actual, wanted) => actual == wanted,
    }
}

/// Only like things compare: numbers, texts, and dates in either of their forms.
fn compares(actual: Option<&Value>, bound: &Operand, holds: fn(Ordering) -> bool) -> bool {
    some(actual, |actual| {
        let order = match (actual, &bound.value) {
            (Value::Number(a), Value::Number(b)) => Some(compare_numbers(a, b)),
            (Value::String(a), Value::String(b)) => Some(a.as_str().cmp(b)),
            _ => bound.date.and_then(|bound| Some(date_of(actual)?.cmp(&bound))),
        };
        order.is_some_and(holds)
    })
}
