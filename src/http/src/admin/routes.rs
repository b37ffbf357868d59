//! The admin side's paths and statuses.
//!
//! Whoever has no token, or a wrong one, is answered 401; who may not change what it wants to, 403 (`access`). Bad JSON is
//! 400; a body that says nonsense, or a key that does not exist, 422; a name that does not exist, 404.
//! Every question runs on a thread that may block, so that a slow one does not hold up the public side.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::LengthLimitError;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::access::{Access, Tokens, with_a_token};
use super::asker::{Asking, from_here};
use super::{
    Admin, Change, How, JourneysOf, PoolPatch, Refused, Second, StagePatch, Trace, TraceOf, Wish, alerts, record,
};
use crate::json::{Named, Wrong, wrong};
use crate::metrics;
use crate::public::Page;

pub(super) type Asked = Arc<dyn Admin>;

/// `tokens`: what lets in.
pub(crate) fn router(admin: Asked, pages: Vec<Page>, tokens: &Tokens) -> Router {
    let access = Arc::new(Access::new(tokens));
    let routes =
        pages.into_iter().fold(Router::new(), |routes, page| routes.route(page.path, get(move || served(page))));
    routes
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/stages", get(stages))
        .route("/stages/{name}", get(stage).patch(change_stage))
        .route("/pools", get(pools))
        .route("/pools/{name}", get(pool).patch(change_pool))
        .route("/undo", post(undo))
        .route("/changes", get(changes))
        .route("/bottleneck", get(bottleneck))
        .route("/config", get(config))
        .route("/config/save", post(save))
        .route("/config/reload", post(reload))
        .route("/topology", get(topology))
        .route("/live", get(live))
        .route("/history", get(history))
        .route("/days", get(days))
        .route("/alerts", get(alerts::show))
        .route("/alerts/silence", post(alerts::silence).delete(alerts::end_silence))
        .route("/journeys", get(journeys))
        .route("/trace", get(trace))
        .route("/record", get(record::now).post(record::record))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(access.clone(), with_a_token))
        // Before tokens: a browser shall not be asked for one in the name of another page.
        .layer(from_fn_with_state(access, from_here))
        .with_state(admin)
}

/// Asks on a thread that may block; a panic there is an answer too.
pub(super) async fn ask<T: Send + 'static>(
    admin: Asked,
    question: impl FnOnce(&dyn Admin) -> T + Send + 'static,
) -> Result<T, Wrong> {
    tokio::task::spawn_blocking(move || question(&*admin)).await.map_err(|failed| {
        log::error!("an admin request failed: {failed}");
        wrong(StatusCode::INTERNAL_SERVER_ERROR, "The request failed inside; the server's log has the reason.")
    })
}

/// What a query says; `usage` tells whoever asks wrongly how.
pub(super) fn asked_with<T>(query: Result<Query<T>, QueryRejection>, usage: &str) -> Result<T, Wrong> {
    query.map(|Query(said)| said).map_err(|_| wrong(StatusCode::BAD_REQUEST, usage))
}

async fn readyz(State(admin): State<Asked>) -> Result<Response, Wrong> {
    let readiness = ask(admin, |admin| admin.readiness()).await?;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(readiness)).into_response())
}

async fn metrics(State(admin): State<Asked>) -> Result<Response, Wrong> {
    let text = ask(admin, |admin| {
        let mut families = metrics::of_stages(&admin.stages());
        families.extend(admin.families());
        metrics::text(families)
    })
    .await?;
    match text {
        Ok(text) => Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()),
        Err(_) => Err(wrong(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written down.")),
    }
}

async fn stages(State(admin): State<Asked>) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, |admin| admin.stages()).await?).into_response())
}

async fn stage(State(admin): State<Asked>, Named(name): Named) -> Result<Response, Wrong> {
    let asked = name.clone();
    let stage = ask(admin, move |admin| admin.stage(&asked)).await?;
    stage.map(|stage| Json(stage).into_response()).ok_or_else(|| unknown("stage", &name))
}

async fn change_stage(
    State(admin): State<Asked>,
    Named(name): Named,
    Asking(how): Asking,
    body: Body,
) -> Result<Response, Wrong> {
    let patch: StagePatch = read(&whole(body).await?)?;
    patch.check().map_err(nonsense)?;
    let tried = change(&admin, Wish::Stage(name.clone(), patch), how).await?;
    if tried.dry_run { Ok(Json(tried).into_response()) } else { stage(State(admin), Named(name)).await }
}

async fn pools(State(admin): State<Asked>) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, |admin| admin.pools()).await?).into_response())
}

async fn pool(State(admin): State<Asked>, Named(name): Named) -> Result<Response, Wrong> {
    let pools = ask(admin, |admin| admin.pools()).await?;
    let pool = pools.into_iter().find(|pool| pool.name == name);
    pool.map(|pool| Json(pool).into_response()).ok_or_else(|| unknown("pool", &name))
}

async fn change_pool(
    State(admin): State<Asked>,
    Named(name): Named,
    Asking(how): Asking,
    body: Body,
) -> Result<Response, Wrong> {
    let patch: PoolPatch = read(&whole(body).await?)?;
    patch.check().map_err(nonsense)?;
    let tried = change(&admin, Wish::Pool(name.clone(), patch), how).await?;
    if tried.dry_run { Ok(Json(tried).into_response()) } else { pool(State(admin), Named(name)).await }
}

async fn undo(State(admin): State<Asked>, Asking(how): Asking) -> Result<Response, Wrong> {
    Ok(Json(change(&admin, Wish::Undo, how).await?).into_response())
}

async fn reload(State(admin): State<Asked>, Asking(how): Asking) -> Result<Response, Wrong> {
    Ok(Json(change(&admin, Wish::Reload, how).await?).into_response())
}

async fn change(admin: &Asked, wish: Wish, how: How) -> Result<Change, Wrong> {
    let (kind, name) = match &wish {
        Wish::Stage(name, _) => ("stage", name.clone()),
        Wish::Pool(name, _) => ("pool", name.clone()),
        Wish::Undo | Wish::Reload => ("change", String::new()),
    };
    let changed = ask(admin.clone(), move |admin| admin.change(wish, how)).await?;
    changed.map_err(|refused| refusal(kind, &name, refused))
}

async fn changes(State(admin): State<Asked>) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, |admin| admin.changes()).await?).into_response())
}

async fn bottleneck(State(admin): State<Asked>) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, |admin| admin.bottleneck()).await?).into_response())
}

async fn config(State(admin): State<Asked>) -> Result<Response, Wrong> {
    let text = ask(admin, |admin| admin.config()).await?;
    Ok(([(header::CONTENT_TYPE, "application/toml; charset=utf-8")], text).into_response())
}

async fn save(State(admin): State<Asked>, Asking(how): Asking) -> Result<Response, Wrong> {
    let saved = ask(admin, move |admin| admin.save(how)).await?;
    saved.map(|saved| Json(saved).into_response()).map_err(|refused| refusal("file", "", refused))
}

async fn topology(State(admin): State<Asked>) -> Result<Response, Wrong> {
    Ok(Json(ask(admin, |admin| admin.graph()).await?).into_response())
}

/// How often a viewer's stream looks for a new second.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
struct LiveQuery {
    /// Without it: the newest second.
    after: Option<u64>,
}

/// An event for each second, for as long as the viewer stays.
async fn live(State(admin): State<Asked>, query: Result<Query<LiveQuery>, QueryRejection>) -> Result<Response, Wrong> {
    const USAGE: &str = "Ask with ?after=N for the seconds after that number, or without for the newest.";
    let LiveQuery { after } = asked_with(query, USAGE)?;
    let after = match after {
        Some(after) => after,
        None => newest(&admin).await?.map_or(0, |second| second.n - 1),
    };
    let seconds = futures_util::stream::unfold((admin, after), |(admin, mut after)| async move {
        loop {
            let new = ask(admin.clone(), move |admin| admin.seconds(after)).await.ok()?;
            if let Some(last) = new.last() {
                after = last.n;
                let events = new.into_iter().map(|second| {
                    let text = serde_json::to_string(&*second).unwrap_or_default();
                    Ok::<_, Infallible>(Event::default().id(second.n.to_string()).data(text))
                });
                return Some((futures_util::stream::iter(events.collect::<Vec<_>>()), (admin, after)));
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    Ok(Sse::new(futures_util::StreamExt::flatten(seconds)).keep_alive(KeepAlive::default()).into_response())
}

async fn newest(admin: &Asked) -> Result<Option<Arc<Second>>, Wrong> {
    Ok(ask(admin.clone(), |admin| admin.seconds(0)).await?.pop())
}

#[derive(Deserialize)]
struct HistoryQuery {
    #[serde(default = "all")]
    seconds: usize,
}

fn all() -> usize {
    usize::MAX
}

async fn history(
    State(admin): State<Asked>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Response, Wrong> {
    const USAGE: &str = "Ask with ?seconds=N for the last N seconds, or without for all that are kept.";
    let HistoryQuery { seconds } = asked_with(query, USAGE)?;
    let text = ask(admin, move |admin| {
        let kept = admin.seconds(0);
        let last: Vec<&Second> = kept.iter().skip(kept.len().saturating_sub(seconds)).map(|second| &**second).collect();
        serde_json::to_string(&last)
    })
    .await?;
    match text {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response()),
        Err(_) => Err(wrong(StatusCode::INTERNAL_SERVER_ERROR, "The history cannot be written down.")),
    }
}

#[derive(Deserialize)]
struct DaysQuery {
    #[serde(default = "a_month")]
    days: u32,
}

fn a_month() -> u32 {
    31
}

async fn days(State(admin): State<Asked>, query: Result<Query<DaysQuery>, QueryRejection>) -> Result<Response, Wrong> {
    let DaysQuery { days } = asked_with(query, "Ask with ?days=N for the last N days, or without for a month.")?;
    match ask(admin, move |admin| admin.days(days)).await? {
        Ok(days) => Ok(Json(days).into_response()),
        Err(error) => Err(wrong(StatusCode::SERVICE_UNAVAILABLE, format!("The days cannot be read: {error}"))),
    }
}

#[derive(Deserialize)]
struct JourneysQuery {
    stage: String,
    #[serde(default)]
    from_ms: i64,
    #[serde(default = "for_ever")]
    to_ms: i64,
    #[serde(default)]
    wait_at_least_us: f64,
    #[serde(default)]
    service_at_least_us: f64,
}

fn for_ever() -> i64 {
    i64::MAX
}

async fn journeys(
    State(admin): State<Asked>,
    query: Result<Query<JourneysQuery>, QueryRejection>,
) -> Result<Response, Wrong> {
    const USAGE: &str =
        "Ask with ?stage=NAME, and, as you like, from_ms, to_ms, wait_at_least_us and service_at_least_us.";
    let JourneysQuery { stage, from_ms, to_ms, wait_at_least_us, service_at_least_us } = asked_with(query, USAGE)?;
    let of = JourneysOf { stage: stage.clone(), from_ms, to_ms, wait_at_least_us, service_at_least_us };
    let found = ask(admin, move |admin| admin.journeys(of)).await?;
    found.map(|journeys| Json(journeys).into_response()).ok_or_else(|| unknown("stage", &stage))
}

#[derive(Deserialize)]
struct TraceQuery {
    client: Option<String>,
    app: Option<String>,
    message: Option<String>,
}

async fn trace(
    State(admin): State<Asked>,
    query: Result<Query<TraceQuery>, QueryRejection>,
) -> Result<Response, Wrong> {
    const USAGE: &str = "Ask with ?client=ID (and &app=ID where two apps have such a client) or with ?message=ID.";
    let query = asked_with(query, USAGE)?;
    let of = match (query.client.clone(), query.message.clone()) {
        (Some(client), None) => TraceOf::Client { client, app: query.app },
        (None, Some(message)) => TraceOf::Message(message),
        _ => return Err(wrong(StatusCode::BAD_REQUEST, USAGE)),
    };
    let steps = ask(admin, move |admin| admin.trace(of)).await?;
    Ok(Json(Trace { client: query.client, message: query.message, steps }).into_response())
}

/// Asked for again each time: after an update of the server the page must be the new one. No other page may hold it in a
/// frame, where a click meant for that one would change something here.
async fn served(page: Page) -> Response {
    let headers = [
        (header::CONTENT_TYPE, page.content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
    ];
    (headers, page.body).into_response()
}

async fn nothing() -> Wrong {
    wrong(
        StatusCode::NOT_FOUND,
        "There is nothing here. Paths: /readyz, /metrics, /stages, /stages/NAME, /pools, /pools/NAME, /bottleneck, /changes, /undo, \
         /config, /config/save, /config/reload, /topology, /live, /history, /days, /alerts, /alerts/silence, /journeys, /trace, /record.",
    )
}

async fn wrong_method() -> Wrong {
    wrong(StatusCode::METHOD_NOT_ALLOWED, "This path does not take that method.")
}

/// The longest body that a change may have: they are some numbers.
const MOST_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads on past the bound for a while, so that who still sends sees the answer and no reset.
pub(super) async fn whole(body: Body) -> Result<Bytes, Wrong> {
    let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, 16 * MOST_BODY)).await;
    match read {
        Ok(Ok(body)) if body.len() <= MOST_BODY => Ok(body),
        Ok(Ok(_)) => Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, too_long())),
        Ok(Err(failed)) if is_too_long(&failed) => Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, too_long())),
        Ok(Err(_)) => Err(wrong(StatusCode::BAD_REQUEST, "The body ends too soon.")),
        Err(_) => Err(wrong(StatusCode::REQUEST_TIMEOUT, "The body does not come.")),
    }
}

fn too_long() -> String {
    format!("The body is longer than {MOST_BODY} bytes.")
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<LengthLimitError>())
}

/// First whether it is JSON at all, then whether it says something: the two have statuses of their own.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    serde_json::from_slice::<IgnoredAny>(body)
        .map_err(|bad| wrong(StatusCode::BAD_REQUEST, format!("The body is no JSON: {bad}.")))?;
    // serde would take a list for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(nonsense("The body is no JSON object.".to_owned()));
    }
    serde_json::from_slice(body).map_err(|bad| nonsense(bad.to_string()))
}

fn nonsense(why: String) -> Wrong {
    wrong(StatusCode::UNPROCESSABLE_ENTITY, why)
}

fn unknown(kind: &str, name: &str) -> Wrong {
    wrong(StatusCode::NOT_FOUND, format!("There is no {kind} named {name:?}; GET /{kind}s lists them."))
}

pub(super) fn refusal(kind: &str, name: &str, refused: Refused) -> Wrong {
    match refused {
        Refused::Unknown => unknown(kind, name),
        Refused::Impossible(why) => nonsense(why),
        Refused::Conflict(why) => wrong(StatusCode::CONFLICT, why),
    }
}
