//! Bit rates: bits per second inside, decimal prefixes in files (1 Mbit/s is 1 000 000 bit/s).

use std::fmt;
use std::str::FromStr;

/// A rate in bits per second; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BitRate(std::num::NonZeroU64);

impl BitRate {
    /// The highest rate that is accepted: 1 Tbit/s. Keeps the meters' arithmetic far from its limits.
    pub const MAX: u64 = 1_000_000_000_000;

    /// A rate of that many bits per second; `None` for 0 and above [`BitRate::MAX`].
    pub fn bits_per_second(rate: u64) -> Option<Self> {
        std::num::NonZeroU64::new(rate).filter(|r| r.get() <= Self::MAX).map(Self)
    }

    /// Bits per second.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

const UNITS: [(&str, u64); 4] =
    [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];

impl FromStr for BitRate {
    type Err = BitRateError;

    /// Reads `64 kbit/s`, `10 Mbit/s`, `1.5 Mbit/s`: a decimal number, a blank, a unit. Nothing is rounded: a fraction
    /// that is not a whole number of bits per second is refused.
    fn from_str(text: &str) -> Result<Self, BitRateError> {
        let wrong = || BitRateError { text: text.chars().take(40).collect() };
        let (number, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |d: &str| !d.is_empty() && d.len() <= 13 && d.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let tenths = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
        let part = fraction.parse::<u128>().map_err(|_| wrong())? * u128::from(scale);
        if !part.is_multiple_of(tenths) {
            return Err(wrong());
        }
        let rate = u128::from(whole) * u128::from(scale) + part / tenths;
        u64::try_from(rate).ok().and_then(Self::bits_per_second).ok_or_else(wrong)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.get();
        let (unit, scale) = UNITS.into_iter().find(|(_, s)| rate.is_multiple_of(*s)).unwrap_or(("bit/s", 1));
        write!(f, "{} {unit}", rate / scale)
    }
}

impl serde::Serialize for BitRate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for BitRate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not a bit rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a bit rate: write a number and bit/s, kbit/s, Mbit/s or Gbit/s, as in `10 Mbit/s`")]
pub struct BitRateError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_exactly_or_not_at_all() {
        let rate = |text: &str| text.parse::<BitRate>().ok().map(BitRate::get);
        assert_eq!(rate("10 Mbit/s"), Some(10_000_000));
        assert_eq!(rate("1.5 Mbit/s"), Some(1_500_000));
        assert_eq!(rate("64 kbit/s"), Some(64_000));
        assert_eq!(rate("1000 Gbit/s"), Some(BitRate::MAX));
        for bad in
            ["10", "10Mbit/s", "0 bit/s", "-1 bit/s", "1.5 bit/s", "1001 Gbit/s", "x kbit/s", "1. kbit/s"]
        {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn rates_read_back_as_shown() {
        for text in ["64 kbit/s", "10 Mbit/s", "1500 kbit/s", "1 Gbit/s", "1 bit/s"] {
            assert_eq!(text.parse::<BitRate>().unwrap().to_string(), text);
        }
    }
}
