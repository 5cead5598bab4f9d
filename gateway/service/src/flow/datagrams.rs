//! What is asked of a flow of datagrams beyond what is asked of a connection.

use std::net::SocketAddr;

use mexe_model::Reason;
use mexe_policy::{AddressClass, Ticket, classify};
use prometheus::IntCounter;

use super::no::No;
use super::{Asked, Books};
use crate::gate::Gate;

/// Passes on what was permitted, unless a datagram could do there what a connection cannot: reach many at once, or look to
/// the gate as if it came from an app. No grant changes that.
pub(super) fn fit(
    gate: &Gate,
    asked: &Asked,
    permitted: (Ticket, Vec<SocketAddr>),
) -> Result<(Ticket, Vec<SocketAddr>), No> {
    if asked.action != gate.actions.datagram {
        return Ok(permitted);
    }
    for address in &permitted.1 {
        let ip = address.ip().to_canonical();
        if matches!(classify(ip), AddressClass::Multicast | AddressClass::Broadcast) {
            return Err(Reason::AddressNotPublic.into());
        }
        if gate.associations.are_served_at(SocketAddr::new(ip, address.port())) {
            return Err(Reason::OwnAddress.into());
        }
    }
    Ok(permitted)
}

impl Books {
    /// The series of bytes of this flow's class that its meters do not let through, up and down.
    pub fn policed(&self) -> [IntCounter; 2] {
        ["up", "down"].map(|direction| self.gate.metrics.policed(self.profile.class, direction))
    }
}
