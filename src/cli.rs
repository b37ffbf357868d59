//! The command line: what can be typed, and what each command comes to.
//!
//! Exit codes: 0 good, 1 refused or failed, 2 not understood.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_config::{Config, Format};

use crate::doctor::{self, DoctorArgs};
use crate::hdr::plot::{self, HdrCommand};
use crate::logging::LogFormat;
use crate::metrics::{self, MetricsArgs};
use crate::remote::alerts::{self, AlertsArgs};
use crate::remote::record::{self, RecordArgs};
use crate::remote::top::{self, TopArgs};
use crate::remote::tune::{self, TuneArgs};
use crate::whatif_command::{self, WhatifArgs};
use crate::{config_file, logging, run};

/// A self-hosted realtime messaging server that LeanCloud's SDKs connect to.
///
/// Start with `tidegate run`: without a file it listens on this machine only, with an app for development, and prints
/// where to point an SDK.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// How much to log: error, warn, info, debug or trace; also per module, as in `info,tidegate_net=debug`
    #[arg(long, global = true, env = "TIDEGATE_LOG", default_value = "info", value_name = "LEVEL")]
    log: String,
    /// Log lines for people, or for machines
    #[arg(long, global = true, env = "TIDEGATE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    ///
    /// SIGTERM or Ctrl-C drains: clients are told to reconnect, and what was admitted is finished. A second one exits at
    /// once.
    Run(RunArgs),
    /// Say what is wrong with a pipeline.toml, or what is damaged in a data folder, without starting
    Check {
        /// The file; without one, the built-in default
        file: Option<PathBuf>,
        /// Read every stored byte of this data folder, which no server may be using, and name what is damaged
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Draw the pipeline that a file describes
    Graph {
        /// The file; without one, the built-in default
        file: Option<PathBuf>,
        #[arg(long, default_value = "text")]
        format: GraphFormat,
    },
    Doctor(DoctorArgs),
    Top(TopArgs),
    Tune(TuneArgs),
    Alerts(AlertsArgs),
    Record(RecordArgs),
    Replay(Box<tidegate_bench::ReplayArgs>),
    Whatif(WhatifArgs),
    #[command(subcommand)]
    Hdr(HdrCommand),
    Metrics(MetricsArgs),
    /// Make apps
    #[command(subcommand)]
    App(AppCommand),
    /// Load a running server and see what it does
    #[command(subcommand)]
    Bench(Box<tidegate_bench::Scenario>),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pipeline.toml to use; without one, the built-in default
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where messages, keys and the development certificate are kept
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA", default_value = "data")]
    pub data: PathBuf,
}

#[derive(Debug, Subcommand)]
enum AppCommand {
    /// Print a fresh [[app]] table, with keys that nobody has seen
    New,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GraphFormat {
    Text,
    Dot,
    Svg,
}

/// Does what was typed, and returns the exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version are what was asked for.
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    if let Err(error) = logging::start(&cli.log.log, cli.log.log_format) {
        eprintln!("tidegate: --log {:?}: {error}", cli.log.log);
        return 2;
    }
    let result = match cli.command {
        Command::Run(args) => run::run(&args, cli.log.log_format),
        Command::Check { file, data } => match data {
            None => check(file),
            Some(data) => file.map_or(Ok(()), |file| check(Some(file))).and_then(|()| check_data(&data)),
        },
        Command::Graph { file, format } => graph(file, format),
        Command::Doctor(args) => doctor::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Alerts(args) => alerts::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => tidegate_bench::replay(&args).map_err(Stop::because),
        Command::Whatif(args) => whatif_command::run(&args),
        Command::Hdr(command) => plot::run(&command),
        Command::Metrics(args) => metrics::run(&args),
        Command::App(AppCommand::New) => app_new(),
        Command::Bench(scenario) => tidegate_bench::run(&scenario).map_err(Stop::because),
    };
    match result {
        Ok(()) => 0,
        Err(Stop { message, code }) => {
            if !message.is_empty() {
                eprintln!("{message}");
            }
            code
        }
    }
}

/// Why a command ends without success, in words for whoever typed it.
#[derive(Debug)]
pub struct Stop {
    message: String,
    code: u8,
}

impl Stop {
    pub fn because(message: impl std::fmt::Display) -> Self {
        Stop { message: format!("tidegate: {message}"), code: 1 }
    }

    /// Failed, and all was said already.
    pub fn said() -> Self {
        Stop { message: String::new(), code: 1 }
    }

    /// The words without the program's name.
    pub fn message(&self) -> &str {
        self.message.strip_prefix("tidegate: ").unwrap_or(&self.message)
    }

    fn usage(message: impl std::fmt::Display) -> Self {
        Stop { message: format!("tidegate: {message}"), code: 2 }
    }
}

/// The file that was named and its text, or the built-in default, with all that is wrong with it on stderr.
pub fn load(file: Option<&PathBuf>) -> Result<(Config, String), Stop> {
    let (text, name) = match file {
        None => (tidegate_config::DEFAULT.to_owned(), "pipeline.toml (built in)".to_owned()),
        Some(path) => {
            let text = config_file::read(path)
                .map_err(|why| if path.exists() { Stop::because(why) } else { Stop::usage(why) })?;
            (text, path.display().to_string())
        }
    };
    let colours = std::io::stderr().is_terminal();
    match config_file::parse(&text, &name) {
        Ok(config) => {
            if !config.warnings.is_empty() {
                eprint!("{}", tidegate_config::render_all(&config.warnings, colours));
            }
            Ok((config, text))
        }
        Err(diagnostics) => {
            eprint!("{}", tidegate_config::render_all(&diagnostics, colours));
            Err(Stop::said())
        }
    }
}

fn check(file: Option<PathBuf>) -> Result<(), Stop> {
    let (config, _) = load(file.as_ref())?;
    let name = file.map_or("the built-in default".to_owned(), |file| file.display().to_string());
    let (stages, apps) = (config.topology.stages.len(), config.apps.len());
    eprintln!("{name} is good: {stages} stages, {apps} app{}", if apps == 1 { "" } else { "s" });
    Ok(())
}

/// Names what is damaged, one line a file.
fn check_data(data: &std::path::Path) -> Result<(), Stop> {
    let checked = crate::compose::check_store(data).map_err(Stop::because)?;
    for finding in &checked.findings {
        eprintln!("{finding}. {}", finding.means);
    }
    if !checked.findings.is_empty() {
        let count = checked.findings.len();
        let files = if count == 1 { "file is" } else { "files are" };
        return Err(Stop::because(format!(
            "{count} {files} damaged in {}; nothing was changed. Restore the folder from a backup, or move it away to \
             begin with an empty one",
            data.display()
        )));
    }
    let (tables, logs, entries) = (checked.tables, checked.logs, checked.entries);
    eprintln!("{} is good: {tables} tables and {logs} logs read, {entries} entries", data.display());
    Ok(())
}

fn graph(file: Option<PathBuf>, format: GraphFormat) -> Result<(), Stop> {
    let (config, _) = load(file.as_ref())?;
    let format = match format {
        GraphFormat::Text => Format::Text,
        GraphFormat::Dot => Format::Dot,
        GraphFormat::Svg => Format::Svg,
    };
    print(&tidegate_config::graph(&config.topology, &config.net.to, &config_file::catalogue(), format))
}

fn app_new() -> Result<(), Stop> {
    let table = tidegate_config::new_app()
        .map_err(|error| Stop::because(format!("the system gives no randomness: {error}")))?;
    print(&table)
}

/// To stdout; a reader that has gone away is no error.
pub fn print(text: &str) -> Result<(), Stop> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Stop::because(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_reference_page_tells_what_the_stages_really_declare() {
        let (page, current) =
            (include_str!("../docs/configuration.md"), tidegate_config::reference(&config_file::catalogue()));
        let other = page.lines().zip(current.lines()).find(|(page, current)| page != current);
        assert!(page == current, "docs/configuration.md is out of date: {other:?}");
    }

    #[test]
    fn the_pipeline_to_practise_on_loads() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mistuned.toml");
        assert!(load(Some(&file)).is_ok_and(|(config, _)| config.warnings.is_empty()));
    }

    #[test]
    fn the_built_in_default_is_good() {
        assert!(load(None).is_ok_and(|(config, _)| config.warnings.is_empty()));
    }
}
