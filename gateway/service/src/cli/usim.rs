//! The verbs about (U)SIM cards: which there are. Each has its own file.

use super::fault::Stop;
use super::{Exit, Global, usim_read};

/// Look at (U)SIM cards
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Read(usim_read::Args),
}

impl Verb {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Stop> {
        match self {
            Self::Read(args) => usim_read::run(&args, global),
        }
    }
}
