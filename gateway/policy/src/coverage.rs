//! What one grant says to one question, looked at by itself: [`mod@crate::explain`] shows it for each, and the service asks
//! it of the one grant that a flow was opened under, when the policy has changed or time has passed since.

use std::net::IpAddr;

use mexe_model::{GrantId, Instant, Permission, Reason};

use crate::address::shortest_naming_prefix;
use crate::decision::{AddressMask, Facts, Target};
use crate::grant::{Binding, Grant, Standing};
use crate::policy::{Policy, TokenRuns};
use crate::target::{HostPattern, TargetPattern};
use crate::window::Opening;

/// What a grant lacks, as a code and for a person.
pub(crate) type Lack = Option<(Reason, &'static str)>;

/// Which use of a grant is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Performance {
    /// One that is still to be counted.
    Next,
    /// One that was counted already: what has been used up since does not concern it.
    Counted,
}

impl Policy {
    /// Whether what this grant permitted is still permitted by it, and at which addresses. That the grant has been spent,
    /// or that its budget has been used up, is no reason against what was counted before.
    ///
    /// # Errors
    /// What has become of it: any reason of [`Policy::decide`], or [`Reason::PermissionRevoked`] when it is gone.
    pub fn still_covers(
        &self,
        now: Instant,
        facts: &Facts<'_>,
        grant: GrantId,
    ) -> Result<AddressMask, Reason> {
        if let Some(reason) = self.forbidden(facts) {
            return Err(reason);
        }
        let grant = self.index(facts.app).and_then(|app| app.grant(grant));
        let grant = grant.filter(|grant| grant.action() == facts.action).ok_or(Reason::PermissionRevoked)?;
        match lacks(self, now, facts, grant, Performance::Counted) {
            Some((reason, _)) => Err(reason),
            None => Ok(AddressMask(self.covered(facts, grant))),
        }
    }

    /// Of a question that the grant covers, the addresses that it covers.
    fn covered(&self, facts: &Facts<'_>, grant: &Grant) -> u64 {
        match &facts.target {
            Target::Address { .. } => 1,
            Target::Resolved { addresses, port, .. } => {
                let seen = self.surroundings().candidates(addresses, *port);
                let by_address = grant.target().is_some_and(TargetPattern::is_address);
                if by_address { seen.every } else { seen.public }
            }
            Target::Name { .. } | Target::None | Target::Number(_) => 0,
        }
    }
}

pub(crate) fn standing(facts: &Facts<'_>) -> Standing {
    Standing { trust: facts.trust, groups: facts.groups, legacy: facts.legacy }
}

/// What the grant lacks to cover the question.
pub(crate) fn lacks(
    policy: &Policy,
    now: Instant,
    facts: &Facts<'_>,
    grant: &Grant,
    performance: Performance,
) -> Lack {
    lacks_use(policy, now, facts, grant, performance).or_else(|| lacks_target(policy, facts, grant)).or_else(
        || {
            let over = opening(policy, now, grant) == Some(Opening::Over);
            (over || grant.is_expired(now))
                .then_some((Reason::PermissionExpired, Reason::PermissionExpired.says()))
        },
    )
}

/// What the grant's window is now; none without a window or a clock.
fn opening(policy: &Policy, now: Instant, grant: &Grant) -> Option<Opening> {
    grant.window().zip(policy.clock()).map(|(window, clock)| window.at(clock.read(now)))
}

/// Why the grant cannot be used by this asker, whatever the target.
fn lacks_use(
    policy: &Policy,
    now: Instant,
    facts: &Facts<'_>,
    grant: &Grant,
    performance: Performance,
) -> Lack {
    let maximum = match standing(facts).offer(facts.action, policy.table()) {
        Ok((maximum, _)) => maximum,
        Err(reason) => return Some((reason, reason.says())),
    };
    if grant.permission() > maximum {
        let by_table = policy.table().cell(facts.action, facts.trust).maximum;
        let says = match by_table.is_some_and(|by_table| grant.permission() <= by_table) {
            true => "an app signed with legacy algorithms uses no blanket permission",
            false => Reason::PermissionAboveMaximum.says(),
        };
        return Some((Reason::PermissionAboveMaximum, says));
    }
    let by_token = facts.is_by_token();
    if by_token && policy.settings().token_runs == TokenRuns::Refuse {
        return Some((Reason::TokenRunRefused, Reason::TokenRunRefused.says()));
    }
    if grant.permission() > policy.ceiling(maximum, by_token, facts.legacy) {
        return Some((Reason::TokenRunRefused, "a run by token uses no blanket permission"));
    }
    if grant.is_spent() && performance == Performance::Next {
        return Some((Reason::PermissionMissing, "it was for a single action and has been used"));
    }
    if grant.window().is_some() {
        match opening(policy, now, grant) {
            None => {
                return Some((
                    Reason::PermissionMissing,
                    "it holds at some hours, and the clock is not known",
                ));
            }
            Some(Opening::Closed) => return Some((Reason::OutsideHours, "it holds at other hours")),
            Some(Opening::Open)
                if grant.is_used_up() && !grant.is_expired(now) && performance == Performance::Next =>
            {
                return Some((Reason::BudgetUsedUp, Reason::BudgetUsedUp.says()));
            }
            Some(Opening::Open | Opening::Over) => {}
        }
    }
    match (grant.binding(), facts.run) {
        (Some(Binding::Pending), Some(_)) => {
            Some((Reason::PermissionMissing, "it waits for the app's next run"))
        }
        (Some(Binding::Runs(_)), None) => {
            Some((Reason::PermissionMissing, "it belongs to a run that is live already"))
        }
        (Some(Binding::Runs(runs)), Some(run)) if !runs.contains(&run.id) => {
            Some((Reason::PermissionMissing, "it belongs to another run"))
        }
        _ => None,
    }
}

/// Why the grant does not cover this target.
fn lacks_target(policy: &Policy, facts: &Facts<'_>, grant: &Grant) -> Lack {
    const ELSEWHERE: Lack = Some((Reason::TargetOutOfScope, Reason::TargetOutOfScope.says()));
    const BY_NAME: Lack =
        Some((Reason::TargetOutOfScope, "a permission for names does not cover a request by address"));
    const SOME: Lack = Some((Reason::TargetOutOfScope, "it does not cover all addresses of the name"));
    const INWARD: Lack = Some((Reason::AddressNotPublic, Reason::AddressNotPublic.says()));
    const OWN: Lack = Some((Reason::OwnAddress, Reason::OwnAddress.says()));
    let here = policy.surroundings();
    let name_fits = |name: &str| match grant.target().map(|t| &t.host) {
        None => true,
        Some(HostPattern::Name(own)) => own.as_str() == name,
        Some(HostPattern::Below(domain)) => {
            name.strip_suffix(domain.as_str()).is_some_and(|sub| sub.ends_with('.'))
        }
        Some(HostPattern::Network(_) | HostPattern::Number(_)) => false,
    };
    let port_fits = |port: u16| grant.target().and_then(|t| t.port).is_none_or(|p| p.get() == port);
    let in_network = |address: &IpAddr| match grant.target().map(|t| &t.host) {
        Some(HostPattern::Network(net)) => {
            net.contains(address) && net.prefix_len() >= shortest_naming_prefix(*address)
        }
        _ => false,
    };
    let by_address = grant.target().is_some_and(TargetPattern::is_address);
    match &facts.target {
        Target::None if grant.target().is_none() => None,
        Target::None => ELSEWHERE,
        Target::Number(number) => match grant.target().map(|target| &target.host) {
            Some(HostPattern::Number(own)) if **own == **number => None,
            None if grant.permission() > Permission::SingleAction => None,
            None => Some((Reason::TargetOutOfScope, "a single action is permitted with its number")),
            Some(_) => ELSEWHERE,
        },
        Target::Name { port, .. } | Target::Address { port, .. } | Target::Resolved { port, .. }
            if !port_fits(*port) =>
        {
            ELSEWHERE
        }
        Target::Name { name, .. } if by_address || name_fits(name.as_str()) => None,
        Target::Name { .. } => ELSEWHERE,
        Target::Address { address, port } if here.is_listener(*address, *port) => OWN,
        Target::Address { address, .. } if by_address => {
            if in_network(address) {
                None
            } else {
                ELSEWHERE
            }
        }
        Target::Address { .. } if grant.target().is_some() => BY_NAME,
        Target::Address { address, .. } => {
            if here.is_public(*address) {
                None
            } else {
                INWARD
            }
        }
        Target::Resolved { addresses, port, .. } if by_address => {
            if addresses.iter().any(|a| here.is_listener(*a, *port)) {
                OWN
            } else if !addresses.is_empty() && addresses.iter().all(in_network) {
                None
            } else if addresses.iter().any(in_network) {
                SOME
            } else {
                ELSEWHERE
            }
        }
        Target::Resolved { name, .. } if !name_fits(name.as_str()) => ELSEWHERE,
        Target::Resolved { addresses, port, .. } => {
            let seen = here.candidates(addresses, *port);
            match seen.public {
                0 if seen.only_own => OWN,
                0 => INWARD,
                _ => None,
            }
        }
    }
}
