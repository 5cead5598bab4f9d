//! The values that attributes have, each with its range and its unit. The ranges are those that the information element
//! of TS 24.008, 10.5.6.5 can carry, so that what is asked for is never far from what can be said. Made by the profile
//! reader and by the decoders; a value that exists is in range.

use std::fmt;

use mexe_model::BitRate;
use serde::{Deserialize, Serialize, Serializer};

/// The bit rate of one direction of a bearer. Unlike a [`BitRate`] it may be zero: nothing goes that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rate {
    /// 0 kbit/s: the direction is closed.
    Zero,
    /// So many bits per second.
    At(BitRate),
}

impl Rate {
    /// A rate of so many bits per second; `None` above [`BitRate::MAX`].
    pub fn bits_per_second(rate: u64) -> Option<Self> {
        if rate == 0 { Some(Self::Zero) } else { BitRate::bits_per_second(rate).map(Self::At) }
    }

    /// Bits per second, 0 for a closed direction.
    pub const fn get(self) -> u64 {
        match self {
            Self::Zero => 0,
            Self::At(rate) => rate.get(),
        }
    }

    /// The rate when it is not zero.
    pub const fn bit_rate(self) -> Option<BitRate> {
        match self {
            Self::Zero => None,
            Self::At(rate) => Some(rate),
        }
    }
}

impl From<BitRate> for Rate {
    fn from(rate: BitRate) -> Self {
        Self::At(rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("0 kbit/s"),
            Self::At(rate) => rate.fmt(f),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number is not what the attribute can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is not a {what}: write {least} to {most}{unit}")]
pub struct OutOfRange {
    pub(crate) what: &'static str,
    pub(crate) number: u16,
    pub(crate) least: u16,
    pub(crate) most: u16,
    pub(crate) unit: &'static str,
}

/// A newtype over a small number with a range; reads and shows itself as the number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident: $small:ty, $what:literal, $least:literal..=$most:literal $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "u16", into = "u16")]
        pub struct $name($small);

        impl $name {
            #[doc = concat!("The least: ", stringify!($least), $unit, ".")]
            pub const MIN: Self = Self($least);
            #[doc = concat!("The most: ", stringify!($most), $unit, ".")]
            pub const MAX: Self = Self($most);

            #[doc = concat!("That number; `None` outside ", stringify!($least), " to ", stringify!($most), ".")]
            pub const fn new(number: $small) -> Option<Self> {
                if number >= $least && number <= $most { Some(Self(number)) } else { None }
            }

            /// The number.
            pub const fn get(self) -> $small {
                self.0
            }
        }

        impl TryFrom<u16> for $name {
            type Error = $crate::attributes::OutOfRange;

            fn try_from(number: u16) -> Result<Self, $crate::attributes::OutOfRange> {
                <$small>::try_from(number).ok()                    .and_then(Self::new)
                    .ok_or($crate::attributes::OutOfRange {
                    what: $what,
                    number,
                    least: $least,
                    most: $most,
                    unit: $unit,
                })
            }
        }

        impl From<$name> for u16 {
            fn from(value: $name) -> Self {
                value.0.into()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}{}", self.0, $unit)
            }
        }
    };
}

pub(crate) use number;

number! {
    /// The traffic handling priority of an interactive bearer: 1 goes first, so the smaller is the more urgent.
    Thp: u8, "traffic handling priority", 1..=3 ""
}

number! {
    /// The priority level of an [`Arp`]: 1 is the highest, so the smaller is the more important.
    PriorityLevel: u8, "priority level", 1..=15 ""
}

number! {
    /// The transfer delay: 95 of 100 delivered packets take no longer.
    TransferDelay: u16, "transfer delay", 10..=4000 " ms"
}

number! {
    /// The largest packet (service data unit).
    MaxSdu: u16, "maximum SDU size", 10..=1520 " octets"
}

impl Thp {
    /// Goes first.
    pub const FIRST: Self = Self(1);
    /// Goes second.
    pub const SECOND: Self = Self(2);
    /// Goes last.
    pub const THIRD: Self = Self(3);
}

/// What happens to packets that are found broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErroneousSdus {
    /// Nobody looks whether they are broken.
    NoDetect,
    /// They are delivered, marked as broken.
    Yes,
    /// They are thrown away.
    No,
}

impl ErroneousSdus {
    /// The stable name, as in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoDetect => "no-detect",
            Self::Yes => "yes",
            Self::No => "no",
        }
    }
}

/// What is known of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceStatistics {
    /// Speech, whose pauses can be used for others.
    Speech,
    /// Nothing.
    #[default]
    Unknown,
}

impl SourceStatistics {
    /// The stable name, as in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Unknown => "unknown",
        }
    }
}

/// The evolved allocation and retention priority: who gets in, and who goes, when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arp {
    /// 1 (the highest) to 15.
    pub level: PriorityLevel,
    /// Whether it may push out another of strictly lower priority. Left out, it may not.
    #[serde(default)]
    pub pre_emption_capability: bool,
    /// Whether another may push it out. Left out, it may not be.
    #[serde(default)]
    pub pre_emption_vulnerability: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_do_not_exist_and_the_error_says_the_range() {
        assert_eq!((Thp::new(0), Thp::new(4)), (None, None));
        assert_eq!(Thp::new(3), Some(Thp::THIRD));
        assert_eq!(
            TransferDelay::try_from(9).unwrap_err().to_string(),
            "9 is not a transfer delay: write 10 to 4000 ms"
        );
        assert_eq!(
            PriorityLevel::try_from(300).unwrap_err().to_string(),
            "300 is not a priority level: write 1 to 15"
        );
        assert_eq!(MaxSdu::try_from(1520).unwrap(), MaxSdu::MAX);
        assert!(MaxSdu::try_from(1521).is_err());
    }

    #[test]
    fn a_closed_direction_is_no_bit_rate_and_below_every_other() {
        assert_eq!(Rate::bits_per_second(0), Some(Rate::Zero));
        assert_eq!((Rate::Zero.bit_rate(), Rate::Zero.get()), (None, 0));
        let slow = Rate::bits_per_second(1).unwrap();
        assert!(Rate::Zero < slow && slow < Rate::bits_per_second(2).unwrap());
        assert_eq!(Rate::bits_per_second(BitRate::MAX + 1), None);
        assert_eq!(Rate::Zero.to_string(), "0 kbit/s");
    }
}
