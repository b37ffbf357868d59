//! Recording what comes to the server: `POST /record?seconds=N` answers with the recording when the time is over, and
//! `GET /record` says meanwhile how far it is. One at a time; if whoever asked goes away, it ends and is thrown away.
//!
//! Must not know what is in a recording.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::asker::By;
use super::routes::{Asked, ask, asked_with, refusal};
use crate::json::{Wrong, wrong};

/// A recording that is under way. Dropped, it ends and nothing is kept.
pub trait Recorder: Send + 'static {
    /// Ends it: the recording as JSON. It may take seconds, as there may be millions of messages.
    fn finish(self: Box<Self>) -> Result<String, String>;
}

/// How far a recording is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recording {
    /// Who asked for it.
    pub by: String,
    /// How long it shall take, and has taken.
    pub seconds: f64,
    pub elapsed: f64,
    /// Messages so far.
    pub messages: u64,
}

/// The longest: who needs more of it records again.
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordQuery {
    seconds: f64,
}

pub(super) async fn record(
    State(admin): State<Asked>,
    By(by): By,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<Response, Wrong> {
    const USAGE: &str = "Ask with ?seconds=N, 0.1 to 3600: the answer is the recording, when that time is over.";
    let RecordQuery { seconds } = asked_with(query, USAGE)?;
    if !(0.1..=LONGEST.as_secs_f64()).contains(&seconds) {
        return Err(wrong(StatusCode::UNPROCESSABLE_ENTITY, USAGE));
    }
    let length = Duration::from_secs_f64(seconds);
    let begun = ask(admin.clone(), move |admin| admin.record(&by, length)).await?;
    let recorder = begun.map_err(|refused| refusal("recording", "", refused))?;
    tokio::time::sleep(length).await;
    let text = ask(admin, move |_| recorder.finish()).await?;
    let text = text.map_err(|why| wrong(StatusCode::INTERNAL_SERVER_ERROR, why))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

pub(super) async fn now(State(admin): State<Asked>) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, |admin| admin.recording()).await?).into_response())
}
