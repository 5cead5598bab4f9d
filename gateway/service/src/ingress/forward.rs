//! Forwarding one absolute-form request to its origin. Each request is a flow of its own with its own lease, which lasts
//! until the app's side has taken the whole answer; the bytes between the two HTTP connections are metered, counted and cut
//! here, because the relay sees whole sockets only.

mod metered;
mod seen;

use std::io;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mexe_model::Reason;
use mexe_relay::{End, Lease, Outcome, Side};
use mexe_wire::forward::Malformed;
use tokio::sync::oneshot;

use self::metered::{Metered, Retuned};
pub(super) use self::seen::BrokenOff;
use self::seen::{Answer, Seen, Sign, Upload};
use super::client::SharedStream;
use super::http::{AnswerBody, Connection, NO_STREAM, refusal, refusal_and_close, wish};
use super::{endpoint, turn_away};
use crate::flow::{self, Books};
use crate::observe::metrics::Ingress;
use crate::permits::Place;
use crate::qos::InUse;
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
    let wish = wish(gate, run, &head.headers);
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
    let wish = match wish {
        Ok(wish) => wish,
        Err(reason) => {
            turn_away(gate, DOOR, Some(run), reason).await;
            return refusal(reason, Some(NO_STREAM));
        }
    };
    let mut stream = wish.stream().cloned();
    // What it has now is what the flow opens with.
    let _ = stream.as_mut().map(InUse::shape);
    let flow = match flow::open(gate, run, endpoint, DOOR, place, wish).await {
        Ok(flow) => flow,
        Err(refused) => return refusal(refused.reason, None),
    };
    let (upstream, lease, books, limits) = flow.into_parts();
    let retuned = Arc::default();
    let upstream = SharedStream::new(upstream);
    let seen = Arc::new(Seen::now());
    let metered =
        Metered::new(upstream.clone(), lease.handle(), limits, (Arc::clone(&seen), Arc::clone(&retuned)));
    let (mut sender, origin) = match http1::handshake(TokioIo::new(metered)).await {
        Ok(pair) => pair,
        Err(_) => return refusal(Reason::UpstreamMalformed, None),
    };
    let (end, ended) = oneshot::channel();
    let driver = Driver {
        connection: Arc::clone(connection),
        run: Arc::clone(run),
        lease,
        books,
        upstream,
        seen: Arc::clone(&seen),
        retuned,
        stream,
        ended,
    };
    gate.spawn(driver.drive(origin));
    let body = Upload::new(body, Arc::clone(&seen));
    let response = match sender.send_request(Request::from_parts(outbound.head, body)).await {
        Ok(response) => response,
        Err(_) if seen.has(Sign::UploadFailed) => {
            // Nobody is turned away who merely went.
            if seen.take(Sign::UploadMalformed) {
                turn_away(gate, DOOR, Some(run), Malformed::Body.reason()).await;
            }
            return refusal_and_close(Malformed::Body.reason(), &Malformed::Body.to_string());
        }
        Err(_) if !seen.has(Sign::GivenUp) => return refusal(Reason::UpstreamMalformed, None),
        Err(_) if seen.has(Sign::UploadWhole) => return refusal(Reason::UpstreamTimeout, None),
        // The origin waits for the rest as well.
        Err(_) => return refusal_and_close(Reason::HandshakeTimeout, "the upload stopped half-way"),
    };
    let (head, body) = response.into_parts();
    match mexe_wire::forward::response(head) {
        Ok(head) => {
            seen.note(Sign::Answered);
            Response::from_parts(head, Answer::new(body, seen, end).boxed())
        }
        Err(malformed) => refusal(malformed.upstream_reason(), Some(&malformed.to_string())),
    }
}

/// Completes when the stream has something else than before.
async fn changed(stream: &mut Option<InUse>) {
    match stream {
        Some(stream) => stream.changed().await,
        None => std::future::pending().await,
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
    run: Arc<Run>,
    lease: Lease,
    books: Books,
    upstream: SharedStream,
    seen: Arc<Seen>,
    /// What the flow is held to from now on, when its stream changes.
    retuned: Arc<Retuned>,
    /// The stream that it is one of.
    stream: Option<InUse>,
    /// Completes when nobody reads the answer any more.
    ended: oneshot::Receiver<()>,
}

impl Driver {
    async fn drive(mut self, origin: impl Future<Output = hyper::Result<()>>) {
        let idle = self.books.gate.config().limits.idle;
        let mut origin = Box::pin(origin);
        let seen = Arc::clone(&self.seen);
        let ended = &mut self.ended;
        let exchange = async {
            // hyper tells whoever waits for the answer of an error. The app may still have to take what was answered.
            let origin = origin.as_mut().await;
            let _ = ended.await;
            origin
        };
        let end = {
            let mut exchange = std::pin::pin!(exchange);
            loop {
                break tokio::select! {
                    biased;
                    reason = self.lease.cancelled() => End::Cut(reason),
                    () = changed(&mut self.stream) => {
                        if let Some(stream) = &mut self.stream {
                            let (limits, marking) = self.books.retune(stream);
                            self.retuned.set(limits);
                            self.upstream.mark(marking);
                        }
                        continue;
                    }
                    origin = &mut exchange => match (self.lease.cancel_reason(), origin) {
                        (Some(reason), _) => End::Cut(reason),
                        (None, _) if seen.has(Sign::UploadFailed) => End::Reset(Side::Client),
                        (None, Err(_)) => End::Reset(Side::Upstream),
                        (None, _) if seen.has(Sign::OriginFailed) => End::Reset(Side::Upstream),
                        (None, _) if seen.has(Sign::Answered) && !seen.has(Sign::AnswerWhole) => End::Reset(Side::Client),
                        (None, Ok(())) => End::Closed,
                    },
                    () = seen.quiet_for(idle) => End::Idle,
                };
            }
        };
        if !matches!(end, End::Closed) {
            // Before the sockets are closed: what they have not sent yet goes with them.
            self.upstream.reset_on_close();
        }
        if matches!(end, End::Cut(_) | End::Idle) {
            // An app that has nothing of the answer yet is told what happened. One that has a part of it can only learn by a
            // reset that it is not whole.
            seen.note(Sign::GivenUp);
            let is_half_answered = seen.has(Sign::Answered) && !seen.has(Sign::AnswerWhole);
            if is_half_answered || matches!(end, End::Cut(_)) {
                self.connection.cut.cancel();
            }
        }
        drop(origin);
        let handle = self.lease.handle();
        let moved = Outcome { bytes_up: handle.bytes_up(), bytes_down: handle.bytes_down(), end };
        drop(self.upstream);
        let gate = Arc::clone(&self.books.gate);
        self.books.close(&moved);
        // Beside an answer that came early, nobody has said so yet.
        if seen.has(Sign::Answered) && seen.take(Sign::UploadMalformed) {
            turn_away(&gate, DOOR, Some(&self.run), Malformed::Body.reason()).await;
        }
    }
}
