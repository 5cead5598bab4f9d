//! What each code of a field means, and which code says a value: the tables of TS 24.008, 10.5.6.5, except the bit rates
//! (see `steps`). A code that is reserved or not defined is read as the standard says where it does, and as *subscribed*
//! where it leaves the choice. A value between two codes goes to the stricter: the shorter delay, the lower error ratio,
//! but the larger packet.

use crate::TrafficClass;
use crate::attributes::{ErroneousSdus, ErrorRatio, MaxSdu, SourceStatistics, Thp, TransferDelay};
use crate::release97::{
    DelayClass, MeanThroughputClass, PeakThroughputClass, PrecedenceClass, ReliabilityClass,
};

/// What a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Code<T> {
    /// Leaves it to the subscription. Only a device says so; from a network it is reserved.
    Subscribed,
    /// Says this.
    Value(T),
    /// The standard reserves it; it is read as this.
    Reserved(Option<T>),
    /// The standard does not define it; it is read as this.
    Undefined(Option<T>),
}

impl<T> Code<T> {
    /// What it is read as; `None` is subscribed.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Subscribed => None,
            Self::Value(value) => Some(value),
            Self::Reserved(value) | Self::Undefined(value) => value,
        }
    }

    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Undefined(None), Self::Value)
    }
}

pub(super) fn delay_class(code: u8) -> Code<DelayClass> {
    match code {
        0 => Code::Subscribed,
        7 => Code::Reserved(Some(DelayClass::MAX)),
        _ => DelayClass::new(code).map_or(Code::Undefined(Some(DelayClass::MAX)), Code::Value),
    }
}

pub(super) fn reliability_class(code: u8) -> Code<ReliabilityClass> {
    match code {
        0 => Code::Subscribed,
        1 => Code::Undefined(ReliabilityClass::new(2)),
        2..=5 => Code::from(ReliabilityClass::new(code)),
        7 => Code::Reserved(ReliabilityClass::new(3)),
        _ => Code::Undefined(ReliabilityClass::new(3)),
    }
}

/// The class 1 is not used any more and said as 2.
pub(super) fn of_reliability_class(class: Option<ReliabilityClass>) -> u8 {
    class.map_or(0, |class| class.get().max(2))
}

pub(super) fn peak_throughput(code: u8) -> Code<PeakThroughputClass> {
    match code {
        0 => Code::Subscribed,
        1..=9 => Code::from(PeakThroughputClass::new(code)),
        15 => Code::Reserved(Some(PeakThroughputClass::MIN)),
        _ => Code::Undefined(Some(PeakThroughputClass::MIN)),
    }
}

pub(super) fn precedence_class(code: u8) -> Code<PrecedenceClass> {
    match code {
        0 => Code::Subscribed,
        1..=3 => Code::from(PrecedenceClass::new(code)),
        7 => Code::Reserved(PrecedenceClass::new(2)),
        _ => Code::Undefined(PrecedenceClass::new(2)),
    }
}

pub(super) fn mean_throughput(code: u8) -> Code<MeanThroughputClass> {
    match code {
        0 => Code::Subscribed,
        30 => Code::Reserved(Some(MeanThroughputClass::BEST_EFFORT)),
        _ => MeanThroughputClass::new(code)
            .map_or(Code::Undefined(Some(MeanThroughputClass::BEST_EFFORT)), Code::Value),
    }
}

pub(super) fn traffic_class(code: u8) -> Code<TrafficClass> {
    match code {
        0 => Code::Subscribed,
        1 => Code::Value(TrafficClass::Conversational),
        2 => Code::Value(TrafficClass::Streaming),
        3 => Code::Value(TrafficClass::Interactive),
        4 => Code::Value(TrafficClass::Background),
        7 => Code::Reserved(None),
        _ => Code::Undefined(None),
    }
}

pub(super) fn of_traffic_class(class: Option<TrafficClass>) -> u8 {
    match class {
        None => 0,
        Some(TrafficClass::Conversational) => 1,
        Some(TrafficClass::Streaming) => 2,
        Some(TrafficClass::Interactive) => 3,
        Some(TrafficClass::Background) => 4,
    }
}

pub(super) fn delivery_order(code: u8) -> Code<bool> {
    match code {
        0 => Code::Subscribed,
        1 => Code::Value(true),
        2 => Code::Value(false),
        _ => Code::Reserved(None),
    }
}

pub(super) fn of_delivery_order(order: Option<bool>) -> u8 {
    match order {
        None => 0,
        Some(true) => 1,
        Some(false) => 2,
    }
}

pub(super) fn erroneous_sdus(code: u8) -> Code<ErroneousSdus> {
    match code {
        0 => Code::Subscribed,
        1 => Code::Value(ErroneousSdus::NoDetect),
        2 => Code::Value(ErroneousSdus::Yes),
        3 => Code::Value(ErroneousSdus::No),
        7 => Code::Reserved(None),
        _ => Code::Undefined(None),
    }
}

pub(super) fn of_erroneous_sdus(what: Option<ErroneousSdus>) -> u8 {
    match what {
        None => 0,
        Some(ErroneousSdus::NoDetect) => 1,
        Some(ErroneousSdus::Yes) => 2,
        Some(ErroneousSdus::No) => 3,
    }
}

pub(super) fn max_sdu(code: u8) -> Code<MaxSdu> {
    match code {
        0 => Code::Subscribed,
        1..=150 => Code::from(MaxSdu::new(u16::from(code) * 10)),
        151 => Code::from(MaxSdu::new(1502)),
        152 => Code::from(MaxSdu::new(1510)),
        153 => Code::from(MaxSdu::new(1520)),
        255 => Code::Reserved(None),
        _ => Code::Undefined(None),
    }
}

/// The smallest code that is not below: a packet that is too large for the code would not pass.
pub(super) fn of_max_sdu(size: Option<MaxSdu>) -> u8 {
    let Some(size) = size else { return 0 };
    (1..=153).find(|code| max_sdu(*code).value().is_some_and(|step| step >= size)).unwrap_or(153)
}

/// By code from 1: nearly, but not wholly, from the laxest to the strictest.
const SDU_ERROR_RATIOS: [ErrorRatio; 7] = [
    ErrorRatio::of(1, 2),
    ErrorRatio::of(7, 3),
    ErrorRatio::of(1, 3),
    ErrorRatio::of(1, 4),
    ErrorRatio::of(1, 5),
    ErrorRatio::of(1, 6),
    ErrorRatio::of(1, 1),
];

/// By code from 1.
const RESIDUAL_BERS: [ErrorRatio; 9] = [
    ErrorRatio::of(5, 2),
    ErrorRatio::of(1, 2),
    ErrorRatio::of(5, 3),
    ErrorRatio::of(4, 3),
    ErrorRatio::of(1, 3),
    ErrorRatio::of(1, 4),
    ErrorRatio::of(1, 5),
    ErrorRatio::of(1, 6),
    ErrorRatio::of(6, 8),
];

pub(super) fn sdu_error_ratio(code: u8) -> Code<ErrorRatio> {
    ratio(&SDU_ERROR_RATIOS, code)
}

pub(super) fn of_sdu_error_ratio(ratio: Option<ErrorRatio>) -> u8 {
    of_ratio(&SDU_ERROR_RATIOS, ratio)
}

pub(super) fn residual_ber(code: u8) -> Code<ErrorRatio> {
    ratio(&RESIDUAL_BERS, code)
}

pub(super) fn of_residual_ber(ratio: Option<ErrorRatio>) -> u8 {
    of_ratio(&RESIDUAL_BERS, ratio)
}

fn ratio(table: &[ErrorRatio], code: u8) -> Code<ErrorRatio> {
    match code {
        0 => Code::Subscribed,
        15 => Code::Reserved(None),
        _ => Code::from(table.get(usize::from(code) - 1).copied()),
    }
}

/// The laxest code that is not above; the strictest when all are.
fn of_ratio(table: &[ErrorRatio], ratio: Option<ErrorRatio>) -> u8 {
    let Some(ratio) = ratio else { return 0 };
    let codes = || (1..).zip(table);
    codes()
        .filter(|(_, step)| **step <= ratio)
        .max_by_key(|(_, step)| **step)
        .or_else(|| codes().min_by_key(|(_, step)| **step))
        .map_or(0, |(code, _)| code)
}

pub(super) fn transfer_delay(code: u8) -> Code<TransferDelay> {
    let n = u16::from(code);
    match code {
        0 => Code::Subscribed,
        1..=15 => Code::from(TransferDelay::new(n * 10)),
        16..=31 => Code::from(TransferDelay::new(200 + (n - 16) * 50)),
        32..=62 => Code::from(TransferDelay::new(1000 + (n - 32) * 100)),
        _ => Code::Reserved(None),
    }
}

/// The largest code that is not above.
pub(super) fn of_transfer_delay(delay: Option<TransferDelay>) -> u8 {
    let Some(delay) = delay else { return 0 };
    (1..=62).rev().find(|code| transfer_delay(*code).value().is_some_and(|step| step <= delay)).unwrap_or(1)
}

pub(super) fn traffic_handling_priority(code: u8) -> Code<Thp> {
    if code == 0 { Code::Subscribed } else { Code::from(Thp::new(code)) }
}

/// A device says 0 or 1 and everything else counts as 0; from a network the bits are spare.
pub(super) fn source_statistics(code: u8) -> Code<SourceStatistics> {
    match code {
        0 => Code::Value(SourceStatistics::Unknown),
        1 => Code::Value(SourceStatistics::Speech),
        _ => Code::Undefined(Some(SourceStatistics::Unknown)),
    }
}

pub(super) fn of_source_statistics(statistics: SourceStatistics) -> u8 {
    u8::from(statistics == SourceStatistics::Speech)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_4_sdu_error_ratio_7_is_the_laxest_and_out_of_order() {
        assert_eq!(sdu_error_ratio(7), Code::Value(ErrorRatio::of(1, 1)));
        assert_eq!(sdu_error_ratio(2), Code::Value(ErrorRatio::of(7, 3)));
        assert_eq!(sdu_error_ratio(8), Code::Undefined(None));
        // Looking for "the last code that is strict enough" would find another.
        assert_eq!(of_sdu_error_ratio(ErrorRatio::new(1, 1)), 7);
        assert_eq!(of_sdu_error_ratio(ErrorRatio::new(5, 2)), 1);
        assert_eq!(of_sdu_error_ratio(ErrorRatio::new(1, 9)), 6);
        assert_eq!(of_residual_ber(ErrorRatio::new(6, 8)), 9);
        assert_eq!(of_residual_ber(ErrorRatio::new(1, 9)), 9);
        assert_eq!(of_residual_ber(ErrorRatio::new(4, 3)), 4);
        assert_eq!(of_residual_ber(ErrorRatio::new(9, 1)), 1);
    }

    #[test]
    fn a_delay_without_a_code_becomes_the_shorter_and_a_packet_the_larger() {
        let delay = |ms| transfer_delay(of_transfer_delay(TransferDelay::new(ms))).value().unwrap().get();
        assert_eq!(
            [130, 170, 199, 200, 999, 4000, 10, 19].map(delay),
            [130, 150, 150, 200, 950, 4000, 10, 10]
        );
        let size = |octets| max_sdu(of_max_sdu(MaxSdu::new(octets))).value().unwrap().get();
        assert_eq!(
            [10, 1400, 1401, 1501, 1503, 1511, 1520].map(size),
            [10, 1400, 1410, 1502, 1510, 1520, 1520]
        );
    }

    #[test]
    fn codes_that_nobody_defined_are_read_as_the_table_says() {
        assert_eq!(delay_class(5), Code::Undefined(Some(DelayClass::MAX)));
        assert_eq!(reliability_class(1).value().map(ReliabilityClass::get), Some(2));
        assert_eq!(reliability_class(6).value().map(ReliabilityClass::get), Some(3));
        assert_eq!(peak_throughput(10).value().map(PeakThroughputClass::get), Some(1));
        assert_eq!(precedence_class(4).value().map(PrecedenceClass::get), Some(2));
        assert_eq!(mean_throughput(19).value(), Some(MeanThroughputClass::BEST_EFFORT));
        assert_eq!(source_statistics(9).value(), Some(SourceStatistics::Unknown));
        for (code, value) in [(5, None), (7, None), (4, Some(TrafficClass::Background))] {
            assert_eq!(traffic_class(code).value(), value);
        }
    }
}
