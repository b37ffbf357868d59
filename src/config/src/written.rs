//! A configuration as a whole `pipeline.toml`, defaults written out: what `GET /config` answers.
//!
//! Owns the look only; the values are spelled in `settings.rs`. A file of somebody's own is changed in place instead
//! (`save.rs`). Must not know whether the configuration is good.

use std::fmt::Write;

use crate::config::Config;
use crate::settings::{self, Setting};

/// What a written configuration does with keys, secrets and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Then the text loads as the same configuration.
    Shown,
    /// Stars in their place, for those who may look and not change. The text still loads.
    Starred,
}

/// The file that says this configuration, every key of it, always in the same order: loaded with the same catalogue it
/// is the same configuration again.
pub fn write(config: &Config, secrets: Secrets) -> String {
    // No app at all is said by an empty list; no list would mean the development app.
    let mut out = if config.apps.is_empty() { String::from("app = []\n") } else { String::new() };
    let settings = settings::of(config);
    let mut header: &[String] = &[];
    let mut rest = settings.as_slice();
    while let Some(first) = rest.first() {
        let (table, line) = table(&first.path);
        if table != header {
            let gap = if out.is_empty() { "" } else { "\n" };
            _ = writeln!(out, "{gap}{line}");
            header = table;
        }
        let key = &first.path[table.len()];
        let inline = first.path.len() > table.len() + 1;
        let shared = &first.path[..=table.len()];
        let count = if inline { rest.iter().take_while(|next| next.path.starts_with(shared)).count() } else { 1 };
        let spell = |setting: &Setting| match secrets {
            Secrets::Shown => setting.value.toml(),
            // An app's two keys must differ in a good file, and so must the admin port's two tokens.
            Secrets::Starred if key == "master_key" || key == "write_token" => {
                setting.value.starred().replacen('*', "**", 1)
            }
            Secrets::Starred => setting.value.starred(),
        };
        if inline {
            let pairs = rest[..count].iter().filter_map(|setting| {
                let name = setting.path.last()?;
                Some(format!("{name} = {}", spell(setting)))
            });
            _ = writeln!(out, "{key} = {{ {} }}", pairs.collect::<Vec<_>>().join(", "));
        } else {
            _ = writeln!(out, "{key} = {}", spell(first));
        }
        rest = &rest[count..];
    }
    out
}

/// The table that a setting stands in, as the beginning of its path, and the line above that table.
fn table(path: &[String]) -> (&[String], String) {
    match path.first().map(String::as_str) {
        Some("app") if path.get(2).is_some_and(|name| name == "webhook") => (&path[..4], "[[app.webhook]]".into()),
        Some("app") => (&path[..2], "[[app]]".into()),
        Some(section @ ("stages" | "pools")) => (&path[..2], format!("[{section}.{}]", path[1])),
        _ => (&path[..1], format!("[{}]", path[0])),
    }
}
