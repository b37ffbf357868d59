//! What the present day has come to, for each app.
//!
//! Owns the counts of today; whoever keeps days takes them from here and tells when a new one begins. A message costs one
//! addition; a log-in one short lock of its app.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_domain::day::{Figures, Sketch};
use tidegate_domain::ids::{AppId, ClientId};

pub struct Days {
    apps: Vec<Today>,
}

#[derive(Default)]
struct Today {
    messages: AtomicU64,
    connections: AtomicU64,
    peak: AtomicU64,
    clients: Mutex<Sketch>,
}

impl Today {
    fn clients(&self) -> MutexGuard<'_, Sketch> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Days {
    pub fn new(apps: usize) -> Self {
        Days { apps: (0..apps).map(|_| Today::default()).collect() }
    }

    fn of(&self, app: AppId) -> Option<&Today> {
        self.apps.get(usize::from(app.0))
    }

    /// A message was accepted.
    pub fn message(&self, app: AppId) {
        if let Some(today) = self.of(app) {
            today.messages.fetch_add(1, Relaxed);
        }
    }

    /// A connection speaks for this app from now on.
    pub fn connected(&self, app: AppId) {
        if let Some(today) = self.of(app) {
            let now = today.connections.fetch_add(1, Relaxed) + 1;
            today.peak.fetch_max(now, Relaxed);
        }
    }

    /// It does not any more.
    pub fn disconnected(&self, app: AppId) {
        if let Some(today) = self.of(app) {
            today.connections.fetch_sub(1, Relaxed);
        }
    }

    /// Somebody is logged in.
    pub fn active(&self, app: AppId, client: &ClientId) {
        if let Some(today) = self.of(app) {
            today.clients().see(client);
        }
    }

    /// Messages of all apps that were accepted today.
    pub fn messages(&self) -> u64 {
        self.apps.iter().map(|today| today.messages.load(Relaxed)).sum()
    }

    /// Each app's day so far.
    pub fn figures(&self) -> impl Iterator<Item = (AppId, Figures)> + '_ {
        (0..).map(AppId).zip(&self.apps).map(|(app, today)| {
            let figures = Figures {
                messages: today.messages.load(Relaxed),
                peak: today.peak.load(Relaxed),
                clients: today.clients().clone(),
            };
            (app, figures)
        })
    }

    /// Goes on with what was counted before a restart on the same day.
    pub fn resume(&self, app: AppId, before: &Figures) {
        if let Some(today) = self.of(app) {
            today.messages.fetch_add(before.messages, Relaxed);
            today.peak.fetch_max(before.peak, Relaxed);
            today.clients().merge(&before.clients);
        }
    }

    /// A new day begins: gives what the one that is over came to. Who is there is there on both.
    pub fn turn(&self) -> Vec<(AppId, Figures)> {
        let take = |(app, today): (AppId, &Today)| {
            let figures = Figures {
                messages: today.messages.swap(0, Relaxed),
                peak: today.peak.swap(today.connections.load(Relaxed), Relaxed),
                clients: std::mem::take(&mut *today.clients()),
            };
            (app, figures)
        };
        (0..).map(AppId).zip(&self.apps).map(take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: AppId = AppId(1);

    fn now(days: &Days) -> (u64, u64, u64) {
        let figures = days.figures().find(|(app, _)| *app == APP).unwrap().1;
        (figures.messages, figures.peak, figures.clients.count())
    }

    #[test]
    fn each_app_has_its_own_and_a_new_day_begins_with_who_is_there() {
        let days = Days::new(2);
        days.connected(APP);
        days.connected(APP);
        days.disconnected(APP);
        days.active(APP, &"ann".into());
        days.active(APP, &"ann".into());
        days.message(APP);
        days.message(AppId(0));
        days.message(AppId(7));
        assert_eq!((now(&days), days.messages()), ((1, 2, 1), 2));
        let over = days.turn();
        assert_eq!((over[1].1.messages, over[1].1.peak, over[1].1.clients.count()), (1, 2, 1));
        assert_eq!(over[0].1.messages, 1);
        assert_eq!(now(&days), (0, 1, 0), "one connection is there still; who is logged in is told anew");
    }

    #[test]
    fn a_day_goes_on_after_a_restart() {
        let days = Days::new(2);
        days.active(APP, &"ann".into());
        let mut before = Figures { messages: 5, peak: 9, ..Figures::default() };
        before.clients.see("ann");
        before.clients.see("bob");
        days.resume(APP, &before);
        days.message(APP);
        assert_eq!(now(&days), (6, 9, 2));
    }
}
