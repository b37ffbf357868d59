//! For a page: the line from left to right, jumps in arcs above it, what is asked beside it below. Stands alone, and
//! follows the reader's light or dark.

use std::fmt::Write;

use super::shape::{CLIENTS, Edge, Shape, batch, workers};
use super::text::cut;

const BOX_W: f64 = 168.0;
const GAP_X: f64 = 64.0;
const GAP_Y: f64 = 84.0;
const ENDS_W: f64 = 56.0;
const MARGIN: f64 = 20.0;

const STYLE: &str = "
  text { font-family: ui-sans-serif, system-ui, sans-serif; fill: #1f2937 }
  .name { font-weight: 600; font-size: 15px } .set { font-size: 11px; fill: #6b7280 }
  .out { font-size: 11px; fill: #475569; paint-order: stroke; stroke: #fff; stroke-width: 4px; stroke-linejoin: round }
  .stage { fill: #eef6ff; stroke: #3b82f6; stroke-width: 1.5 } .beside { fill: #f8fafc; stroke: #94a3b8; stroke-width: 1.5 }
  .line, .ask { fill: none; stroke: #3b82f6; stroke-width: 1.8 } .ask { stroke: #94a3b8; stroke-dasharray: 5 4 }
  .tip { fill: #3b82f6 } .open { fill: #fff; stroke: #94a3b8; stroke-width: 1.2 } .page { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb } .set { fill: #9ca3af } .out { fill: #cbd5e1; stroke: #0f172a } .page { fill: #0f172a }
    .stage { fill: #172554 } .beside { fill: #1e293b } .open { fill: #0f172a }
  }
";

struct Picture {
    /// Left upper corners, by place in the topology.
    corners: Vec<(f64, f64)>,
    /// Of each box: a line more where there are pools.
    tall: f64,
    top: f64,
    width: f64,
    height: f64,
}

pub(super) fn draw(shape: &Shape<'_>) -> String {
    let picture = arrange(shape);
    let (width, height) = (picture.width, picture.height);
    let mut out = String::new();
    _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"The pipeline\">\n\
         <style>{STYLE}</style>\n<defs>\n\
         <marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L10 5L0 10z\"/></marker>\n\
         <marker id=\"open\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path class=\"open\" d=\"M1 1L9 5L1 9z\"/></marker>\n\
         </defs>\n<rect class=\"page\" width=\"{width:.0}\" height=\"{height:.0}\"/>"
    );
    ends(shape, &picture, &mut out);
    let mut labels = String::new();
    for edge in &shape.edges {
        draw_edge(shape, &picture, edge, &mut out, &mut labels);
    }
    for (at, stage) in shape.topology.stages.iter().enumerate() {
        let (x, y) = picture.corners[at];
        let class = if shape.line().contains(&at) { "stage" } else { "beside" };
        let workers = workers(stage);
        let pool = stage.pool.as_deref().map(|pool| format!("pool {}", cut(pool, 20))).unwrap_or_default();
        let middle = x + BOX_W / 2.0;
        let name = cut(&stage.name, 16);
        _ = writeln!(
            out,
            "<g><title>{}</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{BOX_W}\" height=\"{:.0}\" rx=\"9\"/>\n\
             <text class=\"name\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            stage.name,
            picture.tall,
            y + 22.0,
        );
        let (batch, bound, policy) = (batch(stage), stage.bound, stage.policy);
        let lines = [format!("{workers} · batch {batch}"), format!("bound {bound} · {policy}"), pool];
        for (line, y) in lines.iter().zip([39.0, 54.0, 70.0].map(|down| y + down)).filter(|(line, _)| !line.is_empty())
        {
            _ = writeln!(
                out,
                "<text class=\"set\" x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{line}</text>"
            );
        }
        out.push_str("</g>\n");
    }
    out.push_str(&labels);
    out.push_str("</svg>\n");
    out
}

/// Rows by distance from the line, and in a row by where the askers stand.
fn arrange(shape: &Shape<'_>) -> Picture {
    let count = shape.topology.stages.len();
    let mut rows = vec![None; count];
    let mut corners = vec![(0.0, 0.0); count];
    for at in shape.line() {
        rows[*at] = Some(0);
    }
    // As many rounds as there are stages are enough for the longest way down; a cycle, were there one, ends with them.
    for _ in 0..count {
        for edge in &shape.edges {
            if let (Some(row), false) = (rows[edge.from], shape.line().contains(&edge.to)) {
                rows[edge.to] = Some(rows[edge.to].unwrap_or(0).max(row + 1).min(count));
            }
        }
    }
    let rows: Vec<usize> = rows.into_iter().map(|row| row.unwrap_or(1)).collect();
    let jumps = shape.edges.iter().any(|edge| jumps(shape, edge));
    let tall = if shape.topology.pools.is_empty() { 64.0 } else { 80.0 };
    let top = MARGIN + if jumps { 56.0 } else { 0.0 };
    let left = MARGIN + ENDS_W + GAP_X * 0.7;
    for (at, stage) in shape.line().iter().enumerate() {
        corners[*stage] = (left + at as f64 * (BOX_W + GAP_X), top);
    }
    let mut right = left + shape.line().len() as f64 * (BOX_W + GAP_X) + ENDS_W;
    let deepest = rows.iter().copied().max().unwrap_or(0);
    for row in 1..=deepest {
        let mut wished: Vec<(f64, usize)> = Vec::new();
        for stage in (0..count).filter(|stage| rows[*stage] == row) {
            let askers = shape.edges.iter().filter(|edge| edge.to == stage && rows[edge.from] < row);
            let xs: Vec<f64> = askers.map(|edge| corners[edge.from].0).collect();
            wished.push((if xs.is_empty() { left } else { xs.iter().sum::<f64>() / xs.len() as f64 }, stage));
        }
        wished.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = MARGIN;
        for (x, stage) in wished {
            let x = x.max(free);
            corners[stage] = (x, top + row as f64 * (tall + GAP_Y));
            free = x + BOX_W + GAP_X;
            right = right.max(x + BOX_W);
        }
    }
    let height = top + deepest as f64 * (tall + GAP_Y) + tall + MARGIN;
    Picture { corners, tall, top, width: right + MARGIN, height }
}

/// Whether both ends stand on the line without being neighbours.
fn jumps(shape: &Shape<'_>, edge: &Edge<'_>) -> bool {
    !shape.in_chain(edge) && shape.line().contains(&edge.from) && shape.line().contains(&edge.to)
}

fn ends(shape: &Shape<'_>, picture: &Picture, out: &mut String) {
    let ([first, .., last] | [first @ last]) = shape.line() else { return };
    let y = picture.top + picture.tall / 2.0;
    let (from, to) = (picture.corners[*first].0, picture.corners[*last].0 + BOX_W);
    let reach = GAP_X * 0.7;
    for (start, end, x, anchor) in
        [(from - reach + 4.0, from, from - reach, "end"), (to, to + reach - 4.0, to + reach, "start")]
    {
        _ = writeln!(
            out,
            "<path class=\"line\" marker-end=\"url(#tip)\" d=\"M{start:.1} {y:.1}L{end:.1} {y:.1}\"/>\n\
             <text class=\"name\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{CLIENTS}</text>",
            y + 5.0
        );
    }
}

fn draw_edge(shape: &Shape<'_>, picture: &Picture, edge: &Edge<'_>, out: &mut String, labels: &mut String) {
    let ((x1, y1), (x2, y2)) = (picture.corners[edge.from], picture.corners[edge.to]);
    let (class, tip) = if edge.side { ("ask", "open") } else { ("line", "tip") };
    let (path, at) = if y1 == y2 && shape.in_chain(edge) {
        let y = y1 + picture.tall / 2.0;
        (format!("M{:.1} {y:.1}L{x2:.1} {y:.1}", x1 + BOX_W), ((x1 + BOX_W + x2) / 2.0 - 3.0, y - 7.0))
    } else if y1 == y2 {
        let (from, to, high) = (x1 + BOX_W * 0.6, x2 + BOX_W * 0.4, y1 - 48.0);
        let path = format!("M{from:.1} {y1:.1}C{from:.1} {high:.1} {to:.1} {high:.1} {to:.1} {y2:.1}");
        (path, ((from + to) / 2.0, y1 - 40.0))
    } else {
        let down: Vec<&Edge<'_>> = shape.edges.iter().filter(|other| lower(picture, other, edge.from)).collect();
        let mut order: Vec<_> = down.iter().map(|other| (picture.corners[other.to].0, other.output)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let place = order.iter().position(|(_, output)| *output == edge.output).unwrap_or(0);
        let from = x1 + BOX_W * (place as f64 + 1.0) / (order.len() as f64 + 1.0);
        let (to, y1) = (x2 + BOX_W / 2.0, if y2 > y1 { y1 + picture.tall } else { y1 });
        let y2 = if y2 > y1 { y2 } else { y2 + picture.tall };
        let middle = (y1 + y2) / 2.0;
        let path = format!("M{from:.1} {y1:.1}C{from:.1} {middle:.1} {to:.1} {middle:.1} {to:.1} {y2:.1}");
        // Beside the start, where the ways of one stage are still apart; every second one lower.
        (path, (from, y1 + 18.0 + 15.0 * (place % 2) as f64))
    };
    _ = writeln!(out, "<path class=\"{class}\" marker-end=\"url(#{tip})\" d=\"{path}\"/>");
    _ = writeln!(
        labels,
        "<text class=\"out\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        at.0, at.1, edge.output
    );
}

/// Whether an edge of this stage goes to another row.
fn lower(picture: &Picture, edge: &Edge<'_>, from: usize) -> bool {
    edge.from == from && picture.corners[edge.to].1 != picture.corners[from].1
}
