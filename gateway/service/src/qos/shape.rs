//! What the flows of a stream get now, and how a flow comes to be one of a stream.

use std::sync::Arc;

use mexe_model::{BitRate, StreamId};
use mexe_qos::attributes::SourceStatistics;
use mexe_qos::{Attributes, Profile, Rate, Thp, TrafficClass};
use mexe_wire::priority::Priority;
use tokio::sync::watch;

/// What a stream has at this moment: all that whoever carries its bytes needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The class, and with it the marking.
    pub class: TrafficClass,
    /// Which of several interactive streams goes first.
    pub thp: Option<Thp>,
    /// What is kept free towards the network.
    pub guaranteed_up: Option<BitRate>,
    /// What is kept free from the network.
    pub guaranteed_down: Option<BitRate>,
    /// The most towards the network.
    pub max_up: Option<BitRate>,
    /// The most from the network.
    pub max_down: Option<BitRate>,
    /// How many bytes may move at once after a pause, each way; 0 is what is usual for the rate.
    pub burst: u64,
}

impl Shape {
    /// What a stream has that has nothing: background, no guarantee, no maximum.
    pub const BEST_EFFORT: Self = Self {
        class: TrafficClass::Background,
        thp: None,
        guaranteed_up: None,
        guaranteed_down: None,
        max_up: None,
        max_down: None,
        burst: 0,
    };

    /// Of these attributes; `burst` is what the profile says.
    pub fn of(attributes: &Attributes, burst: Option<u64>) -> Self {
        let rate = |rate: Option<Rate>| rate.and_then(Rate::bit_rate);
        let (max_up, max_down) = (rate(attributes.max_bitrate_up), rate(attributes.max_bitrate_down));
        Self {
            class: attributes.class.unwrap_or(TrafficClass::Background),
            thp: attributes.traffic_handling_priority,
            guaranteed_up: attributes.guaranteed_up(),
            guaranteed_down: attributes.guaranteed_down(),
            max_up,
            max_down,
            burst: burst.unwrap_or(0),
        }
    }

    /// The same as a profile, for what opens flows by one.
    pub fn profile(&self, name: &str) -> Profile {
        Profile {
            name: name.into(),
            description: String::new(),
            class: self.class,
            max_bitrate_up: self.max_up,
            max_bitrate_down: self.max_down,
            burst: self.burst,
            guaranteed_bitrate_up: self.guaranteed_up,
            guaranteed_bitrate_down: self.guaranteed_down,
            traffic_handling_priority: self.thp,
            transfer_delay: None,
            max_sdu: None,
            sdu_error_ratio: None,
            residual_ber: None,
            delivery_order: None,
            erroneous_sdus: None,
            arp: None,
            source_statistics: SourceStatistics::Unknown,
            signalling: false,
            rules: Vec::new(),
        }
    }
}

/// A stream that a flow uses. Holds nothing open: when the stream is gone, its last shape is best effort.
#[derive(Clone, Debug)]
pub struct InUse {
    /// Which one.
    pub id: StreamId,
    shape: watch::Receiver<Shape>,
}

impl InUse {
    pub(super) const fn new(id: StreamId, shape: watch::Receiver<Shape>) -> Self {
        Self { id, shape }
    }

    /// What it has now. From here on [`InUse::changed`] waits for the next change.
    pub fn shape(&mut self) -> Shape {
        *self.shape.borrow_and_update()
    }

    /// Completes when it has something else than [`InUse::shape`] said last; never once it is gone. Cancel safe.
    pub async fn changed(&mut self) {
        if self.shape.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a connection says about the quality that it is to have.
#[derive(Clone, Debug, Default)]
pub enum Wish {
    /// Nothing: the profile decides.
    #[default]
    Usual,
    /// It is one of a stream.
    Stream(InUse),
    /// It is interactive, with that priority (RFC 9218).
    Priority(Priority),
}

impl Wish {
    /// The stream, when it names one.
    pub const fn stream(&self) -> Option<&InUse> {
        match self {
            Self::Stream(stream) => Some(stream),
            _ => None,
        }
    }
}

/// What a flow gets that says how urgent it is and names no stream: background for urgency 7, as RFC 9218 means it, else
/// interactive, the more urgent the higher its handling priority. What is used while it arrives (`i`) can wait a little.
pub fn urgent(priority: Priority) -> Arc<Profile> {
    let thp = match (priority.urgency, priority.incremental) {
        (7.., _) => None,
        (0..=1, false) => Some(Thp::FIRST),
        (0..=1, true) | (2..=3, false) => Some(Thp::SECOND),
        _ => Some(Thp::THIRD),
    };
    let class = if thp.is_some() { TrafficClass::Interactive } else { TrafficClass::Background };
    Arc::new(Shape { class, thp, ..Shape::BEST_EFFORT }.profile("priority"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_urgent_goes_first_and_urgency_7_is_background() {
        let of = |urgency, incremental| {
            let profile = urgent(Priority { urgency, incremental });
            (profile.class, profile.traffic_handling_priority.map(Thp::get))
        };
        let plain: Vec<_> = (0..8).map(|urgency| of(urgency, false)).collect();
        let interactive = |thp| (TrafficClass::Interactive, Some(thp));
        let expected = [1, 1, 2, 2, 3, 3, 3].map(interactive).to_vec();
        assert_eq!(plain, [expected, vec![(TrafficClass::Background, None)]].concat());
        let spread = [0, 3, 6].map(|urgency| of(urgency, true));
        assert_eq!(spread, [2, 3, 3].map(interactive));
    }
}
