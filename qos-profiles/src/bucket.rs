//! The token bucket under the two-rate meter and the arbiter: whole bit-nanoseconds, so that no rate has an error. It
//! decides nothing; its owner says when time passes, how deep the bucket is then, and what is taken.

use mexe_model::Instant;

/// What a byte costs: eight bits at 10^9 bit-nanoseconds.
pub(crate) const BYTE: u128 = 8 * 1_000_000_000;
/// Chunks below one packet make small packets out of large ones, bytes.
pub(crate) const PACKET: u64 = 1500;

/// A bucket that starts full.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Bits per second; 0 never fills.
    rate: u64,
    /// Bytes.
    depth: u64,
    /// Bit-nanoseconds.
    tokens: u128,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: u64, depth: u64, now: Instant) -> Self {
        Self { rate, depth, tokens: u128::from(depth) * BYTE, filled: now }
    }

    pub(crate) fn empty(&mut self) {
        self.tokens = 0;
    }

    /// Lets time pass.
    pub(crate) fn fill(&mut self, now: Instant) {
        self.fill_to(now, self.depth);
    }

    /// Lets time pass; afterwards no more than `depth` bytes are in it, nor than its own depth.
    pub(crate) fn fill_to(&mut self, now: Instant, depth: u64) {
        let passed = u128::from(now.as_nanos().saturating_sub(self.filled.as_nanos()));
        let room = u128::from(depth.min(self.depth)) * BYTE;
        self.tokens = (self.tokens + passed * u128::from(self.rate)).min(room);
        self.filled = self.filled.max(now);
    }

    /// Whether so many bytes are in it.
    pub(crate) fn holds(&self, bytes: u64) -> bool {
        self.tokens >= u128::from(bytes) * BYTE
    }

    /// Takes so many bytes, or all that is there.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(u128::from(bytes) * BYTE);
    }

    /// Puts back what was taken and not used.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        let room = u128::from(self.depth) * BYTE;
        self.tokens = (self.tokens + u128::from(bytes) * BYTE).min(room);
    }

    /// When it will hold so many bytes; `None` is never.
    pub(crate) fn when(&self, bytes: u64) -> Option<Instant> {
        let missing = (u128::from(bytes) * BYTE).saturating_sub(self.tokens);
        if missing == 0 {
            return Some(self.filled);
        }
        if self.rate == 0 || bytes > self.depth {
            return None;
        }
        let nanos = u64::try_from(missing.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX);
        Some(Instant::from_nanos(self.filled.as_nanos().saturating_add(nanos)))
    }

    /// Changes rate and depth from now on; what is in it stays, as far as it fits.
    pub(crate) fn change(&mut self, rate: u64, depth: u64, now: Instant) {
        self.fill(now);
        self.rate = rate;
        self.depth = depth;
        self.tokens = self.tokens.min(u128::from(depth) * BYTE);
    }

    pub(crate) const fn depth(&self) -> u64 {
        self.depth
    }
}

/// Bytes that a rate in bits per second brings in so many nanoseconds.
pub(crate) fn brings(rate: u64, nanos: u64) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(nanos) / BYTE).unwrap_or(u64::MAX)
}
