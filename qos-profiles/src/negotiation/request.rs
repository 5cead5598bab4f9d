//! What an app asks for, as it says it: any number, also one that no attribute can have. Brought into range here; what
//! cannot be read at all (a word for a number, an unknown field) is the reader's to refuse.

use mexe_model::BitRate;
use serde::Deserialize;

use crate::attributes::{ErroneousSdus, MaxSdu, PriorityLevel, SourceStatistics, TransferDelay};
use crate::{Arp, Attributes, ErrorRatio, Rate, Thp, TrafficClass};

/// Why something else is granted than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The attribute cannot have that value: the nearest that it can have is taken.
    OutOfRange,
    /// A source that goes before caps it.
    Capped,
    /// A guarantee is never above the maximum.
    AboveMaximum,
    /// The class that was granted has no such attribute.
    NotInClass,
}

/// An app's request for a stream. What is left out is left to the profile, then to the default of the class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The traffic class.
    pub class: Option<TrafficClass>,
    /// The most towards the network, as in `64 kbit/s`.
    pub max_bitrate_up: Option<BitRate>,
    /// The most from the network.
    pub max_bitrate_down: Option<BitRate>,
    /// What is to be kept free towards the network.
    pub guaranteed_bitrate_up: Option<BitRate>,
    /// What is to be kept free from the network.
    pub guaranteed_bitrate_down: Option<BitRate>,
    /// Whether packets are to arrive in order.
    pub delivery_order: Option<bool>,
    /// The largest packet, octets.
    pub max_sdu: Option<u64>,
    /// How many packets may be lost, as in `7e-3`.
    pub sdu_error_ratio: Option<ErrorRatio>,
    /// How many bits may be wrong in what arrives.
    pub residual_ber: Option<ErrorRatio>,
    /// What is to happen to broken packets.
    pub erroneous_sdus: Option<ErroneousSdus>,
    /// Milliseconds that 95 of 100 packets stay below.
    pub transfer_delay: Option<u64>,
    /// Which of several interactive streams goes first; 1 is the first.
    pub traffic_handling_priority: Option<u64>,
    /// Who gets in when there is no room for all.
    pub arp: Option<RequestedArp>,
    /// Whether it is speech.
    pub source_statistics: Option<SourceStatistics>,
    /// Whether it is signalling.
    pub signalling: Option<bool>,
}

/// An [`Arp`] with any number for its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestedArp {
    /// 1 is the most important.
    pub level: u64,
    /// Whether it may displace others.
    #[serde(default)]
    pub pre_emption_capability: bool,
    /// Whether others may displace it.
    #[serde(default)]
    pub pre_emption_vulnerability: bool,
}

/// An attribute that was asked for with a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Adjusted {
    pub(super) attribute: &'static str,
    pub(super) asked: String,
}

impl Request {
    /// This request with what a later one says in its place: how a stream is changed.
    #[must_use]
    pub fn changed_by(self, later: Self) -> Self {
        Self {
            class: later.class.or(self.class),
            max_bitrate_up: later.max_bitrate_up.or(self.max_bitrate_up),
            max_bitrate_down: later.max_bitrate_down.or(self.max_bitrate_down),
            guaranteed_bitrate_up: later.guaranteed_bitrate_up.or(self.guaranteed_bitrate_up),
            guaranteed_bitrate_down: later.guaranteed_bitrate_down.or(self.guaranteed_bitrate_down),
            delivery_order: later.delivery_order.or(self.delivery_order),
            max_sdu: later.max_sdu.or(self.max_sdu),
            sdu_error_ratio: later.sdu_error_ratio.or(self.sdu_error_ratio),
            residual_ber: later.residual_ber.or(self.residual_ber),
            erroneous_sdus: later.erroneous_sdus.or(self.erroneous_sdus),
            transfer_delay: later.transfer_delay.or(self.transfer_delay),
            traffic_handling_priority: later.traffic_handling_priority.or(self.traffic_handling_priority),
            arp: later.arp.or(self.arp),
            source_statistics: later.source_statistics.or(self.source_statistics),
            signalling: later.signalling.or(self.signalling),
        }
    }

    /// The request as attributes, and what had to be brought into range for it.
    pub(super) fn in_range(&self) -> (Attributes, Vec<Adjusted>) {
        let mut adjusted = Vec::new();
        let attributes = Attributes {
            class: self.class,
            max_bitrate_up: self.max_bitrate_up.map(Rate::At),
            max_bitrate_down: self.max_bitrate_down.map(Rate::At),
            guaranteed_bitrate_up: self.guaranteed_bitrate_up.map(Rate::At),
            guaranteed_bitrate_down: self.guaranteed_bitrate_down.map(Rate::At),
            delivery_order: self.delivery_order,
            max_sdu: number(
                &mut adjusted,
                "max_sdu",
                self.max_sdu,
                " octets",
                (MaxSdu::MIN, MaxSdu::MAX, |n| MaxSdu::try_from(n).ok()),
            ),
            sdu_error_ratio: ratio(
                &mut adjusted,
                "sdu_error_ratio",
                self.sdu_error_ratio,
                &ErrorRatio::OF_SDUS,
            ),
            residual_ber: ratio(&mut adjusted, "residual_ber", self.residual_ber, &ErrorRatio::RESIDUAL),
            erroneous_sdus: self.erroneous_sdus,
            transfer_delay: number(
                &mut adjusted,
                "transfer_delay",
                self.transfer_delay,
                " ms",
                (TransferDelay::MIN, TransferDelay::MAX, |n| TransferDelay::try_from(n).ok()),
            ),
            traffic_handling_priority: number(
                &mut adjusted,
                "traffic_handling_priority",
                self.traffic_handling_priority,
                "",
                (Thp::MIN, Thp::MAX, |n| Thp::try_from(n).ok()),
            ),
            arp: self.arp.and_then(|arp| {
                let level = number(
                    &mut adjusted,
                    "arp",
                    Some(arp.level),
                    "",
                    (PriorityLevel::MIN, PriorityLevel::MAX, |n| PriorityLevel::try_from(n).ok()),
                )?;
                Some(Arp {
                    level,
                    pre_emption_capability: arp.pre_emption_capability,
                    pre_emption_vulnerability: arp.pre_emption_vulnerability,
                })
            }),
            source_statistics: self.source_statistics.unwrap_or_default(),
            signalling: self.signalling.unwrap_or_default(),
        };
        (attributes, adjusted)
    }
}

/// The least value, the greatest, and how a number becomes one.
type Range<T> = (T, T, fn(u16) -> Option<T>);

/// The value nearest to the number.
fn number<T: Copy + Into<u16>>(
    adjusted: &mut Vec<Adjusted>,
    attribute: &'static str,
    asked: Option<u64>,
    unit: &str,
    (least, most, make): Range<T>,
) -> Option<T> {
    let asked = asked?;
    if let Some(value) = u16::try_from(asked).ok().and_then(make) {
        return Some(value);
    }
    adjusted.push(Adjusted { attribute, asked: format!("{asked}{unit}") });
    Some(if asked < u64::from(least.into()) { least } else { most })
}

/// The laxest of the ratios that is still as strict as the one asked for, else the strictest. The table begins with the
/// strictest.
fn ratio(
    adjusted: &mut Vec<Adjusted>,
    attribute: &'static str,
    asked: Option<ErrorRatio>,
    table: &[ErrorRatio],
) -> Option<ErrorRatio> {
    let asked = asked?;
    if table.contains(&asked) {
        return Some(asked);
    }
    adjusted.push(Adjusted { attribute, asked: asked.to_string() });
    table.iter().rev().find(|ratio| **ratio <= asked).or_else(|| table.first()).copied()
}
