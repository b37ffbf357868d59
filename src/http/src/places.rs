//! The places of those who are served at once. When all are taken, somebody makes room: whoever was answered longest ago
//! and has asked for nothing since, else whoever has been asking for longer than any answer takes. So nobody keeps others
//! out by holding connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// What is asked here is answered in much less. A request that takes longer, because its body does not come, may be broken
/// off for another.
const SLOW: Duration = Duration::from_millis(100);

pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    /// Those who ask and those who were answered, each in the order in which that began. Who is dropped here is given up.
    asking: BTreeMap<u64, (Instant, Keeps)>,
    idle: BTreeMap<u64, Keeps>,
}

type Keeps = oneshot::Sender<()>;

/// Resolves when a place is given to somebody else.
pub(crate) type GivenUp = oneshot::Receiver<()>;

/// One of them, until it is dropped or given to somebody else.
pub(crate) struct Place {
    places: Arc<Places>,
    /// Its number in the order.
    at: Mutex<u64>,
}

impl Places {
    pub fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, taken: Mutex::default() })
    }

    /// A place for somebody who asks, somebody else's if need be. `None`: all are asking.
    pub fn take(self: &Arc<Places>) -> Option<(Place, GivenUp)> {
        let (keeps, given_up) = oneshot::channel();
        let mut taken = lock(&self.taken);
        if taken.asking.len() + taken.idle.len() >= self.most && !taken.make_room() {
            return None;
        }
        let at = Mutex::new(taken.ask(keeps));
        Some((Place { places: self.clone(), at }, given_up))
    }
}

impl Taken {
    fn make_room(&mut self) -> bool {
        let is_slow = |asking: &BTreeMap<u64, (Instant, Keeps)>| {
            asking.first_key_value().is_some_and(|(_, (since, _))| since.elapsed() > SLOW)
        };
        self.idle.pop_first().is_some() || is_slow(&self.asking) && self.asking.pop_first().is_some()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn ask(&mut self, keeps: Keeps) -> u64 {
        let at = self.number();
        self.asking.insert(at, (Instant::now(), keeps));
        at
    }

    fn remove(&mut self, at: u64) -> Option<Keeps> {
        self.idle.remove(&at).or_else(|| self.asking.remove(&at).map(|(_, keeps)| keeps))
    }
}

impl Place {
    /// It asks for something.
    pub fn asks(&self) {
        let (mut at, mut taken) = (lock(&self.at), lock(&self.places.taken));
        if let Some(keeps) = taken.remove(*at) {
            *at = taken.ask(keeps);
        }
    }

    /// It has its answer, as far as it reads it.
    pub fn is_answered(&self) {
        let (mut at, mut taken) = (lock(&self.at), lock(&self.places.taken));
        if let Some(keeps) = taken.remove(*at) {
            *at = taken.number();
            taken.idle.insert(*at, keeps);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let at = *lock(&self.at);
        lock(&self.places.taken).remove(at);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_lost(of: &mut GivenUp) -> bool {
        of.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn whoever_was_answered_longest_ago_makes_room() {
        let places = Places::new(2);
        let [(first, mut of_first), (second, mut of_second)] = [(); 2].map(|()| places.take().unwrap());
        first.is_answered();
        second.is_answered();
        first.asks();
        first.is_answered();
        let (third, mut of_third) = places.take().unwrap();
        assert!(has_lost(&mut of_second), "it was answered before the first was, the second time");
        drop(third);
        places.take().unwrap();
        assert!(has_lost(&mut of_third) && !has_lost(&mut of_first), "there was room");
    }

    #[test]
    fn who_is_still_asking_is_left_a_while() {
        let places = Places::new(1);
        let (place, mut given_up) = places.take().unwrap();
        assert!(places.take().is_none() && !has_lost(&mut given_up));
        lock(&places.taken).asking.values_mut().for_each(|(since, _)| *since -= 2 * SLOW);
        places.take().unwrap();
        assert!(has_lost(&mut given_up));
        // It does not know yet; that changes nothing.
        place.asks();
        place.is_answered();
        drop(place);
        assert!(places.take().is_some());
    }
}
