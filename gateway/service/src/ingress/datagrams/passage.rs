//! One flow of datagrams: opened like any other, then a passage. The association sends up through it ([`Passage`]), a task of
//! its own brings down what the destination answers ([`Errand`]) and ends it: cut, quiet for too long, or with the
//! association.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mexe_model::{Endpoint, Instant, Reason};
use mexe_relay::{Allowance, End, Lease, LeaseHandle, Limit, Outcome, Taken};
use mexe_wire::socks5::{MAX_REPLY_HEADER, ReplyHeader};
use prometheus::IntCounter;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::batch::{self, Arrived, BATCH, Went};
use super::{BATCHES, DOOR};
use crate::clock;
use crate::flow;
use crate::gate::Gate;
use crate::qos::{InUse, Wish};
use crate::runs::Run;

/// What a flow tells its association.
pub(super) enum News {
    /// It may be sent through.
    Opened(Arc<[u8]>, Box<Passage>),
    /// It may not be.
    Refused(Arc<[u8]>, Reason),
    /// It is over.
    Ended(Arc<[u8]>),
}

/// What both directions of a flow count.
#[derive(Debug)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    /// When a datagram moved last.
    active: AtomicU64,
}

impl Counts {
    fn moved(&self, counter: &AtomicU64, now: Instant) {
        counter.fetch_add(1, Ordering::Relaxed);
        self.active.store(now.as_nanos(), Ordering::Relaxed);
    }
}

/// A limit, and the series of what it does not let through.
struct Police {
    limit: Option<Limit>,
    /// The budget of a schedule.
    allowance: Option<Arc<Allowance>>,
    lease: LeaseHandle,
    dropped: IntCounter,
}

impl Police {
    /// Whether a datagram may pass. It passes whole or not at all: one that is larger than the burst never does.
    fn lets_pass(&mut self, length: usize, now: Instant) -> bool {
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        if !self.has_budget(bytes) {
            self.dropped.inc_by(bytes);
            return false;
        }
        let passes = self.is_within_rate(bytes, now);
        if let Some(allowance) = self.allowance.as_ref().filter(|_| !passes) {
            allowance.give_back(bytes);
        }
        passes
    }

    /// Takes the whole datagram from the budget, or nothing. What comes while the budget's next part is written down is
    /// dropped; after its last byte the flow is over.
    fn has_budget(&self, bytes: u64) -> bool {
        let Some(allowance) = &self.allowance else { return true };
        match allowance.take(bytes) {
            Taken::Bytes(taken) if taken == bytes => true,
            Taken::Bytes(taken) => {
                allowance.give_back(taken);
                false
            }
            // An empty datagram costs nothing.
            Taken::Later | Taken::Never if bytes == 0 => true,
            Taken::Later => false,
            Taken::Never => {
                self.lease.cancel(Reason::BudgetUsedUp);
                false
            }
        }
    }

    fn is_within_rate(&mut self, bytes: u64, now: Instant) -> bool {
        if self.limit.as_mut().is_none_or(|limit| limit.police(bytes, now)) {
            return true;
        }
        self.dropped.inc_by(bytes);
        false
    }
}

/// The way up.
pub(super) struct Passage {
    socket: Arc<UdpSocket>,
    lease: LeaseHandle,
    police: Police,
    counts: Arc<Counts>,
}

impl Passage {
    /// Sends datagrams, a batch at most; `dropped` hears why one was not. What the meter drops, it has counted itself.
    pub(super) fn send<'d>(
        &mut self,
        payloads: impl IntoIterator<Item = &'d [u8]>,
        now: Instant,
        mut dropped: impl FnMut(Reason),
    ) {
        let mut ready = [[IoSlice::new(&[])]; BATCH];
        let mut count = 0;
        for payload in payloads {
            if let Some(reason) = self.lease.cancel_reason() {
                self.lease.count_dropped(bytes(payload.len()), 0);
                dropped(reason);
            } else if !self.police.lets_pass(payload.len(), now) {
                self.lease.count_dropped(bytes(payload.len()), 0);
            } else if let Some(place) = ready.get_mut(count) {
                *place = [IoSlice::new(payload)];
                count += 1;
            }
        }
        let ready = ready.get(..count).unwrap_or_default();
        let mut next = ready.iter();
        let is_cut = || is_cut(&self.lease);
        batch::send(&self.socket, ready, is_cut, |went| {
            let bytes = bytes(next.next().map_or(0, |[payload]| payload.len()));
            match went {
                Went::Out => {
                    self.lease.count_up(bytes);
                    self.counts.moved(&self.counts.up, now);
                }
                Went::Lost(reason) | Went::Cut(reason) => {
                    self.lease.count_dropped(bytes, 0);
                    dropped(reason);
                }
            }
        });
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Why what has its turn may not be sent any more. What was paid for out of a budget goes, though it is used up now.
fn is_cut(lease: &LeaseHandle) -> Option<Reason> {
    lease.cancel_reason().filter(|reason| *reason != Reason::BudgetUsedUp)
}

/// A flow to be opened and seen through to its end.
pub(super) struct Errand {
    pub(super) gate: Arc<Gate>,
    pub(super) run: Arc<Run>,
    pub(super) endpoint: Endpoint,
    pub(super) wish: Wish,
    /// What the association calls it.
    pub(super) key: Arc<[u8]>,
    pub(super) news: mpsc::Sender<News>,
    /// Cancelled when the association ends.
    pub(super) closing: CancellationToken,
    /// The association's socket, which is connected to the app's.
    pub(super) client: Arc<UdpSocket>,
}

impl Errand {
    pub(super) async fn run(self) {
        let Self { gate, run, endpoint, wish, key, news, closing, client } = self;
        // What changes from here on is not overlooked.
        let mut stream = wish.stream().cloned();
        stream.as_mut().map(InUse::shape);
        let place = gate.permits.flow(&run).map(Some);
        let opened = tokio::select! {
            biased;
            // The user need not answer for an app that waits no longer.
            () = closing.cancelled() => return,
            opened = Box::pin(flow::open::<UdpSocket>(&gate, &run, endpoint, DOOR, place, wish)) => opened,
        };
        let (upstream, lease, mut books, limits) = match opened {
            Ok(flow) => flow.into_parts(),
            Err(refused) => {
                // An association that has ended needs no news.
                let _ = news.send(News::Refused(key, refused.reason)).await;
                return;
            }
        };
        let counts = Arc::new(Counts {
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            active: AtomicU64::new(clock::now().as_nanos()),
        });
        let [up, down] = books.policed();
        let upstream = Arc::new(upstream);
        let police = |limit, dropped| Police {
            limit,
            allowance: limits.allowance.clone(),
            lease: lease.handle(),
            dropped,
        };
        let passage = Passage {
            socket: Arc::clone(&upstream),
            lease: lease.handle(),
            police: police(limits.up, up),
            counts: Arc::clone(&counts),
        };
        let _ = news.send(News::Opened(Arc::clone(&key), Box::new(passage))).await;
        let police = police(limits.down, down);
        let mut way = Down { upstream, client, lease, police, counts };
        let end = way.carry(&gate, &closing, stream).await;
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        books.detail = Some(json!({
            "datagrams_up": counted(&way.counts.up),
            "datagrams_down": counted(&way.counts.down),
        }));
        let handle = way.lease.handle();
        books.close(&Outcome { bytes_up: handle.bytes_up(), bytes_down: handle.bytes_down(), end });
        drop(way);
        let _ = news.send(News::Ended(key)).await;
    }
}

/// The way down.
struct Down {
    upstream: Arc<UdpSocket>,
    client: Arc<UdpSocket>,
    lease: Lease,
    police: Police,
    counts: Arc<Counts>,
}

impl Down {
    async fn carry(&mut self, gate: &Gate, closing: &CancellationToken, stream: Option<InUse>) -> End {
        let Ok(remote) = self.upstream.peer_addr() else { return End::Closed };
        let header = ReplyHeader::new(remote);
        let header = header.as_slice();
        let idle = gate.config().limits.datagram_idle;
        let quiet_at =
            |counts: &Counts| Instant::from_nanos(counts.active.load(Ordering::Relaxed)).after(idle);
        let mut timer = pin!(sleep_until(mexe_relay::clock::deadline(quiet_at(&self.counts))));
        let mut closing = pin!(closing.cancelled());
        let mut changed = pin!(changed(stream));
        loop {
            tokio::select! {
                biased;
                reason = self.lease.cancelled() => return End::Cut(reason),
                () = &mut closing => return End::Closed,
                // The next datagram opens a flow anew, with what the stream has then.
                () = &mut changed => return End::Closed,
                ready = self.upstream.readable() => {
                    if ready.is_err() {
                        return End::Closed;
                    }
                    if self.take(header, remote, gate) {
                        tokio::task::yield_now().await;
                    }
                }
                () = &mut timer => {
                    let quiet_at = quiet_at(&self.counts);
                    if clock::now() >= quiet_at {
                        return End::Idle;
                    }
                    timer.as_mut().reset(mexe_relay::clock::deadline(quiet_at));
                }
            }
        }
    }

    /// Hands the app what has arrived; true when there may be more.
    fn take(&mut self, header: &[u8], remote: std::net::SocketAddr, gate: &Gate) -> bool {
        let now = clock::now();
        batch::with(|batch| {
            for _ in 0..BATCHES {
                let arrived = match batch.receive(&self.upstream, MAX_REPLY_HEADER) {
                    Ok(arrived) => arrived,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    // Nobody is there, or a router says no: the next datagram may still arrive.
                    Err(_) => continue,
                };
                if !self.hand_over(arrived, header, (remote, now), gate) {
                    return false;
                }
            }
            true
        })
    }

    /// Hands the app a batch; false when the flow is cut.
    fn hand_over<'b>(
        &mut self,
        arrived: impl Iterator<Item = Arrived<'b>>,
        header: &[u8],
        (remote, now): (std::net::SocketAddr, Instant),
        gate: &Gate,
    ) -> bool {
        // The header goes right before what was read.
        let start = MAX_REPLY_HEADER - header.len();
        let mut ready = [[IoSlice::new(&[])]; BATCH];
        let (mut count, mut is_over) = (0, false);
        for Arrived { room, length, from } in arrived {
            // What came before the socket was connected may be anybody's.
            if from.port() != remote.port() || from.ip() != remote.ip() {
                gate.metrics.datagrams_dropped(Reason::TargetOutOfScope).inc();
                continue;
            }
            is_over = is_over || self.lease.cancel_reason().is_some();
            if is_over || !self.police.lets_pass(length, now) {
                self.lease.handle().count_dropped(0, bytes(length));
                continue;
            }
            if let Some(place) = room.get_mut(start..MAX_REPLY_HEADER) {
                place.copy_from_slice(header);
            }
            if let Some(place) = ready.get_mut(count) {
                *place = [IoSlice::new(room.get(start..MAX_REPLY_HEADER + length).unwrap_or_default())];
                count += 1;
            }
        }
        let ready = ready.get(..count).unwrap_or_default();
        let mut next = ready.iter();
        let lease = self.lease.handle();
        batch::send(
            &self.client,
            ready,
            || is_cut(&lease),
            |went| {
                let whole = next.next().map_or(0, |[whole]| whole.len());
                let bytes = bytes(whole.saturating_sub(header.len()));
                match went {
                    Went::Out => {
                        lease.count_down(bytes);
                        self.counts.moved(&self.counts.down, now);
                    }
                    Went::Lost(reason) => {
                        lease.count_dropped(0, bytes);
                        gate.metrics.datagrams_dropped(reason).inc();
                    }
                    Went::Cut(_) => lease.count_dropped(0, bytes),
                }
            },
        );
        lease.cancel_reason().is_none()
    }
}

/// Completes when the stream has something else; never without a stream.
async fn changed(stream: Option<InUse>) {
    match stream {
        Some(mut stream) => stream.changed().await,
        None => std::future::pending().await,
    }
}
