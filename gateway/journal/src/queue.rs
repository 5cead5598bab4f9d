//! The way from the callers to the writer thread: a queue that the writer empties at one go. Callers that can wait take
//! a place first, and wait when all are taken (back-pressure on admission, nothing is dropped); those that cannot
//! wait, because they run in a destructor, are let in without one. What nobody waits for does not hurry the writer: it
//! is taken along with the next job, or after [`LINGER`]. Only this module locks the queue, never over an await.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mexe_model::WallTime;
use tokio::sync::Semaphore;

use crate::Unavailable;
use crate::courier::Answer;
use crate::journal::Erasure;
use crate::record::Record;
use crate::state::Change;
use crate::usage::{Usage, UsageKey};

/// How many waiting jobs there may be before callers have to wait for a place.
const PLACES: usize = 4096;

/// How long a note may wait for company; a commit of its own costs more than all that it says.
const LINGER: Duration = Duration::from_millis(5);

/// So many notes are company enough.
const MANY: usize = 256;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// What was moved since the last time.
    Account {
        usage: Vec<(UsageKey, Usage)>,
        answer: Answer,
    },
    Change {
        change: Change,
        record: Box<Record>,
        answer: Answer,
    },
    /// The user's wish: decisions and ends of flows go.
    Clear {
        before: WallTime,
        record: Box<Record>,
        answer: Answer,
    },
    Erase {
        what: Erasure,
        record: Box<Record>,
        answer: Answer,
    },
    /// A flow's end: nobody waits for it.
    Note {
        record: Record,
    },
    Record {
        record: Record,
        answer: Answer,
    },
    /// Applies retention now.
    Tidy {
        answer: Answer,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    places: Semaphore,
    waiting: AtomicUsize,
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: Vec<Job>,
    /// How many of the jobs hold a place.
    placed: usize,
    sleep: Sleep,
    /// Somebody waits for one of the jobs.
    urgent: bool,
    nudged: bool,
    closing: bool,
    ended: bool,
}

/// How deep the writer sleeps.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// Until it is worth while: a note needs not wake it.
    Light,
    /// Until there is anything.
    Deep,
}

/// What the writer took.
#[derive(Debug)]
pub(crate) struct Taken {
    /// How many places to give back with [`Queue::give_back`].
    pub(crate) placed: usize,
    /// Whether the journal is being closed: nothing comes after this.
    pub(crate) closing: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            wake: Condvar::new(),
            places: Semaphore::new(PLACES),
            waiting: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Waits for a place, then queues the job. Cancel safe: a caller that goes away before leaves no job behind.
    pub(crate) async fn push(&self, job: Job) -> Result<(), Unavailable> {
        match self.places.acquire().await {
            Ok(place) => place.forget(),
            Err(_) => return Err(closed()),
        }
        self.put(job, 1)
    }

    /// Queues the job at once, place or no place.
    pub(crate) fn push_now(&self, job: Job) -> Result<(), Unavailable> {
        self.put(job, 0)
    }

    fn put(&self, job: Job, places: usize) -> Result<(), Unavailable> {
        let mut inner = self.lock();
        if inner.closing || inner.ended {
            return Err(closed());
        }
        inner.urgent |= !matches!(job, Job::Note { .. });
        inner.jobs.push(job);
        inner.placed += places;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let wake = match inner.sleep {
            Sleep::Awake => false,
            Sleep::Light => inner.urgent || inner.jobs.len() >= MANY,
            Sleep::Deep => true,
        };
        if wake {
            inner.sleep = Sleep::Awake;
        }
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits until there are jobs, a nudge, the end or `until`; then moves all jobs into `jobs`, which must be empty.
    /// With `gather` those who run just now may add theirs before.
    pub(crate) fn take(&self, jobs: &mut Vec<Job>, until: Option<Instant>, gather: bool) -> Taken {
        let mut inner = self.lock();
        let mut light_until = Instant::now() + LINGER;
        while !inner.urgent && !inner.nudged && !inner.closing && inner.jobs.len() < MANY {
            let now = Instant::now();
            let lingers = now < light_until;
            if until.is_some_and(|until| until <= now) || (!lingers && !inner.jobs.is_empty()) {
                break;
            }
            inner.sleep = if lingers { Sleep::Light } else { Sleep::Deep };
            let next = lingers.then_some(light_until).into_iter().chain(until).min();
            inner = match next {
                None => self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let left = next.saturating_duration_since(now);
                    self.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            if !lingers {
                light_until = Instant::now() + LINGER;
            }
        }
        inner.sleep = Sleep::Awake;
        if gather && inner.urgent {
            drop(inner);
            std::thread::yield_now();
            inner = self.lock();
        }
        (inner.urgent, inner.nudged) = (false, false);
        std::mem::swap(&mut inner.jobs, jobs);
        self.waiting.fetch_sub(jobs.len(), Ordering::Relaxed);
        Taken { placed: std::mem::take(&mut inner.placed), closing: inner.closing }
    }

    /// Gives places back to those who wait for one.
    pub(crate) fn give_back(&self, places: usize) {
        self.places.add_permits(places);
    }

    /// Wakes the writer though there is no job.
    pub(crate) fn nudge(&self) {
        self.lock().nudged = true;
        self.wake.notify_one();
    }

    /// Lets no further job in; the writer does what is queued and ends.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    /// The writer has ended, in whatever way: nobody shall wait for it.
    pub(crate) fn end(&self) {
        let left = {
            let mut inner = self.lock();
            inner.ended = true;
            std::mem::take(&mut inner.jobs)
        };
        self.ended.store(true, Ordering::Release);
        self.places.close();
        drop(left);
    }

    /// Whether the writer has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// How many jobs are queued.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn closed() -> Unavailable {
    Unavailable::new("it was closed")
}
