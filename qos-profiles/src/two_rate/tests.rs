//! The two-rate meter and the single-rate meter against slow references: the bucket of TS 23.107 Annex B (its state rule
//! as recalled: a packet of length L conforms if and only if TBC >= L, then TBC -= L; TBC is at most b) and RFC 4115 in
//! fractions.

use super::*;
use crate::{Grant, Meter};

const SECOND: u64 = 1_000_000_000;

fn rate(bits: u64) -> BitRate {
    BitRate::bits_per_second(bits).unwrap()
}

/// Numbers that look random and are the same in each run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Annex B: one counter, here in bit-nanoseconds and with nothing of [`Bucket`] in it.
struct AnnexB {
    r: i128,
    b: i128,
    tbc: i128,
    last: u64,
}

impl AnnexB {
    fn conforms(&mut self, now: u64, length: u64) -> bool {
        self.tbc = (self.tbc + i128::from(now - self.last) * self.r).min(self.b);
        self.last = now;
        let cost = i128::from(length) * 8 * i128::from(SECOND);
        let is_conforming = self.tbc >= cost;
        if is_conforming {
            self.tbc -= cost;
        }
        is_conforming
    }
}

fn reference(bits: u64, burst: u64) -> AnnexB {
    let b = i128::from(burst) * 8 * i128::from(SECOND);
    AnnexB { r: i128::from(bits), b, tbc: b, last: 0 }
}

#[test]
fn a_million_packets_are_judged_as_annex_b_judges_them() {
    let mut random = Random(4115);
    for (bits, burst) in [(64_000, 1500), (299_999_999, 40_000), (1_000_000_007, 20_000), (7, 1500)] {
        let mut meter = Meter::new(rate(bits), burst, Instant::from_nanos(0));
        let mut reference = reference(bits, burst);
        let mut now = 0;
        let mut passed = 0;
        for _ in 0..250_000 {
            // Between half and double the rate on average, with exact hits among them.
            let length = 1 + random.below(1500);
            let fair = length * 8 * SECOND / bits;
            now += random.below(fair.saturating_mul(2) + 1);
            let at = Instant::from_nanos(now);
            // A whole packet or none: what the meter lets a stream have in part goes back.
            let is_let_through = match meter.ask(at, length) {
                Grant::Advance(granted) if granted == length => {
                    meter.refund(at, 0);
                    true
                }
                Grant::Advance(granted) => {
                    meter.refund(at, granted);
                    false
                }
                Grant::WaitUntil(_) => false,
            };
            assert_eq!(is_let_through, reference.conforms(now, length), "{bits} bit/s, {now}, {length}");
            passed += u32::from(is_let_through);
        }
        assert!((50_000..249_990).contains(&passed), "{bits} bit/s: {passed} passed, which tests nothing");
    }
}

#[test]
fn two_independent_annex_b_buckets_are_rfc_4115() {
    let mut random = Random(4115);
    let rates = Rates {
        committed: Some(rate(1_000_003)),
        committed_burst: 3000,
        excess: Some(rate(2_999_999)),
        excess_burst: 9000,
    };
    let mut meter = TwoRate::new(rates, Instant::from_nanos(0));
    let (mut green, mut yellow) = (reference(1_000_003, 3000), reference(2_999_999, 9000));
    let mut now = 0;
    let mut seen = [0_u32; 3];
    for _ in 0..200_000 {
        now += random.below(3_000_000);
        let length = 1 + random.below(1500);
        let expected = if green.conforms(now, length) {
            Colour::Green
        } else if yellow.conforms(now, length) {
            Colour::Yellow
        } else {
            Colour::Red
        };
        assert_eq!(meter.meter(Instant::from_nanos(now), length), expected);
        seen[expected as usize] += 1;
    }
    assert!(seen.iter().all(|n| *n > 3_000), "{seen:?}");
}

#[test]
fn yellow_never_takes_from_what_is_committed() {
    let rates = Rates {
        committed: Some(rate(8_000)),
        committed_burst: 1500,
        excess: Some(rate(8_000)),
        excess_burst: 1500,
    };
    let mut meter = TwoRate::new(rates, Instant::from_nanos(0));
    assert_eq!(meter.meter(Instant::from_nanos(0), 1500), Colour::Green);
    assert_eq!(meter.meter(Instant::from_nanos(0), 1400), Colour::Yellow);
    assert_eq!(meter.meter(Instant::from_nanos(0), 200), Colour::Red);
    // A tenth of a second brings 100 bytes to each; red took nothing, and what is green first stays green.
    let later = Instant::from_nanos(SECOND / 10);
    assert_eq!(meter.meter(later, 100), Colour::Green);
    assert_eq!(meter.meter(later, 200), Colour::Yellow);
    assert_eq!(meter.meter(later, 1), Colour::Red);
}

#[test]
fn a_bearers_rates_add_up_to_its_maximum() {
    let both = Rates::of_bearer(Some(rate(31_000)), rate(100_000), 10_000, 1500);
    assert_eq!((both.committed, both.excess), (Some(rate(31_000)), Some(rate(69_000))));
    assert_eq!((both.committed_burst, both.excess_burst), (3_100, 6_900));
    let equal = Rates::of_bearer(Some(rate(31_000)), rate(31_000), 10_000, 1500);
    assert_eq!((equal.excess, equal.excess_burst, equal.committed_burst), (None, 0, 10_000));
    let above = Rates::of_bearer(Some(rate(64_000)), rate(31_000), 10_000, 1500);
    assert_eq!(above.committed, Some(rate(31_000)));
    let none = Rates::of_bearer(None, rate(31_000), 0, 1500);
    assert_eq!((none.committed, none.excess_burst), (None, 1500));
}
