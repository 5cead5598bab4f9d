//! A flow of a stream whose class or rates change while it is open.

use mexe_qos::{Marking, Profile};
use mexe_relay::Limit;
use mexe_relay::relay::Relay;

use super::Books;
use crate::gate::Gate;
use crate::qos::InUse;
use crate::qos::shaping::Claimed;
use crate::upstream;

/// What holds a flow to its profile's rates and to its share of the bearer, up and down.
pub(super) fn limits(gate: &Gate, profile: &Profile, is_admitted: bool) -> [Option<Limit>; 2] {
    gate.shaping.limits(Claimed { profile, is_admitted }, &gate.metrics.scheduler_wait(profile.class))
}

impl Books {
    /// The stream has something else now: the flow is marked, held to and counted by that from here on.
    pub(super) fn tune(&mut self, moving: &mut Relay<'_>, stream: &mut InUse) {
        let shape = stream.shape();
        let profile = shape.profile(&stream.id.to_string());
        let [up, down] = limits(&self.gate, &profile, true);
        moving.limit(up, down);
        let marking = Marking::from(shape.class);
        if let Some(Err(error)) = moving.upstream().map(|socket| upstream::mark_again(socket, marking)) {
            tracing::warn!(%error, flow = %self.asked.flow, "an open connection could not be marked anew");
        }
        if self.profile.class != shape.class {
            let (trust, ingress) = (self.asked.run.trust, self.asked.ingress);
            let series = self.gate.metrics.flow_of_class(trust, shape.class, ingress);
            self.gate.flows.reclass(self.asked.flow, shape.class, series, &self.gate.accounts);
        }
        self.profile = profile.into();
    }
}
