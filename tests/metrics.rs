//! The metrics of the real program: every one of the registry is on the page, with the labels that the dashboard and the
//! rules ask for; and the times that it shows of its stages agree with who came and left.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::client::{body, some};
use common::load::{self, Tally};
use common::{Client, Receiver, Server, app, eventually, http, patient};
use serde_json::Value;
use tidegate_protocol::wire::*;

fn printed(arguments: &[&str]) -> String {
    let answer = common::server::tidegate().arg("metrics").args(arguments).output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    String::from_utf8(answer.stdout).unwrap()
}

/// Each metric of the registry, with its type and labels.
fn registry() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let list: Value = serde_json::from_str(&printed(&["--json"])).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one = |metric: &Value| {
        let labels = metric["labels"].as_array().unwrap().iter().map(|label| text(&label["name"])).collect();
        (text(&metric["name"]), (text(&metric["type"]), labels))
    };
    list.as_array().unwrap().iter().map(one).collect()
}

/// Every query of the dashboard, those of its variables too.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&printed(&["--grafana"])).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let panels = targets.flatten().map(|target| target["expr"].as_str().unwrap().to_owned());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    panels.chain(variables.filter_map(|variable| variable["query"]["query"].as_str().map(str::to_owned))).collect()
}

/// Every query of the rules.
fn rules() -> Vec<String> {
    let unquoted = |line: &str| {
        let query = line.trim().strip_prefix("expr: '")?.strip_suffix('\'')?;
        Some(query.replace("''", "'"))
    };
    printed(&["--rules"]).lines().filter_map(unquoted).collect()
}

/// What a query names: each metric, as the page's samples are named, with the labels that are asked of it.
fn named(query: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find("tidegate_") {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c| !is_word(c)).unwrap_or(from.len());
        let (name, after) = from.split_at(end);
        let matchers =
            after.strip_prefix('{').and_then(|inside| inside.split_once('}')).map_or("", |(inside, _)| inside);
        let mut labels: BTreeSet<String> = matchers
            .split(", ")
            .filter_map(|matcher| matcher.split_once('='))
            .map(|(label, _)| label.to_owned())
            .collect();
        // `sum by (le, stage) (rate(NAME…` and `label_values(NAME, stage)` ask for labels, too.
        if let Some((_, by)) = before.rsplit_once("by (") {
            labels.extend(by.split(')').next().unwrap().split(", ").map(str::to_owned));
        }
        if before.ends_with("label_values(") {
            labels.extend(after.strip_prefix(", ").and_then(|label| label.strip_suffix(')')).map(str::to_owned));
        }
        // Prometheus adds these itself.
        labels.retain(|label| label != "instance");
        found.push((name.to_owned(), labels));
        rest = after;
    }
    found
}

/// The metric that a sample is of, if it may have such a name.
fn family<'a>(sample: &'a str, registry: &BTreeMap<String, (String, BTreeSet<String>)>) -> Option<&'a str> {
    let kind = |name: &str| registry.get(name).map(|(kind, _)| &**kind);
    let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| sample.strip_suffix(part));
    match (part, kind(sample)) {
        (Some(name), _) if kind(name) == Some("histogram") => Some(name),
        (_, Some("counter" | "gauge")) => Some(sample),
        _ => None,
    }
}

#[test]
fn what_a_query_names_is_found() {
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let of = |name: &str, asked: &[&str]| (name.to_owned(), labels(asked));
    assert_eq!(named("tidegate_a / tidegate_b{x=\"1\"} > 0.8"), [of("tidegate_a", &[]), of("tidegate_b", &["x"])]);
    assert_eq!(
        named("histogram_quantile(0.9, sum by (le, s) (rate(tidegate_c_bucket{instance=~\"$i\", t=~\"a|b\"}[5m])))"),
        [of("tidegate_c_bucket", &["le", "s", "t"])]
    );
    assert_eq!(named("label_values(tidegate_d, stage)"), [of("tidegate_d", &["stage"])]);
}

#[test]
fn no_panel_and_no_rule_names_a_metric_or_label_that_does_not_exist() {
    let (registry, panels, rules) = (registry(), panels(), rules());
    assert!(registry.len() > 40 && panels.len() > 40 && rules.len() > 15, "{} {}", panels.len(), rules.len());
    for query in panels.iter().chain(&rules) {
        let named = named(query);
        assert!(!named.is_empty(), "{query} names none of our metrics");
        for (sample, asked) in named {
            let name = family(&sample, &registry).unwrap_or_else(|| panic!("{sample} does not exist: {query}"));
            for label in asked {
                let is_there = registry[name].1.contains(&label) || (label == "le" && sample.ends_with("_bucket"));
                assert!(is_there, "{name} has no label {label}: {query}");
            }
        }
    }
}

#[test]
fn every_rule_says_how_urgent_it_is_and_what_to_do() {
    let text = printed(&["--rules"]);
    let rules: Vec<&str> = text.split("      - alert: ").skip(1).collect();
    assert!(rules.len() > 15, "{}", rules.len());
    for rule in rules {
        let of = |key: &str| {
            let line = rule.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {key} in {rule}")).trim_matches('\'').to_owned()
        };
        assert!(of("for").ends_with(['s', 'm']) && ["critical", "warning"].contains(&&*of("severity")), "{rule}");
        assert!(of("summary").len() > 20 && of("description").len() > 80, "{rule}");
        assert!(of("summary").contains("{{ $labels."), "it names nobody: {rule}");
    }
}

/// The samples of a page: names, and the labels that each has been seen with.
fn samples(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""));
        all.entry(name.to_owned()).or_default().extend(labels.map(|(label, _)| label.to_owned()));
    }
    all
}

/// A server of which everything happens: webhooks, a push, a connection that ends.
fn lively() -> (Server, Receiver) {
    let receiver = Receiver::agreeing();
    let url = receiver.url();
    let events = "events = [\"messageReceived\", \"receiversOffline\"]\nsecret = \"a secret for webhooks\"";
    let hooked = app("hooked-app", &format!("push_webhook = \"{url}\"\n[[app.webhook]]\nurl = \"{url}\"\n{events}\n"));
    let traced = format!("[journeys]\notlp = \"{url}\"\n");
    let server = Server::with(traced + &patient() + &hooked);
    let mut tom = Client::login_to(&server, "hooked-app", "tom");
    let jerry = Client::login_to(&server, "hooked-app", "jerry");
    let cid = tom.start(&["jerry", "spike"]);
    for n in 0..20 {
        let words = format!("message {n}");
        tom.try_send(DirectCommand { cid: some(&cid), msg: body(&words), ..DirectCommand::default() }).unwrap();
    }
    drop((tom, jerry));
    (server, receiver)
}

/// What is there on Linux alone is asked for there alone.
#[cfg(target_os = "linux")]
#[test]
fn every_metric_is_on_the_page_with_the_labels_that_panels_and_rules_ask_for() {
    let (server, _receiver) = lively();
    let registry = registry();
    let names = registry.iter().flat_map(|(name, (kind, _))| match &**kind {
        "histogram" => ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec(),
        _ => vec![name.clone()],
    });
    let names: BTreeSet<String> = names.collect();
    let page = eventually("a page with every metric", || {
        let page = http::get(server.admin(), "/metrics").body;
        let there = samples(&page);
        let missing: Vec<_> = names.iter().filter(|name| !there.contains_key(*name)).collect();
        if !missing.is_empty() {
            println!("not yet: {missing:?}");
        }
        missing.is_empty().then_some(page)
    });
    let there = samples(&page);
    for (sample, labels) in &there {
        let name = family(sample, &registry).unwrap_or_else(|| panic!("{sample} is not in the registry"));
        let mut known = registry[name].1.clone();
        known.extend(sample.ends_with("_bucket").then(|| "le".to_owned()));
        assert_eq!(labels, &known, "labels of {sample}");
    }
    for query in panels().iter().chain(&rules()) {
        for (sample, asked) in named(query) {
            assert!(asked.is_subset(&there[&sample]), "{query}: {sample} has {:?}", there[&sample]);
        }
    }
    // Nothing says two things of one name.
    let types: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len(), "{types:?}");
}

/// Senders that each wait for their answer keep some events inside all the time.
#[test]
fn what_the_stages_say_of_their_times_agrees_with_who_came_and_left() {
    let server = Server::with(patient());
    let mut senders = load::senders(&server, 8, 4, 4);
    let tally = Tally::default();
    let laws = load::run(&server, &mut senders, &tally, || {
        // Ten seconds are looked at together; the first ones, in which load sets in, are to be gone.
        std::thread::sleep(Duration::from_secs(13));
        let stages = http::get(server.admin(), "/stages").json();
        let history = http::get(server.admin(), "/history?seconds=8").json();
        let page = http::get(server.admin(), "/metrics").body;
        tally.stop();
        (stages, history, page)
    });
    let (stages, history, page) = laws;
    assert!(tally.acked() > 1_000, "{}", tally.acked());
    for stage in stages.as_array().unwrap() {
        let law = |key: &str| stage["law"][key].as_f64().unwrap();
        println!(
            "{:14} inside {:8.4} told {:8.4} error {:.4}",
            stage["name"].as_str().unwrap(),
            law("inside"),
            law("told"),
            law("error")
        );
        assert!(law("error") < 0.1, "{}: {}", stage["name"], stage["law"]);
        let name = stage["name"].as_str().unwrap();
        assert!(page.contains(&format!("tidegate_stage_little_error{{stage=\"{name}\"}} ")), "{page}");
    }
    let persist = stages.as_array().unwrap().iter().find(|stage| stage["name"] == "persist").unwrap();
    assert!(persist["law"]["inside"].as_f64() > Some(0.2), "hardly anybody was inside: {persist}");
    let seconds = history.as_array().unwrap();
    assert!(
        seconds.len() == 8 && seconds.iter().all(|second| second["stages"][0]["law"]["error"].is_number()),
        "each second tells it"
    );
}
