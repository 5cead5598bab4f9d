//! What a stream gets: its traffic class, the marks that go with the class, the profile that an app asks for, the
//! attributes that a bearer is asked for, in the codings in which it is asked, and the exact meter that holds a stream to
//! its bit rate. Values in, values out: nothing here reads a clock, a file or a socket. Whether an app may have more than
//! background is not decided here but in `mexe-policy` (action `network.qos`).
//!
//! ```
//! use mexe_model::Instant;
//! use mexe_qos::{Grant, Marking, Meter, ProfileSet, TrafficClass};
//!
//! let profiles = ProfileSet::shipped();
//! let profile = profiles.select(Some("voice"), Some("sip.example"), 5061, "background");
//! assert_eq!(profile.class, TrafficClass::Conversational);
//! assert_eq!(Marking::from(profile.class).tos(), 0xb8);
//!
//! let start = Instant::from_nanos(0);
//! let mut meter = Meter::new(profile.max_bitrate_up.unwrap(), profile.burst, start);
//! assert_eq!(meter.ask(start, 20_000), Grant::Advance(16_000));
//! meter.refund(start, 400); // only 15 600 bytes went out
//! assert_eq!(meter.ask(start, 400), Grant::Advance(400));
//! ```

pub mod admission;
pub mod arbiter;
pub mod at_codes;
pub mod attributes;
mod bucket;
pub mod class;
pub mod dscp;
pub mod eps_ie;
pub mod extended_ie;
pub mod mapping;
pub mod meter;
pub mod negotiation;
pub mod network_profile;
pub mod profile;
pub mod qci;
pub mod release97;
mod rule;
mod steps;
pub mod threshold;
pub mod two_rate;
pub mod umts_ie;

pub use arbiter::{Arbiter, Band, Shares, StreamId, Terms};
pub use attributes::{Arp, Attributes, ErrorRatio, Rate, Thp};
pub use class::TrafficClass;
pub use mapping::Marking;
pub use meter::{Grant, Meter};
pub use network_profile::NetworkProfile;
pub use profile::{Profile, ProfileError, ProfileSet};
pub use qci::Qci;
pub use release97::Release97;
pub use rule::Rule;
pub use threshold::{LocalDate, Period, Tally, Threshold, When};
pub use two_rate::{Colour, Rates, TwoRate};
pub use umts_ie::UmtsQos;
