//! What is wrong with a file, where, and what to write instead.
//!
//! Owns the look of a complaint: title, file, line, column, the text underlined with the reason, help. Keys, secrets
//! and tokens are starred out of the text that is shown, for what a server prints at its start ends in a journal. Must not
//! know any key's meaning.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Bytes of the file, from the first to behind the last.
pub type Span = Range<usize>;

/// Whether the server can start all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// The file as it may be shown.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// Of the file's own length, so that spans hold; secrets are stars.
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Source {
    /// Counted from 0.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }
}

/// Complaints that are shown at most: a file that is none (a picture, say) would have thousands.
const MOST: usize = 100;

/// One complaint about a file. `Display` is the whole of it without colours, ending without a newline.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    severity: Severity,
    title: String,
    source: Arc<Source>,
    /// Where, and the reason that stands under it. None: it is about what the file does not say.
    place: Option<(Span, String)>,
    /// Other places that explain it.
    context: Vec<(Span, String)>,
    help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn new(severity: Severity, source: &Arc<Source>, title: String) -> Self {
        Diagnostic { severity, title, source: source.clone(), place: None, context: Vec::new(), help: None }
    }

    pub(crate) fn at(&mut self, span: Span, reason: impl Into<String>) -> &mut Self {
        self.place = Some((fit(span, &self.source.text), reason.into()));
        self
    }

    pub(crate) fn see(&mut self, span: Span, why: impl Into<String>) -> &mut Self {
        let span = fit(span, &self.source.text);
        if self.place.as_ref().is_none_or(|(place, _)| *place != span) {
            self.context.push((span, why.into()));
        }
        self
    }

    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Line and column, both from 1, the column in characters; `None` where the file has no such place.
    pub fn position(&self) -> Option<(usize, usize)> {
        let (span, _) = self.place.as_ref()?;
        let line = self.source.line(span.start);
        let column = self.source.text[self.source.lines[line]..span.start].chars().count();
        Some((line + 1, column + 1))
    }

    pub(crate) fn offset(&self) -> usize {
        self.place.as_ref().map_or(usize::MAX, |(span, _)| span.start)
    }

    /// As a person reads it; `colours` for a terminal that shows them.
    pub fn render(&self, colours: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.title.as_str()));
        match &self.place {
            Some((span, reason)) => {
                let mut snippet = Snippet::source(self.source.text.as_str())
                    .path(self.source.name.as_str())
                    .annotation(AnnotationKind::Primary.span(span.clone()).label(reason.as_str()));
                for (span, why) in &self.context {
                    snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(why.as_str()));
                }
                group = group.element(snippet);
            }
            None => group = group.element(annotate_snippets::Origin::path(self.source.name.as_str())),
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colours { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// All of them, an empty line between, and a last line that counts them.
pub fn render_all(diagnostics: &[Diagnostic], colours: bool) -> String {
    let Some(first) = diagnostics.first() else { return String::new() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&diagnostic.render(colours));
        out.push_str("\n\n");
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let said = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let counts = [said(count(Severity::Error), "error"), said(count(Severity::Warning), "warning")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    out.push_str(&format!("{} in {}\n", counts.join(", "), first.source.name));
    out
}

/// Where complaints are gathered while a file is read.
pub(crate) struct Report {
    source: Arc<Source>,
    diagnostics: Vec<Diagnostic>,
    /// Lines of which enough is said, and by how many of the diagnostics.
    hushed: HashSet<usize>,
    hushed_by: usize,
}

impl Report {
    pub(crate) fn new(name: &str, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Report {
            source: Arc::new(Source { name: name.into(), text, lines }),
            diagnostics: Vec::new(),
            hushed: HashSet::new(),
            hushed_by: 0,
        }
    }

    pub(crate) fn error(&mut self, title: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, title.into())
    }

    pub(crate) fn warning(&mut self, title: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, title.into())
    }

    fn add(&mut self, severity: Severity, title: String) -> &mut Diagnostic {
        let at = self.diagnostics.len();
        self.diagnostics.push(Diagnostic::new(severity, &self.source, title));
        &mut self.diagnostics[at]
    }

    /// The line of a place, from 0.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.source.line(at)
    }

    /// What stands there, with stars in place of secrets.
    pub(crate) fn shown(&self, span: &Span) -> &str {
        self.source.text.get(span.clone()).unwrap_or_default()
    }

    /// Keeps what was said so far, and drops what will yet be said of the same lines.
    pub(crate) fn hush(&mut self) {
        self.hushed = self.diagnostics.iter().filter_map(|d| d.position()).map(|(line, _)| line).collect();
        self.hushed_by = self.diagnostics.len();
    }

    /// Whether something was said of this very place.
    pub(crate) fn is_said_at(&self, span: &Span) -> bool {
        let same = |d: &Diagnostic| d.place.as_ref().is_some_and(|(place, _)| place.start == span.start);
        self.diagnostics.iter().any(same)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// In the order of the file; what has no place in it comes last.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        let mut said = self.diagnostics.split_off(self.hushed_by);
        said.retain(|d| d.position().is_none_or(|(line, _)| !self.hushed.contains(&line)));
        self.diagnostics.append(&mut said);
        self.diagnostics.sort_by_key(Diagnostic::offset);
        // Warnings make room first: whatever is cut, an error stays.
        if self.diagnostics.len() > MOST {
            self.diagnostics.retain(|d| d.severity == Severity::Error);
        }
        if self.diagnostics.len() > MOST {
            let more = self.diagnostics.len() - MOST;
            self.diagnostics.truncate(MOST);
            self.error(format!("{more} more errors are not shown")).help("is this the right file?");
        }
        self.diagnostics
    }
}

/// A span that may be shown: inside the text, on character boundaries, and not blank where that can be helped.
fn fit(span: Span, text: &str) -> Span {
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=span.start.min(text.len())).rev().find(boundary).unwrap_or(0);
    let end = (span.end.clamp(start, text.len())..=text.len()).find(boundary).unwrap_or(text.len());
    // A value over many lines is shown by its first.
    let end = text[start..end].find('\n').filter(|&at| at > 0).map_or(end, |at| start + at);
    start..end
}
