//! The last look before bytes move (S7).

use std::net::{IpAddr, SocketAddr};

use mexe_model::{GrantId, Host, Reason};
use mexe_policy::{Target, Ticket};
use mexe_relay::Lease;

use super::{Asked, decide};
use crate::clock;
use crate::gate::Gate;

/// The lease was registered before the connection was made, so whatever was cut since then has cancelled it. What ended
/// before that, a grant by its time above all, or what changed without a cut, is found here: the flow stays under the grant
/// that it was counted by, else under another that covers it and counts nothing, on the addresses as they were.
///
/// # Errors
/// Why it is not permitted any longer.
pub(super) fn confirm(
    gate: &Gate,
    asked: &Asked,
    ticket: &Ticket,
    addresses: &[SocketAddr],
    lease: &mut Lease,
) -> Result<(), Reason> {
    let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    let port = asked.endpoint.port;
    let target = match &asked.endpoint.host {
        Host::Name(name) => Target::Resolved { name, port, addresses: &ips },
        Host::Address(address) => Target::Address { address: *address, port },
    };
    loop {
        if let Some(reason) = lease.cancel_reason() {
            return Err(reason);
        }
        let policy = gate.policy();
        let now = clock::now();
        let keys = lease.handle().keys();
        if let Some(grant) = keys.qos_grant {
            policy.still_covers(now, &asked.run.wants(gate.actions.qos, Target::None), grant)?;
        }
        let present = keys.grant.unwrap_or(ticket.grant);
        let grant = match policy.still_covers(now, &asked.run.wants(asked.action, target), present) {
            Ok(covered) if covered.choose(&ips).count() == ips.len() => present,
            Ok(_) => another(gate, asked, ticket, target, &ips, Reason::PermissionRevoked)?,
            Err(reason) => another(gate, asked, ticket, target, &ips, reason)?,
        };
        if grant == present && lease.still_valid(policy.epoch()) {
            return Ok(());
        }
        // Under another grant only a look after this one finds a cut that came in between.
        lease.renew_under(policy.epoch(), Some(grant), keys.qos_grant);
    }
}

/// The grant that covers the flow in place of the one that does not any more, for `reason`.
fn another(
    gate: &Gate,
    asked: &Asked,
    ticket: &Ticket,
    target: Target<'_>,
    ips: &[IpAddr],
    reason: Reason,
) -> Result<GrantId, Reason> {
    // What is used up was counted for the one grant.
    let is_counted = |grant: GrantId, single: bool| single || gate.schedules.has(grant);
    if is_counted(ticket.grant, ticket.single) {
        return Err(reason);
    }
    let again = decide(gate, asked, asked.action, target).map_err(|no| no.reason())?;
    let covers = again.addresses.choose(ips).count() == ips.len();
    match covers && !is_counted(again.grant, again.single) {
        true => Ok(again.grant),
        false => Err(reason),
    }
}
