//! The thread that waits for the disk, so that the writer does not: it syncs the write-ahead log, answers those whose
//! change had to be synced, and overwrites used seal keys. One sync serves everybody who asked before it began.
//!
//! A failed sync is final: the kernel may have dropped what it could not write, and a second try would succeed without
//! it. The journal stays unavailable until the gate is restarted.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Unavailable;
use crate::courier::Answer;
use crate::key::{EpochKey, KeyFile, Slot};
use crate::shared::Shared;

/// How long to wait after a seal key could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// Where the writer leaves work for the syncer, and finds what came of it.
#[derive(Default)]
pub(crate) struct SyncDesk {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Default)]
struct Inner {
    sync: bool,
    waiters: Vec<(Answer, u64)>,
    used: Option<Slot>,
    fresh: Option<EpochKey>,
    sync_fault: Option<Arc<str>>,
    key_fault: Option<Arc<str>>,
    closing: bool,
}

impl SyncDesk {
    /// Asks for a sync of what is committed now; then the waiters are answered and the used key is overwritten.
    pub(crate) fn ask(&self, waiters: Vec<(Answer, u64)>, used: Option<Slot>) {
        let mut inner = self.lock();
        inner.sync = true;
        inner.waiters.extend(waiters);
        inner.used = inner.used.take().or(used);
        drop(inner);
        self.wake.notify_one();
    }

    /// The next epoch's key, once the used one is destroyed.
    pub(crate) fn take_fresh(&self) -> Option<EpochKey> {
        self.lock().fresh.take()
    }

    /// Why nothing can be synced.
    pub(crate) fn fault(&self) -> Option<Arc<str>> {
        let inner = self.lock();
        inner.sync_fault.clone().or_else(|| inner.key_fault.clone())
    }

    /// Ends the syncer when it has done what it was asked.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own part.
pub(crate) struct Syncer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) desk: Arc<SyncDesk>,
    pub(crate) key_file: KeyFile,
    /// The log, open for good: a sync must not fail for want of a descriptor, since that would be final.
    pub(crate) wal: File,
    /// Where it is; another file under its name holds nothing of ours.
    pub(crate) wal_path: PathBuf,
}

impl Syncer {
    /// Works until the desk is closed.
    pub(crate) fn run(self) {
        let mut failed = false;
        loop {
            let mut inner = self.desk.lock();
            if failed && !inner.closing {
                inner = self.desk.wake.wait_timeout(inner, RETRY).unwrap_or_else(PoisonError::into_inner).0;
            }
            while !inner.sync && inner.used.is_none() && !inner.closing {
                inner = self.desk.wake.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            let (asked, waiters) = (std::mem::take(&mut inner.sync), std::mem::take(&mut inner.waiters));
            let used = inner.used.take();
            let ends = inner.closing && !asked && (failed || used.is_none());
            drop(inner);
            if ends {
                return;
            }
            failed = false;
            if self.sync_for(waiters)
                && let Some(slot) = used
            {
                failed = !self.renew(slot);
            }
        }
    }

    /// Syncs and answers; whether the disk has it.
    fn sync_for(&self, waiters: Vec<(Answer, u64)>) -> bool {
        let synced = self.sync();
        if let Err(why) = &synced {
            self.shared.set_fault(Some(Arc::clone(why)));
            self.desk.lock().sync_fault = Some(Arc::clone(why));
            self.shared.queue.nudge();
        }
        for (answer, seq) in waiters {
            answer.send(synced.clone().map(|()| seq).map_err(Unavailable::new));
        }
        synced.is_ok()
    }

    fn sync(&self) -> Result<(), Arc<str>> {
        let attempt = || {
            let (ours, there) = (self.wal.metadata()?, std::fs::metadata(&self.wal_path)?);
            if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
                return Err(std::io::Error::other("another file is in its place"));
            }
            rustix::fs::fdatasync(&self.wal).map_err(std::io::Error::from)
        };
        let told =
            |fault| format!("the write-ahead log cannot be synced: {fault}; check the disk and restart");
        attempt().map_err(|fault| told(fault).into())
    }

    /// Overwrites a used key by a new one; whether that worked. Without it no further seal can be made.
    fn renew(&self, slot: Slot) -> bool {
        let made = EpochKey::generate().and_then(|key| self.key_file.store(slot, &key).map(|()| key));
        let mut inner = self.desk.lock();
        let worked = made.is_ok();
        match made {
            Ok(key) => {
                inner.fresh = Some(key);
                inner.key_fault = None;
            }
            Err(fault) => {
                let why: Arc<str> = format!("the seal key cannot be written: {fault}; check the disk").into();
                inner.used = Some(slot);
                inner.key_fault = Some(Arc::clone(&why));
                self.shared.set_fault(Some(why));
            }
        }
        drop(inner);
        self.shared.queue.nudge();
        worked
    }
}
