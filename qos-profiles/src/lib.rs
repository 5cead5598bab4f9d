//! What a stream gets: its traffic class, the marks that go with the class, the profile that an app asks for, and the
//! exact meter that holds it to the profile's bit rate. Values in, values out: nothing here reads a clock, a file or a
//! socket. Whether an app may have more than background is not decided here but in `mexe-policy` (action `network.qos`).

pub mod class;
pub mod mapping;
pub mod meter;
pub mod profile;
mod rule;

pub use class::TrafficClass;
pub use mapping::Marking;
pub use meter::{Grant, Meter};
pub use profile::{Profile, ProfileError, ProfileSet};
pub use rule::Rule;
