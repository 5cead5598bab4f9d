//! Usage thresholds: so many bytes in a day or a month, after which the user is asked whether an app may go on. Adds up
//! what apps move over which bearer, and says which thresholds are reached; it is told the date, and asks nobody itself.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use mexe_model::AppId;

/// How long a threshold's bytes are added up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// A local day.
    Day,
    /// A month of the local calendar.
    Month,
}

/// So many bytes and no more without asking.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Of this app; without it, of all apps together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// Over this bearer; without it, over all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Arc<str>>,
    /// In which time.
    pub per: Period,
    /// Payload bytes, both ways together.
    pub bytes: NonZeroU64,
}

impl Threshold {
    /// Whether what this app moves over that bearer counts.
    pub fn concerns(&self, app: &AppId, bearer: &str) -> bool {
        self.app.as_ref().is_none_or(|own| own == app)
            && self.bearer.as_deref().is_none_or(|own| own == bearer)
    }
}

/// A date of the local calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalDate {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Months since January 1970.
    pub month: i64,
}

/// What was moved in the present day and month.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    date: LocalDate,
    sums: HashMap<(AppId, Arc<str>), Sums>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    day: u64,
    month: u64,
}

impl Tally {
    /// Adds bytes that were moved on that date. What was moved on another day than the present one counts for the month, if
    /// it is the same.
    pub fn add(&mut self, date: LocalDate, app: &AppId, bearer: &Arc<str>, bytes: u64) {
        if date.month != self.date.month {
            return;
        }
        let sums = self.sums.entry((app.clone(), Arc::clone(bearer))).or_default();
        sums.month = sums.month.saturating_add(bytes);
        if date.day == self.date.day {
            sums.day = sums.day.saturating_add(bytes);
        }
    }

    /// It is that date now: what belongs to another day or month counts no longer. Tells whether anything changed.
    pub fn turn_to(&mut self, date: LocalDate) -> bool {
        let before = std::mem::replace(&mut self.date, date);
        if before.month != date.month {
            self.sums.clear();
        } else if before.day != date.day {
            self.sums.values_mut().for_each(|sums| sums.day = 0);
        }
        before != date
    }

    /// How many bytes count towards that threshold so far.
    pub fn moved(&self, threshold: &Threshold) -> u64 {
        let concerned = self.sums.iter().filter(|((app, bearer), _)| threshold.concerns(app, bearer));
        let bytes = concerned.map(|(_, sums)| match threshold.per {
            Period::Day => sums.day,
            Period::Month => sums.month,
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// Whether it is reached.
    pub fn has_reached(&self, threshold: &Threshold) -> bool {
        self.moved(threshold) >= threshold.bytes.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(app: Option<&str>, bearer: Option<&str>, per: Period, bytes: u64) -> Threshold {
        let (app, bearer) = (app.map(|app| app.parse().unwrap()), bearer.map(Arc::from));
        Threshold { app, bearer, per, bytes: NonZeroU64::new(bytes).unwrap() }
    }

    const TODAY: LocalDate = LocalDate { day: 20_000, month: 657 };

    fn tally() -> Tally {
        let mut tally = Tally::default();
        tally.turn_to(TODAY);
        for (app, bearer, day, bytes) in [
            ("a", "cell", 20_000, 7),
            ("a", "wifi", 20_000, 11),
            ("b", "cell", 20_000, 13),
            ("a", "cell", 19_999, 100),
        ] {
            tally.add(LocalDate { day, ..TODAY }, &app.parse().unwrap(), &bearer.into(), bytes);
        }
        tally
    }

    #[test]
    fn a_threshold_counts_its_app_its_bearer_and_its_time() {
        let tally = tally();
        for (app, bearer, per, moved) in [
            (Some("a"), Some("cell"), Period::Day, 7),
            (Some("a"), None, Period::Day, 18),
            (None, Some("cell"), Period::Day, 20),
            (None, None, Period::Day, 31),
            (Some("a"), Some("cell"), Period::Month, 107),
            (None, None, Period::Month, 131),
            (Some("c"), None, Period::Month, 0),
        ] {
            let at = threshold(app, bearer, per, moved.max(1));
            assert_eq!(tally.moved(&at), moved, "{at:?}");
            assert_eq!(tally.has_reached(&at), moved > 0);
            assert!(!tally.has_reached(&threshold(app, bearer, per, moved + 1)));
        }
    }

    #[test]
    fn a_new_day_begins_at_nothing_and_so_does_a_new_month() {
        let (day, month) = (threshold(None, None, Period::Day, 1), threshold(None, None, Period::Month, 1));
        let mut tally = tally();
        assert!(!tally.turn_to(TODAY));
        assert!(tally.turn_to(LocalDate { day: 20_001, ..TODAY }));
        assert_eq!((tally.moved(&day), tally.moved(&month)), (0, 131));
        tally.add(TODAY, &"a".parse().unwrap(), &"cell".into(), 5);
        assert_eq!((tally.moved(&day), tally.moved(&month)), (0, 136), "what came late belongs to its day");
        tally.turn_to(LocalDate { day: 20_030, month: 658 });
        tally.add(TODAY, &"a".parse().unwrap(), &"cell".into(), 5);
        assert_eq!((tally.moved(&day), tally.moved(&month)), (0, 0));
    }
}
