//! The HTTP door: CONNECT makes a tunnel, an absolute-form request is forwarded. Every request on a kept-alive connection
//! names its run and is decided by itself (S9).

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use mexe_model::Reason;
use mexe_wire::forward::Malformed;
use mexe_wire::priority::priority;
use mexe_wire::{basic, proxy_status};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::client::SharedStream;
use super::watched::{Doubted, Watched};
use super::{endpoint, forward, turn_away};
use crate::clock;
use crate::flow::{self, Flow};
use crate::gate::Gate;
use crate::observe::metrics::Ingress;
use crate::permits::Place;
use crate::qos::Wish;
use crate::runs::Run;
use crate::strangers::Stranger;

/// The body of an answer: ours, or the origin's on its way through.
pub(super) type AnswerBody = BoxBody<Bytes, forward::BrokenOff>;

/// The largest head of a request; more is answered 431 by hyper.
const LARGEST_HEAD: usize = 64 * 1024;

/// One connection of an app, for as long as it is kept alive.
pub(super) struct Connection {
    /// The gate.
    pub gate: Arc<Gate>,
    /// A share of the app's socket, for whoever has to cut it; given up when the connection becomes a tunnel.
    client: Mutex<Option<SharedStream>>,
    /// Cancelled to close the connection at once.
    pub cut: CancellationToken,
    /// What the connection is counted as: a stranger, then a place of the run that authenticated first.
    standing: Mutex<Standing>,
    /// How many requests were answered or begun.
    requests: AtomicU64,
    /// From where on the requests cannot be told apart for certain.
    doubted: Doubted,
}

enum Standing {
    Stranger(#[expect(dead_code, reason = "held for what dropping it gives back")] Stranger),
    Placed(Place),
    Tunnel,
}

/// Serves one connection.
pub(super) async fn serve(gate: Arc<Gate>, client: TcpStream, permit: Stranger) {
    let leave = permit.leave();
    let client = SharedStream::new(client);
    let connection = Arc::new(Connection {
        client: Mutex::new(Some(client.clone())),
        cut: CancellationToken::new(),
        standing: Mutex::new(Standing::Stranger(permit)),
        requests: AtomicU64::new(0),
        doubted: Doubted::default(),
        gate: Arc::clone(&gate),
    });
    let watched = Watched::new(client, Arc::clone(&connection.doubted));
    let handled = Arc::clone(&connection);
    let service = service_fn(move |request| {
        let connection = Arc::clone(&handled);
        async move { Ok::<_, Infallible>(Box::pin(answer(connection, request)).await) }
    });
    let mut serving = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(gate.config().limits.handshake)
            .max_buf_size(LARGEST_HEAD)
            .half_close(false)
            .serve_connection(TokioIo::new(watched), service)
            .with_upgrades()
    );
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            () = connection.cut.cancelled() => {
                connection.reset_on_close();
                return;
            }
            ended = serving.as_mut() => {
                let reason = match ended {
                    Err(error) if error.is_parse() => Reason::RequestMalformed,
                    // Of somebody who is known already, it is only the end of a connection that was kept alive.
                    Err(error) if error.is_timeout() && connection.is_stranger() => Reason::HandshakeTimeout,
                    // An answer broke off. Where its end is that of the connection, it must not look whole.
                    Err(error) if error.is_user() => return connection.reset_on_close(),
                    _ => return,
                };
                return turn_away(&gate, Ingress::HttpForward, None, reason).await;
            }
            () = leave.cancelled() => {
                return turn_away(&gate, Ingress::HttpForward, None, Reason::LimitConnections).await;
            }
            () = gate.stopped(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Response<AnswerBody> {
    let is_tunnel = request.method() == Method::CONNECT;
    let door = if is_tunnel { Ingress::HttpConnect } else { Ingress::HttpForward };
    let sound = connection.next_request();
    let who = who(&connection.gate, request.headers());
    if let Err(malformed) = sound {
        let run = who.as_ref().ok().map(|run| &**run);
        turn_away(&connection.gate, door, run, malformed.reason()).await;
        return refusal_and_close(malformed.reason(), &malformed.to_string());
    }
    let run = match who {
        Ok(run) => run,
        Err(reason) => {
            turn_away(&connection.gate, door, None, reason).await;
            return refusal(reason, None);
        }
    };
    let place = connection.take_place(&run, is_tunnel);
    if is_tunnel {
        tunnel(&connection, &run, place, request).await
    } else {
        forward::forward(&connection, &run, place, request).await
    }
}

fn who(gate: &Gate, headers: &HeaderMap) -> Result<Arc<Run>, Reason> {
    let credentials = basic::credentials(headers, &header::PROXY_AUTHORIZATION)?;
    let user = credentials.user().ok_or(Reason::CredentialsWrong)?;
    let token = std::str::from_utf8(credentials.password()).map_err(|_| Reason::CredentialsWrong)?;
    gate.runs.authenticate(user, token, clock::now())
}

impl Connection {
    /// The app's socket will throw away what it has not sent yet.
    fn reset_on_close(&self) {
        if let Some(client) = &*self.client.lock().unwrap_or_else(PoisonError::into_inner) {
            client.reset_on_close();
        }
    }

    /// Counts a request; an error when the raw bytes leave a doubt where it begins or ends.
    fn next_request(&self) -> Result<(), Malformed> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        match self.doubted.get() {
            Some(doubt) if number >= doubt.request => Err(doubt.why),
            _ => Ok(()),
        }
    }

    fn is_stranger(&self) -> bool {
        matches!(&*self.standing.lock().unwrap_or_else(PoisonError::into_inner), Standing::Stranger(_))
    }

    /// Counts the connection as the run's instead of a stranger's. A tunnel gets the place; for forward requests the
    /// connection keeps it, since it is the connection that holds the file. `Ok(None)`: the connection has one already.
    fn take_place(&self, run: &Arc<Run>, for_tunnel: bool) -> Result<Option<Place>, Reason> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if for_tunnel {
            // Whatever it was, it is the tunnel's connection from now on.
            let place = match std::mem::replace(&mut *standing, Standing::Tunnel) {
                Standing::Placed(place) if place.is_of(run) => place,
                stranger @ Standing::Stranger(_) => match self.gate.permits.flow(run) {
                    Ok(place) => place,
                    Err(reason) => {
                        *standing = stranger;
                        return Err(reason);
                    }
                },
                _ => self.gate.permits.flow(run)?,
            };
            return Ok(Some(place));
        }
        if !matches!(&*standing, Standing::Placed(place) if place.is_of(run)) {
            *standing = Standing::Placed(self.gate.permits.flow(run)?);
        }
        Ok(None)
    }
}

async fn tunnel(
    connection: &Arc<Connection>,
    run: &Arc<Run>,
    place: Result<Option<Place>, Reason>,
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let target = match mexe_wire::forward::connect(&head) {
        Ok(target) => target,
        Err(malformed) => {
            turn_away(&connection.gate, Ingress::HttpConnect, Some(run), malformed.reason()).await;
            return refusal_and_close(malformed.reason(), &malformed.to_string());
        }
    };
    let endpoint = match endpoint(&target) {
        Ok(endpoint) => endpoint,
        Err(reason) => {
            turn_away(&connection.gate, Ingress::HttpConnect, Some(run), reason).await;
            return refusal(reason, None);
        }
    };
    let wish = match wish(&connection.gate, run, &head.headers) {
        Ok(wish) => wish,
        Err(reason) => {
            turn_away(&connection.gate, Ingress::HttpConnect, Some(run), reason).await;
            return refusal(reason, Some(NO_STREAM));
        }
    };
    match flow::open(&connection.gate, run, endpoint, Ingress::HttpConnect, place, wish).await {
        Ok(flow) => {
            connection.client.lock().unwrap_or_else(PoisonError::into_inner).take();
            connection.gate.spawn(carry(flow, upgrade));
            Response::new(Empty::new().map_err(|never| match never {}).boxed())
        }
        Err(refused) => refusal(refused.reason, None),
    }
}

/// What is said to whoever names none.
pub(super) const NO_STREAM: &str = "MExE-Stream names no stream of this run";

/// What a request says about its quality: its stream, by id or name, else how urgent it is.
pub(super) fn wish(gate: &Gate, run: &Run, headers: &HeaderMap) -> Result<Wish, Reason> {
    let mut named = headers.get_all("mexe-stream").iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(priority(headers).map_or(Wish::Usual, Wish::Priority)),
        (Some(name), None) => {
            let name = name.to_str().map_err(|_| Reason::RequestMalformed)?;
            gate.streams.to_use(run.id, name).map(Wish::Stream)
        }
        (Some(_), Some(_)) => Err(Reason::RequestMalformed),
    }
}

async fn carry(flow: Flow, upgrade: OnUpgrade) {
    match upgrade.await.ok().and_then(plain_socket) {
        Some((client, early)) => flow.carry(client, early).await,
        None => flow.client_left(),
    }
}

/// The socket under the tunnel, and what hyper had read of it beyond the request: the first bytes of the tunnel.
fn plain_socket(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<Watched>>().ok()?;
    Some((parts.io.into_inner().into_inner().try_into_inner().ok()?, parts.read_buf))
}

/// An answer of the gate itself.
pub(super) fn refusal(reason: Reason, detail: Option<&str>) -> Response<AnswerBody> {
    proxy_status::refusal(reason, detail).map(|body| Full::new(body).map_err(|never| match never {}).boxed())
}

/// As [`refusal`], and the connection ends with it: where the next request begins could be read in two ways.
pub(super) fn refusal_and_close(reason: Reason, detail: &str) -> Response<AnswerBody> {
    let mut response = refusal(reason, Some(detail));
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}
