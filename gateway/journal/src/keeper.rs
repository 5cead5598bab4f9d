//! The thread that tidies up beside the writer: it moves the write-ahead log into the database, and plans what
//! retention takes out. Both may take long, and neither ever makes a record wait. It reads; what changes the chain is
//! left to the writer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mexe_model::WallTime;
use rusqlite::Connection;

use crate::chain::Hash;
use crate::journal::Options;
use crate::retention::{self, Pace, Plan};
use crate::shared::Shared;

/// How often retention is looked at; one look takes out at most one day.
const LOOK: Duration = Duration::from_secs(3600);

/// How long after the start the first look is.
const FIRST_LOOK: Duration = Duration::from_secs(600);

/// How often the size is looked at, at most.
const SIZE_LOOK: Duration = Duration::from_secs(10);

/// Past so many pages the log is not left to shrink by itself.
const LARGE_LOG: i64 = 8192;

/// What the keeper planned.
pub(crate) struct Planned {
    /// Whether for a user who clears; else for retention.
    pub(crate) clearing: bool,
    /// The plan, if anything is to be taken out.
    pub(crate) plan: Result<Option<Plan>, String>,
}

/// Where writer and keeper leave word for each other.
#[derive(Default)]
pub(crate) struct KeeperDesk {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Default)]
struct Inner {
    checkpoint: bool,
    tidy: bool,
    /// Up to when users want records cleared, in the order in which they asked.
    clear: VecDeque<WallTime>,
    /// A plan waits, or is being carried out.
    busy: bool,
    plan: Option<Planned>,
    log_is_large: bool,
    closing: bool,
}

impl KeeperDesk {
    /// The log has grown: move it into the database.
    pub(crate) fn ask_checkpoint(&self) {
        self.lock().checkpoint = true;
        self.wake.notify_one();
    }

    /// Somebody waits for retention: answer with a plan, or that there is none.
    pub(crate) fn ask_tidy(&self) {
        self.lock().tidy = true;
        self.wake.notify_one();
    }

    /// Somebody wants what is older than that cleared: answer with a plan, or that there is none.
    pub(crate) fn ask_clear(&self, before: WallTime) {
        self.lock().clear.push_back(before);
        self.wake.notify_one();
    }

    /// What the keeper planned, once.
    pub(crate) fn take_plan(&self) -> Option<Planned> {
        self.lock().plan.take()
    }

    /// Whether the log needs the writer to stop for a moment; says so once.
    pub(crate) fn take_log_is_large(&self) -> bool {
        std::mem::take(&mut self.lock().log_is_large)
    }

    /// A plan was adopted and is not carried out yet, or that is over: no further plan before.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.lock().busy = busy;
        self.wake.notify_one();
    }

    /// Ends the keeper.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own part.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) desk: Arc<KeeperDesk>,
    pub(crate) conn: Connection,
    pub(crate) options: Options,
    pub(crate) identity: Hash,
}

impl Keeper {
    /// Works until the desk is closed.
    pub(crate) fn run(self) {
        let mut next_look = Instant::now() + FIRST_LOOK;
        let mut next_size_look = Instant::now();
        loop {
            let mut inner = self.desk.lock();
            while !inner.checkpoint
                && ((!inner.tidy && inner.clear.is_empty()) || inner.busy || inner.plan.is_some())
                && !inner.closing
                && Instant::now() < next_look
            {
                let left = next_look.saturating_duration_since(Instant::now());
                inner = self.desk.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            if inner.closing {
                return;
            }
            let checkpoint = std::mem::take(&mut inner.checkpoint);
            let free = !inner.busy && inner.plan.is_none();
            let clear = if free { inner.clear.pop_front() } else { None };
            let tidy = free && clear.is_none() && std::mem::take(&mut inner.tidy);
            drop(inner);
            let now = Instant::now();
            if checkpoint {
                self.checkpoint();
            }
            let too_large = free && now >= next_size_look && self.is_too_large();
            if checkpoint {
                next_size_look = now + SIZE_LOOK;
            }
            let due = now >= next_look;
            if due {
                next_look = now + LOOK;
            }
            if let Some(before) = clear {
                self.plan_clearing(before);
            } else if tidy || too_large || (due && free) {
                self.plan(tidy);
            }
        }
    }

    /// Moves the log into the database as far as readers allow, without keeping the writer.
    fn checkpoint(&self) {
        let outcome = self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
        match outcome {
            Ok(pages) if pages > LARGE_LOG => {
                self.desk.lock().log_is_large = true;
                self.shared.queue.nudge();
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "the journal's log cannot be moved into the database"),
        }
    }

    fn is_too_large(&self) -> bool {
        retention::is_too_large(&self.conn, self.options.max_size).unwrap_or(false)
    }

    fn plan(&self, asked: bool) {
        let plan = self.read_plan(if asked { Pace::All } else { Pace::OneDay });
        if let Err(fault) = &plan {
            tracing::warn!(%fault, "what retention takes out cannot be planned");
        }
        if asked || matches!(plan, Ok(Some(_))) {
            self.hand_over(plan, false);
        }
    }

    fn plan_clearing(&self, before: WallTime) {
        let plan = || {
            let reading = self.conn.unchecked_transaction()?;
            let plan = retention::plan_clearing(&reading, before, &self.options, &self.identity)?;
            reading.finish()?;
            Ok(plan)
        };
        self.hand_over(plan(), true);
    }

    fn hand_over(&self, plan: rusqlite::Result<Option<Plan>>, clearing: bool) {
        let mut inner = self.desk.lock();
        inner.busy = matches!(plan, Ok(Some(_)));
        inner.plan = Some(Planned { clearing, plan: plan.map_err(|fault| fault.to_string()) });
        drop(inner);
        self.shared.queue.nudge();
    }

    fn read_plan(&self, pace: Pace) -> rusqlite::Result<Option<Plan>> {
        // One transaction, so that the counts and hashes are of one moment.
        let reading = self.conn.unchecked_transaction()?;
        let plan = retention::plan(&reading, now(), pace, &self.options, &self.identity)?;
        reading.finish()?;
        Ok(plan)
    }
}

/// The wall clock.
pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
