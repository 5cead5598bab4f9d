//! A bearer's capacity, shared by the flows that go over it: one arbiter for each direction, kept at what the bearer
//! carries now. Only a bearer that is configured is shared; without one each flow is held to its own maximum, the flows of
//! a stream to theirs together, and to nothing else.

use std::sync::Arc;
use std::time::Duration;

use mexe_model::{BitRate, StreamId};
use mexe_qos::arbiter::{Bundle, Group};
use mexe_qos::{Band, Meter, Profile, Shares, Terms};
use mexe_relay::{Limit, Shaping};
use prometheus::Histogram;

use super::limits::AppLimit;
use crate::bearer::Capacity;
use crate::clock;

/// The two directions of a bearer.
#[derive(Clone, Debug)]
pub struct Shared {
    directions: [Shaping; 2],
    /// Whether all flows are, or only those of a stream among each other.
    is_configured: bool,
}

/// What a flow is let have of a bearer.
#[derive(Clone, Copy, Debug)]
pub struct Claimed<'a> {
    /// Its class and rates.
    pub profile: &'a Profile,
    /// The stream that it is one of, with whose flows it has the rates together, and whose guarantee was admitted: a
    /// profile alone guarantees nothing.
    pub stream: Option<StreamId>,
    /// The app, whose flows may have a maximum together,
    pub app: Group,
    /// and that maximum.
    pub limit: AppLimit,
    /// Whether it begins: a change of what it has is no reason for another burst.
    pub is_new: bool,
}

impl Shared {
    /// Of a bearer that carries so much; nothing is shared where none is configured. With `is_paced` the kernel holds
    /// connections to it too.
    pub fn new(is_configured: bool, is_paced: bool, capacity: Capacity) -> Self {
        let shaping = |rate: Option<BitRate>| match (is_configured, is_paced) {
            (false, _) => Shaping::of_no_bearer(),
            (true, false) => Shaping::new(rate, Shares::default()),
            (true, true) => Shaping::paced(rate, Shares::default()),
        };
        Self { directions: [shaping(capacity.up), shaping(capacity.down)], is_configured }
    }

    /// The bearer carries something else from now on.
    pub fn set_capacity(&self, capacity: Capacity) {
        let [up, down] = &self.directions;
        up.set_capacity(capacity.up);
        down.set_capacity(capacity.down);
    }

    /// The flows of an app have that maximum together from now on. Without a configured bearer it holds for those that
    /// begin while there is one, and for streams.
    pub fn limit_app(&self, app: Group, limit: AppLimit) {
        let [up, down] = &self.directions;
        for (shaping, maximum) in [(up, limit.max_bitrate_up), (down, limit.max_bitrate_down)] {
            shaping.set_group(app, maximum, maximum.map_or(0, usual_burst));
        }
    }

    /// What it carries towards the device, if that is limited.
    pub fn down(&self) -> Option<BitRate> {
        let [_, down] = &self.directions;
        down.capacity()
    }

    /// What holds one more flow to its rates and to its share, up and down. `waits` is told how long it waited for a grant.
    pub fn limits(&self, claimed: Claimed<'_>, waits: &Histogram) -> [Option<Limit>; 2] {
        let Claimed { profile, stream, app, limit, is_new } = claimed;
        let maximum = [profile.max_bitrate_up, profile.max_bitrate_down];
        if !self.is_configured && stream.is_none() && limit == AppLimit::default() {
            let now = clock::now();
            return maximum.map(|rate| {
                let meter = Meter::new(rate?, burst(profile, rate?), now);
                Some(if is_new { meter } else { meter.spent() }.into())
            });
        }
        let priority = profile.traffic_handling_priority.map(|priority| priority.get());
        let band = Band::of(profile.class, priority, profile.signalling);
        let guaranteed = [profile.guaranteed_bitrate_up, profile.guaranteed_bitrate_down];
        let guaranteed = guaranteed.map(|rate| rate.filter(|_| stream.is_some()));
        let terms = |guaranteed, maximum: Option<BitRate>| {
            let burst = maximum.map_or(0, |rate| burst(profile, rate));
            let bundle = stream.map(|stream| Bundle(stream.0));
            Terms {
                guaranteed,
                maximum,
                burst,
                is_rested: is_new,
                group: Some(app),
                bundle,
                ..Terms::new(band)
            }
        };
        let join = |shaping: &Shaping, terms: Terms| {
            let waits = waits.clone();
            let told = move |waited: Duration| waits.observe(waited.as_secs_f64());
            Some(shaping.join(terms, Some(Arc::new(told))).into())
        };
        let ([up, down], [guaranteed_up, guaranteed_down], [max_up, max_down]) =
            (&self.directions, guaranteed, maximum);
        [join(up, terms(guaranteed_up, max_up)), join(down, terms(guaranteed_down, max_down))]
    }
}

/// How many bytes may move at once after a pause, in a direction of that rate: what the profile says, else a tenth of a second.
fn burst(profile: &Profile, rate: BitRate) -> u64 {
    let said = Some(profile.burst).filter(|burst| *burst > 0);
    said.map_or_else(|| usual_burst(rate), |burst| burst.clamp(Meter::MIN_BURST, Meter::MAX_BURST))
}

/// A tenth of a second.
fn usual_burst(rate: BitRate) -> u64 {
    (rate.get() / 80).clamp(Meter::MIN_BURST, Meter::MAX_BURST)
}

#[cfg(test)]
mod tests {
    use mexe_qos::TrafficClass;

    use super::*;

    #[test]
    fn a_burst_is_the_profiles_else_a_tenth_of_a_second_of_its_own_direction_and_always_a_packet() {
        let profile = |burst| Profile { burst, ..crate::qos::Shape::BEST_EFFORT.profile("one") };
        let of = |said, rate| burst(&profile(said), BitRate::bits_per_second(rate).unwrap());
        assert_eq!(profile(0).class, TrafficClass::Background);
        assert_eq!([of(0, 8_000_000), of(0, 64_000), of(16_000, 8_000_000)], [100_000, 1500, 16_000]);
    }
}
