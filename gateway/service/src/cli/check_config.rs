//! `check-config`: validates the configuration with the files that it names, and shows where each value comes from. What is
//! right is decided in `config` and by those who read the files; here it is printed. A doubt is no fault.

use std::path::PathBuf;

use serde_json::json;

use super::fault::{Fault, Stop};
use super::{Exit, Global, complain, printable};
use crate::config::{self, ConfigError, Mode, Overrides};
use crate::serve;

/// Validate the configuration and show where each value comes from
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let loaded = load(args.config.clone(), global).map_err(Fault::from)?;
    for doubt in serve::check_tables(&loaded).map_err(Fault::from)? {
        complain(&doubt);
    }
    global.print(&json!(loaded.report), |_| {
        let lines: Vec<_> =
            loaded.report.to_string().lines().map(|line| printable(line).to_string()).collect();
        lines.join("\n")
    })
}

/// Loads the configuration as `serve` would.
pub(super) fn load(file: Option<PathBuf>, global: &Global) -> Result<config::Loaded, ConfigError> {
    let flags = Overrides::state_dir(global.state_dir.clone());
    config::load(config::Options::of_process(file, flags, Mode::Serve))
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        let fault = Self::new(error.to_string());
        match error.excerpt() {
            Some(excerpt) => fault.excerpt(excerpt.to_string()),
            None => fault,
        }
    }
}
