//! Where the operator sends events: one path over HTTPS, with the proof that was given along with the session. An event is
//! not believed, it is a reason to look at the session it names; so one that comes twice does no harm. Bounded: few
//! connections at a time, small bodies, ten seconds each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{Shared, messages};
use crate::apps;
use crate::config::{Guard, MAX_LIST, MAX_SECRET, SinkSettings};

/// Closed when dropped.
#[derive(Debug)]
pub(super) struct Sink(JoinHandle<()>);

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens the sink, where there is one to be; from then on sessions are asked for with it.
///
/// # Errors
/// Why it cannot be opened, in one line.
pub(super) async fn open(shared: &Arc<Shared>) -> Result<Option<Sink>, String> {
    let Some(settings) = &shared.settings.sink else { return Ok(None) };
    let tls = tls(settings, &shared.settings.guard)?;
    let listener =
        TcpListener::bind(settings.listen).await.map_err(|error| format!("{}: {error}", settings.listen))?;
    let mut secret = Zeroizing::new([0_u8; 32]);
    rand::fill(secret.as_mut_slice()).map_err(|_| "there are no random bytes".to_owned())?;
    let proof = Arc::new(Zeroizing::new(apps::hex(secret.as_slice())));
    *shared.proof.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Arc::clone(&proof));
    let path = settings.url.parse::<http::Uri>().map(|uri| uri.path().to_owned()).unwrap_or_default();
    let task = tokio::spawn(serve(listener, tls, Arc::new(Door { shared: Arc::clone(shared), proof, path })));
    Ok(Some(Sink(task)))
}

fn tls(settings: &SinkSettings, guard: &Guard) -> Result<TlsAcceptor, String> {
    let chain = guard.read(&settings.certificate, MAX_LIST).map_err(|error| error.to_string())?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("`{}`: {error}", settings.certificate.display()))?;
    let key = guard.secret(&settings.key, MAX_SECRET).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| format!("`{}` holds no key", settings.key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("`{}`: {error}", settings.certificate.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Door {
    shared: Arc<Shared>,
    proof: Arc<Zeroizing<String>>,
    path: String,
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, door: Arc<Door>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // A flood waits in the kernel.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, door) = (tls.clone(), Arc::clone(&door));
        tokio::spawn(async move {
            let _ = timeout(WHOLE, converse(stream, tls, door)).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, tls: TlsAcceptor, door: Arc<Door>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let answer = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move {
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = door.take(request).await;
            Ok::<_, Infallible>(response)
        }
    });
    // Whoever breaks off is no fault of ours.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

impl Door {
    async fn take(&self, request: Request<Incoming>) -> StatusCode {
        if request.uri().path().trim_end_matches('/') != self.path.trim_end_matches('/') {
            return StatusCode::NOT_FOUND;
        }
        if request.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let shown = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let token = shown.and_then(|shown| shown.split_at_checked(BEARER.len()));
        let is_proof = token.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case(BEARER) && bool::from(token.ct_eq(self.proof.as_bytes()))
        });
        if !is_proof {
            return StatusCode::UNAUTHORIZED;
        }
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/cloudevents+json") {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE;
        }
        let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
            return StatusCode::PAYLOAD_TOO_LARGE;
        };
        let Ok((id, end)) = messages::event(&body.to_bytes()) else { return StatusCode::BAD_REQUEST };
        let mut known = self.shared.known();
        // Of one that is not ours, or not ours any more, there is nothing to look at; that is no fault of the operator's.
        if known.has(&id) {
            known.told.insert(id, end);
            drop(known);
            self.shared.news.send_modify(|count| *count = count.wrapping_add(1));
        }
        StatusCode::NO_CONTENT
    }
}

const BEARER: &[u8] = b"Bearer ";
/// So many connections at once.
const AT_ONCE: usize = 16;
/// For all of a connection.
const WHOLE: Duration = Duration::from_secs(10);
/// The head of an event is never larger, bytes.
const HEAD: usize = 16 << 10;
/// Nor is the event.
const MAX_BODY: usize = 16 << 10;
