//! Error ratios: one digit and a power of ten, exactly as the standards write them (7 x 10^-3). Decides which text is one
//! and which of two is the stricter. No floating point: 7e-3 has to stay 7e-3.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// So many wrong ones among all: `mantissa` x 10^-`exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorRatio {
    mantissa: u8,
    exponent: u8,
}

impl ErrorRatio {
    /// The SDU error ratios that TS 24.008, 10.5.6.5 can carry, the strictest first.
    pub const OF_SDUS: [Self; 7] = [
        Self::of(1, 6),
        Self::of(1, 5),
        Self::of(1, 4),
        Self::of(1, 3),
        Self::of(7, 3),
        Self::of(1, 2),
        Self::of(1, 1),
    ];
    /// The residual bit error ratios that TS 24.008, 10.5.6.5 can carry, the strictest first.
    pub const RESIDUAL: [Self; 9] = [
        Self::of(6, 8),
        Self::of(1, 6),
        Self::of(1, 5),
        Self::of(1, 4),
        Self::of(1, 3),
        Self::of(4, 3),
        Self::of(5, 3),
        Self::of(1, 2),
        Self::of(5, 2),
    ];

    /// `mantissa` x 10^-`exponent`; `None` unless both are 1 to 9.
    pub const fn new(mantissa: u8, exponent: u8) -> Option<Self> {
        let digit = 1..=9;
        if mantissa >= *digit.start()
            && mantissa <= *digit.end()
            && exponent >= *digit.start()
            && exponent <= *digit.end()
        {
            Some(Self::of(mantissa, exponent))
        } else {
            None
        }
    }

    pub(crate) const fn of(mantissa: u8, exponent: u8) -> Self {
        Self { mantissa, exponent }
    }

    /// The digit before the power, 1 to 9.
    pub const fn mantissa(self) -> u8 {
        self.mantissa
    }

    /// The power of ten is minus this, 1 to 9.
    pub const fn exponent(self) -> u8 {
        self.exponent
    }
}

/// The smaller is the stricter. One digit each, so the power decides before the digit.
impl Ord for ErrorRatio {
    fn cmp(&self, other: &Self) -> Ordering {
        other.exponent.cmp(&self.exponent).then(self.mantissa.cmp(&other.mantissa))
    }
}

impl PartialOrd for ErrorRatio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ErrorRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}e-{}", self.mantissa, self.exponent)
    }
}

impl FromStr for ErrorRatio {
    type Err = ErrorRatioError;

    fn from_str(text: &str) -> Result<Self, ErrorRatioError> {
        let digit = |text: &str| match text.as_bytes() {
            [digit] => digit.checked_sub(b'0'),
            _ => None,
        };
        text.split_once("e-")
            .and_then(|(mantissa, exponent)| Self::new(digit(mantissa)?, digit(exponent)?))
            .ok_or_else(|| ErrorRatioError { text: text.chars().take(20).collect() })
    }
}

impl serde::Serialize for ErrorRatio {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ErrorRatio {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not an error ratio.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an error ratio: write a digit and a power of ten, as in \"7e-3\"")]
pub struct ErrorRatioError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_read_back_as_shown_and_nothing_else_is_one() {
        for ratio in ErrorRatio::OF_SDUS.into_iter().chain(ErrorRatio::RESIDUAL) {
            assert_eq!(ratio.to_string().parse::<ErrorRatio>().unwrap(), ratio);
        }
        for bad in ["", "0e-0", "1e3", "1e-0", "10e-3", "1e-10", "7E-3", "7e-3 ", "+e-3", "ae-3"] {
            assert!(bad.parse::<ErrorRatio>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_tables_go_from_the_strictest_to_the_laxest() {
        assert!(ErrorRatio::OF_SDUS.is_sorted());
        assert!(ErrorRatio::RESIDUAL.is_sorted());
        assert!(ErrorRatio::of(6, 8) < ErrorRatio::of(1, 6));
        assert!(ErrorRatio::of(7, 3) > ErrorRatio::of(5, 3));
    }
}
