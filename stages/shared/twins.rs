//! Messages with one `dt` that are sent at once before a hook: the first asks it, and what it hears holds for the others.
//!
//! Persist makes them one message whatever route does; this is so that the hook is asked once, and each of them fares
//! alike. Until the first is answered, for from then on the store knows it. The others wait as events of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tidegate_domain::hook::Verdict;
use tidegate_domain::ids::{AppId, ClientId, ConvId, MessageId, Millis};
use tidegate_engine::Ticket;

use crate::event::{Answer, Event};

/// A sender's token for a message.
pub type Token = (AppId, ConvId, ClientId, Box<str>);

/// What became of the first.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was sent before, as this.
    Sent(MessageId, Millis),
    Judged(Verdict),
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Sent(mid, at) => Answer::Resent(Some((mid, at))),
            Outcome::Judged(verdict) => Answer::Verdict(verdict),
        }
    }
}

enum State {
    /// What the first hears, these wait for.
    Waiting(Vec<Ticket<Event>>),
    /// The first has passed and is on its way to the disk.
    Passed(Verdict),
}

type Table = HashMap<Token, State, RandomState>;

/// Messages under way, each by its token. Never more than there are commands in flight.
#[derive(Default)]
pub struct Twins(Mutex<Table>);

/// What a message is to its token.
pub enum Place {
    First(First),
    /// There is one before it: to be [waited](Twins::wait) for.
    Later,
    /// The one before it has passed the hook, with this.
    Known(Verdict),
}

impl Twins {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn place(self: &Arc<Self>, token: &Token) -> Place {
        let mut table = self.table();
        match table.get(token) {
            Some(State::Waiting(_)) => Place::Later,
            Some(State::Passed(verdict)) => Place::Known(verdict.clone()),
            None => {
                table.insert(token.clone(), State::Waiting(Vec::new()));
                Place::First(First { twins: self.clone(), token: token.clone() })
            }
        }
    }

    /// Has a ticket wait for the first. Where there is none any more it is lost.
    pub fn wait(&self, token: &Token, ticket: Ticket<Event>) {
        if let Some(State::Waiting(tickets)) = self.table().get_mut(token) {
            tickets.push(ticket);
        }
    }
}

/// Held by a first message for as long as it may not be found in the store. Whoever still waits when it is dropped asks for
/// itself.
pub struct First {
    twins: Arc<Twins>,
    token: Token,
}

impl First {
    /// Tells those that wait; those that come later will know it too.
    pub fn share(&self, outcome: &Outcome) {
        let waiting = {
            let mut table = self.twins.table();
            let state = match outcome {
                Outcome::Judged(verdict @ Verdict::Pass { .. }) => State::Passed(verdict.clone()),
                _ => State::Waiting(Vec::new()),
            };
            table.insert(self.token.clone(), state)
        };
        if let Some(State::Waiting(tickets)) = waiting {
            tickets.into_iter().for_each(|ticket| ticket.resume(outcome.clone().into()));
        }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        // Not under the lock: a dropped ticket resumes its event.
        let state = self.twins.table().remove(&self.token);
        drop(state);
    }
}

impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("First").field(&self.token).finish()
    }
}
