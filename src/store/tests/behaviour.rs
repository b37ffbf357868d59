//! What every store must do, said once and asked of each: the model in memory, and RocksDB.

mod common;

use std::time::Duration;

use common::*;
use proptest::prelude::*;
use serde_json::json;
use tidegate_domain::command::{Bound, Direction, Mentions};
use tidegate_domain::conversation::Kind;
use tidegate_domain::day::{Day, Figures};
use tidegate_domain::ids::{ClientId, ConvId, MessageId, Millis};
use tidegate_store::model::{ModelOptions, ModelStore};
use tidegate_store::{Change, Marks, Page, Range, ReadMark, Store, StoreError, Stored};

const RETENTION: Millis = 1_000_000;
const WINDOW: Millis = 1_000;

fn model(hand: &Hand) -> ModelStore {
    ModelStore::new(ModelOptions {
        clock: hand.clock(),
        retention: Duration::from_millis(RETENTION as u64),
        dedupe_window: Duration::from_millis(WINDOW as u64),
        start: 1,
    })
}

/// Runs a test on each kind of store, with a clock that stands at 1000.
fn on_each(test: impl Fn(&dyn Store, &Hand)) {
    let hand = Hand::at(1_000);
    test(&model(&hand), &hand);
    #[cfg(feature = "rocks")]
    {
        let (folder, hand) = (tempfile::tempdir().unwrap(), Hand::at(1_000));
        let store = tidegate_store::rocks::open(disk::options(folder.path(), hand.clock())).unwrap();
        test(&store, &hand);
    }
}

fn whole(direction: Direction, limit: usize) -> Page {
    Page { start: None, end: None, direction, limit }
}

fn times(messages: &[Stored]) -> Vec<Millis> {
    messages.iter().map(|message| message.at).collect()
}

#[test]
fn a_conversation_is_kept_whole_and_found_by_its_members() {
    on_each(|store, _| {
        let mut record = conversation(cid(1), &["ann".into(), "bob".into()]);
        record.attributes.insert("name".into(), json!({"deep": [1, 2.5, "x"]}));
        record.unique_id = Some([9; 16]);
        record.muted = vec!["bob".into()];
        let came = vec!["ann".into(), "bob".into()];
        store
            .commit(&[
                Change::Conversation { app: APP, record: record.clone(), came, went: vec![] },
                Change::Unique { app: APP, unique_id: [9; 16], cid: cid(1) },
            ])
            .unwrap();

        assert_eq!(store.conversation(APP, cid(1)).unwrap(), Some(record.clone()));
        assert_eq!(store.unique(APP, [9; 16]).unwrap(), Some(cid(1)));
        assert_eq!(store.conversations_of(APP, "bob", 10).unwrap(), [cid(1)]);
        // Another app, another client whose name begins alike, no conversation at all: nothing.
        assert_eq!(store.conversation(OTHER_APP, cid(1)).unwrap(), None);
        assert_eq!(store.unique(OTHER_APP, [9; 16]).unwrap(), None);
        assert!(store.conversations_of(OTHER_APP, "bob", 10).unwrap().is_empty());
        assert!(store.conversations_of(APP, "bo", 10).unwrap().is_empty());
        assert_eq!(store.conversation(APP, ConvId::Nowhere).unwrap(), None);

        record.members.pop();
        let went = vec!["bob".into()];
        store.commit(&[Change::Conversation { app: APP, record, came: vec![], went }]).unwrap();
        assert!(store.conversations_of(APP, "bob", 10).unwrap().is_empty());
        assert_eq!(store.conversations_of(APP, "ann", 10).unwrap(), [cid(1)]);
    });
}

#[test]
fn rooms_are_nobodys_conversation() {
    on_each(|store, _| {
        let mut room = conversation(cid(1), &[]);
        room.kind = Kind::Room;
        store
            .commit(&[Change::Conversation { app: APP, record: room, came: vec!["ann".into()], went: vec![] }])
            .unwrap();
        assert!(store.conversations_of(APP, "ann", 10).unwrap().is_empty());
    });
}

#[test]
fn a_scan_goes_through_an_apps_conversations_in_pieces() {
    on_each(|store, _| {
        for (app, n) in [(APP, 1), (APP, 3), (APP, 2), (APP, 4), (OTHER_APP, 6)] {
            let record = conversation(cid(n), &[]);
            store.commit(&[Change::Conversation { app, record, came: vec![], went: vec![] }]).unwrap();
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let piece = store.scan(APP, after, 3).unwrap();
            after = piece.last().map(|record| record.id);
            seen.extend(piece.iter().map(|record| record.id));
            if piece.len() < 3 {
                break;
            }
        }
        let mut all = [1, 2, 3, 4].map(cid);
        all.sort();
        assert_eq!(seen, all);
        assert!(store.scan(APP, Some(ConvId::Nowhere), 3).unwrap().is_empty());
    });
}

#[test]
fn a_resend_is_known_within_its_window() {
    on_each(|store, hand| {
        store.commit(&[append(cid(1), message(1_000, 7, "ann"), Some("dt"))]).unwrap();
        let known = Some((MessageId([7; 16]), 1_000));
        assert_eq!(store.resent(APP, cid(1), "ann", "dt").unwrap(), known);
        for (cid, client, dt) in
            [(cid(3), "ann", "dt"), (cid(1), "an", "ndt"), (cid(1), "ann", "d"), (cid(1), "bob", "dt")]
        {
            assert_eq!(store.resent(APP, cid, client, dt).unwrap(), None);
        }
        assert_eq!(store.resent(OTHER_APP, cid(1), "ann", "dt").unwrap(), None);
        hand.set(1_000 + WINDOW);
        assert_eq!(store.resent(APP, cid(1), "ann", "dt").unwrap(), known);
        hand.set(1_001 + WINDOW);
        assert_eq!(store.resent(APP, cid(1), "ann", "dt").unwrap(), None);
    });
}

#[test]
fn history_ends_at_retention() {
    on_each(|store, hand| {
        let messages = [10, 20, 30].map(|at| append(cid(1), message(at, 1, "ann"), None));
        store.commit(&messages).unwrap();
        hand.set(RETENTION + 20);
        let page = store.page(APP, cid(1), &whole(Direction::New, 10)).unwrap();
        assert_eq!(times(&page), [20, 30]);
        assert_eq!(store.unread(APP, cid(1), "bob", 0, 10).unwrap().count, 2);
        hand.set(RETENTION + 31);
        assert_eq!(store.last(APP, cid(1)).unwrap(), None);
        assert_eq!(store.unread(APP, cid(1), "bob", 0, 10).unwrap().last, None);
    });
}

#[test]
fn unread_counts_others_up_to_the_cap_and_sees_mentions() {
    on_each(|store, _| {
        let mut for_ann = message(30, 1, "bob");
        for_ann.mentions = Mentions { all: false, clients: vec!["ann".into()] };
        let messages = [message(10, 1, "bob"), message(20, 1, "ann"), for_ann, message(40, 1, "ann")];
        store.commit(&messages.map(|message| append(cid(1), message, None))).unwrap();

        let unread = store.unread(APP, cid(1), "ann", 0, 10).unwrap();
        assert_eq!((unread.count, unread.mentioned, unread.last.unwrap().at), (2, true, 40));
        let unread = store.unread(APP, cid(1), "ann", 30, 10).unwrap();
        assert_eq!((unread.count, unread.mentioned, unread.last.unwrap().at), (0, false, 40));
        let unread = store.unread(APP, cid(1), "ann", 0, 1).unwrap();
        assert_eq!((unread.count, unread.mentioned), (1, true));
        let unread = store.unread(APP, cid(1), "bob", 0, 10).unwrap();
        assert_eq!((unread.count, unread.mentioned), (2, false));
        let unread = store.unread(APP, cid(3), "ann", 0, 10).unwrap();
        assert_eq!((unread.count, unread.last), (0, None));
    });
}

#[test]
fn marks_grow_and_stay_with_their_member() {
    on_each(|store, _| {
        let read = |client: &str, message_at| Change::Read {
            app: APP,
            cid: cid(1),
            client: client.into(),
            mark: ReadMark { message_at, read_at: message_at + 1 },
        };
        let got = |client: &str, from, to, at| Change::Delivered {
            app: APP,
            cid: cid(1),
            client: client.into(),
            range: Range { from, to, at },
        };
        store.commit(&[read("ann", 10), got("ann", 1, 5, 100), got("an", 3, 4, 100)]).unwrap();
        store.commit(&[read("ann", 8), got("ann", 4, 9, 200)]).unwrap();
        let ann = Marks {
            read: Some(ReadMark { message_at: 10, read_at: 11 }),
            delivered: vec![Range { from: 1, to: 5, at: 100 }, Range { from: 6, to: 9, at: 200 }],
        };
        let an = Marks { read: None, delivered: vec![Range { from: 3, to: 4, at: 100 }] };
        assert_eq!(store.marks(APP, cid(1), "ann").unwrap(), ann);
        assert_eq!(store.marks(APP, cid(1), "nobody").unwrap(), Marks::default());
        let mut all = store.all_marks(APP, cid(1)).unwrap();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(all, [(ClientId::from("an"), an), ("ann".into(), ann)]);
        assert!(store.all_marks(APP, cid(3)).unwrap().is_empty());
        assert!(store.all_marks(OTHER_APP, cid(1)).unwrap().is_empty());
    });
}

#[test]
fn days_are_kept_by_app_until_they_are_too_old() {
    on_each(|store, _| {
        let figures = |messages| {
            let mut figures = Figures { messages, peak: 3, ..Figures::default() };
            figures.clients.see("ann");
            figures
        };
        let change = |app, day, messages| Change::Day {
            app,
            day: Day(day),
            figures: Box::new(figures(messages)),
            oldest: Day(day - 2),
        };
        for day in 100..105 {
            store.commit(&[change(APP, day, u64::from(day)), change(APP, day, u64::from(day) * 2)]).unwrap();
        }
        store.commit(&[change(OTHER_APP, 101, 7)]).unwrap();
        let mut days = store.days(Day(0)).unwrap();
        days.sort_by_key(|(app, day, _)| (*app, *day));
        let [first, second, third] = [102, 103, 104].map(|day| (APP, Day(day), figures(u64::from(day) * 2)));
        let other = (OTHER_APP, Day(101), figures(7));
        assert_eq!(days, [first.clone(), second.clone(), third.clone(), other], "those before are forgotten, by app");
        assert_eq!(store.days(Day(104)).unwrap(), [third]);
    });
}

#[test]
fn nonces_and_revocations_last_until_their_time() {
    on_each(|store, hand| {
        store
            .commit(&[
                Change::Nonce { app: APP, nonce: "a".into(), until: 2_000 },
                Change::Nonce { app: OTHER_APP, nonce: "a".into(), until: 3_000 },
                Change::Revoked { token: [1; 16], until: 2_000 },
                Change::Revoked { token: [2; 16], until: 3_000 },
            ])
            .unwrap();
        assert_eq!(store.nonces().unwrap().len(), 2);
        assert_eq!(store.revoked().unwrap().len(), 2);
        hand.set(2_000);
        assert_eq!(store.nonces().unwrap(), [(OTHER_APP, "a".into(), 3_000)]);
        assert_eq!(store.revoked().unwrap(), [([2; 16], 3_000)]);
    });
}

#[test]
fn what_cannot_be_kept_is_refused_with_all_that_came_with_it() {
    on_each(|store, _| {
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        let mut too_deep = conversation(cid(1), &[]);
        too_deep.attributes.insert("attr".into(), deep);
        let bad = [
            append(ConvId::Nowhere, message(10, 1, "ann"), None),
            append(cid(1), message(10, 1, &"x".repeat(5_000)), None),
            Change::Conversation { app: APP, record: too_deep, came: vec![], went: vec![] },
        ];
        for bad in bad {
            let error = store.commit(&[append(cid(1), message(10, 1, "ann"), None), bad]).unwrap_err();
            assert!(matches!(error, StoreError::Invalid(_)), "{error}");
        }
        assert_eq!(store.last(APP, cid(1)).unwrap(), None);
        assert_eq!(store.trouble(), None);
        store.commit(&[append(cid(1), message(10, 1, "ann"), None)]).unwrap();
    });
}

/// A page by the letter of wire.md 3.14, one message at a time.
fn page_by_the_book(messages: &[Stored], page: &Page) -> Vec<Stored> {
    let from = |bound: &Option<Bound>, message: &Stored, later: bool| {
        let Some(bound) = bound else { return true };
        let place = match bound.mid {
            Some(mid) => (message.at, message.mid).cmp(&(bound.timestamp, mid)),
            None => message.at.cmp(&bound.timestamp),
        };
        if place.is_eq() { bound.included } else { place.is_gt() == later }
    };
    let forward = page.direction == Direction::New;
    let mut found: Vec<_> = messages
        .iter()
        .filter(|message| from(&page.start, message, forward) && from(&page.end, message, !forward))
        .cloned()
        .collect();
    found.sort_by_key(|message| (message.at, message.mid));
    match page.direction {
        Direction::New => found.truncate(page.limit),
        Direction::Old => drop(found.drain(..found.len().saturating_sub(page.limit))),
    }
    found
}

fn bounds() -> Vec<Option<Bound>> {
    let mut bounds = vec![None];
    for timestamp in [0, 10, 15, 20, 30, 35] {
        for included in [false, true] {
            for mid in [None, Some(0), Some(1), Some(2), Some(0xff)] {
                let mid = mid.map(|tie| MessageId([tie; 16]));
                bounds.push(Some(Bound { timestamp, mid, included }));
            }
        }
    }
    bounds
}

#[test]
fn pages_hold_with_every_combination_of_ends() {
    on_each(|store, _| {
        let ours: Vec<_> =
            [(10, 1), (20, 0), (20, 1), (20, 0xff), (30, 2)].map(|(at, tie)| message(at, tie, "ann")).into();
        // Neighbours on both sides, which no page may reach.
        for n in [4, 5, 6, 8] {
            store.commit(&[append(cid(n), message(20, 1, "x"), None)]).unwrap();
        }
        for cid in [cid(5), cid(6)] {
            let clean = Change::Message { app: OTHER_APP, cid, message: message(20, 1, "x"), dedupe: None };
            store.commit(&[clean]).unwrap();
        }
        for at in [cid(7), cid(11)] {
            store.commit(&ours.iter().map(|m| append(at, m.clone(), None)).collect::<Vec<_>>()).unwrap();
            for start in bounds() {
                for end in bounds() {
                    for direction in [Direction::Old, Direction::New] {
                        for limit in [0, 2, 10] {
                            let page = Page { start, end, direction, limit };
                            let found = store.page(APP, at, &page).unwrap();
                            assert_eq!(found, page_by_the_book(&ours, &page), "{page:?}");
                        }
                    }
                }
            }
            assert_eq!(store.last(APP, at).unwrap(), Some(ours[4].clone()));
        }
        assert_eq!(store.page(APP, ConvId::Nowhere, &whole(Direction::Old, 9)).unwrap(), []);
    });
}

proptest! {
    /// The model itself against the letter of the rule.
    #[test]
    fn pages_of_random_histories_are_exact(
        history in prop::collection::btree_set((0i64..40, 0u8..3), 0..30),
        start in prop::sample::select(bounds()), end in prop::sample::select(bounds()), limit in 0usize..12, old: bool,
    ) {
        let store = model(&Hand::at(1_000));
        let messages: Vec<_> = history.into_iter().map(|(at, tie)| message(at, tie, "ann")).collect();
        store.commit(&messages.iter().map(|m| append(cid(1), m.clone(), None)).collect::<Vec<_>>()).unwrap();
        let page = Page { start, end, direction: if old { Direction::Old } else { Direction::New }, limit };
        prop_assert_eq!(store.page(APP, cid(1), &page).unwrap(), page_by_the_book(&messages, &page));
    }
}

/// The store on disk against the model.
#[cfg(feature = "rocks")]
mod agreement {
    use super::*;
    use tidegate_domain::conversation::Conversation;

    fn change() -> impl Strategy<Value = Change> {
        let app = prop_oneof![Just(APP), Just(OTHER_APP)];
        (0u8..7, app, 0u8..9, 0u8..5, 0i64..60, 0i64..20, any::<u8>()).prop_map(|(kind, app, n, who, at, more, tie)| {
            let (id, who) = (cid(n), client(who));
            match kind {
                0 => {
                    let record = conversation(id, std::slice::from_ref(&who));
                    let (came, went) = if tie % 3 > 0 { (vec![who], vec![]) } else { (vec![], vec![who]) };
                    let record = Conversation { members: vec![], version: at as u64, ..record };
                    Change::Conversation { app, record, came, went }
                }
                1 | 2 => {
                    let mut message = message(at, tie % 4, &who);
                    message.mentions.all = tie % 5 == 0;
                    let dedupe = (tie % 2 == 0).then(|| format!("{}", tie % 8).into());
                    Change::Message { app, cid: id, message, dedupe }
                }
                3 => Change::Read { app, cid: id, client: who, mark: ReadMark { message_at: at, read_at: more } },
                4 => {
                    Change::Delivered { app, cid: id, client: who, range: Range { from: at, to: at + more, at: more } }
                }
                5 => Change::Nonce { app, nonce: format!("{tie}").into(), until: 990 + more },
                _ => Change::Revoked { token: [tie; 16], until: 990 + more },
            }
        })
    }

    /// All that can be asked of a store, in one value.
    #[derive(Debug, PartialEq)]
    struct Answers(Vec<String>);

    fn ask(store: &dyn Store) -> Answers {
        let mut answers = Vec::new();
        let mut say = |answer: &dyn std::fmt::Debug| answers.push(format!("{answer:?}"));
        for app in [APP, OTHER_APP] {
            say(&store.scan(app, Some(cid(3)), 3).unwrap());
            for who in (0..5).map(client) {
                let mut own = store.conversations_of(app, &who, 100).unwrap();
                own.sort();
                say(&own);
            }
            for id in (0..9).map(cid) {
                say(&store.conversation(app, id).unwrap());
                say(&store.last(app, id).unwrap());
                say(&store.page(app, id, &whole(Direction::Old, 3)).unwrap());
                say(&store.page(app, id, &whole(Direction::New, 100)).unwrap());
                let mut marks = store.all_marks(app, id).unwrap();
                marks.sort_by(|a, b| a.0.cmp(&b.0));
                say(&marks);
                for who in (0..5).map(client) {
                    say(&store.marks(app, id, &who).unwrap());
                    say(&store.unread(app, id, &who, 20, 4).unwrap());
                    say(&(0..8).map(|dt| store.resent(app, id, &who, &dt.to_string()).unwrap()).collect::<Vec<_>>());
                }
            }
        }
        let mut nonces = store.nonces().unwrap();
        nonces.sort();
        say(&nonces);
        let mut revoked = store.revoked().unwrap();
        revoked.sort();
        say(&revoked);
        Answers(answers)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Random commits, and every question after: the model and the store on disk agree, before
        /// and after a restart.
        #[test]
        fn rocks_and_the_model_agree(commits in prop::collection::vec(prop::collection::vec(change(), 1..8), 1..16)) {
            let (folder, hand) = (tempfile::tempdir().unwrap(), Hand::at(1_000));
            let model = model(&hand);
            let open = || tidegate_store::rocks::open(disk::options(folder.path(), hand.clock())).unwrap();
            let rocks = open();
            for changes in &commits {
                model.commit(changes).unwrap();
                rocks.commit(changes).unwrap();
            }
            prop_assert_eq!(ask(&rocks), ask(&model));
            drop(rocks);
            let rocks = open();
            prop_assert_eq!(ask(&rocks), ask(&model));
            // A last commit at another time: what expired is gone from both.
            hand.set(RETENTION + 30);
            model.commit(&commits[0]).unwrap();
            rocks.commit(&commits[0]).unwrap();
            prop_assert_eq!(ask(&rocks), ask(&model));
        }
    }
}
