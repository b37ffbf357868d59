//! Anomaly alerts as the admin API tells them: `GET /alerts`, and `POST` and `DELETE /alerts/silence`.
//!
//! Owns the words and the bounds of a silence. What is odd is up to the implementer of `Admin`.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::asker::By;
use super::routes::{Asked, ask, read, whole};
use crate::json::{Wrong, wrong};

/// All alerts.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct AlertsReport {
    /// The time that one value is of.
    pub interval_ms: u64,
    /// `null`: notices are sent.
    pub silence: Option<Silence>,
    /// What became of notices since the start; `null` where no webhook is configured.
    pub webhook: Option<NoticesSent>,
    pub alerts: Vec<AlertReport>,
    /// The last ones, oldest first.
    pub notices: Vec<NoticeReport>,
}

/// What became of notices since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct NoticesSent {
    /// Now: waiting, pausing or on their way.
    pub pending: usize,
    pub answered: u64,
    /// Given up after all tries.
    pub failed: u64,
    /// Never taken, because too many waited.
    pub unsent: u64,
}

/// How one figure stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertReport {
    /// `messages`, `latency`, `errors` or `churn`.
    pub alert: &'static str,
    pub state: AlertState,
    /// `high` or `low`, of what is pending or raised.
    pub side: Option<&'static str>,
    /// When it came into this state, in milliseconds since the epoch.
    pub since_ms: i64,
    /// Of the last interval; `null` where too little happened to measure it.
    pub value: Option<f64>,
    pub unit: &'static str,
    pub expected: Expected,
    /// Beyond these it is odd; `null` while it learns.
    pub limits: Option<[f64; 2]>,
    /// Whether somebody was told that it is raised.
    pub told: bool,
    /// For people.
    pub words: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Too little past to judge by.
    Learning,
    Ok,
    /// Odd, and not yet for long enough.
    Pending,
    Raised,
}

/// From and to; `null` where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Expected {
    pub recent: Option<[f64; 2]>,
    pub same_hour: Option<[f64; 2]>,
}

/// Something that somebody was told, or would have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoticeReport {
    pub at_ms: i64,
    pub alert: &'static str,
    /// `raised`, `still` or `cleared`.
    pub notice: &'static str,
    pub words: String,
    /// Whether it was taken for sending; `null` where no webhook is configured.
    pub sent: Option<bool>,
}

/// What is raised now.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Alerting {
    pub raised: Vec<AlertReport>,
    pub silence: Option<Silence>,
}

/// No notices for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Silence {
    pub by: String,
    pub reason: String,
    pub since_ms: i64,
    pub until_ms: i64,
}

/// A silence that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceWish {
    pub length: Duration,
    /// For people, without control characters.
    pub reason: String,
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Of a reason, in characters.
const MOST_REASON: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    #[serde(rename = "for")]
    length: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn show(State(admin): State<Asked>) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, |admin| admin.alerts()).await?).into_response())
}

pub(super) async fn silence(State(admin): State<Asked>, By(by): By, body: Body) -> Result<Response, Wrong> {
    const USAGE: &str =
        "Ask with {\"for\": \"2h\", \"reason\": \"deploy\"}; a time has a unit of s, m, h or d and is 1 s to 30 d.";
    let asked: Asking = read(&whole(body).await?)?;
    let length = time(&asked.length).filter(|length| (SHORTEST..=LONGEST).contains(length));
    let length = length.ok_or_else(|| wrong(StatusCode::UNPROCESSABLE_ENTITY, USAGE))?;
    let reason = asked.reason.chars().filter(|c| !c.is_control()).take(MOST_REASON).collect();
    let wish = SilenceWish { length, reason };
    Ok(Json(ask(admin, move |admin| admin.silence(&by, Some(wish))).await?).into_response())
}

pub(super) async fn end_silence(State(admin): State<Asked>, By(by): By) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, move |admin| admin.silence(&by, None)).await?).into_response())
}

/// A whole number and a unit: `90s`, `2h`.
fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        let seconds = |text: &str| time(text).map(|time| time.as_secs());
        assert_eq!(["90s", "5m", "2h", " 1 d "].map(seconds), [Some(90), Some(300), Some(7_200), Some(86_400)]);
        assert_eq!(["", "2", "h", "-1h", "1.5h", "2 hours", "99999999999999999999d"].map(seconds), [None; 7]);
    }
}
