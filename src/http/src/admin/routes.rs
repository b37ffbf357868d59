//! The admin side's paths and statuses.
//!
//! Bad JSON is 400; a body that says nonsense, or a key that does not exist, 422; a name that does not exist, 404.
//! Every question runs on a thread that may block, so that a slow one does not hold up the public side.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::LengthLimitError;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::asker::{Asking, by_address};
use super::{Admin, Change, How, PoolPatch, Refused, StagePatch, Trace, TraceOf, Wish};
use crate::json::{Named, Wrong, wrong};
use crate::metrics;

type Asked = Arc<dyn Admin>;

pub(crate) fn router(admin: Asked) -> Router {
    Router::new()
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/stages", get(stages))
        .route("/stages/{name}", get(stage).patch(change_stage))
        .route("/pools", get(pools))
        .route("/pools/{name}", get(pool).patch(change_pool))
        .route("/undo", post(undo))
        .route("/changes", get(changes))
        .route("/config", get(config))
        .route("/config/save", post(save))
        .route("/config/reload", post(reload))
        .route("/trace", get(trace))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(by_address))
        .with_state(admin)
}

/// Asks on a thread that may block; a panic there is an answer too.
async fn ask<T: Send + 'static>(
    admin: Asked,
    question: impl FnOnce(&dyn Admin) -> T + Send + 'static,
) -> Result<T, Wrong> {
    tokio::task::spawn_blocking(move || question(&*admin)).await.map_err(|failed| {
        log::error!("an admin request failed: {failed}");
        wrong(StatusCode::INTERNAL_SERVER_ERROR, "The request failed inside; the server's log has the reason.")
    })
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

async fn config(State(admin): State<Asked>) -> Result<Response, Wrong> {
    let text = ask(admin, |admin| admin.config()).await?;
    Ok(([(header::CONTENT_TYPE, "application/toml; charset=utf-8")], text).into_response())
}

async fn save(State(admin): State<Asked>, Asking(how): Asking) -> Result<Response, Wrong> {
    let saved = ask(admin, move |admin| admin.save(how)).await?;
    saved.map(|saved| Json(saved).into_response()).map_err(|refused| refusal("file", "", refused))
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
    let Ok(Query(query)) = query else { return Err(wrong(StatusCode::BAD_REQUEST, USAGE)) };
    let of = match (query.client.clone(), query.message.clone()) {
        (Some(client), None) => TraceOf::Client { client, app: query.app },
        (None, Some(message)) => TraceOf::Message(message),
        _ => return Err(wrong(StatusCode::BAD_REQUEST, USAGE)),
    };
    let steps = ask(admin, move |admin| admin.trace(of)).await?;
    Ok(Json(Trace { client: query.client, message: query.message, steps }).into_response())
}

async fn nothing() -> Wrong {
    wrong(
        StatusCode::NOT_FOUND,
        "There is nothing here. Paths: /readyz, /metrics, /stages, /stages/NAME, /pools, /pools/NAME, /changes, /undo, /config, \
         /config/save, /config/reload, /trace.",
    )
}

async fn wrong_method() -> Wrong {
    wrong(StatusCode::METHOD_NOT_ALLOWED, "This path does not take that method.")
}

/// The longest body that a change may have: they are some numbers.
const MOST_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads on past the bound for a while, so that who still sends sees the answer and no reset.
async fn whole(body: Body) -> Result<Bytes, Wrong> {
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
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
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

fn refusal(kind: &str, name: &str, refused: Refused) -> Wrong {
    match refused {
        Refused::Unknown => unknown(kind, name),
        Refused::Impossible(why) => nonsense(why),
        Refused::Conflict(why) => wrong(StatusCode::CONFLICT, why),
    }
}
