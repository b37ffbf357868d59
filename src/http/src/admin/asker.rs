//! Who asks the admin side, and whether it may.
//!
//! Owns what browsers must be kept from, and the name under which a change is remembered. A browser sends a token that it
//! was told once to whatever asks in its name, so that tokens do not make this superfluous.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use serde::Deserialize;

use super::How;
use super::access::{Access, User};
use crate::json::{Wrong, wrong};

/// A page in a browser on this machine may reach us under its own name, which its owner lets resolve to loopback, and
/// would then pass as ours. So we are asked by address or as `localhost`; HTTP/1.0 without a host is no browser's. Where
/// tokens are wanted we may have any name: a browser sends a token to the name only that it was told for.
pub(super) async fn from_here(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if !is_from_here(request.headers()) || !is_fetched_from_here(request.method(), request.headers()) {
        let words = "A page of another origin must not ask the admin side.";
        return wrong(StatusCode::FORBIDDEN, words).into_response();
    }
    if access.asks() || is_by_address(request.headers()) {
        return next.run(request).await;
    }
    let words = "Ask the admin side by its IP address or as localhost: behind a proxy, let that set the Host header.";
    wrong(StatusCode::MISDIRECTED_REQUEST, words).into_response()
}

/// Browsers send a POST without a body for any page, and say for which: ours is of the very host that is asked.
fn is_from_here(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let of = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    of.is_some() && of == headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

/// What newer browsers say of each request: whether the page that it is for is of our origin. Of others only a link may
/// lead here, in a window of its own.
fn is_fetched_from_here(method: &Method, headers: &HeaderMap) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let link = method == Method::GET
        && said("sec-fetch-mode") == Some(b"navigate".as_slice())
        && said("sec-fetch-dest") == Some(b"document".as_slice());
    matches!(said("sec-fetch-site"), None | Some(b"same-origin" | b"none")) || link
}

fn is_by_address(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return true };
    let Some(name) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = name.host().trim_matches(['[', ']']);
    hosts.next().is_none() && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

/// The header in which who changes something says its name.
const BY: &str = "tidegate-by";
/// The longest name that is kept, in characters.
const MOST_NAME: usize = 80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HowQuery {
    #[serde(default)]
    dry_run: bool,
}

/// How a change is asked for.
pub(super) struct Asking(pub How);

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Wrong> {
        const USAGE: &str =
            "A change takes ?dry_run=true, which only says what would come of it, and nothing else there.";
        let query = Query::<HowQuery>::from_request_parts(parts, state).await;
        let Ok(Query(HowQuery { dry_run })) = query else { return Err(wrong(StatusCode::BAD_REQUEST, USAGE)) };
        Ok(Asking(How { by: name_of(parts), dry_run }))
    }
}

/// Who asks for something that is no change.
pub(super) struct By(pub String);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(By(name_of(parts)))
    }
}

/// The names that were said, and the address.
fn name_of(parts: &Parts) -> String {
    let said = parts.headers.get(BY).and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
    let user = parts.extensions.get::<User>().map(|user| user.0.as_str());
    let names: Vec<String> = user.into_iter().chain(said).map(tidy).filter(|name| !name.is_empty()).collect();
    let from = parts.extensions.get::<AdminPeer>().map(|peer| format!("from {}", peer.0));
    let by: Vec<String> = Some(names.join(", ")).filter(|names| !names.is_empty()).into_iter().chain(from).collect();
    by.join(" ")
}

/// Fit for a log.
fn tidy(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MOST_NAME).collect();
    name.trim().to_owned()
}

/// Where a request to the admin side comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdminPeer(pub(super) SocketAddr);

/// The routes for one connection.
pub(crate) fn for_peer(routes: Router, peer: SocketAddr) -> Router {
    routes.layer(Extension(AdminPeer(peer)))
}
