//! Hours of the week, and what they mean on this device now: a grant can be limited to a [`Window`], which is open or
//! not by the local time that a [`LocalClock`] reads. No time zone is known here: the caller says how far local time is
//! from UTC, and says so again when that changes or the clock is set. Arranged by `index::timetable` for decisions, read as
//! it is by [`mod@crate::explain`] and [`crate::schedule`].

use std::sync::Arc;
use std::time::Duration;

use mexe_model::{Instant, WallTime};

/// Minutes in a day.
pub const DAY: u16 = 1440;
pub(crate) const WEEK: u16 = 7 * DAY;

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// All seven, from Monday.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// As a schedule writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }

    /// Days since Monday.
    pub(crate) const fn index(self) -> u16 {
        self as u16
    }
}

/// How far local time is ahead of UTC, minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtcOffset(i16);

impl UtcOffset {
    /// UTC itself.
    pub const UTC: Self = Self(0);

    /// That many minutes ahead; `None` beyond 18 hours, which no place on Earth has.
    pub const fn from_minutes(minutes: i16) -> Option<Self> {
        if minutes < -1080 || minutes > 1080 { None } else { Some(Self(minutes)) }
    }

    /// Minutes ahead of UTC.
    pub const fn minutes(self) -> i16 {
        self.0
    }
}

/// A moment as the people around the device see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The moment.
    pub wall: WallTime,
    /// How far local time is ahead of UTC then.
    pub offset: UtcOffset,
}

impl LocalTime {
    /// The minute of the local week, from Monday 00:00 on: 0 to 10079.
    pub fn minute_of_week(self) -> u16 {
        // The epoch was a Thursday.
        let minute = self.local_minutes().saturating_add(3 * i64::from(DAY)).rem_euclid(i64::from(WEEK));
        u16::try_from(minute).unwrap_or(0)
    }

    /// The local day, counted from 1970-01-01.
    pub fn day(self) -> i64 {
        self.local_minutes().div_euclid(i64::from(DAY))
    }

    fn local_minutes(self) -> i64 {
        let minutes = i64::try_from(self.wall.as_secs() / 60).unwrap_or(i64::MAX);
        minutes.saturating_add(i64::from(self.offset.0))
    }
}

/// One reading of the device's clock, from which the local time at any instant follows until the clock is set or the
/// offset changes. Whoever owns the clock makes a new one then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalClock {
    /// When it was read.
    pub at: Instant,
    /// What it said.
    pub says: LocalTime,
}

impl LocalClock {
    /// The local time at an instant, also one before the reading.
    pub fn read(&self, now: Instant) -> LocalTime {
        let millis = |from: Instant, to: Instant| to.as_nanos().saturating_sub(from.as_nanos()) / 1_000_000;
        let wall = self.says.wall.as_millis();
        let wall = match now >= self.at {
            true => wall.saturating_add(millis(self.at, now)),
            false => wall.saturating_sub(millis(now, self.at)),
        };
        LocalTime { wall: WallTime::from_millis(wall), offset: self.says.offset }
    }
}

/// Hours of the week: minutes counted from Monday 00:00, as ranges that neither touch nor overlap, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(Vec<(u16, u16)>);

/// Some hours on some day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayHours {
    /// The day.
    pub day: Weekday,
    /// The first minute of the day.
    pub from: u16,
    /// The minute after the last; 1440 is midnight at the day's end.
    pub to: u16,
}

impl Hours {
    /// The hours that any of these has; `None` when one of them is empty or longer than its day, or when there is none.
    pub fn new(parts: impl IntoIterator<Item = DayHours>) -> Option<Self> {
        let mut ranges = Vec::new();
        for DayHours { day, from, to } in parts {
            if from >= to || to > DAY {
                return None;
            }
            let start = day.index().saturating_mul(DAY);
            ranges.push((start.saturating_add(from), start.saturating_add(to)));
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        (!merged.is_empty()).then_some(Self(merged))
    }

    /// Whether that minute of the week is one of the hours.
    pub fn contains(&self, minute: u16) -> bool {
        self.range_at(minute).is_some()
    }

    /// The ranges of minutes, in order; a range ends before its second number.
    pub(crate) fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    fn range_at(&self, minute: u16) -> Option<(u16, u16)> {
        let after = self.0.partition_point(|(from, _)| *from <= minute);
        let range = after.checked_sub(1).and_then(|at| self.0.get(at)).copied();
        range.filter(|(_, to)| minute < *to)
    }

    /// The minutes from that one on, itself included, that are all among the hours; `None` when they never end.
    fn minutes_left(&self, minute: u16) -> Option<u16> {
        let Some((_, to)) = self.range_at(minute) else { return Some(0) };
        let left = to.saturating_sub(minute);
        match self.0.first() {
            // Sunday's midnight is Monday's.
            Some((0, end)) if to == WEEK => (*end != WEEK).then(|| left.saturating_add(*end)),
            _ => Some(left),
        }
    }

    /// The same, day by day.
    pub fn by_day(&self) -> Vec<DayHours> {
        let mut parts = Vec::new();
        for day in Weekday::ALL {
            let start = day.index().saturating_mul(DAY);
            let end = start.saturating_add(DAY);
            for (from, to) in &self.0 {
                let (from, to) = (start.max(*from), end.min(*to));
                if from < to {
                    parts.push(DayHours {
                        day,
                        from: from.saturating_sub(start),
                        to: to.saturating_sub(start),
                    });
                }
            }
        }
        parts
    }
}

/// When a grant holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The hours of the week.
    pub hours: Arc<Hours>,
    /// The first moment at which it holds no more.
    pub until: Option<WallTime>,
}

/// What a window is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The grant holds.
    Open,
    /// It holds at other hours.
    Closed,
    /// Its time is over.
    Over,
}

impl Window {
    /// What it is at that moment.
    pub fn at(&self, moment: LocalTime) -> Opening {
        self.at_minute(moment.wall, moment.minute_of_week())
    }

    pub(crate) fn at_minute(&self, wall: WallTime, minute: u16) -> Opening {
        if self.until.is_some_and(|until| wall >= until) {
            Opening::Over
        } else if self.hours.contains(minute) {
            Opening::Open
        } else {
            Opening::Closed
        }
    }

    /// How long it stays open from then on, at most; zero when it is not, `None` when it never closes.
    pub fn open_for(&self, moment: LocalTime) -> Option<Duration> {
        if self.at(moment) != Opening::Open {
            return Some(Duration::ZERO);
        }
        let into_minute = Duration::from_millis(moment.wall.as_millis() % 60_000);
        let by_hours = self.hours.minutes_left(moment.minute_of_week());
        let by_hours =
            by_hours.map(|left| Duration::from_secs(u64::from(left) * 60).saturating_sub(into_minute));
        let until = self.until.map(|until| until.as_millis().saturating_sub(moment.wall.as_millis()));
        let by_end = until.map(Duration::from_millis);
        match (by_hours, by_end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests;
