//! For a terminal: chains of stages in a line, what leaves a chain hung below it, and a table of the settings.

use std::fmt::Write;

use super::shape::{CLIENTS, Edge, Shape};
use crate::form::duration;

const WIDTH: usize = 80;

pub(super) fn draw(shape: &Shape<'_>) -> String {
    let mut out = String::new();
    for (at, chain) in shape.chains.iter().enumerate() {
        if at == 0 || shape.branches(chain[0]).next().is_some() || chain.len() > 1 {
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

fn table(shape: &Shape<'_>, out: &mut String) {
    let stages: Vec<_> = shape.chains.iter().flatten().map(|at| shape.stage(*at)).collect();
    let mut rows = vec![["stage", "module", "pool", "workers", "batch", "bound", "policy", "target"].map(String::from)];
    for stage in stages {
        rows.push([
            stage.name.clone(),
            if stage.module == stage.name { "·".into() } else { stage.module.clone() },
            stage.pool.clone().unwrap_or_else(|| "own".into()),
            stage.workers.to_string(),
            stage.batch.to_string(),
            stage.bound.to_string(),
            stage.policy.to_string(),
            duration(stage.delay_target),
        ]);
    }
    write_rows(&rows, 3..6, out);
    if !shape.topology.pools.is_empty() {
        out.push('\n');
        let mut rows = vec![["pool", "workers", "spin", "stages"].map(String::from)];
        for pool in &shape.topology.pools {
            let here = |stage: &&tidegate_engine::StageSettings| stage.pool.as_deref() == Some(&*pool.name);
            let stages: Vec<_> = shape.topology.stages.iter().filter(here).map(|stage| stage.name.as_str()).collect();
            rows.push([pool.name.clone(), pool.workers.to_string(), duration(pool.spin), stages.join(", ")]);
        }
        write_rows(&rows, 1..2, out);
    }
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
