//! A decision with everything that led to it: the table's cell, each candidate address, each grant of the app for the
//! action and what it lacks. Goes through the grants one by one, so it is for people, not for flows; the verdict itself
//! is [`Policy::decide`]'s. Called by `mexegate explain` and the decisions API.

use std::net::IpAddr;

use mexe_model::{Action, ActionGroup, GrantId, Groups, Instant, Permission, Reason, Trust};
use serde::Serialize;

use crate::address::{AddressClass, classify};
use crate::categorisation::Placing;
use crate::coverage::{Performance, lacks, standing};
use crate::decision::{AddressMask, Decision, Facts, Target};
use crate::grant::Grant;
use crate::policy::Policy;
use crate::table::Provenance;
use crate::target::TargetPattern;

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
    let lacks = lacks(policy, now, facts, grant, Performance::Next);
    GrantExplanation {
        id: grant.id(),
        permission: grant.permission(),
        target: grant.target().cloned(),
        covers: lacks.is_none(),
        reason: lacks.map(|(reason, _)| reason),
        says: lacks.map_or("it covers the request", |(_, says)| says),
    }
}
