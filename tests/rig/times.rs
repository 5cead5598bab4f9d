//! Measured times, summed up the way the acceptance asks for them.

use std::fmt;
use std::time::Duration;

/// Times of one kind.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// All of another kind, too.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// The time that so many percent do not exceed (nearest rank).
    ///
    /// # Panics
    /// When there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "n {}, p50 {p50:.2?}, p99 {p99:.2?}, max {max:.2?}", self.0.len())
    }
}
