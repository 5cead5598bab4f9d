//! `serve`: the service. Reads the configuration and hands over; reads it again the same way whenever the service asks.

use std::path::PathBuf;

use super::fault::{Fault, Stop};
use super::{Exit, Global, check_config};
use crate::serve::{self, ServeError};

/// Run the service
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let load = || check_config::load(args.config.clone(), global);
    serve::run(load().map_err(Fault::from)?, load).map_err(Fault::from)?;
    Ok(Exit::Done)
}

impl From<ServeError> for Fault {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Config(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}
