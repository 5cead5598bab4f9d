//! The traffic class that a flow gets on its way.

use std::sync::Arc;

use mexe_model::{GrantId, Host, Reason};
use mexe_policy::Target;
use mexe_qos::Profile;
use serde_json::{Value, json};

use super::{Asked, decide};
use crate::gate::Gate;
use crate::qos::{InUse, Wish, urgent};

/// What the flow gets on its way: a class above background only with the permission for it (S21).
pub(super) struct Quality {
    pub(super) profile: Arc<Profile>,
    pub(super) grant: Option<GrantId>,
    pub(super) single: bool,
    pub(super) denied: Option<Reason>,
    /// The stream that it has all this from.
    pub(super) stream: Option<InUse>,
}

impl Quality {
    const fn of(profile: Arc<Profile>) -> Self {
        Self { profile, grant: None, single: false, denied: None, stream: None }
    }

    /// What the journal says of it besides.
    pub(super) fn detail(&self) -> Option<Value> {
        match (&self.stream, self.denied) {
            (Some(stream), _) => Some(json!({ "stream": stream.id })),
            (None, denied) => denied.map(|reason| json!({ "qos": reason })),
        }
    }
}

pub(super) fn quality(gate: &Gate, asked: &Asked) -> Quality {
    let (profiles, config) = (gate.profiles(), gate.config());
    let profile = match &asked.wish {
        // The stream has its permission, and loses what it gives with it.
        Wish::Stream(stream) => {
            let mut stream = stream.clone();
            let profile = stream.shape().profile(&stream.id.to_string());
            return Quality { stream: Some(stream), ..Quality::of(profile.into()) };
        }
        Wish::Priority(priority) => urgent(*priority),
        Wish::Usual => {
            let host = match &asked.endpoint.host {
                Host::Name(name) => Some(name.as_str()),
                Host::Address(_) => None,
            };
            let wanted = asked.run.qos_profile.as_deref();
            let port = asked.endpoint.port;
            Arc::clone(profiles.select(wanted, host, port, &config.qos.default_profile))
        }
    };
    if !profile.class.needs_permission() {
        return Quality::of(profile);
    }
    match decide(gate, asked, gate.actions.qos, Target::None) {
        Ok(ticket) => Quality { grant: Some(ticket.grant), single: ticket.single, ..Quality::of(profile) },
        Err(_) => {
            let background = Arc::clone(profiles.background());
            Quality { denied: Some(Reason::QosNotPermitted), ..Quality::of(background) }
        }
    }
}
