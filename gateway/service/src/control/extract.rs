//! Reading a request so that whatever is wrong with it is answered like every refusal of the API: problem+json with a
//! reason. The bodies of axum's own answers are plain text. Used by the handlers in place of axum's extractors.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use mexe_model::Reason;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A whole request body, `limits.body` at most.
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = Bytes::from_request(request, state).await;
        read.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(Reason::BodyTooLarge, "the body is larger than limits.body")
            }
            _ => Problem::malformed("the body broke off"),
        })
    }
}

/// What stands behind the `?` of the address, read strictly.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        let wrong = |text: String| Problem::malformed(format!("the query is not as expected: {text}"));
        read.map(|Query(value)| Self(value)).map_err(|rejection| wrong(rejection.body_text()))
    }
}
