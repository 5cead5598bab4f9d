//! Waits for a moment of the wall clock, or until somebody sets that clock: the hours of a schedule are the clock's.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use mexe_model::WallTime;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Without the system's timer the clock is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// A timer on the wall clock.
pub(super) struct WallTimer(Option<AsyncFd<OwnedFd>>);

impl WallTimer {
    pub(super) fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let made = timerfd_create(TimerfdClockId::Realtime, flags).map_err(io::Error::from);
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; an OwnedFd keeps the promise that it asks for"
        )]
        let timer = made.and_then(AsyncFd::new);
        if let Err(error) = &timer {
            tracing::warn!(%error, "no timer on the wall clock; it is looked at every second");
        }
        Self(timer.ok())
    }

    /// Completes at that moment, at once when it is past, and when the clock was set.
    pub(super) async fn until(&self, moment: WallTime) {
        let Some(timer) = self.0.as_ref().filter(|timer| set(timer, moment).is_ok()) else {
            return tokio::time::sleep(LOOK).await;
        };
        // The read only clears it: why it became readable makes no difference.
        if let Ok(mut ready) = timer.readable().await {
            let _ = rustix::io::read(timer.get_ref(), &mut [0; 8]);
            ready.clear_ready();
        }
    }
}

fn set(timer: &AsyncFd<OwnedFd>, moment: WallTime) -> io::Result<()> {
    // Zero would take the alarm off.
    let millis = i64::try_from(moment.as_millis().max(1)).unwrap_or(i64::MAX);
    let at = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer.get_ref(), flags, &once).map(|_| ()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn it_completes_at_its_moment_and_at_once_when_that_is_past() {
        let timer = WallTimer::new();
        let begun = clock::wall();
        let soon = WallTime::from_millis(begun.as_millis() + 60);
        timer.until(soon).await;
        assert!(clock::wall() >= soon);
        timer.until(begun).await;
        timer.until(WallTime::from_millis(0)).await;
        let late = WallTime::from_millis(begun.as_millis() + 3_600_000);
        let early = tokio::time::timeout(Duration::from_millis(50), timer.until(late)).await;
        assert!(early.is_err());
        timer.until(begun).await;
    }
}
