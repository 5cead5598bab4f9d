//! Errors of the API: problem+json (RFC 9457) with the reason's code in `reason`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mexe_model::Reason;

/// One refusal of the API.
#[derive(Debug)]
pub struct Problem {
    reason: Reason,
    detail: String,
}

impl Problem {
    /// A refusal, and what it is about: one line for a person.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The request cannot be understood.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Reason::RequestMalformed, detail)
    }

    /// There is no such thing.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(Reason::NotFound, format!("there is no {what} `{id}`"))
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.says())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status_of(self.reason);
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.reason.says(),
            "status": status.as_u16(),
            "detail": self.detail,
            "reason": self.reason.code(),
            "help": self.reason.help(),
        });
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"mexegate\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// The HTTP status of a reason on the API. (On the proxies: `mexe_wire::proxy_status`.)
pub fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::CredentialsMissing | Reason::CredentialsWrong => StatusCode::UNAUTHORIZED,
        Reason::AppUnknown | Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::RequestMalformed | Reason::ActionUnknown | Reason::NameNotAllowed => StatusCode::BAD_REQUEST,
        Reason::BodyTooLarge | Reason::PackageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::QosNotAdmitted
        | Reason::IdTaken
        | Reason::OlderVersion
        | Reason::RunEnded
        | Reason::AppSuspended => StatusCode::CONFLICT,
        Reason::LimitConnections | Reason::LimitRate => StatusCode::TOO_MANY_REQUESTS,
        Reason::JournalUnavailable | Reason::GateStopping => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}
