//! How a topology is arranged before it is drawn: the line along which messages go, and what stands beside it.

use tidegate_engine::{OutputKind, StageSettings, Topology};

use crate::catalogue::ModuleCatalogue;

pub(super) struct Shape<'t> {
    pub(super) topology: &'t Topology,
    pub(super) edges: Vec<Edge<'t>>,
    /// Chains of stages, each by its place in `topology.stages`. The first is the line; every stage is in one chain.
    pub(super) chains: Vec<Vec<usize>>,
}

pub(super) struct Edge<'t> {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) output: &'t str,
    /// Asked beside the line: refuses when full, and is not waited for.
    pub(super) side: bool,
}

/// What stands at both ends of the line.
pub(super) const CLIENTS: &str = "clients";

impl<'t> Shape<'t> {
    pub(super) fn of(topology: &'t Topology, entry: &str, catalogue: &ModuleCatalogue) -> Self {
        let edges = edges(topology, catalogue);
        let place = |name: &str| topology.stages.iter().position(|stage| stage.name == name);
        let mut left: Vec<bool> = vec![true; topology.stages.len()];
        let mut chains = Vec::new();
        let mut next = place(entry);
        while let Some(start) = next {
            let chain = longest(start, &edges, &mut left);
            chains.push(chain);
            // First those that the chains so far lead to, in that order; then whatever nothing leads to.
            let led_to = chains.iter().flatten().flat_map(|from| edges.iter().filter(|edge| edge.from == *from));
            next = led_to.map(|edge| edge.to).find(|to| left[*to]).or_else(|| left.iter().position(|left| *left));
        }
        if chains.is_empty() {
            chains.extend((0..topology.stages.len()).map(|stage| vec![stage]));
        }
        Shape { topology, edges, chains }
    }

    pub(super) fn stage(&self, at: usize) -> &'t StageSettings {
        &self.topology.stages[at]
    }

    pub(super) fn line(&self) -> &[usize] {
        self.chains.first().map_or(&[], Vec::as_slice)
    }

    /// Whether an edge is a step of a chain, and so drawn by it.
    pub(super) fn in_chain(&self, edge: &Edge<'_>) -> bool {
        self.chains.iter().any(|chain| chain.windows(2).any(|pair| pair == [edge.from, edge.to]))
            && self.first_between(edge)
    }

    /// Of several edges between the same two stages, a chain draws one.
    fn first_between(&self, edge: &Edge<'_>) -> bool {
        let same = self.edges.iter().find(|other| (other.from, other.to) == (edge.from, edge.to));
        same.is_some_and(|first| std::ptr::eq(first, edge))
    }

    /// The edge that makes a step of a chain.
    pub(super) fn step(&self, from: usize, to: usize) -> Option<&Edge<'t>> {
        self.edges.iter().find(|edge| (edge.from, edge.to) == (from, to))
    }

    /// Those of a stage that no chain draws.
    pub(super) fn branches(&self, from: usize) -> impl Iterator<Item = &Edge<'t>> {
        self.edges.iter().filter(move |edge| edge.from == from && !self.in_chain(edge))
    }
}

fn edges<'t>(topology: &'t Topology, catalogue: &ModuleCatalogue) -> Vec<Edge<'t>> {
    let mut edges = Vec::new();
    for (from, stage) in topology.stages.iter().enumerate() {
        for (output, target) in &stage.to {
            let Some(to) = topology.stages.iter().position(|stage| stage.name == *target) else { continue };
            let module = catalogue.find(&stage.module);
            let declared = module.and_then(|module| module.outputs.iter().find(|declared| declared.name == output));
            let side = declared.is_some_and(|o| matches!(o.kind, OutputKind::Side | OutputKind::OptionalSide));
            edges.push(Edge { from, to, output, side });
        }
    }
    // A step that waits is drawn before one that asks.
    edges.sort_by_key(|edge| (edge.from, edge.side));
    edges
}

/// The longest way along edges that wait, over stages that are left; takes them.
fn longest(start: usize, edges: &[Edge<'_>], left: &mut [bool]) -> Vec<usize> {
    left[start] = false;
    let mut best = Vec::new();
    let mut best_left = left.to_vec();
    for edge in edges.iter().filter(|edge| edge.from == start && !edge.side) {
        if left[edge.to] {
            let mut left = left.to_vec();
            let way = longest(edge.to, edges, &mut left);
            if way.len() > best.len() {
                (best, best_left) = (way, left);
            }
        }
    }
    left.copy_from_slice(&best_left);
    best.insert(0, start);
    best
}

/// A number, or that it is found while the server runs.
pub(super) fn amount(number: usize, auto: bool) -> String {
    if auto { "auto".to_owned() } else { number.to_string() }
}

/// A stage's workers, with the word for them.
pub(super) fn workers(stage: &StageSettings) -> String {
    let word = if stage.workers == 1 && !stage.auto.workers { "worker" } else { "workers" };
    format!("{} {word}", amount(stage.workers, stage.auto.workers))
}

/// The size of a stage's batches.
pub(super) fn batch(stage: &StageSettings) -> String {
    amount(stage.batch, stage.auto.batch)
}
