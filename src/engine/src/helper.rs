//! Help from outside: a thread that hands events in runs the stages of their pool itself while the pool's own threads
//! sleep.
//!
//! To wake a thread takes longer than most batches do. On an idle pipeline a message would wait mostly for that; helped, it
//! goes through on the thread that brought it. Help takes the place of a wake: it is given only where a thread would
//! have been woken, ends after about the time that a wake takes, and then wakes one if anything is left. So a busy pool works
//! as ever, and whoever helps is never away for long.

use std::sync::Arc;

use crate::Event;
use crate::core::Core;
use crate::sync::atomic::Ordering::SeqCst;
use crate::worker::Worker;

/// How long one call helps; the batch that it is on then is finished.
const HELP_NS: u64 = 100_000;
/// Events that a helper takes in one go, at most: it has other things to do soon.
const MOST: usize = 16;

/// What a thread needs to help the pool of a door's stage, see [`Door::helper`](crate::Door::helper).
pub struct Helper<E: Event> {
    core: Arc<Core<E>>,
    stage: usize,
    worker: Worker<E>,
}

impl<E: Event> Helper<E> {
    pub(crate) fn new(core: Arc<Core<E>>, stage: usize) -> Helper<E> {
        let worker = Worker::guest(core.clone(), core.stages[stage].pool(), MOST);
        Helper { core, stage, worker }
    }

    /// Does what there is to do in the pool, for about 100 us, if all of its threads sleep that could. A stage's panic is
    /// caught, one of a sink or the supervisor is not.
    pub fn help(&mut self) {
        let pool = self.core.stages[self.stage].pool();
        self.worker.change_pool(pool);
        let pool = &self.core.pools[pool];
        let may = pool.helped.load(SeqCst) && !self.core.stopping.load(SeqCst);
        if !may || !self.worker.has_work() || !pool.parking.would_wake() {
            return;
        }
        let until = self.core.env.now() + HELP_NS;
        while self.worker.one_batch() {
            pool.help.fetch_add(1, SeqCst);
            if self.core.env.now() >= until {
                break;
            }
        }
        // What could not be done, or no more in time, is for the pool's own threads.
        self.worker.share_work();
    }
}
