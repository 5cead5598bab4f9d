//! One schedule that was signed off, and what was used of it. Bytes are set aside in parts: a part is written down as used
//! before it goes into the allowance that the flows use up, so that a power failure gives nothing twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mexe_model::{GrantId, Reason, WallTime};
use mexe_policy::schedule::{Left, Shut, Usage};
use mexe_policy::{LocalTime, Schedule, SecurityTable};
use mexe_relay::Allowance;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::clock;

/// A budget of bytes is set aside in so many parts; a power failure loses two at most.
const PARTS: u64 = 32;
/// A part is not smaller, bytes: each costs a write to the disk.
const SMALLEST_PART: u64 = 64 << 10;

/// A part of the bytes that was counted as used, for flows to move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: u64,
    /// Nothing comes after it.
    is_last: bool,
}

/// A schedule that counts.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) schedule: Schedule,
    /// The grants that it stands for.
    pub(super) grants: Vec<GrantId>,
    pub(super) signed_off_at: WallTime,
    /// What its flows may still move of what was set aside; none without a budget of bytes.
    pub(super) allowance: Option<Arc<Allowance>>,
    part: u64,
    /// Flows may be using the allowance.
    pub(super) in_use: AtomicBool,
    /// With what was set aside.
    usage: Mutex<Usage>,
    /// Whoever holds it writes the usage down: no older state overwrites a newer one.
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
    /// What the policy knows of it.
    pub(super) known: Mutex<Option<Shut>>,
}

impl Signed {
    pub(super) fn new(
        schedule: Schedule,
        grants: Vec<GrantId>,
        signed_off_at: WallTime,
        usage: Usage,
        low: Arc<Notify>,
    ) -> Self {
        let budget = schedule.budget();
        let bytes = budget.bytes.into_iter().chain(budget.bytes_per_day).min();
        let part = bytes.map_or(0, |bytes| (bytes.get() / PARTS).max(SMALLEST_PART));
        Self {
            schedule,
            grants,
            signed_off_at,
            allowance: bytes.map(|_| Arc::new(Allowance::new(part / 2, low))),
            part,
            in_use: AtomicBool::new(false),
            usage: Mutex::new(usage),
            writing: Arc::default(),
            known: Mutex::new(None),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was used, without what is set aside and still there.
    pub(super) fn usage(&self) -> Usage {
        let mut usage = *self.locked();
        let aside = self.allowance.as_ref().map_or(0, |allowance| allowance.left());
        usage.bytes = usage.bytes.saturating_sub(aside);
        usage.bytes_of_day = usage.bytes_of_day.saturating_sub(aside);
        usage
    }

    /// As it is to be written down.
    pub(super) fn written(&self) -> Usage {
        *self.locked()
    }

    /// What is left of it now.
    pub(super) fn left(&self, now: LocalTime) -> Result<Left, Shut> {
        self.schedule.decide(now, &self.usage(), false)
    }

    /// Counts one performance, and sets bytes aside if there are few.
    ///
    /// Nothing is left: then nothing is counted.
    pub(super) fn perform(&self, now: LocalTime) -> Result<Part, Shut> {
        self.left(now)?;
        let has_events =
            self.schedule.budget().events.is_some() || self.schedule.budget().events_per_day.is_some();
        if has_events {
            self.locked().add(now, 0, 1);
        }
        self.in_use.store(true, Ordering::Release);
        Ok(self.set_aside(now))
    }

    /// Counts the next part of the bytes as used, if few are set aside. To be [put](Self::put) when that is written down.
    pub(super) fn set_aside(&self, now: LocalTime) -> Part {
        if !self.allowance.as_ref().is_some_and(|allowance| allowance.is_low()) {
            return Part::default();
        }
        let mut usage = self.locked();
        // Of the bytes only: the performance that they are for has been counted.
        let counted = Usage { events: 0, events_of_day: 0, ..*usage };
        let left = self.schedule.decide(now, &counted, false).ok().and_then(|left| left.bytes).unwrap_or(0);
        let bytes = left.min(self.part);
        usage.add(now, bytes, 0);
        Part { bytes, is_last: bytes == left }
    }

    /// The part was written down: from now on it may be moved.
    pub(super) fn put(&self, part: Part) {
        if let Some(allowance) = &self.allowance {
            allowance.put(part.bytes);
            // After the last bytes are in: who finds none left is at the end.
            if part.is_last {
                allowance.close(true);
            }
        }
    }

    /// Something may be left again, on a new day.
    pub(super) fn replenish(&self, now: LocalTime) {
        let Some(allowance) = &self.allowance else { return };
        let left = self.schedule.decide(now, &self.locked(), false).ok().and_then(|left| left.bytes);
        if left.is_some_and(|left| left > 0) {
            allowance.close(false);
        }
    }

    /// Takes out what nobody uses; tells how many bytes that were.
    pub(super) fn take_out(&self) -> u64 {
        let Some(allowance) = &self.allowance else { return 0 };
        let unused = allowance.empty();
        let mut usage = self.locked();
        usage.bytes = usage.bytes.saturating_sub(unused);
        usage.bytes_of_day = usage.bytes_of_day.saturating_sub(unused);
        allowance.close(false);
        unused
    }

    /// As the API shows it.
    pub(super) fn shown(&self, table: &SecurityTable, suspect: bool) -> Value {
        let schedule = &self.schedule;
        let (now, usage, budget) = (clock::local(), self.usage(), schedule.budget());
        let state = if suspect { Err(Reason::ClockSuspect) } else { self.left(now).map_err(reason) };
        let is_today = usage.day >= now.day();
        let used = json!({
            "bytes": usage.bytes,
            "bytes_today": if is_today { usage.bytes_of_day } else { 0 },
            "events": usage.events,
            "events_today": if is_today { usage.events_of_day } else { 0 },
        });
        let has_budget = budget != mexe_policy::schedule::Budget::default();
        let left = state.ok();
        json!({
            "name": schedule.name(),
            "app": schedule.app(),
            "digest": schedule.digest().to_string(),
            "sentences": schedule.sentences(table),
            "signed_off": true,
            "signed_off_at": self.signed_off_at.to_string(),
            "state": state.map_or_else(Reason::code, |_| "open"),
            "until": schedule.window().until.map(|until| until.to_string()),
            "used": has_budget.then_some(used),
            "left": left.map(|left| json!({
                "bytes": left.bytes,
                "events": left.events,
                "seconds": left.time.map(|time| time.as_secs()),
            })),
            "grants": self.grants,
            "text": schedule.canonical(),
        })
    }
}

/// Why it permits nothing, as everything else says it.
pub(super) fn reason(shut: Shut) -> Reason {
    match shut {
        Shut::BudgetUsedUp => Reason::BudgetUsedUp,
        Shut::Expired => Reason::PermissionExpired,
        Shut::OutsideHours => Reason::OutsideHours,
        Shut::Revoked => Reason::PermissionRevoked,
    }
}
