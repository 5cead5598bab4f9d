//! The steps in which information elements count bit rates: a base octet up to 8640 kbit/s, an extension up to
//! 256 Mbit/s, a second extension up to 10 Gbit/s (TS 24.008, 10.5.6.5; TS 24.301, 9.9.4.3 has the same). Decides which
//! step a rate is rounded to. Called by `umts_ie` and `eps_ie`, which know where the octets stand.
//!
//! Between the steps are gaps (569 to 575, 8641 to 8699 kbit/s, and inside every step). A guaranteed rate is rounded up
//! and a maximum down, so that nothing is promised less or allowed more than was asked for; what the decoder reads from the
//! result is what was asked for in truth.

use crate::Rate;

/// Where a rate goes that lies between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the step below: a maximum. A rate above 0 never becomes 0; below 1 kbit/s it is 1 kbit/s.
    Down,
    /// To the step above: a guarantee. Above the last step it is the last step.
    Up,
}

/// The three octets of one rate. An extension that is 0 is not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateCodes {
    pub(crate) base: u8,
    pub(crate) ext: u8,
    pub(crate) ext2: u8,
}

/// 0 in a base octet: the subscription's rate (or nothing is said).
const SUBSCRIBED: u8 = 0;
/// 255 in a base octet: nothing goes that way.
const CLOSED: u8 = 255;
/// The highest codes: a rate that needs the next octet has these in the octets before.
const BASE_MAX: u8 = 254;
const EXT_MAX: u8 = 250;
/// What the first extension says at most, in kbit/s.
pub(crate) const EXT_MAX_KBITS: u64 = 256_000;
const EXT2_MAX: u8 = 246;

/// What a base octet of 1 to 254 means, in kbit/s.
pub(crate) fn base_kbits(code: u8) -> u64 {
    let n = u64::from(code);
    match code {
        0..=63 => n,
        64..=127 => 64 + (n - 64) * 8,
        128.. => 576 + (n.min(254) - 128) * 64,
    }
}

/// What the first extension means, in kbit/s; 251 to 255, which are not defined, are read as 250.
pub(crate) fn ext_kbits(code: u8) -> u64 {
    let n = u64::from(code);
    match code {
        0..=74 => 8_600 + n * 100,
        75..=186 => (16 + (n - 74)) * 1_000,
        187.. => (128 + (n.min(250) - 186) * 2) * 1_000,
    }
}

/// What the second extension of a quality of service element means, in kbit/s; above 246, which is not defined, it is the
/// maximum of 10 Gbit/s.
pub(crate) fn ext2_kbits(code: u8) -> u64 {
    let n = u64::from(code);
    1_000
        * match code {
            0..=61 => 256 + n * 4,
            62..=161 => 500 + (n - 61) * 10,
            162.. => 1_500 + (n.min(246) - 161) * 100,
        }
}

impl RateCodes {
    /// The codes for a rate, at most as many octets as `octets` (1 to 3) says.
    pub(crate) fn of(rate: Option<Rate>, rounding: Rounding, octets: u8) -> Self {
        let base = |base| Self { base, ..Self::default() };
        let Some(rate) = rate else { return base(SUBSCRIBED) };
        let Some(bits) = rate.bit_rate() else { return base(CLOSED) };
        let steps = (1..=BASE_MAX).map(base);
        let ext = (1..=EXT_MAX).map(|ext| Self { ext, ..base(BASE_MAX) }).filter(|_| octets > 1);
        let ext2 =
            (1..=EXT2_MAX).map(|ext2| Self { ext2, ext: EXT_MAX, base: BASE_MAX }).filter(|_| octets > 2);
        let mut fits = base(1);
        for step in steps.chain(ext).chain(ext2) {
            let above = step.kbits() * 1_000 > bits.get();
            if above && rounding == Rounding::Down {
                break;
            }
            fits = step;
            if step.kbits() * 1_000 >= bits.get() {
                break;
            }
        }
        fits
    }

    /// What the codes mean: the last extension that is used, else the base. `None` is subscribed.
    pub(crate) fn rate(self) -> Option<Rate> {
        match self {
            Self { base: SUBSCRIBED, ext: 0, ext2: 0 } => None,
            Self { base: CLOSED, ext: 0, ext2: 0 } => Some(Rate::Zero),
            used => Rate::bits_per_second(used.kbits() * 1_000),
        }
    }

    /// Whether the first extension is needed.
    pub(crate) fn is_extended(self) -> bool {
        self.ext != 0
    }

    /// Whether the second extension is needed.
    pub(crate) fn is_extended_twice(self) -> bool {
        self.ext2 != 0
    }

    fn kbits(self) -> u64 {
        match self {
            Self { base, ext: 0, ext2: 0 } => base_kbits(base),
            Self { ext, ext2: 0, .. } => ext_kbits(ext),
            Self { ext2, .. } => ext2_kbits(ext2),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<RateCodes> {
        let base = (1..=254).map(|base| RateCodes { base, ext: 0, ext2: 0 });
        let ext = (1..=250).map(|ext| RateCodes { base: 254, ext, ext2: 0 });
        let ext2 = (1..=246).map(|ext2| RateCodes { base: 254, ext: 250, ext2 });
        base.chain(ext).chain(ext2).collect()
    }

    #[test]
    fn the_ends_of_every_range_are_those_of_the_standard() {
        let base = [(1, 1), (63, 63), (64, 64), (127, 568), (128, 576), (254, 8_640)];
        assert_eq!(base.map(|(code, _)| base_kbits(code)), base.map(|(_, rate)| rate));
        let ext = [(1, 8_700), (74, 16_000), (75, 17_000), (186, 128_000), (187, 130_000), (250, 256_000)];
        assert_eq!(ext.map(|(code, _)| ext_kbits(code)), ext.map(|(_, rate)| rate));
        let ext2 = [(1, 260), (61, 500), (62, 510), (161, 1_500), (162, 1_600), (246, 10_000), (255, 10_000)];
        assert_eq!(ext2.map(|(code, _)| ext2_kbits(code)), ext2.map(|(_, rate)| rate * 1_000));
        assert_eq!(ext_kbits(255), EXT_MAX_KBITS);
    }

    #[test]
    fn steps_go_up_and_every_step_is_its_own_code() {
        assert!(all().is_sorted_by(|a, b| a.kbits() < b.kbits()));
        for codes in all() {
            for rounding in [Rounding::Down, Rounding::Up] {
                assert_eq!(RateCodes::of(codes.rate(), rounding, 3), codes);
            }
        }
    }

    #[test]
    fn trap_3_255_is_a_closed_direction_and_0_is_subscribed() {
        let base = |base| RateCodes { base, ext: 0, ext2: 0 };
        assert_eq!((base(255).rate(), base(0).rate()), (Some(Rate::Zero), None));
        assert_eq!(RateCodes::of(Some(Rate::Zero), Rounding::Down, 3), base(255));
        assert_eq!(RateCodes::of(None, Rounding::Up, 3), base(0));
    }

    #[test]
    fn trap_6_a_kbit_is_1000_bits() {
        let codes = RateCodes::of(Rate::bits_per_second(64_000), Rounding::Up, 1);
        assert_eq!((codes.base, codes.rate().map(Rate::get)), (64, Some(64_000)));
        // 64 KiB/s, or 64 x 1024 bit/s, would be another step.
        assert_ne!(RateCodes::of(Rate::bits_per_second(64 * 1_024), Rounding::Up, 1), codes);
    }

    proptest! {
        #[test]
        fn a_maximum_is_rounded_down_and_a_guarantee_up(bits in prop_oneof![1..9_000_000_u64, 1..11_000_000_000_u64], octets in 1..=3_u8) {
            let rate = Rate::bits_per_second(bits);
            let most = [8_640_000, 256_000_000, 10_000_000_000][usize::from(octets) - 1];
            let down = RateCodes::of(rate, Rounding::Down, octets).rate().unwrap().get();
            let up = RateCodes::of(rate, Rounding::Up, octets).rate().unwrap().get();
            prop_assert!(down <= bits.max(1_000));
            prop_assert!(up >= bits.min(most));
            // No step lies between: the next one is the other's.
            let between = all().iter().filter(|step| octets == 3 || step.ext2 == 0).filter(|step| octets > 1 || step.ext == 0)
                .map(|step| step.kbits() * 1_000).filter(|step| (down + 1..up).contains(step)).count();
            prop_assert_eq!(between, 0);
        }
    }
}
