//! From a file's text to a `Config`, or to all that is wrong with it.
//!
//! Owns the order: syntax, then each section, then what sections say of each other. Goes on after each complaint, and
//! leaves out those that another one would only echo.

use toml::de::{DeTable, DeValue};

use crate::DEFAULT;
use crate::admin;
use crate::apps;
use crate::catalogue::ModuleCatalogue;
use crate::config::{Alerts, Config, Hdr, Memory, Net, Store, Tls};
use crate::diagnostic::{Diagnostic, Report, Severity};
use crate::journeys;
use crate::keys::SECTIONS;
use crate::listen;
use crate::mask::mask;
use crate::pipeline;
use crate::problems;
use crate::section::{Section, entries};
use crate::syntax;
use crate::value::Sync;
use crate::words::closest;

/// Reads a file. `file_name` is for people; `catalogue` tells what the modules declare. An error is the whole list of
/// complaints, warnings included, in the order of the file; a good file's warnings are in `Config::warnings`.
pub fn load(text: &str, file_name: &str, catalogue: &ModuleCatalogue) -> Result<Config, Vec<Diagnostic>> {
    load_with(text, file_name, catalogue, &|_| Ok(()))
}

/// A file that `listen.tls` names and that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongFile {
    /// `cert` or `key`.
    pub key: &'static str,
    /// Why, in a few words.
    pub reason: String,
}

/// As [`load`]; `certificate` looks into the files of `listen.tls`, which this crate does not.
pub fn load_with(
    text: &str,
    file_name: &str,
    catalogue: &ModuleCatalogue,
    certificate: &dyn Fn(&Tls) -> Result<(), WrongFile>,
) -> Result<Config, Vec<Diagnostic>> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let root = root.get_ref();
    let broken = !syntax.is_empty();
    let mut report = Report::new(file_name, mask(text, root, broken));
    syntax::explain(&syntax, text, root, &mut report);
    report.hush();

    let find = |name: &str| entries(root).into_iter().find(|entry| entry.name == name);
    let section = |name: &'static str, report: &mut Report| match find(name) {
        Some(entry) => Section::of(name, name, &entry, report),
        None => Section::absent(name, name),
    };
    // Below a broken header, keys stand where they do not belong.
    if !broken {
        unknown_sections(root, &mut report);
    }
    let listen_section = section("listen", &mut report);
    let listen = listen::read(&listen_section, &mut report);
    listen::certificate(&listen, &listen_section, certificate, &mut report);
    let admin_section = section("admin", &mut report);
    let admin = admin::read(&admin_section, &mut report);
    // A token may stand on the very line that is broken.
    if !broken {
        admin::exposure(&listen, &listen_section, &admin, &admin_section, &mut report);
    }
    let net_section = section("net", &mut report);
    let net = net(&net_section, &mut report);
    let store = store(&section("store", &mut report), &mut report);
    let memory = memory(&section("memory", &mut report), &mut report);
    let journeys = journeys::read(&section("journeys", &mut report), &mut report);
    let hdr = hdr(&section("hdr", &mut report), &mut report);
    let alerts = alerts(&section("alerts", &mut report), &mut report);

    let (default_root, _) = DeTable::parse_recoverable(DEFAULT);
    let default_find = |name: &str| entries(default_root.get_ref()).into_iter().find(|entry| entry.name == name);
    let tables = pipeline::Tables {
        stages: find("stages"),
        pools: find("pools"),
        default_stages: default_find("stages"),
        net: &net_section,
        // What a broken line would have said is not known: complaints of what is missing would be echoes.
        whole: !broken,
    };
    let pipeline = pipeline::read(&tables, &net, catalogue, &mut report);

    let apps = match find("app") {
        Some(entry) => apps::read(&entry, &mut report),
        None => default_find("app").map(|entry| apps::read(&entry, &mut report)).unwrap_or_default(),
    };
    let own_apps = find("app").is_some();
    // An [[app]] that a broken line hides may well have keys of its own.
    if own_apps || !broken {
        listen::exposure(&listen, &listen_section, &apps, own_apps, &mut report);
        listen::locked_out(&listen, &listen_section, &apps, &mut report);
    }

    let mut config = Config {
        listen,
        admin,
        net,
        store,
        memory,
        journeys,
        hdr,
        alerts,
        topology: pipeline.topology,
        in_flight: pipeline.in_flight,
        apps: apps.into_iter().map(|placed| placed.app).collect(),
        warnings: Vec::new(),
    };
    problems::never_called(&config, find("app"), &mut report);
    let failed = report.has_errors();
    let diagnostics = report.finish();
    if failed {
        return Err(diagnostics);
    }
    config.warnings = diagnostics.into_iter().filter(|d| d.severity() == Severity::Warning).collect();
    Ok(config)
}

fn unknown_sections(root: &DeTable<'_>, report: &mut Report) {
    let known: Vec<_> = SECTIONS.iter().map(|section| section.name).filter(|name| !name.contains('.')).collect();
    for entry in entries(root) {
        if known.contains(&entry.name) {
            continue;
        }
        let is_table = matches!(entry.value, DeValue::Table(_) | DeValue::Array(_));
        let near = closest(entry.name, known.iter().copied());
        let owner = crate::keys::KEYS.iter().find(|key| key.name == entry.name);
        let help = match (near, owner) {
            (Some("app"), _) if is_table => "did you mean [[app]]?".to_owned(),
            (Some(near), _) if is_table => format!("did you mean [{near}]?"),
            (None, Some(key)) if !is_table => {
                let header = SECTIONS.iter().find(|s| s.name == key.section).map_or(key.section, |s| s.header);
                format!("`{}` belongs to {header}: move it below that line", entry.name)
            }
            _ => format!("a file has {}", known.join(", ")),
        };
        let what = if is_table { "table" } else { "key" };
        report
            .error(format!("there is no {what} `{}`", entry.name))
            .at(entry.name_span, format!("unknown {what}"))
            .help(help);
    }
}

fn net(section: &Section<'_>, report: &mut Report) -> Net {
    section.refuse_unknown(report);
    let net = Net {
        reactors: section.value("reactors", report),
        to: section.value("to", report),
        mailbox: section.value("mailbox", report),
        outbox: section.value("outbox", report),
        credits: section.value("credits", report),
        credit_bytes: section.value("credit_bytes", report),
        max_frame: section.value("max_frame", report),
        max_connections: section.value("max_connections", report),
        sessions_per_client: section.value("sessions_per_client", report),
        sessions_per_connection: section.value("sessions_per_connection", report),
        handshake_timeout: section.value("handshake_timeout", report),
        login_timeout: section.value("login_timeout", report),
        idle_timeout: section.value("idle_timeout", report),
        drain_timeout: section.value("drain_timeout", report),
    };
    if net.credit_bytes < net.max_frame
        && let Some(span) = section.entry("credit_bytes").or(section.entry("max_frame")).map(|entry| entry.span)
    {
        report
            .error("`net.credit_bytes` is less than `net.max_frame`")
            .at(span, "the longest command would never have credit")
            .help(format!("write `credit_bytes = \"{}\"` or more", crate::units::size(net.max_frame as u64)));
    }
    // SDKs send a heartbeat each 180 s: a shorter time-out closes clients that are well.
    if net.idle_timeout.as_secs() < 200
        && let Some(span) = section.span_of("idle_timeout")
    {
        report
            .warning("`net.idle_timeout` closes clients that are well")
            .at(span, "SDKs are silent for up to 180 s")
            .help("write `idle_timeout = \"6m\"`, two heartbeats, the default");
    }
    net
}

fn store(section: &Section<'_>, report: &mut Report) -> Store {
    section.refuse_unknown(report);
    let store = Store {
        sync: section.value("sync", report),
        retention: section.value("retention", report),
        dedupe_window: section.value("dedupe_window", report),
        max_open_files: section.value("max_open_files", report),
    };
    let risk = match store.sync {
        Sync::Commit => None,
        Sync::Interval(_) => Some("a power cut loses what was acknowledged in the last interval"),
        Sync::Off => Some("a power cut loses acknowledged messages"),
    };
    if let (Some(risk), Some(span)) = (risk, section.span_of("sync")) {
        report
            .warning("an acknowledged message may be lost")
            .at(span, risk)
            .help("write `sync = \"commit\"`, the default, to acknowledge what is on disk only");
    }
    store
}

fn memory(section: &Section<'_>, report: &mut Report) -> Memory {
    section.refuse_unknown(report);
    Memory {
        conversations: section.value("conversations", report),
        nonces: section.value("nonces", report),
        revoked_tokens: section.value("revoked_tokens", report),
    }
}

fn hdr(section: &Section<'_>, report: &mut Report) -> Hdr {
    section.refuse_unknown(report);
    Hdr { interval: section.value("interval", report), keep: section.value("keep", report) }
}

fn alerts(section: &Section<'_>, report: &mut Report) -> Alerts {
    section.refuse_unknown(report);
    let alerts = Alerts {
        webhook: section.optional("webhook", report),
        secret: section.optional("secret", report),
        interval: section.value("interval", report),
        hold: section.value("for", report),
        clear_after: section.value("clear_after", report),
        factor: section.value("factor", report),
        min_rate: section.value("min_rate", report),
        min_latency: section.value("min_latency", report),
        min_errors: section.value("min_errors", report),
    };
    if let (Some(secret), None) = (section.entry("secret"), section.entry("webhook")) {
        report
            .error("`alerts.secret` signs nothing")
            .at(secret.name_span, "there is no `webhook` beside it")
            .help("write `webhook = \"https://…\"`, where notices go, or take the secret out");
    }
    alerts
}
