//! The public side: the router that SDKs ask first, the embedded pages, and journeys in development.
//!
//! Owns these routes, CORS on all of them, and JSON errors for everything else. Facts: wire.md 1.3, http.md 1.3 and
//! 1.4. Must not know where journeys come from.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tower_http::cors::{Any, CorsLayer};

use crate::StartError;
use crate::json::{Named, Wrong, wrong};

/// A file that is part of the program.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Begins with `/`; compared byte for byte.
    pub path: &'static str,
    pub content_type: &'static str,
    pub body: &'static [u8],
}

/// Where a message's way through the stages is told (development mode only).
pub trait Journeys: Send + Sync {
    /// What is known of this message, as JSON; `None` when nothing is. May be called from any thread.
    fn journey(&self, message: &str) -> Option<serde_json::Value>;
}

/// What is known of a connection, for the handlers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub ip: IpAddr,
    pub tls: bool,
}

pub(crate) struct Public {
    /// The ids of the apps that are served.
    pub apps: HashSet<Box<str>>,
    /// The WebSocket address to tell; `None`: what the request itself came to.
    pub told: Option<Box<str>>,
    /// Seconds that an SDK may keep the address.
    pub ttl_s: u32,
    pub pages: HashMap<&'static str, Page>,
    pub journeys: Option<Arc<dyn Journeys>>,
}

/// How long a browser may remember that a cross-origin call is allowed.
const PREFLIGHT: Duration = Duration::from_secs(86_400);

/// Headers that browsers may send (http.md 1.2 and 1.4).
const HEADERS: &[&str] = &[
    "content-type",
    "x-lc-id",
    "x-lc-key",
    "x-lc-sign",
    "x-lc-session",
    "x-lc-prod",
    "x-lc-ua",
    "x-lc-hook-key",
    "x-lc-im-session-token",
    "x-avoscloud-application-id",
    "x-avoscloud-application-key",
    "x-avoscloud-application-production",
    "x-avoscloud-client-version",
    "x-avoscloud-master-key",
    "x-avoscloud-request-sign",
    "x-avoscloud-session-token",
    "x-avoscloud-super-key",
    "x-uluru-application-id",
    "x-uluru-application-key",
    "x-uluru-application-production",
    "x-uluru-client-version",
    "x-uluru-master-key",
    "x-uluru-session-token",
    "x-requested-with",
];

pub(crate) fn router(public: Public) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::HEAD, Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS])
        .allow_headers(HEADERS.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>())
        .max_age(PREFLIGHT);
    let mut router = Router::new().route("/v1/route", get(route)).route("/1.1/rtm/notifications", get(notifications));
    if public.journeys.is_some() {
        router = router.route("/dev/journeys/{id}", get(journey));
    }
    router.fallback(page).method_not_allowed_fallback(wrong_method).layer(cors).with_state(Arc::new(public))
}

/// `public_url` as the address of its WebSocket: `https://host` becomes `wss://host/`.
pub(crate) fn socket_url(public_url: &str) -> Result<Box<str>, StartError> {
    let refused = || StartError::PublicUrl(public_url.into());
    let uri: Uri = public_url.parse().map_err(|_| refused())?;
    let scheme = match uri.scheme_str() {
        Some("https" | "wss") => "wss",
        Some("http" | "ws") => "ws",
        _ => return Err(refused()),
    };
    let authority = uri.authority().filter(|a| !a.host().is_empty()).ok_or_else(refused)?;
    let path = uri.path();
    let slash = if path.ends_with('/') { "" } else { "/" };
    Ok(format!("{scheme}://{authority}{path}{slash}").into())
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "appId")]
    app: Option<Box<str>>,
}

async fn route(
    State(public): State<Arc<Public>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Wrong> {
    let Ok(Query(asked)) = asked else { return Err(wrong(StatusCode::BAD_REQUEST, "The query cannot be read.")) };
    let Some(app) = asked.app.filter(|app| !app.is_empty()) else {
        return Err(wrong(StatusCode::NOT_FOUND, "No app: the query needs appId."));
    };
    if !public.apps.contains(&app) {
        return Err(wrong(StatusCode::NOT_FOUND, "There is no such app on this server."));
    }
    let Some(server) = public.told.clone().or_else(|| own_address(&headers, peer.tls)) else {
        return Err(wrong(StatusCode::BAD_REQUEST, "The Host header is missing or no host."));
    };
    log::debug!("route for app {app} asked by {}: {server}", peer.ip);
    Ok(Json(json!({"server": server, "secondary": server, "ttl": public.ttl_s})).into_response())
}

#[derive(Deserialize)]
struct Missed {
    client_id: Option<String>,
    notification_type: Option<String>,
}

/// What a client missed while it was away (wire.md 3.17). Such notices are not kept yet, so the answer is that there are
/// none, in the form of whoever asks, and that what it remembers of its conversations may be out of date. It says the
/// same to everybody, so nobody's token is looked at.
async fn notifications(asked: Result<Query<Missed>, QueryRejection>) -> Result<Response, Wrong> {
    let Ok(Query(asked)) = asked else { return Err(wrong(StatusCode::BAD_REQUEST, "The query cannot be read.")) };
    if asked.client_id.is_none_or(|client| client.is_empty()) {
        return Err(wrong(StatusCode::BAD_REQUEST, "The query needs client_id."));
    }
    Ok(Json(match asked.notification_type {
        Some(_) => json!({"hasMore": false, "notifications": []}),
        None => json!({
            "permanent": {"hasMore": false, "notifications": []},
            "droppable": {"invalidLocalConvCache": true, "notifications": []},
        }),
    })
    .into_response())
}

/// Where this very request came to, as a WebSocket address.
fn own_address(headers: &HeaderMap, tls: bool) -> Option<Box<str>> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let authority: Authority = host.parse().ok()?;
    if authority.host().is_empty() || host.contains('@') {
        return None;
    }
    let scheme = if tls { "wss" } else { "ws" };
    Some(format!("{scheme}://{authority}/").into())
}

async fn journey(State(public): State<Arc<Public>>, Named(id): Named) -> Result<Response, Wrong> {
    match public.journeys.as_ref().and_then(|journeys| journeys.journey(&id)) {
        Some(journey) => Ok(Json(journey).into_response()),
        None => Err(wrong(StatusCode::NOT_FOUND, "Nothing is known of this message's journey.")),
    }
}

/// Everything that has no route: a page of ours, or nothing.
async fn page(State(public): State<Arc<Public>>, method: Method, uri: Uri, body: Body) -> Result<Response, Wrong> {
    let_through(body).await;
    let Some(page) = public.pages.get(uri.path()) else {
        return Err(wrong(StatusCode::NOT_FOUND, "There is nothing at this path."));
    };
    if method != Method::GET && method != Method::HEAD {
        return Err(not_that_method());
    }
    let headers = [
        (header::CONTENT_TYPE, page.content_type),
        // The page changes with the binary, which may be replaced at any time.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, page.body).into_response())
}

async fn wrong_method(body: Body) -> Wrong {
    let_through(body).await;
    not_that_method()
}

fn not_that_method() -> Wrong {
    wrong(StatusCode::METHOD_NOT_ALLOWED, "This path does not take that method.")
}

/// Reads a body that nobody wants, within reason: an answer before its end closes the connection, and a client that is
/// still sending may then see a reset in place of the answer.
async fn let_through(body: Body) {
    const MOST: usize = 64 * 1024;
    const PATIENCE: Duration = Duration::from_secs(5);
    tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, MOST)).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_becomes_a_socket_address() {
        for (given, told) in [
            ("https://chat.example.com", "wss://chat.example.com/"),
            ("http://10.0.0.1:7700/", "ws://10.0.0.1:7700/"),
            ("https://example.com/im", "wss://example.com/im/"),
            ("wss://[::1]:7700", "wss://[::1]:7700/"),
        ] {
            assert_eq!(&*socket_url(given).expect(given), told);
        }
        for given in ["", "example.com", "ftp://example.com", "https://", "https:///x", "/path"] {
            assert!(socket_url(given).is_err(), "{given}");
        }
    }

    #[test]
    fn only_a_real_host_is_told_back() {
        let told = |host: &str, tls| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header value"));
            own_address(&headers, tls)
        };
        assert_eq!(told("localhost:7700", false).as_deref(), Some("ws://localhost:7700/"));
        assert_eq!(told("[::1]:7700", true).as_deref(), Some("wss://[::1]:7700/"));
        for bad in ["", "a b", "user@evil.example", "host/path"] {
            assert_eq!(told(bad, false), None, "{bad}");
        }
    }
}
