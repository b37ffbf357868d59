//! The right to answer a held event, once, from any thread.

use std::sync::Weak;

use crate::core::Core;
use crate::deadlines::{Due, Place};
use crate::{Event, Late};

/// Answers one held event. Dropped without an answer, it resumes the event with [`Late::Lost`], so that a question which
/// goes missing, or whose thread panics, is noticed at once and not at its deadline.
#[must_use = "dropping a ticket resumes its event with Late::Lost"]
pub struct Ticket<E: Event> {
    // Weak: tickets travel inside events, which the pipeline owns.
    core: Weak<Core<E>>,
    place: Place,
    due: Due,
    used: bool,
}

impl<E: Event> Ticket<E> {
    pub(crate) fn new(core: Weak<Core<E>>, place: Place, due: Due) -> Ticket<E> {
        Ticket { core, place, due, used: false }
    }

    /// Resumes the event with `answer`. After its deadline this does nothing.
    pub fn resume(mut self, answer: E::Answer) {
        self.answer(Ok(answer));
    }

    /// Resumes the event with [`Late::Refused`]: whoever should answer has no room.
    pub fn refuse(mut self) {
        self.answer(Err(Late::Refused));
    }

    fn answer(&mut self, answer: Result<E::Answer, Late>) {
        self.used = true;
        if let Some(core) = self.core.upgrade() {
            core.stages[self.place.stage].deadlines.remove(self.due);
            core.answer(self.place, answer);
        }
    }
}

impl<E: Event> Drop for Ticket<E> {
    fn drop(&mut self) {
        if !self.used {
            self.answer(Err(Late::Lost));
        }
    }
}

impl<E: Event> std::fmt::Debug for Ticket<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("place", &self.place).finish_non_exhaustive()
    }
}
