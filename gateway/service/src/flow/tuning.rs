//! A flow of a stream whose class or rates change while it is open.

use mexe_model::BitRate;
use mexe_qos::{Marking, Meter, Profile};
use mexe_relay::relay::Relay;

use super::Books;
use crate::clock;
use crate::qos::InUse;
use crate::upstream;

/// What holds a flow to its profile's rates, up and down.
pub(super) fn meters(profile: &Profile) -> [Option<Meter>; 2] {
    let now = clock::now();
    let meter = |rate: BitRate| Meter::new(rate, profile.burst, now);
    [profile.max_bitrate_up.map(meter), profile.max_bitrate_down.map(meter)]
}

impl Books {
    /// The stream has something else now: the flow is marked, held to and counted by that from here on.
    pub(super) fn tune(&mut self, moving: &mut Relay<'_>, stream: &mut InUse) {
        let shape = stream.shape();
        let profile = shape.profile(&stream.id.to_string());
        let [up, down] = meters(&profile);
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
