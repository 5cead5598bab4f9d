//! A lease: the permission to move the bytes of one flow, for as long as nobody takes it back. Made by [`Leases::open`]
//! before the upstream connection is tried, checked after it, held by the flow until its last byte. Does not decide why
//! it is taken; that comes as a [`Reason`] from whoever revokes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use mexe_model::{GrantId, Instant, Reason};

use crate::cancel::Cancel;
use crate::ledger::{Closed, LeaseKeys, Leases};

/// What a lease, its handles and the ledger share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cancel: Cancel,
    pub(crate) keys: FixedKeys,
    /// Whether bytes move on it.
    pub(crate) is_flow: bool,
    /// The grants it rests on, changed only under the ledger's lock; [`NO_GRANT`] for none.
    pub(crate) grants: [AtomicU64; 2],
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
    /// Bytes that were read and not handed on, up and down.
    pub(crate) dropped: [AtomicU64; 2],
    pub(crate) opened: Instant,
}

/// The keys that a flow keeps for life.
#[derive(Debug)]
pub(crate) struct FixedKeys {
    pub(crate) flow: mexe_model::FlowId,
    pub(crate) run: mexe_model::RunId,
    pub(crate) app: mexe_model::AppId,
    pub(crate) root: Option<mexe_model::RootId>,
}

const NO_GRANT: u64 = u64::MAX;

impl Shared {
    pub(crate) fn new(keys: LeaseKeys, opened: Instant, is_flow: bool) -> Self {
        let LeaseKeys { flow, run, app, grant, qos_grant, root } = keys;
        let shared = Self {
            cancel: Cancel::new(),
            keys: FixedKeys { flow, run, app, root },
            is_flow,
            grants: [AtomicU64::new(NO_GRANT), AtomicU64::new(NO_GRANT)],
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            dropped: [AtomicU64::new(0), AtomicU64::new(0)],
            opened,
        };
        shared.set_grants([grant, qos_grant]);
        shared
    }

    pub(crate) fn set_grants(&self, grants: [Option<GrantId>; 2]) {
        for (slot, grant) in self.grants.iter().zip(grants) {
            slot.store(grant.map_or(NO_GRANT, |grant| grant.0), Ordering::Relaxed);
        }
    }

    pub(crate) fn grants(&self) -> [Option<GrantId>; 2] {
        self.grants
            .each_ref()
            .map(|slot| Some(slot.load(Ordering::Relaxed)).filter(|id| *id != NO_GRANT).map(GrantId))
    }

    pub(crate) fn keys(&self) -> LeaseKeys {
        let FixedKeys { flow, run, app, root } = &self.keys;
        let [grant, qos_grant] = self.grants();
        LeaseKeys { flow: *flow, run: *run, app: app.clone(), grant, qos_grant, root: root.clone() }
    }
}

/// The permission to move the bytes of one flow. Dropping it takes it out of the ledger and hands the totals to the
/// ledger's closing callback, once.
#[derive(Debug)]
pub struct Lease {
    pub(crate) shared: Arc<Shared>,
    pub(crate) leases: Leases,
    /// Where the ledger keeps it.
    pub(crate) serial: u64,
    /// The policy epoch under which the flow was decided last.
    pub(crate) epoch: u64,
    /// The waker that the cancellation knows already, so that an unchanged one costs no lock.
    pub(crate) waiting: Option<Waker>,
}

impl Lease {
    /// Whether the flow may go on as decided: nobody has taken the lease back, and the policy is still the one it was
    /// decided under. When not, and [`Lease::cancel_reason`] is `None`: decide again, then [`Lease::renew`], and ask again.
    pub fn still_valid(&self, current_epoch: u64) -> bool {
        !self.shared.cancel.is_cancelled() && self.epoch == current_epoch
    }

    /// The flow has been decided again under this epoch and rests on the same grants.
    pub fn renew(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// The flow has been decided again under this epoch and rests on these grants now. From here on a revoke of one of
    /// these finds the lease; ask [`Lease::still_valid`] after it, for a revoke that came in between.
    pub fn renew_under(&mut self, epoch: u64, grant: Option<GrantId>, qos_grant: Option<GrantId>) {
        self.leases.locked(self.serial, || self.shared.set_grants([grant, qos_grant]));
        self.epoch = epoch;
    }

    /// Why the lease was taken back; `None` while it is good.
    pub fn cancel_reason(&self) -> Option<Reason> {
        self.shared.cancel.reason()
    }

    /// Completes when the lease is taken back, with the reason. Cancel safe. One waiter at a time.
    pub fn cancelled(&mut self) -> impl Future<Output = Reason> + Send + '_ {
        std::future::poll_fn(|cx| self.poll_cancelled(cx))
    }

    /// As [`Lease::cancelled`], for hand-written futures. Takes no lock while the task's waker stays the same.
    pub fn poll_cancelled(&mut self, cx: &Context<'_>) -> Poll<Reason> {
        if !self.shared.cancel.is_cancelled()
            && self.waiting.as_ref().is_some_and(|w| w.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        let poll = self.shared.cancel.poll(cx);
        self.waiting = poll.is_pending().then(|| cx.waker().clone());
        poll
    }

    /// A handle for whoever shows or ends flows.
    pub fn handle(&self) -> LeaseHandle {
        LeaseHandle { shared: Arc::clone(&self.shared) }
    }

    /// Counts bytes that were handed to the upstream socket.
    pub fn count_up(&self, bytes: u64) {
        self.shared.bytes_up.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that were handed to the client socket.
    pub fn count_down(&self, bytes: u64) {
        self.shared.bytes_down.fetch_add(bytes, Ordering::Relaxed);
    }

    #[cfg(not(loom))]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.shared.cancel.is_cancelled()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A handle may outlive the flow; the flow's task need not stay in memory for it.
        self.shared.cancel.forget_waiter();
        self.leases.close(self.serial, &self.shared);
    }
}

/// Sees a lease from outside, also after its end; keeps nothing open.
#[derive(Clone, Debug)]
pub struct LeaseHandle {
    pub(crate) shared: Arc<Shared>,
}

impl LeaseHandle {
    /// What the flow is and rests on.
    pub fn keys(&self) -> LeaseKeys {
        self.shared.keys()
    }

    /// When it was opened.
    pub fn opened(&self) -> Instant {
        self.shared.opened
    }

    /// Bytes handed to the upstream socket so far.
    pub fn bytes_up(&self) -> u64 {
        self.shared.bytes_up.load(Ordering::Relaxed)
    }

    /// Bytes handed to the client socket so far.
    pub fn bytes_down(&self) -> u64 {
        self.shared.bytes_down.load(Ordering::Relaxed)
    }

    /// Counts bytes that were handed to the upstream socket, where another than the relay moves them.
    pub fn count_up(&self, bytes: u64) {
        self.shared.bytes_up.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that were handed to the client socket, where another than the relay moves them.
    pub fn count_down(&self, bytes: u64) {
        self.shared.bytes_down.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that the client sent and that were not handed on, so far.
    pub fn dropped_up(&self) -> u64 {
        let [up, _] = &self.shared.dropped;
        up.load(Ordering::Relaxed)
    }

    /// Bytes that the upstream sent and that were not handed on, so far.
    pub fn dropped_down(&self) -> u64 {
        let [_, down] = &self.shared.dropped;
        down.load(Ordering::Relaxed)
    }

    /// Counts bytes that were read and are not handed on.
    pub fn count_dropped(&self, up: u64, down: u64) {
        for (counter, bytes) in self.shared.dropped.iter().zip([up, down]) {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Why it was taken back; `None` while it is good.
    pub fn cancel_reason(&self) -> Option<Reason> {
        self.shared.cancel.reason()
    }

    /// Takes the lease back. The first reason stays; returns whether this was the first.
    pub fn cancel(&self, reason: Reason) -> bool {
        self.shared.cancel.cancel(reason)
    }
}

impl From<&Shared> for Closed {
    fn from(shared: &Shared) -> Self {
        Self {
            keys: shared.keys(),
            bytes_up: shared.bytes_up.load(Ordering::Relaxed),
            bytes_down: shared.bytes_down.load(Ordering::Relaxed),
            opened: shared.opened,
            reason: shared.cancel.reason(),
        }
    }
}
