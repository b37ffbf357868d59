//! `[stages]` and `[pools]`: the topology, and all that is wrong with it.
//!
//! Owns how stages are named, bound by default and found in the file; asks the engine what is wrong with the graph
//! itself, and puts each of its problems where the file says it. Must not know what modules do.

use std::time::Duration;

use tidegate_engine::{Auto, Policy, PoolSettings, StageSettings, Topology};
use toml::de::DeValue;

use crate::catalogue::ModuleCatalogue;
use crate::config::Net;
use crate::diagnostic::{Report, Span};
use crate::outputs::{self, Bindings};
use crate::problems;
use crate::section::{Entry, Section, entries};
use crate::value::{self, Amount, Chosen};
use crate::words::{self, closest};

/// What a file says of its pipeline.
pub(crate) struct Tables<'a, 'd> {
    pub(crate) stages: Option<Entry<'d>>,
    pub(crate) pools: Option<Entry<'d>>,
    /// Where a file has no stages.
    pub(crate) default_stages: Option<Entry<'d>>,
    pub(crate) net: &'a Section<'d>,
    /// False where the file does not parse: then nobody can say what is missing.
    pub(crate) whole: bool,
}

pub(crate) struct Pipeline {
    pub(crate) topology: Topology,
    pub(crate) in_flight: Vec<(String, usize)>,
}

/// A stage or a pool, and its table.
pub(crate) struct Placed<'d, S> {
    pub(crate) settings: S,
    pub(crate) section: Section<'d>,
}

/// What `problems` looks places up in.
pub(crate) struct File<'a, 'd> {
    pub(crate) stages: &'a [Placed<'d, StageSettings>],
    pub(crate) pools: &'a [Placed<'d, PoolSettings>],
    pub(crate) catalogue: &'a ModuleCatalogue,
    /// Stage and output of which something was said already.
    pub(crate) complained: Vec<(String, String)>,
    /// Whether it is not known what leads where.
    pub(crate) lost: bool,
    /// Whether each stage says its pool in a way that can be read.
    pub(crate) pools_known: bool,
    /// Pools that a misspelled name in a stage is meant for.
    pub(crate) pools_meant: Vec<&'a str>,
    /// As `Tables::whole`.
    pub(crate) whole: bool,
    /// Where the file says where clients' commands go.
    pub(crate) entry: Option<Span>,
}

pub(crate) fn read(tables: &Tables<'_, '_>, net: &Net, catalogue: &ModuleCatalogue, report: &mut Report) -> Pipeline {
    let sections = match &tables.stages {
        Some(entry) => named_tables("stages", entry, report),
        None => {
            tables.default_stages.iter().flat_map(|entry| named_tables("stages", entry, report)).map(builtin).collect()
        }
    };
    // A file whose stages are no tables says nothing of what is missing.
    let whole = tables.whole && tables.stages.as_ref().is_none_or(|entry| entry.value.is_table());
    let sections = under_their_names(sections, catalogue, report);
    let names: Vec<String> = sections.iter().map(|(name, _)| name.clone()).collect();
    let mut in_flight = Vec::new();
    let mut stages = Vec::new();
    let mut bind = Bindings::new(&names, whole, catalogue, report);
    for (name, section) in sections {
        stages.push(read_stage(name, section, &mut in_flight, &mut bind));
    }
    let entry_known = whole && known_entry(tables, net, &stages, &mut bind);
    let (complained, lost) = bind.finish();
    let pools: Vec<_> = tables.pools.iter().flat_map(|entry| named_tables("pools", entry, report)).collect();
    let pools: Vec<_> = pools.into_iter().map(|(name, section)| read_pool(name, section, report)).collect();
    let (pools_known, pools_meant) = known_pools(&stages, &pools, report);

    let topology = Topology {
        stages: stages.iter().map(|placed| placed.settings.clone()).collect(),
        pools: pools.iter().map(|placed| placed.settings.clone()).collect(),
    };
    let file = File {
        stages: &stages,
        pools: &pools,
        catalogue,
        complained,
        lost: lost || !entry_known,
        pools_known: pools_known && whole,
        pools_meant,
        whole,
        entry: tables.net.span_of("to"),
    };
    problems::explain(&topology, entry_known.then_some(&*net.to), &file, report);
    Pipeline { topology, in_flight }
}

fn builtin<'d>((name, section): (String, Section<'d>)) -> (String, Section<'d>) {
    (name, section.builtin())
}

/// The tables of `[stages.…]` or `[pools.…]`, in the order of the file, with good names.
fn named_tables<'d>(kind: &'static str, entry: &Entry<'d>, report: &mut Report) -> Vec<(String, Section<'d>)> {
    let DeValue::Table(table) = entry.value else {
        report
            .error(format!("`{kind}` must be tables"))
            .at(entry.span.clone(), format!("this is {}", value::kind(entry.value)))
            .help(format!("write [{kind}.NAME] above the keys of each one"));
        return Vec::new();
    };
    let mut out = Vec::new();
    for entry in entries(table) {
        let place = format!("{kind}.{}", entry.name);
        let mut name = entry.name.to_owned();
        if !matches!(entry.value, DeValue::Table(_)) && crate::keys::find(kind, entry.name).is_some() {
            report
                .error(format!("`{}` belongs to one of the {kind}", entry.name))
                .at(entry.name_span.clone(), "to which of them?")
                .help(format!("write it below a line [{kind}.NAME]"));
            continue;
        }
        if let Err(wrong) = words::name(entry.name) {
            let help = match wrong.instead.as_deref().map(|name| name.trim_matches('"')) {
                Some(instead) => {
                    name = instead.to_owned();
                    format!("write [{kind}.{instead}]")
                }
                None => "it becomes a thread's name, a label and a part of a path: choose a short plain one".into(),
            };
            let what = kind.trim_end_matches('s');
            report
                .error(format!("`{}` cannot name a {what}", entry.name.escape_debug()))
                .at(entry.name_span.clone(), wrong.reason)
                .help(help);
        }
        out.push((name, Section::of(kind, place, &entry, report)));
    }
    out
}

type Named<'d> = Vec<(String, Section<'d>)>;

/// Stages that are named after no module and say no other go on, after a complaint, under the name that was probably
/// meant, lest all that leads to it be complained of.
fn under_their_names<'d>(sections: Named<'d>, catalogue: &ModuleCatalogue, report: &mut Report) -> Named<'d> {
    let taken: Vec<String> = sections.iter().map(|(name, _)| name.clone()).collect();
    let named = sections.into_iter().map(|(name, section)| {
        if catalogue.find(&name).is_some() || section.entry("module").is_some() {
            return (name, section);
        }
        let free = catalogue.names().filter(|module| !taken.iter().any(|taken| taken == module));
        let near = closest(&name, free);
        let help = match near {
            Some(near) => format!("did you mean [stages.{near}]? A stage of another name says `module = \"{near}\"`"),
            None => format!("say what it does: `module`, one of {}", catalogue.names().collect::<Vec<_>>().join(", ")),
        };
        report
            .error(format!("`{}` is named after no module, and has no `module`", section.place.escape_debug()))
            .at(section.span.clone().unwrap_or(0..0), "what does it do?")
            .help(help);
        (near.map_or(name, str::to_owned), section)
    });
    named.collect()
}

/// The default `delay_target` of a stage that waits for the disk: several batches, each with its sync, are no overload.
const DISK_TARGET: Duration = Duration::from_millis(25);

/// What `"auto"` begins with. A large batch costs a stage that idles nothing, and one that starts under load has it at once.
const FIRST_WORKERS: usize = 1;
const FIRST_BATCH: usize = 64;

fn read_stage<'d>(
    name: String,
    section: Section<'d>,
    in_flight: &mut Vec<(String, usize)>,
    bind: &mut Bindings<'_>,
) -> Placed<'d, StageSettings> {
    let report = &mut *bind.report;
    section.refuse_unknown(report);
    let module: String = section.optional("module", report).unwrap_or_else(|| name.clone());
    let pool: Option<String> = section.optional("pool", report);
    let Chosen(policy) = section.value("policy", report);
    let bound: usize = section.value("bound", report);
    let (workers, auto_workers) = section.value::<Amount>("workers", report).or_from(FIRST_WORKERS);
    let (batch, auto_batch) = section.value::<Amount>("batch", report).or_from(FIRST_BATCH.min(bound));
    let mut settings = StageSettings {
        name,
        module,
        to: Vec::new(),
        pool,
        workers,
        batch,
        bound,
        policy: match policy {
            "shed" => Policy::Shed,
            "drop-oldest" => Policy::DropOldest,
            _ => Policy::Block,
        },
        delay_target: section.value("delay_target", report),
        delay_interval: section.value("delay_interval", report),
        key_share: section.value("key_share", report),
        window: section.value("window", report),
        auto: Auto { workers: auto_workers, batch: auto_batch },
    };
    let calls: Option<usize> = section.optional("in_flight", report);
    if section.entry("delay_target").is_none() && bind.catalogue.blocks(&settings.module) {
        settings.delay_target = DISK_TARGET;
    }
    match bind.catalogue.find(&settings.module) {
        None => unknown_module(&settings, &section, bind),
        Some(module) => {
            match (module.in_flight, calls) {
                (Some(default), calls) => in_flight.push((settings.name.clone(), calls.unwrap_or(default))),
                (None, Some(_)) => {
                    let span = section.entry("in_flight").map(|entry| entry.name_span).unwrap_or(0..0);
                    let title = format!("`{}.in_flight` has no meaning: {} calls nobody", section.place, module.name);
                    bind.report
                        .error(title)
                        .at(span, "only for modules that call the outside")
                        .help("take the line out");
                }
                (None, None) => {}
            }
            settings.to = outputs::read(&settings.name, module, &section, bind);
        }
    }
    Placed { settings, section }
}

fn unknown_module(settings: &StageSettings, section: &Section<'_>, bind: &mut Bindings<'_>) {
    bind.lost = true;
    // One that does not say it was complained of by its name.
    let Some(entry) = section.entry("module") else { return };
    let modules: Vec<_> = bind.catalogue.names().collect();
    let help = match closest(&settings.module, modules.iter().copied()) {
        Some(near) => format!("did you mean `module = \"{near}\"`?"),
        None => format!("a module is one of {}", modules.join(", ")),
    };
    let title = format!("no module is called `{}`", settings.module);
    bind.report.error(title).at(entry.span, "unknown module").help(help);
}

fn read_pool<'d>(name: String, section: Section<'d>, report: &mut Report) -> Placed<'d, PoolSettings> {
    section.refuse_unknown(report);
    let settings = PoolSettings {
        name,
        workers: section.value("workers", report),
        spin: section.value("spin", report),
        helped: section.value("reactors", report),
    };
    Placed { settings, section }
}

/// Complains of names of pools that there are not. Returns whether each stage's name could be read, and which pools the
/// unknown names are evidently meant for.
fn known_pools<'a>(
    stages: &[Placed<'_, StageSettings>],
    pools: &'a [Placed<'_, PoolSettings>],
    report: &mut Report,
) -> (bool, Vec<&'a str>) {
    let names: Vec<_> = pools.iter().map(|pool| pool.settings.name.as_str()).collect();
    let (mut known, mut meant) = (true, Vec::new());
    for stage in stages {
        let Some(pool) = &stage.settings.pool else {
            known &= stage.section.entry("pool").is_none();
            continue;
        };
        if names.contains(&pool.as_str()) {
            continue;
        }
        let near = closest(pool, names.iter().copied());
        meant.extend(near);
        let Some(span) = stage.section.span_of("pool") else { continue };
        let help = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if stages.iter().any(|placed| placed.settings.name == *pool) => format!(
                "`{pool}` is a stage, whose own pool serves nobody else: add a table [pools.NAME] and name that in both"
            ),
            None => format!("add a table [pools.{pool}], or leave `pool` out for a pool of the stage's own"),
        };
        report.error(format!("there is no pool `{pool}`")).at(span, "unknown pool").help(help);
    }
    (known, meant)
}

/// What clients send is for a stage of this module: that of the stage which is the default of `net.to`.
fn entry_module() -> &'static str {
    match crate::keys::find("net", "to").map(|key| &key.fallback) {
        Some(crate::keys::Fallback::Value(text)) => text.trim_matches('"'),
        _ => "",
    }
}

/// Whether `net.to` names a stage that can read what clients send.
fn known_entry(
    tables: &Tables<'_, '_>,
    net: &Net,
    stages: &[Placed<'_, StageSettings>],
    bind: &mut Bindings<'_>,
) -> bool {
    let (to, meant) = (&net.to, entry_module());
    let written = tables.net.entry("to");
    let fits = |placed: &&Placed<'_, StageSettings>| placed.settings.module == meant;
    let fitting = stages.iter().find(fits).map(|placed| &placed.settings.name);
    let named = stages.iter().find(|placed| placed.settings.name == *to);
    match (named, written) {
        (Some(named), _) if fits(&named) || bind.catalogue.find(&named.settings.module).is_none() => return true,
        (Some(named), written) => {
            let span = written.map(|entry| entry.span).or(named.section.span.clone()).unwrap_or(0..0);
            let help = match fitting {
                Some(fitting) => format!("write `to = \"{fitting}\"` below [net]"),
                None => format!("add a line [stages.{meant}]"),
            };
            let title = format!("`net.to` is for a stage of the module {meant}: it reads what clients send");
            bind.report.error(title).at(span, format!("the module of `{to}` is {}", named.settings.module)).help(help);
        }
        (None, Some(entry)) => {
            let near = closest(to, stages.iter().filter(fits).map(|placed| placed.settings.name.as_str()));
            let help = match (near, fitting) {
                (Some(near), _) => format!("did you mean \"{near}\"?"),
                (None, Some(fitting)) => format!("write `to = \"{fitting}\"`, the stage that reads what clients send"),
                (None, None) => format!("add a line [stages.{to}]: {}", outputs::ALL_OF_THEM),
            };
            bind.report.error(format!("there is no stage `{to}`")).at(entry.span, "unknown stage").help(help);
        }
        (None, None) => {
            let span = tables.stages.as_ref().map_or(0..0, |entry| entry.name_span.clone());
            match fitting {
                Some(fitting) => {
                    bind.report
                        .error(format!("the stage `{to}` is missing, to which `net.to` sends by default"))
                        .at(span, "no such stage")
                        .help(format!("write a table [net] with `to = \"{fitting}\"`"));
                }
                None => bind.misses_entry(meant, span),
            }
        }
    }
    false
}
