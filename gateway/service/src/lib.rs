//! The service behind the binary `mexegate`: everything with a socket, a clock or a file in it. The engines decide
//! (crates mexe-certs, mexe-policy, mexe-qos); the modules here carry their decisions out. Begin with [`flow`]: one
//! connection from the request to its last byte.

pub mod accounting;
pub mod actions;
pub mod apps;
pub mod associations;
pub mod bearer;
pub mod calls;
pub mod card;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod events;
pub mod execute;
pub mod fetch;
pub mod floor;
pub mod flow;
pub mod flows;
pub mod gate;
pub mod grants;
pub mod ingress;
pub mod judging;
pub mod launch;
pub mod notify;
pub mod observe;
pub mod peer;
pub mod permits;
pub mod prompts;
pub mod qos;
pub mod refused;
pub mod running;
pub mod runs;
pub mod schedules;
pub mod serve;
pub mod shadow;
pub mod strangers;
pub mod surroundings;
pub mod trust;
pub mod upstream;
pub mod verdict;
