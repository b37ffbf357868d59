//! A configuration as a flat list of paths and values, in the order in which a file is written.
//!
//! Owns how each value is spelled, so that writing a file, comparing two and changing one cannot disagree. Defaults are
//! in the list as well; what is absent (`pool` of a stage with its own) is not. Must not know a file's text.

use std::fmt::Write;

use tidegate_domain::app::{App, Need, OnFailure, Webhook};
use tidegate_domain::hook::HookEvent;
use tidegate_engine::{PoolSettings, StageSettings};

use crate::config::{Admin, Alerts, Config, Listen, Net};
use crate::units::{duration, size};
use crate::value::Sync;

/// A key and what it is set to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    /// `stages`, `route`, `workers`; an app stands under its id, its webhooks under numbers from 1.
    pub(crate) path: Vec<String>,
    pub(crate) value: Value,
}

/// Equal if and only if the configuration is the same.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// In TOML between quotes.
    Text(String),
    /// As `Text`; not to be shown to everybody.
    Secret(String),
    /// As `Text`: a URL whose path lets in whoever knows it.
    SecretUrl(String),
    /// A number or a flag, as TOML has it.
    Plain(String),
    /// Of texts.
    List(Vec<String>),
}

/// In place of a secret.
const STARS: &str = "****************";

impl Value {
    /// As a file says it.
    pub(crate) fn toml(&self) -> String {
        match self {
            Value::Text(text) | Value::Secret(text) | Value::SecretUrl(text) => quoted(text),
            Value::Plain(plain) => plain.clone(),
            Value::List(texts) => format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")),
        }
    }

    /// As everybody may see it: stars in place of a secret, enough of them that a file with stars is a good one.
    pub(crate) fn starred(&self) -> String {
        match self {
            Value::Secret(_) => quoted(STARS),
            Value::SecretUrl(url) => quoted(&match url.match_indices('/').nth(2) {
                Some((path, _)) if path + 1 < url.len() => format!("{}/{STARS}", &url[..path]),
                _ => url.clone(),
            }),
            _ => self.toml(),
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// All settings.
pub(crate) fn of(config: &Config) -> Vec<Setting> {
    let mut list = List { path: Vec::new(), settings: Vec::new() };
    list.under("listen", |list| listen(&config.listen, list));
    list.under("admin", |list| admin(&config.admin, list));
    list.under("net", |list| net(&config.net, list));
    list.under("store", |list| {
        let store = &config.store;
        list.text(
            "sync",
            match store.sync {
                Sync::Commit => "commit".to_owned(),
                Sync::Interval(time) => format!("interval {}", duration(time)),
                Sync::Off => "off".to_owned(),
            },
        );
        list.text("retention", duration(store.retention));
        list.text("dedupe_window", duration(store.dedupe_window));
        list.plain("max_open_files", store.max_open_files);
    });
    list.under("memory", |list| {
        list.plain("conversations", config.memory.conversations);
        list.plain("nonces", config.memory.nonces);
        list.plain("revoked_tokens", config.memory.revoked_tokens);
    });
    list.under("journeys", |list| {
        let journeys = &config.journeys;
        list.share("sample", journeys.sample);
        if let Some(slow) = journeys.slow {
            list.text("slow", duration(slow));
        }
        list.plain("keep", journeys.keep);
        list.plain("trace", journeys.trace);
        if let Some(otlp) = &journeys.otlp {
            list.add("otlp", Value::SecretUrl(otlp.url.to_string()));
            list.under("otlp_headers", |list| otlp.headers.0.iter().for_each(|(name, value)| list.secret(name, value)));
        }
    });
    list.under("hdr", |list| {
        list.text("interval", duration(config.hdr.interval));
        list.plain("keep", config.hdr.keep);
    });
    list.under("alerts", |list| alerts(&config.alerts, list));
    for settings in &config.topology.stages {
        let calls = config.in_flight(&settings.name);
        list.under("stages", |list| list.under(&settings.name, |list| stage(settings, calls, list)));
    }
    for settings in &config.topology.pools {
        list.under("pools", |list| list.under(&settings.name, |list| pool(settings, list)));
    }
    for settings in &config.apps {
        list.under("app", |list| list.under(&settings.id, |list| app(settings, list)));
    }
    list.settings
}

struct List {
    path: Vec<String>,
    settings: Vec<Setting>,
}

impl List {
    fn under(&mut self, name: &str, inside: impl FnOnce(&mut List)) {
        self.path.push(name.to_owned());
        inside(self);
        self.path.pop();
    }

    fn add(&mut self, name: &str, value: Value) {
        let path = self.path.iter().cloned().chain([name.to_owned()]).collect();
        self.settings.push(Setting { path, value });
    }

    fn text(&mut self, name: &str, text: impl Into<String>) {
        self.add(name, Value::Text(text.into()));
    }

    fn secret(&mut self, name: &str, text: &str) {
        self.add(name, Value::Secret(text.to_owned()));
    }

    fn plain(&mut self, name: &str, value: impl ToString) {
        self.add(name, Value::Plain(value.to_string()));
    }

    /// A number that is found while the server runs is no setting: that it is to be found is.
    fn amount(&mut self, name: &str, number: usize, auto: bool) {
        if auto { self.text(name, "auto") } else { self.plain(name, number) }
    }

    /// Always with a fraction, and with as many digits as read back to the same.
    fn share(&mut self, name: &str, share: f64) {
        self.add(name, Value::Plain(format!("{share:?}")));
    }

    fn texts(&mut self, name: &str, texts: impl Iterator<Item = String>) {
        self.add(name, Value::List(texts.collect()));
    }
}

fn listen(listen: &Listen, list: &mut List) {
    let off = || "off".to_owned();
    list.text("http", listen.http.map_or_else(off, |address| address.to_string()));
    list.text("tcp", listen.tcp.map_or_else(off, |address| address.to_string()));
    list.text("admin", listen.admin.to_string());
    if let Some(tls) = &listen.tls {
        list.under("tls", |list| {
            list.text("cert", tls.cert.to_string_lossy());
            list.text("key", tls.key.to_string_lossy());
        });
    }
    list.plain("plain", listen.plain);
    if let Some(url) = &listen.public_url {
        list.text("public_url", url);
    }
    list.texts("trusted_proxies", listen.trusted_proxies.iter().map(ToString::to_string));
}

fn admin(admin: &Admin, list: &mut List) {
    let tokens = [("read_token", &admin.read_token), ("write_token", &admin.write_token)];
    for (name, token) in tokens {
        token.iter().for_each(|token| list.secret(name, token));
    }
}

fn net(net: &Net, list: &mut List) {
    list.plain("reactors", net.reactors);
    list.text("to", &net.to);
    list.plain("mailbox", net.mailbox);
    list.text("outbox", size(net.outbox as u64));
    list.plain("credits", net.credits);
    list.text("credit_bytes", size(net.credit_bytes as u64));
    list.text("max_frame", size(net.max_frame as u64));
    list.plain("max_connections", net.max_connections);
    list.plain("sessions_per_client", net.sessions_per_client);
    list.plain("sessions_per_connection", net.sessions_per_connection);
    list.text("handshake_timeout", duration(net.handshake_timeout));
    list.text("login_timeout", duration(net.login_timeout));
    list.text("idle_timeout", duration(net.idle_timeout));
    list.text("drain_timeout", duration(net.drain_timeout));
}

fn alerts(alerts: &Alerts, list: &mut List) {
    if let Some(url) = &alerts.webhook {
        list.add("webhook", Value::SecretUrl(url.clone()));
    }
    if let Some(secret) = &alerts.secret {
        list.secret("secret", secret);
    }
    list.text("interval", duration(alerts.interval));
    list.text("for", duration(alerts.hold));
    list.text("clear_after", duration(alerts.clear_after));
    list.plain("factor", alerts.factor);
    list.plain("min_rate", alerts.min_rate);
    list.text("min_latency", duration(alerts.min_latency));
    list.share("min_errors", alerts.min_errors);
}

fn stage(stage: &StageSettings, calls: Option<usize>, list: &mut List) {
    list.text("module", &stage.module);
    list.under("to", |list| stage.to.iter().for_each(|(output, target)| list.text(output, target)));
    if let Some(pool) = &stage.pool {
        list.text("pool", pool);
    }
    list.amount("workers", stage.workers, stage.auto.workers);
    list.amount("batch", stage.batch, stage.auto.batch);
    list.plain("bound", stage.bound);
    list.text("policy", stage.policy.to_string());
    list.text("delay_target", duration(stage.delay_target));
    list.text("delay_interval", duration(stage.delay_interval));
    list.share("key_share", stage.key_share);
    list.plain("window", stage.window);
    if let Some(calls) = calls {
        list.plain("in_flight", calls);
    }
}

fn pool(pool: &PoolSettings, list: &mut List) {
    list.plain("workers", pool.workers);
    list.text("spin", duration(pool.spin));
    list.plain("reactors", pool.helped);
}

fn app(app: &App, list: &mut List) {
    list.text("id", &*app.id);
    list.secret("key", &app.key);
    list.secret("master_key", &app.master_key);
    list.texts("origins", app.origins.iter().map(ToString::to_string));
    let signature = &app.signature;
    let needs = [("login", signature.login), ("start", signature.start), ("add", signature.add)];
    list.under("signature", |list| {
        for (name, need) in needs.into_iter().chain([("remove", signature.remove)]) {
            list.text(
                name,
                match need {
                    Need::Off => "off",
                    Need::Optional => "optional",
                    Need::Required => "required",
                },
            );
        }
    });
    if let Some(url) = &app.push_webhook {
        list.text("push_webhook", &**url);
    }
    for (at, hook) in app.webhooks.iter().enumerate() {
        list.under("webhook", |list| list.under(&(at + 1).to_string(), |list| webhook(hook, list)));
    }
}

fn webhook(hook: &Webhook, list: &mut List) {
    list.text("url", &*hook.url);
    list.secret("secret", &hook.secret);
    let name = |event: &HookEvent| match event {
        HookEvent::MessageReceived => "messageReceived",
        HookEvent::MessageSent => "messageSent",
        HookEvent::ReceiversOffline => "receiversOffline",
    };
    list.texts("events", hook.events.iter().map(|event| name(event).to_owned()));
    list.text("timeout", duration(hook.timeout));
    list.plain("concurrency", hook.concurrency);
    list.text(
        "on_failure",
        match hook.on_failure {
            OnFailure::Pass => "pass",
            OnFailure::Refuse => "refuse",
        },
    );
}
