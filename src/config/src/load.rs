//! From a file's text to a `Config`, or to all that is wrong with it.
//!
//! Owns the order: syntax, then each section, then what sections say of each other. Goes on after each complaint, and
//! leaves out those that another one would only echo.

use std::net::SocketAddr;

use toml::de::{DeTable, DeValue};

use crate::DEFAULT;
use crate::apps;
use crate::catalogue::ModuleCatalogue;
use crate::config::{Config, Journeys, Listen, Memory, Net, Store, Tls, beyond_loopback, has_development_keys};
use crate::diagnostic::{Diagnostic, Report, Severity};
use crate::keys::SECTIONS;
use crate::mask::mask;
use crate::pipeline;
use crate::problems;
use crate::section::{Entry, Section, entries};
use crate::syntax;
use crate::value::{Sync, kind};
use crate::words::closest;

/// Reads a file. `file_name` is for people; `catalogue` tells what the modules declare. An error is the whole list of
/// complaints, warnings included, in the order of the file; a good file's warnings are in `Config::warnings`.
pub fn load(text: &str, file_name: &str, catalogue: &ModuleCatalogue) -> Result<Config, Vec<Diagnostic>> {
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
    let listen = listen(&listen_section, &mut report);
    let net_section = section("net", &mut report);
    let net = net(&net_section, &mut report);
    let store = store(&section("store", &mut report), &mut report);
    let memory = memory(&section("memory", &mut report), &mut report);
    let journeys = journeys(&section("journeys", &mut report), &mut report);

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
    exposure(&listen, &listen_section, &apps, own_apps, broken, &mut report);

    let mut config = Config {
        listen,
        net,
        store,
        memory,
        journeys,
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

fn listen(section: &Section<'_>, report: &mut Report) -> Listen {
    section.refuse_unknown(report);
    let tls = section.entry("tls").and_then(|entry| tls(&entry, report));
    let listen = Listen {
        http: section.value("http", report),
        tcp: section.value("tcp", report),
        admin: section.value("admin", report),
        tls,
        plain: section.value("plain", report),
        public_url: section.optional("public_url", report),
        trusted_proxies: section.value("trusted_proxies", report),
    };
    if listen.http.is_none() && listen.tcp.is_none() {
        report
            .error("nobody can connect: `listen.http` and `listen.tcp` are both off")
            .at(section.span_of("http").unwrap_or(0..0), "off")
            .see(section.span_of("tcp").unwrap_or(0..0), "off")
            .help("leave one of them out for its default");
    }
    same_port(&listen, section, report);
    if let Some(span) = section.span_of("admin")
        && beyond_loopback(listen.admin.ip())
    {
        let port = listen.admin.port();
        report
            .error("the admin port would be open beyond this machine")
            .at(span, "whoever reaches it changes the pipeline without a password")
            .help(format!(
                "write `admin = \"127.0.0.1:{port}\"`, and reach it through SSH or a proxy that asks who it is"
            ));
    }
    listen
}

fn tls(entry: &Entry<'_>, report: &mut Report) -> Option<Tls> {
    let section = match entry.value {
        DeValue::Table(_) => Section::of("listen.tls", "listen.tls", entry, report),
        other => {
            report
                .error("`listen.tls` takes a table as { cert = \"FILE\", key = \"FILE\" }")
                .at(entry.span.clone(), format!("this is {}", kind(other)))
                .help("leave `tls` out for a certificate of the server's own; `plain` decides about plain connections");
            return None;
        }
    };
    section.refuse_unknown(report);
    let cert: Option<String> = section.optional("cert", report);
    let key: Option<String> = section.optional("key", report);
    Some(Tls { cert: cert?.into(), key: key?.into() })
}

/// Two listeners on one address would fail at start, with less to say.
fn same_port(listen: &Listen, section: &Section<'_>, report: &mut Report) {
    let addresses = [("http", listen.http), ("tcp", listen.tcp), ("admin", Some(listen.admin))];
    let clash = |a: SocketAddr, b: SocketAddr| {
        let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || everywhere)
    };
    for (at, (name, address)) in addresses.iter().enumerate() {
        for (earlier, taken) in &addresses[..at] {
            let (Some(address), Some(taken)) = (address, taken) else { continue };
            if !clash(*address, *taken) {
                continue;
            }
            // What stands in the file is wrong, rather than a default.
            let (wrong, other) = if section.entry(name).is_some() { (name, earlier) } else { (earlier, name) };
            let complaint = report.error(format!("`listen.{name}` and `listen.{earlier}` want the same port"));
            let port = address.port();
            if let Some(span) = section.span_of(wrong) {
                complaint.at(span, format!("port {port} is that of `{other}`, too"));
            }
            if let Some(entry) = section.entry(other) {
                complaint.see(entry.span, "taken here");
            }
            complaint.help("give each a port of its own; HTTP and WebSocket share one by themselves");
        }
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

fn journeys(section: &Section<'_>, report: &mut Report) -> Journeys {
    section.refuse_unknown(report);
    Journeys {
        sample: section.value("sample", report),
        keep: section.value("keep", report),
        trace: section.value("trace", report),
    }
}

/// The development keys and an address that others reach do not go together.
fn exposure(
    listen: &Listen,
    section: &Section<'_>,
    apps: &[apps::Placed],
    own_apps: bool,
    broken: bool,
    report: &mut Report,
) {
    // An [[app]] that a broken line hides may well have keys of its own.
    if broken && !own_apps {
        return;
    }
    let Some(development) = apps.iter().find(|placed| has_development_keys(&placed.app)) else { return };
    for (name, address) in [("http", listen.http), ("tcp", listen.tcp)] {
        let (Some(address), Some(span)) = (address, section.span_of(name)) else { continue };
        if !beyond_loopback(address.ip()) {
            continue;
        }
        let complaint = report.error(format!("`listen.{name}` would let everybody in with the development keys"));
        complaint.at(span, "others reach this address, and the keys are public");
        if own_apps {
            complaint.see(development.span.clone(), "this app has them");
            complaint.help("run `tidegate app new` and put the [[app]] table that it prints in place of this one");
        } else {
            complaint.help("run `tidegate app new` and add the [[app]] table that it prints: without one there is the development app");
        }
        return;
    }
}
