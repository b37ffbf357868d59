//! For Graphviz: `tidegate graph --format dot | dot -Tpng`.

use std::fmt::Write;

use super::shape::{CLIENTS, Shape, batch, workers};

pub(super) fn draw(shape: &Shape<'_>) -> String {
    let mut out = String::from(
        "digraph pipeline {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n",
    );
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    _ = writeln!(out, "  \"{CLIENTS}\" [shape=plaintext];\n  \"{CLIENTS} \" [label=\"{CLIENTS}\", shape=plaintext];");
    for stage in &shape.topology.stages {
        let pool = stage.pool.as_deref().map(|pool| format!("pool {pool}, ")).unwrap_or_default();
        let (workers, batch) = (workers(stage), batch(stage));
        _ = writeln!(
            out,
            "  \"{}\" [label=\"{}\\n{pool}{workers}\\nbatch {batch}, bound {}\"];",
            stage.name, stage.name, stage.bound
        );
    }
    if let [first, .., last] | [first @ last] = shape.line() {
        _ = writeln!(out, "  \"{CLIENTS}\" -> \"{}\" [weight=10];", shape.stage(*first).name);
        _ = writeln!(out, "  \"{}\" -> \"{CLIENTS} \" [weight=10];", shape.stage(*last).name);
    }
    for edge in &shape.edges {
        let style = if edge.side {
            "style=dashed, arrowhead=empty"
        } else if shape.in_chain(edge) {
            "weight=10"
        } else {
            "weight=1"
        };
        let (from, to) = (&shape.stage(edge.from).name, &shape.stage(edge.to).name);
        _ = writeln!(out, "  \"{from}\" -> \"{to}\" [label=\"{}\", {style}];", edge.output);
    }
    out.push_str("}\n");
    out
}
