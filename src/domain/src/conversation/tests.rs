//! The rules of conversations, by example and against a small model of membership.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::command::{Body, Mentions, Start};
use crate::ids::MessageId;
use crate::reply::LogItem;

const NOW: Millis = 1_790_000_000_000;

fn client(id: &str) -> ClientId {
    id.into()
}

fn clients(ids: &[&str]) -> Vec<ClientId> {
    ids.iter().map(|id| client(id)).collect()
}

fn asked(members: &[&str]) -> Start {
    Start { members: clients(members), ..Start::default() }
}

fn started(ask: &Start) -> Result<Conversation, Failure> {
    Conversation::start(ConvId::Object([7; 12]), &client("ann"), ask, NOW)
}

/// Of ann, with bob and cid.
fn normal() -> Conversation {
    started(&asked(&["bob", "cid"])).unwrap()
}

fn room() -> Conversation {
    started(&Start { transient: true, ..asked(&[]) }).unwrap()
}

fn of_kind(kind: Kind) -> Conversation {
    Conversation { kind, ..normal() }
}

fn members(of: &Conversation) -> Vec<&str> {
    of.members.iter().map(|m| &*m.client).collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> i32 {
    result.unwrap_err().code.number()
}

#[test]
fn the_creator_is_a_member_and_nobody_is_one_twice() {
    let conversation = started(&asked(&["bob", "ann", "bob", "cid"])).unwrap();
    assert_eq!(members(&conversation), ["ann", "bob", "cid"]);
    assert_eq!((conversation.kind, conversation.unique_id), (Kind::Normal, None));
    assert_eq!((conversation.created, conversation.updated, conversation.version), (NOW, NOW, 1));
}

#[test]
fn temporary_goes_before_room_and_room_before_unique() {
    let all = Start { temporary: true, transient: true, unique: true, ..asked(&["bob"]) };
    assert_eq!(code(started(&all)), 4300);
    let room = started(&Start { temporary: false, ..all.clone() }).unwrap();
    assert_eq!((room.kind, room.unique_id, room.members.len()), (Kind::Room, None, 0));
    let unique = started(&Start { temporary: false, transient: false, ..all }).unwrap();
    assert_eq!(unique.unique_id, Some(unique_id(["bob", "ann"])));
}

#[test]
fn five_hundred_members_start_and_one_more_do_not() {
    let ids: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(started(&asked(&ids[..499])).unwrap().members.len(), 500);
    assert_eq!(code(started(&asked(&ids))), 4304);
    assert!(started(&Start { transient: true, ..asked(&ids) }).is_ok());
}

#[test]
fn a_member_that_no_client_can_be_is_refused() {
    assert_eq!(code(started(&asked(&[""]))), 4103);
    let mut conversation = normal();
    let moved = conversation.add(&client("ann"), &clients(&["", "dan"]), NOW).unwrap();
    assert_eq!((moved.allowed, moved.moved), (clients(&["dan"]), clients(&["dan"])));
    assert_eq!(moved.failed, [(Code::InvalidLogin.into(), clients(&[""]))]);
}

#[test]
fn attributes_are_kept_as_sent_and_reserved_or_broken_ones_refused() {
    let with = |attr: &str| started(&Start { attr: Some(attr.into()), ..asked(&[]) });
    let kept = with(r#"{"name":"tea","attr":{"foo":1},"baz":[null]}"#).unwrap().attributes;
    assert_eq!(Value::Object(kept), json!({"name": "tea", "attr": {"foo": 1}, "baz": [null]}));
    for attr in ["", "[]", "{", r#"{"m":["eve"]}"#, r#"{"objectId":"x"}"#, r#"{"conv_type":4}"#] {
        assert_eq!(code(with(attr)), 4306, "{attr}");
    }
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(33), "]".repeat(33));
    assert_eq!(code(with(&deep)), 4306);
    assert!(with(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(32), "]".repeat(32))).is_ok());
    assert_eq!(code(with(&format!(r#"{{"a":"{}"}}"#, "x".repeat(MOST_ATTRIBUTE_BYTES)))), 4306);
}

#[test]
fn a_unique_id_is_of_the_set() {
    assert_eq!(unique_id(["b", "a", "b"]), unique_id(["a", "b"]));
    assert_ne!(unique_id(["ab", "c"]), unique_id(["a", "bc"]));
    assert_eq!(
        unique_hex([0, 0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
        "00ab0102030405060708090a0b0c0d0e"
    );
}

#[test]
fn adding_tells_who_came_from_who_was_there() {
    let mut conversation = normal();
    let moved = conversation.add(&client("bob"), &clients(&["dan", "cid", "dan"]), NOW + 5).unwrap();
    assert_eq!(moved.allowed, clients(&["dan", "cid"]));
    assert_eq!(moved.moved, clients(&["dan"]));
    assert_eq!((moved.updated, conversation.updated, conversation.version), (NOW + 5, NOW + 5, 2));
    assert_eq!(members(&conversation), ["ann", "bob", "cid", "dan"]);
    assert_eq!(conversation.members[3].joined, NOW + 5);
}

#[test]
fn what_changes_nothing_leaves_the_record_as_it_was() {
    let mut conversation = normal();
    let before = conversation.clone();
    let there = conversation.add(&client("ann"), &clients(&["bob"]), NOW + 9).unwrap();
    let away = conversation.remove(&client("ann"), &clients(&["dan"]), NOW + 9).unwrap();
    for moved in [there, away] {
        assert_eq!((moved.allowed.len(), moved.moved.len(), moved.updated), (1, 0, NOW));
    }
    assert_eq!(conversation, before);
}

#[test]
fn strangers_may_join_and_leave_but_not_move_others() {
    let mut conversation = normal();
    let eve = client("eve");
    assert_eq!(code(conversation.add(&eve, &clients(&["dan"]), NOW)), 4317);
    assert_eq!(code(conversation.add(&eve, &clients(&["eve", "dan"]), NOW)), 4317);
    assert_eq!(code(conversation.remove(&eve, &clients(&["bob"]), NOW)), 4317);
    assert_eq!(conversation.remove(&eve, &clients(&["eve"]), NOW).unwrap().allowed, clients(&["eve"]));
    assert_eq!(conversation.add(&eve, &clients(&["eve"]), NOW).unwrap().moved, clients(&["eve"]));
}

#[test]
fn fixed_members_stay_and_rooms_are_joined_by_oneself() {
    for kind in [Kind::Temporary, Kind::System] {
        assert_eq!(code(of_kind(kind).add(&client("ann"), &clients(&["dan"]), NOW)), 4307);
        assert_eq!(code(of_kind(kind).remove(&client("ann"), &clients(&["ann"]), NOW)), 4307);
    }
    let mut room = room();
    let before = room.clone();
    assert_eq!(code(room.add(&client("ann"), &clients(&["ann", "bob"]), NOW)), 4314);
    assert_eq!(code(room.remove(&client("ann"), &clients(&["bob"]), NOW)), 4314);
    let moved = room.add(&client("bob"), &clients(&["bob"]), NOW).unwrap();
    assert_eq!((moved.allowed, moved.moved.len()), (clients(&["bob"]), 0));
    assert_eq!(room, before);
}

#[test]
fn a_full_conversation_takes_nobody_but_answers_for_who_is_there() {
    let ids: Vec<String> = (0..498).map(|n| n.to_string()).collect();
    let mut conversation = started(&asked(&ids.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    assert_eq!(code(conversation.add(&client("ann"), &clients(&["x", "y"]), NOW)), 4304);
    assert_eq!(conversation.members.len(), 499);
    assert!(conversation.add(&client("ann"), &clients(&["x", "7"]), NOW).is_ok());
    assert_eq!(code(conversation.add(&client("ann"), &clients(&["y"]), NOW)), 4304);
    assert!(conversation.add(&client("ann"), &clients(&["x"]), NOW).is_ok());
}

#[test]
fn updated_never_goes_back_and_always_grows_with_a_change() {
    let mut conversation = normal();
    let moved = conversation.add(&client("ann"), &clients(&["dan"]), NOW - 1_000).unwrap();
    assert_eq!(moved.updated, NOW + 1);
    let update = conversation.update("ann", Some("{}"), false, NOW - 1_000).unwrap();
    assert_eq!((update.updated, conversation.version), (NOW + 2, 3));
}

#[test]
fn mute_is_the_members_own_and_ends_with_membership() {
    let mut conversation = normal();
    assert_eq!(conversation.mute(&client("bob"), true, NOW), Ok(true));
    assert_eq!(conversation.mute(&client("bob"), true, NOW), Ok(false));
    assert_eq!(conversation.muted, clients(&["bob"]));
    assert_eq!(code(conversation.mute(&client("eve"), true, NOW)), 4317);
    conversation.remove(&client("bob"), &clients(&["bob"]), NOW).unwrap();
    assert!(conversation.muted.is_empty());
    assert_eq!(room().mute(&client("eve"), true, NOW), Ok(true));
    assert_eq!(code(of_kind(Kind::Temporary).mute(&client("bob"), true, NOW)), 4307);
}

#[test]
fn rights_by_kind() {
    assert_eq!(normal().may_send("bob"), Ok(()));
    assert_eq!(code(normal().may_send("eve")), 4401);
    assert_eq!(room().may_send("eve"), Ok(()));
    assert_eq!(code(of_kind(Kind::System).may_send("bob")), 4308);
    assert_eq!(normal().may_read_history("bob"), Ok(()));
    assert_eq!(code(normal().may_read_history("eve")), 4312);
    assert_eq!(room().may_read_history("eve"), Ok(()));
    assert_eq!(code(normal().may_update("eve", true)), 4309);
    assert_eq!(code(of_kind(Kind::Temporary).may_update("eve", true)), 4309);
    assert_eq!(code(of_kind(Kind::Temporary).may_update("bob", true)), 4307);
    assert_eq!(room().may_update("ann", false), Ok(()));
    assert_eq!(room().may_update("eve", true), Ok(()));
    assert_eq!(code(room().may_update("eve", false)), 4309);
}

/// Applies updates one after the other; gives the attributes, or the code of the first refusal.
fn after(updates: &[Value]) -> Result<Value, i32> {
    let mut conversation = normal();
    for update in updates {
        conversation.update("ann", Some(&update.to_string()), false, NOW).map_err(|f| f.code.number())?;
    }
    Ok(Value::Object(conversation.attributes))
}

#[test]
fn whole_and_dotted_keys_set_and_null_or_delete_removes() {
    assert_eq!(
        after(&[json!({"attr": {"foo": 1}}), json!({"attr.lee": "yeh", "name": "n"})]),
        Ok(json!({"attr": {"foo": 1, "lee": "yeh"}, "name": "n"}))
    );
    assert_eq!(after(&[json!({"a.b.c": 1}), json!({"a.b": 2})]), Ok(json!({"a": {"b": 2}})));
    assert_eq!(
        after(&[json!({"a": {"x": 1, "y": 2}, "b": 1}), json!({"a.x": null, "b": {"__op": "Delete"}, "z.d": null})]),
        Ok(json!({"a": {"y": 2}}))
    );
}

#[test]
fn operations_give_their_result() {
    let op = |op: &str, objects: Value| json!({"l": {"__op": op, "objects": objects}});
    let list = json!({"l": [1, 2, 2]});
    assert_eq!(after(&[list.clone(), op("Add", json!([2, 3]))]), Ok(json!({"l": [1, 2, 2, 2, 3]})));
    assert_eq!(after(&[list.clone(), op("AddUnique", json!([2, 3, 3]))]), Ok(json!({"l": [1, 2, 2, 3]})));
    assert_eq!(after(&[list, op("Remove", json!([2]))]), Ok(json!({"l": [1]})));
    assert_eq!(after(&[op("Add", json!([1]))]), Ok(json!({"l": [1]})));
    let more = |amount: Value| json!({"n.x": {"__op": "Increment", "amount": amount}});
    assert_eq!(after(&[more(json!(2)), more(json!(-5))]), Ok(json!({"n": {"x": -3}})));
    assert_eq!(after(&[more(json!(2)), more(json!(0.5))]), Ok(json!({"n": {"x": 2.5}})));
    assert_eq!(after(&[more(json!(i64::MAX)), more(json!(1))]), Ok(json!({"n": {"x": i64::MAX as f64 + 1.0}})));
}

#[test]
fn what_does_not_fit_is_4306_and_changes_nothing() {
    for (before, update) in [
        (json!({"a": 1}), json!({"ok": 1, "a.b": 2})),
        (json!({"a": 1}), json!({"a": {"__op": "Add", "objects": [1]}})),
        (json!({"a": "x"}), json!({"a": {"__op": "Increment", "amount": 1}})),
        (json!({"a": 1e308}), json!({"a": {"__op": "Increment", "amount": 1.7e308}})),
        (json!({}), json!({"a": {"__op": "Add"}})),
        (json!({}), json!({"a": {"__op": "Increment", "amount": "1"}})),
        (json!({}), json!({"a": {"__op": "Explode"}})),
        (json!({}), json!({"a..b": 1})),
        (json!({}), json!({"": 1})),
        (json!({}), json!({"m": {"__op": "Delete"}})),
        (json!({}), json!({"c.x": 1})),
        (json!({}), json!({(vec!["a"; 40].join(".")): 1})),
    ] {
        let mut conversation = normal();
        conversation.update("ann", Some(&before.to_string()), false, NOW).unwrap();
        let kept = conversation.clone();
        assert_eq!(code(conversation.update("ann", Some(&update.to_string()), false, NOW)), 4306, "{update}");
        assert_eq!(conversation, kept, "{update}");
    }
    assert_eq!(code(normal().update("ann", None, false, NOW)), 4306);
    assert_eq!(code(normal().update("ann", Some("{"), false, NOW)), 4306);
    assert_eq!(code(normal().update("eve", None, false, NOW)), 4309);
}

#[test]
fn modified_holds_whole_top_level_values_of_what_was_touched() {
    let mut conversation = normal();
    conversation.update("ann", Some(r#"{"attr":{"a":1},"gone":1,"other":1}"#), false, NOW).unwrap();
    let sent = r#"{"attr.b":{"__op":"Increment","amount":3},"gone":null,"name":"n"}"#;
    let update = conversation.update("bob", Some(sent), false, NOW).unwrap();
    assert_eq!(&*update.attr, sent);
    let modified: Value = serde_json::from_str(&update.modified).unwrap();
    assert_eq!(modified, json!({"attr": {"a": 1, "b": 3}, "name": "n"}));
}

#[test]
fn a_row_has_the_documented_keys() {
    let mut conversation = started(&Start {
        unique: true,
        attr: Some(r#"{"name":"tea","attr":{"x":1},"own":{"__type":"Date"}}"#.into()),
        ..asked(&["bob"])
    })
    .unwrap();
    conversation.mute(&client("bob"), true, NOW + 1).unwrap();
    let row = conversation.to_query_json("ann", false, None, Some(NOW + 2));
    assert_eq!(
        row,
        json!({
            "objectId": "070707070707070707070707", "name": "tea", "c": "ann", "m": ["ann", "bob"], "mu": ["bob"],
            "attr": {"x": 1}, "own": {"__type": "Date"}, "createdAt": "2026-09-21T14:13:20.000Z",
            "updatedAt": "2026-09-21T14:13:20.001Z", "lm": {"__type": "Date", "iso": "2026-09-21T14:13:20.002Z"},
            "unique": true, "uniqueId": unique_hex(unique_id(["ann", "bob"])), "conv_type": 1,
        })
    );
    let compact = conversation.to_query_json("ann", true, None, None);
    assert_eq!((compact.get("m"), compact.get("lm")), (None, None));
}

#[test]
fn a_row_shows_its_kind() {
    let room = room().to_query_json("ann", false, None, None);
    assert_eq!((&room["tr"], &room["conv_type"], room.get("m")), (&json!(true), &json!(2), None));
    let system = of_kind(Kind::System).to_query_json("bob", false, None, None);
    assert_eq!((&system["sys"], &system["joined"], &system["joinedAt"]), (&json!(true), &json!(true), &json!(NOW)));
    assert_eq!((&system["muted"], system.get("m")), (&json!(false), None));
    let temporary = Conversation { expires: Some(NOW + 60_000), ..of_kind(Kind::Temporary) };
    let row = temporary.to_query_json("ann", false, None, None);
    assert_eq!((&row["temp"], &row["ttl"]), (&json!(true), &json!(60)));
    assert_eq!((&row["tempConv"], &row["tempConvTTL"]), (&json!(true), &json!(60)));
}

#[test]
fn a_row_with_its_last_message() {
    let item = |body| LogItem {
        mid: MessageId([0; 16]),
        from: client("bob"),
        at: NOW,
        body,
        delivered_at: None,
        read_at: None,
        patched_at: None,
        mentions: Mentions::default(),
        kind: Kind::Normal,
    };
    let text = normal().to_query_json("ann", false, Some(&item(Body::Text("hi".into()))), Some(NOW));
    assert_eq!((&text["msg"], &text["bin"], &text["msg_from"]), (&json!("hi"), &json!(false), &json!("bob")));
    assert_eq!((&text["msg_mid"], &text["msg_timestamp"]), (&json!("-".repeat(22)), &json!(NOW)));
    assert!(["patch_timestamp", "mention_all", "mention_pids"].iter().all(|key| text.get(key).is_none()));
    let edited = LogItem {
        patched_at: Some(NOW + 1),
        mentions: Mentions { all: true, clients: clients(&["ann"]) },
        ..item(Body::Binary(vec![0, 255].into()))
    };
    let binary = normal().to_query_json("ann", false, Some(&edited), Some(NOW));
    assert_eq!((&binary["msg"], &binary["bin"]), (&json!("AP8="), &json!(true)));
    assert_eq!((&binary["patch_timestamp"], &binary["mention_all"]), (&json!(NOW + 1), &json!(true)));
    assert_eq!(binary["mention_pids"], json!(["ann"]));
}

proptest! {
    /// Membership is a set, whoever does what; who moved is exactly the difference.
    #[test]
    fn membership_follows_a_set(steps in prop::collection::vec((any::<bool>(), 0..6usize, prop::collection::vec(0..6usize, 0..4)), 0..40)) {
        let ids = clients(&["a", "b", "c", "d", "e", "f"]);
        let mut conversation = started(&asked(&["a", "b"])).unwrap();
        let mut model: BTreeSet<ClientId> = conversation.members.iter().map(|m| m.client.clone()).collect();
        for (add, by, others) in steps {
            let others: Vec<ClientId> = others.into_iter().map(|n| ids[n].clone()).collect();
            let before = (conversation.updated, conversation.version);
            let result = match add {
                true => conversation.add(&ids[by], &others, NOW),
                false => conversation.remove(&ids[by], &others, NOW),
            };
            let asked: BTreeSet<ClientId> = others.into_iter().collect();
            let allowed = model.contains(&ids[by]) || asked.iter().all(|id| *id == ids[by]);
            prop_assert_eq!(result.is_ok(), allowed);
            let Ok(moved) = result else { continue };
            let expected: BTreeSet<ClientId> = asked.iter().filter(|id| model.contains(*id) != add).cloned().collect();
            prop_assert_eq!(&moved.moved.iter().cloned().collect::<BTreeSet<_>>(), &expected);
            prop_assert_eq!(moved.allowed.len(), asked.len());
            for id in &expected {
                if add { model.insert(id.clone()); } else { model.remove(id); }
            }
            let grew = conversation.updated > before.0 && conversation.version > before.1;
            prop_assert_eq!(grew, !expected.is_empty());
            let now: BTreeSet<ClientId> = conversation.members.iter().map(|m| m.client.clone()).collect();
            prop_assert_eq!(now.len(), conversation.members.len());
            prop_assert_eq!(&now, &model);
        }
    }

    /// Whatever text comes as an update, the record stays one that reads back.
    #[test]
    fn no_update_breaks_the_record(key in "[a-c.]{0,5}", op in "Add|AddUnique|Remove|Increment|Delete|x", value in 0..4usize) {
        let mut conversation = normal();
        let value = [json!(1), json!({"__op": op, "objects": [1], "amount": 2}), json!(null), json!({"a": []})][value].clone();
        for _ in 0..3 {
            let before = conversation.clone();
            if conversation.update("ann", Some(&json!({(key.clone()): value.clone()}).to_string()), false, NOW).is_err() {
                prop_assert_eq!(&conversation, &before);
            }
        }
        let text = serde_json::to_string(&conversation.attributes).unwrap();
        prop_assert_eq!(serde_json::from_str::<Map<String, Value>>(&text).unwrap(), conversation.attributes);
    }
}
