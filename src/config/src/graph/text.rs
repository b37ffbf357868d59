//! For a terminal: chains of stages in a line, what leaves a chain hung below it, and a table of the settings.

use std::fmt::Write;

use tidegate_engine::StageSettings;

use super::shape::{CLIENTS, Edge, Shape, amount};
use crate::units::duration;

const WIDTH: usize = 80;

pub(super) fn draw(shape: &Shape<'_>) -> String {
    let mut out = String::new();
    for (at, chain) in shape.chains.iter().enumerate() {
        if at == 0 || shape.branches(chain[0]).next().is_some() || chain.len() > 1 {
            if at > 0 {
                out.push('\n');
            }
            draw_chain(shape, chain, at == 0, &mut out);
        }
    }
    out.push_str("\n─▶ waits for room   ╌▷ asks beside the line: refused when full, never waited for\n\n");
    table(shape, &mut out);
    out
}

/// One chain, over several lines of text where one is too long. `ends`: clients at both of them.
fn draw_chain(shape: &Shape<'_>, chain: &[usize], ends: bool, out: &mut String) {
    let mut row = Row::default();
    if ends {
        row.text.push_str(CLIENTS);
    }
    for (at, stage) in chain.iter().enumerate() {
        let side = at > 0 && shape.step(chain[at - 1], *stage).is_some_and(|edge| edge.side);
        let last = ends && at + 1 == chain.len();
        if !row.text.is_empty() && !row.fits(shape, *stage, last) {
            row.flush(shape, out);
            row.text.push_str("  ");
        }
        if !row.text.is_empty() {
            row.text.push_str(if side { " ╌▷ " } else { " ─▶ " });
        }
        row.stages.push((row.text.chars().count(), *stage));
        row.text.push_str(&row_name(shape, *stage));
        if last {
            _ = write!(row.text, " ─▶ {CLIENTS}");
        }
    }
    row.flush(shape, out);
}

/// A stage's name, made wide enough for one column a branch.
fn row_name(shape: &Shape<'_>, stage: usize) -> String {
    let name = &shape.stage(stage).name;
    let branches = shape.branches(stage).count();
    format!("{name}{}", "─".repeat(branches.saturating_sub(name.chars().count())))
}

#[derive(Default)]
struct Row {
    text: String,
    /// Column and stage.
    stages: Vec<(usize, usize)>,
}

impl Row {
    fn fits(&self, shape: &Shape<'_>, stage: usize, last: bool) -> bool {
        let column = self.text.chars().count() + 4;
        let name = row_name(shape, stage).chars().count();
        let behind = if last { 4 + CLIENTS.len() } else { 3 };
        let branches = shape.branches(stage).enumerate();
        let widest = branches.map(|(at, edge)| at + label(shape, edge).chars().count()).max().unwrap_or(0);
        column + (name + behind).max(widest) <= WIDTH
    }

    /// Writes the row and, below it, its branches: the rightmost first, so that no two cross.
    fn flush(&mut self, shape: &Shape<'_>, out: &mut String) {
        _ = writeln!(out, "{}", self.text.trim_end());
        let mut open: Vec<(usize, &Edge<'_>)> = Vec::new();
        for (column, stage) in &self.stages {
            open.extend(shape.branches(*stage).enumerate().map(|(at, edge)| (column + at, edge)));
        }
        while let Some((column, edge)) = open.pop() {
            let mut line = String::new();
            let mut width = 0;
            for (column, edge) in &open {
                line.extend(std::iter::repeat_n(' ', column - width));
                line.push(if edge.side { '╎' } else { '│' });
                width = column + 1;
            }
            line.extend(std::iter::repeat_n(' ', column - width));
            _ = writeln!(out, "{line}{}", label(shape, edge));
        }
        *self = Row::default();
    }
}

fn label(shape: &Shape<'_>, edge: &Edge<'_>) -> String {
    let target = &shape.stage(edge.to).name;
    match edge.side {
        true => format!("└╌ {} ╌▷ {target}", edge.output),
        false => format!("└─ {} ─▶ {target}", edge.output),
    }
}

/// The figures of each stage and pool. Long names are cut, so that a line keeps to its width.
fn table(shape: &Shape<'_>, out: &mut String) {
    let stages: Vec<_> = shape.chains.iter().flatten().map(|at| shape.stage(*at)).collect();
    let mut rows = vec![["stage", "pool", "workers", "batch", "bound", "policy", "target"].map(String::from)];
    for stage in &stages {
        rows.push([
            cut(&stage.name, 20),
            cut(stage.pool.as_deref().unwrap_or("own"), 10),
            amount(stage.workers, stage.auto.workers),
            amount(stage.batch, stage.auto.batch),
            stage.bound.to_string(),
            stage.policy.to_string(),
            duration(stage.delay_target),
        ]);
    }
    write_rows(&rows, 2..5, out);
    let others: Vec<_> = stages.iter().filter(|stage| stage.module != stage.name).collect();
    if !others.is_empty() {
        out.push('\n');
        let mut rows = vec![["stage", "module"].map(String::from)];
        rows.extend(others.iter().map(|stage| [stage.name.clone(), stage.module.clone()]));
        write_rows(&rows, 0..0, out);
    }
    if !shape.topology.pools.is_empty() {
        out.push('\n');
        let mut rows = vec![["pool", "workers", "spin", "stages"].map(String::from)];
        for pool in &shape.topology.pools {
            let here = |stage: &&StageSettings| stage.pool.as_deref() == Some(&*pool.name);
            let names = shape.topology.stages.iter().filter(here).map(|stage| stage.name.as_str());
            let mut first = [cut(&pool.name, 20), pool.workers.to_string(), duration(pool.spin)];
            for names in lines_of(names, 36) {
                let [pool, workers, spin] = std::mem::take(&mut first);
                rows.push([pool, workers, spin, names]);
            }
        }
        write_rows(&rows, 1..2, out);
    }
}

pub(super) fn cut(name: &str, most: usize) -> String {
    match name.char_indices().nth(most) {
        None => name.to_owned(),
        Some(_) => name.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// Names with commas, on lines of at most this width where each fits.
fn lines_of<'n>(names: impl Iterator<Item = &'n str>, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for name in names {
        let line = lines.last_mut().filter(|line| line.is_empty() || line.len() + 2 + name.len() <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(name),
            Some(line) => _ = write!(line, ", {name}"),
            None => lines.push(name.to_owned()),
        }
    }
    lines
}

/// Columns as wide as their widest, numbers to the right.
fn write_rows<const N: usize>(rows: &[[String; N]], numbers: std::ops::Range<usize>, out: &mut String) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let width = *width;
            if numbers.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
