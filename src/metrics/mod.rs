//! `tidegate metrics`: what `/metrics` has, and what is made of it for Grafana, Prometheus and people.
//!
//! Owns the dashboard (`grafana`), the alert rules (`rules`) and the pages (`page`); all take their metrics by the
//! registry's handles (`query`), so none can name one that does not exist. Asks no server.

mod grafana;
mod page;
mod query;
mod rules;

use clap::{Args, ValueEnum};

use crate::cli::{Stop, print};

/// List the metrics of /metrics, or write a dashboard or alert rules for them
///
/// Without an option: a table. Nothing is asked of a running server.
#[derive(Debug, Args)]
pub struct MetricsArgs {
    #[command(flatten)]
    what: What,
    /// The language of the table, the list and the page
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    language: Language,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct What {
    /// The list as JSON
    #[arg(long)]
    json: bool,
    /// A dashboard for Grafana, as JSON to import
    #[arg(long)]
    grafana: bool,
    /// Alert rules for Prometheus, as YAML for its rule_files
    #[arg(long)]
    rules: bool,
    /// The page docs/metrics.md
    #[arg(long)]
    markdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    En,
    Zh,
}

pub fn run(args: &MetricsArgs) -> Result<(), Stop> {
    print(&match args.what {
        What { json: true, .. } => page::json(args.language),
        What { grafana: true, .. } => grafana::dashboard(),
        What { rules: true, .. } => rules::file(),
        What { markdown: true, .. } => page::markdown(args.language),
        _ => page::table(args.language),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `UPDATE=1` writes the pages as they should be.
    #[test]
    fn the_pages_say_what_the_registry_says() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        for (name, language) in [("metrics.md", Language::En), ("zh/metrics.md", Language::Zh)] {
            let (path, current) = (docs.join(name), page::markdown(language));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &current).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == current, "{} is not current: run this test with UPDATE=1", path.display());
        }
    }
}
