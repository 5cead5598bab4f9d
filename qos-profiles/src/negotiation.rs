//! Negotiation: what a stream gets of what it asks for, and where each value comes from. Values in, values out. Called when
//! a stream is asked for or changed, and by `explain`.
//!
//! Two kinds of sources, in this order of precedence: what *caps* (the subscription and what the network has negotiated,
//! then the policy of the operator and of the user), and what *wishes* (the app's request, then the profile, then the
//! default of the class). The first wish that says something about an attribute gives the value, and every cap is put on
//! it. Nothing is refused here: what is out of range is brought into range, and says why.

mod draft;
mod request;
#[cfg(test)]
mod tests;

use crate::attributes::{ErroneousSdus, MaxSdu, PriorityLevel, TransferDelay};
use crate::{Arp, Attributes, ErrorRatio, Profile, Rate, Thp, TrafficClass};

use self::draft::Draft;

pub use self::request::{Request, Why};

/// Where a value comes from. The first in this list has the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// What the bearer can carry at all, as the subscription or the configuration says.
    Subscription,
    /// What the network has granted for the bearer.
    Network,
    /// The operator's policy on this device.
    Operator,
    /// The user's permission, or that there is none.
    User,
    /// The app's own request.
    App,
    /// The profile that was asked for or selected.
    Profile,
    /// The default of the traffic class.
    Class,
}

impl Source {
    /// All sources; the first has the last word.
    pub const ALL: [Self; 7] = [
        Self::Subscription,
        Self::Network,
        Self::Operator,
        Self::User,
        Self::App,
        Self::Profile,
        Self::Class,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscription => "subscription",
            Self::Network => "network",
            Self::Operator => "operator",
            Self::User => "user",
            Self::App => "app",
            Self::Profile => "profile",
            Self::Class => "class",
        }
    }
}

/// The most that one source lets a stream have; `None` where it does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// The best class.
    pub class: Option<TrafficClass>,
    /// The highest maximum towards the network.
    pub max_bitrate_up: Option<Rate>,
    /// The highest maximum from the network.
    pub max_bitrate_down: Option<Rate>,
    /// The highest guarantee towards the network.
    pub guaranteed_bitrate_up: Option<Rate>,
    /// The highest guarantee from the network.
    pub guaranteed_bitrate_down: Option<Rate>,
    /// The shortest transfer delay.
    pub transfer_delay: Option<TransferDelay>,
    /// The most important priority level.
    pub priority_level: Option<PriorityLevel>,
}

impl Most {
    /// Nothing above background: what a stream gets without permission, or without a guarantee that the bearer keeps.
    pub const BEST_EFFORT: Self = Self {
        class: Some(TrafficClass::Background),
        max_bitrate_up: None,
        max_bitrate_down: None,
        guaranteed_bitrate_up: None,
        guaranteed_bitrate_down: None,
        transfer_delay: None,
        priority_level: None,
    };
}

/// One attribute of what is granted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Given {
    /// The attribute, by the name of its field in [`Attributes`].
    pub attribute: &'static str,
    /// What is granted, as text; `None` when the attribute fell away.
    pub value: Option<String>,
    /// Who had the last word.
    pub source: Source,
    /// What was asked for, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Why it is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// What a stream is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The values. Only those that mean something to the class.
    pub attributes: Attributes,
    /// Where each comes from, in the order of the fields.
    pub provenance: Vec<Given>,
}

impl Granted {
    /// Where that attribute's value comes from.
    pub fn of(&self, attribute: &str) -> Option<&Given> {
        self.provenance.iter().find(|given| given.attribute == attribute)
    }
}

/// Negotiates. `request` is the app's, `profile` what it named or what was selected for it. Among the caps the order of
/// [`Source`] decides who is named when two of them say the same; the order in the slice does not matter.
pub fn negotiate(caps: &[(Source, Most)], request: &Request, profile: Option<&Profile>) -> Granted {
    let mut caps = caps.to_vec();
    caps.sort_by_key(|(source, _)| *source);
    let (asked, adjusted) = request.in_range();
    let mut wishes = vec![(Source::App, asked)];
    wishes.extend(profile.map(|profile| (Source::Profile, profile.attributes())));
    Draft::new(caps, wishes, adjusted).finish()
}

/// What is usual for a class, where nobody says anything. The priority levels, delays and packet sizes are this gate's
/// own choice; no network has to agree. A stream that says nothing may displace nobody and gives way to all.
pub(crate) const fn default_of(class: TrafficClass) -> Attributes {
    let (level, delay, ratio) = match class {
        TrafficClass::Conversational => (10, TransferDelay::new(150), ErrorRatio::of(1, 2)),
        TrafficClass::Streaming => (11, TransferDelay::new(300), ErrorRatio::of(1, 3)),
        TrafficClass::Interactive => (12, None, ErrorRatio::of(1, 4)),
        TrafficClass::Background => (15, None, ErrorRatio::of(1, 4)),
    };
    let arp = match PriorityLevel::new(level) {
        Some(level) => Some(Arp { level, pre_emption_capability: false, pre_emption_vulnerability: true }),
        None => None,
    };
    let traffic_handling_priority = match class {
        TrafficClass::Interactive => Some(Thp::THIRD),
        _ => None,
    };
    Attributes {
        class: Some(class),
        max_bitrate_up: None,
        max_bitrate_down: None,
        guaranteed_bitrate_up: None,
        guaranteed_bitrate_down: None,
        delivery_order: Some(false),
        max_sdu: MaxSdu::new(1500),
        sdu_error_ratio: Some(ratio),
        residual_ber: Some(ErrorRatio::of(1, 5)),
        erroneous_sdus: Some(ErroneousSdus::No),
        transfer_delay: delay,
        traffic_handling_priority,
        arp,
        source_statistics: crate::attributes::SourceStatistics::Unknown,
        signalling: false,
    }
}
