//! The door: [`Journal`], the handle that the rest of the gate holds. It opens the database, starts the threads that
//! work on it, and hands them what callers bring. No SQL here, and no waiting but for an answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mexe_model::{AppId, GrantId, WallTime};

use crate::courier::Answer;
use crate::query::{Filter, Page, Row, page, query};
use crate::queue::{Job, closed};
use crate::record::Record;
use crate::shared::{Life, Shared};
use crate::state::{Change, Loaded};
use crate::usage::{Usage, UsageKey, usage};
use crate::{JournalError, Unavailable, coalesce, open};

/// The database's name in the state directory, unless [`Options::file`] says another.
pub const DATABASE: &str = "mexegate.db";

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The database's name in the state directory.
    pub file: String,
    /// How long decisions and ends of flows are kept.
    pub retention: Duration,
    /// How long changes are kept; never less than `retention`.
    pub change_retention: Duration,
    /// How large the database may grow, bytes; past it the oldest decisions and ends of flows go before their time.
    pub max_size: u64,
    /// How refusals are counted together.
    pub refusals: coalesce::Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file: DATABASE.to_owned(),
            retention: Duration::from_secs(90 * 86_400),
            change_retention: Duration::from_secs(3 * 365 * 86_400),
            max_size: 256 << 20,
            refusals: coalesce::Limits::default(),
        }
    }
}

/// Whose personal fields are taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// Those of all records of one app.
    App(AppId),
    /// Those of all records older than that.
    Before(WallTime),
    /// Those of the decisions and ends of flows of one app that are older than that.
    Requests {
        /// The app.
        app: AppId,
        /// The time.
        before: WallTime,
    },
}

/// What the user clears: decisions and ends of flows. Changes stay for their own time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clearing {
    /// Of this app only: the records stay as links of the chain, and their personal fields are taken out. Without it the
    /// records are taken out.
    pub app: Option<AppId>,
    /// Only what is older than that.
    pub before: Option<WallTime>,
}

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether records are being committed. While they are not, nothing may open.
    pub available: bool,
    /// What is wrong, when something is.
    pub why: Option<String>,
    /// How many records wait to be committed.
    pub backlog: usize,
    /// How many records there have ever been.
    pub records_total: u64,
}

/// A handle to the journal; clones are the same journal. When the last one goes, what is queued is committed, sealed
/// and synced.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    life: Arc<Life>,
}

impl Journal {
    /// Opens the journal in a state directory, making both where they are missing (modes 0700 and 0600), and reads what
    /// the gate has to know from it. Blocks, for some milliseconds.
    ///
    /// # Errors
    /// See [`JournalError`]; in every case what was there stays as it was.
    pub fn open(state_dir: &Path, options: Options) -> Result<(Self, Loaded), JournalError> {
        let (shared, life, loaded) = open::open(state_dir, options)?;
        Ok((Self { shared, life: Arc::new(life) }, loaded))
    }

    /// Writes a record and waits until it is committed: a killed gate does not lose it any more, a power failure may
    /// within about a second. The answer is its number. A refusal that is only counted (see [`crate::coalesce`]) is
    /// answered with the number of the record that stands for it.
    ///
    /// Waits for a place when thousands of records are queued. Dropping the future after it was first polled may or may
    /// not leave the record written.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be committed: what it would have recorded must not happen.
    pub async fn record(&self, record: Record) -> Result<u64, Unavailable> {
        let (answer, outcome) = Answer::new();
        self.shared.queue.push(Job::Record { record, answer }).await?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Hands over a record that nobody has to wait for, such as the end of a flow; never waits itself, so that
    /// destructors can call it. While the gate lives it is written sooner or later, also when the journal is unavailable
    /// just now. The queue has no bound for these: there are no more of them than flows that were let open.
    pub fn note(&self, record: Record) {
        if self.shared.queue.push_now(Job::Note { record }).is_err() {
            tracing::error!("a record came after the journal was closed, and is lost");
        }
    }

    /// Makes a change together with the record that tells of it, and waits until the disk has both. The answer is the
    /// record's number.
    ///
    /// # Errors
    /// [`Unavailable`] when the change was refused (an unknown app, a spent grant) or could not be committed: then it is
    /// not made. Only when the disk fails in the very act of syncing, it may be found made after a restart.
    pub async fn change(&self, change: Change, record: Record) -> Result<u64, Unavailable> {
        let (answer, outcome) = Answer::new();
        self.shared.queue.push(Job::Change { change, record: Box::new(record), answer }).await?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Adds to what apps moved, and waits until that is committed. There is no record of it.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be committed: then nothing was added, and it may be handed over again.
    pub async fn account(&self, usage: Vec<(UsageKey, Usage)>) -> Result<(), Unavailable> {
        let (answer, outcome) = Answer::new();
        self.shared.queue.push(Job::Account { usage, answer }).await?;
        outcome.await.unwrap_or_else(|_| Err(closed())).map(|_| ())
    }

    /// The usage of these days; see [`usage()`]. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// As [`usage()`].
    pub fn usage(&self, first: i64, last: i64) -> Result<Vec<(UsageKey, Usage)>, JournalError> {
        usage(&self.shared.path, first, last)
    }

    /// Takes the personal fields of records out for good; the chain still verifies, and counts them as erased. `record`
    /// tells of it, and should name nobody. The answer is how many records were concerned; without any it is not written.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be committed; then nothing is erased.
    pub async fn erase(&self, what: Erasure, record: Record) -> Result<u64, Unavailable> {
        let (answer, outcome) = Answer::new();
        self.shared.queue.push(Job::Erase { what, record: Box::new(record), answer }).await?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Takes out what the user wants to be gone; the chain still verifies, also against checkpoints. `record` tells of it,
    /// as `journal.clear` or, for one app, `journal.erase`, with how many records it was, and stays for good. The answer
    /// is that number, given when nothing of it is left in the database; without any there is no record.
    ///
    /// A gate that is killed meanwhile has either not begun, or goes on with it at its next start.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be committed; then nothing is cleared.
    pub async fn clear(&self, what: Clearing, record: Record) -> Result<u64, Unavailable> {
        let before = what.before.unwrap_or(WallTime::from_millis(u64::MAX));
        let Some(app) = what.app else {
            let (answer, outcome) = Answer::new();
            self.shared.queue.push(Job::Clear { before, record: Box::new(record), answer }).await?;
            return outcome.await.unwrap_or_else(|_| Err(closed()));
        };
        self.erase(Erasure::Requests { app, before }, record).await
    }

    /// Applies retention now instead of within the hour. The answer is how many records are taken out.
    ///
    /// # Errors
    /// [`Unavailable`] when that could not be committed.
    pub async fn tidy(&self) -> Result<u64, Unavailable> {
        let (answer, outcome) = Answer::new();
        self.shared.queue.push(Job::Tidy { answer }).await?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The next grant's id. No stored grant ever had it.
    pub fn next_grant_id(&self) -> GrantId {
        GrantId(self.shared.next_grant.fetch_add(1, Ordering::Relaxed))
    }

    /// How the journal is just now.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Where the database lies.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Reads records, and where to go on; see [`page()`]. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// As [`page()`].
    pub fn page(&self, filter: &Filter) -> Result<Page, JournalError> {
        page(&self.shared.path, filter)
    }

    /// Reads records; see [`query()`]. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// As [`query()`].
    pub fn query(&self, filter: &Filter) -> Result<Vec<Row>, JournalError> {
        query(&self.shared.path, filter)
    }

    /// Commits what is queued, seals and syncs it, and ends; later records are answered [`Unavailable`]. Blocks until
    /// that is done. The same happens when the last handle goes.
    pub fn close(&self) {
        self.life.end();
    }
}

/// The directory and database that a path given by a user stands for.
pub(crate) fn locate(state_dir: &Path, file: &str) -> PathBuf {
    state_dir.join(file)
}
