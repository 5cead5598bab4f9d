//! The forms that values have in the file: durations, sizes, numbers, listeners. Each is read exactly or refused with a
//! line that says what to write. No defaults here; those are in `raw`.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {help}")]
pub struct ValueError {
    text: String,
    what: &'static str,
    help: &'static str,
}

impl ValueError {
    fn new(text: &str, what: &'static str, help: &'static str) -> Self {
        Self {
            text: text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect(),
            what,
            help,
        }
    }
}

/// Reads `500ms`, `30s`, `10m`, `1h`, `90d`: a whole number above 0 and a unit, ten years at most.
///
/// # Errors
/// [`ValueError`] for everything else.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    text.parse::<Period>().map(|period| period.0)
}

/// Reads `512 B`, `64 KiB`, `256 MiB`, `1 GiB`: a whole number above 0 and a unit, 1 TiB at most. The result is bytes.
///
/// # Errors
/// [`ValueError`] for everything else.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    text.parse::<Size>().map(|size| size.0)
}

/// A duration above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period(pub(super) Duration);

const PERIODS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const LONGEST_MILLIS: u64 = 3_650 * 86_400_000;

impl FromStr for Period {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let help = "write a whole number and ms, s, m, h or d, as in `30s`, ten years at most";
        let millis = number_and_unit(text, &PERIODS).filter(|millis| *millis <= LONGEST_MILLIS);
        millis
            .map(|m| Self(Duration::from_millis(m)))
            .ok_or_else(|| ValueError::new(text, "a duration", help))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, scale) = PERIODS.into_iter().find(|(_, s)| millis.is_multiple_of(*s)).unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / scale)
    }
}

/// How long to wait, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience(pub(super) Duration);

impl FromStr for Patience {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "off" => Ok(Self(Duration::ZERO)),
            text => text.parse().map(|Period(period)| Self(period)),
        }
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { f.write_str("off") } else { Period(self.0).fmt(f) }
    }
}

/// A number of bytes above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let help = "write a whole number and B, KiB, MiB or GiB, as in `64 KiB`, 1 TiB at most";
        let bytes = number_and_unit(text, &SIZES).filter(|bytes| *bytes <= 1 << 40);
        bytes.map(Self).ok_or_else(|| ValueError::new(text, "a size", help))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZES.into_iter().find(|(_, s)| self.0.is_multiple_of(*s)).unwrap_or(("B", 1));
        write!(f, "{} {unit}", self.0 / scale)
    }
}

/// Where to listen, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener(pub(super) Option<SocketAddr>);

impl FromStr for Listener {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let help = "write ADDRESS:PORT, as in `127.0.0.1:1080` or `[::1]:1080`, or `off`";
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| ValueError::new(text, "a listener", help))
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// The bare number of an amount such as `30s`, multiplied by its unit; `None` for 0 and whatever does not fit.
fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale).filter(|amount| *amount > 0)
}

macro_rules! written_as_text {
    ($($name:ident, $expecting:literal;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text::<Self>::new($expecting))
            }
        }
    )*};
}

written_as_text! {
    Patience, "a duration in quotes, as in \"30s\", or \"off\"";
    Period, "a duration in quotes, as in \"30s\"";
    Size, "a size in quotes, as in \"64 KiB\"";
    Listener, "an address and port in quotes, or \"off\"";
}

struct Text<T> {
    expecting: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<T> Text<T> {
    fn new(expecting: &'static str) -> Self {
        Self { expecting, value: std::marker::PhantomData }
    }
}

impl<T: FromStr<Err = ValueError>> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// How many of something, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) NonZeroU32);

impl Count {
    pub(super) const fn of(number: u32) -> Self {
        match NonZeroU32::new(number) {
            Some(number) => Self(number),
            None => Self(NonZeroU32::MIN),
        }
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0.get())
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl de::Visitor<'_> for Number {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 1 to 4294967295, without quotes")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
        let fits = u32::try_from(number).ok().and_then(NonZeroU32::new);
        fits.map(Count).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
        let fits = u32::try_from(number).ok().and_then(NonZeroU32::new);
        fits.map(Count).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_exactly_or_not_at_all() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("90d", 7_776_000_000),
            ("3650d", LONGEST_MILLIS),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "30",
            "s",
            "0s",
            "-1s",
            "1.5h",
            "30 S",
            "1h30m",
            "30sec",
            "3651d",
            "99999999999999999999s",
            " 1s",
        ] {
            let error = parse_duration(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{bad}` is not a duration: write")), "{error}");
        }
    }

    #[test]
    fn sizes_are_read_exactly_or_not_at_all() {
        for (text, bytes) in [("1 B", 1), ("64 KiB", 65_536), ("256 MiB", 268_435_456), ("1 GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        for bad in
            ["", "64", "64 kB", "64 MB", "0 B", "-1 B", "1.5 GiB", "1  B", "2 TiB", "99999999999999999999 B"]
        {
            assert!(parse_size(bad).unwrap_err().to_string().contains("is not a size"), "{bad}");
        }
    }

    #[test]
    fn a_listener_is_an_address_and_port_or_off() {
        for good in ["off", "127.0.0.1:1080", "[::1]:0", "0.0.0.0:80"] {
            assert_eq!(good.parse::<Listener>().unwrap().to_string(), good);
        }
        for bad in ["", "Off", "1080", ":1080", "localhost:1080", "127.0.0.1", "::1:1080", "127.0.0.1:65536"]
        {
            assert!(bad.parse::<Listener>().unwrap_err().to_string().contains("is not a listener"), "{bad}");
        }
    }
}
