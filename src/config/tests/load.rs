//! Good files: what they mean, and that every default is the one that the reference page tells.

mod common;

use std::time::Duration;

use proptest::prelude::*;
use tidegate_config::{
    Admin, Config, DEFAULT, Diagnostic, Severity, Sync, development_keys_exposed, load, new_app, reference, render_all,
};
use tidegate_domain::app::{Need, OnFailure};
use tidegate_domain::hook::HookEvent;
use tidegate_engine::{Policy, StageSettings};

fn good(text: &str) -> Config {
    match load(text, "pipeline.toml", &common::catalogue()) {
        Ok(config) => config,
        Err(diagnostics) => panic!("refused:\n{}", render_all(&diagnostics, false)),
    }
}

fn refused(text: &str) -> Vec<Diagnostic> {
    load(text, "pipeline.toml", &common::catalogue()).expect_err("this file must be refused")
}

fn stage<'c>(config: &'c Config, name: &str) -> &'c StageSettings {
    config.topology.stages.iter().find(|stage| stage.name == name).expect(name)
}

const APP: &str = "[[app]]\nid = \"company-chat\"\nkey = \"client-key-0001\"\nmaster_key = \"master-key-0001-0001\"\n";

const STAGES: &str = "[stages.decode]\n[stages.authenticate]\n[stages.route]\n[stages.read]\n[stages.persist]\n\
                      [stages.fan_out]\n[stages.hook]\n[stages.push]\n";

#[test]
fn an_empty_file_is_the_built_in_one() {
    let (empty, built_in) = (good(""), good(DEFAULT));
    assert_eq!(empty.listen, built_in.listen);
    assert_eq!((&empty.admin, &built_in.admin), (&Admin::default(), &Admin::default()));
    assert_eq!(empty.net, built_in.net);
    assert_eq!(empty.store, built_in.store);
    assert_eq!(empty.memory, built_in.memory);
    assert_eq!(empty.journeys, built_in.journeys);
    assert_eq!(empty.topology, built_in.topology);
    assert_eq!(empty.in_flight, built_in.in_flight);
    assert_eq!(empty.apps, built_in.apps);
    assert!(built_in.warnings.is_empty());
}

#[test]
fn bare_stages_mean_what_the_built_in_file_writes_out() {
    let mut bare = good(STAGES).topology;
    let mut built_in = good(DEFAULT).topology;
    bare.stages.sort_by(|a, b| a.name.cmp(&b.name));
    built_in.stages.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(bare, built_in);
}

#[test]
fn stages_stay_in_the_order_of_the_file() {
    let names: Vec<_> = good(DEFAULT).topology.stages.into_iter().map(|stage| stage.name).collect();
    assert_eq!(names, ["decode", "authenticate", "route", "persist", "fan_out", "read", "hook", "push"]);
}

#[test]
fn a_figure_may_be_left_to_the_server() {
    let config = good(
        "[stages.decode]\nworkers = \"auto\"\nbatch = 'auto'\nbound = 40\n[stages.authenticate]\nbatch = \"auto\"\n\
                       [stages.route]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n",
    );
    let set = |name: &str| {
        let stage = stage(&config, name);
        (stage.workers, stage.batch, stage.auto.workers, stage.auto.batch)
    };
    assert_eq!(set("decode"), (1, 40, true, true), "no batch is larger than its bound");
    assert_eq!((set("authenticate"), set("route")), ((1, 64, false, true), (1, 64, false, false)));
}

#[test]
fn every_key_of_the_issue_is_read() {
    let text = format!(
        "[listen]\nhttp = \"0.0.0.0:80\"\ntcp = \"off\"\nadmin = \"[::1]:9\"\ntls = {{ cert = \"c.pem\", key = \"k.pem\" }}\n\
         plain = false\npublic_url = \"https://chat.example.com\"\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n\
         [admin]\nread_token = \"may-look-and-no-more\"\nwrite_token = \"may-change-everything\"\n\
         [net]\nreactors = 2\nto = \"first\"\nmailbox = 100\noutbox = \"1.5 MiB\"\ncredits = 7\ncredit_bytes = \"1 MiB\"\n\
         max_frame = \"8 KiB\"\nmax_connections = 9\nsessions_per_client = 3\nsessions_per_connection = 5\nhandshake_timeout = \"1s\"\n\
         login_timeout = \"2s\"\nidle_timeout = \"10m\"\ndrain_timeout = \"1500ms\"\n\
         [store]\nsync = \"interval 250ms\"\nretention = \"7d\"\ndedupe_window = \"1h\"\nmax_open_files = 128\n\
         [memory]\nconversations = 1\nnonces = 2\nrevoked_tokens = 3\n\
         [journeys]\nsample = 1\nslow = \"250ms\"\nkeep = 5\ntrace = 6\notlp = \"https://collector.example.com/base/\"\n\
         otlp_headers = {{ Authorization = \"Bearer hush\", x-scope = \"7\" }}\n\
         [hdr]\ninterval = \"1m\"\nkeep = 0\n\
         [alerts]\nwebhook = \"https://alerts.example.com/x\"\nsecret = \"s3cret-of-alerts\"\ninterval = \"10s\"\nfor = \"30s\"\n\
         clear_after = \"3m\"\nfactor = 4\nmin_rate = 7\nmin_latency = \"9ms\"\nmin_errors = 0.25\n\
         [stages.first]\nmodule = \"decode\"\npool = \"common\"\nworkers = 3\nbatch = 5\nbound = 600\n\
         policy = \"drop-oldest\"\ndelay_target = \"1ms\"\ndelay_interval = \"10ms\"\nkey_share = 0.5\nwindow = 4\n\
         [stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\nto = {{ push = \"none\" }}\n\
         [stages.route]\nto = {{ durable = \"persist\", transient = \"fan_out\", before = \"late_hook\", lookup = \"read\" }}\n\
         [stages.late_hook]\nmodule = \"hook\"\nin_flight = 9\nto = {{ push = \"none\" }}\n\
         [pools.common]\nworkers = 4\nspin = \"0us\"\n{APP}\
         origins = [\"https://chat.example.com\"]\npush_webhook = \"http://10.0.0.1/push\"\n\
         signature = {{ login = \"required\", add = \"optional\" }}\n\
         [[app.webhook]]\nurl = \"https://hooks.example.com/a\"\nsecret = \"s3cret-of-a-hook\"\nevents = [\"messageSent\"]\n\
         timeout = \"1s\"\nconcurrency = 2\non_failure = \"refuse\"\n"
    );
    let config = good(&text);
    assert_eq!(config.listen.http, Some("0.0.0.0:80".parse().unwrap()));
    assert_eq!(config.listen.tcp, None);
    assert_eq!(config.listen.admin, "[::1]:9".parse().unwrap());
    assert_eq!(config.listen.tls.as_ref().unwrap().key.to_str(), Some("k.pem"));
    assert!(!config.listen.plain);
    assert_eq!(config.listen.public_url.as_deref(), Some("https://chat.example.com"));
    assert_eq!(config.listen.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(config.admin.read_token.as_deref(), Some("may-look-and-no-more"));
    assert_eq!(config.admin.write_token.as_deref(), Some("may-change-everything"));
    let net = &config.net;
    assert_eq!((net.reactors, net.to.as_str(), net.mailbox), (2, "first", 100));
    assert_eq!((net.outbox, net.credits, net.credit_bytes, net.max_frame), (3 << 19, 7, 1 << 20, 8 << 10));
    assert_eq!((net.max_connections, net.sessions_per_client, net.sessions_per_connection), (9, 3, 5));
    let timeouts = [net.handshake_timeout, net.login_timeout, net.idle_timeout, net.drain_timeout];
    assert_eq!(timeouts.map(|time| time.as_millis()), [1_000, 2_000, 600_000, 1_500]);
    assert_eq!(config.store.sync, Sync::Interval(Duration::from_millis(250)));
    assert_eq!(config.store.retention, Duration::from_secs(7 * 86_400));
    assert_eq!((config.store.dedupe_window.as_secs(), config.store.max_open_files), (3600, 128));
    assert_eq!((config.memory.conversations, config.memory.nonces, config.memory.revoked_tokens), (1, 2, 3));
    assert_eq!((config.hdr.interval, config.hdr.keep), (Duration::from_secs(60), 0));
    let alerts = &config.alerts;
    assert_eq!(alerts.webhook.as_deref(), Some("https://alerts.example.com/x"));
    assert_eq!(alerts.secret.as_deref(), Some("s3cret-of-alerts"));
    assert!(!format!("{config:?}").contains("s3cret-of-alerts"));
    let times = [alerts.interval, alerts.hold, alerts.clear_after, alerts.min_latency];
    assert_eq!(times.map(|time| time.as_millis()), [10_000, 30_000, 180_000, 9]);
    assert_eq!((alerts.factor, alerts.min_rate, alerts.min_errors), (4, 7, 0.25));
    assert_eq!((config.journeys.sample, config.journeys.keep, config.journeys.trace), (1.0, 5, 6));
    assert_eq!(config.journeys.slow, Some(Duration::from_millis(250)));
    let otlp = config.journeys.otlp.as_ref().expect("it is there");
    let headers = [("Authorization", "Bearer hush"), ("x-scope", "7")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!((otlp.url.as_str(), &otlp.headers.0[..]), ("https://collector.example.com/base/", &headers[..]));
    assert!(!format!("{config:?}").contains("hush"), "what is secret is not shown");
    let first = stage(&config, "first");
    assert_eq!((first.module.as_str(), first.pool.as_deref()), ("decode", Some("common")));
    assert_eq!((first.workers, first.batch, first.bound, first.window), (3, 5, 600, 4));
    assert_eq!((first.policy, first.key_share), (Policy::DropOldest, 0.5));
    assert_eq!((first.delay_target.as_millis(), first.delay_interval.as_millis()), (1, 10));
    assert_eq!(first.to, [("next".to_owned(), "authenticate".to_owned())]);
    assert_eq!(stage(&config, "route").to[2], ("before".to_owned(), "late_hook".to_owned()));
    assert_eq!(config.in_flight("late_hook"), Some(9));
    assert_eq!(config.in_flight("hook"), Some(256));
    assert_eq!(config.in_flight("route"), None);
    assert_eq!(config.topology.pools.len(), 1);
    assert_eq!((config.topology.pools[0].workers, config.topology.pools[0].spin), (4, Duration::ZERO));
    let app = &config.apps[0];
    assert_eq!((&*app.id, &*app.key, app.index.0), ("company-chat", "client-key-0001", 0));
    assert_eq!(app.origins, ["https://chat.example.com".into()]);
    assert_eq!(app.push_webhook.as_deref(), Some("http://10.0.0.1/push"));
    assert_eq!(
        (app.signature.login, app.signature.start, app.signature.add),
        (Need::Required, Need::Off, Need::Optional)
    );
    let webhook = &app.webhooks[0];
    assert_eq!(webhook.events, [HookEvent::MessageSent]);
    assert_eq!((webhook.timeout.as_secs(), webhook.concurrency, webhook.on_failure), (1, 2, OnFailure::Refuse));
}

#[test]
fn a_webhook_hears_of_everything_unless_told_otherwise() {
    let text = format!("{APP}[[app.webhook]]\nurl = \"https://a.example\"\nsecret = \"s3cret-of-a-hook\"\n");
    let webhook = &good(&text).apps[0].webhooks[0];
    assert_eq!(webhook.events, [HookEvent::MessageReceived, HookEvent::MessageSent, HookEvent::ReceiversOffline]);
    assert_eq!((webhook.timeout.as_secs(), webhook.concurrency, webhook.on_failure), (3, 32, OnFailure::Pass));
}

#[test]
fn apps_are_numbered_in_the_order_of_the_file() {
    let second = APP.replace("company-chat", "other-company");
    let apps = good(&format!("{APP}{second}")).apps;
    assert_eq!(
        apps.iter().map(|app| (app.index.0, &*app.id)).collect::<Vec<_>>(),
        [(0, "company-chat"), (1, "other-company")]
    );
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    let text = format!(
        "{APP}[[app.webhook]]\nurl = \"https://a.example\"\nsecret = \"s3cret-of-a-hook\"\n[listen]\nadmin = \"0.0.0.0:7702\"\n\
         [admin]\nread_token = \"may-look-and-no-more\"\nwrite_token = \"may-change-everything\"\n"
    );
    let config = good(&text);
    let printed = format!("{config:?}\n{}", render_all(&config.warnings, false));
    for secret in
        ["s3cret-of-a-hook", "client-key-0001", "master-key-0001-0001", "may-look-and-no-more", "may-change-everything"]
    {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn risks_are_allowed_and_said() {
    for (text, said) in [
        ("[store]\nsync = \"off\"\n", "an acknowledged message may be lost"),
        ("[store]\nsync = \"interval 1s\"\n", "an acknowledged message may be lost"),
        ("[net]\nidle_timeout = \"30s\"\n", "`net.idle_timeout` closes clients that are well"),
        (
            "[[app]]\nid = \"short\"\nkey = \"client-key-0001\"\nmaster_key = \"master-key-0001-0001\"\n",
            "LeanCloud's Java",
        ),
    ] {
        let warnings = good(text).warnings;
        assert_eq!(warnings.len(), 1, "{text}");
        assert!(warnings[0].title().contains(said), "{}", warnings[0]);
        assert_eq!(warnings[0].severity(), Severity::Warning);
    }
}

#[test]
fn an_open_address_without_a_certificate_is_said() {
    let open = "[listen]\nhttp = \"0.0.0.0:7700\"\ntcp = \"0.0.0.0:7701\"\n";
    let warned = |more: &str| good(&format!("{open}{more}{APP}")).warnings.len();
    assert_eq!(warned(""), 1);
    assert_eq!(warned("tls = { cert = \"c\", key = \"k\" }\n"), 0);
    assert_eq!(warned("public_url = \"https://chat.example.com\"\n"), 0);
}

#[test]
fn the_admin_port_is_open_to_others_with_a_token_and_then_it_is_said() {
    let with =
        |address: &str, tokens: &str| good(&format!("[listen]\nadmin = \"{address}\"\n[admin]\n{tokens}")).warnings;
    let (read, write) = ("read_token = \"may-look-and-no-more\"\n", "write_token = \"may-change-everything\"\n");
    for tokens in [read, write, &format!("{read}{write}")] {
        for open in ["0.0.0.0:7702", "[::]:7702", "10.1.2.3:7702"] {
            let warnings = with(open, tokens);
            assert_eq!(warnings.len(), 1, "{open} {tokens}");
            assert!(warnings[0].title().contains("can be read on their way"), "{}", warnings[0]);
        }
        assert!(with("127.0.0.1:7702", tokens).is_empty() && with("[::1]:7702", tokens).is_empty());
    }
    assert_eq!(refused("[listen]\nadmin = \"10.1.2.3:7702\"\n[admin]\n").len(), 1);
}

#[test]
fn a_push_webhook_without_a_push_stage_is_said() {
    let stages =
        STAGES.replace("[stages.push]\n", "").replace("[stages.hook]\n", "[stages.hook]\nto = { push = \"none\" }\n");
    let warnings = good(&format!("{stages}{APP}push_webhook = \"https://push.example.com\"\n")).warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].title().contains("push_webhook"), "{}", warnings[0]);
}

#[test]
fn a_pool_may_wait_for_a_stage() {
    let config = good(&format!("{STAGES}[pools.spare]\nworkers = 3\n"));
    assert_eq!(config.topology.pools.len(), 1);
    assert_eq!(config.warnings.len(), 1);
    let said = config.warnings[0].to_string();
    assert!(said.starts_with("warning: no stage uses `pools.spare`") && said.contains("moved there"), "{said}");
}

#[test]
fn development_keys_stay_on_this_machine() {
    assert!(!development_keys_exposed(&good("")));
    let mut config = good("");
    config.listen.http = Some("192.0.2.1:7700".parse().unwrap());
    assert!(development_keys_exposed(&config));
    assert!(!development_keys_exposed(&good(&format!("[listen]\nhttp = \"0.0.0.0:7700\"\n{APP}"))));
    // An IPv4 loopback in IPv6 clothes is loopback.
    good("[listen]\nhttp = \"[::ffff:127.0.0.1]:7700\"\n");
    let said = render_all(&refused("[listen]\nhttp = \"0.0.0.0:7700\"\n"), false);
    assert!(said.contains("tidegate app new"), "{said}");
}

#[test]
fn a_fresh_app_loads_and_is_fresh() {
    let (one, other) = (new_app().unwrap(), new_app().unwrap());
    let (one, other) = (good(&one), good(&other));
    assert!(one.warnings.is_empty());
    assert_ne!(one.apps[0].id, other.apps[0].id);
    assert_ne!(one.apps[0].key, other.apps[0].key);
    assert_ne!(one.apps[0].key, one.apps[0].master_key);
    assert!(!development_keys_exposed(&good(&format!("[listen]\nhttp = \"0.0.0.0:7700\"\n{}", new_app().unwrap()))));
}

#[test]
fn a_file_that_is_none_is_refused_soon_and_shortly() {
    let mut text = "\u{1}garbage = = [\n".repeat(20_000);
    text.push_str(&"[net]\nunknown_key = 1\n".repeat(100));
    let started = std::time::Instant::now();
    let said = refused(&text);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(said.len(), 101);
    assert!(said[100].title().contains("more errors"), "{}", said[100]);
}

#[test]
fn depth_is_refused_or_read_and_never_overflows() {
    for text in [
        format!("[[app]]\n{}a = 1\n", "a.".repeat(50_000)),
        format!("[{}a]\n", "a.".repeat(50_000)),
        format!("a = {}", "[".repeat(50_000)),
        format!("a = {}", "{ a = ".repeat(50_000)),
    ] {
        assert!(!refused(&text).is_empty());
    }
}

#[test]
fn places_count_lines_and_characters_from_one() {
    let diagnostics = refused("# 服务器\n[net]\nto = \"décode\" # 1\nmailbox = \"é\"\n");
    let places: Vec<_> = diagnostics.iter().map(Diagnostic::position).collect();
    assert_eq!(places, [Some((3, 6)), Some((4, 11))]);
}

/// The rows of the page's tables: section header, key, default.
fn rows(page: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut rows = Vec::new();
    let mut of_keys = false;
    for line in page.lines() {
        of_keys = line.starts_with("| Key | Default |") || of_keys && line.starts_with('|');
        if let Some(header) = line.strip_prefix("## ") {
            section = header.trim_matches('`').to_owned();
        }
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if of_keys && line.starts_with("| `") && cells.len() == 4 {
            let key = cells[0].split('`').nth(1).unwrap_or_default().to_owned();
            rows.push((section.clone(), key, cells[1].trim_matches('`').to_owned()));
        }
    }
    rows
}

#[test]
fn defaults_written_out_change_nothing() {
    let page = reference(&common::catalogue());
    let (mut head, mut stage_keys, mut app_keys, mut hook_keys) =
        (String::new(), String::new(), String::new(), String::new());
    for (section, key, default) in rows(&page) {
        // The default of `delay_target` depends on the module.
        if default == "required" || default.starts_with("none") || key == "delay_target" {
            continue;
        }
        let line = format!("{key} = {default}\n");
        match section.as_str() {
            "[stages.NAME]" => stage_keys.push_str(&line),
            "[[app]]" => app_keys.push_str(&line),
            "[[app.webhook]]" => hook_keys.push_str(&line),
            "[pools.NAME]" => assert!(["workers", "spin", "reactors"].contains(&key.as_str())),
            section if section.starts_with('[') && !section.contains("NAME") => {
                if !head.contains(section) {
                    head.push_str(&format!("{section}\n"));
                }
                head.push_str(&line);
            }
            _ => {}
        }
    }
    assert!(stage_keys.contains("key_share") && app_keys.contains("origins") && hook_keys.contains("timeout"));
    let names: Vec<_> = common::catalogue().names().collect();
    let stages: String = names.iter().map(|name| format!("[stages.{name}]\n{stage_keys}")).collect();
    let hook = "[[app.webhook]]\nurl = \"https://a.example\"\nsecret = \"s3cret-of-a-hook\"\n";
    let written = good(&format!("{head}{stages}{APP}{app_keys}{hook}{hook_keys}"));
    let short = good(&format!("{STAGES}{APP}{hook}"));
    assert_eq!(written.listen, short.listen);
    assert_eq!(written.net, short.net);
    assert_eq!(written.store, short.store);
    assert_eq!(written.memory, short.memory);
    assert_eq!(written.journeys, short.journeys);
    assert_eq!(written.apps, short.apps);
    for stage in &short.topology.stages {
        assert!(written.topology.stages.contains(stage), "{stage:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        check_any(&text);
    }

    /// Lines that look like a file's, in any order, cut anywhere.
    #[test]
    fn no_torn_file_makes_it_panic(picks in prop::collection::vec(0..LINES.len(), 0..24), cut in 0usize..400) {
        let mut text: String = picks.iter().map(|pick| format!("{}\n", LINES[*pick])).collect();
        let at = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(at);
        check_any(&text);
    }

    /// The built-in file with one stretch of it replaced by something else.
    #[test]
    fn no_change_of_the_built_in_file_makes_it_panic(from in 0..DEFAULT.len(), length in 0usize..40, with in "[ -~\\n服]{0,12}") {
        let boundary = |at: usize| (0..=at.min(DEFAULT.len())).rev().find(|at| DEFAULT.is_char_boundary(*at)).unwrap_or(0);
        let (start, end) = (boundary(from), boundary(from + length));
        check_any(&format!("{}{with}{}", &DEFAULT[..start], &DEFAULT[end.max(start)..]));
    }
}

/// Whatever it is, it is a configuration or has complaints that can be shown.
fn check_any(text: &str) {
    match load(text, "any.toml", &common::catalogue()) {
        Ok(config) => config.warnings.iter().for_each(|warning| assert!(!warning.render(true).is_empty())),
        Err(diagnostics) => {
            assert!(diagnostics.iter().any(|d| d.severity() == Severity::Error));
            assert!(!render_all(&diagnostics, true).is_empty());
            diagnostics.iter().for_each(|d| _ = d.position());
        }
    }
}

const LINES: &[&str] = &[
    "[listen]",
    "[net]",
    "[store]",
    "[stages]",
    "[stages.route]",
    "[stages.\"服务\"]",
    "[pools.common]",
    "[[app]]",
    "[[app.webhook]]",
    "[app]",
    "to = { durable = \"persist\", before = \"none\" }",
    "to = \"route\"",
    "pool = \"common\"",
    "workers = 2",
    "workers = -2",
    "bound = 0",
    "batch = 1e9",
    "http = \"127.0.0.1:0\"",
    "http = \"服务:7700\"",
    "key = \"s3cret\"",
    "secret = '''a\nb'''",
    "master_key = \"\\u0000\"",
    "id = \"公司\"",
    "sync = \"interval 服\"",
    "outbox = \"256 KiB\"",
    "outbox = \"1e400 GiB\"",
    "delay_target = \"999999999999d\"",
    "sample = nan",
    "sample = -inf",
    "events = [\"messageSent\", 1, [2]]",
    "signature = { login = \"required\" }",
    "trusted_proxies = [\"::/129\"]",
    "public_url = \"http://\"",
    "origins = [\"data:,\"]",
    "retention = 1979-05-27",
    "\u{feff}",
    "a.b.c = 1",
    "= 1",
    "\"",
];
