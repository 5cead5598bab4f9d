//! What a scrape counts as it is at that moment: apps, runs, grants, roots, streams, bearers, questions.

use std::sync::Arc;

use mexe_model::{Permission, SecurityDomain, Trust};
use mexe_qos::TrafficClass;

use crate::bearer::Status;
use crate::trust::State;

/// What a scrape counts rather than accumulates.
#[derive(Debug, Default)]
pub struct Stock {
    /// Column of each installed app.
    pub apps: Vec<Trust>,
    /// Column of each live run.
    pub runs: Vec<Trust>,
    /// Permission of each live grant.
    pub grants: Vec<Permission>,
    /// Domain and state of each root.
    pub roots: Vec<(SecurityDomain, State)>,
    /// Class of each stream.
    pub streams: Vec<TrafficClass>,
    /// Each bearer, whether it is up, and what it carries.
    pub bearers: Vec<(Arc<str>, Status)>,
    /// Questions that wait.
    pub prompts_open: usize,
    /// Records that wait.
    pub journal_backlog: usize,
    /// Records that this process wrote.
    pub journal_records: u64,
}
