//! The last changes, with what is needed to take them back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidegate_engine::Topology;
use tidegate_http::{Change, Figures};

/// Changes that are remembered.
const KEPT: usize = 1_000;
/// After how long a change's effect is looked at.
const EFFECT_AFTER: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    made: u64,
}

struct Entry {
    change: Change,
    before: Topology,
    after: Topology,
    /// When its effect is to be looked at; `None` once it was.
    due: Option<Instant>,
}

impl Log {
    /// Gives it a number, marks what it takes back, and returns it as it is remembered.
    pub fn add(&mut self, mut change: Change, before: Topology, after: Topology) -> Change {
        self.made += 1;
        change.id = self.made;
        let undone = self.entries.iter_mut().find(|entry| Some(entry.change.id) == change.undoes);
        if let Some(undone) = undone {
            undone.change.undone_by = Some(change.id);
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        let due = Instant::now().checked_add(EFFECT_AFTER);
        self.entries.push_back(Entry { change: change.clone(), before, after, due });
        change
    }

    /// The change that is next to be taken back, and the topologies around it.
    pub fn last_undoable(&self) -> Option<(u64, &Topology, &Topology)> {
        let is_left = |entry: &&Entry| entry.change.undone_by.is_none() && entry.change.undoes.is_none();
        let entry = self.entries.iter().rev().find(is_left)?;
        Some((entry.change.id, &entry.before, &entry.after))
    }

    pub fn changes(&self) -> Vec<Change> {
        self.entries.iter().map(|entry| entry.change.clone()).collect()
    }

    /// Notes the figures of all that are due.
    pub fn see_effects(&mut self, figures: impl Fn(&str) -> Figures) {
        let now = Instant::now();
        for entry in self.entries.iter_mut().filter(|entry| entry.due.is_some_and(|due| due <= now)) {
            entry.due = None;
            entry.change.effect.iter_mut().for_each(|effect| effect.after = Some(figures(&effect.of)));
        }
    }
}

/// A line for the server's own log.
pub fn line(change: &Change) -> String {
    let settings = change.changes.iter().map(|s| format!("{} {} -> {}", s.key, s.from, s.to));
    let undoes = change.undoes.map(|id| format!(", which undoes change {id}")).unwrap_or_default();
    let list = settings.collect::<Vec<_>>().join(", ");
    format!("change {} by {}{undoes}: {list}", change.id, change.by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(log: &mut Log, undoes: Option<u64>) -> u64 {
        let change = Change {
            id: 0,
            at_ms: 0,
            by: "me".into(),
            changes: Vec::new(),
            undoes,
            undone_by: None,
            effect: Vec::new(),
            dry_run: false,
        };
        log.add(change, Topology::default(), Topology::default()).id
    }

    #[test]
    fn undoing_walks_back_over_what_was_undone() {
        let mut log = Log::default();
        let next = |log: &Log| log.last_undoable().map(|(id, ..)| id);
        assert_eq!(next(&log), None);
        assert_eq!((add(&mut log, None), add(&mut log, None)), (1, 2));
        assert_eq!(next(&log), Some(2));
        add(&mut log, Some(2));
        assert_eq!(next(&log), Some(1));
        add(&mut log, None);
        assert_eq!(next(&log), Some(4));
        add(&mut log, Some(4));
        add(&mut log, Some(1));
        assert_eq!(next(&log), None);
        let pairs: Vec<_> = log.changes().iter().map(|change| (change.id, change.undone_by)).collect();
        assert_eq!(pairs, [(1, Some(6)), (2, Some(3)), (3, None), (4, Some(5)), (5, None), (6, None)]);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut log = Log::default();
        (0..KEPT + 7).for_each(|_| _ = add(&mut log, None));
        let changes = log.changes();
        assert_eq!((changes.len(), changes[0].id), (KEPT, 8));
    }
}
