//! What goes around a conversation query's filter: the order of its rows and which of them are sent (wire.md 3.6.3).

use std::cmp::Ordering;

use serde_json::Value;

use crate::error::{Code, Failure};
use crate::filter::{lookup, split_path};
use crate::time::from_date_object;

const DEFAULT_SORT: &str = "-lm,-createdAt";
const MOST_SORT_KEYS: usize = 8;

const DEFAULT_LIMIT: usize = 10;
const MOST_ROWS: usize = 1_000;

/// An order of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sort {
    keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq)]
struct Key {
    path: Vec<Box<str>>,
    descending: bool,
}

impl Sort {
    /// Reads `a,-b`, where minus means descending. Nothing given: the latest message first, then the latest made. 4310 for
    /// more than 8 keys.
    pub fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let text = text.filter(|text| !text.trim().is_empty()).unwrap_or(DEFAULT_SORT);
        let mut keys = Vec::new();
        for key in text.split(',').map(str::trim) {
            let (name, descending) = match key.strip_prefix('-') {
                Some(name) => (name, true),
                None => (key.strip_prefix('+').unwrap_or(key), false),
            };
            if name.is_empty() {
                continue;
            }
            if keys.len() == MOST_SORT_KEYS {
                let detail = format!("a query sorts by at most {MOST_SORT_KEYS} keys");
                return Err(Failure::because(Code::ConversationQueryFailed, detail));
            }
            keys.push(Key { path: split_path(name), descending });
        }
        Ok(Sort { keys })
    }

    /// A total order of rows: equal ones go by their id, so that pages by `skip` never overlap. What a row lacks comes
    /// before what others have.
    pub fn compare(&self, a: &Value, b: &Value) -> Ordering {
        for key in &self.keys {
            let order = compare_values(lookup(a, &key.path), lookup(b, &key.path));
            let order = if key.descending { order.reverse() } else { order };
            if order != Ordering::Equal {
                return order;
            }
        }
        compare_values(a.get("objectId"), b.get("objectId"))
    }
}

fn compare_values(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else { return a.is_some().cmp(&b.is_some()) };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        _ => match (from_date_object(a), from_date_object(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

/// Exact among whole numbers, which floats of 53 bits are not.
pub(crate) fn compare_numbers(a: &serde_json::Number, b: &serde_json::Number) -> Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            a.partial_cmp(&b).unwrap_or(Ordering::Equal)
        }
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Number(_) => 1,
        Value::String(_) => 2,
        Value::Object(_) if from_date_object(value).is_some() => 6,
        Value::Object(_) => 3,
        Value::Array(_) => 4,
        Value::Bool(_) => 5,
    }
}

/// Which of the sorted rows are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub skip: usize,
    /// 0: none at all, and nothing need be looked up.
    pub limit: usize,
}

impl Window {
    /// As sent: ten rows unless told otherwise, at most 1,000, and an explicit 0 is zero. Negative numbers count as absent.
    pub fn new(skip: Option<i32>, limit: Option<i32>) -> Self {
        let number = |n: i32| usize::try_from(n).ok();
        Window {
            skip: skip.and_then(number).unwrap_or(0),
            limit: limit.and_then(number).unwrap_or(DEFAULT_LIMIT).min(MOST_ROWS),
        }
    }

    /// Cuts sorted rows down to the window.
    pub fn cut<T>(&self, rows: Vec<T>) -> Vec<T> {
        rows.into_iter().skip(self.skip).take(self.limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::time::date_object;

    fn sorted(sort: &str, mut rows: Vec<Value>) -> Vec<String> {
        let sort = Sort::parse(Some(sort)).unwrap();
        rows.sort_by(|a, b| sort.compare(a, b));
        rows.iter().map(|row| row["objectId"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn several_keys_in_either_direction() {
        let row = |id: &str, a: i32, b: &str| json!({"objectId": id, "a": a, "in": {"b": b}});
        let rows = vec![row("1", 10, "x"), row("2", 9, "x"), row("3", 10, "y"), row("4", 10, "x")];
        assert_eq!(sorted("a,-in.b", rows.clone()), ["2", "3", "1", "4"]);
        assert_eq!(sorted("-a, +in.b", rows.clone()), ["1", "4", "3", "2"]);
        assert_eq!(sorted("nothing,,", rows), ["1", "2", "3", "4"]);
    }

    #[test]
    fn by_default_the_latest_message_comes_first_and_silence_last() {
        let row = |id: &str, lm: Option<i64>, made: &str| {
            let mut row = json!({"objectId": id, "createdAt": made});
            if let Some(lm) = lm {
                row["lm"] = date_object(lm);
            }
            row
        };
        let rows = vec![
            row("1", None, "2020"),
            row("2", Some(5), "2020"),
            row("3", None, "2021"),
            row("4", Some(900_000), "2020"),
        ];
        assert_eq!(sorted("", rows), ["4", "2", "3", "1"]);
        assert_eq!(Sort::parse(None), Sort::parse(Some(" ")));
        assert_eq!(Sort::parse(Some("a,a,a,a,a,a,a,a,a")).map_err(|f| f.code), Err(Code::ConversationQueryFailed));
    }

    #[test]
    fn limits_as_documented() {
        let window = |skip, limit| Window::new(skip, limit);
        assert_eq!(window(None, None), Window { skip: 0, limit: 10 });
        assert_eq!(window(Some(3), Some(0)), Window { skip: 3, limit: 0 });
        assert_eq!(window(Some(-3), Some(-1)), Window { skip: 0, limit: 10 });
        assert_eq!(window(None, Some(i32::MAX)).limit, 1_000);
        assert_eq!(window(Some(1), Some(2)).cut(vec![1, 2, 3, 4]), [2, 3]);
        assert_eq!(window(Some(i32::MAX), Some(2)).cut(vec![1]), [0; 0]);
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..3i64).prop_map(Value::from),
            (-3.0..3.0).prop_map(|n: f64| json!(n)),
            "[ab]{0,2}".prop_map(Value::from),
            (0..3i64).prop_map(date_object),
            Just(json!([1])),
            Just(json!({"x": 1})),
        ]
    }

    proptest! {
        /// `sort_by` panics on what is no total order.
        #[test]
        fn the_order_is_total(rows in prop::collection::vec(prop::option::of(value()), 0..12), descending: bool) {
            let rows: Vec<Value> = rows.into_iter().enumerate().map(|(id, value)| match value {
                Some(value) => json!({"objectId": id.to_string(), "k": value}),
                None => json!({"objectId": id.to_string()}),
            }).collect();
            let sort = Sort::parse(Some(if descending { "-k" } else { "k" })).unwrap();
            for a in &rows {
                for b in &rows {
                    prop_assert_eq!(sort.compare(a, b), sort.compare(b, a).reverse());
                    for c in &rows {
                        if sort.compare(a, b).is_le() && sort.compare(b, c).is_le() {
                            prop_assert!(sort.compare(a, c).is_le());
                        }
                    }
                }
            }
        }
    }
}
