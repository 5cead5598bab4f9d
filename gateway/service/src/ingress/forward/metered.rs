//! The origin's socket under an HTTP client: metered, counted and cut here, because the relay sees whole sockets only.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use mexe_qos::{Grant, Meter};
use mexe_relay::{LeaseHandle, Limits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::seen::{Seen, Sign};
use crate::clock;
use crate::ingress::client::SharedStream;

/// The origin's socket, each direction behind its meter and counted.
pub(super) struct Metered {
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
    pub(super) fn new(stream: SharedStream, lease: LeaseHandle, limits: Limits, seen: Arc<Seen>) -> Self {
        let gauge = |meter| Gauge { meter, wait: None };
        Self { stream, lease, up: gauge(limits.up), down: gauge(limits.down), seen }
    }

    /// How many bytes moved, if any did.
    fn moved(&self, polled: &Poll<io::Result<usize>>) -> usize {
        match polled {
            Poll::Ready(Ok(moved)) => {
                self.seen.moves();
                *moved
            }
            Poll::Ready(Err(_)) => {
                self.seen.note(Sign::OriginFailed);
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
        // An origin that takes no more may have answered before it went: what it said is read first.
        if ready!(polled).is_err() {
            return Poll::Ready(Ok(bytes.len()));
        }
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
