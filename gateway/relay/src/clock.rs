//! The device's clock: the only place of the crate that asks what time it is. Counts suspended time, so that a lease does
//! not live longer because the device slept. The timers of tokio do not count it; deadlines are looked at again when one
//! fires.

use std::time::Duration;

use mexe_model::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Now, on the device's own time line.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    // Neither part is ever negative on this clock.
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The timer's instant for a deadline. One that is more than a day away comes sooner: look at the clock when it fires.
pub fn deadline(at: Instant) -> tokio::time::Instant {
    const DAY: Duration = Duration::from_secs(86_400);
    tokio::time::Instant::now() + at.since(now()).min(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward() {
        let first = now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(now().since(first) >= Duration::from_millis(2));
    }

    #[test]
    fn the_end_of_time_is_a_deadline() {
        let far = deadline(Instant::from_nanos(u64::MAX));
        assert!(far <= tokio::time::Instant::now() + Duration::from_secs(86_400));
        assert!(deadline(Instant::default()) <= tokio::time::Instant::now());
    }
}
