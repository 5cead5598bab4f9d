//! The operator's API as a set of questions, each answered with what it means or with a fault that has a name. A token that
//! was refused is renewed once; a server that has had enough is not asked again before its time. Called by `sessions` and by
//! the watch over them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use mexe_qos::NetworkProfile;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::http::{Answer, Http, Question, Unanswered};
use super::messages::{self, ApiId, Flow, Info, Told};
use super::token::Tokens;
use crate::bearer::{NegotiationFault, Why};
use crate::config::CamaraSettings;

/// The API of one operator.
#[derive(Debug)]
pub(super) struct Api {
    settings: CamaraSettings,
    http: Http,
    tokens: Tokens,
    /// When it may be asked again.
    pause: Mutex<Backoff<()>>,
}

/// A question came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No token is to be had.
    Token(Why),
    /// No answer came.
    Unanswered(Unanswered),
    /// It has had enough for now.
    Paused(Duration, &'static str),
    /// It said no: the status and, where it is one, the code.
    Refused(u16, String),
    /// The answer makes no sense; whose session it may be about.
    Nonsense(&'static str, Option<ApiId>),
}

impl Fault {
    /// Whether the server may have done what it was asked to, without our knowing.
    pub(super) const fn may_be_done(&self) -> bool {
        match self {
            Self::Unanswered(unanswered) => unanswered.may_be_done(),
            Self::Nonsense(..) => true,
            Self::Refused(status, _) => *status >= 500,
            Self::Token(_) | Self::Paused(..) => false,
        }
    }

    /// As the reason why a bearer is down.
    pub(super) fn why(&self) -> Why {
        let code = match self {
            Self::Token(why) => return why.clone(),
            Self::Unanswered(Unanswered::Unreachable(_) | Unanswered::Broke) => "api-unreachable",
            Self::Unanswered(Unanswered::Untrusted(_)) => "api-untrusted",
            Self::Unanswered(Unanswered::Silent) => "api-silent",
            Self::Unanswered(Unanswered::TooLarge) | Self::Nonsense(..) => "api-nonsense",
            Self::Paused(..) => "api-busy",
            Self::Refused(status, _) => match status {
                401 => "not-authenticated",
                403 => "not-permitted",
                404 => "api-missing",
                429 => "api-busy",
                500.. => "api-failed",
                _ => "api-refused",
            },
        };
        Why::new(code, self.says())
    }

    /// As the reason why a negotiation came to nothing.
    pub(super) fn negotiation(self) -> NegotiationFault {
        let says = self.says();
        match &self {
            Self::Token(why) if why.code == "token-unreachable" => NegotiationFault::Failed(says),
            Self::Token(_) => NegotiationFault::NotPermitted(says),
            Self::Unanswered(Unanswered::Silent) => NegotiationFault::Silent(says),
            Self::Unanswered(Unanswered::TooLarge) | Self::Nonsense(..) => NegotiationFault::Nonsense(says),
            Self::Unanswered(_) => NegotiationFault::Failed(says),
            Self::Paused(..) => NegotiationFault::Busy(says),
            Self::Refused(status, code) => match (*status, code.as_str()) {
                (401 | 403, _) | (404, "IDENTIFIER_NOT_FOUND") => NegotiationFault::NotPermitted(says),
                (400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE" | "OUT_OF_RANGE") => {
                    NegotiationFault::NotAccepted(says)
                }
                (409 | 429, _) => NegotiationFault::Busy(says),
                (422, "MISSING_IDENTIFIER" | "UNSUPPORTED_IDENTIFIER" | "UNNECESSARY_IDENTIFIER")
                | (501, _) => NegotiationFault::NotSupported(says),
                (422, _) => NegotiationFault::NotAccepted(says),
                _ => NegotiationFault::Failed(says),
            },
        }
    }

    /// For a person, one line. Nothing of it is what the server wrote, but for codes.
    fn says(&self) -> String {
        match self {
            Self::Token(why) => why.says.clone(),
            Self::Unanswered(Unanswered::Unreachable(says)) => {
                format!("the operator's API cannot be reached: {says}")
            }
            Self::Unanswered(Unanswered::Untrusted(says)) => {
                format!("the operator's API is not who it should be: {says}; see `roots`")
            }
            Self::Unanswered(Unanswered::Broke) => "the connection to the operator's API broke".to_owned(),
            Self::Unanswered(Unanswered::Silent) => "the operator's API does not answer in time".to_owned(),
            Self::Unanswered(Unanswered::TooLarge) => "the operator's API answers with too much".to_owned(),
            Self::Paused(left, why) => {
                format!("{why}: the operator's API is left alone for {} s", left.as_secs().saturating_add(1))
            }
            Self::Refused(status, code) if code.is_empty() => format!("the operator's API answered {status}"),
            Self::Refused(status, code) => {
                format!("the operator's API answered {status} {code}{}", help(code))
            }
            Self::Nonsense(says, _) => format!("the operator's API: {says}"),
        }
    }
}

const fn help(code: &str) -> &'static str {
    match code.as_bytes() {
        b"MISSING_IDENTIFIER" => ": write which device it is, as in `phone_number`",
        b"UNNECESSARY_IDENTIFIER" => ": the token names the device, leave it out",
        b"UNSUPPORTED_IDENTIFIER" | b"IDENTIFIER_NOT_FOUND" => ": it knows the device by another name",
        _ => "",
    }
}

impl Api {
    pub(super) fn new(settings: CamaraSettings) -> Self {
        let (guard, pace) = (settings.guard, settings.pace);
        Self {
            http: Http::new(settings.roots.clone(), guard, pace.answer),
            tokens: Tokens::new(settings.credential.clone(), guard, pace.token),
            pause: Mutex::default(),
            settings,
        }
    }

    /// The profiles that sessions of this device can have.
    pub(super) async fn profiles(&self) -> Result<Vec<NetworkProfile>, Fault> {
        let asked = messages::about(&self.settings.device);
        let answer =
            self.ask(Method::POST, "/qos-profiles/v1/retrieve-qos-profiles", Some(asked), 200).await?;
        messages::profiles(&answer.body).map_err(|says| Fault::Nonsense(says, None))
    }

    /// Asks for a session.
    pub(super) async fn create(
        &self,
        flow: Flow,
        profile: &str,
        seconds: u32,
        told: Option<&Told<'_>>,
    ) -> Result<Info, Fault> {
        let asked = messages::create(&self.settings.device, flow, profile, seconds, told);
        let answer = self.ask(Method::POST, "/quality-on-demand/v1/sessions", Some(asked), 201).await?;
        messages::session(&answer.body, flow, profile, None)
            .map_err(|says| Fault::Nonsense(says, messages::id_in(&answer.body)))
    }

    /// How a session is.
    pub(super) async fn look(&self, id: &ApiId, flow: Flow, profile: &str) -> Result<Info, Fault> {
        let answer = self.ask(Method::GET, &session_path(id), None, 200).await?;
        messages::session(&answer.body, flow, profile, Some(id)).map_err(|says| Fault::Nonsense(says, None))
    }

    /// Asks for more time; how long the session is in all afterwards.
    pub(super) async fn extend(
        &self,
        id: &ApiId,
        flow: Flow,
        profile: &str,
        by: Duration,
    ) -> Result<Info, Fault> {
        let asked = json!({ "requestedAdditionalDuration": by.as_secs().max(1) });
        let path = format!("{}/extend", session_path(id));
        let answer = self.ask(Method::POST, &path, Some(asked), 200).await?;
        messages::session(&answer.body, flow, profile, Some(id)).map_err(|says| Fault::Nonsense(says, None))
    }

    /// Gives a session back. One that is not there any more is no fault.
    pub(super) async fn delete(&self, id: &ApiId) -> Result<(), Fault> {
        match self.ask(Method::DELETE, &session_path(id), None, 204).await {
            Ok(_) | Err(Fault::Refused(404 | 410, _)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// The sessions of this device that are for these packets.
    pub(super) async fn sessions_for(&self, flow: Flow) -> Result<Vec<ApiId>, Fault> {
        let asked = messages::about(&self.settings.device);
        let answer =
            self.ask(Method::POST, "/quality-on-demand/v1/retrieve-sessions", Some(asked), 200).await?;
        Ok(messages::sessions_for(&answer.body, flow))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>, good: u16) -> Result<Answer, Fault> {
        if let Some((left, why)) = self.paused().blocked(&(), Instant::now()) {
            return Err(Fault::Paused(left, why));
        }
        let mut worn = None;
        loop {
            let header = self.tokens.header(&self.http, worn.as_ref()).await.map_err(Fault::Token)?;
            let question = Question {
                method: method.clone(),
                url: &format!("{}{path}", self.settings.url),
                authorization: header.clone(),
                body: body.as_ref().map(|body| ("application/json", body.to_string().into_bytes())),
            };
            let answer = self.http.ask(question).await.map_err(Fault::Unanswered)?;
            let status = answer.status.as_u16();
            if status == good {
                return Ok(answer);
            }
            // It may have ended earlier than was said: once more with another one.
            if status == 401 && worn.is_none() && self.tokens.renew() {
                worn = Some(header);
                continue;
            }
            if matches!(status, 429 | 503) {
                let lasts = answer.retry_after.unwrap_or(self.settings.pace.busy);
                let lasts = lasts.clamp(Duration::from_secs(1), LONGEST_PAUSE);
                let why = if status == 429 { "too-many-requests" } else { "out-of-service" };
                self.paused().block((), Instant::now(), lasts, why);
            }
            if answer.status.is_success() {
                return Err(Fault::Nonsense("its answer has another status than it should", None));
            }
            return Err(Fault::Refused(status, messages::error_code(&answer.body).unwrap_or_default()));
        }
    }

    fn paused(&self) -> std::sync::MutexGuard<'_, Backoff<()>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session_path(id: &ApiId) -> String {
    format!("/quality-on-demand/v1/sessions/{id}")
}

/// A server that wants to be left alone for longer is asked again then.
const LONGEST_PAUSE: Duration = Duration::from_secs(360);

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = include_str!("../../../../../docs/bearers.md");

    #[test]
    fn every_answer_that_is_no_has_a_named_reason() {
        for (status, code, negotiation, why) in [
            (400, "INVALID_ARGUMENT", "failed", "api-refused"),
            (400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE", "not-accepted", "api-refused"),
            (401, "UNAUTHENTICATED", "not-permitted", "not-authenticated"),
            (403, "PERMISSION_DENIED", "not-permitted", "not-permitted"),
            (404, "NOT_FOUND", "failed", "api-missing"),
            (404, "IDENTIFIER_NOT_FOUND", "not-permitted", "api-missing"),
            (409, "CONFLICT", "busy", "api-refused"),
            (422, "SERVICE_NOT_APPLICABLE", "not-accepted", "api-refused"),
            (422, "MISSING_IDENTIFIER", "not-supported", "api-refused"),
            (422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE", "not-accepted", "api-refused"),
            (429, "QUOTA_EXCEEDED", "busy", "api-busy"),
            (429, "TOO_MANY_REQUESTS", "busy", "api-busy"),
            (500, "INTERNAL", "failed", "api-failed"),
            (501, "NOT_IMPLEMENTED", "not-supported", "api-failed"),
            (503, "UNAVAILABLE", "failed", "api-failed"),
            (302, "", "failed", "api-refused"),
        ] {
            let fault = Fault::Refused(status, code.to_owned());
            assert_eq!(fault.why().code, why, "{status} {code}");
            assert!(DOCUMENTED.contains(&format!("`{why}`")), "{why} is not in docs/bearers.md");
            assert_eq!(fault.clone().negotiation().code(), negotiation, "{status} {code}");
            assert_eq!(fault.may_be_done(), status >= 500);
        }
        for (fault, negotiation, why) in [
            (Unanswered::Unreachable(String::new()), "failed", "api-unreachable"),
            (Unanswered::Untrusted(String::new()), "failed", "api-untrusted"),
            (Unanswered::Broke, "failed", "api-unreachable"),
            (Unanswered::Silent, "silent", "api-silent"),
            (Unanswered::TooLarge, "nonsense", "api-nonsense"),
        ] {
            let fault = Fault::Unanswered(fault);
            assert!(DOCUMENTED.contains(&format!("`{why}`")), "{why} is not in docs/bearers.md");
            assert_eq!((fault.why().code, fault.negotiation().code()), (why, negotiation));
        }
        let paused = Fault::Paused(Duration::from_millis(1500), "too-many-requests");
        assert_eq!(paused.why().says, "too-many-requests: the operator's API is left alone for 2 s");
    }
}
