//! What is wrong with a topology as a whole, said where the file says it.
//!
//! The engine decides (`Topology::check`); the words and the places are ours. Owns also what the engine does not know:
//! which module an output is meant for, and circles through stages beside the line. Must not read values.

use tidegate_engine::{OutputKind, Place, PoolSettings, Problem, StageSettings, Topology};

use crate::config::Config;
use crate::diagnostic::{Report, Span};
use crate::pipeline::{File, Placed};
use crate::section::{Entry, Section, entries};

/// `entry`: the stage that clients' commands come in at, where that is known.
pub(crate) fn explain(topology: &Topology, entry: Option<&str>, file: &File<'_, '_>, report: &mut Report) {
    unused_pools(file, report);
    let mut misled = circles(file, report);
    if file.whole {
        misfits(file, &mut misled, report);
    }
    // Where an output leads astray, what it should lead to seems useless.
    let lost = file.lost || !misled.is_empty();
    let problems = topology.check(&file.catalogue.declared(), entry.as_slice());
    for problem in &problems {
        let said = match &problem.place {
            // Unknown names were found while the file was read, with more to say.
            Place::Stage { field: "module" | "pool", .. } | Place::Entry(_) => true,
            Place::Output { stage, output } => {
                let same = |(s, o): &(String, String)| s == stage && o == output;
                file.complained.iter().any(same) || misled.iter().any(|(s, _)| s == stage)
            }
            Place::Stage { stage, field: "name" } => lost || unreachable(stage, file, report),
            Place::Stage { stage, field: "batch" } => !file.whole || too_large_a_batch(stage, file, report),
            Place::Stage { stage, field: "bound" } => !file.whole || batch_above_bound(stage, file, report),
            Place::Stage { stage, field: "policy" } => lossy_policy(stage, file, report),
            Place::Pool { pool, field: "name" } => pool_use(pool, file, report),
            // What a broken line would have said is not known.
            _ => !file.whole,
        };
        if !said {
            in_its_words(problem, file, report);
        }
    }
    // Whatever was thought to be said elsewhere: nothing that the engine refuses may pass for good.
    if !report.has_errors() {
        problems.iter().for_each(|problem| in_its_words(problem, file, report));
    }
}

fn stage<'a, 'd>(name: &str, file: &File<'a, 'd>) -> Option<&'a Placed<'d, StageSettings>> {
    file.stages.iter().find(|placed| placed.settings.name == name)
}

fn pool<'a, 'd>(name: &str, file: &File<'a, 'd>) -> Option<&'a Placed<'d, PoolSettings>> {
    file.pools.iter().find(|placed| placed.settings.name == name)
}

/// Where a binding stands: its own text, or that of `to`, or the stage's header.
fn output_span(section: &Section<'_>, output: &str) -> Option<Span> {
    let bound = section.entry("to").and_then(|to| {
        let table = to.value.as_table()?;
        entries(table).into_iter().find(|entry| entry.name == output).map(|entry| entry.span)
    });
    // Where the stage is the built-in one, nothing of it stands in this file.
    let outer = section.span_of("to")?;
    Some(bound.unwrap_or(outer))
}

/// Ways that come back to where they were, through whatever edges. Says each once, and returns stage and output of it.
fn circles(file: &File<'_, '_>, report: &mut Report) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut done = vec![false; file.stages.len()];
    for start in 0..file.stages.len() {
        walk(start, &mut Vec::new(), &mut done, file, &mut found);
    }
    // Below a broken line may stand that a stage goes elsewhere.
    found.retain(|circle: &Circle| file.whole || circle.written);
    let mut said = Vec::new();
    for Circle { path, stage, output, .. } in found {
        let placed = &file.stages[stage];
        let names: Vec<_> = path.iter().map(|at| file.stages[*at].settings.name.as_str()).collect();
        let back = names.first().copied().unwrap_or_default();
        let title = format!("the pipeline goes in a circle (a cycle): {} -> {back}", names.join(" -> "));
        let complaint = report.error(title);
        if let Some(span) = output_span(&placed.section, &output) {
            complaint.at(span, "leads back");
        }
        complaint.help("a full queue in a circle waits for itself: bind this output to a stage further on");
        said.push((placed.settings.name.clone(), output));
    }
    said
}

struct Circle {
    path: Vec<usize>,
    stage: usize,
    output: String,
    /// Whether the file says all of it.
    written: bool,
}

/// Whether a stage's `to` names an output.
fn is_written(section: &Section<'_>, output: &str) -> bool {
    let to = section.entry("to");
    to.and_then(|to| to.value.as_table()).is_some_and(|table| table.contains_key(output))
}

fn walk(at: usize, path: &mut Vec<usize>, done: &mut [bool], file: &File<'_, '_>, found: &mut Vec<Circle>) {
    if done[at] {
        return;
    }
    path.push(at);
    for (output, target) in &file.stages[at].settings.to {
        let Some(next) = file.stages.iter().position(|placed| placed.settings.name == *target) else { continue };
        match path.iter().position(|on_path| *on_path == next) {
            Some(from) => {
                let path = path[from..].to_vec();
                let written = path.iter().zip(path.iter().cycle().skip(1)).all(|(one, next)| {
                    let (one, next) = (&file.stages[*one], &file.stages[*next].settings.name);
                    one.settings.to.iter().any(|(output, to)| to == next && is_written(&one.section, output))
                });
                found.push(Circle { path, stage: at, output: output.clone(), written });
            }
            None => walk(next, path, done, file, found),
        }
    }
    path.pop();
    done[at] = true;
}

/// Outputs bound to a stage that cannot make sense of what they carry.
fn misfits(file: &File<'_, '_>, said: &mut Vec<(String, String)>, report: &mut Report) {
    for placed in file.stages {
        let settings = &placed.settings;
        let Some(module) = file.catalogue.find(&settings.module) else { continue };
        for (output, target) in &settings.to {
            let meant = module.targets.iter().find(|(name, _)| name == output).map(|(_, meant)| *meant);
            let (Some(meant), Some(to)) = (meant, stage(target, file)) else { continue };
            let known = file.catalogue.find(&to.settings.module).is_some() && file.catalogue.find(meant).is_some();
            let known_before = said.iter().any(|(s, o)| *s == settings.name && o == output);
            if to.settings.module == meant || !known || known_before {
                continue;
            }
            let Some(span) = output_span(&placed.section, output) else { continue };
            let fitting: Vec<_> = file.stages.iter().filter(|placed| placed.settings.module == meant).collect();
            let help = match fitting.first() {
                Some(fits) => format!("write `{output} = \"{}\"`", fits.settings.name),
                None => format!("add a line [stages.{meant}] and write `{output} = \"{meant}\"`"),
            };
            report
                .error(format!("output `{output}` of `stages.{}` is for a stage of the module {meant}", settings.name))
                .at(span, format!("this one's module is {}", to.settings.module))
                .help(help);
            said.push((settings.name.clone(), output.clone()));
        }
    }
}

fn unreachable(name: &str, file: &File<'_, '_>, report: &mut Report) -> bool {
    let Some(span) = stage(name, file).and_then(|placed| placed.section.span.clone()) else { return false };
    report
        .error(format!("nothing leads to `stages.{name}`"))
        .at(span, "would never have work")
        .help(format!("bind an output to it, as `to = {{ … = \"{name}\" }}` in another stage, or take its table out"));
    true
}

/// A batch that its target's bound could never hold.
fn too_large_a_batch(name: &str, file: &File<'_, '_>, report: &mut Report) -> bool {
    let Some(placed) = stage(name, file) else { return false };
    let settings = &placed.settings;
    let Some(module) = file.catalogue.find(&settings.module) else { return false };
    let mut said = false;
    for (output, target) in &settings.to {
        let declared = module.outputs.iter().find(|declared| declared.name == output);
        let (Some(declared), Some(to)) = (declared, stage(target, file)) else { continue };
        let line = matches!(declared.kind, OutputKind::Stage | OutputKind::Optional);
        let most = settings.batch.saturating_mul(declared.most as usize);
        let (bound, span) = (to.settings.bound, placed.section.span_of("batch"));
        let (true, Some(span)) = (line && most > bound, span) else { continue };
        // A figure that is none was complained of; what stands for it is not in the file.
        let holds = to.section.span_of("bound");
        if report.is_said_at(&span) || holds.as_ref().is_some_and(|holds| report.is_said_at(holds)) {
            said = true;
            continue;
        }
        let title = format!("a batch of `stages.{name}` would never fit into `stages.{target}`");
        let reason = match declared.most {
            1 => format!("up to {most} events at once"),
            each => format!("{} at once, each up to {each} events on `{output}`: {most}", settings.batch),
        };
        let written = placed.section.entry("batch").is_some();
        let reason = if written { reason } else { format!("by default {reason}") };
        let fits = (bound / declared.most.max(1) as usize).max(1);
        let complaint = report.error(title);
        complaint.at(span, reason).help(format!(
            "write `bound = {most}` or more in [stages.{target}], or `batch = {fits}` or less in [stages.{name}]"
        ));
        if let Some(span) = holds {
            complaint.see(span, format!("holds {bound}"));
        }
        said = true;
    }
    said
}

/// A stage's own batch that its own bound could never hold.
fn batch_above_bound(name: &str, file: &File<'_, '_>, report: &mut Report) -> bool {
    let Some(placed) = stage(name, file) else { return false };
    let (batch, bound) = (placed.settings.batch, placed.settings.bound);
    if batch <= bound {
        return false;
    }
    let span = |key| placed.section.entry(key).map(|entry| entry.span);
    let written = (span("batch"), span("bound"));
    // A figure that is none was complained of; what stands for it is not in the file.
    if [&written.0, &written.1].into_iter().flatten().any(|span| report.is_said_at(span)) {
        return true;
    }
    let title = format!("a batch of `stages.{name}` can never fill: it is above the stage's own bound");
    match written {
        (Some(at), Some(other)) => {
            let help = format!("write `batch = {bound}` or less, or `bound = {batch}` or more");
            report
                .error(title)
                .at(at, format!("up to {batch} at once"))
                .see(other, format!("holds {bound}"))
                .help(help);
        }
        (Some(at), None) => {
            let help = format!("write `batch = {bound}` or less, or beside it `bound = {batch}` or more");
            report.error(title).at(at, format!("the bound is {bound} by default")).help(help);
        }
        (None, Some(at)) => {
            let help = format!("write `bound = {batch}` or more, or beside it `batch = {bound}` or less");
            report.error(title).at(at, format!("the batch is {batch} by default")).help(help);
        }
        (None, None) => return false,
    }
    true
}

fn lossy_policy(name: &str, file: &File<'_, '_>, report: &mut Report) -> bool {
    let Some(placed) = stage(name, file) else { return false };
    let Some(span) = placed.section.span_of("policy") else { return false };
    let Some(keeps) = file.catalogue.find(&placed.settings.module).and_then(|module| module.keeps) else {
        return false;
    };
    report
        .error(format!("`policy = \"{}\"` in `stages.{name}` would lose what must not be lost", placed.settings.policy))
        .at(span, keeps)
        .help("write `policy = \"block\"`, or \"drop-oldest\", which drops nothing but transient messages");
    true
}

/// A pool may wait for a stage that is moved there live, and is left behind by one that is moved away.
fn unused_pools(file: &File<'_, '_>, report: &mut Report) {
    for placed in file.pools {
        let name = placed.settings.name.as_str();
        let is_used = |stage: &Placed<'_, StageSettings>| match &stage.settings.pool {
            Some(pool) => pool == name,
            // Two of one name: there is more to say than that this one has no work.
            None => stage.settings.name == name,
        };
        let meant = !file.pools_known || file.pools_meant.contains(&name);
        let Some(span) = placed.section.span.clone() else { continue };
        if !meant && !file.stages.iter().any(is_used) {
            report
                .warning(format!("no stage uses `pools.{name}`"))
                .at(span, "its threads have no work until a stage is moved there")
                .help(format!("write `pool = \"{name}\"` in a stage, or take this table out"));
        }
    }
}

/// A pool whose name two would have, or that serves both sorts of stages.
fn pool_use(name: &str, file: &File<'_, '_>, report: &mut Report) -> bool {
    let Some(span) = pool(name, file).and_then(|placed| placed.section.span.clone()) else { return false };
    let users: Vec<_> = file.stages.iter().filter(|placed| placed.settings.pool.as_deref() == Some(name)).collect();
    let own = stage(name, file).filter(|placed| placed.settings.pool.is_none());
    if let Some(own) = own {
        let complaint =
            report.error(format!("two pools would be called `{name}`: this one and that of `stages.{name}`"));
        complaint.at(span, "a stage without `pool` has one of its own name");
        if let Some(header) = own.section.span.clone() {
            complaint.see(header, "has a pool of its own");
        }
        complaint.help(format!("call the pool otherwise, or write `pool = \"{name}\"` in [stages.{name}]"));
        return true;
    }
    let blocks = |placed: &&&Placed<'_, StageSettings>| file.catalogue.blocks(&placed.settings.module);
    let names = |stages: &mut dyn Iterator<Item = &&Placed<'_, StageSettings>>| {
        stages.map(|placed| placed.settings.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let waiting = names(&mut users.iter().filter(blocks));
    let others = names(&mut users.iter().filter(|placed| !blocks(placed)));
    if waiting.is_empty() || others.is_empty() {
        return false;
    }
    let complaint = report.error(format!("`pools.{name}` mixes stages that wait for the disk with others"));
    complaint.at(span, format!("a slow disk would stop {others}"));
    for placed in users.iter().filter(blocks) {
        if let Some(span) = placed.section.span_of("pool") {
            complaint.see(span, "waits for the disk");
        }
    }
    complaint.help(format!("name another pool in {waiting}, or leave `pool` out there"));
    true
}

/// What the engine finds and this file has no better words for.
fn in_its_words(problem: &Problem, file: &File<'_, '_>, report: &mut Report) {
    // A key that the file leaves out is shown by its table; what is built in, by what leads there.
    let span = match &problem.place {
        Place::Stage { stage: name, field } => stage(name, file).and_then(|placed| placed.section.span_of(field)),
        Place::Output { stage: name, output } => stage(name, file).and_then(|p| output_span(&p.section, output)),
        Place::Pool { pool: name, field } => pool(name, file).and_then(|placed| placed.section.span_of(field)),
        Place::Entry(_) => None,
    };
    let place = problem.place.to_string();
    let complaint = report.error(format!("`{}`: {}", place.strip_suffix(".name").unwrap_or(&place), problem.reason));
    complaint.at(span.or(file.entry.clone()).unwrap_or(0..0), "here");
    if !problem.help.is_empty() {
        complaint.help(problem.help.clone());
    }
}

/// Webhooks that no stage would ever call.
pub(crate) fn never_called(config: &Config, apps: Option<Entry<'_>>, report: &mut Report) {
    let Some(entry) = apps else { return };
    let has = |module: &str| config.topology.stages.iter().any(|stage| stage.module == module);
    for (key, module, used) in [
        ("[[app.webhook]]", "hook", config.apps.iter().any(|app| !app.webhooks.is_empty())),
        ("`push_webhook`", "push", config.apps.iter().any(|app| app.push_webhook.is_some())),
    ] {
        if used && !has(module) && !config.topology.stages.is_empty() {
            report
                .warning(format!("no stage calls the {key} of an app"))
                .at(entry.name_span.clone(), "its calls are never made")
                .help(format!("add a line [stages.{module}] and bind the outputs that are for it"));
        }
    }
}
