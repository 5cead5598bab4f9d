//! What apps moved, as bars and as a table, the thresholds beyond which the user is asked, and the most that apps may move
//! a second.

use askama::Template;
use mexe_model::AppId;
use serde::Deserialize;

use crate::apps::App;
use crate::foreign::{Foreign, Word};
use crate::words::{Bytes, Seconds};

/// A sum of `/v1/usage`: of a day, or of an app and a traffic class.
#[derive(Clone, Debug, Deserialize)]
pub struct Sum {
    #[serde(default)]
    day: Foreign,
    app: Option<AppId>,
    class: Option<Word>,
    bytes_up: Bytes,
    bytes_down: Bytes,
    dropped_up: Bytes,
    dropped_down: Bytes,
    flows: u64,
    flow_ms: u64,
}

impl Sum {
    fn moved(&self) -> u64 {
        self.bytes_up.0.saturating_add(self.bytes_down.0)
    }

    fn dropped(&self) -> Bytes {
        Bytes(self.dropped_up.0.saturating_add(self.dropped_down.0))
    }

    fn open(&self) -> Seconds {
        Seconds(self.flow_ms / 1000)
    }
}

/// One threshold, as `/v1/thresholds` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Threshold {
    id: u64,
    app: Option<AppId>,
    bearer: Option<Foreign>,
    when: Option<Word>,
    per: Word,
    bytes: Bytes,
    moved: Bytes,
    reached: bool,
}

impl Threshold {
    fn width(&self) -> u64 {
        share(self.moved.0, self.bytes.0)
    }
}

/// The most of one app, as `/v1/limits` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Limit {
    app: AppId,
    max_bitrate_up: Option<Foreign>,
    max_bitrate_down: Option<Foreign>,
}

/// What can be set by the forms, and for whom.
#[derive(Debug, Default)]
pub struct Settable {
    /// The thresholds that there are.
    pub thresholds: Vec<Threshold>,
    /// The limits that there are.
    pub limits: Vec<Limit>,
    /// The apps.
    pub installed: Vec<App>,
    /// The bearers.
    pub bearers: Vec<Foreign>,
}

/// The width of a bar that is full at `most`, in the picture's own units.
fn share(of: u64, most: u64) -> u64 {
    let full = u128::from(Usage::WIDTH);
    let width = u128::from(of).saturating_mul(full) / u128::from(most.max(1));
    // What moved at all is seen.
    u64::try_from(width.min(full)).unwrap_or(Usage::WIDTH).max(u64::from(of > 0))
}

/// The page of what was moved.
#[derive(Template)]
#[template(path = "usage.html")]
pub struct Usage {
    days: Vec<Sum>,
    apps: Vec<Sum>,
    set: Settable,
    most_of_day: u64,
    most_of_app: u64,
}

impl Usage {
    const WIDTH: u64 = 200;

    /// Of these sums by day, those by app and class, and what is set.
    pub fn of(days: Vec<Sum>, mut apps: Vec<Sum>, set: Settable) -> Self {
        apps.sort_by_key(|sum| std::cmp::Reverse(sum.moved()));
        let most = |sums: &[Sum]| sums.iter().map(Sum::moved).max().unwrap_or_default();
        let (most_of_day, most_of_app) = (most(&days), most(&apps));
        Self { days, apps, set, most_of_day, most_of_app }
    }

    fn of_day(&self, sum: &Sum) -> u64 {
        share(sum.moved(), self.most_of_day)
    }

    fn of_app(&self, sum: &Sum) -> u64 {
        share(sum.moved(), self.most_of_app)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_it_stands_for_and_never_longer_than_the_picture() {
        for (of, most, width) in [
            (0, 0, 0),
            (0, 9, 0),
            (1, 1_000_000, 1),
            (5, 10, 100),
            (10, 10, 200),
            (11, 10, 200),
            (u64::MAX, 1, 200),
        ] {
            assert_eq!(share(of, most), width, "{of} of {most}");
        }
    }
}
