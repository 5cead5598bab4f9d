//! The verbs about quality of service: which there are. Each has its own file.

use super::fault::Stop;
use super::{Exit, Global, qos_decode};

/// Look at quality of service
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Decode(qos_decode::Args),
}

impl Verb {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Stop> {
        match self {
            Self::Decode(args) => qos_decode::run(&args, global),
        }
    }
}
