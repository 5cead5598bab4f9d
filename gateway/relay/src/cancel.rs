//! The one bit that a flow lives by: cancelled or not, and why. Decides nothing; `ledger` sets it, the relay looks at it
//! before every write and is woken by it. Small enough for loom to walk through every interleaving.

use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

use mexe_model::Reason;

/// A cancellation with one waiter.
#[derive(Debug)]
pub(crate) struct Cancel {
    /// Looked at on the path of the bytes, where no lock is taken. Set under the lock, after the reason.
    cancelled: AtomicBool,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    reason: Option<Reason>,
    waker: Option<Waker>,
}

impl Cancel {
    pub(crate) fn new() -> Self {
        Self { cancelled: AtomicBool::new(false), slot: Mutex::new(Slot { reason: None, waker: None }) }
    }

    /// Cancels and wakes the waiter. The first reason stays; returns whether this was the first.
    pub(crate) fn cancel(&self, reason: Reason) -> bool {
        let mut slot = self.slot();
        if slot.reason.is_some() {
            return false;
        }
        slot.reason = Some(reason);
        self.cancelled.store(true, Ordering::Release);
        let waker = slot.waker.take();
        // Waking may run the waiter's scheduler: not under our lock.
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Why it is cancelled; `None` while it is not.
    pub(crate) fn reason(&self) -> Option<Reason> {
        if self.cancelled.load(Ordering::Acquire) { self.slot().reason } else { None }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Ready once cancelled; until then wakes `cx` when it is. A second waiter takes the place of the first.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Reason> {
        let mut slot = self.slot();
        match slot.reason {
            Some(reason) => Poll::Ready(reason),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Nobody waits any more.
    pub(crate) fn forget_waiter(&self) {
        let waker = self.slot().waker.take();
        // Dropping it may free the waiter's task: not under our lock.
        drop(waker);
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        // Nothing panics while it holds the lock; if it did, the slot would still be whole.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
