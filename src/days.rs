//! Keeps what each day came to: takes it down in the store every so often, and turns to the next one at midnight (UTC).
//!
//! The counting is the stages' (`shared::days`), the keeping the store's; this knows when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_domain::day::{Day, Figures};
use tidegate_domain::ids::AppId;
use tidegate_http::DayReport;
use tidegate_stages::shared::World;
use tidegate_store::{Change, StoreError};

/// How often the present day is taken down: so much of it a crash may cost.
const EVERY: Duration = Duration::from_secs(60);
/// How many days are kept.
const KEPT: u32 = 400;

/// The first of the `days` up to this one.
fn first_of(days: u32, today: Day) -> Day {
    Day(today.0.saturating_sub(days - 1))
}

pub struct Days {
    world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    today: Day,
    saved: Instant,
    /// What was taken down last: an idle server writes nothing.
    last: Vec<(AppId, Figures)>,
}

impl Days {
    /// Goes on with today where an earlier run left it.
    pub fn begin(world: Arc<World>) -> Result<Days, StoreError> {
        let today = Day::of(world.now());
        for (app, _, figures) in world.store.days(today)?.iter().filter(|(_, day, _)| *day == today) {
            world.days.resume(*app, figures);
        }
        let last = world.days.figures().collect();
        Ok(Days { world, state: Mutex::new(State { today, saved: Instant::now(), last }) })
    }

    /// To be called about once a second.
    pub fn look(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let today = Day::of(self.world.now());
        // A clock that was set back changes no day that is over.
        if today > state.today {
            let over = self.world.days.turn();
            self.world.connections.each_session(|app, client| self.world.days.active(app, client));
            self.save(state.today, over);
            state.today = today;
            state.last = self.world.days.figures().collect();
        } else if state.saved.elapsed() >= EVERY {
            self.save_today(&mut state);
        }
    }

    /// The last word of a server that stops.
    pub fn end(&self) {
        self.save_today(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn save_today(&self, state: &mut State) {
        state.saved = Instant::now();
        let figures: Vec<_> = self.world.days.figures().collect();
        if figures != state.last {
            self.save(state.today, figures.clone());
            state.last = figures;
        }
    }

    fn save(&self, day: Day, figures: Vec<(AppId, Figures)>) {
        let change = |(app, figures)| Change::Day { app, day, figures: Box::new(figures), oldest: first_of(KEPT, day) };
        let changes: Vec<Change> =
            figures.into_iter().filter(|(_, of)| *of != Figures::default()).map(change).collect();
        if let Err(error) = self.world.store.commit(&changes) {
            log::warn!("the figures of {} could not be saved: {error}", day.date());
        }
    }

    /// The last `days` days, the newest first; in each, the apps in the order of the configuration.
    pub fn report(&self, days: u32) -> Result<Vec<DayReport>, StoreError> {
        let today = self.state.lock().unwrap_or_else(PoisonError::into_inner).today;
        let from = first_of(days.clamp(1, KEPT), today);
        let mut all: Vec<(Day, AppId, Figures)> = Vec::new();
        let kept = self.world.store.days(from)?.into_iter().filter(|(_, day, _)| *day < today);
        all.extend(kept.map(|(app, day, figures)| (day, app, figures)));
        all.extend(self.world.days.figures().map(|(app, figures)| (today, app, figures)));
        all.sort_by_key(|(day, app, _)| (std::cmp::Reverse(*day), *app));
        let report = |(day, app, figures): (Day, AppId, Figures)| DayReport {
            day: day.date(),
            app: self.world.apps.get(app).id.to_string(),
            messages: figures.messages,
            active_clients: figures.clients.count(),
            peak_connections: figures.peak,
        };
        Ok(all.into_iter().map(report).collect())
    }
}
