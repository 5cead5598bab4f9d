//! Admission: whether a bearer can keep one more guarantee, who has to give theirs up for it, and who loses theirs when
//! the bearer becomes smaller. Values in, values out: who is told, and what becomes of a stream without its guarantee, is
//! the caller's business. Called when a stream is asked for or changed, and when a bearer says what it carries now.
//!
//! Each direction is judged by itself: the guarantees of all streams together fit into the reservable share of the
//! capacity. A stream without a guarantee needs no room and is always admitted. The priority level of an [`Arp`] decides
//! who is admitted when room is short and nothing else; who is sent first is the scheduler's.

mod choose;
#[cfg(test)]
mod tests;

use self::choose::{Candidate, Need, fewest};
use crate::Arp;

/// Allocation and retention priority: whose guarantee counts when there is not room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The priority level; 1 is the highest, so the smaller is the more important.
    pub level: u8,
    /// Whether it may take the room of less important streams (pre-emption capability).
    pub may_displace: bool,
    /// Whether more important streams may take its room (pre-emption vulnerability).
    pub may_be_displaced: bool,
}

impl From<Arp> for Claim {
    fn from(arp: Arp) -> Self {
        Self {
            level: arp.level.get(),
            may_displace: arp.pre_emption_capability,
            may_be_displaced: arp.pre_emption_vulnerability,
        }
    }
}

/// Bits per second, both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rates {
    /// Towards the network.
    pub up: u64,
    /// From the network.
    pub down: u64,
}

/// What of a bearer may be promised; `None` where nothing limits it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservable {
    /// Towards the network, bits per second.
    pub up: Option<u64>,
    /// From the network, bits per second.
    pub down: Option<u64>,
}

impl Reservable {
    /// The share of a capacity that may be promised: `percent` of it, rounded down, and never more than all.
    pub fn of(up: Option<u64>, down: Option<u64>, percent: u8) -> Self {
        let percent = u128::from(percent.min(100));
        let part = |rate: u64| u64::try_from(u128::from(rate) * percent / 100).unwrap_or(rate);
        Self { up: up.map(part), down: down.map(part) }
    }
}

/// A guarantee that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<K> {
    /// What the caller calls it. The greater was admitted later.
    pub key: K,
    /// What is guaranteed.
    pub guaranteed: Rates,
    /// How important it is.
    pub claim: Claim,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission<K> {
    /// It is admitted, once these have given up their guarantees. The first is the one that is missed least.
    Admitted(Vec<K>),
    /// There is no room: so many bits per second are missing, and nobody may be displaced, or not enough.
    Refused(Rates),
}

/// Whether a bearer that holds these guarantees can keep one more.
///
/// Only a direction that the request wants something of can be short. When one is, and the request may displace, streams
/// give way that may be displaced and are strictly less important; as few as will do, and none when all of them
/// together would not. Among equally few, the least important go, and among those the most recently admitted.
///
/// That is exact up to a bound on the work, which a search over more than about twenty streams in both directions at once
/// can reach; from there on the least important go until it fits, and whoever need not go stays.
pub fn admit<K: Copy + Ord>(
    reservable: Reservable,
    held: &[Held<K>],
    guaranteed: Rates,
    claim: Claim,
) -> Admission<K> {
    let need = Need {
        up: shortage(reservable.up, held.iter().map(|held| held.guaranteed.up), guaranteed.up),
        down: shortage(reservable.down, held.iter().map(|held| held.guaranteed.down), guaranteed.down),
    };
    if need.is_met() {
        return Admission::Admitted(Vec::new());
    }
    let narrow = |rate| u64::try_from(rate).unwrap_or(u64::MAX);
    let missing = Rates { up: narrow(need.up), down: narrow(need.down) };
    if !claim.may_displace {
        return Admission::Refused(missing);
    }
    let weaker = held.iter().filter(|held| held.claim.may_be_displaced && held.claim.level > claim.level);
    let candidates = weaker.map(Candidate::from).collect();
    fewest(candidates, need).map_or(Admission::Refused(missing), Admission::Admitted)
}

/// Which guarantees a bearer cannot keep any longer that may promise only so much now; the first is missed least.
///
/// Those that may not be displaced keep theirs before those that may, in each group the more important before the less,
/// and of equals the earlier admitted. Who still fits when its turn comes keeps its guarantee, though a larger one before
/// it did not fit.
pub fn readmit<K: Copy + Ord>(reservable: Reservable, held: &[Held<K>]) -> Vec<K> {
    let mut order: Vec<&Held<K>> = held.iter().collect();
    order.sort_by_key(|held| (held.claim.may_be_displaced, held.claim.level, held.key));
    let mut left = reservable;
    let mut lost = Vec::new();
    for held in order {
        let after = (after(left.up, held.guaranteed.up), after(left.down, held.guaranteed.down));
        match after {
            (Some(up), Some(down)) => left = Reservable { up, down },
            _ => lost.push(held.key),
        }
    }
    lost.reverse();
    lost
}

/// What is left of a direction once that is taken; `None` when it is not there. Nothing always fits.
fn after(left: Option<u64>, wanted: u64) -> Option<Option<u64>> {
    match left {
        None => Some(None),
        Some(left) => left.checked_sub(wanted).map(Some),
    }
}

/// What a direction lacks for one more. Wide enough for any number of guarantees.
fn shortage(reservable: Option<u64>, held: impl Iterator<Item = u64>, wanted: u64) -> u128 {
    match reservable {
        Some(reservable) if wanted > 0 => {
            let all = held.map(u128::from).fold(wanted.into(), u128::saturating_add);
            all.saturating_sub(reservable.into())
        }
        _ => 0,
    }
}
