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

/// Which bytes count besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Those that are moved while the device is on another operator's network.
    Roaming,
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
    /// Only what is moved then; without it, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// In which time.
    pub per: Period,
    /// Payload bytes, both ways together.
    pub bytes: NonZeroU64,
}

impl Threshold {
    /// Whether what this app moves over that bearer counts, which is roaming or not.
    pub fn concerns(&self, app: &AppId, bearer: &str, roaming: bool) -> bool {
        self.app.as_ref().is_none_or(|own| own == app)
            && self.bearer.as_deref().is_none_or(|own| own == bearer)
            && self.when.is_none_or(|When::Roaming| roaming)
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
    /// By app, bearer, and whether that was roaming.
    sums: HashMap<(AppId, Arc<str>, bool), Sums>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    day: u64,
    month: u64,
}

impl Tally {
    /// Adds bytes that were moved on that date, over a bearer that was roaming or not. What was moved on another day than
    /// the present one counts for the month, if it is the same.
    pub fn add(&mut self, date: LocalDate, app: &AppId, bearer: &Arc<str>, roaming: bool, bytes: u64) {
        if date.month != self.date.month {
            return;
        }
        let sums = self.sums.entry((app.clone(), Arc::clone(bearer), roaming)).or_default();
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
        let concerned =
            self.sums.iter().filter(|((app, bearer, roaming), _)| threshold.concerns(app, bearer, *roaming));
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
        Threshold { app, bearer, when: None, per, bytes: NonZeroU64::new(bytes).unwrap() }
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
            tally.add(LocalDate { day, ..TODAY }, &app.parse().unwrap(), &bearer.into(), false, bytes);
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
        tally.add(TODAY, &"a".parse().unwrap(), &"cell".into(), false, 5);
        assert_eq!((tally.moved(&day), tally.moved(&month)), (0, 136), "what came late belongs to its day");
        tally.turn_to(LocalDate { day: 20_030, month: 658 });
        tally.add(TODAY, &"a".parse().unwrap(), &"cell".into(), false, 5);
        assert_eq!((tally.moved(&day), tally.moved(&month)), (0, 0));
    }

    #[test]
    fn a_threshold_on_roaming_counts_what_is_moved_there_and_nothing_else() {
        let mut tally = tally();
        for (app, bytes) in [("a", 17), ("b", 19)] {
            tally.add(TODAY, &app.parse().unwrap(), &"cell".into(), true, bytes);
        }
        let roaming = |app, bearer, bytes| Threshold {
            when: Some(When::Roaming),
            ..threshold(app, bearer, Period::Day, bytes)
        };
        for (app, bearer, moved) in
            [(None, None, 36), (Some("a"), None, 17), (Some("b"), Some("cell"), 19), (None, Some("wifi"), 0)]
        {
            assert_eq!(tally.moved(&roaming(app, bearer, 1)), moved, "{app:?} {bearer:?}");
            assert_eq!(tally.has_reached(&roaming(app, bearer, moved.max(1))), moved > 0);
        }
        // Without the condition all of it counts.
        assert_eq!(tally.moved(&threshold(None, None, Period::Day, 1)), 31 + 36);
        let one = roaming(Some("a"), None, 1);
        let a = "a".parse().unwrap();
        assert_eq!((one.concerns(&a, "cell", true), one.concerns(&a, "cell", false)), (true, false));
    }

    #[test]
    fn what_was_stored_before_there_were_conditions_is_read() {
        let read = |text: &str| toml::from_str::<Threshold>(text);
        assert_eq!(read("per = \"day\"\nbytes = 7").unwrap(), threshold(None, None, Period::Day, 7));
        let roaming = read("per = \"day\"\nbytes = 7\nwhen = \"roaming\"").unwrap();
        assert_eq!(roaming.when, Some(When::Roaming));
        assert!(read("per = \"day\"\nbytes = 7\nwhen = \"abroad\"").is_err());
    }
}
