//! A decision with everything that led to it: the table's cell, each candidate address, each grant of the app for the
//! action and what it lacks. Goes through the grants one by one, so it is for people, not for flows; the verdict itself
//! is [`Policy::decide`]'s. Called by `mexegate explain` and the decisions API.

use std::net::IpAddr;

use mexe_model::{Action, ActionGroup, GrantId, Groups, Instant, Permission, Reason, Trust};
use serde::Serialize;

use crate::address::{AddressClass, classify, shortest_naming_prefix};
use crate::categorisation::Placing;
use crate::decision::{AddressMask, Decision, Facts, RunBinding, Target};
use crate::grant::{Binding, Grant, Standing};
use crate::policy::{Policy, TokenRuns};
use crate::table::Provenance;
use crate::target::{HostPattern, TargetPattern};
use crate::window::Opening;

/// What would be decided, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow`, `ask` or `deny`.
    pub decision: &'static str,
    /// Why not; for `ask`, why not as long as nobody answers.
    pub reason: Option<Reason>,
    /// What it rests on.
    pub rule: RuleExplanation,
    /// The candidate addresses, where the question has any.
    pub addresses: Vec<AddressExplanation>,
    /// The app's grants for the action, by id.
    pub grants: Vec<GrantExplanation>,
}

/// The row and cell of the security table, and the grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleExplanation {
    /// The action; none for an id that the table does not have.
    pub action: Option<Action>,
    /// The column.
    pub domain: Trust,
    /// The cell as the table writes it.
    pub cell: String,
    /// The widest permission that the user may give.
    pub maximum: Option<Permission>,
    /// The permission that is offered first.
    pub default: Option<Permission>,
    /// Where the cell comes from.
    pub provenance: Provenance,
    /// How an action that the configuration added came to its group; none for those of the table itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placing: Option<Placing>,
    /// The only action groups that the app's certificates leave to it; none when they restrict nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<&'static str>>,
    /// Whether its verdict rests on legacy algorithms, so that no permission outlives a run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
    /// Whether the action may cost money.
    pub chargeable: bool,
    /// The grant that covers the request.
    pub grant: Option<GrantId>,
    /// The grant that nearly does.
    pub near_miss: Option<NearMiss>,
}

/// A grant that nearly covers, and what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The grant.
    pub grant: GrantId,
    /// What it lacks.
    pub reason: Reason,
}

/// One candidate address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AddressExplanation {
    /// The address.
    pub address: IpAddr,
    /// What kind it is.
    pub class: AddressClass,
    /// Whether it is one of the device's own.
    pub device: bool,
    /// Whether a listener of the gate is there.
    pub listener: bool,
    /// Whether it may be connected to.
    pub allowed: bool,
}

/// One grant and what it says to the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantExplanation {
    /// The grant.
    pub id: GrantId,
    /// Its permission.
    pub permission: Permission,
    /// Its target; none for any global address.
    pub target: Option<TargetPattern>,
    /// Whether it covers the request.
    pub covers: bool,
    /// What it lacks, as a code.
    pub reason: Option<Reason>,
    /// The same for a person.
    pub says: &'static str,
}

/// Decides, and says why.
pub fn explain(policy: &Policy, now: Instant, facts: &Facts<'_>) -> Explanation {
    let decision = policy.decide(now, facts);
    let (word, reason, grant, near_miss, mask) = match decision {
        Decision::Allow(ticket) => ("allow", None, Some(ticket.grant), None, ticket.addresses),
        Decision::Ask(rule) => {
            ("ask", Some(rule.reason_unanswered()), None, rule.near_miss, AddressMask::default())
        }
        Decision::Refuse(reason, rule) => {
            ("deny", Some(reason), None, rule.near_miss, AddressMask::default())
        }
    };
    let cell = policy.table().cell(facts.action, facts.trust);
    let row = policy.table().row(facts.action);
    let offer = standing(facts).offer(facts.action, policy.table()).ok();
    let restricted = facts.groups != Groups::ALL;
    let rule = RuleExplanation {
        action: row.map(|row| row.action.clone()),
        domain: facts.trust,
        cell: cell.to_string(),
        maximum: offer.map(|(maximum, _)| maximum),
        default: offer.map(|(_, default)| default),
        provenance: cell.provenance.clone(),
        placing: row.and_then(|row| row.placing.as_deref().cloned()),
        groups: restricted.then(|| facts.groups.iter().map(ActionGroup::as_str).collect()),
        legacy: facts.legacy,
        chargeable: row.is_some_and(|row| row.chargeable),
        grant,
        near_miss: near_miss.map(|(grant, reason)| NearMiss { grant, reason }),
    };
    let grants = policy.grants_of(facts.app).iter().filter(|grant| grant.action() == facts.action);
    let grants = grants.map(|grant| explain_grant(policy, now, facts, grant)).collect();
    Explanation { decision: word, reason, rule, addresses: explain_addresses(policy, facts, mask), grants }
}

fn standing(facts: &Facts<'_>) -> Standing {
    Standing { trust: facts.trust, groups: facts.groups, legacy: facts.legacy }
}

fn explain_addresses(policy: &Policy, facts: &Facts<'_>, mask: AddressMask) -> Vec<AddressExplanation> {
    let (addresses, port): (&[IpAddr], u16) = match &facts.target {
        Target::Address { address, port } => (std::slice::from_ref(address), *port),
        Target::Resolved { addresses, port, .. } => (addresses, *port),
        Target::Name { .. } | Target::None | Target::Number(_) => (&[], 0),
    };
    let here = policy.surroundings();
    let one = |(index, address): (usize, &IpAddr)| AddressExplanation {
        address: *address,
        class: classify(*address),
        device: here.is_device(*address),
        listener: here.is_listener(*address, port),
        allowed: mask.contains(index),
    };
    addresses.iter().enumerate().map(one).collect()
}

fn explain_grant(policy: &Policy, now: Instant, facts: &Facts<'_>, grant: &Grant) -> GrantExplanation {
    let lacks =
        lacks_use(policy, now, facts, grant).or_else(|| lacks_target(policy, facts, grant)).or_else(|| {
            let over = opening(policy, now, grant) == Some(Opening::Over);
            (over || grant.is_expired(now))
                .then_some((Reason::PermissionExpired, Reason::PermissionExpired.says()))
        });
    GrantExplanation {
        id: grant.id(),
        permission: grant.permission(),
        target: grant.target().cloned(),
        covers: lacks.is_none(),
        reason: lacks.map(|(reason, _)| reason),
        says: lacks.map_or("it covers the request", |(_, says)| says),
    }
}

/// What the grant's window is now; none without a window or a clock.
fn opening(policy: &Policy, now: Instant, grant: &Grant) -> Option<Opening> {
    grant.window().zip(policy.clock()).map(|(window, clock)| window.at(clock.read(now)))
}

type Lack = Option<(Reason, &'static str)>;

/// Why the grant cannot be used by this asker, whatever the target.
fn lacks_use(policy: &Policy, now: Instant, facts: &Facts<'_>, grant: &Grant) -> Lack {
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
    let by_token = facts.run.is_some_and(|run| run.binding == RunBinding::Token);
    if by_token && policy.settings().token_runs == TokenRuns::Refuse {
        return Some((Reason::TokenRunRefused, Reason::TokenRunRefused.says()));
    }
    if grant.permission() > policy.ceiling(maximum, by_token, facts.legacy) {
        return Some((Reason::TokenRunRefused, "a run by token uses no blanket permission"));
    }
    if grant.is_spent() {
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
            Some(Opening::Open) if grant.is_used_up() && !grant.is_expired(now) => {
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
