//! The use of a schedule: one performance, and the bytes that it may move for a start. Counted before anything happens,
//! written down together with the decision (S26).

use std::sync::Arc;

use mexe_journal::Change;
use mexe_model::GrantId;
use mexe_policy::schedule::Shut;
use mexe_relay::Allowance;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;

use super::Schedules;
use super::signed::{Part, Signed};
use crate::clock;

/// What was counted and is not written down yet. Dropped without that, it stays counted until the next start.
#[derive(Debug, Default)]
pub struct Used {
    counted: Vec<Counted>,
    allowance: Option<Arc<Allowance>>,
}

#[derive(Debug)]
struct Counted {
    signed: Arc<Signed>,
    part: Part,
    /// Until the count is written down, nobody else writes a later one.
    _writing: OwnedMutexGuard<()>,
}

impl Used {
    /// What has to be written down.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        self.counted.iter().map(|counted| change(&counted.signed))
    }

    /// It is written down: from now on the bytes may be moved.
    pub fn is_written(&mut self) {
        for counted in self.counted.drain(..) {
            counted.signed.put(counted.part);
        }
    }

    /// What the flow has to take its bytes from.
    pub fn allowance(&self) -> Option<Arc<Allowance>> {
        self.allowance.clone()
    }
}

pub(super) fn change(signed: &Signed) -> Change {
    Change::UseSchedule { name: signed.schedule.name().to_owned(), usage: json!(signed.written()) }
}

impl Schedules {
    /// Whether a grant is a part of a schedule.
    pub fn has(&self, grant: GrantId) -> bool {
        self.signed.load().by_grant.contains_key(&grant)
    }

    /// Counts one performance under these grants; the first is the one that its bytes are counted by.
    ///
    /// # Errors
    /// Why nothing is left of the schedule of one of them: decide again, after [`super::settle`].
    pub async fn perform(&self, grant: GrantId, other: Option<GrantId>) -> Result<Used, Shut> {
        let listed = self.signed.load();
        if listed.by_grant.is_empty() {
            return Ok(Used::default());
        }
        let find = |grant: GrantId| listed.by_grant.get(&grant).cloned();
        let has_budget =
            |signed: &Arc<Signed>| signed.schedule.budget() != mexe_policy::schedule::Budget::default();
        let main = find(grant).filter(has_budget);
        let allowance = main.as_ref().and_then(|signed| signed.allowance.clone());
        let mut all: Vec<Arc<Signed>> =
            main.into_iter().chain(other.and_then(find).filter(has_budget)).collect();
        drop(listed);
        // In one order, so that no two wait for each other.
        all.sort_by(|a, b| a.schedule.name().cmp(b.schedule.name()));
        all.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let mut counted = Vec::with_capacity(all.len());
        for signed in all {
            let writing = Arc::clone(&signed.writing).lock_owned().await;
            let part = signed.perform(clock::local())?;
            counted.push(Counted { signed, part, _writing: writing });
        }
        Ok(Used { counted, allowance })
    }
}
