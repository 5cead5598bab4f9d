//! The element field by field, for people and for scripts: name, code, meaning with its unit. Says of every code whether
//! it is reserved or not defined, and what it is read as. Called by the verb `qos decode`.

use super::code::{self, Code};
use super::{DecodeError, Part, check_length};
use crate::steps;

/// One field of an element.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Field {
    /// The octet in which it stands, as the standard counts: the value begins with 3.
    pub octet: u8,
    /// Its name.
    pub name: &'static str,
    /// The number that stands there.
    pub code: u8,
    /// What it means, with its unit.
    pub meaning: String,
    /// Whether the code is one that the standard reserves or does not define.
    pub odd: bool,
}

/// Every field that the value has, in the order of the octets.
///
/// # Errors
/// The value's length is not one that the element has.
pub fn fields(value: &[u8]) -> Result<Vec<Field>, DecodeError> {
    check_length(value)?;
    let shown = |part: Part| {
        let code = part.code(value)?;
        let (meaning, odd) = meaning(part, code);
        Some(Field { octet: part.octet(), name: part.name(), code, meaning, odd })
    };
    Ok(Part::all().filter_map(shown).collect())
}

fn meaning(part: Part, code: u8) -> (String, bool) {
    let ratio = |code: Code<_>| text(code, |ratio| format!("{ratio}"));
    match part {
        Part::DelayClass => text(code::delay_class(code), |class| match class.get() {
            4 => "4, best effort".into(),
            class => class.to_string(),
        }),
        Part::ReliabilityClass => text(code::reliability_class(code), |class| {
            let what = match class.get() {
                2 => "LLC and RLC acknowledged, data protected",
                3 => "RLC acknowledged, data protected",
                4 => "unacknowledged, data protected",
                _ => "unacknowledged, data unprotected",
            };
            format!("{class}, {what}")
        }),
        Part::PeakThroughput => {
            text(code::peak_throughput(code), |class| format!("{} octets/s", class.octets_per_second()))
        }
        Part::PrecedenceClass => text(code::precedence_class(code), |class| {
            let what = match class.get() {
                1 => "high",
                2 => "normal",
                _ => "low",
            };
            format!("{class}, {what}")
        }),
        Part::MeanThroughput => text(code::mean_throughput(code), |class| {
            class.octets_per_hour().map_or("best effort".into(), |rate| format!("{rate} octets/h"))
        }),
        Part::TrafficClass => text(code::traffic_class(code), |class| class.as_str().into()),
        Part::DeliveryOrder => text(code::delivery_order(code), |order| yes(order).into()),
        Part::ErroneousSdus => text(code::erroneous_sdus(code), |what| what.as_str().into()),
        Part::MaxSdu => text(code::max_sdu(code), |size| size.to_string()),
        Part::ResidualBer => ratio(code::residual_ber(code)),
        Part::SduErrorRatio => ratio(code::sdu_error_ratio(code)),
        Part::TransferDelay => text(code::transfer_delay(code), |delay| delay.to_string()),
        Part::TrafficHandlingPriority => text(code::traffic_handling_priority(code), |thp| thp.to_string()),
        Part::Signalling => (yes(code != 0).into(), false),
        Part::SourceStatistics => text(code::source_statistics(code), |what| what.as_str().into()),
        Part::MaxUp | Part::MaxDown | Part::GuaranteedUp | Part::GuaranteedDown => match code {
            0 => (SUBSCRIBED.into(), false),
            255 => ("0 kbit/s".into(), false),
            code => (kbits(steps::base_kbits(code)), false),
        },
        Part::MaxUpExt | Part::MaxDownExt | Part::GuaranteedUpExt | Part::GuaranteedDownExt => match code {
            0 => ("not used".into(), false),
            1..=250 => (kbits(steps::ext_kbits(code)), false),
            _ => (format!("not defined, read as {}", kbits(steps::ext_kbits(code))), true),
        },
        Part::MaxUpExt2 | Part::MaxDownExt2 | Part::GuaranteedUpExt2 | Part::GuaranteedDownExt2 => match code
        {
            0 => ("not used".into(), false),
            1..=246 => (kbits(steps::ext2_kbits(code)), false),
            _ => (format!("not defined, read as {}", kbits(steps::ext2_kbits(code))), true),
        },
    }
}

const SUBSCRIBED: &str = "subscribed";

/// What a code means in words, and whether it is one that should not be there.
fn text<T>(code: Code<T>, shown: impl FnOnce(T) -> String) -> (String, bool) {
    let read_as = |value: Option<T>| value.map_or(SUBSCRIBED.into(), shown);
    match code {
        Code::Subscribed => (SUBSCRIBED.into(), false),
        Code::Value(value) => (read_as(Some(value)), false),
        Code::Reserved(value) => (format!("reserved, read as {}", read_as(value)), true),
        Code::Undefined(value) => (format!("not defined, read as {}", read_as(value)), true),
    }
}

fn kbits(kbits: u64) -> String {
    match kbits {
        mbits if mbits >= 1_000 && mbits.is_multiple_of(1_000) => format!("{} Mbit/s", mbits / 1_000),
        kbits => format!("{kbits} kbit/s"),
    }
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
