//! From TOML to a [`Schedule`], or a mistake with its place.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use mexe_model::{Action, WallTime};
use serde::Deserialize;
use toml::Spanned;

use super::{Budget, Schedule};
use crate::table::line_and_column;
use crate::target::TargetPattern;
use crate::window::{DAY, DayHours, Hours, Weekday, Window};

/// Longer texts and lists are no list that a person agrees to.
const MOST_BYTES: usize = 16 << 10;
const MOST_ACTIONS: usize = 16;
const MOST_TARGETS: usize = 64;

/// Why a schedule was not taken, and where in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ScheduleError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: ScheduleProblem,
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleProblem {
    /// An action that is none.
    #[error("{0}")]
    Action(String),
    /// An app's id that is none.
    #[error("{0}")]
    App(String),
    /// A day that is none.
    #[error("`{0}` is no day; write mon, tue, wed, thu, fri, sat or sun")]
    Day(String),
    /// Hours that end before they begin.
    #[error("`{from}` to `{to}` are no hours of one day; across midnight write two")]
    Hours {
        /// Where they begin.
        from: String,
        /// Where they end.
        to: String,
    },
    /// A name that is none.
    #[error("`{0}` is no name of a schedule; write lower-case words joined by hyphens, 64 letters at most")]
    Name(String),
    /// No action.
    #[error("the schedule lists no action; write actions = [\"network.connect\"]")]
    NoActions,
    /// No hours.
    #[error("the schedule has no hours; write a [[hours]] section with days, from and to")]
    NoHours,
    /// A target that is none.
    #[error("{0}")]
    Target(String),
    /// A time of day that is none.
    #[error("`{0}` is no time of day; write it as 06:30, and the day's end as 24:00")]
    TimeOfDay(String),
    /// Not TOML, or keys that a schedule does not have.
    #[error("{0}")]
    Toml(String),
    /// More than a person would read.
    #[error("the schedule is too long: {most} {what} at most")]
    TooLong {
        /// How many.
        most: usize,
        /// Of what.
        what: &'static str,
    },
    /// A moment that is none.
    #[error("`{0}` is no moment; write it in UTC as 2027-01-31T00:00:00Z")]
    Until(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSchedule {
    name: Spanned<String>,
    app: Spanned<String>,
    actions: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    targets: Vec<Spanned<String>>,
    until: Option<Spanned<String>>,
    #[serde(default)]
    hours: Vec<RawHours>,
    #[serde(default)]
    budget: RawBudget,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHours {
    days: Spanned<Vec<Spanned<String>>>,
    from: Spanned<String>,
    to: Spanned<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RawBudget {
    bytes: Option<NonZeroU64>,
    bytes_per_day: Option<NonZeroU64>,
    events: Option<NonZeroU64>,
    events_per_day: Option<NonZeroU64>,
}

/// A problem and the bytes of the text that have it.
type Mistake = (Range<usize>, ScheduleProblem);

pub(super) fn load(text: &str) -> Result<Schedule, ScheduleError> {
    let raw = if text.len() > MOST_BYTES {
        Err((0..0, ScheduleProblem::TooLong { most: MOST_BYTES, what: "bytes" }))
    } else {
        toml::from_str::<RawSchedule>(text).map_err(|error| {
            let message = error.message().replace('\n', ", ");
            (error.span().unwrap_or(0..0), ScheduleProblem::Toml(message))
        })
    };
    raw.and_then(check).map_err(|(span, problem)| {
        let (line, column) = line_and_column(text, span.start);
        ScheduleError { line, column, problem }
    })
}

fn check(raw: RawSchedule) -> Result<Schedule, Mistake> {
    let (span, name) = (raw.name.span(), raw.name.into_inner());
    if !is_name(&name) {
        return Err((span, ScheduleProblem::Name(name)));
    }
    let app =
        raw.app.get_ref().parse().map_err(|e| (raw.app.span(), ScheduleProblem::App(format!("{e}"))))?;
    let (span, listed) = (raw.actions.span(), raw.actions.into_inner());
    if listed.is_empty() {
        return Err((span, ScheduleProblem::NoActions));
    }
    let too_long = |most, what| ScheduleProblem::TooLong { most, what };
    if listed.len() > MOST_ACTIONS {
        return Err((span, too_long(MOST_ACTIONS, "actions")));
    }
    let action = |text: Spanned<String>| {
        let parsed = text.get_ref().parse::<Action>();
        parsed.map_err(|e| (text.span(), ScheduleProblem::Action(format!("{e}"))))
    };
    let actions = listed.into_iter().map(action).collect::<Result<_, _>>()?;
    if let Some(extra) = raw.targets.get(MOST_TARGETS) {
        return Err((extra.span(), too_long(MOST_TARGETS, "targets")));
    }
    let target = |text: Spanned<String>| {
        let number = TargetPattern::number(text.get_ref());
        let parsed = number.map_or_else(|| text.get_ref().parse::<TargetPattern>(), Ok);
        parsed.map_err(|e| (text.span(), ScheduleProblem::Target(format!("{e}"))))
    };
    let mut targets = raw.targets.into_iter().map(target).collect::<Result<Vec<_>, _>>()?;
    targets.sort_by_cached_key(ToString::to_string);
    targets.dedup();
    let until = raw.until.map(until).transpose()?;
    let window = Window { hours: Arc::new(hours(raw.hours)?), until };
    let RawBudget { bytes, bytes_per_day, events, events_per_day } = raw.budget;
    let budget = Budget { bytes, bytes_per_day, events, events_per_day };
    Ok(Schedule { name: name.into(), app, actions, targets, window, budget })
}

fn hours(raw: Vec<RawHours>) -> Result<Hours, Mistake> {
    let mut parts = Vec::new();
    for hours in raw {
        let (from, to) = (time_of_day(&hours.from)?, time_of_day(&hours.to)?);
        if from >= to {
            let (from, to) = (hours.from.into_inner(), hours.to.get_ref().clone());
            return Err((hours.to.span(), ScheduleProblem::Hours { from, to }));
        }
        if hours.days.get_ref().is_empty() {
            return Err((hours.days.span(), ScheduleProblem::NoHours));
        }
        for day in hours.days.into_inner() {
            let known = Weekday::ALL.into_iter().find(|known| known.as_str() == day.get_ref());
            let day = known.ok_or_else(|| (day.span(), ScheduleProblem::Day(day.into_inner())))?;
            parts.push(DayHours { day, from, to });
        }
    }
    Hours::new(parts).ok_or((0..0, ScheduleProblem::NoHours))
}

/// `06:30` in minutes.
fn time_of_day(text: &Spanned<String>) -> Result<u16, Mistake> {
    let number = |part: &str| match part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) {
        true => part.parse::<u16>().ok(),
        false => None,
    };
    let parts = text.get_ref().split_once(':').and_then(|(hour, minute)| number(hour).zip(number(minute)));
    let minutes = parts.filter(|(_, minute)| *minute < 60).map(|(hour, minute)| hour * 60 + minute);
    minutes
        .filter(|minutes| *minutes <= DAY)
        .ok_or_else(|| (text.span(), ScheduleProblem::TimeOfDay(text.get_ref().clone())))
}

/// `2027-01-31T00:00:00Z`, and no other way to write a moment.
fn until(text: Spanned<String>) -> Result<WallTime, Mistake> {
    let wrong = || (text.span(), ScheduleProblem::Until(text.get_ref().clone()));
    let digits = |range: Range<usize>| -> Option<u64> { text.get_ref().get(range)?.parse().ok() };
    let fields = [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].map(digits);
    let [Some(year), Some(month @ 1..=12), Some(day), Some(hour), Some(minute), Some(second)] = fields else {
        return Err(wrong());
    };
    if year < 1970 {
        return Err(wrong());
    }
    // Years are counted from 1 March 0000, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era, shifted) = (year / 400, year % 400, (month + 9) % 12);
    let of_year = (153 * shifted + 2) / 5 + day;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 + of_year).checked_sub(of_era / 100 + 719_469);
    let moment = WallTime::from_secs(days.ok_or_else(wrong)? * 86_400 + hour * 3600 + minute * 60 + second);
    // A day, hour or form that there is none of would come out as another.
    if moment.to_string() == text.get_ref().replace('Z', ".000Z") { Ok(moment) } else { Err(wrong()) }
}

fn is_name(text: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 64 && text.split('-').all(word)
}
