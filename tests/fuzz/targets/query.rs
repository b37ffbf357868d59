//! A `where`, its `$regex` and its order, asked of some conversations. What is a filter is quick to ask, whatever it is.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tidegate_domain::filter::Filter;
use tidegate_domain::query::Sort;

static ROWS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let at = |n: u32| json!({"__type": "Date", "iso": format!("2024-01-0{n}T00:00:00.000Z")});
    vec![
        json!({"objectId": "559d08a1e4b0a35bc5062ba1", "name": "tide", "m": ["tom", "jerry"], "createdAt": at(1)}),
        json!({"objectId": "559d08a1e4b0a35bc5062ba2", "m": [], "attr": {"a": {"b": [1, 2.5, "x"]}}, "lm": at(2)}),
        json!({"name": "a".repeat(3_000), "m": ["tom"], "attr": {"n": 1e300, "f": false, "z": null}, "lm": at(3)}),
    ]
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The order comes behind a line break, if there is one.
    let (filter, sort) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(filter) = Filter::parse(Some(filter)) {
        for row in &*ROWS {
            filter.matches(row);
        }
        let _ = (filter.required_members(), filter.object_ids(), filter.is_empty());
    }
    if let Ok(sort) = Sort::parse(Some(sort)) {
        for a in &*ROWS {
            for b in &*ROWS {
                assert_eq!(sort.compare(a, b), sort.compare(b, a).reverse());
            }
        }
    }
});
