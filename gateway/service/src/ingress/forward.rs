//! Forwarding one absolute-form request to its origin. Each request is a flow of its own with its own lease; the bytes
//! between the two HTTP connections are metered, counted and cut here, because the relay sees whole sockets only.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mexe_model::{Instant, Reason};
use mexe_qos::{Grant, Meter};
use mexe_relay::{End, Lease, LeaseHandle, Limits, Outcome, Side};
use mexe_wire::forward::Malformed;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::client::SharedStream;
use super::http::{AnswerBody, Connection, refusal, refusal_and_close};
use super::{endpoint, turn_away};
use crate::clock;
use crate::flow::{self, Books};
use crate::observe::metrics::Ingress;
use crate::permits::Place;
use crate::runs::Run;

const DOOR: Ingress = Ingress::HttpForward;

/// Answers one forward request.
pub(super) async fn forward(
    connection: &Arc<Connection>,
    run: &Arc<Run>,
    place: Result<Option<Place>, Reason>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let gate = &connection.gate;
    let (head, body) = request.into_parts();
    let outbound = match mexe_wire::forward::request(head) {
        Ok(outbound) => outbound,
        Err(malformed) => {
            turn_away(gate, DOOR, Some(run), malformed.reason()).await;
            return refusal_and_close(malformed.reason(), &malformed.to_string());
        }
    };
    let endpoint = match endpoint(&outbound.target) {
        Ok(endpoint) => endpoint,
        Err(reason) => {
            turn_away(gate, DOOR, Some(run), reason).await;
            return refusal(reason, None);
        }
    };
    let flow = match flow::open(gate, run, endpoint, DOOR, place).await {
        Ok(flow) => flow,
        Err(refused) => return refusal(refused.reason, None),
    };
    let (upstream, lease, books, limits) = flow.into_parts();
    let upstream = SharedStream::new(upstream);
    let stream = Metered::new(upstream.clone(), lease.handle(), limits);
    let seen = Arc::clone(&stream.seen);
    let (mut sender, origin) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(pair) => pair,
        Err(_) => return refusal(Reason::UpstreamMalformed, None),
    };
    let driver =
        Driver { connection: Arc::clone(connection), lease, books, upstream, seen: Arc::clone(&seen) };
    gate.spawn(driver.drive(origin));
    let upload = Arc::clone(&seen);
    let body = body.map_err(move |error| {
        upload.client_failed.store(true, Ordering::SeqCst);
        error
    });
    let response = match sender.send_request(Request::from_parts(outbound.head, body)).await {
        Ok(response) if !seen.answer_begins() => response,
        failed if seen.client_failed.load(Ordering::SeqCst) => {
            // Nobody is turned away who merely went.
            if failed.is_err_and(|error| breaks_the_protocol(&error)) {
                turn_away(gate, DOOR, Some(run), Malformed::Body.reason()).await;
            }
            return refusal_and_close(Malformed::Body.reason(), &Malformed::Body.to_string());
        }
        _ if seen.late.load(Ordering::SeqCst) => return refusal(Reason::UpstreamTimeout, None),
        _ => return refusal(Reason::UpstreamMalformed, None),
    };
    let (head, body) = response.into_parts();
    match mexe_wire::forward::response(head) {
        Ok(head) => Response::from_parts(head, body.boxed()),
        Err(malformed) => refusal(malformed.upstream_reason(), Some(&malformed.to_string())),
    }
}

/// Whether an upload is in no valid chunks, and does not just break off.
fn breaks_the_protocol(error: &hyper::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let kinds = causes.filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    kinds.into_iter().any(|kind| matches!(kind, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// Sees a forwarded request through to its end.
struct Driver {
    connection: Arc<Connection>,
    lease: Lease,
    books: Books,
    upstream: SharedStream,
    seen: Arc<Seen>,
}

/// What is known of the origin's socket beside the parser.
struct Seen {
    /// When a byte moved last, in nanoseconds.
    active: AtomicU64,
    /// Whether the socket failed.
    failed: AtomicBool,
    /// Whether the app's upload failed.
    client_failed: AtomicBool,
    /// Whether the origin's answer is on its way to the app.
    answered: AtomicBool,
    /// Whether no byte moved for too long.
    late: AtomicBool,
    /// Whether the exchange broke off.
    broken: AtomicBool,
}

impl Seen {
    fn now() -> Self {
        Self {
            active: AtomicU64::new(clock::now().as_nanos()),
            failed: AtomicBool::new(false),
            client_failed: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            late: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    /// Of this and [`Seen::breaks`], called at the same time, at least one knows of the other. True when the exchange broke
    /// off before.
    fn answer_begins(&self) -> bool {
        self.answered.store(true, Ordering::SeqCst);
        self.broken.load(Ordering::SeqCst)
    }

    /// True when the app has a part of the answer already, and can only learn by a reset that it is not whole.
    fn breaks(&self) -> bool {
        self.broken.store(true, Ordering::SeqCst);
        self.answered.load(Ordering::SeqCst)
    }
}

impl Driver {
    async fn drive(mut self, origin: impl Future<Output = hyper::Result<()>>) {
        let idle = self.books.gate.config().limits.idle;
        let mut origin = Box::pin(origin);
        let end = tokio::select! {
            biased;
            reason = self.lease.cancelled() => End::Cut(reason),
            // hyper tells whoever waits for the answer of an error, and ends well itself.
            ended = origin.as_mut() => match (self.lease.cancel_reason(), ended) {
                (Some(reason), _) => End::Cut(reason),
                (None, _) if self.seen.client_failed.load(Ordering::SeqCst) => End::Reset(Side::Client),
                (None, Ok(())) if !self.seen.failed.load(Ordering::Relaxed) => End::Closed,
                (None, _) => End::Reset(Side::Upstream),
            },
            () = quiet_for(idle, &self.seen) => End::Idle,
        };
        if !matches!(end, End::Closed) {
            // Before the sockets are closed: what they have not sent yet goes with them.
            self.upstream.reset_on_close();
            // An app that has nothing of the answer yet is told what happened instead.
            self.seen.late.store(matches!(end, End::Idle), Ordering::SeqCst);
            if self.seen.breaks() || matches!(end, End::Cut(_)) {
                self.connection.cut.cancel();
            }
        }
        drop(origin);
        let handle = self.lease.handle();
        let moved = Outcome { bytes_up: handle.bytes_up(), bytes_down: handle.bytes_down(), end };
        drop(self.upstream);
        self.books.close(&moved);
    }
}

/// Completes when no byte has moved for that long.
async fn quiet_for(idle: Duration, seen: &Seen) {
    loop {
        let quiet = clock::now().since(Instant::from_nanos(seen.active.load(Ordering::Relaxed)));
        let Some(left) = idle.checked_sub(quiet).filter(|left| !left.is_zero()) else { return };
        tokio::time::sleep(left).await;
    }
}

/// The origin's socket, each direction behind its meter and counted.
struct Metered {
    stream: SharedStream,
    lease: LeaseHandle,
    up: Gauge,
    down: Gauge,
    seen: Arc<Seen>,
}

/// One direction's meter, and the wait that it asked for.
struct Gauge {
    meter: Option<Meter>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Gauge {
    /// How many of `wanted` bytes may move now.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        let Some(meter) = &mut self.meter else { return Poll::Ready(wanted) };
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match meter.ask(clock::now(), wanted as u64) {
                Grant::Advance(room) => return Poll::Ready(usize::try_from(room).unwrap_or(wanted)),
                Grant::WaitUntil(at) => {
                    self.wait = Some(Box::pin(sleep_until(mexe_relay::clock::deadline(at))))
                }
            }
        }
    }

    fn give_back(&mut self, unused: usize) {
        if let Some(meter) = &mut self.meter {
            meter.refund(clock::now(), unused as u64);
        }
    }
}

impl Metered {
    fn new(stream: SharedStream, lease: LeaseHandle, limits: Limits) -> Self {
        let gauge = |meter| Gauge { meter, wait: None };
        Self { stream, lease, up: gauge(limits.up), down: gauge(limits.down), seen: Arc::new(Seen::now()) }
    }

    /// How many bytes moved, if any did.
    fn moved(&self, polled: &Poll<io::Result<usize>>) -> usize {
        match polled {
            Poll::Ready(Ok(moved)) => {
                self.seen.active.store(clock::now().as_nanos(), Ordering::Relaxed);
                *moved
            }
            Poll::Ready(Err(_)) => {
                self.seen.failed.store(true, Ordering::Relaxed);
                0
            }
            Poll::Pending => 0,
        }
    }

    fn cancelled(&self) -> io::Result<()> {
        match self.lease.cancel_reason() {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(reason.code())),
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cancelled()?;
        let room = ready!(self.down.poll_room(cx, buffer.remaining()));
        let polled = self.stream.poll_take(cx, buffer.initialize_unfilled_to(room));
        let moved = self.moved(&polled);
        self.down.give_back(room - moved);
        ready!(polled)?;
        buffer.advance(moved);
        self.lease.count_down(moved as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.cancelled()?;
        let room = ready!(self.up.poll_room(cx, bytes.len()));
        let polled = self.stream.poll_give(cx, bytes.get(..room).unwrap_or(bytes));
        let moved = self.moved(&polled);
        self.up.give_back(room - moved);
        ready!(polled)?;
        self.lease.count_up(moved as u64);
        Poll::Ready(Ok(moved))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.finish())
    }
}
