//! What was used of a schedule, and what is left of it now. The counters are the service's to keep; here is only what
//! they mean, so that a clock that is set back gives no day's budget twice.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::window::{LocalTime, Opening};

/// What was used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The latest local day on which anything was used, counted from 1970-01-01.
    pub day: i64,
    /// Bytes on that day.
    pub bytes_of_day: u64,
    /// Performances on that day.
    pub events_of_day: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Performances in all.
    pub events: u64,
}

impl Usage {
    /// Counts what was used just now. A day that is before the latest one counts as that one.
    pub fn add(&mut self, at: LocalTime, bytes: u64, events: u64) {
        if at.day() > self.day {
            *self = Self { day: at.day(), bytes_of_day: 0, events_of_day: 0, ..*self };
        }
        for (sum, more) in [
            (&mut self.bytes_of_day, bytes),
            (&mut self.bytes, bytes),
            (&mut self.events_of_day, events),
            (&mut self.events, events),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Bytes and performances that count against today's budget.
    fn of_today(&self, at: LocalTime) -> (u64, u64) {
        if at.day() > self.day { (0, 0) } else { (self.bytes_of_day, self.events_of_day) }
    }
}

/// What is left of a schedule now; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Performances.
    pub events: Option<u64>,
    /// Time, at most.
    pub time: Option<Duration>,
}

/// Why a schedule permits nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shut {
    /// Its budget, of the day or in all, is used up.
    BudgetUsedUp,
    /// Its last moment is over.
    Expired,
    /// It permits at other hours.
    OutsideHours,
    /// The user took it back.
    Revoked,
}

impl Shut {
    /// What happened, in one line for a person.
    pub const fn says(self) -> &'static str {
        match self {
            Self::BudgetUsedUp => "the schedule's budget is used up",
            Self::Expired => "the schedule has expired",
            Self::OutsideHours => "the schedule permits it at other hours",
            Self::Revoked => "the user took the schedule back",
        }
    }
}

impl Schedule {
    /// What may be used by it now, if anything. The first of these that holds says no: it was taken back, its end has
    /// come, it has other hours, its budget is used up.
    ///
    /// # Errors
    /// Why nothing.
    pub fn decide(&self, at: LocalTime, usage: &Usage, is_revoked: bool) -> Result<Left, Shut> {
        if is_revoked {
            return Err(Shut::Revoked);
        }
        match self.window.at(at) {
            Opening::Over => return Err(Shut::Expired),
            Opening::Closed => return Err(Shut::OutsideHours),
            Opening::Open => {}
        }
        let (bytes_today, events_today) = usage.of_today(at);
        let left = |limit: Option<NonZeroU64>, used: u64| limit.map(|most| most.get().saturating_sub(used));
        let fewer = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let budget = self.budget;
        let bytes = fewer(left(budget.bytes, usage.bytes), left(budget.bytes_per_day, bytes_today));
        let events = fewer(left(budget.events, usage.events), left(budget.events_per_day, events_today));
        if bytes == Some(0) || events == Some(0) {
            return Err(Shut::BudgetUsedUp);
        }
        Ok(Left { bytes, events, time: self.window.open_for(at) })
    }
}
