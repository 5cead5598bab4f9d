//! The grants of one app, arranged so that a decision costs the same at any number of them: names by hash, wildcards by
//! walking up the labels, networks by prefix, and for each of these only the grants that can still win. Built anew when
//! a grant of the app changes; read by [`crate::decision`].

mod bucket;
mod timetable;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::quality::RandomState;
use mexe_model::{DomainName, GrantId, Instant, Permission, Reason, RunId, WallTime};

use self::bucket::{Bucket, Ports};
use crate::address::shortest_naming_prefix;
use crate::grant::Grant;
use crate::net::Nets;
use crate::table::ActionId;
use crate::target::HostPattern;
use crate::window::LocalTime;

/// Who asks, as far as it decides which grants may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) now: Instant,
    /// `None`: asks for the app's next run.
    pub(crate) run: Option<RunId>,
    /// The widest permission that may be used; wider grants are as if absent.
    pub(crate) ceiling: Permission,
    /// The time by which windows are open; without it none is.
    pub(crate) local: Option<Moment>,
}

/// A moment, as windows look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    wall: WallTime,
    minute_of_week: u16,
}

impl From<LocalTime> for Moment {
    fn from(local: LocalTime) -> Self {
        Self { wall: local.wall, minute_of_week: local.minute_of_week() }
    }
}

/// A grant that covers the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) permission: Permission,
    /// Whether it holds within a window only.
    windowed: bool,
    pub(crate) expires: Option<Instant>,
    pub(crate) id: GrantId,
}

impl Choice {
    fn of(grant: &Grant) -> Self {
        let windowed = grant.window().is_some();
        Self { permission: grant.permission(), windowed, expires: grant.expires(), id: grant.id() }
    }

    /// Smaller is better: the wider permission, so that no single is burnt in vain; then what is not limited to a window,
    /// so that no schedule's budget is; then what holds longer; then the older grant.
    fn rank(&self) -> impl Ord + use<> {
        let expires = (self.expires.is_some(), Reverse(self.expires));
        (Reverse(self.permission), self.windowed, expires, self.id)
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }
}

/// The best grants found so far: one that holds, one that would hold had it not expired, and one that will hold again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pick {
    pub(crate) live: Option<Choice>,
    pub(crate) expired: Option<Choice>,
    /// With what it lacks now.
    pub(crate) shut: Option<(Choice, Reason)>,
}

impl Pick {
    /// Whether a grant of that permission could still be used in place of what was found. What comes after one that holds
    /// need not be looked at: a decision names it only when none holds.
    fn can_gain(&self, permission: Permission) -> bool {
        self.live.is_none_or(|live| live.permission <= permission)
    }

    /// The same for a grant that holds within a window.
    fn can_gain_windowed(&self) -> bool {
        self.live.is_none_or(|live| live.windowed || live.permission < Permission::Blanket)
    }

    fn offer(&mut self, choice: Choice, now: Instant) {
        self.offer_as(choice, choice.is_expired(now));
    }

    fn offer_as(&mut self, choice: Choice, is_expired: bool) {
        let best = if is_expired { &mut self.expired } else { &mut self.live };
        if best.is_none_or(|b| choice.rank() < b.rank()) {
            *best = Some(choice);
        }
    }

    fn offer_shut(&mut self, choice: Choice, reason: Reason) {
        if self.shut.is_none_or(|(best, _)| choice.rank() < best.rank()) {
            self.shut = Some((choice, reason));
        }
    }

    pub(crate) fn join(self, other: Self) -> Self {
        let better = |a: Option<Choice>, b: Option<Choice>| match (a, b) {
            (Some(a), Some(b)) => Some(if b.rank() < a.rank() { b } else { a }),
            (a, b) => a.or(b),
        };
        let mut joined = Self {
            live: better(self.live, other.live),
            expired: better(self.expired, other.expired),
            shut: self.shut,
        };
        other.shut.into_iter().for_each(|(choice, reason)| joined.offer_shut(choice, reason));
        joined
    }
}

/// The grants of one app for one action.
#[derive(Debug, Default)]
pub(crate) struct ActionIndex {
    all: Bucket,
    untargeted: Bucket,
    names: HashMap<DomainName, Ports, RandomState>,
    below: HashMap<DomainName, Ports, RandomState>,
    /// Bit n: some wildcard's domain has n labels.
    depths: u128,
    nets: Nets<Ports>,
    /// All grants for addresses, whichever.
    addressed: Ports,
    /// Telephone numbers.
    numbers: HashMap<Arc<str>, Bucket, RandomState>,
}

impl ActionIndex {
    fn insert(&mut self, grant: &Grant) {
        self.all.insert(grant);
        let Some(target) = grant.target() else { return self.untargeted.insert(grant) };
        let port = target.port.map(std::num::NonZeroU16::get);
        match &target.host {
            HostPattern::Below(domain) => {
                self.depths |= 1u128.checked_shl(labels(domain.as_str())).unwrap_or(0);
                self.below.entry(domain.clone()).or_default().insert(port, grant);
            }
            HostPattern::Name(name) => self.names.entry(name.clone()).or_default().insert(port, grant),
            HostPattern::Network(net) => {
                self.nets.entry(*net).insert(port, grant);
                self.addressed.insert(port, grant);
            }
            HostPattern::Number(number) => self.numbers.entry(Arc::clone(number)).or_default().insert(grant),
        }
    }

    fn arrange(&mut self) {
        self.all.arrange();
        self.untargeted.arrange();
        self.addressed.arrange();
        let named = self.names.values_mut().chain(self.below.values_mut());
        named.for_each(Ports::arrange);
        self.nets.arrange(Ports::arrange);
        self.numbers.values_mut().for_each(Bucket::arrange);
    }

    /// The best grant whatever its target.
    pub(crate) fn whatever(&self, asker: &Asker) -> Pick {
        let mut pick = Pick::default();
        self.all.offer(asker, &mut pick);
        pick
    }

    /// The best grant without a target.
    pub(crate) fn untargeted(&self, asker: &Asker) -> Pick {
        let mut pick = Pick::default();
        self.untargeted.offer(asker, &mut pick);
        pick
    }

    /// The best grant for the name itself, a domain above it, or without a target.
    pub(crate) fn for_name(&self, name: &DomainName, port: u16, asker: &Asker) -> Pick {
        let mut pick = self.untargeted(asker);
        if let Some(ports) = self.names.get(name) {
            ports.offer(port, asker, &mut pick);
        }
        if self.depths == 0 {
            return pick;
        }
        let (mut rest, mut depth) = (name.as_str(), labels(name.as_str()));
        while let Some((_, above)) = rest.split_once('.') {
            (rest, depth) = (above, depth.saturating_sub(1));
            if self.depths.checked_shr(depth).is_some_and(|d| d & 1 == 1)
                && let Some(ports) = self.below.get(above)
            {
                ports.offer(port, asker, &mut pick);
            }
        }
        pick
    }

    /// The best grant for a telephone number. One without a target covers any number, but not for a single action: what is
    /// permitted singly is permitted with the number before the user's eyes.
    pub(crate) fn for_number(&self, number: &str, asker: &Asker) -> Pick {
        let mut pick = Pick::default();
        self.untargeted.offer_lasting(asker, &mut pick);
        if let Some(bucket) = self.numbers.get(number) {
            bucket.offer(asker, &mut pick);
        }
        pick
    }

    /// The best grant for addresses whose network contains all of these.
    pub(crate) fn for_addresses(&self, addresses: &[IpAddr], port: u16, asker: &Asker) -> Pick {
        let mut pick = Pick::default();
        for ports in self.nets.containing(addresses, shortest_naming_prefix) {
            ports.offer(port, asker, &mut pick);
        }
        pick
    }

    /// The best grant for addresses that a name, not resolved yet, might turn out to have.
    pub(crate) fn for_some_address(&self, port: u16, asker: &Asker) -> Pick {
        let mut pick = Pick::default();
        self.addressed.offer(port, asker, &mut pick);
        pick
    }
}

/// How many labels a name has, 1 to 127.
fn labels(name: &str) -> u32 {
    name.bytes().fold(1u32, |n, b| n.saturating_add(u32::from(b == b'.')))
}

/// The grants of one app.
#[derive(Debug, Default)]
pub(crate) struct AppGrants {
    /// By id.
    grants: Vec<Arc<Grant>>,
    /// By action.
    actions: Vec<(ActionId, ActionIndex)>,
}

impl AppGrants {
    /// Arranges the grants of one app; of two with the same id the later one counts.
    pub(crate) fn build(mut grants: Vec<Arc<Grant>>) -> Self {
        grants.reverse();
        grants.sort_by_key(|grant| grant.id());
        grants.dedup_by_key(|grant| grant.id());
        let mut actions: Vec<(ActionId, ActionIndex)> = Vec::new();
        for grant in &grants {
            let at = actions.binary_search_by_key(&grant.action(), |(action, _)| *action);
            let at = at.unwrap_or_else(|at| {
                actions.insert(at, (grant.action(), ActionIndex::default()));
                at
            });
            actions.get_mut(at).into_iter().for_each(|(_, index)| index.insert(grant));
        }
        actions.iter_mut().for_each(|(_, index)| index.arrange());
        Self { grants, actions }
    }

    pub(crate) fn grants(&self) -> &[Arc<Grant>] {
        &self.grants
    }

    /// The ids of the grants, in order.
    pub(crate) fn ids(&self) -> Vec<GrantId> {
        self.grants.iter().map(|grant| grant.id()).collect()
    }

    pub(crate) fn grant(&self, id: GrantId) -> Option<&Arc<Grant>> {
        let at = self.grants.binary_search_by_key(&id, |grant| grant.id()).ok()?;
        self.grants.get(at)
    }

    pub(crate) fn action(&self, action: ActionId) -> Option<&ActionIndex> {
        let at = self.actions.binary_search_by_key(&action, |(a, _)| *a).ok()?;
        self.actions.get(at).map(|(_, index)| index)
    }
}
