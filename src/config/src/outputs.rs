//! `to`: where a stage's outputs go, as the file says, or as its module is meant to be used.
//!
//! Owns complaints about single bindings, and what is taken instead so that the rest can still be checked. Must not
//! know what the graph as a whole looks like.

use tidegate_engine::{Output, OutputKind};
use toml::de::DeValue;

use crate::catalogue::{ModuleCatalogue, ModuleEntry};
use crate::diagnostic::{Report, Span};
use crate::section::{Entry, Section, entries};
use crate::value::kind;
use crate::words::closest;

/// What outputs are bound with.
pub(crate) struct Bindings<'a> {
    pub(crate) names: &'a [String],
    /// As `Tables::whole`.
    pub(crate) whole: bool,
    pub(crate) catalogue: &'a ModuleCatalogue,
    pub(crate) report: &'a mut Report,
    /// Stage and output of which something was said.
    pub(crate) complained: Vec<(String, String)>,
    /// Whether a stage's outputs, or where one goes, are not known: then nor is what leads where.
    pub(crate) lost: bool,
    missing: Vec<Missing>,
}

/// Why a file with some stages lacks others.
pub(crate) const ALL_OF_THEM: &str = "a file with a stage names all of them, and needs no more than their headers";

/// A stage that outputs go to by default, and that the file does not have.
struct Missing {
    stage: &'static str,
    /// Where and why it is needed.
    needs: Vec<(Span, String)>,
    /// Stage and output that can do without.
    optional: Vec<(String, &'static str)>,
}

impl<'a> Bindings<'a> {
    pub(crate) fn new(
        names: &'a [String],
        whole: bool,
        catalogue: &'a ModuleCatalogue,
        report: &'a mut Report,
    ) -> Self {
        Bindings { names, whole, catalogue, report, complained: Vec::new(), lost: false, missing: Vec::new() }
    }

    /// Complains of each missing stage once, whoever needs it. Returns `complained` and `lost`.
    pub(crate) fn finish(mut self) -> (Vec<(String, String)>, bool) {
        let missing = std::mem::take(&mut self.missing);
        let mut told: Vec<_> = missing.iter().map(|missing| missing.stage).collect();
        for Missing { stage, needs, optional } in missing {
            let before = told.len();
            self.missing_after(stage, &mut told);
            let lines: Vec<_> =
                std::iter::once(&stage).chain(&told[before..]).map(|stage| format!("[stages.{stage}]")).collect();
            let lines = match lines.as_slice() {
                [line] => format!("a line {line}"),
                lines => format!("the lines {}", lines.join(", ")),
            };
            let without: Vec<_> =
                optional.iter().map(|(stage, name)| format!("`{name} = \"none\"` in [stages.{stage}]")).collect();
            let without = match without.len() == needs.len() {
                true => format!("; or do without it by {}", without.join(" and ")),
                false => String::new(),
            };
            let complaint = self.report.error(format!("the stage `{stage}` is missing"));
            complaint.help(format!("add {lines}: {ALL_OF_THEM}{without}"));
            let mut needs = needs.into_iter();
            if let Some((span, why)) = needs.next() {
                complaint.at(span, why);
            }
            for (span, why) in needs {
                complaint.see(span, why);
            }
        }
        (self.complained, self.lost)
    }

    /// The stage that reads what clients send is missing.
    pub(crate) fn misses_entry(&mut self, stage: &'static str, span: Span) {
        let needs = vec![(span, "what clients send goes there".to_owned())];
        match self.missing.iter_mut().find(|missing| missing.stage == stage) {
            Some(missing) => missing.needs.extend(needs),
            None => self.missing.insert(0, Missing { stage, needs, optional: Vec::new() }),
        }
    }

    /// Stages that nothing in the file asks for, but those that are missing would.
    fn missing_after(&self, stage: &'static str, told: &mut Vec<&'static str>) {
        let targets = self.catalogue.find(stage).map_or(&[][..], |module| module.targets);
        for (_, target) in targets {
            let here = self.names.iter().any(|name| name == target);
            if !here && !told.contains(target) {
                told.push(target);
                self.missing_after(target, told);
            }
        }
    }

    fn misses(&mut self, stage: &'static str, span: Span, by: &str, output: &Output) {
        let at = self.missing.iter().position(|missing| missing.stage == stage).unwrap_or_else(|| {
            self.missing.push(Missing { stage, needs: Vec::new(), optional: Vec::new() });
            self.missing.len() - 1
        });
        let missing = &mut self.missing[at];
        missing.needs.push((span, format!("its output `{}` goes there", output.name)));
        if is_optional(output) {
            missing.optional.push((by.to_owned(), output.name));
        }
    }
}

/// The outputs of one stage while they are read.
struct Outputs<'a> {
    stage: &'a str,
    /// `stages.NAME`.
    place: &'a str,
    module: &'a ModuleEntry,
    /// Those that a file binds.
    open: Vec<&'static Output>,
}

/// Each output and its stage, or `"none"`, in the order of the module: two files that say the same are equal.
pub(crate) fn read(
    stage: &str,
    module: &ModuleEntry,
    section: &Section<'_>,
    bind: &mut Bindings<'_>,
) -> Vec<(String, String)> {
    let open = module.outputs.iter().filter(|output| !matches!(output.kind, OutputKind::Sink(_))).collect();
    let outputs = Outputs { stage, place: &section.place, module, open };
    let to = section.entry("to");
    let written = match &to {
        None => Vec::new(),
        Some(entry) => match entry.value {
            DeValue::Table(table) => entries(table),
            _ => {
                outputs.not_a_table(entry, bind);
                return outputs.open.iter().filter_map(|output| outputs.recover(output, None, bind)).collect();
            }
        },
    };
    let mut misspelled = Vec::new();
    for entry in &written {
        if !outputs.open.iter().any(|output| output.name == entry.name) {
            misspelled.extend(outputs.unknown(entry, bind));
        }
    }
    let mut bound = Vec::new();
    for output in &outputs.open {
        let target = match (written.iter().find(|entry| entry.name == output.name), &to) {
            (Some(entry), _) => outputs.written(output, entry, bind),
            (None, _) if misspelled.contains(&output.name) => outputs.recover(output, None, bind),
            (None, Some(to)) => outputs.left_out(output, to, bind),
            (None, None) => outputs.usual(output, section, bind),
        };
        bound.extend(target);
    }
    bound
}

fn is_optional(output: &Output) -> bool {
    matches!(output.kind, OutputKind::Optional | OutputKind::OptionalSide)
}

impl Outputs<'_> {
    /// The stage that an output is meant for.
    fn meant(&self, output: &Output) -> Option<&'static str> {
        self.module.targets.iter().find(|(name, _)| *name == output.name).map(|(_, target)| *target)
    }

    /// After a complaint: the stage that was probably meant, so that nothing else seems wrong for its lack.
    fn recover(&self, output: &Output, near: Option<&str>, bind: &mut Bindings<'_>) -> Option<(String, String)> {
        bind.complained.push((self.stage.to_owned(), output.name.to_owned()));
        let exists = |target: &&str| bind.names.iter().any(|name| name == target);
        let target = near.filter(exists).or_else(|| self.meant(output).filter(exists));
        if target.is_none() {
            bind.lost = true;
        }
        target.map(|target| (output.name.to_owned(), target.to_owned()))
    }

    fn not_a_table(&self, entry: &Entry<'_>, bind: &mut Bindings<'_>) {
        let example = match (entry.value, self.open.as_slice()) {
            (DeValue::String(target), [one]) => format!("{} = \"{target}\"", one.name),
            (_, open) => {
                let binding =
                    |output: &&Output| format!("{} = \"{}\"", output.name, self.meant(output).unwrap_or("STAGE"));
                open.iter().map(binding).collect::<Vec<_>>().join(", ")
            }
        };
        let help = match example.as_str() {
            "" => format!("take the line out: {} has no outputs", self.module.name),
            _ => format!("write `to = {{ {example} }}`"),
        };
        bind.report
            .error(format!("`{}.to` takes a table from outputs to stages", self.place))
            .at(entry.span.clone(), format!("this is {}, and does not say which output", kind(entry.value)))
            .help(help);
    }

    /// Returns the output that was probably meant.
    fn unknown(&self, entry: &Entry<'_>, bind: &mut Bindings<'_>) -> Option<&'static str> {
        let sink = self.module.outputs.iter().any(|output| output.name == entry.name);
        let names: Vec<_> = self.open.iter().map(|output| output.name).collect();
        let near = closest(entry.name, names.iter().copied());
        let help = match (near, names.as_slice()) {
            _ if sink => "take it out: it always goes to the sockets".to_owned(),
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => format!("take it out: {} has no outputs", self.module.name),
            (None, names) => format!("the outputs of {} are {}", self.module.name, names.join(", ")),
        };
        let reason = if sink { "not for a file to say" } else { "unknown output" };
        bind.report
            .error(format!("`{}` has no output `{}` to bind", self.place, entry.name.escape_debug()))
            .at(entry.name_span.clone(), reason)
            .help(help);
        near
    }

    /// A binding that stands in the file.
    fn written(&self, output: &Output, entry: &Entry<'_>, bind: &mut Bindings<'_>) -> Option<(String, String)> {
        let place = self.place;
        let name = output.name;
        let none = if is_optional(output) { format!(", or `{name} = \"none\"`") } else { String::new() };
        let DeValue::String(target) = entry.value else {
            bind.report
                .error(format!("`{place}.to.{name}` takes the name of a stage"))
                .at(entry.span.clone(), format!("this is {}", kind(entry.value)))
                .help(format!("write `{name} = \"{}\"`{none}", self.meant(output).unwrap_or("STAGE")));
            return self.recover(output, None, bind);
        };
        if target == "none" && is_optional(output) || bind.names.iter().any(|name| *name == **target) {
            return Some((name.to_owned(), target.to_string()));
        }
        if target == "none" {
            let help = match self.meant(output) {
                Some(meant) if bind.names.iter().any(|name| name == meant) => format!("write `{name} = \"{meant}\"`"),
                Some(meant) => format!("add a line [stages.{meant}] and write `{name} = \"{meant}\"`"),
                None => format!("write `{name} = \"STAGE\"`"),
            };
            bind.report
                .error(format!("output `{name}` of `{place}` cannot be \"none\""))
                .at(entry.span.clone(), format!("{} cannot work without it", self.module.name))
                .help(help);
            return self.recover(output, None, bind);
        }
        let near = closest(target, bind.names.iter().map(String::as_str)).map(str::to_owned);
        // A table that a broken line hides may be the one.
        if bind.whole {
            let help = match &near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if bind.catalogue.find(target).is_some() => format!("add a line [stages.{target}]{none}"),
                None => format!("the stages of this file are {}{none}", bind.names.join(", ")),
            };
            bind.report
                .error(format!("there is no stage `{}`", target.escape_debug()))
                .at(entry.span.clone(), "unknown stage")
                .help(help);
        }
        self.recover(output, near.as_deref(), bind)
    }

    /// An output that a written `to` does not name.
    fn left_out(&self, output: &Output, to: &Entry<'_>, bind: &mut Bindings<'_>) -> Option<(String, String)> {
        if bind.whole {
            let name = output.name;
            let none = if is_optional(output) { format!(", or `{name} = \"none\"`") } else { String::new() };
            bind.report
                .error(format!("output `{name}` of `{}` is bound to no stage", self.place))
                .at(to.span.clone(), format!("no `{name}` here"))
                .help(format!("add `{name} = \"{}\"`{none}", self.meant(output).unwrap_or("STAGE")));
        }
        self.recover(output, None, bind)
    }

    /// An output of a stage without a `to`.
    fn usual(&self, output: &Output, section: &Section<'_>, bind: &mut Bindings<'_>) -> Option<(String, String)> {
        let name = output.name;
        let target = self.meant(output);
        if let Some(target) = target
            && bind.names.iter().any(|name| name == target)
        {
            return Some((name.to_owned(), target.to_owned()));
        }
        let span = section.span.clone().unwrap_or(0..0);
        match target {
            _ if !bind.whole => {}
            Some(target) => bind.misses(target, span, self.stage, output),
            None => {
                bind.report
                    .error(format!("output `{name}` of `{}` is bound to no stage", self.place))
                    .at(span, "no `to` here")
                    .help(format!("write `to = {{ {name} = \"STAGE\" }}`"));
            }
        }
        self.recover(output, None, bind)
    }
}
