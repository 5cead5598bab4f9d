//! How fast one app may bring new questions: so many at once, then one more each so often. Exact: an app's place on the time
//! line is the moment at which it would have all its questions free again.

use std::collections::HashMap;
use std::time::Duration;

use mexe_model::{AppId, Instant};

use super::Bounds;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When each app has all its questions free again; later than now for those that asked lately.
    rested: HashMap<AppId, Instant>,
}

impl Pace {
    /// Takes one of the app's questions, if it has one free.
    pub(super) fn take(&mut self, app: &AppId, now: Instant, bounds: &Bounds) -> bool {
        let rested = self.rested.get(app).copied().unwrap_or_default().max(now);
        let others = bounds.at_once.saturating_sub(1);
        if rested.since(now) > bounds.one_more_each.saturating_mul(others) {
            return false;
        }
        self.rested.insert(app.clone(), rested.after(bounds.one_more_each));
        true
    }

    /// Gives one back: the user said yes to it.
    pub(super) fn give_back(&mut self, app: &AppId, bounds: &Bounds) {
        if let Some(rested) = self.rested.get_mut(app) {
            let each = u64::try_from(bounds.one_more_each.as_nanos()).unwrap_or(u64::MAX);
            *rested = Instant::from_nanos(rested.as_nanos().saturating_sub(each));
        }
    }

    pub(super) fn app_removed(&mut self, app: &AppId) {
        self.rested.remove(app);
    }
}

impl Bounds {
    /// No app takes more than a quarter of the queue, nor brings more than eight questions at once and then one in ten
    /// seconds: a person reads no faster.
    pub fn of(open: usize) -> Self {
        Self { open, of_one_app: (open / 4).max(1), at_once: 8, one_more_each: Duration::from_secs(10) }
    }
}
