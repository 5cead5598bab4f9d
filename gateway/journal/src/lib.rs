//! The journal of mexegate: every decision is one record in a hash chain, written down before its flow opens; apps,
//! grants and roots are kept beside it and change only together with a record that tells of it.
//!
//! One writer thread owns the SQLite database. Whatever is queued is committed at one go, and whoever waited is answered
//! then. What narrows or widens what an app may do ([`Journal::change`]) is answered only when the disk has it. A killed
//! gate loses nothing that was answered; a power failure takes at most about the last second of decisions.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let state_dir = dir.path();
//! use mexe_journal::{Filter, Journal, Options, Outcome, Record, query, verify};
//! use mexe_model::{Reason, WallTime};
//!
//! let (journal, loaded) = Journal::open(state_dir, Options::default())?;
//! assert!(loaded.apps.is_empty());
//! let refusal = Record {
//!     app: Some("weather".parse()?),
//!     action: Some("network.connect".into()),
//!     target: Some("example.org:443".to_owned()),
//!     decision: Some(Outcome::Deny),
//!     reason: Some(Reason::PermissionMissing),
//!     ..Record::decision(WallTime::from_secs(1_795_489_491))
//! };
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let seq = journal.record(refusal).await?;
//! # assert_eq!(seq, 1);
//! # Ok::<(), mexe_journal::Unavailable>(()) })?;
//! journal.close();
//!
//! let rows = query(state_dir, &Filter { reason: Some(Reason::PermissionMissing), ..Filter::default() })?;
//! assert_eq!(rows.len(), 1);
//! assert_eq!(verify(state_dir)?.records, 1);
//! # Ok(()) }
//! ```

mod batch;
mod beginning;
mod chain;
mod checkpoint;
pub mod coalesce;
mod courier;
mod csv;
mod error;
mod journal;
mod keeper;
mod key;
mod lock;
mod open;
mod query;
mod queue;
mod record;
mod retention;
mod says;
mod schema;
mod seal;
mod shared;
mod state;
mod store;
mod syncer;
mod tables;
mod usage;
mod verify;
mod writer;

pub use checkpoint::{Checkpoint, CheckpointError, Found, Standing};
pub use courier::deliver;
pub use csv::{CSV_HEADING, csv_line};
pub use error::{Broken, JournalError, Mismatch, Unavailable, VerifyError};
pub use journal::{Clearing, DATABASE, Erasure, Health, Journal, Options};
pub use query::{Filter, Page, Row, page, query};
pub use record::{Kind, Outcome, Record, UnknownWord, Word};
pub use says::says;
pub use state::{
    AppState, Change, Deadline, Head, Loaded, RootKind, RootState, StoredApp, StoredGrant, StoredList,
    StoredRoot, StoredSchedule,
};
pub use usage::{USAGE_DAYS, Usage, UsageKey, usage};
pub use verify::{VerifyReport, verify, verify_against};
