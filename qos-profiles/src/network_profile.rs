//! Profiles that an operator offers by name over CAMARA's QoS Profiles API (r3.2), and which of them a request is for: the
//! least that satisfies it. Values in, values out: how the list is fetched, and what becomes of the choice, is not decided
//! here. Called by the `camara` bearer.
//!
//! Rates are 1 000-based, and a profile says only what its operator cares to say: whatever is `None` is not known.

mod written;

use std::cmp::Reverse;
use std::time::Duration;

use mexe_model::BitRate;
use serde::Deserialize;

use self::written::Written;
use crate::attributes::{Attributes, ErrorRatio, Rate, TransferDelay};
use crate::class::TrafficClass;

/// One profile, as far as a choice needs it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct NetworkProfile {
    /// The name that sessions are asked for by: 3 to 256 letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// True when sessions may be begun with it; a deprecated one goes on in those that there are, and no more.
    pub is_active: bool,
    /// What the network tries to deliver at least, towards the network.
    pub target_min_up: Option<BitRate>,
    /// The same, towards the device.
    pub target_min_down: Option<BitRate>,
    /// The most, towards the network.
    pub max_up: Option<BitRate>,
    /// The most, towards the device.
    pub max_down: Option<BitRate>,
    /// The shortest session.
    pub min_duration: Option<Duration>,
    /// The longest session, extensions included.
    pub max_duration: Option<Duration>,
    /// 1 to 100; the lower goes first.
    pub priority: Option<u8>,
    /// The longest that a packet takes one way, between the device and the operator's gateway.
    pub delay: Option<Duration>,
    /// So many packets may be lost: 10 to the power of minus this, 1 to 10.
    pub loss: Option<u8>,
}

/// What has to be satisfied.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What is wished.
    pub attributes: &'a Attributes,
    /// Below this, nothing is wanted: towards the network.
    pub least_up: Option<BitRate>,
    /// Below this, nothing is wanted: towards the device.
    pub least_down: Option<BitRate>,
}

/// Why no profile is good enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProfile {
    /// There is none that sessions may be begun with.
    #[error("none of its profiles is active")]
    NoneActive,
    /// Each that could be used is slower, loses more, or does not say its delay.
    #[error("none of its profiles promises a delay and a loss as wished")]
    Delay,
    /// Each that could be used has lower rates.
    #[error("none of its profiles promises the rates that are needed")]
    Rates,
    /// The one that is meant for this is not there, or not active.
    #[error("its profile `{0}` is not there or not active")]
    Missing(String),
}

impl NetworkProfile {
    /// How long a session with this profile may be asked for: as long as that, within what the profile allows, in whole
    /// seconds. `None` when it allows nothing that can be asked for.
    pub fn duration(&self, wished: Duration) -> Option<u32> {
        let least = self.min_duration.unwrap_or_default();
        let least = least.as_secs().saturating_add(u64::from(least.subsec_nanos() > 0)).max(1);
        let most = self.max_duration.map_or(LONGEST, |most| most.as_secs().min(LONGEST));
        let fits = least <= most;
        fits.then(|| wished.as_secs().clamp(least, most)).and_then(|seconds| u32::try_from(seconds).ok())
    }

    /// What of that wish a session with this profile gives. A profile promises for all packets alike, so that what it does
    /// not speak of is `None`; what is the device's own word, or the subscription's, is as wished.
    pub fn gives(&self, wished: &Attributes) -> Attributes {
        let wished = wished.effective();
        let real_time = is_real_time(&wished);
        let most = |offered: Option<BitRate>, wished: Option<Rate>| match (offered.map(Rate::from), wished) {
            (Some(offered), Some(wished)) => Some(offered.min(wished)),
            (offered, None) => offered,
            (None, Some(_)) => None,
        };
        let kept = |offered, wished| most(offered, wished).filter(|_| real_time);
        Attributes {
            class: wished.class,
            max_bitrate_up: most(self.max_up, wished.max_bitrate_up),
            max_bitrate_down: most(self.max_down, wished.max_bitrate_down),
            guaranteed_bitrate_up: kept(self.target_min_up, wished.guaranteed_bitrate_up),
            guaranteed_bitrate_down: kept(self.target_min_down, wished.guaranteed_bitrate_down),
            sdu_error_ratio: self.loss.and_then(|exponent| ErrorRatio::new(1, exponent)),
            transfer_delay: self.transfer_delay().filter(|_| real_time),
            arp: wished.arp,
            source_statistics: wished.source_statistics,
            signalling: wished.signalling,
            ..Attributes::default()
        }
    }

    /// Its delay in whole milliseconds, rounded up.
    fn transfer_delay(&self) -> Option<TransferDelay> {
        let delay = self.delay?;
        let millis = delay.as_micros().div_ceil(1000);
        let millis = u16::try_from(millis).ok()?;
        TransferDelay::new(millis.max(TransferDelay::MIN.get()))
    }

    /// Whether it promises the delay and the loss that are wished. A delay that nobody names is no promise; a loss that
    /// nobody names is as everywhere.
    fn is_quick(&self, wished: &Attributes) -> bool {
        let delay = wished.transfer_delay.is_none_or(|most| {
            self.delay.is_some_and(|delay| delay <= Duration::from_millis(most.get().into()))
        });
        let loss = match (wished.sdu_error_ratio, self.loss) {
            (Some(wished), Some(exponent)) => {
                // Beyond what can be said, it is stricter than whatever is wished.
                ErrorRatio::new(1, exponent).is_none_or(|offered| offered <= wished)
            }
            _ => true,
        };
        delay && loss
    }

    /// Whether it promises every rate that is wished.
    fn is_fast(&self, wished: &Attributes) -> bool {
        let kept = |offered: Option<BitRate>, wished: Option<Rate>| {
            wished
                .and_then(Rate::bit_rate)
                .is_none_or(|wished| offered.is_some_and(|offered| offered >= wished))
        };
        // The most that nobody names is no limit.
        let most = |offered: Option<BitRate>, wished: Option<Rate>| {
            offered
                .is_none_or(|offered| wished.and_then(Rate::bit_rate).is_none_or(|wished| offered >= wished))
        };
        kept(self.target_min_up, wished.guaranteed_bitrate_up)
            && kept(self.target_min_down, wished.guaranteed_bitrate_down)
            && most(self.max_up, wished.max_bitrate_up)
            && most(self.max_down, wished.max_bitrate_down)
    }

    /// Whether it is worth having: at least the least, and something where a guarantee is wished.
    fn is_enough(&self, wish: &Wish<'_>, wished: &Attributes) -> bool {
        let enough = |target, most: Option<BitRate>, guaranteed: Option<Rate>, least: Option<BitRate>| {
            if is_real_time(wished) {
                let asked = guaranteed.and_then(Rate::bit_rate).is_some();
                return match target {
                    Some(target) => least.is_none_or(|least| target >= least),
                    None => least.is_none() && !asked,
                };
            }
            most.is_none_or(|most| least.is_none_or(|least| most >= least))
        };
        enough(self.target_min_up, self.max_up, wished.guaranteed_bitrate_up, wish.least_up)
            && enough(self.target_min_down, self.max_down, wished.guaranteed_bitrate_down, wish.least_down)
    }

    /// Smaller for what takes less of the network: lower promises, lower rates, later turn, longer delay. The name makes
    /// the order whole.
    fn cost(&self) -> impl Ord + use<'_> {
        let sum = |a: Option<BitRate>, b: Option<BitRate>, unknown: u64| {
            let of = |rate: Option<BitRate>| rate.map_or(unknown, BitRate::get);
            of(a).saturating_add(of(b))
        };
        (
            sum(self.target_min_up, self.target_min_down, 0),
            sum(self.max_up, self.max_down, BitRate::MAX),
            Reverse(self.priority.unwrap_or(u8::MAX)),
            Reverse(self.delay.unwrap_or(Duration::MAX)),
            &self.name,
        )
    }

    /// How much of the rates that are wished it gives, bit/s.
    fn worth(&self, wished: &Attributes) -> u64 {
        let given = self.gives(wished);
        let rates = match is_real_time(wished) {
            true => [given.guaranteed_bitrate_up, given.guaranteed_bitrate_down],
            false => [
                given.max_bitrate_up.or(wished.max_bitrate_up),
                given.max_bitrate_down.or(wished.max_bitrate_down),
            ],
        };
        rates.into_iter().flatten().fold(0, |sum, rate| rate.get().saturating_add(sum))
    }
}

/// The least profile that satisfies all of the wish; where there is none, the one that gives most of the rates, if that is
/// still wanted.
///
/// # Errors
/// [`NoProfile`]: why none is good enough.
pub fn choose<'a>(profiles: &'a [NetworkProfile], wish: &Wish<'_>) -> Result<&'a NetworkProfile, NoProfile> {
    let wished = wish.attributes.effective();
    let active: Vec<_> = profiles.iter().filter(|profile| profile.is_active).collect();
    if active.is_empty() {
        return Err(NoProfile::NoneActive);
    }
    let quick: Vec<_> = active.into_iter().filter(|profile| profile.is_quick(&wished)).collect();
    if quick.is_empty() {
        return Err(NoProfile::Delay);
    }
    let enough: Vec<_> = quick.into_iter().filter(|profile| profile.is_enough(wish, &wished)).collect();
    let whole = enough.iter().copied().filter(|profile| profile.is_fast(&wished));
    if let Some(least) = whole.min_by(|a, b| a.cost().cmp(&b.cost())) {
        return Ok(least);
    }
    let most = |a: &&NetworkProfile, b: &&NetworkProfile| {
        a.worth(&wished).cmp(&b.worth(&wished)).then_with(|| b.cost().cmp(&a.cost()))
    };
    enough.into_iter().max_by(most).ok_or(NoProfile::Rates)
}

/// The profile of that name, which somebody chose for requests like this one.
///
/// # Errors
/// [`NoProfile::Missing`], and [`NoProfile::Rates`] when it gives less than the least that is wanted.
pub fn named<'a>(
    profiles: &'a [NetworkProfile],
    name: &str,
    wish: &Wish<'_>,
) -> Result<&'a NetworkProfile, NoProfile> {
    let found = profiles.iter().find(|profile| profile.name == name && profile.is_active);
    let found = found.ok_or_else(|| NoProfile::Missing(name.to_owned()))?;
    // Whoever chose it knows what it gives where its operator does not say; what is said counts.
    let wished = wish.attributes.effective();
    let rates = match is_real_time(&wished) {
        true => [(found.target_min_up, wish.least_up), (found.target_min_down, wish.least_down)],
        false => [(found.max_up, wish.least_up), (found.max_down, wish.least_down)],
    };
    let enough = |(given, least): &(Option<BitRate>, Option<BitRate>)| {
        given.is_none_or(|given| least.is_none_or(|least| given >= least))
    };
    if rates.iter().all(enough) { Ok(found) } else { Err(NoProfile::Rates) }
}

/// The classes that are promised a rate and a delay.
const fn is_real_time(wished: &Attributes) -> bool {
    matches!(wished.class, Some(TrafficClass::Conversational | TrafficClass::Streaming))
}

/// Durations are 32-bit numbers of seconds there.
const LONGEST: u64 = i32::MAX as u64;

#[cfg(test)]
mod tests;
