//! The last things that happened, so that "why did X not get it?" has an answer after the fact.
//!
//! A bounded ring of small steps, always on; the oldest give way. Looking through it is slow and rare, noting is quick:
//! one lock of one shard, and no copy of a text.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tidegate_domain::ids::{ClientId, ConnId, MessageId, Millis};

use crate::event::Ask;

const SHARDS: usize = 16;
/// A step that says no to somebody.
const REFUSED: &str = "refused";
/// Receivers noted with a message; of larger audiences only the number is.
pub const MOST_RECEIVERS: usize = 16;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Millis,
    /// `opened`, `closed`, `admitted`, `asked`, `changed`, `failed`, `refused`, `stored`, `delivered`, `offline`, `told`,
    /// `skipped`, `pushed`.
    pub what: &'static str,
    pub stage: &'static str,
    pub conn: Option<ConnId>,
    /// Whose doing it was.
    pub client: Option<ClientId>,
    /// The client's number of the command: what happened to a message before it had an id is found by it.
    pub i: Option<i32>,
    pub mid: Option<MessageId>,
    pub code: Option<i32>,
    /// Whom it reached, or would have.
    pub to: Vec<ClientId>,
    /// How many that were.
    pub count: usize,
    /// For people, in a few words; may be empty.
    pub note: &'static str,
}

impl Step {
    pub fn new(at: Millis, what: &'static str, stage: &'static str) -> Self {
        Step {
            at,
            what,
            stage,
            conn: None,
            client: None,
            i: None,
            mid: None,
            code: None,
            to: Vec::new(),
            count: 0,
            note: "",
        }
    }

    pub fn conn(mut self, conn: ConnId) -> Self {
        self.conn = Some(conn);
        self
    }

    pub fn client(mut self, client: &ClientId) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// Who asks, on what connection, by which command.
    pub fn by(self, ask: &Ask) -> Self {
        let mut step = self.conn(ask.conn).client(&ask.client);
        step.i = ask.i;
        step
    }

    pub fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    pub fn message(mut self, mid: MessageId) -> Self {
        self.mid = Some(mid);
        self
    }

    pub fn code(mut self, code: i32) -> Self {
        self.code = Some(code);
        self
    }

    /// The receivers; repeated ones (several sessions of a client) count once.
    pub fn to<'a>(mut self, clients: impl Iterator<Item = &'a ClientId>) -> Self {
        for client in clients {
            self.count += 1;
            if self.to.len() < MOST_RECEIVERS && !self.to.contains(client) {
                self.to.push(client.clone());
            }
        }
        self
    }
}

pub struct Traces {
    each: usize,
    next: AtomicUsize,
    order: AtomicU64,
    refused: AtomicU64,
    shards: Vec<Mutex<VecDeque<(u64, Step)>>>,
}

impl Traces {
    /// `most`: steps kept; 0 keeps none and costs nothing.
    pub fn new(most: usize) -> Self {
        Traces {
            each: most.div_ceil(SHARDS),
            next: AtomicUsize::new(0),
            order: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Notes what `step` makes, where steps are kept at all.
    pub fn note(&self, step: impl FnOnce() -> Step) {
        if self.each == 0 {
            return;
        }
        let order = self.order.fetch_add(1, Ordering::Relaxed);
        let shard = &self.shards[self.next.fetch_add(1, Ordering::Relaxed) % SHARDS];
        let step = step();
        if step.what == REFUSED {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        let mut steps = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() >= self.each {
            steps.pop_front();
        }
        steps.push_back((order, step));
    }

    /// How many steps since the start told of a refusal.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What happened to a message, from before it had an id.
    pub fn of_message(&self, mid: MessageId) -> Vec<Step> {
        let command = |step: &Step| Some((step.conn?, step.i?, step.client.clone()?));
        let named = |step: &Step| step.mid == Some(mid);
        let commands: Vec<_> = self.find(named).iter().filter_map(command).collect();
        let before = |step: &Step| step.mid.is_none() && command(step).is_some_and(|of| commands.contains(&of));
        self.find(|step| named(step) || before(step))
    }

    /// Those that `wanted` picks, in the order in which they happened.
    pub fn find(&self, wanted: impl Fn(&Step) -> bool) -> Vec<Step> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let steps = shard.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(steps.iter().filter(|(_, step)| wanted(step)).cloned());
        }
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, step)| step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_the_rest_is_in_order() {
        let traces = Traces::new(32);
        for at in 0..100 {
            traces.note(|| Step::new(at, "stored", "persist"));
        }
        let kept: Vec<_> = traces.find(|_| true).iter().map(|step| step.at).collect();
        assert_eq!(kept, (68..100).collect::<Vec<_>>());
        traces.note(|| Step::new(0, "refused", "route"));
        assert_eq!(traces.refused(), 1);
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let traces = Traces::new(0);
        traces.note(|| panic!("nobody asked for it"));
        assert!(traces.find(|_| true).is_empty());
    }

    #[test]
    fn large_audiences_are_counted_and_small_ones_named() {
        let clients: Vec<ClientId> = (0..100).map(|n| format!("c{n}").into()).collect();
        let step = Step::new(0, "delivered", "fan_out").to(clients.iter());
        assert_eq!((step.count, step.to.len()), (100, MOST_RECEIVERS));
    }
}
