//! The two-rate meter of RFC 4115, colour-blind: a committed and an excess bucket that fill independently. A packet is
//! green when the committed bucket holds it, else yellow when the excess bucket does, else red; red takes nothing, and
//! yellow never takes from what is committed. For a bearer the committed rate is the guaranteed bitrate, and the excess
//! rate is what the maximum bitrate leaves above it. Time is an argument; called by the arbiter.

use mexe_model::{BitRate, Instant};

use crate::bucket::Bucket;

/// What the meter says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Within the committed rate.
    Green,
    /// Above it, and within the excess rate.
    Yellow,
    /// Above both.
    Red,
}

/// The rates of a [`TwoRate`]; `None` is no packet of that colour at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Committed information rate.
    pub committed: Option<BitRate>,
    /// Committed burst size, bytes.
    pub committed_burst: u64,
    /// Excess information rate.
    pub excess: Option<BitRate>,
    /// Excess burst size, bytes.
    pub excess_burst: u64,
}

impl Rates {
    /// The rates of a stream with a guaranteed and a maximum bitrate, committed = guaranteed and excess = maximum -
    /// guaranteed, that share one burst in the same proportion, each at least `least` bytes.
    ///
    /// A guarantee above the maximum is cut down to it.
    pub fn of_bearer(guaranteed: Option<BitRate>, maximum: BitRate, burst: u64, least: u64) -> Self {
        let committed = guaranteed.map(|rate| rate.min(maximum));
        let kept = committed.map_or(0, BitRate::get);
        let excess = BitRate::bits_per_second(maximum.get().saturating_sub(kept));
        let share = u128::from(burst) * u128::from(kept) / u128::from(maximum.get());
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        Self {
            committed,
            committed_burst: if committed.is_some() { share.max(least) } else { 0 },
            excess,
            excess_burst: if excess.is_some() { burst.saturating_sub(share).max(least) } else { 0 },
        }
    }
}

/// The meter. Both buckets start full.
#[derive(Clone, Debug)]
pub struct TwoRate {
    pub(crate) committed: Bucket,
    pub(crate) excess: Bucket,
}

impl TwoRate {
    /// A meter with these rates whose buckets are full at `now`.
    pub fn new(rates: Rates, now: Instant) -> Self {
        let bucket = |rate: Option<BitRate>, burst| match rate {
            Some(rate) => Bucket::full(rate.get(), burst, now),
            None => Bucket::full(0, 0, now),
        };
        Self {
            committed: bucket(rates.committed, rates.committed_burst),
            excess: bucket(rates.excess, rates.excess_burst),
        }
    }

    /// The same with empty buckets.
    pub(crate) fn spent(mut self) -> Self {
        self.committed.empty();
        self.excess.empty();
        self
    }

    /// Meters a packet of so many bytes, and takes it from the bucket of its colour.
    pub fn meter(&mut self, now: Instant, length: u64) -> Colour {
        self.fill(now);
        let colour = self.colour(length);
        self.take(colour, length);
        colour
    }

    /// Changes the rates at `now`. What is in the buckets stays, as far as it fits: a change is no new burst.
    pub fn change(&mut self, rates: Rates, now: Instant) {
        for (bucket, rate, burst) in [
            (&mut self.committed, rates.committed, rates.committed_burst),
            (&mut self.excess, rates.excess, rates.excess_burst),
        ] {
            bucket.change(rate.map_or(0, BitRate::get), if rate.is_some() { burst } else { 0 }, now);
        }
    }

    pub(crate) fn fill(&mut self, now: Instant) {
        self.committed.fill(now);
        self.excess.fill(now);
    }

    /// Whether a pause would bring no more.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        [&self.committed, &self.excess].into_iter().all(|bucket| bucket.holds(bucket.depth()))
    }

    pub(crate) fn colour(&self, length: u64) -> Colour {
        if self.committed.depth() > 0 && self.committed.holds(length) {
            Colour::Green
        } else if self.excess.depth() > 0 && self.excess.holds(length) {
            Colour::Yellow
        } else {
            Colour::Red
        }
    }

    pub(crate) fn take(&mut self, colour: Colour, length: u64) {
        match colour {
            Colour::Green => self.committed.take(length),
            Colour::Yellow => self.excess.take(length),
            Colour::Red => {}
        }
    }

    pub(crate) fn give_back(&mut self, colour: Colour, unused: u64) {
        match colour {
            Colour::Green => self.committed.give_back(unused),
            Colour::Yellow => self.excess.give_back(unused),
            Colour::Red => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
