//! Quality class identifiers (QCI of LTE, 5QI of 5G): what each number promises, and which attributes of Release 99 it
//! stands for, both ways. Also the step between the three old allocation priorities and the fifteen evolved ones.
//! Called when attributes are taken to a bearer of LTE or 5G, and when such a bearer says what it gives.
//!
//! docs/qos-coding.md says of each row whether it was read in a source or is from memory.

use crate::TrafficClass::{Background, Conversational, Interactive, Streaming};
use crate::attributes::{Attributes, PriorityLevel, SourceStatistics, Thp, TransferDelay, number};

number! {
    /// A QCI or 5QI: 1 to 127 belong to the standards, 128 to 254 to operators.
    Qci: u8, "QCI", 1..=254 ""
}

/// What kind of bearer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// A bit rate is guaranteed, and what is late is lost (5G only).
    DelayCritical,
    /// A bit rate is guaranteed.
    Guaranteed,
    /// No bit rate is guaranteed.
    NotGuaranteed,
}

/// What a number promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Characteristics {
    /// The number.
    pub qci: Qci,
    /// What kind of bearer it is.
    pub resource: Resource,
    /// The default priority as 5G counts it, the smaller the more important; ten times the QCI's.
    pub priority: u8,
    /// The packet delay budget in ms.
    pub delay_ms: u16,
    /// The packet error rate is 10 to the minus this.
    pub error_exponent: u8,
    /// The maximum data burst volume in octets, of delay-critical numbers.
    pub burst: Option<u32>,
}

impl Qci {
    /// What the number promises; `None` where no standard says.
    pub fn characteristics(self) -> Option<Characteristics> {
        CHARACTERISTICS.into_iter().find(|row| row.0 == self.get()).map(
            |(_, resource, priority, delay_ms, error_exponent, burst)| Characteristics {
                qci: self,
                resource,
                priority,
                delay_ms,
                error_exponent,
                burst,
            },
        )
    }

    /// The numbers that a standard describes, in order.
    pub fn described() -> impl Iterator<Item = Self> {
        CHARACTERISTICS.into_iter().filter_map(|row| Self::new(row.0))
    }

    /// Whether a bit rate is guaranteed; `None` where no standard says.
    pub fn guarantees(self) -> Option<bool> {
        self.characteristics().map(|row| row.resource != Resource::NotGuaranteed)
    }

    /// The number for attributes of Release 99 (TS 23.401, annex E). What is not said, subscribed or background is 9.
    pub fn of(attributes: &Attributes) -> Self {
        let attributes = attributes.effective();
        let slow = attributes.transfer_delay.is_none_or(|delay| delay.get() >= 150);
        let first = attributes.traffic_handling_priority.map(Thp::get);
        Self(match (attributes.class, attributes.source_statistics, first) {
            (Some(Conversational), SourceStatistics::Speech, _) => 1,
            (Some(Conversational), SourceStatistics::Unknown, _) if slow => 2,
            (Some(Conversational), SourceStatistics::Unknown, _) => 3,
            (Some(Streaming), ..) => 4,
            (Some(Interactive), _, Some(1)) if attributes.signalling => 5,
            (Some(Interactive), _, Some(1)) => 6,
            (Some(Interactive), _, Some(2)) => 7,
            (Some(Interactive), _, Some(_)) => 8,
            (Some(Interactive | Background) | None, ..) => 9,
        })
    }

    /// The attributes of Release 99 that a number stands for; rates and error ratios are left unsaid, and the delivery
    /// order is *no*, as for every IP bearer. `None` for numbers above 9, which Release 99 has no words for.
    pub fn attributes(self) -> Option<Attributes> {
        let (class, thp, signalling, statistics, delay) = match self.0 {
            1 => (Conversational, None, false, SourceStatistics::Speech, Some(150)),
            2 => (Conversational, None, false, SourceStatistics::Unknown, Some(150)),
            3 => (Conversational, None, false, SourceStatistics::Unknown, Some(80)),
            4 => (Streaming, None, false, SourceStatistics::Unknown, Some(300)),
            5 => (Interactive, Some(Thp::FIRST), true, SourceStatistics::Unknown, None),
            6 => (Interactive, Some(Thp::FIRST), false, SourceStatistics::Unknown, None),
            7 => (Interactive, Some(Thp::SECOND), false, SourceStatistics::Unknown, None),
            8 => (Interactive, Some(Thp::THIRD), false, SourceStatistics::Unknown, None),
            9 => (Background, None, false, SourceStatistics::Unknown, None),
            _ => return None,
        };
        Some(Attributes {
            class: Some(class),
            delivery_order: Some(false),
            transfer_delay: delay.and_then(TransferDelay::new),
            traffic_handling_priority: thp,
            source_statistics: statistics,
            signalling,
            ..Attributes::default()
        })
    }
}

/// An operator's borders between the three old allocation priorities on the scale of the fifteen evolved ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpBorders {
    high: u8,
    medium: u8,
}

/// 5 and 10, as one maker's gateways have them by default.
impl Default for ArpBorders {
    fn default() -> Self {
        Self { high: 5, medium: 10 }
    }
}

impl ArpBorders {
    /// The last level that is high and the last that is medium; `None` unless each of the three has a level.
    pub const fn new(high: PriorityLevel, medium: PriorityLevel) -> Option<Self> {
        let (high, medium) = (high.get(), medium.get());
        if high < medium && medium < PriorityLevel::MAX.get() { Some(Self { high, medium }) } else { None }
    }

    /// The old priority of a level, 1 to 3.
    pub const fn r99(self, level: PriorityLevel) -> u8 {
        match level.get() {
            level if level <= self.high => 1,
            level if level <= self.medium => 2,
            _ => 3,
        }
    }

    /// The level of an old priority: the most important that is one. `None` unless it is 1 to 3.
    pub const fn evolved(self, priority: u8) -> Option<PriorityLevel> {
        match priority {
            1 => PriorityLevel::new(1),
            2 => PriorityLevel::new(self.high + 1),
            3 => PriorityLevel::new(self.medium + 1),
            _ => None,
        }
    }
}

use Resource::{DelayCritical as Dc, Guaranteed as Gb, NotGuaranteed as No};

/// Number, kind, priority, delay budget in ms, exponent of the error rate, burst in octets.
type Row = (u8, Resource, u8, u16, u8, Option<u32>);

#[rustfmt::skip]
const CHARACTERISTICS: [Row; 32] = [
    (1, Gb, 20, 100, 2, None),
    (2, Gb, 40, 150, 3, None),
    (3, Gb, 30, 50, 3, None),
    (4, Gb, 50, 300, 6, None),
    (5, No, 10, 100, 6, None),
    (6, No, 60, 300, 6, None),
    (7, No, 70, 100, 3, None),
    (8, No, 80, 300, 6, None),
    (9, No, 90, 300, 6, None),
    (10, No, 90, 1100, 6, None),
    (65, Gb, 7, 75, 2, None),
    (66, Gb, 20, 100, 2, None),
    (67, Gb, 15, 100, 3, None),
    (69, No, 5, 60, 6, None),
    (70, No, 55, 200, 6, None),
    (71, Gb, 56, 150, 6, None),
    (72, Gb, 56, 300, 4, None),
    (73, Gb, 56, 300, 8, None),
    (74, Gb, 56, 500, 8, None),
    (75, Gb, 25, 50, 2, None),
    (76, Gb, 56, 500, 4, None),
    (79, No, 65, 50, 2, None),
    (80, No, 68, 10, 6, None),
    (82, Dc, 19, 10, 4, Some(255)),
    (83, Dc, 22, 10, 4, Some(1_354)),
    (84, Dc, 24, 30, 5, Some(1_354)),
    (85, Dc, 21, 5, 5, Some(255)),
    (86, Dc, 18, 5, 4, Some(1_354)),
    (87, Dc, 25, 5, 3, Some(500)),
    (88, Dc, 25, 10, 3, Some(1_125)),
    (89, Dc, 25, 15, 4, Some(17_000)),
    (90, Dc, 25, 20, 4, Some(63_000)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nine_numbers_and_their_attributes_are_each_other() {
        for number in 1..=9 {
            let qci = Qci::new(number).unwrap();
            let attributes = qci.attributes().unwrap();
            assert_eq!(attributes.check(), [], "{number}");
            assert_eq!(Qci::of(&attributes), qci, "{number}");
            let real_time = matches!(attributes.class, Some(Conversational | Streaming));
            assert_eq!(qci.guarantees(), Some(real_time), "{number}");
        }
        assert_eq!(Qci::new(10).unwrap().attributes(), None);
    }

    #[test]
    fn what_is_not_said_is_nine_and_speech_on_a_stream_is_four() {
        assert_eq!(Qci::of(&Attributes::default()).get(), 9);
        let of = |class, source_statistics| {
            Qci::of(&Attributes { class: Some(class), source_statistics, ..Attributes::default() }).get()
        };
        assert_eq!(of(Streaming, SourceStatistics::Speech), 4);
        assert_eq!(of(Conversational, SourceStatistics::Unknown), 2);
        assert_eq!(of(Interactive, SourceStatistics::Unknown), 9);
        // Signalling of a class that has none is ignored.
        let odd = Attributes { class: Some(Background), signalling: true, ..Attributes::default() };
        assert_eq!(Qci::of(&odd).get(), 9);
    }

    #[test]
    fn the_table_is_in_order_and_bursts_are_of_delay_critical_numbers_only() {
        assert!(CHARACTERISTICS.is_sorted_by(|a, b| a.0 < b.0));
        for qci in Qci::described() {
            let row = qci.characteristics().unwrap();
            assert_eq!(row.burst.is_some(), row.resource == Resource::DelayCritical, "{qci}");
        }
        assert_eq!(Qci::new(11).unwrap().characteristics(), None);
    }

    #[test]
    fn old_priorities_come_back_through_the_evolved_ones() {
        let level = |n| PriorityLevel::new(n).unwrap();
        let borders = ArpBorders::default();
        for old in 1..=3 {
            assert_eq!(borders.r99(borders.evolved(old).unwrap()), old);
        }
        let all: Vec<_> = (1..=15).map(|n| borders.r99(level(n))).collect();
        assert_eq!(all, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]);
        assert_eq!(borders.evolved(0), None);
        assert_eq!(ArpBorders::new(level(5), level(5)), None);
        assert_eq!(ArpBorders::new(level(5), level(15)), None);
        assert!(ArpBorders::new(level(1), level(14)).is_some());
    }
}
