//! The quality classes of Releases 97 and 98, which stand in front of every quality of service information element and
//! in the commands `+CGQREQ` and `+CGQMIN`, and how they and the attributes of Release 99 become each other. Called by
//! `umts_ie` and by whoever asks a modem.
//!
//! Of the mapping, only the row of the delay class is confirmed by a second source; the others are from memory of
//! TS 23.107, 9.1.2 (docs/qos-coding.md marks each). They decide nothing here: a network uses Release 99 where it is sent.

use mexe_model::BitRate;

use crate::TrafficClass;
use crate::attributes::{
    Arp, Attributes, ErroneousSdus, ErrorRatio, MaxSdu, PriorityLevel, Rate, Thp, number,
};
use crate::qci::ArpBorders;

number! {
    /// The delay class: 1 is the quickest, 4 is best effort.
    DelayClass: u8, "delay class", 1..=4 ""
}

number! {
    /// The reliability class: 1 (no longer used, read as 2) is the most reliable, 5 is unprotected data.
    ReliabilityClass: u8, "reliability class", 1..=5 ""
}

number! {
    /// The precedence class: 1 is high, 2 normal, 3 low.
    PrecedenceClass: u8, "precedence class", 1..=3 ""
}

number! {
    /// The peak throughput class: 1 is 1000 octets a second, and each doubles the one before.
    PeakThroughputClass: u8, "peak throughput class", 1..=9 ""
}

impl PeakThroughputClass {
    /// Octets per second.
    pub const fn octets_per_second(self) -> u32 {
        500 << self.get()
    }
}

/// The mean throughput class: 1 to 18, or 31 for best effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct MeanThroughputClass(u8);

impl MeanThroughputClass {
    /// As much as there is.
    pub const BEST_EFFORT: Self = Self(31);

    /// That class; `None` unless 1 to 18 or 31.
    pub const fn new(number: u8) -> Option<Self> {
        if matches!(number, 1..=18 | 31) { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Octets per hour; `None` for best effort.
    pub fn octets_per_hour(self) -> Option<u32> {
        if self.0 > 18 {
            return None;
        }
        let step = self.0 - 1;
        let digit = match step % 3 {
            0 => 1,
            1 => 2,
            _ => 5,
        };
        Some(100 * digit * 10_u32.pow(u32::from(step / 3)))
    }
}

/// The five classes. One that is `None` is subscribed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Release97 {
    /// The delay class.
    pub delay: Option<DelayClass>,
    /// The reliability class.
    pub reliability: Option<ReliabilityClass>,
    /// The peak throughput class.
    pub peak: Option<PeakThroughputClass>,
    /// The precedence class.
    pub precedence: Option<PrecedenceClass>,
    /// The mean throughput class.
    pub mean: Option<MeanThroughputClass>,
}

impl Release97 {
    /// What stands for these attributes in front of them. What they do not say stays subscribed; the mean throughput is
    /// always best effort. `borders` tell which levels of an evolved priority are high and normal.
    pub fn of(attributes: &Attributes, borders: ArpBorders) -> Self {
        let delay = attributes.class.and_then(|class| match (class, attributes.traffic_handling_priority) {
            (TrafficClass::Conversational | TrafficClass::Streaming, _) => Some(1),
            (TrafficClass::Interactive, thp) => thp.map(Thp::get),
            (TrafficClass::Background, _) => Some(4),
        });
        let lossy = |ratio| attributes.residual_ber.is_some_and(|ber| ber > ratio);
        let reliability = attributes.sdu_error_ratio.map(|ratio| {
            if ratio <= ErrorRatio::of(1, 5) {
                2
            } else if ratio <= ErrorRatio::of(5, 4) {
                3
            } else if lossy(ErrorRatio::of(2, 4)) {
                5
            } else {
                4
            }
        });
        let max = attributes.max_bitrate_up.max(attributes.max_bitrate_down);
        Self {
            delay: delay.and_then(DelayClass::new),
            reliability: reliability.and_then(ReliabilityClass::new),
            peak: max.map(peak_of),
            precedence: attributes.arp.and_then(|arp| PrecedenceClass::new(borders.r99(arp.level))),
            mean: Some(MeanThroughputClass::BEST_EFFORT),
        }
    }

    /// The attributes that these classes stand for, where the others are not there: never a real-time class, and both
    /// directions alike. `order` is whether packets are to be reordered.
    pub fn attributes(&self, order: bool, borders: ArpBorders) -> Attributes {
        let class = self.delay.map(|delay| {
            if delay == DelayClass::MAX { TrafficClass::Background } else { TrafficClass::Interactive }
        });
        let ratio = self.reliability.map(|class| match class.get() {
            1 | 2 => ErrorRatio::of(1, 6),
            3 => ErrorRatio::of(1, 4),
            _ => ErrorRatio::of(1, 3),
        });
        let unprotected = |class| class == ReliabilityClass::MAX;
        let max = self
            .peak
            .and_then(|peak| BitRate::bits_per_second(u64::from(peak.octets_per_second()) * 8))
            .map(Rate::At);
        Attributes {
            class,
            max_bitrate_up: max,
            max_bitrate_down: max,
            delivery_order: Some(order),
            max_sdu: MaxSdu::new(1500),
            sdu_error_ratio: ratio,
            residual_ber: self
                .reliability
                .map(|class| if unprotected(class) { ErrorRatio::of(4, 3) } else { ErrorRatio::of(1, 5) }),
            erroneous_sdus: self
                .reliability
                .map(|class| if unprotected(class) { ErroneousSdus::Yes } else { ErroneousSdus::No }),
            traffic_handling_priority: self.delay.and_then(|delay| Thp::new(delay.get())),
            arp: self.precedence.map(|class| Arp {
                level: borders.evolved(class.get()).unwrap_or(PriorityLevel::MAX),
                pre_emption_capability: false,
                pre_emption_vulnerability: false,
            }),
            ..Attributes::default()
        }
    }
}

/// The class whose rate is the largest that is not above the maximum: 16 kbit/s begin class 2. Below class 1 it is 1.
fn peak_of(max: Rate) -> PeakThroughputClass {
    let mut fits = PeakThroughputClass::MIN;
    for number in 1..=PeakThroughputClass::MAX.get() {
        if let Some(class) = PeakThroughputClass::new(number)
            && u64::from(class.octets_per_second()) * 8 <= max.get()
        {
            fits = class;
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughputs_are_those_of_the_table() {
        let peaks: Vec<_> =
            (1..=9).map(|n| PeakThroughputClass::new(n).unwrap().octets_per_second()).collect();
        assert_eq!(peaks, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000]);
        let mean = |n| MeanThroughputClass::new(n).and_then(MeanThroughputClass::octets_per_hour);
        let first: Vec<_> = (1..=6).filter_map(mean).collect();
        assert_eq!(first, [100, 200, 500, 1_000, 2_000, 5_000]);
        assert_eq!((mean(17), mean(18), mean(31)), (Some(20_000_000), Some(50_000_000), None));
        assert_eq!(MeanThroughputClass::new(19), None);
    }

    fn class(class: TrafficClass, thp: u8) -> Attributes {
        Attributes { class: Some(class), traffic_handling_priority: Thp::new(thp), ..Attributes::default() }
    }

    #[test]
    fn the_delay_class_follows_class_and_priority() {
        let delay = |a| Release97::of(&a, ArpBorders::default()).delay.map(DelayClass::get);
        assert_eq!(delay(class(TrafficClass::Conversational, 0)), Some(1));
        assert_eq!(delay(class(TrafficClass::Streaming, 0)), Some(1));
        for thp in 1..=3 {
            assert_eq!(delay(class(TrafficClass::Interactive, thp)), Some(thp));
        }
        assert_eq!(delay(class(TrafficClass::Interactive, 0)), None);
        assert_eq!(delay(class(TrafficClass::Background, 1)), Some(4));
        assert_eq!(delay(Attributes::default()), None);
    }

    #[test]
    fn reliability_follows_both_error_ratios() {
        let of = |ser, ber| {
            let a = Attributes { sdu_error_ratio: ser, residual_ber: ber, ..Attributes::default() };
            Release97::of(&a, ArpBorders::default()).reliability.map(ReliabilityClass::get)
        };
        let ratio = ErrorRatio::new;
        assert_eq!(of(ratio(1, 6), ratio(5, 2)), Some(2));
        assert_eq!(of(ratio(1, 5), None), Some(2));
        assert_eq!(of(ratio(1, 4), None), Some(3));
        assert_eq!(of(ratio(1, 3), ratio(1, 4)), Some(4));
        assert_eq!(of(ratio(7, 3), ratio(1, 3)), Some(5));
        assert_eq!(of(None, ratio(1, 3)), None);
    }

    #[test]
    fn the_peak_is_that_of_the_faster_direction() {
        let of = |up: u64, down: u64| {
            let a = Attributes {
                max_bitrate_up: Rate::bits_per_second(up),
                max_bitrate_down: Rate::bits_per_second(down),
                ..Attributes::default()
            };
            Release97::of(&a, ArpBorders::default()).peak.map(PeakThroughputClass::get)
        };
        assert_eq!(of(0, 0), Some(1));
        assert_eq!(of(15_999, 0), Some(1));
        assert_eq!(of(0, 16_000), Some(2));
        assert_eq!(of(31_000, 384_000), Some(6));
        assert_eq!(of(2_047_999, 1), Some(8));
        assert_eq!(of(10_000_000_000, 1), Some(9));
    }

    #[test]
    fn every_class_survives_the_way_there_and_back() {
        let borders = ArpBorders::default();
        for delay in 1..=4 {
            for reliability in 2..=5 {
                for peak in 1..=9 {
                    for precedence in 1..=3 {
                        let classes = Release97 {
                            delay: DelayClass::new(delay),
                            reliability: ReliabilityClass::new(reliability),
                            peak: PeakThroughputClass::new(peak),
                            precedence: PrecedenceClass::new(precedence),
                            mean: Some(MeanThroughputClass::BEST_EFFORT),
                        };
                        let back = Release97::of(&classes.attributes(false, borders), borders);
                        // 1e-3 with a low bit error ratio is class 4, with a high one 5: nothing is lost.
                        assert_eq!(back, classes);
                        assert!(classes.attributes(true, borders).can_be_asked());
                    }
                }
            }
        }
        let none = Release97::default().attributes(false, borders);
        assert_eq!((none.class, none.max_bitrate_up, none.arp), (None, None, None));
    }
}
