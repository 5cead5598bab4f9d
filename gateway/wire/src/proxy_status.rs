//! How a [`Reason`] is told to an HTTP client: status, `Proxy-Status` value (RFC 9209) and problem+json body (RFC 9457).
//! Called by the HTTP ingress for every request that it does not forward, and by the control API for its errors.
//!
//! Whatever the gate refuses by decision is 403, a limit or an unwritable journal included; missing or wrong
//! credentials are 407; a request that breaks HTTP is 400. What went wrong behind the gate is 502 or 504, and 503 says
//! that the gate is on its way down and decided nothing.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE};
use http::{Response, StatusCode};
use mexe_model::Reason;
use serde::Serialize;

use crate::basic;

/// The name of the header that [`value`] goes into.
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The media type of [`body`].
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The whole answer to a proxy request that ends by `reason`. `detail` says what exactly is wrong where the reason alone
/// does not, in the gate's own words: never text that an app or a server sent.
pub fn refusal(reason: Reason, detail: Option<&str>) -> Response<Bytes> {
    let mut response = Response::new(body(reason, status(reason), detail));
    *response.status_mut() = status(reason);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PROXY_STATUS, value(reason));
    if status(reason) == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        headers.insert(PROXY_AUTHENTICATE, basic::CHALLENGE);
    }
    response
}

/// The `Proxy-Status` value: `mexegate; error=TOKEN; details="REASON"`.
pub fn value(reason: Reason) -> HeaderValue {
    let value = format!("mexegate; error={}; details=\"{}\"", error(reason), reason.code());
    // Reason codes are kebab-case and tokens are ours, so the value is always a header's.
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("mexegate; error=proxy_internal_error"))
}

/// The error token of RFC 9209, 2.3.
pub fn error(reason: Reason) -> &'static str {
    match reason {
        Reason::AddressNotPublic | Reason::OwnAddress => "destination_ip_prohibited",
        Reason::BodyTooLarge
        | Reason::HandshakeTimeout
        | Reason::PackageTooLarge
        | Reason::RequestMalformed => "http_request_error",
        Reason::GateStopping | Reason::JournalUnavailable => "proxy_internal_error",
        Reason::LimitConnections => "connection_limit_reached",
        Reason::NameUnresolvable => "dns_error",
        Reason::UpstreamMalformed => "http_protocol_error",
        Reason::UpstreamRefused => "connection_refused",
        Reason::UpstreamTimeout => "connection_timeout",
        Reason::BearerLost | Reason::UpstreamUnreachable => "destination_unavailable",
        _ => "http_request_denied",
    }
}

/// The status of a proxy request that ends by `reason`.
pub fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::BodyTooLarge | Reason::PackageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::CredentialsMissing | Reason::CredentialsWrong => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        Reason::BearerLost | Reason::GateStopping => StatusCode::SERVICE_UNAVAILABLE,
        Reason::HandshakeTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::NameUnresolvable
        | Reason::UpstreamMalformed
        | Reason::UpstreamRefused
        | Reason::UpstreamUnreachable => StatusCode::BAD_GATEWAY,
        Reason::RequestMalformed => StatusCode::BAD_REQUEST,
        Reason::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::FORBIDDEN,
    }
}

/// A problem+json document: `type`, `title`, `status`, `detail` (the reason's own help when there is none) and `reason`.
pub fn body(reason: Reason, status: StatusCode, detail: Option<&str>) -> Bytes {
    let problem = Problem {
        kind: format!("urn:mexegate:reason:{}", reason.code()),
        title: reason.says(),
        status: status.as_u16(),
        detail: detail.unwrap_or(reason.help()),
        reason,
    };
    serde_json::to_vec(&problem).map(Bytes::from).unwrap_or_default()
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9209, 2.3: the tokens that a proxy without TLS can have.
    const TOKENS: [&str; 12] = [
        "connection_limit_reached",
        "connection_refused",
        "connection_timeout",
        "destination_ip_prohibited",
        "destination_unavailable",
        "dns_error",
        "http_protocol_error",
        "http_request_denied",
        "http_request_error",
        "proxy_configuration_error",
        "proxy_internal_error",
        "proxy_loop_detected",
    ];

    #[test]
    fn a_refusal_carries_the_code_in_header_and_body() {
        let response = refusal(Reason::PermissionMissing, None);
        assert_eq!(response.status(), 403);
        let expected = "mexegate; error=http_request_denied; details=\"permission-missing\"";
        assert_eq!(response.headers()[PROXY_STATUS], expected);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key(PROXY_AUTHENTICATE));
        let body = std::str::from_utf8(response.body()).unwrap();
        let expected = "{\"type\":\"urn:mexegate:reason:permission-missing\",\
            \"title\":\"no permission of the user covers it\",\"status\":403,\
            \"detail\":\"give one with `mexegate grant`\",\"reason\":\"permission-missing\"}";
        assert_eq!(body, expected);
    }

    #[test]
    fn a_detail_takes_the_place_of_the_help_and_is_escaped() {
        let response = refusal(Reason::RequestMalformed, Some("not `CONNECT \"host\":port`"));
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), &body["status"]), (400, &400.into()));
        assert_eq!(body["detail"], "not `CONNECT \"host\":port`");
    }

    #[test]
    fn missing_and_wrong_credentials_are_challenged() {
        for reason in [Reason::CredentialsMissing, Reason::CredentialsWrong] {
            let response = refusal(reason, None);
            assert_eq!(response.status(), 407);
            assert_eq!(response.headers()[PROXY_AUTHENTICATE], "Basic realm=\"mexegate\", charset=\"UTF-8\"");
        }
    }

    #[test]
    fn every_reason_has_a_known_token_and_an_error_status() {
        for reason in Reason::ALL {
            assert!(TOKENS.contains(&error(*reason)), "{reason}");
            assert!(status(*reason).is_client_error() || status(*reason).is_server_error(), "{reason}");
            assert!(value(*reason).to_str().unwrap().ends_with(&format!("details=\"{reason}\"")));
        }
    }

    #[test]
    fn whatever_the_gate_decides_is_403_and_the_rest_has_its_own() {
        let others: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| (reason.code(), status(*reason).as_u16()))
            .filter(|(_, status)| *status != 403)
            .collect();
        assert_eq!(
            others,
            [
                ("bearer-lost", 503),
                ("body-too-large", 413),
                ("credentials-missing", 407),
                ("credentials-wrong", 407),
                ("gate-stopping", 503),
                ("handshake-timeout", 408),
                ("name-unresolvable", 502),
                ("package-too-large", 413),
                ("request-malformed", 400),
                ("upstream-malformed", 502),
                ("upstream-refused", 502),
                ("upstream-timeout", 504),
                ("upstream-unreachable", 502),
            ]
        );
    }
}
