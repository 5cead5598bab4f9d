//! What can go wrong with the journal, in words for the person who has to mend it. Opening fails with a
//! [`JournalError`], a running journal with [`Unavailable`], and checking the chain with a [`VerifyError`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The journal cannot be opened or read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database is damaged, or holds what no gate wrote.
    #[error(
        "`{path}` is damaged: {why}; put back a copy of it and of `journal.key` from the same moment, or move both away"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// SQLite reports a fault.
    #[error("`{path}`: cannot {what}: {source}; check the disk and the rights on the state directory")]
    Database {
        /// The database.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// SQLite's word for it.
        source: rusqlite::Error,
    },
    /// The operating system reports a fault.
    #[error("`{path}`: cannot {what}: {source}; check the disk and the rights on the state directory")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The system's word for it.
        source: io::Error,
    },
    /// The seal key is not the one that belongs to the database.
    #[error(
        "`{path}` does not belong to the database beside it: {why}; put back both from the same moment, or move both away"
    )]
    KeyForeign {
        /// The key file.
        path: PathBuf,
        /// How that shows.
        why: &'static str,
    },
    /// Another gate uses this state directory.
    #[error("another gate ({holder}) uses `{path}`: stop it, or give another --state-dir")]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// `process 123`, when it says so.
        holder: String,
    },
    /// There is no journal there.
    #[error("there is no journal at `{path}`: start the gate once, or give another --state-dir")]
    Missing {
        /// The database that was looked for.
        path: PathBuf,
    },
    /// A newer mexegate wrote it.
    #[error(
        "`{path}` has schema {found}, and this mexegate knows up to {known}: start the newer mexegate that wrote it"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
        /// The highest that is known here.
        known: i64,
    },
    /// The journal has no seal yet.
    #[error("the journal at `{path}` has no seal yet: start the gate once")]
    NotBegun {
        /// The database.
        path: PathBuf,
    },
    /// The file is no database of ours.
    #[error("`{path}` is not a journal of mexegate: move it away, or give another --state-dir")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
}

impl JournalError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }

    /// Sorts SQLite's faults: a file that is no database, a damaged one, and everything else.
    pub(crate) fn database(what: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => Self::Damaged { path, why: source.to_string() },
            _ => Self::Database { path, what, source },
        }
    }
}

/// A record or change could not be committed: what depends on it must not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal is unavailable: {why}")]
pub struct Unavailable {
    /// What is wrong, in one line.
    pub why: Arc<str>,
}

impl Unavailable {
    pub(crate) fn new(why: impl Into<Arc<str>>) -> Self {
        Self { why: why.into() }
    }
}

/// The chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal was altered at record {seq}: {what}")]
pub struct Broken {
    /// The first record that does not fit; 0 when it lies before the first.
    pub seq: u64,
    /// What does not fit.
    pub what: String,
}

/// The chain could not be found whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It was read, and it is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It is not the journal that the checkpoint was taken of, or not as far on.
    #[error(transparent)]
    Checkpoint(#[from] Mismatch),
    /// It could not be read.
    #[error(transparent)]
    Unreadable(#[from] JournalError),
}

/// The journal does not go on from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It has another identity.
    #[error("another journal: the checkpoint was taken of {of}, and this is {found}")]
    AnotherJournal {
        /// The identity in the checkpoint.
        of: String,
        /// The identity found; `a journal without a seal` when it has none.
        found: String,
    },
    /// It ends before the checkpoint.
    #[error(
        "rolled back behind the checkpoint: it ends with seal {seal} over record {seq}, and the checkpoint is seal \
         {wanted_seal} over record {wanted_seq}; an older copy was put back, or the end was cut off"
    )]
    RolledBack {
        /// The last seal that is there.
        seal: u64,
        /// The last record that it covers.
        seq: u64,
        /// The checkpoint's seal.
        wanted_seal: u64,
        /// The last record that the checkpoint covers.
        wanted_seq: u64,
    },
    /// It has something else where the checkpoint was taken.
    #[error(
        "rewritten: record {seq} or what is before it is not what the checkpoint was taken of; the past was replaced, \
         or an older copy was put back and went on from there"
    )]
    Rewritten {
        /// The last record that the checkpoint covers.
        seq: u64,
    },
}

impl Mismatch {
    /// A stable word for it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AnotherJournal { .. } => "another-journal",
            Self::RolledBack { .. } => "rolled-back",
            Self::Rewritten { .. } => "rewritten",
        }
    }
}
