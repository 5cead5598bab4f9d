//! The attributes of a bearer service as 3GPP TS 23.107 names them: what can be asked of a bearer, and what a bearer says
//! that it gives. Plain values; no coding (see `umts_ie` and `at_codes`) and no decision about who may have what.
//! Called wherever quality is asked for, negotiated or shown.
//!
//! An attribute that is `None` is *subscribed*: a request leaves it to the subscription, an answer does not say.

mod check;
mod ratio;
mod value;

use mexe_model::BitRate;

pub(crate) use value::number;

pub use check::{Finding, Weight};
pub use ratio::{ErrorRatio, ErrorRatioError};
pub use value::{
    Arp, ErroneousSdus, MaxSdu, OutOfRange, PriorityLevel, Rate, SourceStatistics, Thp, TransferDelay,
};

use crate::TrafficClass;

/// The attributes of one bearer service. All of them subscribed by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Attributes {
    /// The traffic class.
    pub class: Option<TrafficClass>,
    /// The most that may be sent towards the network.
    pub max_bitrate_up: Option<Rate>,
    /// The most that may come from the network.
    pub max_bitrate_down: Option<Rate>,
    /// What is kept free towards the network, whoever else sends.
    pub guaranteed_bitrate_up: Option<Rate>,
    /// What is kept free from the network.
    pub guaranteed_bitrate_down: Option<Rate>,
    /// Whether packets arrive in the order in which they were sent.
    pub delivery_order: Option<bool>,
    /// The largest packet.
    pub max_sdu: Option<MaxSdu>,
    /// How many packets may be lost or found broken.
    pub sdu_error_ratio: Option<ErrorRatio>,
    /// How many bits may be wrong in what is delivered.
    pub residual_ber: Option<ErrorRatio>,
    /// What happens to packets that are found broken.
    pub erroneous_sdus: Option<ErroneousSdus>,
    /// The delay that 95 of 100 delivered packets stay below.
    pub transfer_delay: Option<TransferDelay>,
    /// Which of several interactive bearers goes first.
    pub traffic_handling_priority: Option<Thp>,
    /// Who gets in when there is no room for all. Not in what a device asks for: a part of the subscription.
    pub arp: Option<Arp>,
    /// Whether what is sent is speech. Never subscribed.
    pub source_statistics: SourceStatistics,
    /// Whether the bearer carries signalling, such as that of calls. Never subscribed.
    pub signalling: bool,
}

impl Attributes {
    /// Whether the class is one that keeps a guaranteed bit rate and a transfer delay: conversational or streaming. A
    /// subscribed class may be.
    pub const fn may_be_real_time(&self) -> bool {
        matches!(self.class, None | Some(TrafficClass::Conversational | TrafficClass::Streaming))
    }

    /// The maximum upwards, where there is one above zero.
    pub fn max_up(&self) -> Option<BitRate> {
        self.max_bitrate_up.and_then(Rate::bit_rate)
    }

    /// The maximum downwards, where there is one above zero.
    pub fn max_down(&self) -> Option<BitRate> {
        self.max_bitrate_down.and_then(Rate::bit_rate)
    }

    /// What is guaranteed upwards in effect: `None` where nothing is, or where TS 24.008 has it ignored.
    pub fn guaranteed_up(&self) -> Option<BitRate> {
        self.effective().guaranteed_bitrate_up.and_then(Rate::bit_rate)
    }

    /// What is guaranteed downwards in effect: `None` where nothing is, or where TS 24.008 has it ignored.
    pub fn guaranteed_down(&self) -> Option<BitRate> {
        self.effective().guaranteed_bitrate_down.and_then(Rate::bit_rate)
    }
}
