//! Moves the bytes of one flow between two sockets for as long as its lease is good. Decides nothing about the flow: it
//! ends when both sides have finished, when one breaks, when nothing has moved for too long, or when the lease is taken
//! back. Called by the service once for each flow, after both connections stand.
//!
//! A cut takes the bytes with it: what the kernel has not sent yet is thrown away and both peers get a reset. Only a flow
//! that ended by itself is closed gently, and it keeps its lease until its last byte is acknowledged.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mexe_model::{Instant, Reason};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::allowance::Allowance;
use crate::back_pressure::Sender;
use crate::clock;
use crate::direction::{Direction, Sight, Turn};
use crate::lease::Lease;
use crate::limit::Limit;
use crate::pipe::PipePool;
use crate::queue::Delivery;

pub use crate::queue::cut;

/// How the bytes of a flow are moved, and for how long.
#[derive(Debug)]
pub struct Options {
    /// The flow ends when neither direction has moved a byte for so long.
    pub idle: Duration,
    /// The most that each direction may move.
    pub limits: Limits,
    /// Bytes that the handshake has read and not used: they go first.
    pub early: Early,
    /// Copy or splice.
    pub strategy: Strategy,
    /// Where pipes for splicing come from; one pool for the whole gate.
    pub pipes: PipePool,
}

impl Options {
    /// No limits, no early bytes, the strategy chosen by how the bytes come.
    pub fn new(idle: Duration, pipes: PipePool) -> Self {
        Self { idle, limits: Limits::default(), early: Early::default(), strategy: Strategy::Auto, pipes }
    }
}

/// The most that a flow may move; `None` is no limit.
#[derive(Debug, Default)]
pub struct Limits {
    /// From the client to the upstream.
    pub up: Option<Limit>,
    /// From the upstream to the client.
    pub down: Option<Limit>,
    /// The budget that both directions use up, which other flows may share.
    pub allowance: Option<Arc<Allowance>>,
}

/// Bytes that were read before the relay began.
#[derive(Debug, Default)]
pub struct Early {
    /// From the client, for the upstream.
    pub up: Vec<u8>,
    /// From the upstream, for the client.
    pub down: Vec<u8>,
}

/// How bytes are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Copies, and splices while a direction moves bulk.
    #[default]
    Auto,
    /// Always copies.
    Copy,
    /// Splices whenever the pool has a pipe.
    Splice,
}

/// A side of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The app.
    Client,
    /// The destination.
    Upstream,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides finished, and all bytes arrived.
    Closed,
    /// The lease was taken back.
    Cut(Reason),
    /// Nothing moved for too long.
    Idle,
    /// This side broke the connection; the other was reset.
    Reset(Side),
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes handed to the upstream socket.
    pub bytes_up: u64,
    /// Bytes handed to the client socket.
    pub bytes_down: u64,
    /// How it ended.
    pub end: End,
}

/// Moves bytes both ways until the flow ends; both sockets are closed when it has.
///
/// A finished side is passed on to the other side alone, and the other direction goes on. Both sockets should have
/// `TCP_NODELAY`. Dropped before its end, the flow is cut.
pub fn run(client: TcpStream, upstream: TcpStream, lease: &mut Lease, options: Options) -> Relay<'_> {
    let Options { idle, limits, early, strategy, pipes } = options;
    Relay {
        pair: Some(Pair { client, upstream }),
        up: Direction::new(early.up, Sender::Near, limits.up, limits.allowance.clone(), strategy),
        down: Direction::new(early.down, Sender::Far, limits.down, limits.allowance, strategy),
        lease,
        pipes,
        idle,
        active: clock::now(),
        timer: None,
        set_to: None,
        delivering: None,
    }
}

/// A running flow; see [`run`].
#[derive(Debug)]
#[must_use = "a flow moves only while it is polled"]
pub struct Relay<'a> {
    /// Taken when the flow ends.
    pair: Option<Pair>,
    up: Direction,
    down: Direction,
    lease: &'a mut Lease,
    pipes: PipePool,
    idle: Duration,
    /// When a byte moved last.
    active: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// What the timer is set to. It is set to something later only after it fired: not once for each byte.
    set_to: Option<Instant>,
    /// Both sides have finished; how long to wait before looking again whether all has arrived.
    delivering: Option<Duration>,
}

#[derive(Debug)]
struct Pair {
    client: TcpStream,
    upstream: TcpStream,
}

impl Future for Relay<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let relay = &mut *self;
        loop {
            if let Poll::Ready(reason) = relay.lease.poll_cancelled(cx) {
                return Poll::Ready(relay.end(End::Cut(reason)));
            }
            if let Some(end) = relay.step(cx) {
                return Poll::Ready(relay.end(end));
            }
            match relay.poll_timer(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(end)) => return Poll::Ready(relay.end(end)),
                Poll::Ready(None) => {}
            }
        }
    }
}

impl Relay<'_> {
    /// The socket towards the destination, until the flow has ended.
    pub fn upstream(&self) -> Option<&TcpStream> {
        self.pair.as_ref().map(|pair| &pair.upstream)
    }

    /// Holds the directions to other rates from the next poll on.
    pub fn limit(&mut self, up: Option<Limit>, down: Option<Limit>) {
        self.up.limit(up);
        self.down.limit(down);
    }

    /// Moves what can be moved now; says how the flow has ended, if it has.
    fn step(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let Pair { client, upstream } = self.pair.as_mut()?;
        let (lease, pipes) = (&*self.lease, &self.pipes);
        let before = self.up.moved.wrapping_add(self.down.moved);
        let last = self.down.has_ended();
        let mut upwards = Sight { from: client, to: upstream, pipes, lease, count: Lease::count_up, last };
        let up = self.up.turn(&mut upwards, cx);
        let last = up == Turn::Ended;
        let mut downwards =
            Sight { from: upstream, to: client, pipes, lease, count: Lease::count_down, last };
        let down = self.down.turn(&mut downwards, cx);
        if self.up.moved.wrapping_add(self.down.moved) != before {
            self.active = clock::now();
        }
        match (up, down) {
            // The reason is there: it was set before the flag that the turn has seen.
            (Turn::Cut, _) | (_, Turn::Cut) => lease.cancel_reason().map(End::Cut),
            (Turn::ReadFailed, _) | (_, Turn::WriteFailed) => Some(End::Reset(Side::Client)),
            (Turn::WriteFailed, _) | (_, Turn::ReadFailed) => Some(End::Reset(Side::Upstream)),
            (Turn::Ended, Turn::Ended) => self.delivered(),
            (Turn::More, _) | (_, Turn::More) => {
                cx.waker().wake_by_ref();
                None
            }
            (Turn::Ended | Turn::Pending, Turn::Ended | Turn::Pending) => None,
        }
    }

    /// Both sides have finished. The flow ends when the peers have all of it: until then it can still be cut.
    fn delivered(&mut self) -> Option<End> {
        let Pair { client, upstream } = self.pair.as_ref()?;
        match (self.down.delivery(client), self.up.delivery(upstream)) {
            (Delivery::Done, Delivery::Done) => Some(End::Closed),
            (Delivery::Lost, _) => Some(End::Reset(Side::Client)),
            (_, Delivery::Lost) => Some(End::Reset(Side::Upstream)),
            _ => {
                const FIRST: Duration = Duration::from_millis(1);
                const LAST: Duration = Duration::from_millis(64);
                self.down.tell(client);
                self.up.tell(upstream);
                self.delivering = Some(self.delivering.map_or(FIRST, |last| (last * 2).min(LAST)));
                None
            }
        }
    }

    /// Sets the timer for whatever comes first. Ready when it fired and there is something to look at, or the end.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let idle_at = self.active.after(self.idle);
        let look_at = self.delivering.map(|pause| clock::now().after(pause));
        let first = [self.up.wait, self.down.wait, look_at].into_iter().flatten().fold(idle_at, Instant::min);
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(clock::deadline(first))));
        match self.set_to {
            Some(set) if set <= first => {}
            _ => {
                timer.as_mut().reset(clock::deadline(first));
                self.set_to = Some(first);
            }
        }
        ready!(timer.as_mut().poll(cx));
        self.set_to = None;
        let is_idle = clock::now() >= idle_at;
        Poll::Ready(is_idle.then_some(End::Idle))
    }

    fn end(&mut self, end: End) -> Outcome {
        self.close(end == End::Closed);
        Outcome { bytes_up: self.up.moved, bytes_down: self.down.moved, end }
    }

    /// Closes both sockets; unless `gently`, what was not sent yet is thrown away.
    fn close(&mut self, gently: bool) {
        if let Some(Pair { client, upstream }) = self.pair.take() {
            if gently {
                drop((client, upstream));
            } else {
                cut(upstream);
                cut(client);
            }
        }
        let (up, down) = (self.up.abandon(&self.pipes), self.down.abandon(&self.pipes));
        if up > 0 || down > 0 {
            self.lease.handle().count_dropped(up, down);
        }
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        // A flow that was given up must not go on sending from the kernel's queue, without a lease.
        self.close(false);
    }
}
