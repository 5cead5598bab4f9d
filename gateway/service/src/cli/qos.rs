//! The verbs about quality of service: which there are. Each has its own file.

use super::fault::Stop;
use super::{Exit, Global, qos_decode, streams};

/// Look at quality of service, ask for it, change it, release it
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Decode(qos_decode::Args),
    Modify(streams::Modify),
    Release(streams::Release),
    Request(streams::Request),
}

impl Verb {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Stop> {
        match self {
            Self::Decode(args) => qos_decode::run(&args, global),
            Self::Modify(args) => streams::modify(&args, global),
            Self::Release(args) => streams::release(&args, global),
            Self::Request(args) => streams::request(&args, global),
        }
    }
}
