//! `[journeys]`: which messages are timed, how long they are kept, and who else is told of them.
//!
//! Owns what makes a collector's address and its headers good. Must not know what is sent there.

use toml::de::DeValue;
use url::Url;

use crate::config::{Headers, Journeys, Otlp};
use crate::diagnostic::Report;
use crate::section::{Entry, Section, entries};
use crate::value::kind;

/// What OTLP puts behind the address of a collector.
const PATH: &str = "/v1/traces";
/// Where collectors take OTLP over gRPC, and over HTTP.
const GRPC: u16 = 4317;
const HTTP: u16 = 4318;

pub(crate) fn read(section: &Section<'_>, report: &mut Report) -> Journeys {
    section.refuse_unknown(report);
    let url: Option<String> = section.optional("otlp", report);
    let headers = section.entry("otlp_headers").map(|entry| headers(&entry, report)).unwrap_or_default();
    if let Some(url) = &url {
        check_url(url, section, report);
    }
    if section.entry("otlp").is_none()
        && let Some(entry) = section.entry("otlp_headers")
    {
        report
            .warning("`journeys.otlp_headers` is sent to nobody")
            .at(entry.name_span, "there is no `otlp` beside it")
            .help("write `otlp = \"http://127.0.0.1:4318\"`, your collector's address, or take the headers out");
    }
    Journeys {
        sample: section.value("sample", report),
        slow: section.optional("slow", report),
        keep: section.value("keep", report),
        trace: section.value("trace", report),
        otlp: url.map(|url| Otlp { url, headers: Headers(headers) }),
    }
}

fn check_url(url: &str, section: &Section<'_>, report: &mut Report) {
    let (Ok(parsed), Some(span)) = (Url::parse(url), section.span_of("otlp")) else { return };
    let bare = url.trim_end_matches('/');
    if let Some(base) = bare.strip_suffix(PATH) {
        report
            .error("`journeys.otlp` is the collector's address without the path")
            .at(span, format!("`{PATH}` is put behind it"))
            .help(format!("write `otlp = \"{base}\"`"));
    } else if parsed.query().is_some() {
        report
            .error("`journeys.otlp` is the collector's address without a query")
            .at(span, format!("`{PATH}` is put behind it, and would be a part of what follows the `?`"))
            .help("send what the collector wants to know in `otlp_headers`");
    } else if parsed.port() == Some(GRPC) {
        report
            .warning(format!("port {GRPC} usually takes OTLP over gRPC, which is not spoken here"))
            .at(span, "spans go there over HTTP")
            .help(format!("most collectors take OTLP over HTTP at port {HTTP}"));
    }
}

/// Those that are good; the others are complained of.
fn headers(entry: &Entry<'_>, report: &mut Report) -> Vec<(String, String)> {
    let DeValue::Table(table) = entry.value else {
        report
            .error("`journeys.otlp_headers` takes a table as { Authorization = \"Bearer …\" }")
            .at(entry.span.clone(), format!("this is {}", kind(entry.value)))
            .help("write each header's name and what it says: `otlp_headers = { Authorization = \"Bearer …\" }`");
        return Vec::new();
    };
    entries(table).iter().filter_map(|header| read_header(header, report)).collect()
}

fn read_header(entry: &Entry<'_>, report: &mut Report) -> Option<(String, String)> {
    let name = entry.name;
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(is_good) {
        report
            .error(format!("{name:?} is no name of a header"))
            .at(entry.name_span.clone(), "letters, digits, `-` and `_` only")
            .help("write a name such as `Authorization` or `x-api-key`");
        return None;
    }
    if let Some(ours) = ["content-type", "content-length", "host", "connection", "transfer-encoding", "user-agent"]
        .into_iter()
        .find(|ours| name.eq_ignore_ascii_case(ours))
    {
        report
            .error(format!("the header `{ours}` is the server's own"))
            .at(entry.name_span.clone(), "it is sent anyway")
            .help("take it out");
        return None;
    }
    let reason = match entry.value {
        DeValue::String(text) if text.is_empty() => "empty".to_owned(),
        DeValue::String(text) if !text.chars().all(|c| matches!(c, ' '..='~')) => {
            "more than plain ASCII in one line".to_owned()
        }
        DeValue::String(text) if text.trim() != text.as_ref() => "a blank at its start or its end".to_owned(),
        DeValue::String(text) => return Some((name.to_owned(), text.to_string())),
        other => format!("this is {}", kind(other)),
    };
    report
        .error(format!("`journeys.otlp_headers.{name}` takes what a header may say"))
        .at(entry.span.clone(), reason)
        .help(format!("write, for example, `{name} = \"Bearer …\"`"));
    None
}
