//! The rig: the world around a gate under test, for tests that look from outside: servers, a resolver, a network of its
//! own, curl, and what /proc says of a process. Everything is a process or a thread that ends with its value. Nothing
//! here knows the inside of the gate.

pub mod binary;
pub mod cli;
pub mod curl;
pub mod metrics;
pub mod origin;
pub mod ports;
pub mod proc;
pub mod resolver;
pub mod wait;
pub mod world;

pub use cli::Output;
pub use curl::Reply;
pub use origin::Origin;
pub use resolver::Resolver;
pub use world::World;
