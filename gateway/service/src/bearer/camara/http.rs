//! One question to a server over HTTPS and its answer: bounded in time and size, over a connection of its own, so that a
//! broken answer always belongs to one question. Redirects are not followed: a token goes where the configuration says and
//! nowhere else. Called by `api` and `token`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mexe_model::{Host, Reason};
use mexe_policy::parse_host;
use mexe_qos::{Marking, TrafficClass};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Guard, MAX_LIST};
use crate::upstream;

/// Who asks.
pub(super) struct Http {
    roots: PathBuf,
    guard: Guard,
    patience: Duration,
    tls: Mutex<Option<TlsConnector>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) authorization: HeaderValue,
    /// The body, and what it is.
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

/// What came back. It may hold a token: it is not for any log.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Nothing came back that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// There was no connection: nothing was asked.
    Unreachable(String),
    /// Its certificate leads nowhere: nothing was asked.
    Untrusted(String),
    /// The connection broke before the answer was whole.
    Broke,
    /// The answer did not come in time.
    Silent,
    /// The answer is larger than any of these can be.
    TooLarge,
}

impl Unanswered {
    /// Whether the server may have done what it was asked to.
    pub(super) const fn may_be_done(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Untrusted(_))
    }
}

impl Http {
    pub(super) const fn new(roots: PathBuf, guard: Guard, patience: Duration) -> Self {
        Self { roots, guard, patience, tls: Mutex::new(None) }
    }

    /// Asks once, within the patience for all of it.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, Unanswered> {
        // A connection that does not come is another thing than a server that says nothing.
        let uri: Uri = question.url.parse().map_err(|_| unreachable_because("its address is none"))?;
        let authority = uri.authority().ok_or_else(|| unreachable_because("its address names no host"))?;
        let is_tls = uri.scheme_str() != Some("http");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let begun = tokio::time::Instant::now();
        let connected = timeout(self.patience, self.connect(&host, port)).await;
        let stream = connected.map_err(|_| unreachable_because("no connection in time"))??;
        let left = self.patience.saturating_sub(begun.elapsed());
        let asked = async {
            if !is_tls {
                return converse(stream, &uri, question).await;
            }
            let server =
                ServerName::try_from(host).map_err(|_| unreachable_because("its host has no name"))?;
            let stream = self.tls()?.connect(server, stream).await.map_err(|error| {
                // The list of authorities may have been replaced.
                *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = None;
                match error.get_ref().and_then(|cause| cause.downcast_ref::<tokio_rustls::rustls::Error>()) {
                    Some(cause) => Unanswered::Untrusted(cause.to_string()),
                    None => Unanswered::Unreachable("the connection broke at its beginning".to_owned()),
                }
            })?;
            converse(stream, &uri, question).await
        };
        timeout(left, asked).await.unwrap_or(Err(Unanswered::Silent))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<tokio::net::TcpStream, Unanswered> {
        let because = |reason: Reason| Unanswered::Unreachable(reason.says().to_owned());
        let found = match parse_host(host).map_err(|_| unreachable_because("its host has no name"))? {
            Host::Address(address) => vec![address],
            Host::Name(name) => upstream::resolve(&name, self.patience).await.map_err(because)?,
        };
        let candidates: Vec<_> = found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        let marking = Marking::from(TrafficClass::Background);
        let connected = upstream::connect(&candidates, marking.into(), self.patience).await;
        connected.map(|connected| connected.stream).map_err(because)
    }

    /// The authorities that the server may lead to, read once, and again after a server that led to none of them.
    fn tls(&self) -> Result<TlsConnector, Unanswered> {
        let mut held = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = &*held {
            return Ok(tls.clone());
        }
        let untrusted = |why: String| Unanswered::Untrusted(why);
        let bytes = self.guard.read(&self.roots, MAX_LIST).map_err(|error| untrusted(error.to_string()))?;
        let mut authorities = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|error| untrusted(error.to_string()))?;
            // One that cannot be read keeps only itself out.
            let _ = authorities.add(certificate);
        }
        if authorities.is_empty() {
            return Err(untrusted(format!("there is no authority in `{}`", self.roots.display())));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| untrusted(error.to_string()))?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        *held = Some(tls.clone());
        Ok(tls)
    }
}

fn unreachable_because(why: &str) -> Unanswered {
    Unanswered::Unreachable(why.to_owned())
}

async fn converse<S>(stream: S, uri: &Uri, question: Question<'_>) -> Result<Answer, Unanswered>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Unanswered::Broke)?;
    // Whoever gives up waiting closes the connection too.
    let connection = Aborting(tokio::spawn(connection));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::builder()
        .method(question.method)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("mexegate/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, question.authorization);
    let mut body = Bytes::new();
    if let Some((kind, bytes)) = question.body {
        request = request.header(CONTENT_TYPE, kind);
        body = bytes.into();
    }
    let request = request.body(Full::new(body)).map_err(|_| Unanswered::Broke)?;
    let response = sender.send_request(request).await.map_err(|_| Unanswered::Broke)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { Unanswered::TooLarge } else { Unanswered::Broke }
    })?;
    drop(connection);
    let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Answer { status: head.status, retry_after: seconds.map(Duration::from_secs), body: body.to_bytes() })
}

struct Aborting(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The head of an answer is never larger, bytes.
const HEAD: usize = 32 << 10;
/// Nor is its body: a list of profiles is the largest.
const MAX_BODY: usize = 1 << 20;
