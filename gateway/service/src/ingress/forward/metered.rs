//! The origin's socket under an HTTP client: metered, counted and cut here, because the relay sees whole sockets only.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mexe_model::{Instant, Reason};
use mexe_relay::{Allowance, LeaseHandle, Limit, Limits, Room as Granted, Taken};
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
    retuned: Arc<Retuned>,
}

/// What a flow is held to from its next byte on, when its stream has changed.
#[derive(Default)]
pub(super) struct Retuned {
    is_new: AtomicBool,
    limits: Mutex<[Option<Limit>; 2]>,
}

impl Retuned {
    /// Up and down. Whoever sets it polls the socket after that.
    pub(super) fn set(&self, limits: [Option<Limit>; 2]) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        self.is_new.store(true, Ordering::Release);
    }

    fn take(&self) -> Option<[Option<Limit>; 2]> {
        if !self.is_new.load(Ordering::Acquire) {
            return None;
        }
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_new.swap(false, Ordering::AcqRel).then(|| std::mem::take(&mut *limits))
    }
}

/// How long until an empty allowance is looked at again.
const REFILL: Duration = Duration::from_millis(2);

/// One direction's meter and the flow's allowance, and the wait that they asked for.
struct Gauge {
    limit: Option<Limit>,
    /// What was let through and has not been settled.
    granted: u64,
    allowance: Option<Arc<Allowance>>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Gauge {
    /// How many of `wanted` bytes may move now; `None` when none may any more.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Option<usize>> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            let until = match self.ask(wanted, cx) {
                Room::Bytes(room) => return Poll::Ready(Some(room)),
                Room::Never => return Poll::Ready(None),
                Room::NotBefore(at) => at,
                Room::Woken => return Poll::Pending,
            };
            self.wait = Some(Box::pin(sleep_until(mexe_relay::clock::deadline(until))));
        }
    }

    fn ask(&mut self, wanted: usize, cx: &Context<'_>) -> Room {
        let taken = match self.allowance.as_ref().map(|allowance| allowance.take(wanted as u64)) {
            None => wanted as u64,
            Some(Taken::Bytes(bytes)) => bytes,
            Some(Taken::Later) => return Room::NotBefore(clock::now().after(REFILL)),
            Some(Taken::Never) => return Room::Never,
        };
        let asked = self.limit.as_mut().map_or(Granted::Bytes(taken), |limit| limit.ask(taken, cx.waker()));
        self.granted = if let Granted::Bytes(room) = asked { room } else { 0 };
        if let Some(allowance) = &self.allowance {
            allowance.give_back(taken.saturating_sub(self.granted));
        }
        match asked {
            Granted::Bytes(room) => Room::Bytes(usize::try_from(room).unwrap_or(wanted)),
            Granted::NotBefore(at) => Room::NotBefore(at),
            Granted::Woken => Room::Woken,
        }
    }

    fn give_back(&mut self, unused: usize) {
        if let Some(allowance) = &self.allowance {
            allowance.give_back(unused as u64);
        }
        if let Some(limit) = &mut self.limit {
            limit.settle(self.granted, self.granted.saturating_sub(unused as u64));
        }
    }
}

/// What may move now.
enum Room {
    Bytes(usize),
    /// Nothing before this instant.
    NotBefore(Instant),
    /// Nothing until the task is woken.
    Woken,
    Never,
}

impl Metered {
    pub(super) fn new(
        stream: SharedStream,
        lease: LeaseHandle,
        limits: Limits,
        (seen, retuned): (Arc<Seen>, Arc<Retuned>),
    ) -> Self {
        let gauge = |limit| Gauge { limit, granted: 0, allowance: limits.allowance.clone(), wait: None };
        Self { stream, lease, up: gauge(limits.up), down: gauge(limits.down), seen, retuned }
    }

    /// Nothing that was granted is unsettled between two polls.
    fn tune(&mut self) {
        let Some([up, down]) = self.retuned.take() else { return };
        for (gauge, limit) in [(&mut self.up, up), (&mut self.down, down)] {
            (gauge.limit, gauge.wait) = (limit, None);
        }
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

    /// The budget has no byte left: that is the end of the flow.
    fn used_up(&self) -> io::Error {
        self.lease.cancel(Reason::BudgetUsedUp);
        io::Error::other(Reason::BudgetUsedUp.code())
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
        self.tune();
        let Some(room) = ready!(self.down.poll_room(cx, buffer.remaining())) else {
            return Poll::Ready(Err(self.used_up()));
        };
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
        self.tune();
        let Some(room) = ready!(self.up.poll_room(cx, bytes.len())) else {
            return Poll::Ready(Err(self.used_up()));
        };
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
        // A cut is a reset, also when it came in the middle of a write: an orderly end would look like the whole upload.
        match self.lease.cancel_reason() {
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Ready(self.stream.finish()),
        }
    }
}
