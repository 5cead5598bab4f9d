//! The two elements in which LTE says what the quality of service element of UMTS says: EPS quality of service (TS 24.301,
//! 9.9.4.3) for one bearer, and APN-AMBR (9.9.4.2) for all bearers without a guarantee together. Values only, without
//! identifier and length. They look like the element of UMTS, and differ: see each. Called by whoever speaks to a modem.

use mexe_model::BitRate;

use crate::steps::{self, RateCodes, Rounding};
use crate::{Qci, Rate};

/// What the network gives one bearer. A rate that is `None` is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpsQos {
    /// The QCI; `None` leaves the choice to the network.
    pub qci: Option<Qci>,
    /// The maximum towards the network.
    pub max_bitrate_up: Option<Rate>,
    /// The maximum from the network.
    pub max_bitrate_down: Option<Rate>,
    /// The guaranteed rate towards the network.
    pub guaranteed_bitrate_up: Option<Rate>,
    /// The guaranteed rate from the network.
    pub guaranteed_bitrate_down: Option<Rate>,
}

/// The most that all bearers without a guarantee may carry together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApnAmbr {
    /// Towards the network. `None` is reserved in the element and says nothing.
    pub up: Option<Rate>,
    /// From the network.
    pub down: Option<Rate>,
}

/// The value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No APN-AMBR has this many octets.
    #[error("{0} octets are no APN-AMBR: its value has 2, 4 or 6")]
    AmbrLength(usize),
    /// No EPS quality of service has this many octets.
    #[error("{0} octets are no EPS quality of service: its value has 1, 5, 9 or 13")]
    EpsLength(usize),
}

impl EpsQos {
    /// Reads a value. A QCI of 0 or 255 is none.
    ///
    /// # Errors
    /// The value's length is not one that the element has.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        if !matches!(value.len(), 1 | 5 | 9 | 13) {
            return Err(DecodeError::EpsLength(value.len()));
        }
        let at = |octet: usize| value.get(octet).copied().unwrap_or(0);
        // Uplink first, in every group: maximum up and down, guaranteed up and down, the same extended, and again.
        let rate = |n: usize| RateCodes { base: at(1 + n), ext: at(5 + n), ext2: at(9 + n) }.rate();
        Ok(Self {
            qci: Qci::new(at(0)),
            max_bitrate_up: rate(0),
            max_bitrate_down: rate(1),
            guaranteed_bitrate_up: rate(2),
            guaranteed_bitrate_down: rate(3),
        })
    }

    /// The shortest value that says it. Guaranteed rates are rounded up, maxima down.
    pub fn encode(&self) -> Vec<u8> {
        let codes = [
            RateCodes::of(self.max_bitrate_up, Rounding::Down, 3),
            RateCodes::of(self.max_bitrate_down, Rounding::Down, 3),
            RateCodes::of(self.guaranteed_bitrate_up, Rounding::Up, 3),
            RateCodes::of(self.guaranteed_bitrate_down, Rounding::Up, 3),
        ];
        let mut value = vec![self.qci.map_or(0, Qci::get)];
        for octets in [codes.map(|codes| codes.base), codes.map(|codes| codes.ext), codes.map(|c| c.ext2)] {
            value.extend(octets);
        }
        while value.len() > 1 && value.iter().rev().take(4).all(|octet| *octet == 0) {
            value.truncate(value.len() - 4);
        }
        value
    }
}

impl ApnAmbr {
    /// Reads a value.
    ///
    /// # Errors
    /// The value's length is not one that the element has.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        if !matches!(value.len(), 2 | 4 | 6) {
            return Err(DecodeError::AmbrLength(value.len()));
        }
        let at = |octet: usize| value.get(octet).copied().unwrap_or(0);
        let rate = |n: usize| Self::rate(RateCodes { base: at(n), ext: at(2 + n), ext2: at(4 + n) });
        Ok(Self { down: rate(0), up: rate(1) })
    }

    /// The shortest value that says it, rounded down.
    pub fn encode(&self) -> Vec<u8> {
        let codes = [Self::codes(self.down), Self::codes(self.up)];
        let mut value = Vec::with_capacity(6);
        for octets in [codes.map(|codes| codes.base), codes.map(|codes| codes.ext), codes.map(|c| c.ext2)] {
            value.extend(octets);
        }
        while value.len() > 2 && value.iter().rev().take(2).all(|octet| *octet == 0) {
            value.truncate(value.len() - 2);
        }
        value
    }

    /// The second extension counts 256 Mbit/s and is added to what the octets before it say; 0 and 255 are not used.
    fn rate(codes: RateCodes) -> Option<Rate> {
        let below = RateCodes { ext2: 0, ..codes }.rate();
        match codes.ext2 {
            1..=EXT2_MAX => Rate::bits_per_second(below.map_or(0, Rate::get) + u64::from(codes.ext2) * UNIT),
            _ => below,
        }
    }

    fn codes(rate: Option<Rate>) -> RateCodes {
        let Some(bits) = rate.and_then(Rate::bit_rate).map(BitRate::get).filter(|bits| *bits > UNIT) else {
            return RateCodes::of(rate, Rounding::Down, 2);
        };
        // What is left is above 0, so that the octets before never say "closed" or nothing.
        let units = ((bits - LEAST) / UNIT).min(u64::from(EXT2_MAX));
        let rest = Rate::bits_per_second(bits - units * UNIT);
        let below = RateCodes::of(rest, Rounding::Down, 2);
        RateCodes { ext2: u8::try_from(units).unwrap_or(EXT2_MAX), ..below }
    }
}

/// What the second extension of an APN-AMBR counts.
const UNIT: u64 = 256_000_000;
/// With which, and the octets before it at their highest, it says 65 280 Mbit/s.
const EXT2_MAX: u8 = 254;
/// The least that the octets before can say besides nothing: 1 kbit/s.
const LEAST: u64 = 1_000;

const _: () = assert!(steps::EXT_MAX_KBITS * 1_000 == UNIT);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mbits(mbits: u64) -> Option<Rate> {
        Rate::bits_per_second(mbits * 1_000_000)
    }

    #[test]
    fn trap_1_eps_has_the_uplink_first_everywhere_and_apn_ambr_the_downlink() {
        let qos = EpsQos { qci: Qci::new(1), max_bitrate_up: mbits(510), ..EpsQos::default() };
        assert_eq!(qos.encode(), [1, 254, 0, 0, 0, 250, 0, 0, 0, 62, 0, 0, 0]);
        assert_eq!(EpsQos::decode(&qos.encode()), Ok(qos));
        let ambr = ApnAmbr { up: mbits(1), down: mbits(100) };
        assert_eq!(ambr.encode(), [254, 134, 158, 0]);
        let read = ApnAmbr::decode(&ambr.encode()).unwrap();
        assert_eq!((read.down, read.up), (mbits(100), Rate::bits_per_second(960_000)));
    }

    #[test]
    fn trap_5_the_second_extension_of_an_apn_ambr_is_added_and_that_of_a_bearer_is_not() {
        let ambr = ApnAmbr { up: mbits(300), down: mbits(1_000) };
        // 256 + 44 and 3 x 256 + 232.
        assert_eq!(ambr.encode(), [254, 254, 238, 102, 3, 1]);
        assert_eq!(ApnAmbr::decode(&ambr.encode()), Ok(ambr));
        let bearer = EpsQos { max_bitrate_down: mbits(1_000), ..EpsQos::default() };
        assert_eq!(bearer.encode()[10], 111);
        let most = ApnAmbr { up: mbits(65_280), down: mbits(100_000) };
        assert_eq!(ApnAmbr::decode(&most.encode()), Ok(ApnAmbr { up: mbits(65_280), down: mbits(65_280) }));
    }

    #[test]
    fn only_the_lengths_of_the_elements_are_read() {
        for length in 0..=20 {
            let value = vec![0xff; length];
            assert_eq!(EpsQos::decode(&value).is_ok(), [1, 5, 9, 13].contains(&length));
            assert_eq!(ApnAmbr::decode(&value).is_ok(), [2, 4, 6].contains(&length));
        }
        assert_eq!(EpsQos::decode(&[0]), Ok(EpsQos::default()));
        assert_eq!(ApnAmbr::decode(&[0, 255]).map(|ambr| (ambr.down, ambr.up)), Ok((None, Some(Rate::Zero))));
        assert_eq!(ApnAmbr::decode(&[254, 0, 255, 0]).map(|ambr| ambr.down), Ok(mbits(256)));
    }

    proptest! {
        #[test]
        fn what_was_read_is_written_to_be_read_again(value in prop::collection::vec(any::<u8>(), 0..16)) {
            if let Ok(read) = EpsQos::decode(&value) {
                prop_assert_eq!(EpsQos::decode(&read.encode()), Ok(read));
            }
            if let Ok(read) = ApnAmbr::decode(&value) {
                let again = ApnAmbr::decode(&read.encode()).unwrap();
                for (before, after) in [(read.up, again.up), (read.down, again.down)] {
                    // Sums that have no code of their own are rounded down.
                    prop_assert!(after <= before);
                    prop_assert_eq!(after.is_some(), before.is_some());
                }
                prop_assert_eq!(ApnAmbr::decode(&again.encode()), Ok(again));
            }
        }

        #[test]
        fn an_apn_ambr_is_never_more_than_was_said(bits in 1_000..70_000_000_000_u64) {
            let said = ApnAmbr { up: Rate::bits_per_second(bits), down: Some(Rate::Zero) };
            let read = ApnAmbr::decode(&said.encode()).unwrap();
            let up = read.up.unwrap().get();
            prop_assert!(up <= bits && (up + 2_000_000 >= bits || up == 65_280_000_000), "{} {}", up, bits);
            prop_assert_eq!(read.down, Some(Rate::Zero));
        }
    }
}
