//! The access token: read from a file that something else keeps fresh, or asked for with OAuth 2.0 client credentials (RFC
//! 6749, 4.4) and kept until shortly before its end. A server that gives none is left alone for a while. Secrets are wiped
//! after use and are in no message. Called by `api`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::http::{Answer, Http, Question, Unanswered};
use crate::bearer::Why;
use crate::config::{Credential, Guard, MAX_SECRET};

/// Who has it.
#[derive(Debug)]
pub(super) struct Tokens {
    credential: Credential,
    guard: Guard,
    /// Whoever gave none is not asked for so long.
    quiet: Duration,
    /// Held while one is asked for, so that several questions ask for one token.
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<(HeaderValue, Instant)>,
    refused: Option<(Why, Instant)>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// What a server answers that gives one.
#[derive(Deserialize)]
struct Given {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

impl Tokens {
    pub(super) fn new(credential: Credential, guard: Guard, quiet: Duration) -> Self {
        Self { credential, guard, quiet, held: tokio::sync::Mutex::default() }
    }

    /// Whether another token can be asked for when one is refused; one in a file is as good as it is.
    pub(super) const fn renew(&self) -> bool {
        matches!(self.credential, Credential::Client { .. })
    }

    /// The value of the header that proves who asks. `worn` is one that was refused: another is had, where there is one.
    pub(super) async fn header(&self, http: &Http, worn: Option<&HeaderValue>) -> Result<HeaderValue, Why> {
        let (url, id, secret, scope) = match &self.credential {
            Credential::Token(file) => return bearer(&self.secret(file)?),
            Credential::Client { url, id, secret, scope } => (url, id, secret, scope),
        };
        let mut held = self.held.lock().await;
        let now = Instant::now();
        match &held.token {
            Some((token, until)) if now < *until && Some(token) != worn => return Ok(token.clone()),
            _ => held.token = None,
        }
        if let Some((why, until)) = &held.refused
            && now < *until
        {
            return Err(why.clone());
        }
        let asked = async {
            let secret = self.secret(secret)?;
            let answer = http.ask(question(url, id, &secret, scope.as_deref())?).await.map_err(unanswered)?;
            read(&answer)
        };
        match asked.await {
            Ok((token, lasts)) => {
                // It ends earlier here, so that no question takes it along too late.
                let lasts = lasts.saturating_sub((lasts / 10).min(MARGIN));
                *held = Held { token: Some((token.clone(), now + lasts)), refused: None };
                Ok(token)
            }
            Err(why) => {
                held.refused = Some((why.clone(), Instant::now() + self.quiet));
                Err(why)
            }
        }
    }

    fn secret(&self, file: &std::path::Path) -> Result<Zeroizing<String>, Why> {
        let unreadable = |says: String| Why::new("token-unreadable", says);
        let bytes = self.guard.secret(file, MAX_SECRET).map_err(|error| unreadable(error.to_string()))?;
        let text = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
        if text.is_empty() || !text.bytes().all(|b| matches!(b, 0x21..=0x7e)) {
            return Err(unreadable(format!("`{}` holds no line of plain characters", file.display())));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }
}

fn question<'a>(url: &'a str, id: &str, secret: &str, scope: Option<&str>) -> Result<Question<'a>, Why> {
    let mut body = "grant_type=client_credentials".to_owned();
    if let Some(scope) = scope {
        body.push_str("&scope=");
        body.push_str(&encoded(scope));
    }
    // RFC 6749, 2.3.1: both are encoded as in a form first.
    let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let authorization = header(&basic)?;
    let body = Some(("application/x-www-form-urlencoded", body.into_bytes()));
    Ok(Question { method: Method::POST, url, authorization, body })
}

fn unanswered(unanswered: Unanswered) -> Why {
    let (code, says) = match unanswered {
        Unanswered::Unreachable(says) => ("token-unreachable", says),
        Unanswered::Untrusted(says) => ("token-unreachable", says),
        Unanswered::Broke => ("token-unreachable", "the connection broke".to_owned()),
        Unanswered::Silent => ("token-unreachable", "no answer in time".to_owned()),
        Unanswered::TooLarge => ("token-nonsense", "the answer is too large".to_owned()),
    };
    Why::new(code, format!("the server of tokens: {says}"))
}

fn read(answer: &Answer) -> Result<(HeaderValue, Duration), Why> {
    let status = answer.status.as_u16();
    match status {
        200 => {}
        400..=499 => {
            return Err(Why::new(
                "token-refused",
                format!("the server of tokens answered {status}: see to `client_id` and the secret"),
            ));
        }
        _ => return Err(Why::new("token-unreachable", format!("the server of tokens answered {status}"))),
    }
    let nonsense = |says: &str| Why::new("token-nonsense", format!("the server of tokens: {says}"));
    let given: Given =
        serde_json::from_slice(&answer.body).map_err(|_| nonsense("its answer is no token"))?;
    if !given.token_type.eq_ignore_ascii_case("bearer") {
        return Err(nonsense("it gives another kind of token than bearer"));
    }
    let lasts = Duration::from_secs(given.expires_in.unwrap_or(USUAL).clamp(1, LONGEST));
    let token =
        bearer(&Zeroizing::new(given.access_token)).map_err(|_| nonsense("its token cannot be sent"))?;
    Ok((token, lasts))
}

fn bearer(token: &str) -> Result<HeaderValue, Why> {
    header(&Zeroizing::new(format!("Bearer {token}")))
}

fn header(text: &str) -> Result<HeaderValue, Why> {
    let odd = |_| Why::new("token-unreadable", "the secret holds a character that cannot be sent");
    let mut value = HeaderValue::from_str(text).map_err(odd)?;
    value.set_sensitive(true);
    Ok(value)
}

/// As in a form (application/x-www-form-urlencoded).
fn encoded(text: &str) -> String {
    let mut shown = String::new();
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => shown.push(b.into()),
            b' ' => shown.push('+'),
            b => shown.push_str(&format!("%{b:02X}")),
        }
    }
    shown
}

/// A token is not used in the last of its time.
const MARGIN: Duration = Duration::from_secs(60);
/// Where the server does not say, seconds.
const USUAL: u64 = 300;
const LONGEST: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn the_pair_of_client_and_secret_is_encoded_before_it_is_sent() {
        let asked = question("https://a/token", "my app", "s:e+c", Some("qos-profiles:read x")).unwrap();
        assert_eq!(asked.authorization, format!("Basic {}", STANDARD.encode("my+app:s%3Ae%2Bc")));
        assert!(asked.authorization.is_sensitive());
        let (_, body) = asked.body.unwrap();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "grant_type=client_credentials&scope=qos-profiles%3Aread+x"
        );
    }

    #[test]
    fn what_is_no_token_is_named_and_not_repeated() {
        let (token, lasts) =
            read(&answer(200, r#"{"access_token":"abc","token_type":"Bearer","expires_in":0}"#)).unwrap();
        assert_eq!((token, lasts), (HeaderValue::from_static("Bearer abc"), Duration::from_secs(1)));
        for (status, body, code) in [
            (200, r#"{"access_token":"abc","token_type":"mac"}"#, "token-nonsense"),
            (200, r#"{"access_token":"a\nb","token_type":"bearer"}"#, "token-nonsense"),
            (200, "<html>secret</html>", "token-nonsense"),
            (400, r#"{"error":"invalid_client secret"}"#, "token-refused"),
            (401, "", "token-refused"),
            (302, "", "token-unreachable"),
            (500, "", "token-unreachable"),
        ] {
            let why = read(&answer(status, body)).unwrap_err();
            assert_eq!(why.code, code, "{body}");
            assert!(!why.says.contains("secret") || code == "token-refused", "{}", why.says);
            assert!(!why.says.contains("invalid_client"), "{}", why.says);
        }
    }
}
