//! The service behind the binary `mexegate`: everything with a socket, a clock or a file in it. The engines decide
//! (crates mexe-certs, mexe-policy, mexe-qos); the modules here carry their decisions out.

pub mod cli;
pub mod client;
pub mod config;
