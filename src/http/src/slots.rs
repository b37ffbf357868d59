//! Places that may be taken at once, whose number may change while some are.
//!
//! More of them help whoever waits at once; fewer let those who have one keep it, and what is too many goes as it is given
//! back. Must not know what a place is for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) struct Slots {
    free: Semaphore,
    state: Mutex<State>,
}

struct State {
    /// Places that there shall be.
    size: usize,
    /// Places above that, which are taken still.
    surplus: usize,
}

/// A place that is taken; dropped, it is given back.
pub(crate) struct Slot<'s> {
    of: &'s Slots,
    permit: Option<SemaphorePermit<'s>>,
}

fn possible(size: usize) -> usize {
    size.clamp(1, Semaphore::MAX_PERMITS)
}

impl Slots {
    /// At least one.
    pub fn new(size: usize) -> Self {
        let size = possible(size);
        Slots { free: Semaphore::new(size), state: Mutex::new(State { size, surplus: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place; who came first is served first.
    pub async fn take(&self) -> Slot<'_> {
        // Nobody closes the semaphore, so there is a place sooner or later.
        Slot { of: self, permit: self.free.acquire().await.ok() }
    }

    /// Lets so many be taken from now on, at least one.
    pub fn resize(&self, size: usize) {
        let size = possible(size);
        let mut state = self.state();
        if size >= state.size {
            let more = size - state.size;
            // Those that were to go may stay.
            let stay = more.min(state.surplus);
            state.surplus -= stay;
            self.free.add_permits(more - stay);
        } else {
            let less = state.size - size;
            state.surplus += less - self.free.forget_permits(less);
        }
        state.size = size;
    }

    pub fn size(&self) -> usize {
        self.state().size
    }

    /// Those that are taken; more than there are places after these have become fewer.
    pub fn taken(&self) -> usize {
        let state = self.state();
        (state.size + state.surplus).saturating_sub(self.free.available_permits())
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        // Held until it is given back: in between, who makes them fewer would count it twice.
        let mut state = self.of.state();
        if state.surplus > 0 {
            state.surplus -= 1;
            permit.forget();
        } else {
            drop(permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn there_are_as_many_as_there_shall_be() {
        let slots = Slots::new(2);
        let (first, second) = (now(slots.take()).unwrap(), now(slots.take()).unwrap());
        assert!(now(slots.take()).is_none());
        assert_eq!((slots.size(), slots.taken()), (2, 2));
        slots.resize(3);
        let third = now(slots.take()).unwrap();
        assert!(now(slots.take()).is_none());

        // Fewer: those who have one keep it.
        slots.resize(1);
        assert_eq!((slots.size(), slots.taken()), (1, 3));
        drop(first);
        assert!(now(slots.take()).is_none());
        drop(second);
        assert!(now(slots.take()).is_none(), "the third is the one that there may be");
        assert_eq!(slots.taken(), 1);
        drop(third);
        let only = now(slots.take()).unwrap();
        assert!(now(slots.take()).is_none());

        // More again before the surplus has gone.
        slots.resize(4);
        let rest: Vec<_> = std::iter::from_fn(|| now(slots.take())).collect();
        assert_eq!((rest.len(), slots.taken()), (3, 4));
        slots.resize(2);
        slots.resize(3);
        drop(only);
        assert!(now(slots.take()).is_none(), "three are taken still");
        drop(rest);
        assert_eq!(slots.taken(), 0);
        assert_eq!(std::iter::from_fn(|| now(slots.take())).collect::<Vec<_>>().len(), 3);
    }

    #[test]
    fn who_waits_has_a_place_as_soon_as_there_are_more() {
        let slots = Slots::new(1);
        let _first = now(slots.take()).unwrap();
        let mut waiting = pin!(slots.take());
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        slots.resize(2);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        // None at all would keep whoever waits for ever.
        slots.resize(0);
        assert_eq!(slots.size(), 1);
    }
}
