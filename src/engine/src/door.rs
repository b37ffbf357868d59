//! The way in, for threads that never wait: an event is taken or given back at once.
//!
//! A drain and a door may meet. The door takes room before it looks whether the pipeline drains, and a drain closes the
//! doors before it looks at the room, so nothing slips in behind a pipeline that was found quiet.

use std::sync::Arc;

use crate::core::{Core, StageCore, Target};
use crate::sync::atomic::Ordering::SeqCst;
use crate::{Event, Policy, Refusal};

/// What a pipeline has to do, for those who decide whether to let in what need not come in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backlog {
    /// Nothing waits and nothing is worked on.
    Nothing,
    /// Its threads have work, and need the processor.
    Some,
    /// A stage has more than half of what it takes at once: what is let in waits, and lets others wait.
    Much,
}

/// A way into a pipeline, for threads that never wait.
pub struct Door<E: Event> {
    pub(crate) core: Arc<Core<E>>,
    pub(crate) stage: usize,
}

impl<E: Event> Clone for Door<E> {
    fn clone(&self) -> Door<E> {
        Door { core: self.core.clone(), stage: self.stage }
    }
}

impl<E: Event> Door<E> {
    /// Hands an event in, or gives it back at once with the reason.
    pub fn offer(&self, event: E) -> Result<(), (E, Refusal)> {
        self.offer_at(event, self.core.env.now())
    }

    /// As [`Door::offer`], with a time on the pipeline's clock that the caller has at hand: when the event's wait began.
    pub fn offer_at(&self, event: E, at: u64) -> Result<(), (E, Refusal)> {
        let core = &*self.core;
        let stage = &core.stages[self.stage];
        let key = stage.module.key(&event); // before room is taken: it is the user's code and may panic
        let mut got = stage.queue.room.reserve(1, 1);
        if got == 0 && stage.knobs.policy() == Policy::DropOldest {
            core.drop_oldest(self.stage, 1);
            got = stage.queue.room.reserve(1, 1);
        }
        if got == 0 {
            stage.metrics.refused(1);
            core.admission.turned_back();
            return Err((event, Refusal::Full));
        }
        // Looked at after the room was taken: a drain that saw no room used is seen here.
        let result = match core.draining.load(SeqCst) {
            true => Err((event, Refusal::Draining)),
            false => self.push(key, event, at, stage.knobs.share.load(SeqCst)),
        };
        if result.is_err() {
            core.free(Target::Stage(self.stage), 1, None);
            stage.metrics.refused(1);
        }
        result
    }

    /// Hands an event in whatever the bound, the share of its key and draining say. For what must not be lost and is rare by
    /// nature, such as the news that a connection is gone.
    pub fn offer_always(&self, event: E) {
        let stage = &self.core.stages[self.stage];
        let key = stage.module.key(&event);
        stage.queue.room.force(1);
        let _ = self.push(key, event, self.core.env.now(), usize::MAX);
    }

    fn push(&self, key: u64, event: E, at: u64, share: usize) -> Result<(), (E, Refusal)> {
        let stage = &self.core.stages[self.stage];
        let mut refused = Vec::new();
        if stage.queue.push(std::iter::once((key, event)), at, share, &mut refused) {
            self.core.pools[stage.pool].parking.wake_one();
        }
        refused.pop().map_or(Ok(()), Err)
    }

    /// How much waits or is worked on before the stages of the line that compute. A stage that waits for the disk does not
    /// count: there a queue is what makes a commit worth its sync.
    pub fn backlog(&self) -> Backlog {
        let of = |stage: &StageCore<E>| match stage.waiting() as u64 {
            0 => Backlog::Nothing,
            few if few * 2 <= stage.in_work() => Backlog::Some,
            _ => Backlog::Much,
        };
        let stages = self.core.stages.iter().filter(|stage| stage.on_line && !stage.module.blocks());
        stages.map(of).max().unwrap_or(Backlog::Nothing)
    }

    /// Whether somebody of `class` may come in now: 0 is for what frees resources and is refused last, 3 for what is lost
    /// lightly and is refused first. Within a class it depends on `who`, so that a user is wholly in or wholly out. Waits
    /// for nobody; ask before spending anything on an event.
    pub fn admit(&self, class: u8, who: u64) -> bool {
        let core = &*self.core;
        if core.admission.is_look_due() {
            core.look();
        }
        let is_in = core.admission.admit(class, who);
        if !is_in {
            self.core.stages[self.stage].metrics.refused(1);
        }
        is_in
    }
}
