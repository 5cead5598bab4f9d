//! A flow of a stream whose class or rates change while it is open.

use mexe_qos::Marking;
use mexe_relay::Limit;
use mexe_relay::relay::Relay;

use super::Books;
use crate::gate::Gate;
use crate::qos::InUse;
use crate::qos::shaping::Claimed;
use crate::upstream;

/// What holds a flow to what it may claim, up and down.
pub(super) fn limits(gate: &Gate, claimed: Claimed<'_>) -> [Option<Limit>; 2] {
    gate.shaping.limits(claimed, &gate.metrics.scheduler_wait(claimed.profile.class))
}

impl Books {
    /// The stream has something else now: the flow is marked, held to and counted by that from here on.
    pub(super) fn tune(&mut self, moving: &mut Relay<'_>, stream: &mut InUse) {
        let shape = stream.shape();
        let profile = shape.profile(&stream.id.to_string());
        let [up, down] = limits(&self.gate, Claimed { profile: &profile, is_admitted: true, is_new: false });
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
