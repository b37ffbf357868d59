//! Stars in place of secrets, in the text that complaints show.
//!
//! A complaint shows lines of the file, on a terminal and in journals. Lengths stay, so that places hold.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Span;

/// The text without the secrets of its `[[app]]` tables, of `[admin]`, `[alerts]` and `[journeys]`. Where it does not parse
/// (`broken`), whatever looks like one is covered as well.
pub(crate) fn mask(text: &str, root: &DeTable<'_>, broken: bool) -> String {
    let mut spans = Vec::new();
    for section in ["app", "admin", "alerts", "journeys"] {
        if let Some(value) = root.get(section) {
            find(value, false, &mut spans);
        }
    }
    for (table, key) in [("alerts", "webhook"), ("journeys", "otlp")] {
        if let Some(url) = root.get(table).and_then(|table| table.get_ref().as_table()?.get(key)) {
            spans.extend(path_of(text, url.span()));
        }
    }
    if broken {
        spans.extend(likely(text));
    }
    spans.extend(in_urls(text));
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in bytes.get_mut(span).unwrap_or_default() {
            if !matches!(byte, b'\n' | b'\r' | b'"' | b'\'') {
                *byte = b'*';
            }
        }
    }
    // Whole values are covered, so what is left is whole characters; were it not, no text is better than a wrong one.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// Misspelled ones hold secrets, too.
fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "secret", "password", "token", "header", "authorization"].iter().any(|word| name.contains(word))
}

/// The values of secret keys, however deep, and of whatever kind: who forgets the quotes has a secret as well. `hidden`:
/// it is such a key's.
fn find(value: &Spanned<DeValue<'_>>, hidden: bool, spans: &mut Vec<Span>) {
    match value.get_ref() {
        DeValue::Array(array) => array.iter().for_each(|element| find(element, hidden, spans)),
        DeValue::Table(table) => {
            table.iter().for_each(|(name, value)| find(value, hidden || secret(name.get_ref()), spans))
        }
        _ if hidden => spans.push(value.span()),
        _ => {}
    }
}

/// What stands behind the host of a URL, which may let in whoever knows it.
fn path_of(text: &str, url: Span) -> Option<Span> {
    let (slash, _) = text.get(url.clone())?.match_indices('/').nth(2)?;
    Some(url.start + slash + 1..url.end)
}

/// Behind each `key =`, `master_key =` or `secret =`, the rest of the line.
fn likely(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for (at, _) in text.match_indices('=') {
        let name = text[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let before = name.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if secret(&name[before.len()..]) {
            let value = text.len() - text[at + 1..].trim_start_matches([' ', '\t']).len();
            let end = text[value..].find('\n').map_or(text.len(), |length| value + length);
            spans.push(value..end);
        }
    }
    spans
}

/// What stands between `://` and `@`, a name and password.
fn in_urls(text: &str) -> Vec<Span> {
    let starts = text.match_indices("://").map(|(at, scheme)| at + scheme.len());
    let spans = starts.filter_map(|start| {
        let end = text[start..].find(['"', '\'', ' ', '\n', '/', '?', '#']).map_or(text.len(), |length| start + length);
        text[start..end].rfind('@').map(|at| start..start + at)
    });
    spans.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let (root, errors) = DeTable::parse_recoverable(text);
        mask(text, root.get_ref(), !errors.is_empty())
    }

    #[test]
    fn secrets_become_stars_of_their_length() {
        assert_eq!(
            masked("[[app]]\nid = \"a\"\nmaster_key = \"hush\"\n"),
            "[[app]]\nid = \"a\"\nmaster_key = \"****\"\n"
        );
        let deep = "app = [{ webhook = [{ secret = 'hush' }], mastre_key = \"hush\" }]";
        assert_eq!(masked(deep), deep.replace("hush", "****"));
        let text = "[[app]]\nkey = \"\"\"hush\nhush\"\"\"\n";
        assert_eq!(masked(text), text.replace("hush", "****"));
        let bare = "[[app]]\nkey = 12345\n[admin]\nread_token = 12345\nwrite_token = [\"12345\"]\n";
        assert_eq!(masked(bare), bare.replace("12345", "*****"));
        let headers = "[journeys]\notlp_headers = { Authorization = \"hush\", x = ['hush'] }\n";
        assert_eq!(masked(headers), headers.replace("hush", "****"));
        let urls = "[alerts]\nwebhook = \"htps://a.example/hush\"\n[journeys]\notlp = \"http://o.example\"\n";
        assert_eq!(masked(urls), urls.replace("hush", "****"));
        assert_eq!(masked("[[app]]\nkey = \"秘密\"").len(), "[[app]]\nkey = \"秘密\"".len());
    }

    #[test]
    fn what_does_not_parse_shows_no_secret_either() {
        let headers =
            "[journeys]\notlp_headers = { Authorization = \"hush\" }\n[journeys.otlp_headers]\nAuthorization = hush\n";
        for text in
            [headers, "[[app]\nkey = \"hush", "[[app]]\nmaster_key = hush # hush", "x = {key=\"hush", "服secret=hush\n"]
        {
            assert!(!masked(text).contains("hush"), "{}", masked(text));
        }
    }

    #[test]
    fn certificate_paths_and_urls_stay_readable() {
        let text = "[listen]\ntls = { cert = \"c.pem\", key = \"k.pem\" }\npublic_url = \"https://example.com/@me\"\n";
        assert_eq!(masked(text), text);
        assert!(masked("a = \"https://me:hush@example.com\"").contains("://*******@example.com"));
    }
}
