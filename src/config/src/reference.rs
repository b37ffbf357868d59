//! The reference page, `docs/configuration.md`, from the table of keys.
//!
//! Owns the page's words around the tables. A test keeps the page in the repository what this says.

use std::fmt::Write;

use tidegate_engine::OutputKind;

use crate::catalogue::{ModuleCatalogue, ModuleEntry};
use crate::keys::{self, Fallback};

const INTRODUCTION: &str = "# Configuration

<!-- Written from src/config/src/keys.rs by `UPDATE=1 cargo test -p tidegate-config --test pages`. -->

`tidegate run --config FILE` reads one TOML file. Every key has a default, so a file says only what differs; without a
file the server runs as the repository's [`pipeline.toml`](../pipeline.toml) says. `tidegate check FILE` finds all that
is wrong with a file without starting anything, `tidegate graph FILE` draws its stages.

- A **duration** is a number and a unit between quotes: `us`, `ms`, `s`, `m`, `h`, `d`. `\"5ms\"`, `\"1.5s\"`, `\"180d\"`.
- A **size** is a number and a unit between quotes: `B`, `KiB`, `MiB`, `GiB`. `\"256 KiB\"`.
- An **address** is an IP address and a port: `\"127.0.0.1:7700\"`, `\"[::1]:7700\"`. Names are not looked up.
- A **share** is a part of one: `0.1` is a tenth.
- A **name** of a stage or a pool has a-z, 0-9 and `_`; it shows in thread names, metrics and the admin port's paths.

Keys marked ⟳ can be changed while the server runs (`PATCH /stages/NAME` and `PATCH /pools/NAME` on the admin port).
";

/// The whole page, in Markdown; `catalogue` tells the outputs of each module.
pub fn reference(catalogue: &ModuleCatalogue) -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in keys::SECTIONS {
        _ = write!(page, "\n## `{}`\n\n{}\n\n", section.header, section.meaning);
        page.push_str("| Key | Default | Takes | Meaning |\n|---|---|---|---|\n");
        for key in keys::of(section.name) {
            let default = match key.fallback {
                Fallback::Value(text) => format!("`{text}`"),
                Fallback::Absent(what) => format!("none: {what}"),
                Fallback::Required => "required".into(),
            };
            let live = if keys::is_live(key.section, key.name) { " ⟳" } else { "" };
            let takes = match key.form.describe().strip_prefix("a table as ") {
                Some(shape) => format!("`{shape}`"),
                None => key.form.describe(),
            };
            _ = writeln!(page, "| `{}`{live} | {default} | {takes} | {} |", key.name, key.meaning);
        }
        match section.name {
            "listen" => tls(&mut page),
            "stages" => modules(catalogue, &mut page),
            _ => {}
        }
    }
    page
}

fn tls(page: &mut String) {
    page.push_str("\nBoth keys of `tls` are needed:\n\n| Key | Meaning |\n|---|---|\n");
    for key in keys::of("listen.tls") {
        _ = writeln!(page, "| `{}` | {} |", key.name, key.meaning);
    }
}

fn modules(catalogue: &ModuleCatalogue, page: &mut String) {
    page.push_str(
        "\nA `to` that is written names every output of its module; one that is left out binds each to its usual stage:\n\n\
         | Module | Output | Usual stage | When that is full |\n|---|---|---|---|\n",
    );
    for name in catalogue.names() {
        let Some(module) = catalogue.find(name) else { continue };
        let outputs = module.outputs.iter().filter_map(|output| {
            let (optional, full) = match output.kind {
                OutputKind::Stage => ("", "as that stage's `policy` says; by default this one waits"),
                OutputKind::Optional => (", or `\"none\"`", "as that stage's `policy` says; by default this one waits"),
                OutputKind::Side => ("", "refused at its door; this stage never waits"),
                OutputKind::OptionalSide => (", or `\"none\"`", "refused at its door; this stage never waits"),
                OutputKind::Sink(_) => return None,
            };
            Some(format!("`{}` | {}{optional} | {full}", output.name, usual(module, output.name)))
        });
        let rows: Vec<String> = outputs.collect();
        for (at, row) in rows.iter().enumerate() {
            let name = if at == 0 { format!("`{name}`") } else { String::new() };
            _ = writeln!(page, "| {name} | {row} |");
        }
        if rows.is_empty() {
            _ = writeln!(page, "| `{name}` | none | | |");
        }
    }
    let blocking: Vec<_> = catalogue
        .names()
        .filter_map(|name| catalogue.find(name))
        .filter(|module| module.blocks)
        .map(|module| format!("`{}`", module.name))
        .collect();
    let kept: Vec<_> = catalogue
        .names()
        .filter_map(|name| catalogue.find(name))
        .filter(|module| module.keeps.is_some())
        .map(|module| format!("`{}`", module.name))
        .collect();
    if !blocking.is_empty() {
        _ = writeln!(page, "\n{} wait for the disk: they never share a pool with the others.", blocking.join(" and "));
    }
    if !kept.is_empty() {
        _ = writeln!(
            page,
            "What waits before {} must not be lost: `policy = \"shed\"` is refused there.",
            kept.join(" and ")
        );
    }
}

fn usual(module: &ModuleEntry, output: &str) -> String {
    match module.targets.iter().find(|(name, _)| *name == output) {
        Some((_, target)) => format!("`{target}`"),
        None => "must be named".into(),
    }
}
