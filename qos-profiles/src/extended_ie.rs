//! The two elements in which LTE says rates that the elements in [`crate::eps_ie`] cannot say: extended quality of service
//! (TS 24.301, 9.9.4.30) for a bearer of more than 10 Gbit/s, and extended APN-AMBR (9.9.4.29) for more than 65 280 Mbit/s.
//! Values only, without identifier and length. Both count a unit, which is one octet, in sixteen bits.
//!
//! They stand beside the shorter elements, which then say their own most. A direction that the shorter one can say is the
//! shorter one's: [`EpsQos::extended`] and [`ApnAmbr::extended`] read both together. Called by whoever speaks to a modem, and
//! by `qos decode`.

mod shown;
#[cfg(test)]
mod tests;

use mexe_model::BitRate;

pub use self::shown::{Field, fields};
use crate::Rate;
use crate::eps_ie::{ApnAmbr, EpsQos};
use crate::steps::Rounding;

/// What is counted, by its code. The steps are four times the one before, and begin anew at each power of a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit(u8);

impl Unit {
    /// 200 kbit/s.
    pub const LEAST: Self = Self(1);
    /// 256 Pbit/s.
    pub const MOST: Self = Self(21);

    /// The unit of a code; `None` for 0, not used. Codes that are not defined are read as the highest.
    pub const fn of(code: u8) -> Option<Self> {
        match code {
            0 => None,
            code if code > Self::MOST.0 => Some(Self::MOST),
            code => Some(Self(code)),
        }
    }

    /// The code.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Bits per second.
    pub const fn bits(self) -> u64 {
        let Some(steps) = self.0.checked_sub(2) else { return 200_000 };
        1_000_000 * 1_000_u64.pow(steps as u32 / 5) * 4_u64.pow(steps as u32 % 5)
    }
}

/// Rates of both directions in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What is counted.
    pub unit: Unit,
    /// So many towards the network.
    pub up: u16,
    /// So many from the network.
    pub down: u16,
}

/// Extended quality of service. A pair that is `None` is not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedQos {
    /// The maxima.
    pub max: Option<Pair>,
    /// The guaranteed rates.
    pub guaranteed: Option<Pair>,
}

/// Extended APN-AMBR. A direction that is `None` is not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedAmbr {
    /// From the network.
    pub down: Option<Count>,
    /// Towards the network.
    pub up: Option<Count>,
}

/// The rate of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// What is counted.
    pub unit: Unit,
    /// So many of it.
    pub number: u16,
}

/// The value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No extended APN-AMBR has this many octets.
    #[error("{0} octets are no extended APN-AMBR: its value has 6")]
    AmbrLength(usize),
    /// No extended quality of service has this many octets.
    #[error("{0} octets are no extended quality of service: its value has 10")]
    QosLength(usize),
}

impl Count {
    /// Bits per second: far more than a [`Rate`] can be.
    pub const fn bits(self) -> u128 {
        self.unit.bits() as u128 * self.number as u128
    }

    /// The rate; above [`BitRate::MAX`] it is that.
    pub fn rate(self) -> Rate {
        let bits = u64::try_from(self.bits()).unwrap_or(u64::MAX).min(BitRate::MAX);
        Rate::bits_per_second(bits).unwrap_or(Rate::Zero)
    }
}

impl Pair {
    /// Up and down.
    pub const fn counts(self) -> [Count; 2] {
        [Count { unit: self.unit, number: self.up }, Count { unit: self.unit, number: self.down }]
    }

    /// In the least unit that holds the faster one. A rate above 0 never becomes 0.
    fn of(up: Option<Rate>, down: Option<Rate>, rounding: Rounding) -> Option<Self> {
        let rates = [up, down].map(|rate| rate.map_or(0, Rate::get));
        let unit = unit_for(rates.into_iter().max().unwrap_or(0), rounding)?;
        let [up, down] = rates.map(|bits| number_of(bits, unit, rounding));
        Some(Self { unit, up, down })
    }

    fn read(code: u8, up: [u8; 2], down: [u8; 2]) -> Option<Self> {
        Some(Self { unit: Unit::of(code)?, up: u16::from_be_bytes(up), down: u16::from_be_bytes(down) })
    }

    fn octets(pair: Option<Self>) -> [u8; 5] {
        let Some(Self { unit, up, down }) = pair else { return [0; 5] };
        let ([a, b], [c, d]) = (up.to_be_bytes(), down.to_be_bytes());
        [unit.code(), a, b, c, d]
    }
}

impl ExtendedQos {
    /// Reads a value.
    ///
    /// # Errors
    /// The value's length is not the element's.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let Ok([max, a, b, c, d, guaranteed, e, f, g, h]) = <[u8; 10]>::try_from(value) else {
            return Err(DecodeError::QosLength(value.len()));
        };
        Ok(Self { max: Pair::read(max, [a, b], [c, d]), guaranteed: Pair::read(guaranteed, [e, f], [g, h]) })
    }

    /// The value.
    pub fn encode(&self) -> Vec<u8> {
        [Pair::octets(self.max), Pair::octets(self.guaranteed)].concat()
    }

    /// What has to be said besides the shorter element; `None` when that can say all of it. A pair is used when one of its
    /// directions needs it. Guaranteed rates are rounded up, maxima down.
    pub fn beside(qos: &EpsQos) -> Option<Self> {
        let pair = |up: Option<Rate>, down: Option<Rate>, rounding| {
            let is_needed = [up, down].into_iter().flatten().any(|rate| rate.get() > QOS_MOST);
            Pair::of(up, down, rounding).filter(|_| is_needed)
        };
        let said = Self {
            max: pair(qos.max_bitrate_up, qos.max_bitrate_down, Rounding::Down),
            guaranteed: pair(qos.guaranteed_bitrate_up, qos.guaranteed_bitrate_down, Rounding::Up),
        };
        Some(said).filter(|said| *said != Self::default())
    }
}

impl ExtendedAmbr {
    /// Reads a value. The two least units are not used here.
    ///
    /// # Errors
    /// The value's length is not the element's.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let Ok([down, a, b, up, c, d]) = <[u8; 6]>::try_from(value) else {
            return Err(DecodeError::AmbrLength(value.len()));
        };
        let count = |code, number| {
            let unit = Unit::of(code).filter(|unit| *unit >= AMBR_LEAST)?;
            Some(Count { unit, number: u16::from_be_bytes(number) })
        };
        Ok(Self { down: count(down, [a, b]), up: count(up, [c, d]) })
    }

    /// The value.
    pub fn encode(&self) -> Vec<u8> {
        let octets = |count: Option<Count>| {
            let Some(Count { unit, number }) = count else { return [0; 3] };
            let [high, low] = number.to_be_bytes();
            [unit.code(), high, low]
        };
        [octets(self.down), octets(self.up)].concat()
    }

    /// What has to be said besides the shorter element, rounded down; `None` when that can say all of it.
    pub fn beside(ambr: &ApnAmbr) -> Option<Self> {
        let count = |rate: Option<Rate>| {
            let bits = rate.map(Rate::get).filter(|bits| *bits > AMBR_MOST)?;
            let unit = unit_for(bits, Rounding::Down)?.max(AMBR_LEAST);
            Some(Count { unit, number: number_of(bits, unit, Rounding::Down) })
        };
        let said = Self { down: count(ambr.down), up: count(ambr.up) };
        Some(said).filter(|said| *said != Self::default())
    }
}

impl EpsQos {
    /// Both elements read together: a rate that this one says as its most is the other one's, if that says more.
    #[must_use]
    pub fn extended(self, by: &ExtendedQos) -> Self {
        let [max_up, max_down] = by.max.map_or([None; 2], |pair| pair.counts().map(Some));
        let [up, down] = by.guaranteed.map_or([None; 2], |pair| pair.counts().map(Some));
        Self {
            qci: self.qci,
            max_bitrate_up: longer(self.max_bitrate_up, max_up, QOS_MOST),
            max_bitrate_down: longer(self.max_bitrate_down, max_down, QOS_MOST),
            guaranteed_bitrate_up: longer(self.guaranteed_bitrate_up, up, QOS_MOST),
            guaranteed_bitrate_down: longer(self.guaranteed_bitrate_down, down, QOS_MOST),
        }
    }
}

impl ApnAmbr {
    /// Both elements read together: a rate that this one says as its most is the other one's, if that says more.
    #[must_use]
    pub fn extended(self, by: &ExtendedAmbr) -> Self {
        Self { up: longer(self.up, by.up, AMBR_MOST), down: longer(self.down, by.down, AMBR_MOST) }
    }
}

/// The most that EPS quality of service says: 10 Gbit/s.
const QOS_MOST: u64 = 10_000_000_000;
/// The most that an APN-AMBR says: 65 280 Mbit/s.
const AMBR_MOST: u64 = 65_280_000_000;
/// 4 Mbit/s: the least unit of an extended APN-AMBR (as Wireshark has it).
const AMBR_LEAST: Unit = Unit(3);

fn longer(short: Option<Rate>, count: Option<Count>, most: u64) -> Option<Rate> {
    let is_full = short.is_some_and(|rate| rate.get() >= most);
    count.map(Count::rate).filter(|rate| is_full && rate.get() > most).or(short)
}

/// The least unit in which sixteen bits hold that rate.
fn unit_for(bits: u64, rounding: Rounding) -> Option<Unit> {
    let whole = |unit: Unit| match rounding {
        Rounding::Down => bits / unit.bits(),
        Rounding::Up => bits.div_ceil(unit.bits()),
    };
    (Unit::LEAST.0..=Unit::MOST.0).map(Unit).find(|unit| whole(*unit) <= u64::from(u16::MAX))
}

fn number_of(bits: u64, unit: Unit, rounding: Rounding) -> u16 {
    let number = match rounding {
        Rounding::Down => bits / unit.bits(),
        Rounding::Up => bits.div_ceil(unit.bits()),
    };
    u16::try_from(number.max(u64::from(bits > 0))).unwrap_or(u16::MAX)
}
