//! The writer thread: takes everything that is queued, commits it in one transaction, answers all. While one commit
//! runs the next batch gathers, so that nobody waits longer than two commits. It also decides when to seal, counts
//! refusals together, and carries notes over hard times. It never waits for the disk; see `syncer` and `keeper`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Unavailable;
use crate::batch::{Batch, Clearer, Rare};
use crate::coalesce::Coalescer;
use crate::courier::Answer;
use crate::keeper::{KeeperDesk, Planned, now};
use crate::lock::StateLock;
use crate::queue::{Job, Queue};
use crate::record::Record;
use crate::seal::Sealer;
use crate::shared::Shared;
use crate::store::{Fault, Store};
use crate::syncer::SyncDesk;

/// At most so often is a seal made, and with it a sync of the log: what a power failure can take is a little more.
const SEAL_EVERY: Duration = Duration::from_millis(900);

/// How long after a fault it is tried again without being asked.
const RETRY: Duration = Duration::from_secs(1);

/// After so many commits the log is moved into the database.
const CHECKPOINT_EVERY: u32 = 500;

/// The pause between two steps of taking records out.
const PRUNE_PAUSE: Duration = Duration::from_millis(10);

/// How long the end waits for the disk.
const END_WAIT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) sealer: Sealer,
    pub(crate) sync_desk: Arc<SyncDesk>,
    pub(crate) keeper_desk: Arc<KeeperDesk>,
    pub(crate) coalescer: Coalescer,
    pub(crate) numbers: Numbers,
    /// Whether records lie in gaps that have to be taken out.
    pub(crate) pruning: bool,
    pub(crate) helpers: Vec<JoinHandle<()>>,
    pub(crate) lock: StateLock,
    pub(crate) clock: Clock,
    pub(crate) carried: Vec<Record>,
    pub(crate) rare: Vec<Rare>,
    pub(crate) tidying: Vec<Answer>,
    pub(crate) pruned: u64,
    /// Who asked for records to be cleared and waits for the plan, in order.
    pub(crate) clearers: VecDeque<Clearer>,
    /// Whose records are being taken out.
    pub(crate) clearing: Option<Answer>,
}

/// The numbers of flows and runs that are reserved, so that a restart begins above them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) flow_limit: u64,
    pub(crate) run_limit: u64,
}

/// When what is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    born: Instant,
    next_seal: Instant,
    retry: Option<Instant>,
    next_prune: Instant,
    /// When to try to empty the log.
    empty_log: Option<Instant>,
    commits: u32,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let born = Instant::now();
        Self { born, next_seal: born, retry: None, next_prune: born, empty_log: None, commits: 0 }
    }

    /// The coalescer's time line begins with the writer.
    fn own(&self, at: Instant) -> mexe_model::Instant {
        mexe_model::Instant::from_nanos(0).after(at.saturating_duration_since(self.born))
    }

    fn std(&self, at: mexe_model::Instant) -> Option<Instant> {
        self.born.checked_add(Duration::from_nanos(at.as_nanos()))
    }
}

impl Writer {
    /// Works until the queue is closed, then brings everything to an end.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _end = EndsQueue(&shared.queue);
        let mut jobs = Vec::new();
        let mut crowded = false;
        loop {
            let taken = shared.queue.take(&mut jobs, self.wake_at(), crowded);
            // Woken by the first of several callers on the same core, this thread would run before the others have asked.
            crowded = taken.placed > 1;
            self.turn(&mut jobs);
            shared.queue.give_back(taken.placed);
            if taken.closing {
                break;
            }
        }
        self.finish();
    }

    /// When there will be something to do though nobody asks.
    fn wake_at(&self) -> Option<Instant> {
        if self.clock.retry.is_some() {
            return self.clock.retry;
        }
        let seal = (self.sealer.is_ready() && self.store.committed() > self.sealer.sealed())
            .then_some(self.clock.next_seal);
        let counts = self.coalescer.next_due().and_then(|at| self.clock.std(at));
        let prune = self.pruning.then_some(self.clock.next_prune);
        [seal, counts, prune, self.clock.empty_log].into_iter().flatten().min()
    }

    fn turn(&mut self, jobs: &mut Vec<Job>) {
        if let Some(key) = self.sync_desk.take_fresh() {
            self.sealer.renew(key);
        }
        let at = Instant::now();
        let due = self.coalescer.due(self.clock.own(at));
        self.carried.extend(due);
        if let Some(why) = self.sync_desk.fault() {
            self.refuse_all(jobs, &Fault { why });
            self.clock.retry = Some(at + RETRY);
            return;
        }
        let outcome = self.batch(jobs, at).and_then(|()| self.rare_work(at));
        if let Err(fault) = outcome {
            self.fail(&fault, at);
        }
        self.shared.carried.store(u64::try_from(self.carried.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Commits what is carried and what was taken, and answers.
    fn batch(&mut self, jobs: &mut Vec<Job>, at: Instant) -> Result<(), Fault> {
        let own = self.clock.own(at);
        let mut batch = Batch::default();
        let mut written = Ok(());
        for record in std::mem::take(&mut self.carried) {
            if written.is_ok() {
                written = batch.note(&mut self.store, record);
            } else {
                batch.notes.push(record);
            }
        }
        // What is counted of before a clearing must not be written after it.
        if jobs.iter().any(|job| matches!(job, Job::Clear { .. } | Job::Erase { .. })) {
            for record in self.coalescer.drain() {
                if written.is_ok() {
                    written = batch.note(&mut self.store, record);
                } else {
                    batch.notes.push(record);
                }
            }
        }
        let mut to_clear = Vec::new();
        for job in jobs.drain(..) {
            match job {
                Job::Clear { before, record, answer } => {
                    self.clearers.push_back(Clearer { record, answer });
                    to_clear.push(before);
                }
                Job::Erase { what, record, answer } => self.rare.push(Rare::Erase { what, record, answer }),
                Job::Tidy { answer } => {
                    self.tidying.push(answer);
                    self.keeper_desk.ask_tidy();
                }
                job if written.is_ok() => written = batch.add(&mut self.store, &mut self.coalescer, own, job),
                job => batch.keep(job),
            }
        }
        let seal = self.sealer.is_ready()
            && at >= self.clock.next_seal
            && self.store.head().seq > self.sealer.sealed();
        if self.clock.retry.is_some_and(|retry| retry <= at) && !self.store.has_begun() {
            written = written.and_then(|()| probe(&mut self.store));
        }
        let committed = written
            .and_then(|()| batch.reserve(&mut self.store, &mut self.numbers))
            .and_then(|()| if seal { self.sealer.write(&mut self.store, now(), false) } else { Ok(()) })
            .and_then(|()| self.commit());
        let settled = self.settle(committed, seal);
        // Only now the keeper finds what came before the wish.
        to_clear.into_iter().for_each(|before| self.keeper_desk.ask_clear(before));
        match settled {
            Ok(()) => {
                let used = if seal { self.sealed(at) } else { None };
                let waiters = batch.answer();
                if used.is_some() || !waiters.is_empty() {
                    self.sync_desk.ask(waiters, used);
                }
                Ok(())
            }
            Err(fault) => {
                // Who is refused must find the journal unavailable when he looks.
                self.shared.set_fault(Some(Arc::clone(&fault.why)));
                self.coalescer.undo_after(self.store.committed());
                self.carried = batch.refuse(&Unavailable::new(Arc::clone(&fault.why)));
                Err(fault)
            }
        }
    }

    /// What needs a seal in its own transaction, and the steps of taking records out.
    fn rare_work(&mut self, at: Instant) -> Result<(), Fault> {
        if self.keeper_desk.take_log_is_large() {
            self.clock.empty_log = Some(at);
        }
        if self.clock.empty_log.is_some_and(|due| due <= at) {
            self.empty_log(at);
        }
        if self.sealer.is_ready() && (!self.rare.is_empty() || self.take_plan()) {
            let mut rare = self.rare.remove(0);
            let prunes = matches!(rare, Rare::Prune { .. });
            let done = rare
                .carry_out(&mut self.store, &self.sealer)
                .and_then(|count| self.sealer.write(&mut self.store, now(), false).map(|()| count))
                .and_then(|count| self.commit().map(|()| count));
            let (count, outcome) = match done {
                Ok(count) => (count, Ok(())),
                Err(fault) => (0, Err(fault)),
            };
            match self.settle(outcome, true) {
                Ok(()) => {
                    let used = self.sealed(at);
                    let waiters = match rare {
                        Rare::Erase { answer, .. } => {
                            // The log still holds what was taken out.
                            self.empty_log(at);
                            vec![(answer, count)]
                        }
                        Rare::Prune { clearing, .. } => {
                            (self.pruning, self.pruned) = (true, count);
                            self.clearing = clearing.map(|clearer| clearer.answer);
                            Vec::new()
                        }
                    };
                    self.sync_desk.ask(waiters, used);
                    self.shared.queue.nudge();
                }
                Err(fault) => {
                    self.shared.set_fault(Some(Arc::clone(&fault.why)));
                    rare.refuse(&fault);
                    if prunes {
                        self.end_pruning(Err(Unavailable::new(Arc::clone(&fault.why))));
                    }
                    return Err(fault);
                }
            }
        }
        if self.pruning && at >= self.clock.next_prune {
            self.store.begin()?;
            let taken_out = crate::retention::delete_some(self.store.conn(), PRUNE_STEP)?;
            self.commit()?;
            self.clock.next_prune = at + PRUNE_PAUSE;
            if taken_out == 0 {
                if self.clearing.is_some() {
                    self.empty_log(at);
                }
                self.end_pruning(Ok(self.pruned));
            }
        }
        Ok(())
    }

    /// Empties the log. A reader may keep it from that, or a full disk: then it is tried again later.
    fn empty_log(&mut self, at: Instant) {
        let emptied = self.store.empty_log().unwrap_or(false);
        self.clock.empty_log = (!emptied).then_some(at + RETRY);
    }

    /// Looks whether the keeper has planned something; whether that is to be carried out.
    fn take_plan(&mut self) -> bool {
        let Some(Planned { clearing, plan }) = self.keeper_desk.take_plan() else { return false };
        // The keeper plans for those who clear in the order in which they asked.
        let clearer = if clearing { self.clearers.pop_front() } else { None };
        let outcome = match plan {
            Ok(Some(plan)) => {
                self.rare.push(Rare::Prune { plan, clearing: clearer });
                return true;
            }
            Ok(None) => Ok(0),
            Err(why) => Err(Unavailable::new(why)),
        };
        match clearer {
            Some(clearer) => {
                clearer.answer.send(outcome);
                self.keeper_desk.set_busy(false);
            }
            None => self.end_pruning(outcome),
        }
        false
    }

    /// What was to be taken out is gone, or will not be. Who cleared is answered, else who waits for retention.
    fn end_pruning(&mut self, outcome: Result<u64, Unavailable>) {
        self.pruning = false;
        self.pruned = 0;
        self.keeper_desk.set_busy(false);
        match (self.clearing.take(), outcome) {
            (Some(answer), Ok(count)) => self.sync_desk.ask(vec![(answer, count)], None),
            (Some(answer), Err(why)) => answer.send(Err(why)),
            (None, outcome) => {
                for answer in self.tidying.drain(..) {
                    answer.send(outcome.clone());
                }
            }
        }
    }

    /// A commit may have reached the log though it reported a fault: what counts is what is there.
    fn settle(&mut self, outcome: Result<(), Fault>, seal: bool) -> Result<(), Fault> {
        let Err(fault) = outcome else { return Ok(()) };
        let recorded = self.store.recover()?;
        let made = if seal { self.sealer.is_written(&self.store)? } else { recorded };
        if made { Ok(()) } else { Err(fault) }
    }

    fn commit(&mut self) -> Result<(), Fault> {
        if !self.store.has_begun() {
            return Ok(());
        }
        self.store.commit()?;
        self.clock.retry = None;
        self.shared.records_total.store(self.store.committed(), Ordering::Relaxed);
        if self.sync_desk.fault().is_none() {
            self.shared.set_fault(None);
        }
        self.clock.commits += 1;
        if self.clock.commits >= CHECKPOINT_EVERY {
            self.clock.commits = 0;
            self.keeper_desk.ask_checkpoint();
        }
        Ok(())
    }

    fn sealed(&mut self, at: Instant) -> Option<crate::key::Slot> {
        self.clock.next_seal = at + SEAL_EVERY;
        self.sealer.advance(self.store.committed())
    }

    /// After a fault: nothing of the transaction remains, and it is tried again before long.
    fn fail(&mut self, fault: &Fault, at: Instant) {
        if let Err(deeper) = self.store.recover() {
            tracing::warn!(why = %deeper.why, "the journal's head cannot be read again");
        }
        self.clock.retry = Some(at + RETRY);
        self.shared.set_fault(Some(Arc::clone(&fault.why)));
    }

    fn refuse_all(&mut self, jobs: &mut Vec<Job>, fault: &Fault) {
        self.shared.set_fault(Some(Arc::clone(&fault.why)));
        let mut batch = Batch::default();
        for job in jobs.drain(..) {
            match job {
                Job::Clear { answer, .. } | Job::Erase { answer, .. } | Job::Tidy { answer } => {
                    answer.send(Err(Unavailable::new(Arc::clone(&fault.why))));
                }
                job => batch.keep(job),
            }
        }
        self.carried.extend(batch.refuse(&Unavailable::new(Arc::clone(&fault.why))));
    }

    /// The end: the last counts and notes, a last seal, a last sync, and the helpers are sent home.
    fn finish(mut self) {
        let at = Instant::now();
        self.carried.extend(self.coalescer.drain());
        let deadline = at + END_WAIT;
        // The last seal may be so fresh that its key is not renewed yet; and rare work waits for the key, too.
        loop {
            self.clock.next_seal = at;
            self.turn(&mut Vec::new());
            let open = self.store.committed() > self.sealer.sealed() || !self.rare.is_empty();
            if (!open && self.carried.is_empty()) || Instant::now() >= deadline || self.clock.retry.is_some()
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if !self.carried.is_empty() {
            tracing::error!(records = self.carried.len(), "the journal ends before these could be written");
        }
        // What is cleared is out of the chain already; the next start takes the rest of it out.
        if self.clearing.is_some() {
            self.end_pruning(Ok(self.pruned));
        }
        for clearer in self.clearers.drain(..) {
            clearer.answer.send(Err(crate::queue::closed()));
        }
        self.end_pruning(Err(crate::queue::closed()));
        self.sync_desk.ask(Vec::new(), None);
        self.sync_desk.close();
        self.keeper_desk.close();
        for helper in self.helpers.drain(..) {
            if helper.join().is_err() {
                tracing::error!("a helper thread of the journal ended in a panic");
            }
        }
        drop(self.store);
        drop(self.lock);
    }
}

/// How many records are taken out in one step.
const PRUNE_STEP: u32 = 500;

/// Commits something of no meaning, to see whether commits work again.
fn probe(store: &mut Store) -> Result<(), Fault> {
    store.begin()?;
    store.conn().prepare_cached("UPDATE counters SET next = next + 1 WHERE name = 'probe'")?.execute([])?;
    Ok(())
}

/// However the writer ends, nobody waits for it afterwards.
struct EndsQueue<'a>(&'a Queue);

impl Drop for EndsQueue<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
