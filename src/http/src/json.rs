//! Errors as JSON: `{"code":int,"error":string}` (http.md 1.3), never HTML.

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error whose code is its status, with words for people.
#[derive(Debug)]
pub(crate) struct Wrong {
    status: StatusCode,
    words: String,
}

pub(crate) fn wrong(status: StatusCode, words: impl Into<String>) -> Wrong {
    Wrong { status, words: words.into() }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"code": self.status.as_u16(), "error": self.words}))).into_response()
    }
}

/// The one name in a path, percent-decoded.
pub(crate) struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Wrong> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Named(name)),
            Err(_) => Err(wrong(StatusCode::BAD_REQUEST, "The name in the path cannot be read.")),
        }
    }
}
