//! What `Topology::check` refuses, and in which words.
#![cfg(not(feature = "shuttle"))]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use tidegate_engine::*;

const OPTIONAL: &[Output] = &[
    Output { name: "next", kind: OutputKind::Stage, most: 3 },
    Output { name: "maybe", kind: OutputKind::OptionalSide, most: 1 },
];

fn modules() -> Modules<Ev> {
    let durable = Fun { outputs: END, sheddable: false, blocks: true, one_by_one: true, work: Arc::new(|_, _| ()) };
    let list: [(&str, Arc<dyn Module<Ev>>); 4] =
        [("pass", pass(NEXT)), ("fork", pass(OPTIONAL)), ("last", pass(END)), ("durable", Arc::new(durable))];
    list.into_iter().map(|(name, module)| (name.to_owned(), module)).collect()
}

fn stage(name: &str, module: &str) -> StageSettings {
    StageSettings { module: module.to_owned(), ..StageSettings::new(name) }
}

/// a -> b -> c, all well.
fn good() -> Topology {
    let stages = vec![stage("a", "pass").to("next", "b"), stage("b", "fork").to("next", "c"), stage("c", "last")];
    Topology { stages, pools: vec![] }
}

fn check(change: impl FnOnce(&mut Topology)) -> Vec<String> {
    let mut topology = good();
    change(&mut topology);
    topology.check(&modules(), &["a"]).iter().map(Problem::to_string).collect()
}

#[track_caller]
fn refused(with: &str, change: impl FnOnce(&mut Topology)) {
    let problems = check(change);
    assert!(problems.iter().any(|problem| problem.contains(with)), "{with:?} is not in {problems:#?}");
    assert_eq!(problems.len(), 1, "one mistake, one problem: {problems:#?}");
}

#[test]
fn a_good_one_passes() {
    assert_eq!(check(|_| ()), [""; 0]);
    assert_eq!(check(|t| t.stages[1].to.push(("maybe".into(), "none".into()))), [""; 0]);
}

#[test]
fn names_that_are_not_there() {
    refused("stages.b.module: there is no module \"frok\" (did you mean \"fork\"?)", |t| {
        t.stages[1].module = "frok".into()
    });
    refused("stages.a.to.next: there is no stage \"bb\"", |t| {
        t.stages[0].to[0].1 = "bb".into();
        t.stages.truncate(1);
    });
    refused("stages.c.pool: there is no pool \"x\" (leave it out", |t| t.stages[2].pool = Some("x".into()));
    refused("stages.b.to.nxt: \"fork\" has no output \"nxt\"", |t| t.stages[1].to.push(("nxt".into(), "c".into())));
    let nowhere = good().check(&modules(), &["a", "nowhere"]);
    assert_eq!(nowhere[0].place, Place::Entry("nowhere".into()));
}

#[test]
fn bindings_that_are_missing_or_wrong() {
    refused("stages.c.to.next: \"last\" has no output \"next\"", |t| t.stages[2].to.push(("next".into(), "b".into())));
    refused("stages.b.to.next: this output is bound twice", |t| t.stages[1].to.push(("next".into(), "c".into())));
    let unbound = check(|t| t.stages[1].to.clear());
    assert!(unbound.iter().any(|p| p.starts_with("stages.b.to.next: this output is not bound")), "{unbound:?}");
    assert!(unbound.iter().any(|p| p.starts_with("stages.c.name: nothing leads to this stage")), "{unbound:?}");
    let none = check(|t| t.stages[1].to[0].1 = "none".into());
    assert!(none.iter().any(|p| p.contains("it cannot be \"none\"")), "{none:?}");
}

#[test]
fn circles() {
    let problems = check(|t| {
        t.stages[2] = stage("c", "pass").to("next", "a");
    });
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("circle: a -> b -> c -> a"), "{problems:?}");
    refused("circle: b -> b", |t| {
        t.stages[1].to[0].1 = "b".into();
        t.stages.truncate(2);
    });
    assert_eq!(check(|t| t.stages[1].to.push(("maybe".into(), "a".into()))), [""; 0], "side outputs may go back");
}

#[test]
fn figures_that_cannot_be() {
    refused("stages.c.workers: 0 is not possible", |t| t.stages[2].workers = 0);
    refused("stages.c.workers: 5000 is not possible", |t| t.stages[2].workers = 5000);
    refused("stages.c.batch: 0 is not possible", |t| t.stages[2].batch = 0);
    refused("stages.a.bound: 0 is not possible", |t| t.stages[0].bound = 0);
    refused(
        "stages.a.bound: a batch of 64 can never fill: 63 is the bound (64 or more, or a batch of at most 63)",
        |t| {
            t.stages[0].bound = 63;
        },
    );
    refused("stages.a.bound: a batch of 8193 can never fill", |t| {
        (t.stages[0].batch, t.stages[0].to[0].1) = (8_193, "b".into());
        (t.stages[1].batch, t.stages[1].bound) = (64, 8_193);
    });
    refused("stages.a.window: 0 is not possible", |t| t.stages[0].window = 0);
    refused("stages.a.delay_target", |t| t.stages[0].delay_target = Duration::ZERO);
    refused("stages.a.delay_target: a delay_target of 99µs is not possible (100µs to 60s)", |t| {
        t.stages[0].delay_target = Duration::from_micros(99);
    });
    refused("stages.a.delay_target", |t| t.stages[0].delay_target = Duration::from_secs(61));
    refused("stages.a.delay_interval", |t| t.stages[0].delay_interval = Duration::from_micros(999));
    refused("stages.a.delay_interval", |t| t.stages[0].delay_interval = Duration::from_secs(86_400));
    refused("stages.a.key_share: NaN is no share", |t| t.stages[0].key_share = f64::NAN);
    refused("stages.a.key_share: 1.5 is no share", |t| t.stages[0].key_share = 1.5);
    refused("a batch of 64 becomes up to 192 events on \"next\", more than \"c\" can ever hold (100)", |t| {
        t.stages[2].bound = 100;
    });
}

#[test]
fn outputs_that_lead_to_the_same_stage_count_together() {
    const TWO: &[Output] = &[
        Output { name: "one", kind: OutputKind::Stage, most: 1 },
        Output { name: "two", kind: OutputKind::Optional, most: 1 },
    ];
    let mut modules = modules();
    modules.insert("two".to_owned(), pass(TWO));
    let mut topology = good();
    topology.stages[0] = stage("a", "two").to("one", "b").to("two", "b");
    topology.stages[1].bound = 127;
    let problems = topology.check(&modules, &["a"]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0]
            .to_string()
            .contains("up to 128 events on \"one\" and \"two\", more than \"b\" can ever hold (127)"),
        "{problems:?}"
    );
    topology.stages[1].bound = 128;
    assert_eq!(topology.check(&modules, &["a"]), []);
}

#[test]
fn pools() {
    refused("pools.a.name: stage \"a\" has a pool of its own of that name", |t| {
        t.pools.push(PoolSettings::new("a", 1))
    });
    refused("pools.p.workers: 0 is not possible", |t| {
        t.pools.push(PoolSettings::new("p", 0));
        t.stages[0].pool = Some("p".into());
    });
    refused("pools.p.spin", |t| {
        t.pools.push(PoolSettings { spin: Duration::from_secs(1), ..PoolSettings::new("p", 1) });
        t.stages[0].pool = Some("p".into());
    });
    refused("it mixes stages that wait for the disk (c) with others (a)", |t| {
        t.pools.push(PoolSettings::new("p", 1));
        t.stages[2].module = "durable".into();
        t.stages[0].pool = Some("p".into());
        t.stages[2].pool = Some("p".into());
    });
}

#[test]
fn what_would_lose_durable_events() {
    refused("stages.c.policy: \"durable\" must not lose what waits before it", |t| {
        t.stages[2].module = "durable".into();
        t.stages[2].policy = Policy::Shed;
    });
}

#[test]
fn doubles_and_strays() {
    refused("stages.d.name: nothing leads to this stage", |t| t.stages.push(stage("d", "last")));
    let doubles = check(|t| t.stages.push(stage("c", "last")));
    assert!(doubles[0].contains("another stage of this name"), "{doubles:?}");
}

#[test]
fn everything_in_one_go_and_a_missing_sink() {
    let problems = check(|t| {
        t.stages[0].workers = 0;
        t.stages[1].key_share = 0.0;
        t.stages[2].policy = Policy::Shed;
        t.stages[2].module = "durable".into();
    });
    assert_eq!(problems.len(), 3, "{problems:?}");
    let log = Arc::new(Log::default());
    let built = Pipeline::build(good(), modules(), Sinks::new(), log, &["a"], Env::real());
    let problems = built.err().unwrap();
    assert_eq!(problems[0].place, Place::Output { stage: "c".into(), output: "end".into() });
}
