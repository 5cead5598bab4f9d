//! Attributes as a modem's profiles and back. The AT values are those of TS 27.007, which are not those of the information
//! element: there, "as subscribed" is always 0, here it is the last value of a class or a flag, and 0 of a number.

use mexe_model::BitRate;
use mexe_qos::attributes::{ErroneousSdus, MaxSdu, Rate, SourceStatistics, Thp, TransferDelay};
use mexe_qos::{Attributes, ErrorRatio, TrafficClass};
use mexe_wire::pdp::{self, EpsQuality, Rates, UmtsQuality};

use crate::bearer::Capacity;

/// The UMTS profile that asks for these attributes.
pub(super) fn umts(wished: &Attributes) -> UmtsQuality {
    let wished = wished.effective();
    let class = match wished.class {
        Some(TrafficClass::Conversational) => 0,
        Some(TrafficClass::Streaming) => 1,
        Some(TrafficClass::Interactive) => 2,
        Some(TrafficClass::Background) => 3,
        None => UmtsQuality::SUBSCRIBED,
    };
    let ratio = |ratio: Option<ErrorRatio>| {
        Some(ratio.map_or(pdp::ErrorRatio::SUBSCRIBED, |ratio| pdp::ErrorRatio {
            mantissa: ratio.mantissa(),
            exponent: ratio.exponent(),
        }))
    };
    UmtsQuality {
        class,
        maximum: maxima(&wished),
        guaranteed: guarantees(&wished),
        delivery_order: Some(match wished.delivery_order {
            Some(false) => 0,
            Some(true) => 1,
            None => 2,
        }),
        sdu_size: Some(wished.max_sdu.map_or(0, |size| size.get().into())),
        sdu_error: ratio(wished.sdu_error_ratio),
        residual_error: ratio(wished.residual_ber),
        erroneous: Some(match wished.erroneous_sdus {
            Some(ErroneousSdus::No) => 0,
            Some(ErroneousSdus::Yes) => 1,
            Some(ErroneousSdus::NoDetect) => 2,
            None => 3,
        }),
        delay: Some(wished.transfer_delay.map_or(0, |delay| delay.get().into())),
        priority: Some(wished.traffic_handling_priority.map_or(0, Thp::get)),
        source: Some(u8::from(wished.source_statistics == SourceStatistics::Speech)),
        signalling: Some(u8::from(wished.signalling)),
    }
}

/// The least that is taken, as +CGEQMIN wants it: the class as it is asked for, and the rates.
pub(super) fn umts_least(wished: &Attributes, least: Capacity) -> UmtsQuality {
    let rates = Rates { up: kbits_up(least.up), down: kbits_up(least.down) };
    let real_time = umts(wished).is_real_time();
    UmtsQuality {
        class: umts(wished).class,
        maximum: rates,
        guaranteed: if real_time { rates } else { Rates::default() },
        ..UmtsQuality::default()
    }
}

/// What a UMTS profile gives. It says nothing of source and signalling, which are the device's own words: as they were
/// asked for.
pub(super) fn of_umts(given: &UmtsQuality, wished: &Attributes) -> Attributes {
    let class = match given.class {
        0 => Some(TrafficClass::Conversational),
        1 => Some(TrafficClass::Streaming),
        2 => Some(TrafficClass::Interactive),
        3 => Some(TrafficClass::Background),
        _ => None,
    };
    let ratio = |ratio: Option<pdp::ErrorRatio>| {
        ratio
            .filter(|ratio| *ratio != pdp::ErrorRatio::SUBSCRIBED)
            .and_then(|ratio| ErrorRatio::new(ratio.mantissa, ratio.exponent))
    };
    let small = |number: Option<u32>| number.and_then(|number| u16::try_from(number).ok());
    Attributes {
        class,
        max_bitrate_up: rate(given.maximum.up),
        max_bitrate_down: rate(given.maximum.down),
        guaranteed_bitrate_up: rate(given.guaranteed.up),
        guaranteed_bitrate_down: rate(given.guaranteed.down),
        delivery_order: given.delivery_order.and_then(|order| match order {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }),
        max_sdu: small(given.sdu_size).and_then(MaxSdu::new),
        sdu_error_ratio: ratio(given.sdu_error),
        residual_ber: ratio(given.residual_error),
        erroneous_sdus: given.erroneous.and_then(|erroneous| match erroneous {
            0 => Some(ErroneousSdus::No),
            1 => Some(ErroneousSdus::Yes),
            2 => Some(ErroneousSdus::NoDetect),
            _ => None,
        }),
        transfer_delay: small(given.delay).and_then(TransferDelay::new),
        traffic_handling_priority: given.priority.and_then(Thp::new),
        arp: wished.arp,
        source_statistics: wished.source_statistics,
        signalling: wished.signalling,
    }
    .effective()
}

/// The EPS profile that asks for these attributes (TS 23.401, annex E, as it maps the classes).
pub(super) fn eps(wished: &Attributes) -> EpsQuality {
    let wished = wished.effective();
    let delay = wished.transfer_delay.map(TransferDelay::get);
    let qci = match (wished.class, wished.traffic_handling_priority.map(Thp::get)) {
        (Some(TrafficClass::Conversational), _) if wished.source_statistics == SourceStatistics::Speech => 1,
        (Some(TrafficClass::Conversational), _) if delay.is_none_or(|delay| delay >= 150) => 2,
        (Some(TrafficClass::Conversational), _) => 3,
        (Some(TrafficClass::Streaming), _) => 4,
        (Some(TrafficClass::Interactive), Some(1)) if wished.signalling => 5,
        (Some(TrafficClass::Interactive), Some(1)) => 6,
        (Some(TrafficClass::Interactive), Some(2)) => 7,
        (Some(TrafficClass::Interactive), _) => 8,
        (Some(TrafficClass::Background), _) => 9,
        (None, _) => 0,
    };
    EpsQuality { qci, guaranteed: guarantees(&wished), maximum: maxima(&wished), aggregate: None }
}

/// What an EPS profile gives: what the class identifier stands for, and its rates.
pub(super) fn of_eps(given: &EpsQuality, wished: &Attributes) -> Attributes {
    use TrafficClass::{Background, Conversational, Interactive, Streaming};
    let (class, priority, delay) = match given.qci {
        1 => (Some(Conversational), None, None),
        2 => (Some(Conversational), None, Some(150)),
        3 => (Some(Conversational), None, Some(80)),
        4 => (Some(Streaming), None, Some(300)),
        5 | 6 => (Some(Interactive), Some(1), None),
        7 => (Some(Interactive), Some(2), None),
        8 => (Some(Interactive), Some(3), None),
        9 => (Some(Background), None, None),
        _ => (None, None, None),
    };
    // What a bearer that guarantees nothing may use is told for all of the access point together.
    let maximum = if given.is_guaranteed() { given.maximum } else { given.aggregate.unwrap_or_default() };
    Attributes {
        class,
        max_bitrate_up: rate(maximum.up),
        max_bitrate_down: rate(maximum.down),
        guaranteed_bitrate_up: rate(given.guaranteed.up),
        guaranteed_bitrate_down: rate(given.guaranteed.down),
        transfer_delay: delay.and_then(TransferDelay::new),
        traffic_handling_priority: priority.and_then(Thp::new),
        arp: wished.arp,
        source_statistics: if given.qci == 1 { SourceStatistics::Speech } else { SourceStatistics::Unknown },
        signalling: given.qci == 5,
        ..Attributes::default()
    }
    .effective()
}

/// A direction that is closed cannot be asked for by AT commands, where 0 is as subscribed: it is left to the subscription.
fn maxima(wished: &Attributes) -> Rates {
    let kbits = |rate: Option<Rate>| {
        let kbits = rate.map_or(0, Rate::get) / 1000;
        u32::try_from(kbits).unwrap_or(u32::MAX).max(u32::from(rate.is_some_and(|rate| rate.get() > 0)))
    };
    Rates { up: kbits(wished.max_bitrate_up), down: kbits(wished.max_bitrate_down) }
}

fn guarantees(wished: &Attributes) -> Rates {
    Rates { up: kbits_up(wished.guaranteed_up()), down: kbits_up(wished.guaranteed_down()) }
}

/// A guarantee is not rounded down.
fn kbits_up(rate: Option<BitRate>) -> u32 {
    rate.map_or(0, |rate| u32::try_from(rate.get().div_ceil(1000)).unwrap_or(u32::MAX))
}

fn rate(kbits: u32) -> Option<Rate> {
    bit_rate(kbits).map(Rate::from)
}

/// kbit/s are 1 000 bit/s; 0 says nothing.
pub(super) fn bit_rate(kbits: u32) -> Option<BitRate> {
    BitRate::bits_per_second(u64::from(kbits).saturating_mul(1000))
}
