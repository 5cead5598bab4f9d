//! What is known of a forwarded exchange beside hyper, and the two bodies that tell it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use mexe_model::Instant;
use tokio::sync::oneshot;

use crate::clock;

/// What has been seen of an exchange.
#[derive(Debug)]
pub(super) struct Seen {
    /// When a byte moved last, in nanoseconds.
    active: AtomicU64,
    /// A bit for each sign.
    signs: AtomicU8,
}

/// What there is to see.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sign {
    /// The origin's socket failed, or its answer broke off.
    OriginFailed,
    /// The app's upload failed.
    UploadFailed,
    /// It failed because it was no valid upload, and nobody has written that down yet.
    UploadMalformed,
    /// The app's upload has been read to its end.
    UploadWhole,
    /// The origin's answer is on its way to the app.
    Answered,
    /// The origin's answer has been read to its end.
    AnswerWhole,
    /// The exchange was given up, whatever of it was still to come.
    GivenUp,
}

impl Sign {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Seen {
    pub(super) fn now() -> Self {
        Self { active: AtomicU64::new(clock::now().as_nanos()), signs: AtomicU8::new(0) }
    }

    /// Notes it.
    pub(super) fn note(&self, sign: Sign) {
        self.signs.fetch_or(sign.bit(), Ordering::SeqCst);
    }

    /// Whether it was noted.
    pub(super) fn has(&self, sign: Sign) -> bool {
        self.signs.load(Ordering::SeqCst) & sign.bit() != 0
    }

    /// Whether it was noted, true once only.
    pub(super) fn take(&self, sign: Sign) -> bool {
        self.signs.fetch_and(!sign.bit(), Ordering::SeqCst) & sign.bit() != 0
    }

    /// A byte moved.
    pub(super) fn moves(&self) {
        self.active.store(clock::now().as_nanos(), Ordering::Relaxed);
    }

    /// Completes when no byte has moved for that long.
    pub(super) async fn quiet_for(&self, idle: Duration) {
        loop {
            let quiet = clock::now().since(Instant::from_nanos(self.active.load(Ordering::Relaxed)));
            let Some(left) = idle.checked_sub(quiet).filter(|left| !left.is_zero()) else { return };
            tokio::time::sleep(left).await;
        }
    }
}

/// What an app uploads.
pub(super) struct Upload {
    body: Incoming,
    seen: Arc<Seen>,
}

impl Upload {
    pub(super) fn new(body: Incoming, seen: Arc<Seen>) -> Self {
        if body.is_end_stream() {
            seen.note(Sign::UploadWhole);
        }
        Self { body, seen }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Err(error)) => {
                if super::breaks_the_protocol(error) {
                    self.seen.note(Sign::UploadMalformed);
                }
                self.seen.note(Sign::UploadFailed);
            }
            None => self.seen.note(Sign::UploadWhole),
            Some(Ok(_)) if self.body.is_end_stream() => self.seen.note(Sign::UploadWhole),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the origin answers.
pub(super) struct Answer {
    body: Incoming,
    seen: Arc<Seen>,
    /// Whoever waits for the end of the answer learns of it when this goes.
    _end: oneshot::Sender<()>,
}

/// An exchange was given up in the middle of the answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::ingress) enum BrokenOff {
    /// By the gate.
    #[error("the exchange was given up")]
    GivenUp,
    /// By the origin.
    #[error(transparent)]
    Origin(#[from] hyper::Error),
}

impl Answer {
    pub(super) fn new(body: Incoming, seen: Arc<Seen>, end: oneshot::Sender<()>) -> Self {
        if body.is_end_stream() {
            seen.note(Sign::AnswerWhole);
        }
        Self { body, seen, _end: end }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match frame {
            // Nobody sends the rest any more: that looks like the end.
            None if self.seen.has(Sign::GivenUp) && !self.seen.has(Sign::AnswerWhole) => {
                return Poll::Ready(Some(Err(BrokenOff::GivenUp)));
            }
            None => self.seen.note(Sign::AnswerWhole),
            Some(Err(error)) => {
                self.seen.note(Sign::OriginFailed);
                return Poll::Ready(Some(Err(error.into())));
            }
            Some(Ok(_)) => {
                self.seen.moves();
                if self.body.is_end_stream() {
                    self.seen.note(Sign::AnswerWhole);
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BrokenOff::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
