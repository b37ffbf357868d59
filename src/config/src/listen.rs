//! `[listen]`: addresses, and who may reach them.
//!
//! Owns what must hold between listeners, and that the development keys are not open to others; whom the admin port is open
//! to is `admin.rs`'s.

use std::net::SocketAddr;

use toml::de::DeValue;

use crate::apps;
use crate::config::{Listen, Tls, beyond_loopback, has_development_keys};
use crate::diagnostic::Report;
use crate::load::WrongFile;
use crate::section::{Entry, Section};
use crate::value::kind;

pub(crate) fn read(section: &Section<'_>, report: &mut Report) -> Listen {
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

/// The files that `tls` names, as far as `check` finds them wrong.
pub(crate) fn certificate(
    listen: &Listen,
    section: &Section<'_>,
    check: &dyn Fn(&Tls) -> Result<(), WrongFile>,
    report: &mut Report,
) {
    let (Some(tls), Some(entry)) = (&listen.tls, section.entry("tls")) else { return };
    let Err(WrongFile { key, reason }) = check(tls) else { return };
    let named = entry.value.as_table().and_then(|table| table.get(key)).map(|value| value.span());
    report
        .error(format!("`listen.tls.{key}` names a file that cannot be used"))
        .at(named.unwrap_or(entry.span), reason)
        .help("name PEM files that this user may read: the certificate with its chain, and its private key; a relative path starts where the server is started");
}

/// Plain connections are refused, and there is nothing to speak TLS with.
pub(crate) fn locked_out(listen: &Listen, section: &Section<'_>, apps: &[apps::Placed], report: &mut Report) {
    let own_certificate = apps.is_empty() || apps.iter().any(|placed| has_development_keys(&placed.app));
    if listen.plain || section.entry("tls").is_some() || own_certificate {
        return;
    }
    report
        .error("nobody could connect: `listen.plain` is false and there is no `listen.tls`")
        .at(section.span_of("plain").unwrap_or(0..0), "only TLS, and no certificate")
        .help(
            "write `tls = { cert = \"FILE\", key = \"FILE\" }`; only the development app has a certificate made for it",
        );
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

/// What goes on at an address that others reach: not with the development keys, and better with TLS.
pub(crate) fn exposure(
    listen: &Listen,
    section: &Section<'_>,
    apps: &[apps::Placed],
    own_apps: bool,
    report: &mut Report,
) {
    let Some(development) = apps.iter().find(|placed| has_development_keys(&placed.app)) else {
        return unencrypted(listen, section, report);
    };
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

/// Others reach an address, and nothing says that somebody sees to TLS. A proxy in front shows by its `https` URL.
fn unencrypted(listen: &Listen, section: &Section<'_>, report: &mut Report) {
    let by_proxy = listen.public_url.as_deref().is_some_and(|url| url.starts_with("https:"));
    if listen.tls.is_some() || by_proxy {
        return;
    }
    for (name, address) in [("http", listen.http), ("tcp", listen.tcp)] {
        let open = address.is_some_and(|address| beyond_loopback(address.ip()));
        if let (true, Some(span)) = (open, section.span_of(name)) {
            report
                .warning(format!("`listen.{name}` is open to others without a certificate that they trust"))
                .at(span, "keys and messages can be read on their way")
                .help("name `tls = { cert = \"FILE\", key = \"FILE\" }`, or, behind a proxy with TLS, `public_url = \"https://…\"`");
            return;
        }
    }
}
