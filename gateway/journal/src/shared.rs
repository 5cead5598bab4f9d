//! What the handle, the writer and its two helper threads hold in common, and how they end together.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::journal::Health;
use crate::queue::Queue;

/// Seen by all.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) queue: Queue,
    pub(crate) next_grant: AtomicU64,
    pub(crate) records_total: AtomicU64,
    /// How many notes wait in the writer for better times.
    pub(crate) carried: AtomicU64,
    fault: Mutex<Option<Arc<str>>>,
}

impl Shared {
    pub(crate) fn new(path: PathBuf, next_grant: u64, records_total: u64) -> Self {
        Self {
            path,
            queue: Queue::new(),
            next_grant: AtomicU64::new(next_grant),
            records_total: AtomicU64::new(records_total),
            carried: AtomicU64::new(0),
            fault: Mutex::new(None),
        }
    }

    /// What is wrong is told once when it begins and once when it ends.
    pub(crate) fn set_fault(&self, fault: Option<Arc<str>>) {
        let mut now = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*now, &fault) {
            (None, Some(why)) => tracing::error!(%why, "the journal is unavailable: nothing new may open"),
            (Some(_), None) => tracing::info!("the journal is available again"),
            _ => {}
        }
        *now = fault;
    }

    pub(crate) fn health(&self) -> Health {
        let why = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = if self.queue.has_ended() { Some("it was closed".into()) } else { why };
        let carried = usize::try_from(self.carried.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        Health {
            available: why.is_none(),
            why: why.map(|why| why.to_string()),
            backlog: self.queue.waiting().saturating_add(carried),
            records_total: self.records_total.load(Ordering::Relaxed),
        }
    }
}

/// Ends the writer when the last handle goes.
#[derive(Debug)]
pub(crate) struct Life {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Life {
    pub(crate) fn new(shared: Arc<Shared>, writer: JoinHandle<()>) -> Self {
        Self { shared, writer: Mutex::new(Some(writer)) }
    }

    /// Lets nothing more in and waits until everything queued is written, sealed and synced.
    pub(crate) fn end(&self) {
        self.shared.queue.close();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer thread ended in a panic");
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}
