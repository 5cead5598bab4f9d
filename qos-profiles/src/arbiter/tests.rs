//! The arbiter in a world of its own: a deterministic simulation with its own clock, late timers and flows that need time
//! between two chunks.

#![allow(clippy::cast_precision_loss, reason = "shares are shown in per cent")]

use proptest::prelude::*;

use super::*;
use crate::two_rate::tests::Random;

mod bundles;
mod properties;
mod sharing;
mod single;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn rate(bits: u64) -> BitRate {
    BitRate::bits_per_second(bits).unwrap()
}

/// A flow of the simulation.
#[derive(Clone, Debug)]
struct Source {
    id: StreamId,
    /// Bytes that it holds at once: it asks for these, and reads the next when all have moved.
    write: u64,
    left: u64,
    /// Offered bytes per second; `None` is without end.
    offered: Option<u64>,
    /// How long it needs until it asks again, nanoseconds.
    turnaround: u64,
    /// When it acts next.
    at: Option<u64>,
    moved: u64,
    /// The longest wait for a grant.
    longest: u64,
    asked_at: u64,
}

/// Arbiter, flows, clock.
struct World {
    arbiter: Arbiter,
    now: u64,
    sources: Vec<Source>,
    random: Random,
    /// By how much a timer may be late, nanoseconds.
    late: u64,
    /// Every grant as it moved: when, which source, how many bytes.
    log: Vec<(u64, usize, u64)>,
    wake_at: Option<u64>,
    began: u64,
}

impl World {
    fn new(capacity: u64, late: u64) -> Self {
        let arbiter = Arbiter::new(Some(rate(capacity)), Shares::default(), at(SECOND));
        Self {
            arbiter,
            now: SECOND,
            sources: vec![],
            random: Random(7),
            late,
            log: vec![],
            wake_at: None,
            began: SECOND,
        }
    }

    /// A flow that always has more, in writes of so many bytes.
    fn hungry(&mut self, terms: Terms, write: u64) -> usize {
        self.add(terms, write, None)
    }

    fn add(&mut self, terms: Terms, write: u64, offered: Option<u64>) -> usize {
        let id = self.arbiter.join(terms, at(self.now));
        let turnaround = 20_000 + self.random.below(60_000);
        self.sources.push(Source {
            id,
            write,
            left: write,
            offered,
            turnaround,
            at: Some(self.now + self.random.below(MILLI)),
            moved: 0,
            longest: 0,
            asked_at: 0,
        });
        self.sources.len() - 1
    }

    fn run(&mut self, nanos: u64) {
        let end = self.now + nanos;
        loop {
            let acting = self.sources.iter().filter_map(|source| source.at).min();
            let next = acting.into_iter().chain(self.wake_at).min().unwrap_or(end);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if self.wake_at.is_some_and(|wake| wake <= self.now) {
                let mut granted = vec![];
                self.arbiter.serve(at(self.now), |id| granted.push(id));
                self.wake(&granted);
            }
            for n in 0..self.sources.len() {
                if self.sources[n].at.is_some_and(|when| when <= self.now) {
                    self.act(n);
                }
            }
            let due = self.arbiter.next().map(|next| next.as_nanos().max(self.now + 50_000));
            let lateness = if self.late == 0 { 0 } else { self.random.below(self.late) };
            self.wake_at = match (self.wake_at.filter(|wake| *wake > self.now), due) {
                (Some(set), Some(due)) if set <= due + self.late => Some(set),
                (_, due) => due.map(|due| due + lateness),
            };
        }
    }

    fn wake(&mut self, granted: &[StreamId]) {
        for id in granted {
            if let Some(source) = self.sources.iter_mut().find(|source| source.id == *id) {
                source.at = Some(self.now + 10_000);
            }
        }
    }

    fn act(&mut self, n: usize) {
        let (id, left) = (self.sources[n].id, self.sources[n].left);
        if self.sources[n].asked_at == 0 {
            self.sources[n].asked_at = self.now;
        }
        let mut granted = vec![];
        let got = self.arbiter.ask(id, left, at(self.now), |id| granted.push(id));
        let source = &mut self.sources[n];
        source.at = None;
        if let Some(got) = got {
            assert!(got <= left && got > 0);
            source.moved += got;
            source.left -= got;
            source.longest = source.longest.max(self.now - source.asked_at);
            source.asked_at = 0;
            let mut pause = 5_000;
            if source.left == 0 {
                source.left = source.write;
                let due = source.offered.map_or(0, |offered| {
                    (source.moved * SECOND / offered).saturating_sub(self.now - self.began)
                });
                pause = source.turnaround.max(due);
            }
            source.at = Some(self.now + pause);
            self.log.push((self.now, n, got));
        }
        self.wake(&granted);
    }

    /// Runs, and says how many bytes each source moved meanwhile.
    fn measure(&mut self, nanos: u64) -> Vec<u64> {
        let before: Vec<u64> = self.sources.iter().map(|source| source.moved).collect();
        self.run(nanos);
        self.sources.iter().zip(before).map(|(source, before)| source.moved - before).collect()
    }

    /// The most that any window held of those sources above rate x T, bytes.
    fn excess(&self, bits: u64, counts: impl Fn(usize) -> bool) -> i128 {
        // With D = moved - rate x t, the excess of a window is D after its end less D before its start.
        let (mut moved, mut lowest, mut worst) = (0_i128, i128::MAX, 0_i128);
        for (when, n, bytes) in &self.log {
            if !counts(*n) {
                continue;
            }
            let due = i128::from(bits) * i128::from(*when) / 8;
            lowest = lowest.min(moved * i128::from(SECOND) - due);
            moved += i128::from(*bytes);
            worst = worst.max(moved * i128::from(SECOND) - due - lowest);
        }
        (worst + i128::from(SECOND) - 1) / i128::from(SECOND)
    }
}

fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|x| *x as f64).sum();
    let squares: f64 = shares.iter().map(|x| (*x as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}
