//! A flow of a stream whose class or rates change while it is open.

use mexe_model::{AppId, StreamId};
use mexe_qos::{Marking, Profile};
use mexe_relay::Limit;
use mexe_relay::relay::Relay;

use super::Books;
use crate::bearer::Bearer;
use crate::gate::Gate;
use crate::qos::InUse;
use crate::qos::shaping::Claimed;
use crate::upstream;

/// What holds a flow to what it may claim of its bearer, up and down.
pub(super) fn limits(
    (gate, app): (&Gate, &AppId),
    bearer: &Bearer,
    (profile, stream): (&Profile, Option<StreamId>),
    is_new: bool,
) -> [Option<Limit>; 2] {
    let (app, limit) = (gate.app_limits.group(app), gate.app_limits.of(app));
    let claimed = Claimed { profile, stream, app, limit, is_new };
    bearer.shaping().limits(claimed, &gate.metrics.scheduler_wait(profile.class))
}

impl Books {
    /// The stream has something else now: the flow is marked, held to and counted by that from here on.
    pub(super) fn tune(&mut self, moving: &mut Relay<'_>, stream: &mut InUse) {
        let ([up, down], marking) = self.retune(stream);
        moving.limit(up, down);
        if let Some(Err(error)) = moving.upstream().map(|socket| upstream::mark_again(socket, marking)) {
            tracing::warn!(%error, flow = %self.asked.flow, "an open connection could not be marked anew");
        }
    }

    /// The same for a door that moves the bytes itself: what holds the flow from here on, and how it is marked.
    pub fn retune(&mut self, stream: &mut InUse) -> ([Option<Limit>; 2], Marking) {
        let shape = stream.shape();
        let profile = shape.profile(&stream.id.to_string());
        let of = (&*self.gate, &self.asked.run.app);
        let limits = limits(of, &self.bearer, (&profile, Some(stream.id)), false);
        if self.profile.class != shape.class {
            let (trust, ingress) = (self.asked.run.trust, self.asked.ingress);
            let series = self.gate.metrics.flow_of_class(trust, shape.class, ingress);
            self.gate.flows.reclass(self.asked.flow, shape.class, series, &self.gate.accounts);
        }
        self.profile = profile.into();
        (limits, Marking::from(shape.class))
    }
}
