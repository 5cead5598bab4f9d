//! The earliest time that it can be now. A clock that was set back would bring expired certificates and old revocation
//! lists back to life, so nothing is judged by a clock that stands before a moment which has certainly passed. Knows no
//! clock itself: the service asks before each judgement, and lets timed permissions lapse when the answer is no.
//!
//! It lies with the signature engine because three of its four witnesses come from there, and because a judgement without it
//! is not to be trusted. The owner raises it and never lowers it.

use mexe_model::{Reason, WallTime};

use crate::verdict::Refusal;

/// The latest moment of each witness; [`WallTime::default`] where there is none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TimeFloor {
    /// When the gate was built.
    pub build: WallTime,
    /// The newest record of the journal.
    pub journal_head: WallTime,
    /// The latest beginning of validity of an applied certificate configuration message.
    pub ccm: WallTime,
    /// The latest verified timestamp of a timestamping authority.
    pub stamped: WallTime,
}

impl TimeFloor {
    /// The latest of all witnesses, and which it is.
    pub fn latest(&self) -> (WallTime, &'static str) {
        let witnesses = [
            (self.build, "the gate's build"),
            (self.journal_head, "the newest record of the journal"),
            (self.ccm, "the administrator's last message"),
            (self.stamped, "a verified timestamp"),
        ];
        witnesses.into_iter().max_by_key(|(time, _)| *time).unwrap_or_default()
    }

    /// Whether a clock that shows `at` can be right. Compared in whole seconds, because certificates know no others.
    ///
    /// # Errors
    /// `clock-suspect`, with the witness.
    pub fn judge(&self, at: WallTime) -> Result<(), Refusal> {
        let (floor, witness) = self.latest();
        if at.as_secs() >= floor.as_secs() {
            return Ok(());
        }
        let detail = format!("the clock shows {at}, but {witness} is of {floor}");
        Err(Refusal::new(Reason::ClockSuspect, detail))
    }

    /// With the later of both for each witness: nothing that was seen is ever unseen.
    #[must_use]
    pub fn raised(&self, other: &Self) -> Self {
        Self {
            build: self.build.max(other.build),
            journal_head: self.journal_head.max(other.journal_head),
            ccm: self.ccm.max(other.ccm),
            stamped: self.stamped.max(other.stamped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_secs(1_795_489_491);

    #[test]
    fn a_clock_before_any_witness_is_suspect() {
        let none = TimeFloor::default();
        let floors = [
            (TimeFloor { build: NOW, ..none }, "build"),
            (TimeFloor { journal_head: NOW, ..none }, "journal"),
            (TimeFloor { ccm: NOW, ..none }, "administrator"),
            (TimeFloor { stamped: NOW, ..none }, "timestamp"),
        ];
        for (floor, witness) in floors {
            assert_eq!(floor.judge(NOW), Ok(()), "{witness}");
            assert_eq!(floor.judge(WallTime::from_secs(NOW.as_secs() + 1)), Ok(()), "{witness}");
            let refusal = floor.judge(WallTime::from_secs(NOW.as_secs() - 1)).unwrap_err();
            assert_eq!(refusal.reason, Reason::ClockSuspect);
            assert!(refusal.detail.contains(witness), "{refusal}");
        }
        assert_eq!(none.judge(WallTime::default()), Ok(()));
    }

    #[test]
    fn the_latest_witness_counts_and_seconds_are_what_is_compared() {
        let floor = TimeFloor {
            build: NOW,
            journal_head: WallTime::from_millis(NOW.as_millis() + 900),
            ..TimeFloor::default()
        };
        assert_eq!(floor.latest().1, "the newest record of the journal");
        assert_eq!(floor.judge(NOW), Ok(()), "within the same second");
    }

    #[test]
    fn a_floor_never_sinks() {
        let later = WallTime::from_secs(NOW.as_secs() + 10);
        let one = TimeFloor { build: later, ccm: NOW, ..TimeFloor::default() };
        let other = TimeFloor { build: NOW, stamped: later, ..TimeFloor::default() };
        let both = one.raised(&other);
        assert_eq!(both, TimeFloor { build: later, ccm: NOW, stamped: later, ..TimeFloor::default() });
        assert_eq!(both, other.raised(&one));
    }
}
