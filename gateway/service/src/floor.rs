//! The earliest time that it can be now (S17), and what happens when the device's clock stands before it: nothing is judged,
//! no run begins, and permissions that were given for a time lapse. What raises the floor is seen here; what it says is
//! decided in crate mexe-certs.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mexe_certs::TimeFloor;
use mexe_journal::{Change, Record};
use mexe_model::{GrantId, Instant, Reason, WallTime};
use mexe_relay::Key;
use serde_json::json;

use crate::clock;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::trust::change;

/// Under this name the floor is remembered.
pub const REMEMBERED: &str = "floor";
/// A clock that is set back by less than this is being corrected, not turned back.
const CORRECTION: Duration = Duration::from_secs(60);
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The floor, as far as it is known.
#[derive(Debug, Default)]
pub struct Floor(RwLock<TimeFloor>);

impl Floor {
    /// What the build, the journal's last record and earlier gates vouch for.
    pub fn new(remembered: Option<TimeFloor>, journal_head: Option<WallTime>) -> Self {
        let built = env!("MEXEGATE_BUILT").parse().unwrap_or(0);
        let known = TimeFloor {
            build: WallTime::from_secs(built),
            journal_head: journal_head.map(before_corrections).unwrap_or_default(),
            ..TimeFloor::default()
        };
        Self(RwLock::new(known.raised(&remembered.unwrap_or_default())))
    }

    /// As it stands.
    pub fn get(&self) -> TimeFloor {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises it; tells whether that changed anything.
    pub fn raise(&self, by: &TimeFloor) -> bool {
        let mut floor = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let raised = floor.raised(by);
        let changed = raised != *floor;
        *floor = raised;
        changed
    }
}

fn before_corrections(at: WallTime) -> WallTime {
    let correction = u64::try_from(CORRECTION.as_millis()).unwrap_or(u64::MAX);
    WallTime::from_millis(at.as_millis().saturating_sub(correction))
}

impl Gate {
    /// Whether the device's clock can be right.
    ///
    /// # Errors
    /// [`Reason::ClockSuspect`].
    pub fn clock_holds(&self) -> Result<(), Refused> {
        let judged = self.floor.get().judge(clock::wall());
        judged.map_err(|refusal| Refused::about(refusal.reason, refusal.detail))
    }

    /// What the clock says, or the latest time that is certain to be past, while the clock stands before it.
    pub fn certain_time(&self) -> WallTime {
        clock::wall().max(self.floor.get().latest().0)
    }

    /// A timestamping authority saw this moment: it is past for ever.
    pub async fn seen_time(&self, stamped: Option<WallTime>) {
        let Some(stamped) = stamped else { return };
        if self.floor.raise(&TimeFloor { stamped, ..TimeFloor::default() }) {
            let (change, record) = remember(&self.floor.get());
            if let Err(error) = self.journal.change(change, record).await {
                tracing::warn!(%error, "the latest certain time could not be written down");
            }
        }
    }
}

/// What is written down of a floor.
pub fn remember(floor: &TimeFloor) -> (Change, Record) {
    // The journal's own head is in the journal.
    let kept = TimeFloor { journal_head: WallTime::default(), ..*floor };
    let value = serde_json::to_value(kept).unwrap_or_default();
    let record = Record {
        detail: Some(json!({ "floor": floor.latest().0.to_string() })),
        ..Record::change(clock::wall(), "clock.floor")
    };
    (Change::PutTrust { name: REMEMBERED.to_owned(), value }, record)
}

/// Watches the clock as long as the gate runs.
pub async fn watch(gate: Arc<Gate>) {
    let mut suspect = false;
    let mut last = (clock::now(), clock::wall());
    loop {
        let held = gate.clock_holds();
        let now = (clock::now(), clock::wall());
        let was_set = is_set(last, now);
        last = now;
        if (std::mem::replace(&mut suspect, held.is_err()) || was_set) && held.is_ok() {
            // What depends on the time was decided by another one.
            change::again(&gate).await;
        }
        match held {
            Ok(()) => {
                let journal_head = before_corrections(clock::wall());
                gate.floor.raise(&TimeFloor { journal_head, ..TimeFloor::default() });
            }
            Err(refused) => lapse(&gate, &refused).await,
        }
        tokio::select! {
            () = gate.stopped() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Whether the wall clock was set between two looks, rather than that time went by.
fn is_set((before, wall_before): (Instant, WallTime), (now, wall): (Instant, WallTime)) -> bool {
    let passed = u64::try_from(now.since(before).as_millis()).unwrap_or(u64::MAX);
    let expected = wall_before.as_millis().saturating_add(passed);
    u128::from(wall.as_millis().abs_diff(expected)) > CORRECTION.as_millis()
}

/// Permissions that were given for a time end: nobody knows how much of it is left.
async fn lapse(gate: &Arc<Gate>, refused: &Refused) {
    let timed = |gate: &Gate| -> Vec<GrantId> {
        gate.policy().grants().filter(|grant| grant.expires().is_some()).map(|grant| grant.id()).collect()
    };
    if timed(gate).is_empty() {
        return;
    }
    tracing::warn!(%refused, "the clock is suspect; permissions that were given for a time lapse");
    let changing = gate.change().await;
    let lapsed = timed(gate);
    changing.policy(|policy| policy.without_grants(&lapsed));
    for id in &lapsed {
        gate.cut(&Key::Grant(*id), Reason::ClockSuspect);
    }
    let record = Record {
        reason: Some(Reason::ClockSuspect),
        grant: lapsed.first().copied(),
        detail: Some(json!({ "grants": lapsed, "why": refused.detail })),
        ..Record::change(clock::wall(), "grant.lapse")
    };
    if let Err(error) = gate.journal.change(Change::RevokeGrants(lapsed), record).await {
        tracing::warn!(%error, "lapsed grants could not be struck from the database; they do not count");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_goes_by() {
        let at =
            |passed: u64, wall: u64| (Instant::from_nanos(passed * 1_000_000_000), WallTime::from_secs(wall));
        let start = at(100, 1_000_000);
        assert!(!is_set(start, at(105, 1_000_005)));
        assert!(!is_set(start, at(105, 1_000_060)), "a correction");
        assert!(!is_set(start, at(90_100, 1_090_000)), "the device slept");
        assert!(is_set(start, at(105, 1_000_100)));
        assert!(is_set(start, at(105, 999_000)));
    }
}
