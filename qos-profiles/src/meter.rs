//! Holds a stream to a bit rate: an integer token bucket, exact at every rate, that is told the time. Decides how many
//! bytes may move now, or when to ask again; moves nothing itself. Called by the relay around each write.
//!
//! One token is a bit-nanosecond: a second at 1 bit/s earns 10^9 of them, and a bit costs 10^9. All sums are whole, so
//! nothing drifts. What has been asked for and not yet settled still counts as being in the bucket when it is filled:
//! that keeps "never above burst + rate x T, in any interval of length T" true of the bytes as they move, not only as
//! they are asked for.

use mexe_model::{BitRate, Instant};

/// The answer to [`Meter::ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Up to so many bytes may move now. They are charged; give the rest back with [`Meter::refund`].
    Advance(u64),
    /// Nothing may move before this instant. Nothing is charged.
    WaitUntil(Instant),
}

/// A token bucket for one direction of one stream.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Bit-nanoseconds in the bucket.
    tokens: u128,
    /// The tokens that are granted and not settled.
    granted: u128,
    /// When the bucket was filled last.
    filled: Instant,
    rate: BitRate,
    /// The largest number of bytes that can be in the bucket.
    burst: u64,
    /// The least number of bytes that is worth waking up for.
    quantum: u64,
}

/// What a byte costs.
const BYTE: u128 = 8 * 1_000_000_000;
/// Grants below one packet make small packets out of large ones.
const PACKET: u64 = 1500;
/// A waiting stream is woken about every two milliseconds: the timer's resolution is one.
const QUANTUM_NANOS: u128 = 2_000_000;

impl Meter {
    /// The smallest burst in bytes: one packet. A smaller one could never let a packet through whole.
    pub const MIN_BURST: u64 = PACKET;
    /// The largest burst in bytes, 1 GiB.
    pub const MAX_BURST: u64 = 1 << 30;

    /// A meter whose bucket is full at `now`. `burst` is in bytes and is brought between [`Meter::MIN_BURST`] and
    /// [`Meter::MAX_BURST`].
    pub fn new(rate: BitRate, burst: u64, now: Instant) -> Self {
        let burst = burst.clamp(Self::MIN_BURST, Self::MAX_BURST);
        let in_two_ms = u128::from(rate.get()) * QUANTUM_NANOS / BYTE;
        let quantum = u64::try_from(in_two_ms).unwrap_or(u64::MAX).max(PACKET).min(burst);
        Self { tokens: u128::from(burst) * BYTE, granted: 0, filled: now, rate, burst, quantum }
    }

    /// The same with an empty bucket: for a stream that goes on at another rate, which is no pause.
    #[must_use]
    pub const fn spent(mut self) -> Self {
        self.tokens = 0;
        self
    }

    /// Asks to move up to `n` bytes at `now`. Grants at most what the bucket holds, and not less than the smaller of
    /// `n` and [`Meter::quantum`], so that a waiting stream does not wake up for single bytes.
    ///
    /// Every grant is settled by [`Meter::refund`] before the next is asked for; one that is not counts as moved.
    pub fn ask(&mut self, now: Instant, n: u64) -> Grant {
        self.refund(now, 0);
        let held = u64::try_from(self.tokens / BYTE).unwrap_or(u64::MAX);
        let least = n.min(self.quantum);
        if held < least {
            let missing = u128::from(least) * BYTE - self.tokens;
            let nanos = missing.div_ceil(u128::from(self.rate.get()));
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            return Grant::WaitUntil(Instant::from_nanos(self.filled.as_nanos().saturating_add(nanos)));
        }
        let k = n.min(held);
        self.granted = u128::from(k) * BYTE;
        self.tokens -= self.granted;
        Grant::Advance(k)
    }

    /// Settles the last grant at `now`: so many bytes of it did not move and are given back. Never gives back more than
    /// was granted; without an open grant it only lets time pass.
    pub fn refund(&mut self, now: Instant, unused: u64) {
        let passed = u128::from(now.as_nanos().saturating_sub(self.filled.as_nanos()));
        let room = u128::from(self.burst) * BYTE - self.granted;
        // A grant that is still open leaves no room for its own tokens to be earned a second time.
        self.tokens = (self.tokens + passed * u128::from(self.rate.get())).min(room);
        self.filled = self.filled.max(now);
        self.tokens += (u128::from(unused) * BYTE).min(self.granted);
        self.granted = 0;
    }

    /// The rate, payload bits of the stream per second.
    pub const fn rate(&self) -> BitRate {
        self.rate
    }

    /// The bytes that may move at once after a pause.
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// The least number of bytes that a waiting stream is woken for: one packet or what the rate brings in 2 ms, but not
    /// above the burst.
    pub const fn quantum(&self) -> u64 {
        self.quantum
    }
}

#[cfg(test)]
mod tests;
