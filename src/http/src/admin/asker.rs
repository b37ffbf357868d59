//! Who asks the admin side, and whether it may.
//!
//! Owns what browsers must be kept from, and the name under which a change is remembered.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use serde::Deserialize;

use super::How;
use crate::json::{Wrong, wrong};

/// A page in a browser on this machine may reach us under its own name, which its owner lets resolve to loopback, and
/// would then pass as ours. So we are asked by address or as `localhost`; HTTP/1.0 without a host is no browser's.
pub(super) async fn by_address(request: Request, next: Next) -> Response {
    if !is_from_here(request.headers()) {
        let words = "A page of another origin must not ask the admin side.";
        return wrong(StatusCode::FORBIDDEN, words).into_response();
    }
    if is_by_address(request.headers()) {
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

/// The name that was said, and the address.
fn name_of(parts: &Parts) -> String {
    let said = parts.headers.get(BY).and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
    let name: Option<String> = said.map(|name| name.chars().filter(|c| !c.is_control()).take(MOST_NAME).collect());
    let from = parts.extensions.get::<AdminPeer>().map(|peer| format!("from {}", peer.0));
    let by: Vec<String> = name.into_iter().filter(|name| !name.trim().is_empty()).chain(from).collect();
    by.join(" ")
}

/// Where a request to the admin side comes from.
#[derive(Debug, Clone, Copy)]
struct AdminPeer(SocketAddr);

/// The routes for one connection.
pub(crate) fn for_peer(routes: Router, peer: SocketAddr) -> Router {
    routes.layer(Extension(AdminPeer(peer)))
}
