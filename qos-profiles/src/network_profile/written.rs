//! A profile as it is written in CAMARA's QoS Profiles API, r3.2. What is out of its range makes the profile unreadable; what
//! the API may leave out, in whole or in part, is not known. Called when a profile is read.

use std::time::Duration;

use mexe_model::BitRate;
use serde::Deserialize;

use super::NetworkProfile;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    name: String,
    status: Status,
    target_min_upstream_rate: Option<Rate>,
    target_min_downstream_rate: Option<Rate>,
    max_upstream_rate: Option<Rate>,
    max_downstream_rate: Option<Rate>,
    min_duration: Option<Period>,
    max_duration: Option<Period>,
    priority: Option<u8>,
    packet_delay_budget: Option<Period>,
    packet_error_loss_rate: Option<u8>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Active,
    Inactive,
    Deprecated,
}

/// Neither part has to be there.
#[derive(Clone, Copy, Deserialize)]
struct Rate {
    value: Option<u32>,
    unit: Option<RateUnit>,
}

#[derive(Clone, Copy, Deserialize)]
enum RateUnit {
    #[serde(rename = "bps")]
    Bit,
    #[serde(rename = "kbps")]
    Kilo,
    #[serde(rename = "Mbps")]
    Mega,
    #[serde(rename = "Gbps")]
    Giga,
    #[serde(rename = "Tbps")]
    Tera,
}

#[derive(Clone, Copy, Deserialize)]
struct Period {
    value: Option<u32>,
    unit: Option<TimeUnit>,
}

#[derive(Clone, Copy, Deserialize)]
enum TimeUnit {
    Days,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Rate {
    /// Bits per second, 1 000-based. A rate of nothing promises nothing; beyond what rates go to, it is the most.
    fn bit_rate(self) -> Option<BitRate> {
        let scale = match self.unit? {
            RateUnit::Bit => 1,
            RateUnit::Kilo => 1_000,
            RateUnit::Mega => 1_000_000,
            RateUnit::Giga => 1_000_000_000,
            RateUnit::Tera => 1_000_000_000_000_u64,
        };
        BitRate::bits_per_second(u64::from(self.value?).saturating_mul(scale).min(BitRate::MAX))
    }
}

impl Period {
    fn duration(self) -> Option<Duration> {
        let value = u64::from(self.value?);
        let duration = match self.unit? {
            TimeUnit::Days => Duration::from_secs(value.saturating_mul(86_400)),
            TimeUnit::Hours => Duration::from_secs(value.saturating_mul(3_600)),
            TimeUnit::Minutes => Duration::from_secs(value.saturating_mul(60)),
            TimeUnit::Seconds => Duration::from_secs(value),
            TimeUnit::Milliseconds => Duration::from_millis(value),
            TimeUnit::Microseconds => Duration::from_micros(value),
            TimeUnit::Nanoseconds => Duration::from_nanos(value),
        };
        Some(duration)
    }
}

/// It is no profile.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a profile's name is 3 to 256 letters, digits, `_`, `.` and `-`")]
    Name,
    #[error("a profile's priority is 1 to 100")]
    Priority,
    #[error("a profile's loss is a power of ten from 1 to 10")]
    Loss,
}

impl TryFrom<Written> for NetworkProfile {
    type Error = Unreadable;

    fn try_from(written: Written) -> Result<Self, Unreadable> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !(3..=256).contains(&written.name.len()) || !written.name.bytes().all(plain) {
            return Err(Unreadable::Name);
        }
        if written.priority.is_some_and(|priority| !(1..=100).contains(&priority)) {
            return Err(Unreadable::Priority);
        }
        if written.packet_error_loss_rate.is_some_and(|exponent| !(1..=10).contains(&exponent)) {
            return Err(Unreadable::Loss);
        }
        let rate = |rate: Option<Rate>| rate.and_then(Rate::bit_rate);
        let period = |period: Option<Period>| period.and_then(Period::duration);
        Ok(Self {
            name: written.name,
            is_active: written.status == Status::Active,
            target_min_up: rate(written.target_min_upstream_rate),
            target_min_down: rate(written.target_min_downstream_rate),
            max_up: rate(written.max_upstream_rate),
            max_down: rate(written.max_downstream_rate),
            min_duration: period(written.min_duration),
            max_duration: period(written.max_duration),
            priority: written.priority,
            delay: period(written.packet_delay_budget),
            loss: written.packet_error_loss_rate,
        })
    }
}
