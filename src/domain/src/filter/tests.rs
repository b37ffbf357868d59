//! The operators by example, and against a naive model.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::time::iso;

fn filter(json: &Value) -> Filter {
    Filter::parse(Some(&json.to_string())).unwrap_or_else(|failure| panic!("{json}: {failure:?}"))
}

fn refused(json: &str) -> String {
    let failure = Filter::parse(Some(json)).expect_err(json);
    assert_eq!(failure.code.number(), 4310, "{json}");
    failure.detail.expect("says what is wrong").into()
}

fn row() -> Value {
    json!({
        "objectId": "559d08a1e4b0a35bc5062ba1", "name": "Tea at five", "c": "ann", "m": ["ann", "bob"],
        "attr": {"level": 3, "tags": ["x", "y"], "in": {"deep": true}, "none": null, "when": {"__type": "Date", "iso": iso(500)}},
        "createdAt": iso(1_000), "lm": {"__type": "Date", "iso": iso(2_000)}, "big": 9_007_199_254_740_993_i64,
    })
}

fn date(at: i64) -> Value {
    json!({"__type": "Date", "iso": iso(at)})
}

#[test]
fn what_matches() {
    for yes in [
        json!({}),
        json!({"name": "Tea at five", "c": "ann"}),
        json!({"m": "bob"}),
        json!({"m": ["ann", "bob"]}),
        json!({"attr.level": 3.0, "attr.in.deep": true}),
        json!({"attr.in": {"deep": true}}),
        json!({"attr.missing": null, "attr.none": null}),
        json!({"c": {"$eq": "ann"}, "name": {"$ne": "x"}, "missing": {"$ne": "x"}}),
        json!({"m": {"$ne": "cid"}}),
        json!({"attr.level": {"$gt": 2, "$lt": 4, "$gte": 3, "$lte": 3}}),
        json!({"name": {"$gte": "Tea", "$lt": "Teb"}}),
        json!({"attr.tags": {"$gt": "x"}}),
        json!({"c": {"$in": ["eve", "ann"]}, "m": {"$in": ["bob"]}}),
        json!({"c": {"$nin": ["eve"]}, "missing": {"$nin": ["x"]}}),
        json!({"attr": {"$exists": true}, "missing": {"$exists": false}, "attr.none": {"$exists": true}}),
        json!({"m": {"$all": ["bob", "ann"], "$size": 2}}),
        json!({"name": {"$regex": "^Tea.*five$"}}),
        json!({"name": {"$regex": "\\Qtea at\\E", "$options": "i"}}),
        json!({"m": {"$regex": "^b"}}),
        json!({"$or": [{"c": "eve"}, {"c": "ann"}], "$and": [{"m": "ann"}, {"m": "bob"}]}),
        json!({"big": 9_007_199_254_740_993_i64}),
    ] {
        assert!(filter(&yes).matches(&row()), "{yes}");
    }
}

#[test]
fn what_does_not() {
    for no in [
        json!({"name": "tea at five"}),
        json!({"m": "cid"}),
        json!({"m": ["bob", "ann"]}),
        json!({"attr.level": "3"}),
        json!({"attr.level.x": 3}),
        json!({"attr": null}),
        json!({"m": {"$ne": "bob"}}),
        json!({"missing": {"$ne": null}}),
        json!({"attr.level": {"$lt": 3}}),
        json!({"attr.level": {"$gt": "2"}}),
        json!({"missing": {"$lt": 3}}),
        json!({"c": {"$in": []}}),
        json!({"m": {"$nin": ["bob"]}}),
        json!({"attr": {"$exists": false}}),
        json!({"m": {"$all": ["ann", "eve"]}}),
        json!({"m": {"$all": []}}),
        json!({"m": {"$size": 1}}),
        json!({"c": {"$size": 1}}),
        json!({"name": {"$regex": "tea"}}),
        json!({"attr.level": {"$regex": "3"}}),
        json!({"$or": [{"c": "eve"}, {"c": "bob"}]}),
        json!({"$and": [{"c": "ann"}, {"c": "bob"}]}),
        json!({"big": 9_007_199_254_740_992_i64}),
    ] {
        assert!(!filter(&no).matches(&row()), "{no}");
    }
}

#[test]
fn dates_compare_in_whatever_form_the_row_has_them() {
    for (key, at) in [("createdAt", 1_000), ("lm", 2_000), ("attr.when", 500)] {
        for (operator, smaller, equal, larger) in [
            ("$lt", false, false, true),
            ("$lte", false, true, true),
            ("$gt", true, false, false),
            ("$gte", true, true, false),
        ] {
            for (bound, expected) in [(at - 1, smaller), (at, equal), (at + 1, larger)] {
                let ask = json!({(key): {(operator): date(bound)}});
                assert_eq!(filter(&ask).matches(&row()), expected, "{ask}");
            }
        }
        assert!(filter(&json!({(key): date(at)})).matches(&row()));
        assert!(filter(&json!({(key): {"$ne": date(at + 1)}})).matches(&row()));
    }
    assert!(!filter(&json!({"name": {"$lt": date(i64::MAX)}})).matches(&row()));
}

#[test]
fn what_is_no_filter_is_refused_in_words() {
    for (json, word) in [
        ("[]", "object"),
        ("{", "JSON"),
        (r#"{"a":{"$where":"x"}}"#, "$where"),
        (r#"{"$nor":[{}]}"#, "$nor"),
        (r#"{"a":{"$nearSphere":{"latitude":1}}}"#, "$nearSphere"),
        (r#"{"a":{"$within":{"$box":[]}}}"#, "$within"),
        (r#"{"a":{"$gt":1,"b":2}}"#, "b"),
        (r#"{"a":{"$in":1}}"#, "$in"),
        (r#"{"a":{"$all":"x"}}"#, "$all"),
        (r#"{"a":{"$exists":1}}"#, "$exists"),
        (r#"{"a":{"$size":-1}}"#, "$size"),
        (r#"{"a":{"$size":1.5}}"#, "$size"),
        (r#"{"a":{"$regex":1}}"#, "$regex"),
        (r#"{"a":{"$regex":"("}}"#, "$regex"),
        (r#"{"a":{"$regex":"a","$options":"q"}}"#, "$options"),
        (r#"{"a":{"$options":"i"}}"#, "$options"),
        (r#"{"$or":[]}"#, "$or"),
        (r#"{"$or":{}}"#, "$or"),
        (r#"{"$and":[1]}"#, "object"),
    ] {
        let detail = refused(json);
        assert!(detail.contains(word), "{json}: {detail}");
    }
}

#[test]
fn what_asks_too_much_is_refused() {
    let nested = |depth: usize| format!("{}{{}}{}", r#"{"$or":["#.repeat(depth), "]}".repeat(depth));
    assert!(Filter::parse(Some(&nested(8))).is_ok());
    refused(&nested(9));
    refused(&nested(1_000));
    let keys = |n: usize| Value::Object((0..n).map(|n| (n.to_string(), json!(1))).collect()).to_string();
    assert!(Filter::parse(Some(&keys(100))).is_ok());
    refused(&keys(101));
    let values = |n: usize| json!({"a": {"$in": vec!["x"; n]}}).to_string();
    assert!(Filter::parse(Some(&values(2_000))).is_ok());
    refused(&values(2_001));
    let regexes = |n: usize| json!({"$or": vec![json!({"a": {"$regex": "x"}}); n]}).to_string();
    assert!(Filter::parse(Some(&regexes(10))).is_ok());
    refused(&regexes(11));
}

#[test]
fn nothing_asked_is_no_condition() {
    for text in [None, Some(""), Some("  "), Some("{}")] {
        assert!(Filter::parse(text).unwrap().is_empty());
    }
    assert!(!filter(&json!({"objectId": {"$ne": "0"}})).is_empty());
    let mine = Filter::of_member(&"bob".into());
    assert!(mine.matches(&row()) && !Filter::of_member(&"eve".into()).matches(&row()));
    assert_eq!(mine.required_members(), Some(vec!["bob".into()]));
}

#[test]
fn an_index_learns_members_and_ids() {
    let members = |json: Value| {
        filter(&json).required_members().map(|all| all.iter().map(|m| m.to_string()).collect::<Vec<_>>().join(" "))
    };
    for (json, expected) in [
        (json!({"m": "bob"}), Some("bob")),
        (json!({"m": {"$eq": "bob"}}), Some("bob")),
        (json!({"m": {"$all": ["bob", "ann"], "$size": 2}}), Some("ann bob")),
        (json!({"$and": [{"m": "bob"}, {"m": "ann"}], "c": "x"}), Some("ann bob")),
        (json!({"m": ["ann", "bob"]}), Some("ann bob")),
        (json!({"m": {"$in": ["bob"]}}), Some("bob")),
        (json!({"m": {"$in": ["bob", "ann"]}}), None),
        (json!({"m": {"$ne": "bob"}}), None),
        (json!({"$or": [{"m": "bob"}, {"m": "ann"}]}), None),
        (json!({"attr.m": "bob"}), None),
    ] {
        assert_eq!(members(json.clone()).as_deref(), expected, "{json}");
    }
    let a = ConvId::parse("559d08a1e4b0a35bc5062ba1");
    let b = ConvId::parse("559d08a1e4b0a35bc5062ba2");
    for (json, expected) in [
        (json!({"objectId": a.to_string()}), Some(vec![a])),
        (json!({"objectId": {"$in": [b.to_string(), a.to_string(), b.to_string(), "nowhere"]}}), Some(vec![a, b])),
        (json!({"objectId": {"$in": [a.to_string(), b.to_string()], "$eq": b.to_string()}}), Some(vec![b])),
        (json!({"objectId": "unknown"}), Some(vec![])),
        (json!({"objectId": {"$ne": "0"}}), None),
        (json!({"$or": [{"objectId": a.to_string()}]}), None),
    ] {
        assert_eq!(filter(&json).object_ids(), expected, "{json}");
    }
}

/// A naive reading of the same operators, over small values, straight from the JSON.
fn model(ask: &Value, row: &Value) -> bool {
    let has = |actual: Option<&Value>, wanted: &Value| match actual {
        None => wanted.is_null(),
        Some(Value::Array(items)) => items.contains(wanted) || actual == Some(wanted),
        Some(actual) => actual == wanted,
    };
    let any = |actual: Option<&Value>, ask: &dyn Fn(i64) -> bool| match actual {
        Some(Value::Array(items)) => items.iter().any(|item| item.as_i64().is_some_and(ask)),
        Some(value) => value.as_i64().is_some_and(ask),
        None => false,
    };
    ask.as_object().unwrap().iter().all(|(key, test)| {
        let actual = row.get(key);
        match key.as_str() {
            "$and" => return test.as_array().unwrap().iter().all(|ask| model(ask, row)),
            "$or" => return test.as_array().unwrap().iter().any(|ask| model(ask, row)),
            _ => {}
        }
        let Some((operator, wanted)) = test.as_object().and_then(|object| object.iter().next()) else {
            return has(actual, test);
        };
        let list = || wanted.as_array().unwrap().iter();
        match operator.as_str() {
            "$eq" => has(actual, wanted),
            "$ne" => !has(actual, wanted),
            "$lt" => any(actual, &|n| n < wanted.as_i64().unwrap()),
            "$lte" => any(actual, &|n| n <= wanted.as_i64().unwrap()),
            "$gt" => any(actual, &|n| n > wanted.as_i64().unwrap()),
            "$gte" => any(actual, &|n| n >= wanted.as_i64().unwrap()),
            "$in" => list().any(|wanted| has(actual, wanted)),
            "$nin" => !list().any(|wanted| has(actual, wanted)),
            "$all" => list().len() > 0 && list().all(|wanted| has(actual, wanted)),
            "$exists" => actual.is_some() == wanted.as_bool().unwrap(),
            "$size" => matches!(actual, Some(Value::Array(items)) if items.len() as u64 == wanted.as_u64().unwrap()),
            _ => unreachable!("{operator}"),
        }
    })
}

fn small() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), (0..4i64).prop_map(Value::from), "[ab]".prop_map(Value::from)]
}

fn ask() -> impl Strategy<Value = Value> {
    let list = || prop::collection::vec(small(), 0..3).prop_map(Value::from);
    let number = || (0..4i64).prop_map(Value::from);
    let test = prop_oneof![
        small(),
        ("\\$(eq|ne)", small()).prop_map(|(op, value)| json!({(op): value})),
        ("\\$(lt|lte|gt|gte)", number()).prop_map(|(op, value)| json!({(op): value})),
        ("\\$(in|nin|all)", list()).prop_map(|(op, value)| json!({(op): value})),
        any::<bool>().prop_map(|value| json!({"$exists": value})),
        (0..3u64).prop_map(|value| json!({"$size": value})),
    ];
    let leaf = prop::collection::btree_map("[xyz]", test, 0..3).prop_map(|map| json!(map));
    leaf.prop_recursive(2, 6, 3, |inner| {
        ("\\$(and|or)", prop::collection::vec(inner, 1..3)).prop_map(|(op, all)| json!({(op): all}))
    })
}

proptest! {
    #[test]
    fn filters_follow_the_model(
        ask in ask(),
        row in prop::collection::btree_map("[xyz]", prop_oneof![small(), prop::collection::vec(small(), 0..3).prop_map(Value::from)], 0..4),
    ) {
        let row = json!(row);
        prop_assert_eq!(filter(&ask).matches(&row), model(&ask, &row), "{} on {}", ask, row);
    }

    #[test]
    fn no_text_panics(text in "[{}\\[\\]\"$:,a-z0-9]{0,40}") {
        if let Ok(filter) = Filter::parse(Some(&text)) {
            filter.matches(&row());
        }
    }
}
