//! The traffic class that a flow gets on its way.

use std::sync::Arc;

use mexe_model::{GrantId, Host, Reason};
use mexe_policy::Target;
use mexe_qos::Profile;

use super::{Asked, decide};
use crate::gate::Gate;

/// What the flow gets on its way: a class above background only with the permission for it (S21).
pub(super) struct Quality {
    pub(super) profile: Arc<Profile>,
    pub(super) grant: Option<GrantId>,
    pub(super) single: bool,
    pub(super) denied: Option<Reason>,
}

pub(super) fn quality(gate: &Gate, asked: &Asked) -> Quality {
    let (profiles, config) = (gate.profiles(), gate.config());
    let host = match &asked.endpoint.host {
        Host::Name(name) => Some(name.as_str()),
        Host::Address(_) => None,
    };
    let wanted = asked.run.qos_profile.as_deref();
    let profile = profiles.select(wanted, host, asked.endpoint.port, &config.qos.default_profile);
    if !profile.class.needs_permission() {
        return Quality { profile: Arc::clone(profile), grant: None, single: false, denied: None };
    }
    match decide(gate, asked, gate.actions.qos, Target::None) {
        Ok(ticket) => Quality {
            profile: Arc::clone(profile),
            grant: Some(ticket.grant),
            single: ticket.single,
            denied: None,
        },
        Err(_) => Quality {
            profile: Arc::clone(profiles.background()),
            grant: None,
            single: false,
            denied: Some(Reason::QosNotPermitted),
        },
    }
}
