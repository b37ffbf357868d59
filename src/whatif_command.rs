//! `tidegate whatif`: what another configuration would have done with recorded work, and which would be better.
//!
//! Owns the words; the predictions are `src/whatif`'s. What the recorded configuration itself is predicted to do stands
//! beside what was recorded, so that a person sees how far to trust the rest.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_engine::Topology;
use tidegate_recording::Recording;
use tidegate_whatif::{Figures, Load, Suggestion, predict, suggest};

use crate::cli::{Stop, load, print};
use crate::config_file;

/// Predict what another configuration would have done with recorded work
///
/// The recorded arrivals go through the engine itself on a simulated machine, with stages that take as long as the
/// recorded ones did. Nothing is sent to any server. Threads outside the stages (reactors, HTTP) are not simulated, but
/// what they needed of the processors is left out. Leave out what other programs need with --cores.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate whatif monday.json --config pipeline.toml        what this file would have done
  tidegate whatif monday.json --speed 3                     the recorded configuration, with three times the load
  tidegate whatif monday.json --suggest --goal p99          what to change")]
pub struct WhatifArgs {
    /// What `tidegate record` wrote
    file: PathBuf,
    /// The pipeline.toml to predict; without one, the recorded configuration
    #[arg(long, value_name = "OTHER.toml")]
    config: Option<PathBuf>,
    /// Look for a better configuration than the recorded one (or that of --config)
    #[arg(long)]
    suggest: bool,
    /// What is to become better
    #[arg(long, value_name = "GOAL", default_value = "p99", requires = "suggest")]
    goal: Goal,
    /// How many times as fast everything comes
    #[arg(long, default_value_t = 1.0, conflicts_with = "suggest")]
    speed: f64,
    /// Processors that the stages have, fractions too; without it, what the rest of the process left of them
    #[arg(long)]
    cores: Option<f64>,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Goal {
    /// The slowest in a hundred, under the recorded load
    P99,
    /// How much can be kept up with
    Throughput,
    /// Room in queues, and threads
    Memory,
}

/// What is told.
#[derive(Debug, Serialize)]
struct Told {
    /// What was recorded.
    recorded: Figures,
    /// What the recorded configuration is predicted to have done.
    replayed: Figures,
    /// The same of the configuration that was asked about, or of the speed.
    predicted: Option<Figures>,
    suggestion: Option<Suggestion>,
}

pub fn run(args: &WhatifArgs) -> Result<(), Stop> {
    let recording = tidegate_recording::read(&args.file).map_err(Stop::because)?;
    let recorded = topology_of(&recording)?;
    let asked = args.config.as_ref().map(|path| load(Some(path)).map(|(config, _)| config.topology)).transpose()?;
    let asked = asked.map(|topology| as_found(topology, &recorded));
    let as_it_was = Load { cores: args.cores, ..Load::default() };
    let told = Told {
        recorded: Figures::of(&recording.stages, &recorded, recording.seconds),
        replayed: predict(&recording, &recorded, as_it_was).map_err(Stop::because)?,
        predicted: match (&asked, args.speed == 1.0) {
            (None, true) => None,
            _ => {
                let load = Load { speed: args.speed, ..as_it_was };
                Some(predict(&recording, asked.as_ref().unwrap_or(&recorded), load).map_err(Stop::because)?)
            }
        },
        suggestion: match args.suggest {
            false => None,
            true => {
                let goal = match args.goal {
                    Goal::P99 => tidegate_whatif::Goal::P99,
                    Goal::Throughput => tidegate_whatif::Goal::Throughput,
                    Goal::Memory => tidegate_whatif::Goal::Memory,
                };
                let from = asked.as_ref().unwrap_or(&recorded);
                Some(suggest(&recording, from, goal, args.cores).map_err(Stop::because)?)
            }
        },
    };
    if args.json {
        let text = serde_json::to_string_pretty(&told).map_err(Stop::because)?;
        return print(&format!("{text}\n"));
    }
    print(&words(&told, args))
}

/// What a configuration leaves to the server, as it was when that was recorded.
fn as_found(mut topology: Topology, recorded: &Topology) -> Topology {
    for stage in &mut topology.stages {
        let Some(then) = recorded.stages.iter().find(|then| then.name == stage.name) else { continue };
        stage.workers = if stage.auto.workers { then.workers } else { stage.workers };
        stage.batch = if stage.auto.batch { then.batch.min(stage.bound) } else { stage.batch };
    }
    topology
}

/// The recorded configuration, of which only the pipeline matters here.
fn topology_of(recording: &Recording) -> Result<Topology, Stop> {
    match tidegate_config::load(&recording.config, "the recorded configuration", &config_file::catalogue()) {
        Ok(config) => Ok(config.topology),
        Err(problems) => Err(Stop::because(tidegate_config::render_all(&problems, false))),
    }
}

fn words(told: &Told, args: &WhatifArgs) -> String {
    let mut columns = vec![("recorded".to_owned(), &told.recorded), ("simulated".to_owned(), &told.replayed)];
    let other = match &args.config {
        Some(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        None => format!("{} times", args.speed),
    };
    if let Some(predicted) = &told.predicted {
        columns.push((other, predicted));
    }
    let mut out = String::new();
    line(&mut out, "", columns.iter().map(|(name, _)| name.clone()));
    let row = |out: &mut String, name: &str, of: &dyn Fn(&Figures) -> Option<String>| {
        line(out, name, columns.iter().map(|(_, figures)| of(figures).unwrap_or_else(|| "-".to_owned())));
    };
    let ms = |ns: u64| format!("{:.2} ms", ns as f64 / 1e6);
    let rate = |rate: f64| format!("{rate:.1}/s");
    row(&mut out, "offered", &|of| Some(rate(of.offered)));
    row(&mut out, &format!("reached {}", told.recorded.last), &|of| Some(rate(of.throughput)));
    row(&mut out, "refused", &|of| Some(rate(of.refused)));
    row(&mut out, "end to end p50", &|of| of.end_to_end.map(|spread| ms(spread.p50)));
    row(&mut out, "end to end p99", &|of| of.end_to_end.map(|spread| ms(spread.p99)));
    for stage in told.recorded.stages.iter().filter(|stage| stage.rate > 0.0) {
        let find = |of: &Figures| of.stages.iter().find(|other| other.name == stage.name).cloned();
        row(&mut out, &format!("{} at work", stage.name), &|of| {
            find(of).map(|stage| format!("{:.1}%", stage.utilisation * 100.0))
        });
        row(&mut out, &format!("{} batch", stage.name), &|of| find(of).map(|stage| format!("{:.1}", stage.batch)));
        row(&mut out, &format!("{} wait p99", stage.name), &|of| find(of)?.wait.map(|spread| ms(spread.p99)));
    }
    out.push_str(
        "\n\"simulated\" is what the recorded configuration is predicted to have done: the further it is from \"recorded\", \
         the less\nthe rest is worth. End to end is from the door to the end of the line, of the messages that are sampled.\n",
    );
    for stage in columns.iter().flat_map(|(_, figures)| &figures.stages) {
        if let Some(seen) = stage.largest_seen.filter(|seen| stage.batch > seen * 1.25) {
            let _ = writeln!(
                out,
                "No batch of {} larger than {seen:.0} was recorded: what {:.0} take is read off a line through those.",
                stage.name, stage.batch
            );
        }
    }
    if let Some(suggestion) = &told.suggestion {
        out.push('\n');
        suggested(&mut out, suggestion);
    }
    out
}

fn line(out: &mut String, name: &str, columns: impl Iterator<Item = String>) {
    let _ = write!(out, "{name:<26}");
    columns.for_each(|column| _ = write!(out, " {column:>16}"));
    out.push('\n');
}

fn suggested(out: &mut String, suggestion: &Suggestion) {
    if suggestion.steps.is_empty() {
        let _ = writeln!(out, "None of {} other configurations is noticeably better.", suggestion.tried - 1);
        return;
    }
    let _ = writeln!(out, "The best of {} configurations that were tried:", suggestion.tried);
    for step in &suggestion.steps {
        let _ = writeln!(out, "  tidegate tune {}\n      {}", step.change, step.reason);
    }
}
