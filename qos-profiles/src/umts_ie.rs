//! The quality of service information element of TS 24.008, 10.5.6.5, in which a device and a UMTS network tell each other
//! what a bearer is to be: encoder and decoder for its value, without identifier and length. Pure bytes; who sends it is
//! the modem's business. Called by the verb `qos decode` and by tests of whoever speaks to a modem.
//!
//! Rounding: a guaranteed rate goes up to the next step, a maximum down, a delay and an error ratio to the stricter code, a
//! packet size to the larger. What the decoder reads from the result is what was asked for in truth.

mod code;
mod part;
mod shown;
#[cfg(test)]
mod tests;

pub use part::Part;
pub use shown::{Field, fields};

use crate::release97::Release97;
use crate::steps::{RateCodes, Rounding};
use crate::{Attributes, Rate};

/// What an element says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UmtsQos {
    /// The classes of Releases 97 and 98 in front.
    pub release97: Release97,
    /// The attributes of Release 99; `None` in the short form, which has none. Never has an `arp`.
    pub attributes: Option<Attributes>,
}

/// How many octets a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Length {
    /// 3 octets: the classes of Release 97 only.
    Release97,
    /// 11 octets: to the guaranteed rate downlink.
    Release99,
    /// 12 octets: and source statistics and signalling. The least that a device sends.
    WithSignalling,
    /// 14 octets: and extended rates downlink, to 256 Mbit/s.
    ExtendedDown,
    /// 16 octets: and extended rates uplink.
    ExtendedUp,
    /// 18 octets: and twice extended rates downlink, to 10 Gbit/s.
    ExtendedTwiceDown,
    /// 20 octets: and twice extended rates uplink.
    ExtendedTwiceUp,
}

impl Length {
    /// Every length, the shortest first.
    pub const ALL: [Self; 7] = [
        Self::Release97,
        Self::Release99,
        Self::WithSignalling,
        Self::ExtendedDown,
        Self::ExtendedUp,
        Self::ExtendedTwiceDown,
        Self::ExtendedTwiceUp,
    ];

    /// Octets of the value.
    pub const fn octets(self) -> usize {
        match self {
            Self::Release97 => 3,
            Self::Release99 => 11,
            Self::WithSignalling => 12,
            Self::ExtendedDown => 14,
            Self::ExtendedUp => 16,
            Self::ExtendedTwiceDown => 18,
            Self::ExtendedTwiceUp => 20,
        }
    }
}

/// The value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No element has this many octets.
    #[error("{0} octets are no quality of service element: its value has 3, 11, 12, 14, 16, 18 or 20")]
    Length(usize),
}

fn check_length(value: &[u8]) -> Result<(), DecodeError> {
    if Length::ALL.iter().any(|length| length.octets() == value.len()) {
        Ok(())
    } else {
        Err(DecodeError::Length(value.len()))
    }
}

impl UmtsQos {
    /// Reads a value. Codes that are reserved or not defined are read as the standard says, or as subscribed where it does
    /// not say; [`fields`] names them. Spare bits are not looked at.
    ///
    /// # Errors
    /// The value's length is not one that the element has. Nothing else is wrong with any octets.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        check_length(value)?;
        // INVARIANT: a field behind the end of the value reads as 0, which every field takes for nothing said.
        let code = |part: Part| part.code(value).unwrap_or(0);
        let release97 = Release97 {
            delay: code::delay_class(code(Part::DelayClass)).value(),
            reliability: code::reliability_class(code(Part::ReliabilityClass)).value(),
            peak: code::peak_throughput(code(Part::PeakThroughput)).value(),
            precedence: code::precedence_class(code(Part::PrecedenceClass)).value(),
            mean: code::mean_throughput(code(Part::MeanThroughput)).value(),
        };
        if value.len() == Length::Release97.octets() {
            return Ok(Self { release97, attributes: None });
        }
        let rate = |[base, ext, ext2]: [Part; 3]| {
            RateCodes { base: code(base), ext: code(ext), ext2: code(ext2) }.rate()
        };
        let attributes = Attributes {
            class: code::traffic_class(code(Part::TrafficClass)).value(),
            max_bitrate_up: rate(MAX_UP),
            max_bitrate_down: rate(MAX_DOWN),
            guaranteed_bitrate_up: rate(GUARANTEED_UP),
            guaranteed_bitrate_down: rate(GUARANTEED_DOWN),
            delivery_order: code::delivery_order(code(Part::DeliveryOrder)).value(),
            max_sdu: code::max_sdu(code(Part::MaxSdu)).value(),
            sdu_error_ratio: code::sdu_error_ratio(code(Part::SduErrorRatio)).value(),
            residual_ber: code::residual_ber(code(Part::ResidualBer)).value(),
            erroneous_sdus: code::erroneous_sdus(code(Part::ErroneousSdus)).value(),
            transfer_delay: code::transfer_delay(code(Part::TransferDelay)).value(),
            traffic_handling_priority: code::traffic_handling_priority(code(Part::TrafficHandlingPriority))
                .value(),
            arp: None,
            source_statistics: code::source_statistics(code(Part::SourceStatistics))
                .value()
                .unwrap_or_default(),
            signalling: code(Part::Signalling) != 0,
        };
        Ok(Self { release97, attributes: Some(attributes) })
    }

    /// The shortest value that a device may send and that can say the rates: 12 octets or more. Without attributes they
    /// are all subscribed.
    pub fn encode(&self) -> Vec<u8> {
        let attributes = self.attributes.unwrap_or_default();
        let needs = |test: fn(RateCodes) -> bool, max: Option<Rate>, guaranteed: Option<Rate>| {
            test(RateCodes::of(max, Rounding::Down, 3)) || test(RateCodes::of(guaranteed, Rounding::Up, 3))
        };
        let up = |test| needs(test, attributes.max_bitrate_up, attributes.guaranteed_bitrate_up);
        let down = |test| needs(test, attributes.max_bitrate_down, attributes.guaranteed_bitrate_down);
        self.encode_as(if up(RateCodes::is_extended_twice) {
            Length::ExtendedTwiceUp
        } else if down(RateCodes::is_extended_twice) {
            Length::ExtendedTwiceDown
        } else if up(RateCodes::is_extended) {
            Length::ExtendedUp
        } else if down(RateCodes::is_extended) {
            Length::ExtendedDown
        } else {
            Length::WithSignalling
        })
    }

    /// A value of that length. What it has no room for is left out: a rate above what it can say is the most that it
    /// can, and without octet 14 nothing is said of source statistics and signalling.
    pub fn encode_as(&self, length: Length) -> Vec<u8> {
        let mut value = vec![0; length.octets()];
        let mut put = |part: Part, code: u8| part.put(&mut value, code);
        let old = &self.release97;
        put(Part::DelayClass, old.delay.map_or(0, |class| class.get()));
        put(Part::ReliabilityClass, code::of_reliability_class(old.reliability));
        put(Part::PeakThroughput, old.peak.map_or(0, |class| class.get()));
        put(Part::PrecedenceClass, old.precedence.map_or(0, |class| class.get()));
        put(Part::MeanThroughput, old.mean.map_or(0, |class| class.get()));
        let new = self.attributes.unwrap_or_default();
        put(Part::TrafficClass, code::of_traffic_class(new.class));
        put(Part::DeliveryOrder, code::of_delivery_order(new.delivery_order));
        put(Part::ErroneousSdus, code::of_erroneous_sdus(new.erroneous_sdus));
        put(Part::MaxSdu, code::of_max_sdu(new.max_sdu));
        put(Part::ResidualBer, code::of_residual_ber(new.residual_ber));
        put(Part::SduErrorRatio, code::of_sdu_error_ratio(new.sdu_error_ratio));
        put(Part::TransferDelay, code::of_transfer_delay(new.transfer_delay));
        put(Part::TrafficHandlingPriority, new.traffic_handling_priority.map_or(0, |thp| thp.get()));
        put(Part::Signalling, u8::from(new.signalling));
        put(Part::SourceStatistics, code::of_source_statistics(new.source_statistics));
        let octets = |once: Length, twice: Length| match length {
            length if length >= twice => 3,
            length if length >= once => 2,
            _ => 1,
        };
        let up = octets(Length::ExtendedUp, Length::ExtendedTwiceUp);
        let down = octets(Length::ExtendedDown, Length::ExtendedTwiceDown);
        for (parts, rate, rounding, octets) in [
            (MAX_UP, new.max_bitrate_up, Rounding::Down, up),
            (MAX_DOWN, new.max_bitrate_down, Rounding::Down, down),
            (GUARANTEED_UP, new.guaranteed_bitrate_up, Rounding::Up, up),
            (GUARANTEED_DOWN, new.guaranteed_bitrate_down, Rounding::Up, down),
        ] {
            let codes = RateCodes::of(rate, rounding, octets);
            let [base, ext, ext2] = parts;
            put(base, codes.base);
            put(ext, codes.ext);
            put(ext2, codes.ext2);
        }
        value
    }
}

const MAX_UP: [Part; 3] = [Part::MaxUp, Part::MaxUpExt, Part::MaxUpExt2];
const MAX_DOWN: [Part; 3] = [Part::MaxDown, Part::MaxDownExt, Part::MaxDownExt2];
const GUARANTEED_UP: [Part; 3] = [Part::GuaranteedUp, Part::GuaranteedUpExt, Part::GuaranteedUpExt2];
const GUARANTEED_DOWN: [Part; 3] = [Part::GuaranteedDown, Part::GuaranteedDownExt, Part::GuaranteedDownExt2];
