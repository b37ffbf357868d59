//! Log lines: for people, or one JSON object each for machines.

use std::io::Write;

use clap::ValueEnum;
use log::kv::{Error, Key, Source, Value, VisitSource};
use serde_json::json;
use tidegate_domain::time::iso;

use crate::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Fails where `level` is no filter that can be understood.
pub fn start(level: &str, format: LogFormat) -> Result<(), String> {
    let mut builder = env_logger::Builder::new();
    // A client that names an address where TLS has a host's name, as JavaScript SDK 4 does, is none of the operator's trouble.
    builder.filter(Some("rustls::msgs"), log::LevelFilter::Error);
    // `parse_filters` would only print a complaint.
    for part in level.split(',').filter(|part| !part.trim().is_empty()) {
        let (module, level) = part.rsplit_once('=').map_or((None, part), |(module, level)| (Some(module), level));
        let level = level
            .trim()
            .parse::<log::LevelFilter>()
            .map_err(|_| format!("{:?} is no level: write off, error, warn, info, debug or trace", level.trim()))?;
        builder.filter(module.map(str::trim), level);
    }
    match format {
        LogFormat::Text => builder.format_timestamp_millis().format_key_values(|out, pairs| {
            texts(pairs).iter().try_for_each(|(key, text)| write!(out, " {key}={text}"))
        }),
        LogFormat::Json => builder.format(|out, record| {
            let mut line = json!({
                "at": iso(clock::now()),
                "level": record.level().as_str().to_lowercase(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            for (key, text) in texts(record.key_values()) {
                line[key] = text.into();
            }
            writeln!(out, "{line}")
        }),
    };
    builder.try_init().map_err(|error| error.to_string())
}

/// What a line says beside its words: `journey`, where it is about a message that is sampled, and else nothing.
fn texts(pairs: &dyn Source) -> Vec<(String, String)> {
    struct Texts(Vec<(String, String)>);
    impl<'kvs> VisitSource<'kvs> for Texts {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            // An absent one is no text.
            if let Some(text) = value.to_borrowed_str() {
                self.0.push((key.to_string(), text.to_owned()));
            }
            Ok(())
        }
    }
    let mut texts = Texts(Vec::new());
    // Only a visitor could fail, and this one does not.
    let _ = pairs.visit(&mut texts);
    texts.0
}
