//! HTTP Basic credentials (RFC 7617) out of `Proxy-Authorization` or `Authorization`, and the challenge that asks for
//! them. Says what arrived and why it cannot be read; whether a run goes by them is the service's business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use mexe_model::Reason;
use zeroize::Zeroizing;

use crate::Credentials;

/// The challenge that goes with status 407 (`Proxy-Authenticate`) and 401 (`WWW-Authenticate`).
pub const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mexegate\", charset=\"UTF-8\"");

/// The credentials in the header `name`.
///
/// # Errors
/// [`Reason::CredentialsMissing`] without the header or with another scheme; [`Reason::CredentialsWrong`] when the
/// header is there twice, too long, not base64, or without a colon.
pub fn credentials(headers: &HeaderMap, name: &HeaderName) -> Result<Credentials, Reason> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Reason::CredentialsMissing)?;
    if values.next().is_some() {
        return Err(Reason::CredentialsWrong);
    }
    let (scheme, encoded) =
        value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or(Reason::CredentialsMissing)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Reason::CredentialsMissing);
    }
    let encoded = encoded.trim_matches(' ');
    if encoded.len() > MAX_ENCODED {
        return Err(Reason::CredentialsWrong);
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| Reason::CredentialsWrong)?);
    let mut halves = decoded.splitn(2, |b| *b == b':');
    match (halves.next(), halves.next()) {
        (Some(user), Some(password)) => Ok(Credentials::new(user, password)),
        _ => Err(Reason::CredentialsWrong),
    }
}

/// The header value that carries these credentials, marked sensitive. `None` when the user name holds a colon or the
/// two are longer than [`credentials`] would take.
pub fn value(user: &str, password: &str) -> Option<HeaderValue> {
    let joined = Zeroizing::new(format!("{user}:{password}"));
    let encoded = STANDARD.encode(joined.as_bytes());
    if user.contains(':') || encoded.len() > MAX_ENCODED {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Two fields of 255 bytes, as SOCKS5 allows, and the colon.
const MAX_ENCODED: usize = (255 + 1 + 255usize).div_ceil(3) * 4;

#[cfg(test)]
mod tests {
    use http::header::PROXY_AUTHORIZATION;

    use super::*;

    fn read(values: &[&str]) -> Result<(String, Vec<u8>), Reason> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PROXY_AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        credentials(&headers, &PROXY_AUTHORIZATION)
            .map(|c| (c.user().unwrap().to_owned(), c.password().to_vec()))
    }

    #[test]
    fn the_example_of_rfc_7617_is_read() {
        let expected = ("Aladdin".to_owned(), b"open sesame".to_vec());
        assert_eq!(read(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), Ok(expected.clone()));
        assert_eq!(read(&["bAsIc   QWxhZGRpbjpvcGVuIHNlc2FtZQ== "]), Ok(expected));
        assert_eq!(read(&["Basic dGVzdDoxMjPCow=="]).unwrap().1, "123£".as_bytes());
    }

    #[test]
    fn a_password_may_hold_colons_and_may_be_empty() {
        assert_eq!(read(&["Basic YTpiOmM="]), Ok(("a".into(), b"b:c".to_vec())));
        assert_eq!(read(&["Basic YTo="]), Ok(("a".into(), vec![])));
    }

    #[test]
    fn no_credentials_are_told_from_wrong_ones() {
        assert_eq!(read(&[]), Err(Reason::CredentialsMissing));
        assert_eq!(read(&["Bearer abc"]), Err(Reason::CredentialsMissing));
        assert_eq!(read(&["Basic"]), Err(Reason::CredentialsMissing));
        for wrong in ["Basic ", "Basic !!!!", "Basic YQ==", "Basic YTpi YTpi", "Basic YTpiY"] {
            assert_eq!(read(&[wrong]), Err(Reason::CredentialsWrong), "{wrong}");
        }
        assert_eq!(read(&["Basic YTpi", "Basic YTpi"]), Err(Reason::CredentialsWrong));
        assert_eq!(read(&[&format!("Basic {}", "YTpi".repeat(400))]), Err(Reason::CredentialsWrong));
    }

    #[test]
    fn what_is_written_is_read_back_and_marked_sensitive() {
        let value = value("weather", &"x".repeat(255)).unwrap();
        assert!(value.is_sensitive());
        assert_eq!(read(&[value.to_str().unwrap()]).unwrap().0, "weather");
        assert!(super::value("a:b", "c").is_none() && super::value("a", &"x".repeat(2000)).is_none());
    }
}
