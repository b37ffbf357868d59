//! Changing attributes (wire.md 3.6.4): plain and dotted keys, `null`, and the SDKs' `__op` objects.
//!
//! An update is all or nothing: it works on a copy, and a conversation that refuses it is as before.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use super::start::read_attributes;
use super::{Conversation, RESERVED, check_attributes};
use crate::error::{Code, Failure};
use crate::ids::Millis;

/// What an update did, for reply and notices.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub updated: Millis,
    /// As sent.
    pub attr: Box<str>,
    /// JSON: the resulting values of the top-level keys touched, nested; a key that is gone is left out.
    pub modified: Box<str>,
}

impl Conversation {
    /// Changes attributes on behalf of `by`. Fails, checked in this order, with 4309, 4307 (see `may_update`) and
    /// 4306 (not a JSON object, a reserved or impossible key, an operation that does not fit the value, too large).
    pub fn update(&mut self, by: &str, attr: Option<&str>, is_joined: bool, now: Millis) -> Result<Update, Failure> {
        self.may_update(by, is_joined)?;
        let attr = attr.ok_or_else(|| wrong("an update needs attributes"))?;
        let mut changed = self.attributes.clone();
        let mut touched = BTreeSet::new();
        for (key, value) in read_attributes(attr)? {
            touched.insert(apply(&mut changed, &key, value)?);
        }
        check_attributes(&changed)?;
        let modified: Map<String, Value> =
            touched.into_iter().filter_map(|key| Some((key.clone(), changed.get(&key)?.clone()))).collect();
        self.attributes = changed;
        self.touch(now);
        Ok(Update { updated: self.updated, attr: attr.into(), modified: Value::Object(modified).to_string().into() })
    }
}

fn wrong(detail: impl Into<Box<str>>) -> Failure {
    Failure::because(Code::ConversationUpdateFailed, detail)
}

/// Applies one entry; gives the top-level key that it touched.
fn apply(attributes: &mut Map<String, Value>, key: &str, value: Value) -> Result<String, Failure> {
    let path: Vec<&str> = key.split('.').collect();
    let (last, way) = path.split_last().ok_or_else(|| wrong("an empty key"))?;
    if path.iter().any(|part| part.is_empty()) {
        return Err(wrong(format!("the key {key:?} has an empty part")));
    }
    // Checked here as well as in the result, because deleting a reserved key leaves no trace.
    if RESERVED.contains(&path[0]) {
        return Err(wrong(format!("the key {} is reserved", path[0])));
    }
    let operation = Operation::read(key, value)?;
    let mut place = attributes;
    for part in way {
        let gone = place.get(*part).is_none_or(Value::is_null);
        if gone && matches!(operation, Operation::Delete) {
            return Ok(path[0].to_owned());
        }
        let next = place.entry(*part).or_insert(Value::Null);
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        place = next.as_object_mut().ok_or_else(|| wrong(format!("{part} in {key:?} is not an object")))?;
    }
    match operation {
        Operation::Delete => {
            place.remove(*last);
        }
        operation => {
            let old = place.remove(*last).unwrap_or(Value::Null);
            place.insert((*last).to_owned(), operation.result(key, old)?);
        }
    }
    Ok(path[0].to_owned())
}

enum Operation {
    Set(Value),
    Delete,
    Add(Vec<Value>),
    AddUnique(Vec<Value>),
    Remove(Vec<Value>),
    Increment(Number),
}

impl Operation {
    fn read(key: &str, value: Value) -> Result<Self, Failure> {
        let mut fields = match value {
            Value::Null => return Ok(Operation::Delete),
            Value::Object(fields) if fields.contains_key("__op") => fields,
            value => return Ok(Operation::Set(value)),
        };
        let objects = match fields.remove("objects") {
            Some(Value::Array(objects)) => Some(objects),
            _ => None,
        };
        let amount = match fields.remove("amount") {
            Some(Value::Number(amount)) => Some(amount),
            _ => None,
        };
        let need_objects = || wrong(format!("the operation on {key:?} needs an array \"objects\""));
        match fields.get("__op").and_then(Value::as_str) {
            Some("Delete") => Ok(Operation::Delete),
            Some("Add") => objects.map(Operation::Add).ok_or_else(need_objects),
            Some("AddUnique") => objects.map(Operation::AddUnique).ok_or_else(need_objects),
            Some("Remove") => objects.map(Operation::Remove).ok_or_else(need_objects),
            Some("Increment") => amount
                .map(Operation::Increment)
                .ok_or_else(|| wrong(format!("the operation on {key:?} needs a number \"amount\""))),
            _ => {
                Err(wrong(format!("the operation on {key:?} is not one of Delete, Add, AddUnique, Remove, Increment")))
            }
        }
    }

    /// The value that an operation makes of an old one; `Null` stands for none.
    fn result(self, key: &str, old: Value) -> Result<Value, Failure> {
        let list = |old| match old {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => Ok(items),
            _ => Err(wrong(format!("{key:?} is not an array"))),
        };
        Ok(match self {
            Operation::Set(value) => value,
            Operation::Delete => Value::Null,
            Operation::Add(objects) => {
                let mut items = list(old)?;
                items.extend(objects);
                Value::Array(items)
            }
            Operation::AddUnique(objects) => {
                let mut items = list(old)?;
                for object in objects {
                    if !items.contains(&object) {
                        items.push(object);
                    }
                }
                Value::Array(items)
            }
            Operation::Remove(objects) => {
                let mut items = list(old)?;
                items.retain(|item| !objects.contains(item));
                Value::Array(items)
            }
            Operation::Increment(amount) => match old {
                Value::Null => Value::Number(amount),
                Value::Number(old) => Value::Number(
                    sum(&old, &amount).ok_or_else(|| wrong(format!("{key:?} would leave the range of numbers")))?,
                ),
                _ => return Err(wrong(format!("{key:?} is not a number"))),
            },
        })
    }
}

/// Whole while both are, and it fits; `None` where even a float cannot hold it.
fn sum(a: &Number, b: &Number) -> Option<Number> {
    let whole = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b));
    match whole {
        Some(sum) => Some(sum.into()),
        None => Number::from_f64(a.as_f64()? + b.as_f64()?),
    }
}
