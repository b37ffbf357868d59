//! The way in, for threads that never wait: an event is taken or given back at once.
//!
//! A drain and a door may meet. The door takes room before it looks whether the pipeline drains, and a drain closes the
//! doors before it looks at the room, so nothing slips in behind a pipeline that was found quiet.

use std::sync::Arc;

use crate::core::{Core, Target};
use crate::sync::atomic::Ordering::{Relaxed, SeqCst};
use crate::{Event, Helper, Policy, Refusal};

/// A way into a pipeline, for threads that never wait.
pub struct Door<E: Event> {
    pub(crate) core: Arc<Core<E>>,
    pub(crate) stage: usize,
    /// Its user helps, see [`Door::helper`].
    helped: bool,
}

/// So many events may wait for a user that helps; before more a thread of the pool is woken at once. About what is done in
/// the time that a wake takes.
const FOR_HELPER: usize = 32;

impl<E: Event> Clone for Door<E> {
    fn clone(&self) -> Door<E> {
        Door { core: self.core.clone(), stage: self.stage, helped: self.helped }
    }
}

impl<E: Event> Door<E> {
    pub(crate) fn new(core: Arc<Core<E>>, stage: usize) -> Door<E> {
        Door { core, stage, helped: false }
    }

    /// The same door for threads that help: where the pool of its stage is [helped](crate::PoolSettings::helped), events handed
    /// in here wake nobody while they are few. In return each of these threads must call [`Helper::help`], with a helper of
    /// its own, soon after it handed something in, and again before it waits for anything.
    pub fn for_helpers(&self) -> Door<E> {
        Door { helped: true, ..self.clone() }
    }

    /// A helper for the pool of the door's stage, for one thread.
    pub fn helper(&self) -> Helper<E> {
        Helper::new(self.core.clone(), self.stage)
    }

    /// Hands an event in, or gives it back at once with the reason.
    pub fn offer(&self, event: E) -> Result<(), (E, Refusal)> {
        self.offer_at(event, self.core.env.now())
    }

    /// As [`Door::offer`], with a time on the pipeline's clock that the caller has at hand: when the event's wait began.
    pub fn offer_at(&self, event: E, at: u64) -> Result<(), (E, Refusal)> {
        let core = &*self.core;
        let stage = &core.stages[self.stage];
        stage.reel.arrives(&core.taping.on, at);
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
        let (key, now) = (stage.module.key(&event), self.core.env.now());
        stage.reel.arrives(&self.core.taping.on, now);
        stage.queue.room.force(1);
        let _ = self.push(key, event, now, usize::MAX);
    }

    fn push(&self, key: u64, event: E, at: u64, share: usize) -> Result<(), (E, Refusal)> {
        let stage = &self.core.stages[self.stage];
        let mut refused = Vec::new();
        let is_ready = stage.queue.push(std::iter::once((key, event)), at, share, &mut refused);
        let pool = &self.core.pools[stage.pool()];
        let is_for_helper = || self.helped && stage.queue.room.used() <= FOR_HELPER && pool.helped.load(SeqCst);
        if is_ready && !is_for_helper() {
            pool.parking.wake_one();
        }
        refused.pop().map_or(Ok(()), Err)
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
            let stage = &core.stages[self.stage];
            stage.metrics.refused(1);
            if core.taping.on.load(Relaxed) {
                stage.reel.arrives(&core.taping.on, core.env.now());
            }
        }
        is_in
    }
}
