//! What caps a stream: what the bearer carries, what the operator keeps to itself, and what the user has not permitted.

use std::sync::Arc;

use mexe_model::{AppId, BitRate, Reason, SecurityDomain, Trust};
use mexe_qos::admission::Reservable;
use mexe_qos::attributes::PriorityLevel;
use mexe_qos::negotiation::{Most, Source};
use mexe_qos::{Profile, Rate};

use super::limits::AppLimit;
use crate::gate::Gate;
use crate::refused::Refused;

/// So much of a bearer's capacity may be promised, percent; the rest keeps best effort alive.
const RESERVABLE: u8 = 80;
/// The most important level that an app outside the operator's domain can have: those above are the operator's own.
const LEVEL_OF_OTHERS: u8 = 9;

/// What may be promised on the bearer now, each way: nothing while it is down. No `[[bearer]]`, or one whose capacity is not
/// known, is no limit.
pub fn reservable(gate: &Gate) -> Reservable {
    match gate.bearers.first() {
        Some(bearer) if bearer.carries() => {
            let status = bearer.status();
            let [up, down] = [status.capacity.up, status.capacity.down].map(|rate| rate.map(BitRate::get));
            Reservable::of(up, down, RESERVABLE)
        }
        Some(_) => Reservable { up: Some(0), down: Some(0) },
        None => Reservable::default(),
    }
}

/// What caps a stream of that app, in that column of the security table. Whoever may not have more gets best effort.
pub fn caps(gate: &Gate, app: &AppId, trust: Trust, may_have_more: bool) -> Vec<(Source, Most)> {
    let carries = gate.bearers.choose().map(|bearer| bearer.status().capacity).unwrap_or_default();
    let promised = reservable(gate);
    let guarantee = |most: Option<u64>| most.and_then(Rate::bits_per_second);
    let carries = Most {
        max_bitrate_up: carries.up.map(Rate::At),
        max_bitrate_down: carries.down.map(Rate::At),
        guaranteed_bitrate_up: guarantee(promised.up),
        guaranteed_bitrate_down: guarantee(promised.down),
        ..Most::default()
    };
    let mut caps = vec![(Source::Subscription, carries)];
    if trust != Trust::Domain(SecurityDomain::Operator) {
        let priority_level = PriorityLevel::new(LEVEL_OF_OTHERS);
        caps.push((Source::Operator, Most { priority_level, ..Most::default() }));
    }
    let limit = gate.app_limits.of(app);
    if limit != AppLimit::default() {
        caps.push((
            Source::User,
            Most {
                max_bitrate_up: limit.max_bitrate_up.map(Rate::At),
                max_bitrate_down: limit.max_bitrate_down.map(Rate::At),
                guaranteed_bitrate_up: limit.max_bitrate_up.map(Rate::At),
                guaranteed_bitrate_down: limit.max_bitrate_down.map(Rate::At),
                ..Most::default()
            },
        ));
    }
    if !may_have_more {
        caps.push((Source::User, Most::BEST_EFFORT));
    }
    caps
}

/// The profile of that name.
///
/// # Errors
/// [`Reason::RequestMalformed`] when there is none.
pub fn profile_of(gate: &Gate, name: &str) -> Result<Arc<Profile>, Refused> {
    gate.profiles().get(name).cloned().ok_or_else(|| {
        let short: String = name.chars().take(40).collect();
        Refused::about(Reason::RequestMalformed, format!("no profile is named `{short}`: see the QoS page"))
    })
}
