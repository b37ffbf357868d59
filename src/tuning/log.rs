//! The last changes, with what is needed to take them back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidegate_http::{Change, Figures, Setting};

use super::Running;

/// Changes that are remembered.
const KEPT: usize = 1_000;
/// Of the server's own steps: however many it takes, what people did is still there.
const KEPT_STEPS: usize = 300;
/// After how long a change's effect is looked at.
const EFFECT_AFTER: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    made: u64,
}

struct Entry {
    change: Change,
    before: Running,
    after: Running,
    /// When its effect is to be looked at; `None` once it was.
    due: Option<Instant>,
}

impl Log {
    /// Gives it a number, marks what it takes back, and returns it as it is remembered.
    pub fn add(&mut self, mut change: Change, before: Running, after: Running) -> Change {
        self.made += 1;
        change.id = self.made;
        let undone = self.entries.iter_mut().find(|entry| Some(entry.change.id) == change.undoes);
        if let Some(undone) = undone {
            undone.change.undone_by = Some(change.id);
        }
        let is_step = change.why.is_some();
        let mut alike = self.entries.iter().enumerate().filter(|(_, entry)| entry.change.why.is_some() == is_step);
        let oldest = alike.next().map(|(at, _)| at);
        let (count, most) = (alike.count() + 1, if is_step { KEPT_STEPS } else { KEPT });
        if let Some(oldest) = oldest.filter(|_| count >= most) {
            self.entries.remove(oldest);
        }
        let due = Instant::now().checked_add(EFFECT_AFTER);
        self.entries.push_back(Entry { change: change.clone(), before, after, due });
        change
    }

    /// The change that is next to be taken back, and what was running before and after it.
    pub fn last_undoable(&self) -> Option<(u64, &Running, &Running)> {
        let is_left = |entry: &&Entry| {
            let Change { why, undone_by, undoes, .. } = &entry.change;
            // What the server does by itself it would do again.
            why.is_none() && undone_by.is_none() && undoes.is_none()
        };
        let entry = self.entries.iter().rev().find(is_left)?;
        Some((entry.change.id, &entry.before, &entry.after))
    }

    /// The server's own last step at a stage.
    pub fn last_step_of(&self, stage: &str) -> Option<u64> {
        let is_of = |setting: &Setting| setting.key.split('.').nth(1) == Some(stage);
        let is_step = |entry: &&Entry| entry.change.why.is_some() && entry.change.changes.iter().any(is_of);
        self.entries.iter().rev().find(is_step).map(|entry| entry.change.id)
    }

    /// Says of that step why it stays.
    pub fn explain(&mut self, stage: &str, why: &str) {
        let step = self.last_step_of(stage);
        if let Some(entry) = self.entries.iter_mut().find(|entry| Some(entry.change.id) == step) {
            entry.change.why = Some(why.to_owned());
        }
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
    let why = change.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("change {} by {}{undoes}: {list}{why}", change.id, change.by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(log: &mut Log, undoes: Option<u64>) -> u64 {
        add_with(log, undoes, None)
    }

    fn step(log: &mut Log, stage: &str, undoes: Option<u64>) -> u64 {
        let key = format!("stages.{stage}.batch");
        add_with(log, undoes, Some(Setting { key, from: 1.into(), to: 2.into() }))
    }

    fn add_with(log: &mut Log, undoes: Option<u64>, of_step: Option<Setting>) -> u64 {
        let change = Change {
            id: 0,
            at_ms: 0,
            by: "me".into(),
            why: of_step.as_ref().map(|_| "a trial".to_owned()),
            changes: of_step.into_iter().collect(),
            undoes,
            undone_by: None,
            effect: Vec::new(),
            dry_run: false,
        };
        log.add(change, Running::default(), Running::default()).id
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
    fn the_servers_own_steps_are_explained_and_neither_undone_nor_in_the_way() {
        let mut log = Log::default();
        let by_somebody = add(&mut log, None);
        let (tried, other) = (step(&mut log, "persist", None), step(&mut log, "read", None));
        assert_eq!(log.last_undoable().map(|(id, ..)| id), Some(by_somebody));
        assert_eq!((log.last_step_of("persist"), log.last_step_of("route")), (Some(tried), None));
        log.explain("persist", "twice as much");
        let why = |log: &Log, id| log.changes().into_iter().find(|change| change.id == id).unwrap().why.unwrap();
        assert_eq!((why(&log, tried).as_str(), why(&log, other).as_str()), ("twice as much", "a trial"));
        (0..5 * KEPT).for_each(|_| _ = step(&mut log, "read", None));
        assert_eq!((log.changes().len(), log.changes()[0].id), (KEPT_STEPS + 1, by_somebody));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut log = Log::default();
        (0..KEPT + 7).for_each(|_| _ = add(&mut log, None));
        let changes = log.changes();
        assert_eq!((changes.len(), changes[0].id), (KEPT, 8));
    }
}
