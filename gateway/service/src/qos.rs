//! Quality of service of streams (TS 23.057: QoS streams): what an app asked for by name, what it was granted, and what
//! its flows get of it. Crate mexe-qos negotiates and admits; here are the registry (`streams`), the way from a request
//! to a stream ([`ask`]), what caps a stream ([`caps()`]), what the network says to it (`asking`, [`network`]), and what
//! becomes of it when a right or the room ends (`ends`).
//!
//! What a stream has at this moment is its [`Shape`], and everybody who carries its bytes watches that one value: "the
//! class, the guarantee and the maximum have changed" is one new value and nothing else.

pub mod ask;
mod asking;
mod caps;
mod ends;
pub mod limits;
pub mod network;
mod shape;
pub mod shaping;
mod streams;

pub use self::caps::{caps, profile_of, reservable};
pub use self::ends::capacity_changed;
pub use self::shape::{InUse, Shape, Wish, urgent};
pub use self::streams::{Owner, Streams};
