//! The `[[app]]` tables: keys, origins, signatures and webhooks, and the development app.
//!
//! Owns what makes an app's table good, and that no two apps are confused. Must not know stages.

use std::ops::Range;

use toml::de::{DeArray, DeValue};

use tidegate_domain::app::{App, Need, OnFailure, SignaturePolicy, Webhook};
use tidegate_domain::hook::HookEvent;
use tidegate_domain::ids::AppId;

use crate::diagnostic::{Report, Span};
use crate::section::{Entry, Section};
use crate::value::{Chosen, kind};

/// The development app's keys stand in public: whoever listens beyond loopback must have others.
pub const DEVELOPMENT_KEY: &str = "development-only-app-key";
pub const DEVELOPMENT_MASTER_KEY: &str = "development-only-master-key";

/// An app and where it stands.
pub(crate) struct Placed {
    pub(crate) app: App,
    pub(crate) span: Span,
}

/// All apps of a file; an app whose table is wrong is left out, its complaints made.
pub(crate) fn read(entry: &Entry<'_>, report: &mut Report) -> Vec<Placed> {
    let (mut apps, mut ids) = (Vec::new(), Vec::new());
    for (at, section) in tables(entry, "app", "app", report).into_iter().enumerate() {
        let Some(mut app) = read_app(&section, &mut ids, report) else { continue };
        let span = section.span_of("id").unwrap_or(entry.span.clone());
        match u16::try_from(at) {
            Ok(index) => app.index = AppId(index),
            Err(_) => {
                report.error("more than 65,536 apps").at(span, "one too many").help("run a second server");
                break;
            }
        }
        apps.push(Placed { app, span });
    }
    apps
}

/// The elements of `[[name]]`, complaining of whatever else it is.
fn tables<'d>(entry: &Entry<'d>, kind: &'static str, place: &str, report: &mut Report) -> Vec<Section<'d>> {
    let (reason, span) = match entry.value {
        DeValue::Array(array) => match not_a_table(array) {
            None => return elements(array, kind, place),
            Some((reason, span)) => (reason, span),
        },
        DeValue::Table(_) => ("this is one table, not a list of them".to_owned(), entry.name_span.clone()),
        other => (format!("this is {}", self::kind(other)), entry.span.clone()),
    };
    let help = format!("write [[{kind}]], with two brackets, above each one's keys");
    report.error(format!("`{kind}` takes a list of tables")).at(span, reason).help(help);
    match entry.value {
        DeValue::Table(table) => vec![Section::new(kind, place, entry.name_span.clone(), table)],
        _ => Vec::new(),
    }
}

fn not_a_table(array: &DeArray<'_>) -> Option<(String, Range<usize>)> {
    let other = array.iter().find(|element| !element.get_ref().is_table())?;
    Some((format!("this is {}", kind(other.get_ref())), other.span()))
}

fn elements<'d>(array: &'d DeArray<'d>, kind: &'static str, place: &str) -> Vec<Section<'d>> {
    let numbered = |at: usize| if array.len() == 1 { place.to_owned() } else { format!("{place}[{}]", at + 1) };
    let tables = array.iter().enumerate().filter_map(|(at, element)| match element.get_ref() {
        DeValue::Table(table) => Some(Section::new(kind, numbered(at), element.span(), table)),
        _ => None,
    });
    tables.collect()
}

/// `ids`: those of the apps so far, whatever else is wrong with them.
fn read_app(section: &Section<'_>, ids: &mut Vec<(String, Span)>, report: &mut Report) -> Option<App> {
    section.refuse_unknown(report);
    let id: Option<String> = section.optional("id", report);
    let key: Option<String> = section.optional("key", report);
    let master_key: Option<String> = section.optional("master_key", report);
    if let (Some(id), Some(span)) = (&id, section.span_of("id")) {
        check_id(id, span.clone(), report);
        match ids.iter().find(|(taken, _)| taken == id) {
            Some((_, first)) => {
                report
                    .error(format!("two apps have the id \"{id}\""))
                    .at(span, "the second one")
                    .see(first.clone(), "the first one")
                    .help("give each app an id of its own; `tidegate app new` prints a fresh one");
            }
            None => ids.push((id.clone(), span)),
        }
    }
    if let (Some(key), Some(master), Some(span)) = (&key, &master_key, section.span_of("master_key"))
        && key == master
    {
        report
            .error(format!("`{}.master_key` is the app's `key`, too", section.place))
            .at(span, "every client knows this")
            .help("`tidegate app new` prints two fresh keys");
    }
    let origins: Vec<String> = section.value("origins", report);
    let signature = match section.entry("signature") {
        None => SignaturePolicy::default(),
        Some(entry) => {
            let place = format!("{}.signature", section.place);
            signature(&Section::of("app.signature", place, &entry, report), report)
        }
    };
    let push_webhook: Option<String> = section.optional("push_webhook", report);
    let webhooks = match section.entry("webhook") {
        None => Vec::new(),
        Some(entry) => {
            let place = format!("{}.webhook", section.place);
            let tables = tables(&entry, "app.webhook", &place, report);
            tables.iter().filter_map(|table| webhook(table, report)).collect()
        }
    };
    Some(App {
        index: AppId(0),
        id: id?.into(),
        key: key?.into(),
        master_key: master_key?.into(),
        origins: origins.into_iter().map(Into::into).collect(),
        signature,
        push_webhook: push_webhook.map(Into::into),
        webhooks,
    })
}

fn check_id(id: &str, span: Span, report: &mut Report) {
    let strange = id.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
    if let Some(strange) = strange {
        report
            .error(format!("an app id may not contain {strange:?}"))
            .at(span, "letters, digits, `-`, `_` and `.` only")
            .help("an app that comes from LeanCloud keeps its id as it is; `tidegate app new` prints a fresh one");
    } else if id.len() <= 8 {
        report
            .warning("LeanCloud's Java and Android SDKs refuse an app id of 8 characters or fewer")
            .at(span, format!("{} character{}", id.len(), if id.len() == 1 { "" } else { "s" }))
            .help("choose a longer one while no client has it yet");
    }
}

fn signature(section: &Section<'_>, report: &mut Report) -> SignaturePolicy {
    section.refuse_unknown(report);
    let mut need = |name| {
        let Chosen(need) = section.value(name, report);
        match need {
            "required" => Need::Required,
            "optional" => Need::Optional,
            _ => Need::Off,
        }
    };
    SignaturePolicy { login: need("login"), start: need("start"), add: need("add"), remove: need("remove") }
}

fn webhook(section: &Section<'_>, report: &mut Report) -> Option<Webhook> {
    section.refuse_unknown(report);
    let url: Option<String> = section.optional("url", report);
    let secret: Option<String> = section.optional("secret", report);
    let names: Vec<Chosen> = section.value("events", report);
    if names.is_empty()
        && let Some(span) = section.span_of("events")
    {
        report
            .error(format!("`{}.events` is empty", section.place))
            .at(span, "this webhook would never be called")
            .help("name an event, such as [\"messageSent\"], or take the table out");
    }
    let mut events = Vec::new();
    for Chosen(name) in names {
        let event = match name {
            "messageReceived" => HookEvent::MessageReceived,
            "messageSent" => HookEvent::MessageSent,
            _ => HookEvent::ReceiversOffline,
        };
        if !events.contains(&event) {
            events.push(event);
        }
    }
    let timeout = section.value("timeout", report);
    let concurrency = section.value("concurrency", report);
    let Chosen(on_failure) = section.value("on_failure", report);
    Some(Webhook {
        url: url?.into(),
        secret: secret?.into(),
        events,
        timeout,
        concurrency,
        on_failure: if on_failure == "refuse" { OnFailure::Refuse } else { OnFailure::Pass },
    })
}

/// A fresh `[[app]]` table: an id and keys that nobody has seen. Fails where the system gives no randomness.
pub fn new_app() -> std::io::Result<String> {
    // As LeanCloud has them: 24 characters, a dash and 8 more for the id; 24 for each key.
    let (id, suffix, key, master_key) = (random_text(24)?, random_text(8)?, random_text(24)?, random_text(24)?);
    Ok(format!(
        "[[app]]\nid = \"{id}-{suffix}\"\nkey = \"{key}\"                  # for clients\n\
         master_key = \"{master_key}\"           # for your own servers only\n"
    ))
}

/// Letters and digits, each as likely as any other.
fn random_text(length: usize) -> std::io::Result<String> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut out = String::new();
    while out.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        out.extend(fair.take(length - out.len()));
    }
    Ok(out)
}
