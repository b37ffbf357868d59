//! The places of those who are served at once. When all are taken, somebody makes room: whoever was answered longest ago
//! and has asked for nothing since, else whoever has been asking for longer than any answer takes. So nobody keeps others
//! out by holding connections. Where all are asking, as when a fleet comes back at once, the next ones wait a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// What is asked here is answered in much less. A request that takes longer, because its body does not come, may be broken
/// off for another.
const SLOW: Duration = Duration::from_millis(100);

/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    /// Told one by one, in the order in which they came, when a place may be had.
    waiting: Notify,
}

#[derive(Default)]
struct Taken {
    next: u64,
    /// Those who wait for a place; no more than there are places.
    waiting: usize,
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
        Arc::new(Places { most, taken: Mutex::default(), waiting: Notify::new() })
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

    /// The same, waiting for it. `None`: too many wait already, or none was to be had in time.
    pub async fn wait(self: &Arc<Places>) -> Option<(Place, GivenUp)> {
        let _counted = Waits::begin(self)?;
        let got = timeout(PATIENCE, async {
            loop {
                // Or it is time to see whether somebody has become slow.
                _ = timeout(SLOW, self.waiting.notified()).await;
                if let Some(place) = self.take() {
                    return place;
                }
            }
        });
        got.await.ok()
    }
}

/// Counts somebody who waits.
struct Waits<'a>(&'a Places);

impl<'a> Waits<'a> {
    fn begin(places: &'a Places) -> Option<Waits<'a>> {
        let mut taken = lock(&places.taken);
        (taken.waiting < places.most).then(|| {
            taken.waiting += 1;
            Waits(places)
        })
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(&self.0.taken).waiting -= 1;
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
            self.places.waiting.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let at = *lock(&self.at);
        lock(&self.places.taken).remove(at);
        self.places.waiting.notify_one();
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

    #[test]
    fn who_comes_while_all_are_asking_waits_and_not_too_many_do() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let places = Places::new(1);
            let (place, mut given_up) = places.take().unwrap();
            let answered = async { place.is_answered() };
            let (first, second, ()) = tokio::join!(places.wait(), places.wait(), answered);
            assert!(first.is_some() && second.is_none() && has_lost(&mut given_up));
            // Nobody tells that the first one has become slow.
            assert!(places.wait().await.is_some());
        });
    }
}
