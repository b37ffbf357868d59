//! Anomaly alerts: a few figures of the whole server, each judged against its own recent past and the same hour of earlier
//! days, and told to a webhook.
//!
//! Owns the interval, the silence, what is shown and what is told. What is odd is decided in `usual` and `judge`, what was
//! usual at an hour in `hours`, what goes out in `teller`. Looks once a second on the monitor's thread and never waits there:
//! the calls are made on the HTTP side's threads.

mod file;
mod hours;
mod judge;
mod measure;
mod signal;
mod teller;
mod usual;
mod words;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_domain::time::iso;
use tidegate_http::metrics::Family;
use tidegate_http::metrics::registry::{ALERT_NOTICES, ALERT_RAISED, ALERTS_SILENT};
use tidegate_http::{
    AlertReport, AlertState, AlertWebhook, Alerting, AlertsReport, Expected, NoticeReport, Silence, SilenceWish,
};
use tidegate_net::Stats;
use tidegate_stages::shared::World;

use hours::Hours;
use judge::{Finding, Judge, LEARNED, Patience, State};
use measure::Counted;
use signal::{SIGNALS, Signal};
use teller::{Kind, Teller};
use usual::{Sensitivity, Side, Usual};
use words::{Past, sentence};

pub use file::NAME as FILE;

const HOUR: Duration = Duration::from_secs(3_600);
/// Raised for so long, it is the usual.
const ADAPT: Duration = Duration::from_secs(6 * 3_600);
/// Notices that are remembered.
const KEPT: usize = 100;
/// The monitor's second may end a little early.
const EARLY: Duration = Duration::from_millis(500);

pub struct Alerts {
    settings: tidegate_config::Alerts,
    world: Arc<World>,
    webhook: Option<AlertWebhook>,
    /// How the server calls itself in notices.
    server: String,
    /// Where the hours are kept.
    path: PathBuf,
    state: Mutex<All>,
}

struct All {
    /// What was counted when the interval began, and when that was.
    begun: Option<(Counted, Instant)>,
    judges: [Judge; SIGNALS],
    shown: [Shown; SIGNALS],
    hours: Hours,
    teller: Teller,
    silence: Option<Silence>,
    notices: VecDeque<NoticeReport>,
}

/// How a signal stands.
struct Shown {
    value: Option<f64>,
    finding: Finding,
    same_hour: Option<Usual>,
    /// When it came into this state.
    since_ms: i64,
}

impl Alerts {
    /// Goes on with the hours of earlier runs. `folder`: where they are kept.
    pub fn begin(
        settings: tidegate_config::Alerts,
        world: Arc<World>,
        webhook: Option<AlertWebhook>,
        server: String,
        folder: &std::path::Path,
    ) -> Alerts {
        let path = folder.join(FILE);
        let done = file::load(&path).unwrap_or_else(|why| {
            log::warn!("{} cannot be read: {why}. What was usual at each hour is learned anew", path.display());
            Vec::new()
        });
        let now = world.now();
        let shown = || Shown { value: None, finding: nothing_yet(), same_hour: None, since_ms: now };
        let interval = settings.interval;
        let state = All {
            begun: None,
            judges: Signal::ALL.map(|signal| Judge::new(sensitivity(&settings, signal), patience(&settings))),
            shown: std::array::from_fn(|_| shown()),
            hours: Hours::new(done, values_in(HOUR, interval) as usize),
            teller: Teller::new(values_in(HOUR, interval)),
            silence: None,
            notices: VecDeque::new(),
        };
        Alerts { settings, world, webhook, server, path, state: Mutex::new(state) }
    }

    /// To be called about once a second.
    pub fn look(&self, stats: &Stats) {
        let mut state = self.state();
        let now = Instant::now();
        let Some((before, since)) = &state.begun else {
            state.begun = Some((Counted::now(&self.world, stats), now));
            return;
        };
        let elapsed = now.duration_since(*since);
        if elapsed + EARLY < self.settings.interval {
            return;
        }
        let counted = Counted::now(&self.world, stats);
        let least = self.settings.min_rate as f64;
        let values = counted.values_since(before, elapsed.as_secs_f64(), least);
        state.begun = Some((counted, now));
        let is_over = self.judge(&mut state, values);
        let hours = is_over.then(|| state.hours.done().to_vec());
        // Who looks at alerts shall not wait for the disk.
        drop(state);
        if let Some(hours) = hours
            && let Err(error) = file::save(&self.path, &hours)
        {
            log::warn!("what was usual at each hour could not be saved in {}: {error}", self.path.display());
        }
    }

    /// Returns whether an hour is over.
    fn judge(&self, state: &mut All, values: [Option<f64>; SIGNALS]) -> bool {
        let now = self.world.now();
        state.end_silence(now);
        for signal in Signal::ALL {
            let at = signal as usize;
            let same_hour = state.hours.usual(signal, now);
            let finding = state.judges[at].see(values[at], &same_hour);
            let shown = &mut state.shown[at];
            let (was, is) = (shown.finding.state, finding.state);
            if was != is {
                shown.since_ms = now;
            }
            (shown.value, shown.same_hour) = (values[at], together(&same_hour));
            let adapted = finding.adapted;
            shown.finding = finding;
            let words = self.words(signal, shown);
            match (was == State::Raised, is == State::Raised) {
                (false, true) => log::warn!("alert {}: {words}", signal.name()),
                (true, false) if adapted => {
                    log::info!("alert {} is over: it has been so for 6 h and is the usual now: {words}", signal.name())
                }
                (true, false) => log::info!("alert {} is over: {words}", signal.name()),
                _ => {}
            }
            let is_silent = state.silence.is_some();
            if let Some(kind) = state.teller.due(signal, is == State::Raised, is_silent) {
                self.tell(state, signal, kind, words, now);
            }
        }
        state.hours.see(now, values)
    }

    fn words(&self, signal: Signal, shown: &Shown) -> String {
        let past = Past {
            length: words::length(self.settings.interval),
            recent: shown.finding.recent,
            same_hour: shown.same_hour,
        };
        sentence(signal, shown.value, &past)
    }

    fn tell(&self, state: &mut All, signal: Signal, kind: Kind, words: String, now: i64) {
        let shown = &state.shown[signal as usize];
        let raised = if kind == Kind::Cleared { "cleared" } else { "raised" };
        let text = format!("[{}] {} {}: {words}", self.server, signal.name(), kind.name());
        let body = json!({
            "alert": signal.name(),
            "state": raised,
            "still": kind == Kind::Still,
            "side": side(&shown.finding),
            "since": iso(shown.since_ms),
            "value": shown.value,
            "unit": signal.unit(),
            "expected": expected(shown),
            "words": &words,
            "server": &self.server,
            "version": env!("CARGO_PKG_VERSION"),
            "text": text,
        });
        let told = self.webhook.as_ref().map(|webhook| webhook.tell(body.to_string()));
        if state.notices.len() == KEPT {
            state.notices.pop_front();
        }
        let notice = NoticeReport { at_ms: now, alert: signal.name(), notice: kind.name(), words, sent: told };
        state.notices.push_back(notice);
    }

    fn state(&self) -> MutexGuard<'_, All> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How each signal stands.
    pub fn report(&self) -> AlertsReport {
        let mut state = self.state();
        state.end_silence(self.world.now());
        AlertsReport {
            interval_ms: self.settings.interval.as_millis() as u64,
            silence: state.silence.clone(),
            webhook: self.webhook.as_ref().map(AlertWebhook::sent),
            alerts: Signal::ALL.map(|signal| self.shown(&state, signal)).into(),
            notices: state.notices.iter().cloned().collect(),
        }
    }

    /// What is raised, for the pages that are drawn each second.
    pub fn alerting(&self) -> Alerting {
        let mut state = self.state();
        state.end_silence(self.world.now());
        let is_raised = |signal: &Signal| state.shown[*signal as usize].finding.state == State::Raised;
        let raised = Signal::ALL.into_iter().filter(is_raised);
        Alerting { raised: raised.map(|signal| self.shown(&state, signal)).collect(), silence: state.silence.clone() }
    }

    fn shown(&self, state: &All, signal: Signal) -> AlertReport {
        let shown = &state.shown[signal as usize];
        AlertReport {
            alert: signal.name(),
            state: match shown.finding.state {
                State::Learning => AlertState::Learning,
                State::Ok => AlertState::Ok,
                State::Pending => AlertState::Pending,
                State::Raised => AlertState::Raised,
            },
            side: side(&shown.finding),
            since_ms: shown.since_ms,
            value: shown.value,
            unit: signal.unit(),
            expected: expected(shown),
            limits: shown.finding.limits.map(|limits| [limits.low, limits.high]),
            told: state.teller.is_told(signal),
            words: self.words(signal, shown),
        }
    }

    /// Begins a silence, in place of one that goes on, or ends it. `by` is remembered and logged.
    pub fn silence(&self, by: &str, wish: Option<SilenceWish>) {
        let mut state = self.state();
        let now = self.world.now();
        state.end_silence(now);
        match wish {
            Some(wish) => {
                let length_ms = i64::try_from(wish.length.as_millis()).unwrap_or(i64::MAX);
                let until_ms = now.saturating_add(length_ms);
                log::info!("alerts are silent until {} by {by}: {}", iso(until_ms), wish.reason);
                state.silence = Some(Silence { by: by.to_owned(), reason: wish.reason, since_ms: now, until_ms });
            }
            None if state.silence.take().is_some() => log::info!("the silence of alerts was ended by {by}"),
            None => {}
        }
    }

    /// Figures for `/metrics`.
    pub fn families(&self) -> Vec<Family> {
        let flag = |is: bool| f64::from(u8::from(is));
        let alerting = self.alerting();
        let is_raised = |signal: Signal| alerting.raised.iter().any(|raised| raised.alert == signal.name());
        let calls = self.webhook.as_ref().map(AlertWebhook::sent).unwrap_or_default();
        let outcomes = [("answered", calls.answered), ("failed", calls.failed), ("unsent", calls.unsent)];
        vec![
            ALERT_RAISED.of(Signal::ALL.map(|signal| ([signal.name()], flag(is_raised(signal))))),
            ALERTS_SILENT.is(flag(alerting.silence.is_some())),
            ALERT_NOTICES.of(outcomes.map(|(outcome, count)| ([outcome], count as f64))),
        ]
    }
}

impl All {
    fn end_silence(&mut self, now: i64) {
        if self.silence.as_ref().is_some_and(|silence| silence.until_ms <= now) {
            self.silence = None;
            log::info!("the silence of alerts is over");
        }
    }
}

fn nothing_yet() -> Finding {
    Finding { state: State::Learning, side: None, recent: None, limits: None, adapted: false }
}

fn sensitivity(settings: &tidegate_config::Alerts, signal: Signal) -> Sensitivity {
    let floor = match signal {
        Signal::Messages | Signal::Churn => settings.min_rate as f64,
        Signal::Latency => settings.min_latency.as_secs_f64() * 1_000.0,
        Signal::Errors => settings.min_errors,
    };
    Sensitivity { factor: settings.factor as f64, floor, may_fall: signal.may_fall() }
}

fn patience(settings: &tidegate_config::Alerts) -> Patience {
    let values = |time: Duration| values_in(time, settings.interval);
    let clear = values(settings.clear_after);
    Patience {
        hold: values(settings.hold),
        clear,
        most_clear: values(HOUR).max(clear),
        relapse: values(HOUR),
        // What it adapts to must be enough to judge by.
        adapt: values(ADAPT).max(LEARNED as u32),
    }
}

/// How many intervals a time takes, begun ones counted, at least one.
fn values_in(time: Duration, interval: Duration) -> u32 {
    let values = time.as_nanos().div_ceil(interval.as_nanos().max(1));
    u32::try_from(values).unwrap_or(u32::MAX).max(1)
}

/// One range out of what several hours say.
fn together(hours: &[Usual]) -> Option<Usual> {
    let both = |a: Usual, b: &Usual| Usual { low: a.low.min(b.low), high: a.high.max(b.high), ..a };
    let (first, rest) = hours.split_first()?;
    Some(rest.iter().fold(*first, both))
}

fn expected(shown: &Shown) -> Expected {
    let range = |usual: Option<Usual>| usual.map(|usual| [usual.low, usual.high]);
    Expected { recent: range(shown.finding.recent), same_hour: range(shown.same_hour) }
}

fn side(finding: &Finding) -> Option<&'static str> {
    finding.side.map(|side| match side {
        Side::High => "high",
        Side::Low => "low",
    })
}
